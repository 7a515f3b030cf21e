"""When a running trial is stopped before its end: the median rule of early stopping, and Hyperband's rungs. Pure.

Values are the objective's, one an epoch (the n-th number that the metric's expression found is epoch n's).
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median

FEWEST = 3  # earlier trials that a median is taken of
ETA = 3  # of the trials at a rung one in so many goes on

Values = Sequence[float]


def by_median(values: Values, checked: int, earlier: Sequence[Values], maximize: bool) -> int | None:
    """The first epoch after `checked` at which the trial is worse than the median of the running averages that the earlier trials
    had at that epoch (AWS, "Stop training jobs early"); None: it goes on."""
    for epoch in range(checked + 1, len(values) + 1):
        averages = [fmean(each[:epoch]) for each in earlier if len(each) >= epoch]
        if len(averages) < FEWEST:
            continue
        bound = median(averages)
        if values[epoch - 1] < bound if maximize else values[epoch - 1] > bound:
            return epoch
    return None


def rungs(least: int, most: int) -> tuple[int, ...]:
    """The epochs at which trials are compared: least, least * 3, ... below `most`."""
    found, epoch = [], least
    while epoch < most:
        found.append(epoch)
        epoch *= ETA
    return tuple(found)


def by_rungs(
    values: Values, checked: int, others: Sequence[Values], bounds: tuple[int, int], maximize: bool
) -> int | None:
    """Asynchronous successive halving (Li et al., 2020): the first rung after epoch `checked` at which the trial is not among the best
    third of those that reached it so far; MaxResource for one that reached that; None: it goes on."""
    least, most = bounds
    for rung in rungs(least, most):
        if not checked < rung <= len(values):
            continue
        there = [each[rung - 1] for each in others if len(each) >= rung] + [values[rung - 1]]
        if len(there) < ETA:
            continue
        bound = sorted(there, reverse=maximize)[len(there) // ETA - 1]
        if values[rung - 1] < bound if maximize else values[rung - 1] > bound:
            return rung
    return most if len(values) >= most > checked else None
