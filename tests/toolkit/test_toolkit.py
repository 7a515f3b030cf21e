"""What every file of the toolkit must keep to: Python 3.9's grammar, and nothing but the standard library to start with."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from clary.toolkit import frames

TOOLKIT = Path(frames.__file__).parent
FILES = sorted(TOOLKIT.rglob("*.py"))
ENTRIES = [
    "prepare",
    "train",
    "zygote",
    "worker",
    "inference",
    "content",
    "environment",
    "frameworks.script",
    "recordio",
    "pipes",
    "pack",
]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(TOOLKIT)))
def test_grammar_of_python_3_9(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Match)
        if isinstance(node, ast.Call):  # dataclass(slots=True), zip(strict=True) came with 3.10
            assert not {k.arg for k in node.keywords} & {"slots", "kw_only", "strict"}


@pytest.mark.parametrize("name", ENTRIES)
def test_imports_nothing_but_the_standard_library(name: str, library: str) -> None:
    """With a bare interpreter (-S: no site packages at all), so a foreign import would fail."""
    python = os.path.realpath(sys._base_executable)  # type: ignore[attr-defined]
    command = [python, "-S", "-W", "error", "-c", f"import clary.toolkit.{name}"]
    done = subprocess.run(command, env={"PYTHONPATH": library}, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
