"""A router before queues of their own costs time; a common queue is the least that can be (scaling reference, finding 9)."""

from __future__ import annotations

import numpy
import pytest

from clary.sim.routed import LEAST, TWO_CHOICES, latencies
from clary.sim.traces import poisson


@pytest.mark.parametrize("mode", [LEAST, TWO_CHOICES])
def test_one_worker_is_one_queue_in_every_mode(mode: int) -> None:
    requests = poisson(7.0, 50_000.0, 0.1, 0.0, seed=3)
    waited = latencies(requests.arrivals, requests.work, 1, 1, mode, 1) - requests.work
    assert waited.mean() == pytest.approx(0.7 * 0.1 / (2 * 0.3), rel=0.03)  # Pollaczek-Khinchine


def test_two_choices_cost_more_than_the_least_and_that_more_than_one_queue() -> None:
    requests = poisson(55.2, 20_000.0, 0.1, 0.3, seed=4)  # 69 % of 8 workers
    tails = {}
    for name, replicas, workers, mode in (("one", 1, 8, LEAST), ("least", 8, 1, LEAST), ("two", 8, 1, TWO_CHOICES)):
        tails[name] = numpy.quantile(latencies(requests.arrivals, requests.work, replicas, workers, mode, 2), 0.99)
    assert tails["one"] < tails["least"] < tails["two"]
    assert tails["least"] / tails["one"] == pytest.approx(1.18, abs=0.08)
    assert tails["two"] / tails["one"] == pytest.approx(1.52, abs=0.12)


def test_the_same_seed_the_same_choices() -> None:
    requests = poisson(40.0, 200.0, 0.1, 0.3, seed=4)
    runs = [latencies(requests.arrivals, requests.work, 6, 1, TWO_CHOICES, 9) for _ in range(2)]
    assert numpy.array_equal(*runs)
