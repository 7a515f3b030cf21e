"""Which workers of a variant may be busy, where there is a latency objective: time is given, nothing waits."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path

import pytest
from tests.serving.fakes import ACCOUNT, REGION, Bench, echo, replica, route, until, variant
from tests.serving.test_queue import Stage

from clary.domain.endpoints.routes import Boost, EndpointRoute, EndpointView, ReplicaView, VariantView
from clary.domain.metrics.counts import Signals
from clary.serving.parking import Meter, Parking
from clary.toolkit import frames

BOOST = Boost(objective=0.5, hold=0.5)


@dataclass
class Fake:
    """A replica: how many workers are busy is set by the test."""

    allowed: int = 8
    busy: int = 0
    draining: bool = False
    meter: Meter | None = None
    living: bool = True

    def alive(self) -> bool:
        return self.living


@dataclass
class Request:
    arrived: float


def parking(replicas: list[Fake], boost: Boost = BOOST, service: float = 0.1) -> Parking:
    made = Parking.of(None, boost, replicas)
    assert made is not None
    if service:
        made.meter.took(service, 1)
    return made


def fill(park: Parking, one: Fake, waiting: int, now: float) -> int:
    """Give what waits to workers as the queue does; how many of it wait still."""
    queue = [Request(now) for _ in range(waiting)]
    while queue and park.admits(queue, now):
        one.busy += 1
        queue.pop()
    return len(queue)


def test_one_worker_is_ready_and_more_come_with_the_queue_at_once() -> None:
    one = Fake()
    park = parking([one])
    assert park.working(10.0) == 1
    assert fill(park, one, 1, 10.0) == 0
    assert (one.busy, park.working(10.0)) == (1, 1)
    assert fill(park, one, 19, 10.0) == 16  # a tenth of a second each, half a second for all of them
    assert (one.busy, park.working(10.0)) == (4, 4)
    assert fill(park, one, 100, 10.0) == 96
    assert (one.busy, park.working(10.0)) == (8, 8)


def test_no_more_are_unparked_than_are_needed_in_time() -> None:
    one = Fake()
    park = parking([one], service=0.01)
    assert fill(park, one, 20, 10.0) == 19  # 0.2 s of work: one worker is through within half a second
    assert park.working(10.0) == 1


def test_an_expected_rate_keeps_as_many_ready_and_no_queue_is_waited_for() -> None:
    one = Fake()
    park = parking([one], replace(BOOST, rate=30.0))
    assert fill(park, one, 3, 10.0) == 0
    assert park.working(10.0) == 4  # three for the rate, and one for what waited


def test_workers_are_parked_one_by_one_when_they_had_nothing_to_do_for_the_hold() -> None:
    one = Fake(busy=0)
    park = parking([one])
    fill(park, one, 50, 10.0)
    one.busy = 5
    assert park.working(11.0) == 8  # three have just become idle
    one.busy = 3
    assert park.working(11.4) == 8
    assert park.working(11.5) == 5
    assert park.working(11.9) == 3
    one.busy = 0
    assert park.working(12.0) == 3
    assert park.working(12.5) == 1  # the base


def test_who_is_used_again_is_not_parked() -> None:
    one = Fake()
    park = parking([one])
    fill(park, one, 12, 10.0)
    assert one.busy == 3
    for tick in range(5):
        one.busy = 2
        assert park.working(11.0 + 0.4 * tick) == 3
        assert fill(park, one, 1, 11.3 + 0.4 * tick) == 0
    one.busy = 2
    assert park.working(13.0) == 3
    assert park.working(13.5) == 2


def test_nothing_is_saved_while_nobody_knows_what_a_request_takes() -> None:
    one = Fake()
    park = parking([one], service=0.0)
    assert fill(park, one, 8, 10.0) == 0


def test_on_a_full_machine_no_more_are_busy_than_its_part_and_what_runs_goes_on() -> None:
    one = Fake()
    park = parking([one])
    fill(park, one, 100, 10.0)
    park.bind(3, 20.0)
    assert (one.busy, park.ceiling, park.room) == (8, 3, -5)
    assert fill(park, one, 5, 10.1) == 5
    one.busy = 2
    assert fill(park, one, 5, 11.0) == 4
    assert park.full  # those that are allowed have all work: quick ones may be sent some ahead
    park.bind(5, 20.0)
    assert fill(park, one, 50, 12.0) == 48
    park.bind(0, 0.0)
    assert fill(park, one, 50, 13.0) == 47


def test_a_ceiling_lapses_when_nobody_says_it_again() -> None:
    one = Fake()
    park = parking([one])
    park.bind(1, 20.0)
    assert fill(park, one, 50, 19.9) == 49
    assert (park.working(19.9), park.ceiling) == (1, 1)
    assert fill(park, one, 50, 20.0) == 43
    assert park.ceiling == 8


def test_a_new_route_or_replica_leaves_the_ceiling() -> None:
    one, other = Fake(), Fake()
    park = parking([one])
    park.bind(6, 20.0)
    replicas = [one, other]
    park._replicas = replicas
    assert Parking.of(park, BOOST, replicas) is park
    assert (park.supply, park.ceiling) == (16, 6)


def test_who_waits_for_workers_that_hang_gets_another() -> None:
    one = Fake(busy=1)
    park = parking([one], service=0.001)
    assert not park.admits([Request(10.0)], 10.49)
    assert park.admits([Request(10.0)], 10.51)


@pytest.mark.parametrize("lost", [Fake(draining=True), Fake(living=False)])
def test_the_allowance_of_replicas_that_take_work_is_the_limit(lost: Fake) -> None:
    one = Fake(allowed=2)
    park = parking([one, lost], replace(BOOST, base=4))
    assert (park.ceiling, park.base) == (2, 2)
    assert fill(park, one, 50, 10.0) == 48


def test_a_ceiling_that_falls_counts_at_once_and_one_that_rises_when_it_is_needed() -> None:
    one = Fake()
    park = parking([one])
    fill(park, one, 50, 10.0)
    one.allowed = 4
    assert Parking.of(park, BOOST, [one]) is park
    assert (park.most, park.ceiling) == (4, 4)
    assert park.working(10.0) == 8  # those that are busy finish
    one.allowed, one.busy = 16, 4
    park.look()
    assert (park.most, park.ceiling) == (4, 16)
    assert fill(park, one, 100, 10.1) == 88


def test_what_comes_beyond_the_expected_rate_the_queue_asks_for() -> None:
    """Forty requests a second, of a tenth of a second each, while ten are expected."""
    one = Fake()
    park = parking([one], replace(BOOST, rate=10.0))
    for tick in range(40):
        one.busy = 0
        assert park.admits([Request(100.0 + tick / 40)], 100.0 + tick / 40)
    one.busy = 1
    assert park.admits([Request(101.0)], 101.0)  # one for the rate, one for who waits
    one.busy = 2
    assert not park.admits([Request(101.0)], 101.0)


def test_mean_and_spread_of_the_last_completions() -> None:
    meter = Meter()
    assert (meter.mean, meter.spread) == (0.0, 0.0)
    for _ in range(100):
        meter.took(0.1, 1)
        meter.took(0.3, 1)
    assert meter.mean == pytest.approx(0.2, abs=0.01)
    assert meter.spread == pytest.approx(0.25, abs=0.01)
    for _ in range(50):
        meter.took(1.0, 64)  # batches
    assert meter.mean == pytest.approx(1.0, abs=0.01)
    assert meter.spread == pytest.approx(0.0, abs=0.01)


def boosted(workers: int, batch: int = 1) -> Stage:
    stage = Stage(workers, batch)
    stage.variant.route = replace(stage.variant.route, boost=BOOST)
    stage.variant.look()
    return stage


def test_a_variant_gives_work_to_as_many_workers_as_the_objective_needs() -> None:
    stage = boosted(workers=4)
    assert stage.variant.parking is not None
    stage.variant.parking.meter.took(0.01, 1)
    clients = stage.offer(20)
    assert stage.held() == [[], [], [], [1]]
    assert stage.loop.timers == []  # nobody looks again each millisecond
    stage.variant.parking.meter.took(1.0, 1000)
    stage.offer(1)
    assert stage.held() == [[1], [1], [1], [1]]
    for _ in range(21):
        for worker in range(4):
            if stage.lines[worker].sent:
                stage.answer(worker)
    assert all(client.answers for client in clients)


def test_a_variant_tells_what_scaling_goes_by() -> None:
    stage = boosted(workers=2)
    stage.variant.counters.late_after = stage.variant.counters.watched = 0.0  # nothing is so quick
    stage.offer(3)
    stage.answer(1)
    seen = stage.variant.view().signals
    assert seen is not None
    assert (seen.late, seen.working, seen.ceiling) == (1, 2, 2)
    assert seen.service > 0
    told = stage.variant.counts(ACCOUNT, REGION, "iris")
    assert told.signals is not None
    assert (told.arrivals, told.completed, told.in_flight, told.queued) == (3, 1, 2, 0)
    assert told.signals.late == 1


def test_a_variant_whose_objective_was_taken_back_holds_nobody() -> None:
    stage = boosted(workers=2)
    assert stage.replica.meter is not None
    stage.variant.route = replace(stage.variant.route, boost=None)
    stage.variant.look()
    assert stage.variant.parking is None
    assert stage.replica.meter is None
    assert stage.variant.counters.watched == inf
    assert stage.variant.view().signals is None


def test_objectives_and_signals_pass_as_json() -> None:
    route = EndpointRoute(ACCOUNT, REGION, "iris", 1, (variant("A", 1.0, replica("r"), boost=BOOST),))
    assert EndpointRoute.from_json(route.to_json()) == route
    view = EndpointView(
        ACCOUNT, REGION, "iris", 1, (VariantView("A", (ReplicaView("r", "ready"),), signals=Signals(3)),)
    )
    assert EndpointView.from_json(view.to_json()) == view


async def test_a_request_behind_one_that_hangs_gets_a_parked_worker(tmp_path: Path) -> None:
    """Nothing was to be expected of the first: all before were answered at once, by one worker."""
    go_on = asyncio.Event()

    async def hangs(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]]:
        if bytes(batch[0].body) == b"hang":
            await go_on.wait()
        return await echo(batch)

    async with Bench(tmp_path) as bench:
        await bench.put(route(variant("AllTraffic", 1.0, replica("r1", 3), boost=Boost(objective=0.2))))
        await bench.replica("r1", hangs, workers=3, batch=1)
        for number in range(10):
            assert (await bench.invoke(b"%d" % number)).status == 200
        first = asyncio.create_task(bench.invoke(b"hang"))
        await until(lambda: bench.front.replicas["r1"].busy == 1)
        async with asyncio.timeout(60):
            assert (await bench.invoke(b"1")).status == 200
        go_on.set()
        assert (await first).status == 200
        [told] = bench.front.counts()
        assert told.signals is not None
        assert (told.completed, told.signals.ceiling) == (12, 3)


async def test_two_fleets_of_a_variant_share_its_ceiling(tmp_path: Path) -> None:
    """An endpoint that changes has both; others of the endpoint have none of it."""
    async with Bench(tmp_path) as bench:
        old = variant("A", 1.0, replica("r1", 6), key="A/old", boost=BOOST)
        new = variant("A", 1.0, replica("r2", 2), key="A/new", boost=BOOST)
        other = variant("B", 1.0, replica("r3", 4), boost=BOOST)
        await bench.put(route(old, new, other))
        for name in ("r1", "r2", "r3"):
            await bench.replica(name)
        endpoint = bench.front.endpoints[ACCOUNT, REGION, "iris"]

        def ceilings() -> dict[str, int]:
            return {key: each.parking.ceiling for key, each in endpoint.variants.items() if each.parking is not None}

        assert ceilings() == {"A/old": 6, "A/new": 2, "B": 4}
        endpoint.bound("A", 4, inf)
        assert ceilings() == {"A/old": 3, "A/new": 1, "B": 4}
        endpoint.bound("A", 1, inf)
        assert ceilings() == {"A/old": 1, "A/new": 1, "B": 4}
        endpoint.bound("A", 0, 0.0)
        assert ceilings() == {"A/old": 6, "A/new": 2, "B": 4}


async def test_requests_beyond_a_ceiling_wait_and_go_on_when_it_is_lifted(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def waits(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]]:
        await go_on.wait()
        return await echo(batch)

    async with Bench(tmp_path) as bench:
        await bench.put(route(variant("AllTraffic", 1.0, replica("r1", 3), boost=BOOST)))
        await bench.replica("r1", waits, workers=3, batch=1)
        endpoint, one = bench.front.endpoints[ACCOUNT, REGION, "iris"], bench.front.replicas["r1"]
        endpoint.bound("AllTraffic", 2, inf)
        asked = [asyncio.create_task(bench.invoke(b"%d" % number)) for number in range(5)]
        await until(lambda: endpoint.variants["AllTraffic"].waiting() == 3)
        assert one.busy == 2
        endpoint.bound("AllTraffic", 0, 0.0)
        await until(lambda: one.busy == 3)
        go_on.set()
        assert [(await each).status for each in asked] == [200] * 5
