"""`clary shell JOB`: a failed job's sandbox entered again, in a pipe and on a terminal; and how many are kept."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from tests.sdk.acts import User
from tests.sdk.conftest import Server

pytestmark = [pytest.mark.live, pytest.mark.slow]

TRAIN = """
import os
open("/opt/ml/model/half", "w").write("made")
open("/opt/ml/output/data/notes", "w").write(os.environ["SM_HP_DEPTH"])
raise ValueError("it breaks here")
"""
LOOK = "cat /opt/ml/model/half; pwd; ls; cat /opt/ml/input/config/hyperparameters.json; echo $CLARY_JOB_COMMAND; echo $COLOUR; id -u"
WHO = """
import os, urllib.request
assert os.environ["AWS_SESSION_TOKEN"]
print(os.environ["AWS_ACCESS_KEY_ID"][:4], os.access("/opt/ml/code/train.py", os.R_OK), os.path.exists("/etc/shadow"))
"""


@pytest.fixture(scope="module")
def user(start: Callable[..., Server]) -> User:
    return User(start(kept_jobs=2))


@pytest.fixture(scope="module")
def failed(user: User) -> str:
    return fail(user)


def fail(user: User) -> str:
    job = user.job(files={"train.py": TRAIN}, HyperParameters={"depth": "4"}, Environment={"COLOUR": "blue"})
    assert user.ended(job)["TrainingJobStatus"] == "Failed"
    return job


def argv(user: User, *words: str) -> list[str]:
    return [sys.executable, "-m", "clary.app.cli", "shell", "--dir", user.server.settings.dir, *words]


def test_the_sandbox_is_as_it_was(user: User, failed: str) -> None:
    done = user.server.run(argv(user, failed, "--", "sh", "-c", LOOK))
    assert done.returncode == 0, done.stderr
    made, rest = done.stdout.removeprefix("made").split("\n", 1)
    assert made == "/opt/ml/code"
    assert rest.startswith("train.py\n{")
    assert '"depth": "4"' in rest
    assert "clary.toolkit.train\nblue\n" in rest
    assert rest.splitlines()[-1] == str(os.getuid() or rest.splitlines()[-1])
    done = user.server.run(argv(user, failed, "--", "python", "-c", WHO))
    assert done.stdout == "ASIA True False\n", done.stderr


def test_its_exit_code_is_the_commands(user: User, failed: str) -> None:
    assert user.server.run(argv(user, failed, "--", "sh", "-c", "exit 7")).returncode == 7


def test_on_a_terminal_it_is_a_shell(user: User, failed: str) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        argv(user, failed),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=dict(user.server.environment),
        close_fds=True,
    )
    os.close(theirs)
    said = b""
    deadline = time.monotonic() + 60
    asked = False
    while process.poll() is None or select.select([ours], [], [], 0)[0]:
        assert time.monotonic() < deadline, said
        if not select.select([ours], [], [], 0.1)[0]:
            continue
        try:
            said += os.read(ours, 65536)
        except OSError:
            break
        if b"exit leaves it" in said and not asked:
            asked = True
            os.write(ours, b"test -t 0 && echo TERM-INAL | tr -d - && cat /opt/ml/output/data/notes && exit 5\n")
    assert process.wait(10) == 5, said
    assert b"TERMINAL" in said
    assert b"no job control" not in said


def test_jobs_that_did_not_fail_have_none(user: User) -> None:
    done = user.train(files={"train.py": "print('fine')"})
    said = user.server.run(argv(user, done["TrainingJobName"]))
    assert said.returncode == 4
    assert "only the sandboxes of failed jobs are kept" in said.stderr
    assert user.server.run(argv(user, "no-such-job", "--", "ls")).returncode == 4
    assert user.server.run(argv(user, "--", "echo", "hello")).stdout == "hello\n"


def test_the_oldest_gives_way(user: User, failed: str) -> None:
    fail(user)
    last = fail(user)
    said = user.server.run(argv(user, failed))
    assert said.returncode == 4
    assert "the last 2 failed jobs are kept (setting kept_jobs)" in said.stderr
    assert user.server.run(argv(user, last, "--", "cat", "/opt/ml/model/half")).stdout == "made"
    kept = sorted((user.server.settings.root / "jobs").glob("*/kept.json"))
    assert len(kept) == 2
