"""A start that cannot be: `clary up` says the cause at once, in the words of the process that found it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from clary.app import crashes, up
from clary.app.settings import Settings, load
from clary.stores.keys import FileKeys

pytestmark = [pytest.mark.live]
WITHIN = 30.0  # seconds; where nobody said why, it would be 60 and more


def clary(*words: str, **variables: str) -> tuple[int, str, float]:
    """Exit code, standard error and seconds of `clary WORDS`."""
    given = {k: v for k, v in os.environ.items() if not k.startswith("CLARY_")}
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "clary.app.cli", *words],
        env={**given, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stderr, time.monotonic() - began


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder that was used once; tests take copies of it."""
    settings = load({"dir": str(tmp_path_factory.mktemp("used") / "state"), "port": 0}, {})
    up.detached(settings)
    assert up.down(settings)
    return settings.root


def test_records_of_a_newer_clary(used: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(used, tmp_path / "state")
    with closing(sqlite3.connect(folder / "records.db")) as records:
        records.execute("UPDATE alembic_version SET version_num = '9999'")
        records.commit()
    code, said, seconds = clary("up", "--dir", str(folder), "--port", "0")
    assert code == 1
    assert said.startswith("clary: the control plane cannot start: The records at sqlite:///")
    assert "have schema 9999; this Clary knows" in said
    assert said.count("\n") == 1
    assert seconds < WITHIN
    crash = crashes.last(load({"dir": str(folder)}, {}))
    assert crash is not None
    assert (crash.process, "schema 9999" in crash.how) == ("control", True)


def test_an_error_that_nobody_foresaw(used: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(used, tmp_path / "state")
    (folder / "objects" / "staging").rmdir()
    (folder / "objects" / "staging").touch()  # a file where a folder belongs
    code, said, seconds = clary("up", "--dir", str(folder), "--port", "0", "-d")
    assert code == 1
    assert said.startswith("clary: the object store ended with exit code 1 (FileExistsError: ")
    assert said.rstrip().endswith(f"; see {folder}/logs/clary/objects.log")
    assert said.count("\n") == 1
    assert (folder / "logs" / "clary" / "objects.log").read_text().count("Traceback (most") == 1, "it was tried again"
    assert seconds < WITHIN


def test_a_database_that_does_not_answer(tmp_path: Path) -> None:
    with socket.socket() as taken:  # bound and not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        url = f"postgresql://clary:hidden@127.0.0.1:{taken.getsockname()[1]}/clary"
        code, said, seconds = clary("up", "--dir", str(tmp_path / "state"), "--port", "0", "-d", CLARY_DATABASE=url)
    assert code == 1
    assert said.startswith("clary: The keys at postgresql+psycopg://clary:***@127.0.0.1:")
    assert " cannot be read or written: " in said
    assert said.count("\n") == 1
    assert "Is the server up, and does the setting `database` name it rightly?" in said
    assert "hidden" not in said
    assert seconds < WITHIN
    assert not (tmp_path / "state" / "bindings.json").exists(), "it remembers what it was used with, not what was tried"


def test_another_object_store_than_the_folder_had(used: Path, tmp_path: Path) -> None:
    settings = load({"dir": str(shutil.copytree(used, tmp_path / "state"))}, {})
    words = ("up", "--dir", settings.dir, "--port", "0", "-d")
    other = {"CLARY_S3_ENDPOINT": "http://127.0.0.1:9", "CLARY_S3_ACCESS_KEY": "a", "CLARY_S3_SECRET_KEY": "b"}
    code, said, _ = clary(*words, **other)
    assert (code, "was last used with the object store Clary's own" in said) == (1, True)
    try:
        code, said, _ = clary(*words, "--other-stores", **other)
        assert (code, said) == (0, "")
    finally:
        up.down(settings)
    code, said, _ = clary(*words)
    assert (code, "was last used with the object store http://127.0.0.1:9" in said) == (1, True)


def test_the_feature_store_starts_when_somebody_asks_for_it_and_is_kept_running(used: Path, tmp_path: Path) -> None:
    settings = load({"dir": str(shutil.copytree(used, tmp_path / "state")), "port": 0}, {})
    settings = up.detached(settings)
    try:
        key = FileKeys(settings.root / "keys").all()[0]
        client = boto3.client(
            "sagemaker-featurestore-runtime",
            endpoint_url=settings.endpoint,
            region_name="us-east-1",
            aws_access_key_id=key.access_key_id,
            aws_secret_access_key=key.secret,
            config=Config(retries={"total_max_attempts": 1}),  # whoever comes first waits, and is not turned away
        )

        def asked() -> int:
            with pytest.raises(client.exceptions.ResourceNotFound):
                client.get_record(FeatureGroupName="none", RecordIdentifierValueAsString="1")
            return int(processes(settings)["features"]["pid"])

        assert "features" not in processes(settings)
        first = asked()
        assert asked() == first
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: processes(settings)["features"]["pid"] not in (0, first))
        assert asked() not in (0, first)
    finally:
        up.down(settings)


def processes(settings: Settings) -> dict[str, Any]:
    return dict(json.loads((settings.run / "processes.json").read_text()))


def wait_until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)
