"""The loop of warm pools over fakes: what is kept of a job, and that the next one alike gets it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.loops.house import SCOPE, SKLEARN, WAIT, House, tar

from clary.domain.jobs import pools, training
from clary.domain.machine.workload import Feature, Workload
from clary.domain.resources import Record
from clary.loops.core.loop import Loop
from clary.loops.jobs import places
from clary.loops.jobs.pools import PoolSubject

KEPT = {
    "InstanceType": "ml.m5.large",
    "InstanceCount": 1,
    "VolumeSizeInGB": 1,
    "KeepAlivePeriodInSeconds": 600,
}


class Kept(House):
    """A house with the loop of pools beside that of jobs."""

    def open(self) -> None:
        super().open()
        subject = PoolSubject(self.ports, self.settings, self.ledger, self.subject.work)
        self.loop_of_pools = Loop[pools.Command, pools.SeenPool](
            subject, self.ports.store, self.ports.clock, "owner", sweep_seconds=0.05
        )
        self._tasks.append(asyncio.create_task(self.loop_of_pools.run()))

    async def run_job(self, name: str, **changes: Any) -> Workload:
        """From its creation to its end; its host's workload."""
        self.objects["b"]["c/sourcedir.tar.gz"] = tar(train__py="pass")
        parameters = {"sagemaker_program": '"train.py"', "sagemaker_submit_directory": '"s3://b/c/sourcedir.tar.gz"'}
        given = {"ResourceConfig": KEPT, "Environment": {"SECRET": "1"}, **changes}
        await self.create(name, SKLEARN, HyperParameters=parameters, **given)
        workload = await self.started(name)
        self.backend.finish(workload.key)
        await self.ended(name)
        return workload

    async def pool(self, name: str, status: str, made: bool = True) -> Record:
        """The pool once it is so, and its sandbox is made."""
        async with asyncio.timeout(WAIT):
            while True:
                found = await self.ports.store.get(pools.KIND, SCOPE, name)
                if found and found.status == status and (not made or "handle" in found.document):
                    return found
                await asyncio.sleep(0.005)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Kept]:
    made = Kept(tmp_path)
    made.open()
    yield made
    await made.close()


async def test_what_waits_has_the_environment_of_the_image_and_nothing_of_the_job(house: Kept) -> None:
    first = await house.run_job("First")
    pool = await house.pool("First", "Available")
    handle = pool.document["handle"]
    await house.until(lambda: handle in house.backend.workloads)
    waits = house.backend.workloads[handle]
    assert waits.command[1:4] == ("-m", "clary.toolkit.standby", "numpy")
    assert set(waits.environment) == {"PATH", "PYTHONPATH", "PYTHONUNBUFFERED"}
    assert (waits.files, waits.logs, house.backend.secrets[handle]) == ((), None, {})
    assert (waits.packages, waits.cpu, waits.memory) == (first.packages, first.cpu, first.memory)
    assert waits.waits
    assert waits.max_runtime is not None
    assert 0 < waits.max_runtime <= 600
    assert [grant.kind for grant in house.ledger.grants()] == [pools.OWNER]


async def test_the_next_job_alike_begins_there(house: Kept) -> None:
    assert (await house.run_job("First")).standby == ""
    handle = (await house.pool("First", "Available")).document["handle"]
    await house.until(lambda: handle in house.backend.workloads)
    second = await house.run_job("Second")
    assert second.standby == handle
    house.backend.finish(handle)  # as the shim does that gives it away
    reused = await house.pool("First", "Reused")
    assert reused.document["reused"] == "Second"
    assert (await house.pool("Second", "Available")).document["handle"] != handle


async def test_a_job_of_another_role_has_its_own_sandbox(house: Kept) -> None:
    await house.run_job("First")
    await house.pool("First", "Available")
    other = await house.run_job("Other", RoleArn="arn:aws:iam::000000000000:role/other")
    assert other.standby == ""
    assert (await house.pool("First", "Available")).document.get("reused") is None


async def test_a_job_that_waits_for_room_ends_the_pool_and_has_its_place(house: Kept) -> None:
    await house.run_job("First")
    pool = await house.pool("First", "Available")
    house.machine = replace(house.machine, available=1)
    house.loop_of_pools.wake(pool.arn)
    ended = await house.pool("First", "Terminated")
    assert ended.document["why"] == "memory is short"
    assert pool.document["handle"] not in await house.backend.handles()
    assert house.ledger.grants() == ()


async def test_a_successor_looks_after_the_pool(house: Kept) -> None:
    await house.run_job("First")
    before = await house.pool("First", "Available")
    await house.again()
    second = await house.run_job("Second")
    assert second.standby == before.document["handle"]


async def test_where_no_sandbox_waits_the_log_says_that_nothing_is_kept(tmp_path: Path) -> None:
    house = Kept(tmp_path)
    house.backend.features = frozenset(Feature) - {Feature.STANDBY}
    house.open()
    try:
        await house.run_job("First")
        assert await house.ports.store.get(pools.KIND, SCOPE, "First") is None
        stream = places.stream(await house.record("First"), "algo-1")
        lines = house.logs.tail(SCOPE, training.LOG_GROUP, stream, 50)
        assert any("keeps nothing of this job: only Clary that runs as root" in line for line in lines)
    finally:
        await house.close()
