from __future__ import annotations

import pytest

from clary.domain.tuning import stopping


@pytest.mark.parametrize(
    ("values", "checked", "earlier", "maximize", "epoch"),
    [
        ([3.0], 0, [[1.0], [2.0], [2.5]], False, 1),  # worse than the median 2
        ([2.0], 0, [[1.0], [2.0], [2.5]], False, None),  # as good as the median
        ([3.0], 0, [[1.0], [2.0], [2.5]], True, None),
        ([1.5], 0, [[1.0], [2.0], [2.5]], True, 1),
        ([9.0], 0, [[1.0], [2.0]], False, None),  # too few to take a median of
        (
            [1.0, 2.0],
            0,
            [[4.0, 1.0], [4.0, 1.0], [4.0, 1.0]],
            False,
            None,
        ),  # averages 2.5 at epoch 2, not the values 1.0
        ([1.0, 2.6], 0, [[4.0, 1.0], [4.0, 1.0], [4.0, 1.0]], False, 2),
        ([9.0, 1.0], 1, [[4.0, 4.0], [4.0, 4.0], [4.0, 4.0]], False, None),  # epoch 1 was looked at before
        ([9.0, 9.0], 0, [[1.0], [1.0], [1.0]], False, 1),
        ([0.5, 9.0], 0, [[1.0], [1.0], [1.0]], False, None),  # nobody came to epoch 2
        ([], 0, [[1.0], [1.0], [1.0]], False, None),
    ],
)
def test_the_median_rule(
    values: list[float], checked: int, earlier: list[list[float]], maximize: bool, epoch: int | None
) -> None:
    assert stopping.by_median(values, checked, earlier, maximize) == epoch


@pytest.mark.parametrize(
    ("least", "most", "found"), [(1, 27, (1, 3, 9)), (1, 28, (1, 3, 9, 27)), (2, 10, (2, 6)), (5, 5, ())]
)
def test_rungs(least: int, most: int, found: tuple[int, ...]) -> None:
    assert stopping.rungs(least, most) == found


BOUNDS = (1, 9)


@pytest.mark.parametrize(
    ("values", "checked", "others", "maximize", "epoch"),
    [
        ([5.0], 0, [], False, None),  # the first one goes on
        ([5.0], 0, [[1.0]], False, None),  # a third of two is nobody
        ([5.0], 0, [[1.0], [2.0]], False, 1),
        ([0.5], 0, [[1.0], [2.0]], False, None),
        ([0.5], 0, [[1.0], [2.0]], True, 1),
        ([1.5], 0, [[1.0], [2.0], [3.0], [4.0], [5.0]], False, None),  # second of six: a third of them goes on
        ([2.5], 0, [[1.0], [2.0], [3.0], [4.0], [5.0]], False, 1),
        ([0.0, 9.0], 1, [[1.0], [2.0]], False, None),  # between two rungs nothing is compared
        ([0.0, 9.0, 9.0], 1, [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]], False, 3),
        ([9.0, 0.0, 0.0], 0, [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]], False, 1),  # a rung that was run past counts too
        ([1.0] * 9, 3, [], False, 9),  # MaxResource ends every trial
        ([1.0] * 12, 9, [], False, None),  # and only once
    ],
)
def test_successive_halving(
    values: list[float], checked: int, others: list[list[float]], maximize: bool, epoch: int | None
) -> None:
    assert stopping.by_rungs(values, checked, others, BOUNDS, maximize) == epoch
