"""`clary doctor` on the machine that runs the tests."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from clary.app.cli.doctor import answers, objects
from clary.app.cli.site import Site
from clary.app.settings import Settings


def doctor(folder: Path, *more: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CLARY_", "AWS_"))}
    argv = [sys.executable, "-m", "clary.app.cli", "doctor", "--dir", str(folder), *more]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, env={**kept, **variables})


def test_each_capability_is_measured(tmp_path: Path) -> None:
    done = doctor(tmp_path, "--json", CLARY_PORT="0")
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert {"system", "state folder", "durable writes", "nginx", "port", "sandbox", "cpu limits", "runtimes"} <= set(
        checks
    )
    assert {check["state"] for check in checks.values()} <= {"ok", "note", "fault"}
    assert "ms" in checks["durable writes"]["found"]
    faults = [check for check in checks.values() if check["state"] == "fault"]
    assert done.returncode == (5 if faults else 0), done.stderr
    assert all(check["fix"] or check["found"] for check in faults)


def test_what_is_wrong_is_told_with_its_fix(tmp_path: Path) -> None:
    done = doctor(tmp_path, CLARY_PORT="0", CLARY_NGINX="/no/such/nginx", CLARY_LOW_WATER=str(1 << 60))
    assert done.returncode == 5
    assert "fault  nginx: /no/such/nginx is not a program" in done.stdout
    assert "new writes are refused" in done.stdout
    assert done.stderr.startswith("clary: 2 of ")
    assert done.stderr.endswith(" checks found a fault, see above\n")


def test_a_machine_without_pasta_is_told_what_its_jobs_share(tmp_path: Path) -> None:
    """No program of that name on the path, but those that a sandbox needs."""
    (tmp_path / "bin").mkdir()
    for name in ("setpriv", "prlimit", "bwrap"):
        found = shutil.which(name)
        if found:
            (tmp_path / "bin" / name).symlink_to(found)
    own = {"CLARY_PORT": "0", "PATH": str(tmp_path / "bin")}
    told = {check["name"]: check for check in json.loads(doctor(tmp_path, "--json", **own).stdout)}
    if told["sandbox"]["state"] == "fault":
        pytest.skip("NO SANDBOX ON THIS MACHINE")
    assert told["networks"]["state"] == "note"
    assert "pasta is missing: jobs and replicas share this machine's network" in told["networks"]["found"]
    assert "passt" in told["networks"]["fix"]
    refused = json.loads(doctor(tmp_path, "--json", **own, CLARY_STRICT_NETWORK="true").stdout)
    assert next(check["state"] for check in refused if check["name"] == "networks") == "fault"


def test_a_process_that_hangs_is_told_from_one_that_answers(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.bind(str(tmp_path / "door"))
        assert not answers(tmp_path / "door", 0.2)  # nobody listens
        door.listen()
        assert not answers(tmp_path / "door", 0.2)  # nobody reads
        thread = threading.Thread(target=_answer_twice, args=(door,), daemon=True)
        thread.start()
        assert answers(tmp_path / "door")
        thread.join(10)
    assert answers(None)


def _answer_twice(door: socket.socket) -> None:
    """The one that was given up on is still in the backlog."""
    for _ in range(2):
        connection, _ = door.accept()
        with connection, suppress(OSError):
            connection.recv(4096)  # else who asks may find the door closed before it has asked
            connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")


@pytest.mark.parametrize(
    ("told", "state", "words"),
    [
        ({}, "ok", "5 blobs"),
        ({"quarantined": 2}, "note", "2 that no object names"),
        ({"missing": ["0000010001"]}, "fault", "1 are named but not on the disk"),
        ({"stopped": "run `clary objects rebuild`"}, "fault", "5 blobs"),
    ],
)
def test_what_a_sweep_of_the_object_store_found_is_told(
    tmp_path: Path, told: dict[str, object], state: str, words: str
) -> None:
    site = Site(Settings(dir=str(tmp_path)), None)
    assert list(objects(site)) == []
    (tmp_path / "objects").mkdir()
    swept = {"blobs": 5, "removed": 0, "quarantined": 0, "missing": [], "stopped": "", **told}
    (tmp_path / "objects" / "sweep.json").write_text(json.dumps(swept))
    [check] = objects(site)
    assert check.state == state
    assert words in check.found
    assert check.fix == told.get("stopped", check.fix)
