"""What the benchmark of datapoints makes of what it measured."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.metrics import FRESH, KINDS, MINUTES, YEAR, Kind, Taken, rows_of, rows_of_year

from clary.domain.metrics.datapoints import nothing


def test_a_year_is_a_few_fresh_weeks_and_the_rest_sealed() -> None:
    assert Taken(2.0, 1.0).year == MINUTES * (2 * FRESH + YEAR - FRESH)
    taken = {kind.name: Taken(1.0, 1.0) for kind in KINDS}
    *years, written = rows_of_year(taken, 36)
    assert [row.value for row in years] == [pytest.approx(YEAR * MINUTES * 10_000 / 2**30)] * 3
    assert [row.ok for row in years] == [False, False, None]
    assert "36 written days" in written.what
    assert "written whole" in rows_of_year(taken, YEAR)[-1].what


def test_bytes_are_those_of_the_file(tmp_path: Path) -> None:
    rows, taken = rows_of(Kind("idle", lambda luck: nothing(), 2, 0), tmp_path, FRESH + 7, 1)
    assert 0 < taken.sealed < taken.fresh < 4
    assert [row.value for row in rows[:2]] == [taken.fresh, taken.sealed]
