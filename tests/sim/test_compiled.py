"""What is compiled is kept apart for each state of the files that it is made of."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import clary

pytest.importorskip("numba")

ASK = """
import numpy
from clary.sim import events
counts, figures, order, idle = numpy.zeros(16, int), numpy.zeros(16), numpy.zeros(16), numpy.zeros(16)
counts[events.LIVE], figures[events.MEAN] = 1, 0.1
order[[events.RATE, events.ALLOWANCE, events.HOST, events.OBJECTIVE, events.DELTA]] = 10.0, 8, 8, 1.0, 1.0
events._boost(counts, figures, order, idle, 0.0)
print(counts[events.ALLOWED])
"""


def ask(root: Path) -> str:
    variables = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"} | {
        "PYTHONPATH": str(root)
    }
    return subprocess.run([sys.executable, "-c", ASK], env=variables, check=True, capture_output=True, text=True).stdout


def test_a_changed_rule_is_compiled_again_where_it_is_called(tmp_path: Path) -> None:
    shutil.copytree(Path(clary.__file__).parent, tmp_path / "clary", ignore=shutil.ignore_patterns("__pycache__"))
    assert ask(tmp_path) == "1\n"
    rule = tmp_path / "clary/domain/scaling/boost.py"
    rule.write_text(rule.read_text().replace("return min(max(", "return 1 + min(max("))
    assert ask(tmp_path) == "2\n"
