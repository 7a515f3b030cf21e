"""The forecast floor."""

from __future__ import annotations

from clary.domain.scaling.forecast import floor


def test_the_usual_rate_is_a_floor_and_needs_days() -> None:
    assert floor([40.0] * 14, 0.1, 3.0, 0.5, 0.5, 2) == 3
    assert floor([40.0, 40.0], 0.1, 3.0, 0.5, 0.5, 2) == 0
    assert floor([40.0] * 13 + [4000.0], 0.1, 3.0, 0.5, 0.5, 2) == 3
