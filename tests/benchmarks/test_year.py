"""The year's benchmark: which labels come together, and what it says of the poisoned day."""

from __future__ import annotations

from typing import Any

import pytest
from benchmarks.year import DAILY, DAYS, POISONED, STEP, LiveStream

from benchmarks import year

STARTED, KEPT = {"what": "retraining started", "why": "w"}, {"what": "retraining kept the incumbent", "why": "w"}


def stream(poison: list[int] | None = None, pinned: bool = True) -> LiveStream:
    return LiveStream("poisoned", [], [], [[1.0, 2.0]] if pinned else [], right=[1.0], poison=poison or [])


@pytest.mark.parametrize("pinned", [True, False])
def test_every_day_comes_once_in_order(pinned: bool) -> None:
    days = [day for step in range(0, DAYS, STEP) for part in year.parts(stream(pinned=pinned), step) for day in part]
    assert days == list(range(DAYS))


def test_around_the_poisoned_day_labels_come_day_by_day() -> None:
    assert POISONED in DAILY
    assert DAILY.start % STEP == DAILY.stop % STEP == 0  # whole steps: `days` marks the history at both ends
    assert all(len(part) == 1 for part in year.parts(stream(), DAILY.start))
    assert year.parts(stream(), DAILY.stop) == [range(DAILY.stop, DAILY.stop + STEP)]
    assert year.parts(stream(pinned=False), DAILY.start) == [range(DAILY.start, DAILY.start + STEP)]


@pytest.mark.parametrize(
    ("lines", "poison", "good"),
    [
        ([STARTED, STARTED, KEPT, STARTED], [1, 3], [True, True]),  # the others are of the change, and of later
        ([STARTED, STARTED], [1, 2], [True, False]),  # a poisoned model was taken in
        ([STARTED, STARTED], [1, 1], [False, True]),  # the gate was never asked: nothing is shown
    ],
)
def test_the_gate_must_have_been_asked_and_have_kept_the_incumbent(
    lines: list[dict[str, Any]], poison: list[int], good: list[bool]
) -> None:
    assert [row.ok for row in year.poisoned(stream(poison), lines)] == good


@pytest.mark.parametrize(("poison", "rows"), [([], 0), ([0], 0), ([0, 1], 2)])
def test_a_quick_look_says_nothing_of_a_poisoned_day_that_did_not_come(poison: list[int], rows: int) -> None:
    others = {"poisoned": {policy: {"accuracy": [1.0], "trainings": 1} for policy in ("daily", "oracle")}}
    told = year.table([stream(poison)], others, {"poisoned": [STARTED]})
    assert sum("wrong labels" in row.what or "taken in" in row.what for row in told) == rows
