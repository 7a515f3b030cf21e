"""The endpoint loop over fakes while an endpoint changes: alarms wake it, sizes reach the backend, the history is written."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.loops.endpoints.test_subject import ARN, ROLE, SCOPE, Yard

from clary.domain.endpoints import life
from clary.domain.endpoints.fleets import Fleet, Plant, new_fleet
from clary.domain.machine.capacity import Machine
from clary.domain.machine.instances import GIB
from clary.domain.models.containers import Container
from clary.domain.resources import Record
from clary.loops.endpoints.guards import Guards
from clary.testing.runtimes import MemoryRuntimes
from clary.testing.store import MemoryStore

CONFIG = {
    "BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 3600}},
    "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "bad"}]},
}


@pytest.fixture
async def yard(tmp_path: Path) -> AsyncIterator[Yard]:
    made = Yard(tmp_path)
    yield made
    await made.close()


def fleet(name: str, kind: str = "ml.m5.large", count: int = 1, **container: Any) -> Fleet:
    row = {"VariantName": "A", "ModelName": "m", "InstanceType": kind, "InitialInstanceCount": count}
    made = Container("m", "xgboost:1", "s3://b/m.tar.gz", role=ROLE, **container)
    return new_fleet(name, f"config-{name}", [row], {"m": made}, 0.0)


async def update(yard: Yard, wanted: Fleet, config: Any = None) -> None:
    record = await yard.record()
    assert record is not None
    await yard.store.save(life.asked_update(record, wanted, config or {}, yard.clock.now()))


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.002)


def alarm(state: str, name: str = "bad") -> Record:
    return Record("alarm", SCOPE, name, f"arn:alarm:{name}", state, 0.0, 0.0, {})


def history(yard: Yard) -> list[dict[str, Any]]:
    lines = yard.logs.tail(SCOPE, "/clary/Endpoints/e", "history", 100)
    return [json.loads(line) for line in lines]


async def test_an_alarm_that_changes_wakes_the_loop_which_rolls_back(yard: Yard) -> None:
    await yard.create()
    await yard.in_service()
    stored = await yard.store.add(alarm("OK"))
    await update(yard, fleet("new", environment={"V": "2"}), CONFIG)
    await until(lambda: history(yard)[-1]["what"] == "baking")
    await yard.store.save(replace(stored, status="ALARM"))  # nothing else happens, and the clock stands still
    record = await yard.in_service()
    plant = life.plant_of(record)
    assert plant.failure == "The CloudWatch alarm bad is in state ALARM."
    assert plant.serving is not None
    assert plant.serving.config == "c"


@pytest.mark.parametrize("jump", [86400, 3600, -3600, -86400])
async def test_a_clock_that_is_set_makes_no_bake_shorter_or_longer(yard: Yard, jump: int) -> None:
    """faults.md 38. Neither is the time spent that the whole deployment may take."""
    await yard.create()
    await yard.in_service()
    policy = {**CONFIG["BlueGreenUpdatePolicy"], "MaximumExecutionTimeoutInSeconds": 7200}
    await update(yard, fleet("new", environment={"V": "2"}), {"BlueGreenUpdatePolicy": policy})
    await until(lambda: history(yard)[-1]["what"] == "baking")
    yard.clock.advance(1800)
    began = yard.clock.now() - 1800
    yard.clock.jump(jump)

    async def since() -> float:
        record = await yard.record()
        assert record is not None
        rollout = life.plant_of(record).rollout
        assert rollout is not None
        return rollout.since

    async with asyncio.timeout(60):
        while await since() != began + jump:  # half of it is over, as before
            await asyncio.sleep(0.002)
    yard.clock.advance(1799)
    await yard.loop.turn(ARN)
    assert history(yard)[-1]["what"] == "baking"
    yard.clock.advance(1)
    yard.loop.wake(ARN)
    record = await yard.in_service()
    plant = life.plant_of(record)
    assert plant.failure == ""
    assert plant.serving is not None
    assert plant.serving.config == "config-new"


async def test_alarms_of_others_wake_nobody() -> None:
    store = MemoryStore()
    guards = Guards(store)
    record = await _guarded(store, guards, "bad")
    assert guards.guarded(alarm("ALARM")) == {record.arn}
    assert guards.guarded(alarm("ALARM", "other")) == set()
    assert guards.guarded(replace(alarm("ALARM"), scope=replace(SCOPE, region="us-east-1"))) == set()
    assert guards.guarded(replace(alarm("ALARM"), kind="model")) == set()
    assert await guards.states(record, life.plant_of(record)) == {"bad": None}
    await guards.states(record, replace(life.plant_of(record), rollout=None))
    assert guards.guarded(alarm("ALARM")) == set(), "the rollout is over"


async def _guarded(store: MemoryStore, guards: Guards, name: str) -> Record:
    from clary.domain.endpoints.deployment import plan
    from clary.domain.endpoints.fleets import Plant

    config = {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name}]}}
    plant = Plant("s", rollout=plan(config, {"A": 1}, {"A": 1}, 0.0))
    record = Record("endpoint", SCOPE, "e", ARN, "Updating", 0.0, 0.0, {"plant": plant.to_json()})
    await guards.states(record, plant)
    return record


async def test_another_instance_type_reaches_the_backend_and_the_front_but_starts_nothing(yard: Yard) -> None:
    await yard.create()
    await yard.in_service()
    (before,) = yard.replicas()
    await update(yard, fleet("new", "ml.t2.medium", environment={}))
    await until(lambda: yard.fronts.routes["e"].variants[0].fleet == "config-new")
    await yard.in_service()
    assert yard.replicas() == [before]
    assert yard.backend.sizes[before.key] == (2.0, 4 << 30)
    assert yard.backend.opened == 1
    assert [line["what"] for line in history(yard)] == ["in service", "update asked", "changed in place", "in service"]


async def test_a_size_that_the_model_does_not_fit_is_refused_before_it_hurts(yard: Yard) -> None:
    await yard.create()
    await yard.in_service()
    (workload,) = yard.replicas()
    before = yard.backend.sizes[workload.key]
    yard.backend.update(workload.key, memory_bytes=5 << 30)
    await update(yard, fleet("new", "ml.t2.medium"))
    await until(lambda: history(yard)[-1]["what"] == "rolled back")
    record = await yard.in_service()
    assert "ml.t2.medium has 4096 MiB of memory here, and the model uses 5120 MiB" in life.plant_of(record).failure
    assert yard.backend.sizes[workload.key] == before


async def test_strict_counts_the_new_size(yard: Yard) -> None:
    """The machine has 2 vCPU: a replica of ml.m5.large has them, and there are no 4."""
    await yard.close()
    yard.policy = "strict"
    yard.open()
    await yard.create()
    await yard.in_service()
    await update(yard, fleet("new", "ml.m5.xlarge"))
    await until(lambda: history(yard)[-1]["what"] == "rolled back")
    record = await yard.in_service()
    assert "could not be changed in place" in life.plant_of(record).failure
    await update(yard, fleet("newer", "ml.t2.medium"))
    await until(lambda: history(yard)[-1]["what"] == "in service")
    assert [claim.fits[0].memory >> 30 for claim in yard.ledger.held()] == [4]


class Interleaving(MemoryRuntimes):
    """Lets the starts of two updates take turns: the first of the one, the first of the other, the second of the one ..."""

    def __init__(self) -> None:
        super().__init__()
        self.gates: list[asyncio.Event] | None = None

    async def ensure(self, runtime: Any, extra: str = "", log: Any = None) -> Any:
        found = await super().ensure(runtime, extra, log)
        if self.gates is not None and log is None:  # a start, not a build
            gate = asyncio.Event()
            self.gates.append(gate)
            if len(self.gates) == 4:
                opening, self.gates = self.gates, None
                for each in (opening[0], opening[2], opening[1], opening[3]):
                    each.set()
            await gate.wait()
        return found


async def test_of_two_updates_at_once_one_goes_through_and_the_other_back(yard: Yard) -> None:
    """There is room for one new fleet of two. Taken replica by replica, each update would get a half of it and both would fail."""
    await yard.close()
    yard.policy, yard.machine = "strict", Machine(8, 64 * GIB, 64 * GIB)
    yard.runtimes = starts = Interleaving()
    yard.open()
    await yard.create()
    first = await yard.in_service()
    serving = fleet("other", count=1)
    other = f"{ARN[:-2]}/o"
    plant = Plant(seed="o", incoming=serving, changed=yard.clock.now())
    document = {**first.document, "plant": plant.to_json()}
    await yard.store.add(Record("endpoint", SCOPE, "o", other, "Creating", 0.0, 0.0, document))
    names = ("e", "o")

    async def settled() -> dict[str, Record]:
        async with asyncio.timeout(60):
            while True:
                found = {name: await yard.store.get("endpoint", SCOPE, name) for name in names}
                if all(record is not None and record.status == "InService" for record in found.values()):
                    return {name: record for name, record in found.items() if record is not None}
                for arn in (ARN, other):
                    yard.loop.wake(arn)
                await asyncio.sleep(0.005)

    before = await settled()
    starts.gates = []
    for name, record in before.items():
        wanted = fleet(f"new-{name}", count=2, environment={"V": "2"})
        await yard.store.save(life.asked_update(record, wanted, {}, yard.clock.now()))
    plants = {name: life.plant_of(record) for name, record in (await settled()).items()}
    configs = {name: plant.serving.config if plant.serving else "" for name, plant in plants.items()}
    through = [name for name in names if configs[name] == f"config-new-{name}"]
    assert len(through) == 1, configs
    [back] = set(names) - set(through)
    assert f"held by endpoint {through[0]}" in plants[back].failure
    assert plants[through[0]].failure == ""


async def test_the_history_is_numbered_and_tells_why(yard: Yard) -> None:
    await yard.create()
    await yard.in_service()
    yard.failure = "Traceback\nKeyError: 'x'"
    await update(yard, fleet("new", environment={"V": "2"}))
    await until(lambda: history(yard)[-1]["what"] == "rolled back")
    lines = history(yard)
    assert [line["n"] for line in lines] == list(range(1, len(lines) + 1))
    assert [line["what"] for line in lines] == ["in service", "update asked", "rolling back", "rolled back"]
    assert "KeyError: 'x'" in lines[-1]["why"]
    assert {line["endpoint"] for line in lines} == {ARN}
    record = await yard.in_service()
    assert " rolled back: " in record.document["system_tags"]["aws:clary:last-change"]
