"""The pytest plugin as a user's project has it: pytest in a process of its own, with and without xdist."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.faults.scene import until
from tests.live import Server

pytestmark = [pytest.mark.live, pytest.mark.slow]

MINE = """
import os
import boto3

def test_an_account_is_empty_and_its_own(clary):
    s3 = boto3.client("s3")
    assert boto3.client("sts").get_caller_identity()["Account"] == clary.id
    assert s3.list_buckets()["Buckets"] == []
    s3.create_bucket(Bucket=f"data-{clary.id}")
    with open(os.environ["SEEN"], "a") as file:
        print(clary.id, clary.endpoint, file=file)

def test_the_next_one_has_another(clary):
    assert boto3.client("s3").list_buckets()["Buckets"] == []
    assert clary.client("s3").list_buckets()["Buckets"] == []
    assert clary.role.startswith(f"arn:aws:iam::{clary.id}:role/")
    with open(os.environ["SEEN"], "a") as file:
        print(clary.id, clary.endpoint, file=file)

def test_without_the_fixture_nothing_is_set():
    assert "AWS_ENDPOINT_URL" not in os.environ
"""
LEAVES = """
import pytest
import boto3

def test_a_key_ends_with_its_test(clary, request):
    request.config.cache.set("clary/old", [clary.endpoint, clary.access_key_id, clary.secret_access_key])

def test_so_it_does(request, clary):
    endpoint, key, secret = request.config.cache.get("clary/old", None)
    assert endpoint == clary.endpoint
    old = boto3.client("s3", endpoint_url=endpoint, aws_access_key_id=key, aws_secret_access_key=secret)
    with pytest.raises(old.exceptions.ClientError, match="InvalidAccessKeyId"):
        old.list_buckets()
"""


def run(folder: Path, text: str, *options: str) -> tuple[subprocess.CompletedProcess[str], list[list[str]]]:
    (folder / "test_mine.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n    ignore:.*utcnow.*:DeprecationWarning\n")
    seen = folder / "seen"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CLARY_", "PYTEST_"))}
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:asyncio", *options, str(folder)]
    environment = {**kept, "SEEN": str(seen), "TMPDIR": str(folder), "XDG_DATA_HOME": str(folder / "home")}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=200, check=False, cwd=folder, env=environment)
    return done, [line.split() for line in seen.read_text().splitlines()] if seen.exists() else []


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "xdist"])
def test_every_test_has_an_account_on_one_server(tmp_path: Path, workers: list[str]) -> None:
    done, seen = run(tmp_path, MINE, *workers)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
    assert len({account for account, _ in seen}) == 2
    assert len({endpoint for _, endpoint in seen}) == 1, "one server for all"
    assert not list(tmp_path.glob("clary-pytest-*")), "it was ended and left nothing"


USES = """
def test_whose_runtimes(clary_server):
    with open(__import__("os").environ["SEEN"], "a") as file:
        print(clary_server.settings.environments_folder, clary_server.settings.root, file=file)
"""


def test_runtimes_are_built_once_for_all_sessions(tmp_path: Path) -> None:
    run(tmp_path, USES)
    done, seen = run(tmp_path, USES)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {runtimes for runtimes, _ in seen} == {str(tmp_path / "home" / "clary" / "environments")}
    assert len({root for _, root in seen}) == 2


SLEEPS = """
import os, time

def test_it_hangs(clary_server):
    with open(clary_server.settings.root / "clary.lock") as file, open(os.environ["SEEN"], "w") as seen:
        print(clary_server.settings.root, file.read(), file=seen)
    time.sleep(1000)
"""


@pytest.mark.parametrize("workers", [[], ["-n", "1"]], ids=["alone", "xdist"])
def test_a_session_that_is_killed_leaves_no_server(tmp_path: Path, workers: list[str]) -> None:
    (tmp_path / "test_mine.py").write_text(SLEEPS)
    seen = tmp_path / "seen"
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:asyncio", "-p", "no:cacheprovider", *workers, str(tmp_path)]
    environment = {**os.environ, "SEEN": str(seen), "TMPDIR": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "home")}
    session = subprocess.Popen(argv, cwd=tmp_path, env=environment, start_new_session=True, stdout=subprocess.DEVNULL)
    try:
        until(lambda: seen.exists() and seen.read_text().endswith("}\n"), 90, "the test has its server")
        root, _, held = seen.read_text().partition(" ")
        server = os.pidfd_open(json.loads(held)["pid"])
    finally:
        os.killpg(session.pid, signal.SIGKILL)
        session.wait()
    assert select.select([server], [], [], 60)[0], "the server ended by itself"
    os.close(server)
    assert not os.path.exists(root), "and left nothing"


def test_a_running_clary_can_be_used(server: Server, tmp_path: Path) -> None:
    done, seen = run(tmp_path, MINE, "--clary-dir", server.settings.dir)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {endpoint for _, endpoint in seen} == {server.settings.endpoint}
    assert server.client("s3").list_buckets() is not None, "it still runs"


def test_an_account_ends_with_its_test(server: Server, tmp_path: Path) -> None:
    done, _ = run(tmp_path, LEAVES, "--clary-dir", server.settings.dir)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_clary_where_it_shall_be_is_told(tmp_path: Path) -> None:
    done, _ = run(tmp_path, MINE, "--clary-dir", str(tmp_path / "none"))
    assert done.returncode == 1
    assert "no Clary runs on" in done.stdout


def test_it_costs_nothing_when_nobody_asks(tmp_path: Path) -> None:
    text = "import sys\n\ndef test_it():\n    assert not {'boto3', 'sqlalchemy', 'clary.app.up', 'clary.app.settings'} & set(sys.modules)\n"
    done, _ = run(tmp_path, text)
    assert done.returncode == 0, done.stdout
