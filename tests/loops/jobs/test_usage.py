"""What hosts of jobs use is told by host, whoever asks how often."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.loops.house import SCOPE, House

from clary.domain.machine.instances import GIB
from clary.domain.metrics.datapoints import Series
from clary.testing.clock import FakeClock

NAMESPACE = "/aws/sagemaker/TrainingJobs"
HANDLE = "job-idjob-0-algo-1"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = House(tmp_path)
    made.open()
    yield made
    await made.close()


def totals(house: House, metric: str) -> list[float]:
    series = Series.of(NAMESPACE, metric, {"Host": "Job/algo-1"}, "Percent")
    return [summary.total for _, summary in house.ports.datapoints.get(SCOPE, series, 0, 1e10, 1)]


async def test_a_running_job_tells_what_it_uses(house: House) -> None:
    await house.create()
    await house.started()
    clock = house.ports.clock
    assert isinstance(clock, FakeClock)
    clock.advance(10.0)
    now, memory = clock.now(), house.backend.workloads[HANDLE].memory
    house.backend.update(HANDLE, started_at=now - 10, cpu_seconds=5.0, memory_bytes=memory // 2, disk_bytes=GIB // 4)
    async with asyncio.timeout(60):
        while not totals(house, "DiskUtilization"):
            await asyncio.sleep(0.01)
            await house.subject.usage.collect()
    assert totals(house, "CPUUtilization")[-1] == 50.0
    assert totals(house, "DiskUtilization") == [25.0]
    assert totals(house, "MemoryUtilization")[-1] == pytest.approx(50.0)
    house.backend.finish(HANDLE)
    await house.ended()
    await house.subject.usage.collect()
    told = len(totals(house, "MemoryUtilization"))
    await house.subject.usage.collect()
    assert len(totals(house, "MemoryUtilization")) == told, "a job that has ended uses nothing"
