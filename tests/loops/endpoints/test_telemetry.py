"""Telemetry: every count is told once, whatever is restarted."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from clary.domain.endpoints.fleets import READY, Plant, Replica, new_fleet
from clary.domain.endpoints.serving_metrics import NAMESPACE
from clary.domain.errors import Unavailable
from clary.domain.machine.usage import Used
from clary.domain.machine.workload import Workload
from clary.domain.metrics.counts import VariantCounts
from clary.domain.metrics.datapoints import Series
from clary.domain.models.containers import Container
from clary.domain.resources import Record, Scope
from clary.domain.scaling.samples import Key
from clary.loops.endpoints.telemetry import IDLE_AFTER, MARK, USAGE_EVERY, Telemetry, TelemetryPorts
from clary.testing.backends import MemoryBackend
from clary.testing.clock import FakeClock
from clary.testing.datapoints import MemoryDatapoints
from clary.testing.fronts import ACCOUNT, REGION, MemoryFronts, route
from clary.testing.store import MemoryStore

SCOPE = Scope(ACCOUNT, REGION)
WHERE = (ACCOUNT, REGION, "iris", "AllTraffic")
SERIES = Series.of(NAMESPACE, "Invocations", {"EndpointName": "iris", "VariantName": "AllTraffic"})


class Scene:
    def __init__(self) -> None:
        self.fronts = MemoryFronts()
        self.datapoints = MemoryDatapoints()
        self.clock = FakeClock()
        self.telemetry = self.made()

    def made(self) -> Telemetry:
        ports = TelemetryPorts(
            MemoryStore(), self.fronts, MemoryBackend(), self.datapoints, self.clock, lambda name: 1 << 30
        )
        return Telemetry(ports)

    def counted(self, arrivals: int, born: str = "one") -> None:
        self.fronts.counted[WHERE] = VariantCounts(
            *WHERE, "AllTraffic", "", born, serving=1, arrivals=arrivals, completed=arrivals
        )

    async def second(self, arrivals: int | None = None, born: str = "one") -> None:
        if arrivals is not None:
            self.counted(arrivals, born)
        self.clock.advance(1.0)
        await self.telemetry.collect()

    def sums(self) -> list[float]:
        now = self.clock.now()
        return [summary.total for _, summary in self.datapoints.get(SCOPE, SERIES, now - 100, now + 10, 1)]


@pytest.fixture
async def scene() -> Scene:
    scene = Scene()
    await scene.fronts.put(route("r1"))
    return scene


async def test_each_second_has_what_came_in_it(scene: Scene) -> None:
    for arrivals in (5, 5, 8):
        await scene.second(arrivals)
    assert scene.sums() == [5.0, 0.0, 3.0]


async def test_an_endpoint_that_is_idle_for_long_says_so_now_and_then(scene: Scene) -> None:
    await scene.second(1)
    for _ in range(199):
        await scene.second(1)
    now = scene.clock.now()
    told = [at for at, _ in scene.datapoints.get(SCOPE, SERIES, now - 300, now + 10, 1)]
    late = [at for at in told if at > told[0] + IDLE_AFTER]
    assert len(told) == 61 + len(late)
    assert {second - first for first, second in itertools.pairwise(late)} == {10.0}
    for window in range(int(now - 190) // 10, int(now) // 10):
        assert len(scene.datapoints.get(SCOPE, SERIES, window * 10, window * 10 + 10, 10)) == 1
    await scene.second(2)
    await scene.second(2)
    assert [summary.total for _, summary in scene.datapoints.get(SCOPE, SERIES, now, now + 10, 1)] == [1.0, 0.0]


async def test_a_successor_goes_on_from_what_was_told(scene: Scene) -> None:
    await scene.second(5)
    scene.counted(9)
    scene.telemetry = scene.made()
    await scene.second()
    await scene.second(10)
    assert scene.sums() == [5.0, 4.0, 1.0]


async def test_a_front_that_begins_anew_counts_from_zero(scene: Scene) -> None:
    await scene.second(5)
    await scene.second(7, born="two")
    assert scene.sums() == [5.0, 7.0]
    assert list(scene.datapoints.marks(MARK)) == [f"{MARK}two"]


async def test_a_front_that_is_away_is_not_forgotten(scene: Scene) -> None:
    await scene.second(5)
    scene.fronts.away = True
    await scene.second()
    scene.fronts.away = False
    await scene.second(6)
    assert scene.sums() == [5.0, 1.0]


class Full(MemoryDatapoints):
    full = True

    def put(self, scope: Scope, datapoints: Any, marks: Any = ()) -> None:
        if self.full:
            raise Unavailable("no room")
        super().put(scope, datapoints, marks)


async def test_what_could_not_be_kept_is_told_later() -> None:
    scene = Scene()
    await scene.fronts.put(route("r1"))
    scene.datapoints = full = Full()
    scene.telemetry = scene.made()
    with pytest.raises(Unavailable):
        await scene.second(5)
    full.full = False
    await scene.second(6)
    assert scene.sums() == [6.0]


async def test_an_endpoint_that_is_gone_is_forgotten(scene: Scene) -> None:
    await scene.second(5)
    await scene.fronts.drop(*WHERE[:3])
    await scene.second()
    assert scene.datapoints.marks(MARK) == {}


@pytest.mark.parametrize(("late", "second"), [(0.02, -1.0), (0.4, -1.0), (0.9, 0.0)])
async def test_datapoints_are_of_the_second_that_ended(scene: Scene, late: float, second: float) -> None:
    begin = scene.clock.now()
    scene.counted(3)
    scene.clock.advance(late)
    await scene.telemetry.collect()
    ((at, _),) = scene.datapoints.get(SCOPE, SERIES, begin - 10, begin + 10, 1)
    assert at == begin + second


async def test_a_model_that_is_unloaded_while_nobody_asks_is_told_once(scene: Scene) -> None:
    unloads = replace(SERIES, metric="ModelUnloadingTime", unit="Microseconds")
    await scene.second(5)
    scene.fronts.counted[WHERE] = replace(scene.fronts.counted[WHERE], models=(("unloads", 1.0), ("unloading", 0.25)))
    for _ in range(3):
        await scene.second()
    now = scene.clock.now()
    found = scene.datapoints.get(SCOPE, unloads, now - 100, now + 10, 1)
    assert [(summary.count, summary.total) for _, summary in found] == [(1.0, 250_000.0)]


async def test_what_replicas_use_is_told_by_variant(scene: Scene) -> None:
    house, backend, told = MemoryStore(), MemoryBackend(), list[Mapping[Key, Used]]()
    ports = replace(scene.telemetry.ports, store=house, backend=backend, use=told.append)
    row = {"VariantName": "AllTraffic", "ModelName": "m", "InitialInstanceCount": 2, "InstanceType": "ml.m5.large"}
    fleet = new_fleet("f", "c", [row], {"m": [Container("m", "image")]}, 0.0)
    runs = [await backend.start(Workload(f"r{n}", ("x",), {})) for n in range(2)]
    replicas = tuple(Replica(f"r{n}", READY, handle=run) for n, run in enumerate(runs))
    fleet = fleet.with_variant(replace(fleet.variants[0], replicas=replicas))
    plant = Plant(seed="s", serving=fleet).to_json()
    document: dict[str, Any] = {"request": {}, "tags": [], "plant": plant}
    await house.add(Record("endpoint", SCOPE, "iris", "arn:e", "InService", 0.0, 0.0, document))
    telemetry = Telemetry(ports)
    for look in range(2):
        for run in runs:
            backend.update(run, cpu_seconds=3.0 * look, waited_seconds=1.0 * look, started_at=1.0)
        scene.counted(5)
        await telemetry.collect()
        scene.clock.advance(USAGE_EVERY)
    assert told == [{}, {WHERE: Used(USAGE_EVERY, 6.0, 2.0)}]
