"""The component loop over fakes: a component's replicas, its route, and models that it shares with endpoints."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.loops.endpoints.test_subject import ROLE, SCOPE, Yard

from clary.domain.endpoints import components, life
from clary.domain.endpoints.fleets import Plant, new_fleet
from clary.domain.machine.workload import LogTarget, Workload
from clary.domain.models.containers import Container
from clary.domain.names import COMPONENT
from clary.domain.resources import Record
from clary.loops.core import orphans
from clary.loops.core.loop import Loop
from clary.loops.endpoints.components import ComponentSubject
from clary.loops.endpoints.subject import attach
from clary.testing.observing import observing

ARN = "arn:aws:sagemaker:eu-west-1:000000000000:inference-component/c"
SPECIFICATION = {
    "Container": {"Image": "xgboost:1", "ArtifactUrl": "s3://b/m.tar.gz"},
    "ComputeResourceRequirements": {
        "NumberOfCpuCoresRequired": 0.5,
        "MinMemoryRequiredInMb": 512,
        "MaxMemoryRequiredInMb": 1024,
    },
}


class Site(Yard):
    """A yard with the loop of components beside that of endpoints: both claim as one."""

    owner = "me"

    def open(self) -> None:
        super().open()
        self.placed = observing(ComponentSubject(self.ports, self.settings, self.ledger, self.subject.models))
        self.loop_of_components = Loop(self.placed, self.store, self.clock, "me", sweep_seconds=0.05)
        self.unhook = attach(self.placed, self.loop_of_components, self.ports)
        self.also = asyncio.create_task(self.loop_of_components.run())

    async def close(self) -> None:
        self.also.cancel()
        await asyncio.gather(self.also, return_exceptions=True)
        self.unhook()
        await self.placed.tasks.close()
        await super().close()

    async def place(self) -> None:
        row = {"VariantName": "A", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
        host = new_fleet("f", "c", [row], {"": Container("", "", role=ROLE)}, 1.0).variants[0]
        now = self.clock.now()
        container = components.container_of(host, "c", SPECIFICATION["Container"])
        fleet = components.fleet_of("g", host, container, SPECIFICATION, 1, now)
        plant = Plant(seed="s", incoming=fleet, changed=now)
        document = {"request": {}, "tags": [], "endpoint": "e", "variant": "A", "plant": plant.to_json()}
        await self.store.add(Record(COMPONENT, SCOPE, "c", ARN, "Creating", now, now, document))

    async def component(self, status: str | None) -> Record | None:
        async with asyncio.timeout(60):
            while True:
                record = await self.store.get(COMPONENT, SCOPE, "c")
                if (record.status if record is not None else None) == status:
                    return record
                await asyncio.sleep(0.002)

    def _act(self, handle: str) -> None:
        super()._act(handle)
        for listener in self.fronts.listeners:  # the fronts know a component by both names
            listener("000000000000", "eu-west-1", "e/c")


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    made = Site(tmp_path)
    yield made
    await made.close()


def replica_of(site: Site, record: Record) -> Workload:
    [replica] = life.plant_of(record).replicas
    return site.backend.workloads[f"replica-{replica.id}"]


async def test_a_copy_gets_what_it_requires_and_logs_where_aws_does(site: Site) -> None:
    await site.place()
    record = await site.component("InService")
    assert record is not None
    workload = replica_of(site, record)
    assert (workload.cpu, workload.memory) == (0.5, 1 << 30)
    assert "AWS_CONFIG_FILE" in workload.environment, "keys of the endpoint config's role"
    assert "e/c" in site.fronts.routes
    [replica] = life.plant_of(record).replicas
    assert workload.logs == LogTarget(SCOPE, "/aws/sagemaker/InferenceComponents/c", f"A/{replica.id}")


async def host(site: Site, instances: int = 1) -> None:
    """An endpoint whose variant has ml.m5.large instances: two vCPU each."""
    row = {"VariantName": "A", "InstanceType": "ml.m5.large", "InitialInstanceCount": instances}
    fleet = new_fleet("f", "c", [row], {"": Container("", "", role=ROLE)}, 1.0)
    fleet = fleet.with_variant(components.sized(fleet.variants[0], instances))
    document = {"request": {}, "tags": [], "plant": Plant(seed="s", serving=fleet).to_json()}
    await site.store.add(Record("endpoint", SCOPE, "e", "arn:e", "InService", 1.0, 1.0, document))


def asked(site: Site, name: str, cores: float, copies: int) -> Record:
    """As the handler records what passed its own look."""
    required = {**SPECIFICATION["ComputeResourceRequirements"], "NumberOfCpuCoresRequired": cores}  # type: ignore[dict-item]
    specification = {**SPECIFICATION, "ComputeResourceRequirements": required}
    row = {"VariantName": "A", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    variant = new_fleet("f", "c", [row], {"": Container("", "", role=ROLE)}, 1.0).variants[0]
    container = components.container_of(variant, name, SPECIFICATION["Container"])
    now = site.clock.now()
    fleet = components.fleet_of(f"g-{name}", variant, container, specification, copies, now)
    request = {"Specification": specification, "RuntimeConfig": {"CopyCount": copies}}
    plant = Plant(seed="s", incoming=fleet, changed=now)
    document = {"request": request, "tags": [], "endpoint": "e", "variant": "A", "plant": plant.to_json()}
    return Record(COMPONENT, SCOPE, name, f"arn:{name}", "Creating", now, now, document)


async def settled(site: Site, *names: str) -> dict[str, Record]:
    async with asyncio.timeout(60):
        while True:
            found = [await site.store.get(COMPONENT, SCOPE, name) for name in names]
            if all(record is not None and record.status in ("InService", "Failed") for record in found):
                return {record.name: record for record in found if record is not None}
            for name in names:
                site.loop_of_components.wake(f"arn:{name}")
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("copies", [1, 2])
async def test_of_two_that_are_created_at_once_one_is_placed(site: Site, copies: int) -> None:
    """Each passed the handler's look, when the other was not there yet; together they are more than the instance holds."""
    site.fronts.watch(
        lambda *where: [site.loop_of_components.wake(f"arn:{name}") for name in ("one", "other")] and None
    )
    await host(site)
    for name in ("one", "other"):
        await site.store.add(asked(site, name, 1.5 / copies, copies))
    found = await settled(site, "one", "other")
    assert sorted(record.status for record in found.values()) == ["Failed", "InService"]
    [failed] = [record for record in found.values() if record.status == "Failed"]
    reason = life.plant_of(failed).failure
    assert reason.startswith("CapacityError: Insufficient capacity: variant 'A' has 1 instance(s) of ml.m5.large")
    assert len(site.replicas()) == copies, "not one copy of the other was started"


async def test_two_that_fit_are_both_placed(site: Site) -> None:
    await host(site)
    for name in ("one", "other"):
        await site.store.add(asked(site, name, 1.0, 1))
    found = await settled(site, "one", "other")
    assert [record.status for record in found.values()] == ["InService", "InService"]


async def test_an_endpoint_that_goes_leaves_the_components_models(site: Site) -> None:
    site.backend.aged = True
    await site.place()
    assert await site.component("InService") is not None
    await site.create()
    other = await site.in_service()
    assert site.backend.opened == 1, "one model, prepared once"
    await site.store.save(life.asked_delete(other, site.clock.now()))
    await site.until(None)
    async with asyncio.timeout(60):
        while site.subject.tasks.state(f"{other.arn} sweep") is None:
            await asyncio.sleep(0.002)
    assert len(site.backend.models) == 1
    record = await site.component("InService")
    assert record is not None
    await site.store.save(life.asked_delete(record, site.clock.now()))
    await site.component(None)
    async with asyncio.timeout(60):
        while site.backend.models:
            await asyncio.sleep(0.002)
    assert "e/c" in site.fronts.dropped


async def test_a_successor_adopts_a_components_copies(site: Site) -> None:
    await site.place()
    before = await site.component("InService")
    assert before is not None
    await site.close()
    ended = await orphans.sweep(
        site.store, site.backend, "me", site.clock.now(), [(COMPONENT, ComponentSubject.statuses)]
    )
    assert ended == []
    site.open()
    started = len(site.replicas())
    site.loop_of_components.wake(ARN)
    await asyncio.sleep(0.1)
    after = await site.component("InService")
    assert after is not None
    assert life.plant_of(after).replicas == life.plant_of(before).replicas
    assert len(site.replicas()) == started
