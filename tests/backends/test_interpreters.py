"""Which Python an environment is made from: one that works, is whole and is newer, or Clary's own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from clary.backends.interpreters import Interpreter, examine, newer, own, release


def there(*paths: str) -> dict[str, Interpreter]:
    """A machine's interpreters, each of the version that its name says."""
    return {path: python(path, tuple(map(int, path.rpartition("python")[2].split(".")))) for path in paths}


def python(path: str, release: tuple[int, ...]) -> Interpreter:
    return Interpreter(path, f"{path} build", (release[0], release[1]), ("/usr",))


def found(machine: dict[str, Interpreter], path: str, than: tuple[int, int] = (3, 11)) -> str:
    got = newer(path, than, machine.get)
    return got.path if got else ""


def test_the_newest_that_there_is() -> None:
    machine = there("/a/python3.12", "/b/python3.13", "/b/python3.14")
    assert found(machine, "/a:/b") == "/b/python3.13"
    assert found(machine, "/a") == "/a/python3.12"
    assert found(machine, "/a", than=(3, 12)) == ""
    assert found(machine, "/a:/b", than=(3, 13)) == ""


def test_the_first_of_the_same_version() -> None:
    machine = there("/a/python3.13", "/b/python3.13")
    assert [found(machine, "/a:/b"), found(machine, "/b:/a"), found(machine, "/none:/b")] == [
        "/a/python3.13", "/b/python3.13", "/b/python3.13",
    ]  # fmt: skip


def test_one_of_another_version_than_its_name_is_passed_over() -> None:
    assert found({"/a/python3.13": python("/usr/bin/python3.9", (3, 9))}, "/a") == ""


def test_only_absolute_folders_are_looked_into() -> None:
    assert found(there("python3.13", "bin/python3.13", "./python3.13"), ":bin:.") == ""


def test_what_a_real_one_is() -> None:
    assert examine(own().path) == Interpreter(own().path, sys.version, sys.version_info[:2], own().prefixes)


def test_one_in_a_virtual_environment_stands_for_its_base(tmp_path: Path) -> None:
    subprocess.run([own().path, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    got = examine(str(tmp_path / "venv" / "bin" / "python3"))
    assert got is not None
    assert got.path == own().path


def test_a_copy_in_a_virtual_environment_is_none(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    copy = shutil.copy(own().path, tmp_path / "bin" / "python3")
    (tmp_path / "pyvenv.cfg").write_text(f"home = {Path(own().path).parent}\n")
    assert examine(copy) is None


@pytest.mark.parametrize("text", ["#!/bin/sh\necho nonsense\n", "", "no program"])
def test_what_is_no_interpreter(tmp_path: Path, text: str) -> None:
    program = tmp_path / "python3.13"
    program.write_text(text)
    program.chmod(0o755)
    assert examine(str(program)) is None


@pytest.mark.parametrize("path", ["/bin/true", "/bin/false", "/bin/echo", "/no/such/file", "/tmp"])
def test_what_answers_nothing_of_use(path: str) -> None:
    assert examine(path) is None


def test_only_folders_outside_the_system_are_mounted() -> None:
    made = Interpreter("/opt/py/bin/python3", "3", (3, 13), ("/usr", "/opt/py", "/opt/py", "/usr/local"))
    assert made.mounts() == ("/opt/py",)


def test_a_release_by_its_name(tmp_path: Path) -> None:
    kept = tmp_path / ".pyenv" / "versions" / "3.9.18" / "bin"
    kept.mkdir(parents=True)
    machine = there("/a/python3.12", f"{kept}/python3.9", "/b/python3.9")

    def of(wanted: str, path: str, home: str = "") -> str:
        got = release(wanted, path, home, machine.get)
        return got.path if got else ""

    assert of("3.12", "/a:/b") == "/a/python3.12"
    assert of("3.9", "/a", str(tmp_path)) == f"{kept}/python3.9"
    assert of("3.9", "/a:/b", str(tmp_path)) == "/b/python3.9"  # what is on PATH comes first
    assert (of("3.9", "/a"), of("3.10", "/a:/b", str(tmp_path))) == ("", "")
