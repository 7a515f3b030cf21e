"""What the front's decision at an arrival costs where a variant has a latency objective: how many workers may be busy now."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

from benchmarks.common import Row, arguments, finish
from clary.backends.own_limits import cpus
from clary.domain.endpoints.routes import Boost
from clary.serving.parking import Meter, Parking

MUST = 50.0  # microseconds
DECISIONS = 20_000
WORKERS = 8


@dataclass(slots=True)
class Replica:
    """A replica as the decision sees it."""

    busy: int = 0
    allowed: int = WORKERS
    draining: bool = False
    meter: Meter | None = None

    def alive(self) -> bool:
        return True


@dataclass(slots=True)
class Request:
    arrived: float


def decide(replicas: int) -> list[float]:
    """Seconds of each decision, shortest first: every worker that may be is busy, a request waits, and another worker is wanted or not."""
    fleet = [Replica() for _ in range(replicas)]
    parking = Parking(Boost(objective=0.5, rate=10.0), fleet)
    parking.meter.took(0.1, 200)
    parking.look()
    took = []
    for number in range(DECISIONS):
        queue = [Request(perf_counter())]
        began = perf_counter()
        admitted = parking.admits(queue, began)
        took.append(perf_counter() - began)
        if admitted:
            fleet[number % replicas].busy = min(WORKERS, fleet[number % replicas].busy + 1)
        else:
            for one in fleet:
                one.busy = 0
    return sorted(took)


def rows() -> list[Row]:
    found = []
    for replicas in (1, 8, 32):
        took = decide(replicas)
        for name, place in (("p50", len(took) // 2), ("p99", len(took) * 99 // 100)):
            value = took[place] * 1e6
            what = f"boost decision, {replicas} x {WORKERS} workers, {name}"
            found.append(Row(what, value, "us", must=f"<= {MUST:g} us", ok=value <= MUST))
    return found


def main() -> int:
    given = arguments("boost")
    return finish(rows(), given.json, [f"{DECISIONS} decisions each; {cpus()} cores"])


if __name__ == "__main__":
    raise SystemExit(main())
