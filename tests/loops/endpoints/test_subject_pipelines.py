"""Models of several containers over fakes: each in a sandbox of its own, all of them on one instance."""

from __future__ import annotations

import asyncio

import pytest
from tests.loops.endpoints.test_subject import SCOPE, Yard, yard

from clary.domain.endpoints import life

__all__ = ["yard"]


async def test_every_container_has_a_sandbox_and_a_log_stream(yard: Yard) -> None:
    await yard.create(several=("wash", "predict"))
    plant = life.plant_of(await yard.in_service())
    assert len(yard.replicas()) == 2
    group = "/aws/sagemaker/Endpoints/e"
    streams = [s.name for s in yard.logs.streams(SCOPE, group) if s.name.startswith("A/")]
    wanted = {f"A/{r.id}/{v.container.hostname}" for f in plant.fleets for v in f.variants for r in v.replicas}
    assert set(streams) == wanted
    assert {stream.rpartition("/")[2] for stream in streams} == {"wash", "predict"}


@pytest.mark.parametrize(("policy", "cpu"), [("fit", 2.0), ("strict", 1.0)])
async def test_containers_share_one_instance(yard: Yard, policy: str, cpu: float) -> None:
    """The machine has 2 vCPU: one ml.m5.large."""
    await yard.close()
    yard.policy = policy
    yard.open()
    await yard.create(several=("wash", "predict"))
    await yard.in_service()
    assert [workload.cpu for workload in yard.replicas()] == [cpu, cpu]


async def test_how_a_containers_replica_ended_is_told_in_its_log(yard: Yard) -> None:
    await yard.create(several=("wash", "predict"))
    plant = life.plant_of(await yard.in_service())
    assert plant.serving is not None
    [replica] = plant.serving.variants[1].replicas
    yard.backend.finish(f"replica-{replica.id}", 3)
    stream = f"A/{replica.id}/predict"

    async with asyncio.timeout(60):
        while not any("exit code 3" in line for line in yard.logs.tail(SCOPE, "/aws/sagemaker/Endpoints/e", stream, 5)):
            await asyncio.sleep(0.002)
