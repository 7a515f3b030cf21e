"""What the benchmark of datapoints makes of what it measured."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.metrics import FRESH, KEPT, KINDS, MINUTES, Kind, Taken, rows_of, rows_of_all

from clary.domain.metrics.datapoints import nothing


def test_what_is_kept_is_a_few_weeks_of_minutes_and_the_rest_of_five() -> None:
    assert Taken(2.0, 1.0).all == MINUTES * (2 * FRESH + KEPT - FRESH)
    taken = {kind.name: Taken(1.0, 1.0) for kind in KINDS}
    *years, written = rows_of_all(taken, 36)
    assert [row.value for row in years] == [pytest.approx(KEPT * MINUTES * 10_000 / 2**30)] * 3
    assert [row.ok for row in years] == [True, True, None]
    assert "36 written days" in written.what
    assert "written whole" in rows_of_all(taken, KEPT)[-1].what


def test_bytes_are_those_of_the_file(tmp_path: Path) -> None:
    rows, taken = rows_of(Kind("idle", lambda luck: nothing(), 2, 0), tmp_path, FRESH + 7, 1)
    assert 0 < taken.older < taken.fresh < 4
    assert [row.value for row in rows[:2]] == [taken.fresh, taken.older]
