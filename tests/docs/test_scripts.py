"""The doors for developers say what they are before they install anything."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A checkout in a folder with a space in its name, with nothing installed."""
    found = tmp_path / "a checkout"
    for folder in ("scripts", "benchmarks", "requirements"):
        shutil.copytree(ROOT / folder, found / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return found


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["bench", "--help"], 0, "usage: scripts/bench NAME"),
        (["bench"], 2, "usage: scripts/bench NAME"),
        (["bench", "common"], 2, "usage: scripts/bench NAME"),
        (["check", "--help"], 0, "scripts/check: what every commit passes"),
        (["check", "src"], 2, "scripts/check takes no arguments"),
        (["test", "--help"], 0, "scripts/test [PYTEST ARGUMENTS]"),
    ],
)
def test_help_costs_nothing(copy: Path, words: list[str], code: int, told: str) -> None:
    done = subprocess.run(
        [copy / "scripts" / words[0], *words[1:]], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == code, done.stderr
    assert told in done.stdout + done.stderr
    assert (done.stdout == "") == (code == 2)
    assert not list(copy.glob(".venv*"))


def test_the_benchmarks_that_readme_names_are_listed(copy: Path) -> None:
    shown = subprocess.run(
        [copy / "scripts/bench", "-h"], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    names = [line.split()[0] for line in shown.splitlines()[2:]]
    assert {
        "serve",
        "start",
        "deploy",
        "objects",
        "control",
        "metrics",
        "capacity",
        "league",
        "objectives",
        "scaling-live",
    } <= {*names}
