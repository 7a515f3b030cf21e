"""What becomes of a kept run's bwrap arguments when its sandbox is entered again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clary.backends.reentry import reentry
from clary.backends.sandbox import CARRIED
from clary.backends.state import Base, Folder
from clary.domain.errors import NotFound

NAMING = ("/bin/sh", "-c", 'export A="$CLARY_CARRIED_A"; exec "$@"', "sh")


@pytest.fixture
def root(tmp_path: Path) -> str:
    folder = Folder.of(str(tmp_path))
    folder.path.mkdir()
    options = [
        "--new-session",
        "--unshare-pid",
        "--clearenv",
        "--setenv",
        CARRIED + "KEY",
        "old",
        "--setenv",
        CARRIED + "A",
        "1",
    ]
    (folder.path / "bwrap.args").write_text("".join(item + "\0" for item in options))
    command = ["setpriv", "--reuid", "7", *NAMING, "python", "train.py"]
    folder.write(
        "spec.json",
        {"bwrap": "/bin/bwrap", "seccomp": os.devnull, "args": str(folder.path / "bwrap.args"), "command": command},
    )
    return str(tmp_path)


def test_the_way_in_is_the_same_and_the_command_another(root: str) -> None:
    way = reentry(root, Base(Path(root).parent), ["ls", "-l"], {"KEY": "new"}, terminal=False)
    assert way.command[:7] == ("setpriv", "--reuid", "7", *NAMING)
    assert way.command[-2:] == ("ls", "-l")
    assert way.was == ("python", "train.py")
    assert "--new-session" in way.arguments


def test_variables_are_replaced_and_the_old_command_named(root: str) -> None:
    arguments = list(
        reentry(root, Base(Path(root).parent), ["ls"], {"KEY": "new", "TOKEN": "t"}, terminal=False).arguments
    )
    pairs = {arguments[n + 1]: arguments[n + 2] for n, item in enumerate(arguments) if item == "--setenv"}
    assert pairs == {
        CARRIED + "KEY": "new",
        CARRIED + "A": "1",
        CARRIED + "TOKEN": "t",
        CARRIED + "CLARY_JOB_COMMAND": "python train.py",
    }


def test_with_a_terminal_of_its_own_it_may_control_jobs(root: str) -> None:
    assert "--new-session" not in reentry(root, Base(Path(root).parent), ["sh"], {}, terminal=True).arguments


def test_secrets_are_on_no_command_line(root: str) -> None:
    argv, files = reentry(root, Base(Path(root).parent), ["ls"], {"KEY": "secret"}, terminal=False).open()
    assert "secret" not in " ".join(argv)
    assert b"secret" in os.read(files[0], 4096)
    for number in files:
        os.close(number)


def test_nothing_is_left_of_a_forgotten_run(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nothing is left"):
        reentry(str(tmp_path), Base(tmp_path), ["ls"], {}, terminal=False)


def test_a_run_whose_folder_was_moved_is_entered_where_it_is_now(tmp_path: Path) -> None:
    before, now = tmp_path / "one", tmp_path / "two"
    folder = Folder.of(str(before / "jobs" / "1"))
    folder.path.mkdir(parents=True)
    options = ["--ro-bind", f"{before}/environments/e", f"{before}/environments/e", "--bind", "/data", "/data"]
    (folder.path / "bwrap.args").write_text("".join(item + "\0" for item in options))
    said = {"bwrap": "/bin/bwrap", "seccomp": os.devnull, "args": str(folder.path / "bwrap.args")}
    folder.write("spec.json", {**said, "command": [*NAMING, f"{before}/environments/e/bin/python", "train.py"]})
    before.rename(now)
    way = reentry(str(now / "jobs" / "1"), Base(now), ["ls"], {}, terminal=False)
    assert way.arguments[:3] == ("--ro-bind", f"{now}/environments/e", f"{now}/environments/e")
    assert way.arguments[3:6] == ("--bind", "/data", "/data")
    assert way.was == (f"{now}/environments/e/bin/python", "train.py")
