"""The benchmarks' own judgement: wrong answers are seen, and whose the machine was is measured."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from benchmarks import checks


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b"0.5", [0.5]),
        (b"0.5,1e-3\n2", [0.5, 0.001, 2.0]),
        (b'{"predictions": [0.5, [1]], "name": "x", "ok": true, "none": null}', [0.5, 1.0]),
    ],
)
def test_numbers_of_answers(body: bytes, wanted: list[float]) -> None:
    assert checks.numbers(body) == wanted


def test_answers_that_agree() -> None:
    checks.agree("peer", [b"0.047919706"], [b'{"version": 2, "output": 0.0479197055101}'])


def test_answers_that_do_not_agree() -> None:
    with pytest.raises(RuntimeError, match="peer answers request 1"):
        checks.agree("peer", [b"0.5", b"0.25"], [b"0.5", b"0.26"])


def test_others_are_told_from_ours() -> None:
    spin = "import time\nwhile time.process_time() < 0.4: pass"
    with checks.others([os.getpid()]) as mine:
        subprocess.run([sys.executable, "-c", spin], check=True)
    with checks.others([]) as theirs:
        subprocess.run([sys.executable, "-c", spin], check=True)
    assert len(mine) == len(theirs) == 1
    assert theirs[0] > 0.1
