"""The verdicts of `benchmarks/features.py`."""

from __future__ import annotations

import pytest
from benchmarks.features import compare
from benchmarks.load import Load

PEER = (50.0, Load(rate=1000.0, p50=10.0, p99=20.0, failed=0, requests=3000))


@pytest.mark.parametrize(
    ("ours", "verdicts"),
    [
        ((10.0, Load(2000.0, 5.0, 9.0, 0, 6000)), [True, True, True, True]),
        ((10.1, Load(1999.0, 5.1, 9.0, 1, 6000)), [False, False, False, False]),
    ],
)
def test_each_goal_can_be_missed(ours: tuple[float, Load], verdicts: list[bool]) -> None:
    assert [row.ok for row in compare(ours, PEER, 100)] == verdicts


def test_without_the_peer_nothing_is_claimed() -> None:
    rows = compare((10.0, PEER[1]), None, 100)
    assert [(row.ratio, row.ok) for row in rows] == [(None, None), (None, None), (None, True), (None, None)]
