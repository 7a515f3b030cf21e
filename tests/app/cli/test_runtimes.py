"""`clary runtime add`, `remove` and `list` on a state folder that nothing runs on."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from clary.app.cli import output, runtimes
from clary.app.cli.output import CommandRefused
from clary.backends import interpreters

Said = pytest.CaptureFixture[str]


def names(folder: Path, said: Said) -> dict[str, list[str]]:
    said.readouterr()
    runtimes.show(str(folder), as_json=True)
    return {row["name"]: row["repositories"] for row in json.loads(said.readouterr().out)}


def rows(folder: Path, said: Said) -> list[tuple[str, bool, str]]:
    said.readouterr()
    runtimes.show(str(folder), as_json=True)
    shown = json.loads(said.readouterr().out)
    return [(row["name"], row["serving"], row["python"]) for row in shown if row["name"].startswith("xgboost")]


def test_each_environment_is_told_with_its_python(
    tmp_path: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = "{}.{}".format(*sys.version_info[:2])
    plain = [("xgboost", False, mine), ("xgboost-script", False, mine)]
    newer = interpreters.newer(os.environ["PATH"])
    expected = [plain[0], ("xgboost", True, "{}.{}".format(*newer.release)), plain[1]] if newer else plain
    assert rows(tmp_path / "state", capsys) == expected
    monkeypatch.setenv("PATH", str(tmp_path))
    assert rows(tmp_path / "state", capsys) == plain


def test_an_image_gets_a_runtime_and_loses_it(tmp_path: Path, capsys: Said) -> None:
    folder = tmp_path / "state"
    runtimes.add(str(folder), "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/my-model:3", "python", as_json=True)
    assert json.loads(capsys.readouterr().out) == {"repository": "my-model", "runtime": "python"}
    assert "my-model" in names(folder, capsys)["python"]
    runtimes.remove(str(folder), "my-model", as_json=True)
    assert json.loads(capsys.readouterr().out) == {"repository": "my-model", "runtime": None}
    assert "my-model" not in names(folder, capsys)["python"]


@pytest.mark.parametrize(
    ("call", "code", "words"),
    [
        (lambda d: runtimes.add(d, "my-model", "fortran", as_json=False), output.NOT_FOUND, "there are: xgboost, "),
        (lambda d: runtimes.add(d, "My Model", "python", as_json=False), output.USAGE, "not the name of an image"),
        (lambda d: runtimes.add(d, "", "python", as_json=False), output.USAGE, "not the name of an image"),
        (lambda d: runtimes.remove(d, "xgboost", as_json=False), output.NOT_FOUND, "these were: none"),
    ],
)
def test_what_is_refused(tmp_path: Path, call: Any, code: int, words: str) -> None:
    with pytest.raises(CommandRefused, match=words) as caught:
        call(str(tmp_path))
    assert caught.value.code == code


def test_looking_makes_no_folder(tmp_path: Path, capsys: Said) -> None:
    assert names(tmp_path / "state", capsys)["python"]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_hold_runtimes_is_told_before_a_build(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "clary.toml").write_text('environments = "file/environments"\n')
    with pytest.raises(CommandRefused) as caught:
        runtimes.build(str(tmp_path), ["python"], as_json=True)
    assert caught.value.message.startswith(
        f"{tmp_path}/file/environments cannot hold runtimes: Not a directory; CLARY_ENV"
    )


def test_a_build_needs_a_state_folder(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "clary.toml").write_text(f'environments = "{tmp_path}/environments"\n')
    (tmp_path / "state" / "backend").touch()
    with pytest.raises(CommandRefused, match=r"state cannot be the state folder: .*; --dir names another"):
        runtimes.build(str(tmp_path / "state"), ["python"], as_json=True)
