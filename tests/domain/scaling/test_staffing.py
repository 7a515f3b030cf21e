from __future__ import annotations

import math

import pytest

from clary.domain.scaling.staffing import erlang_b, erlang_c, late_share, staffing, tail


def test_the_references_queue_of_eight() -> None:
    assert erlang_c(8, 6.0) == pytest.approx(0.3570, abs=5e-5)


@pytest.mark.parametrize(
    ("workers", "load", "blocked"), [(1, 1.0, 0.5), (2, 1.0, 0.2), (3, 2.0, 4 / 19), (0, 5.0, 1.0)]
)
def test_erlang_b(workers: int, load: float, blocked: float) -> None:
    assert erlang_b(workers, load) == pytest.approx(blocked)


def test_one_worker_waits_as_often_as_it_is_busy() -> None:
    assert erlang_c(1, 0.7) == pytest.approx(0.7)


def test_all_wait_where_the_load_is_too_much() -> None:
    assert erlang_c(4, 4.0) == 1.0
    assert late_share(4, 5.0, 10.0, 1.0) == 1.0


@pytest.mark.parametrize("load", [0.01, 0.9, 4.0, 17.3, 250.0])
@pytest.mark.parametrize("share", [0.5, 1e-2, 2e-4])
def test_staffing_is_the_least_that_will_do(load: float, share: float) -> None:
    found = staffing(load, 1.0, 1.0, share)
    assert late_share(found, load, 1.0, 1.0) <= share
    assert found - 1 <= load or late_share(found - 1, load, 1.0, 1.0) > share


def test_staffing_goes_with_the_root_of_a_large_load() -> None:
    beta = (staffing(1000.0, 0.0, 1.0, 0.1) - 1000.0) / math.sqrt(1000.0)
    assert beta == pytest.approx(1.42, abs=0.04)  # Halfin-Whitt: P(wait) = 0.1 at beta = 1.42


def test_no_load_needs_nobody_and_no_patience_is_no_trouble() -> None:
    assert staffing(0.0, 1.0, 1.0, 0.01) == 0
    assert staffing(2.0, -3.0, 1.0, 0.5) == staffing(2.0, 0.0, 1.0, 0.5)


def test_quantile_of_services() -> None:
    assert tail(2.0, 0.0) == 2.0
    assert tail(1.0, 0.09) == pytest.approx(1.5522, abs=1e-3)
    assert tail(1.0, 0.09, 0.5) == pytest.approx(1 / math.sqrt(1.09))
