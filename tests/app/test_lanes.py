"""The two lanes of scripts/test: every test is in one of them."""

from __future__ import annotations

import pytest
from tests.conftest import BESIDE, MAIN, PURE, WAITING, lane_of
from tests.live import ROOT


@pytest.mark.parametrize(
    ("path", "waits", "lane"),
    [
        ("domain/scaling/test_x.py", False, BESIDE),
        ("sdk/test_flows.py", False, BESIDE),
        ("sdk/test_cli.py", False, MAIN),
        ("sdk/test_long_predictions.py", True, BESIDE),
        ("backends/test_local.py", False, MAIN),
    ],
)
def test_lanes(path: str, waits: bool, lane: str) -> None:
    assert lane_of(path, waits) == lane


def test_what_lanes_name_is_there() -> None:
    assert all((ROOT / "tests" / name).exists() for name in (*PURE, *WAITING))


def test_scripts_test_runs_both() -> None:
    script = (ROOT / "scripts" / "test").read_text()
    assert f"--lane {MAIN}" in script
    assert f"--lane {BESIDE}" in script
