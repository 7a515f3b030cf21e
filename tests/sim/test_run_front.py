"""The front's boost and the simulator's are one rule: the same requests meet the same workers, whoever counts them."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy
import pytest

from clary.domain.endpoints.routes import Boost
from clary.domain.scaling.signals import Current, Desired, Reason, Sample
from clary.serving.parking import Meter, Parking
from clary.sim.run import Run, World
from clary.sim.traces import Requests, stepped

CEILING = 16
STEP = 0.01  # seconds between looks at how many may work


@dataclass
class Fake:
    """A replica of many workers."""

    busy: int = 0
    allowed: int = CEILING
    draining: bool = False
    meter: Meter | None = None

    def alive(self) -> bool:
        return True


@dataclass
class Request:
    arrived: float
    number: int


class Fixed:
    """A policy that has decided once and for all."""

    def __init__(self, boost: Boost) -> None:
        self.boost = boost

    def decide(self, samples: Sequence[Sample], current: Current, last_change: float, now: float) -> Desired:
        b = self.boost
        return Desired(1, CEILING, b.base, b.rate, Reason("fixed"), b.hold, b.delta)


def through_the_front(requests: Requests, boost: Boost) -> tuple[list[float], float]:
    """Latencies, and workers that may be busy, in the mean: the front's own object, over a queue and completions of the test's."""
    one = Fake()
    park = Parking.of(None, boost, [one])
    assert park is not None
    park.meter.took(float(requests.work.mean()), 200)
    queue: deque[Request] = deque()
    running: list[tuple[float, int]] = []
    latency = [0.0] * len(requests.arrivals)
    worked, looks, look = 0.0, 0, 0.0

    def pump(now: float) -> None:
        while queue and park.admits(queue, now):
            request = queue.popleft()
            one.busy += 1
            heapq.heappush(running, (now + requests.work[request.number], request.number))

    def finish(until: float) -> None:
        while running and running[0][0] <= until:
            now, number = heapq.heappop(running)
            one.busy -= 1
            park.meter.took(float(requests.work[number]), 1)
            latency[number] = now - requests.arrivals[number]
            pump(now)

    for number, arrival in enumerate(requests.arrivals):
        while look < arrival:
            finish(look)
            worked, looks, look = worked + park.working(look), looks + 1, look + STEP
        finish(arrival)
        queue.append(Request(arrival, number))
        pump(arrival)
    finish(1e9)
    return latency, worked / looks


@pytest.mark.parametrize(("rate", "delta"), [(0.0, 0.6), (40.0, 0.6), (60.0, 1.0)])
def test_the_front_gives_as_many_workers_as_the_simulator(rate: float, delta: float) -> None:
    """Load that varies between 30 and 90 requests a second, of a tenth of a second each, while `rate` of them are expected: the rest is
    left to the queue to ask for."""
    requests = stepped([(60.0, 60.0), (60.0, 90.0), (60.0, 30.0)], 0.1, 0.3, seed=3, patience=5.0)
    boost = Boost(requests.objective, 1, rate, delta, 0.3)
    world = World(allowance=CEILING, first=1, resize=0.0)
    result = Run(requests, world).through(Fixed(boost))
    latency, workers = through_the_front(requests, boost)
    assert workers == pytest.approx(float(result.seconds[:, 8].mean()), rel=0.03)
    assert numpy.mean(latency) == pytest.approx(float(result.latency.mean()), rel=0.03)
    assert max(latency) <= requests.objective
