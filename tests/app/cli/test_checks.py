"""What `clary doctor` looks at beside the machine."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from clary.app import bindings, crashes, folders
from clary.app.cli import dependencies
from clary.app.cli.checks import Check
from clary.app.cli.site import Site
from clary.app.settings import load
from clary.stores.database import Database


def checks(folder: Path, **variables: str) -> dict[str, Check]:
    given = {name: value for name, value in os.environ.items() if not name.startswith(("CLARY_", "AWS_"))}
    settings = load({"dir": str(folder)}, {**given, **variables})
    return {check.name: check for check in dependencies.examine(Site(settings, None))}


def test_a_database_and_an_object_store_that_do_not_answer_are_faults(tmp_path: Path) -> None:
    with socket.socket() as taken:  # bound and not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        at = f"127.0.0.1:{taken.getsockname()[1]}"
        found = checks(
            tmp_path,
            CLARY_DATABASE=f"postgresql://clary:hidden@{at}/clary",
            CLARY_S3_ENDPOINT=f"http://{at}",
            CLARY_S3_ACCESS_KEY="a",
            CLARY_S3_SECRET_KEY="b",
        )
    assert found["database"].state == found["object store"].state == "fault"
    assert "cannot be opened" in found["database"].found
    assert "hidden" not in str(found)
    assert f"http://{at} does not answer" in found["object store"].found


def test_records_that_this_clary_cannot_read_are_a_fault(tmp_path: Path) -> None:
    Database(f"sqlite:///{tmp_path / 'records.db'}").prepare()
    found = checks(tmp_path)
    assert (found["database"].state, found["open files"].state, found["clock"].state) == ("ok", "ok", "ok")
    with closing(sqlite3.connect(tmp_path / "records.db")) as records:
        records.execute("UPDATE alembic_version SET version_num = '9999'")
        records.commit()
    assert "have schema 9999" in checks(tmp_path)["database"].found


def test_what_happened_before_is_told(tmp_path: Path) -> None:
    settings = load({"dir": str(tmp_path)}, {})
    folders.prepare_root(settings)
    crashes.note(settings, crashes.Crash(time.time() - 100, "control", "ended by SIGSEGV"))
    (tmp_path / "clary.lock").write_text('{"pid": 1}')
    bindings.remember(settings)
    ahead = settings.log("control")
    ahead.touch()
    os.utime(ahead, (time.time() + 3600,) * 2)  # it was written before the clock was set back
    found = checks(tmp_path, CLARY_S3_ENDPOINT="http://127.0.0.1:1", CLARY_S3_ACCESS_KEY="a", CLARY_S3_SECRET_KEY="b")
    crash = found["last crash"]
    assert (crash.state, crash.fix) == ("note", f"see {ahead}")
    assert crash.found.endswith("s ago: control ended by SIGSEGV")
    assert found["last run"].found == "was not stopped, but killed"
    assert "--other-stores" in found["bindings"].found
    assert found["clock"].state == "fault"
    assert found["clock"].found.endswith(" s behind Clary's own last log line")


def test_the_certificate_is_looked_at(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl makes the certificate")
    files = ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "cert")]
    names = ["-subj", "/CN=x", "-addext", "subjectAltName=DNS:ml.example.org", "-days", "2"]
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", *files, *names], check=True, capture_output=True
    )
    tls = {"CLARY_TLS_CERT": str(tmp_path / "cert"), "CLARY_TLS_KEY": str(tmp_path / "key")}
    state = tmp_path / "state"
    found = checks(state, **tls, CLARY_PUBLIC_URL="https://ml.example.org")["certificate"]
    assert (found.state, "kill -HUP" in found.fix) == ("note", True)
    assert "for ml.example.org, expires on " in found.found
    assert "clients ask for 127.0.0.1" in checks(state, **tls)["certificate"].found
    assert checks(state, **tls, CLARY_PUBLIC_URL="https://other.example.org")["certificate"].state == "fault"
    plain = checks(state, CLARY_HOST="0.0.0.0")
    assert (plain["transport"].state, "certificate" in plain) == ("note", False)
