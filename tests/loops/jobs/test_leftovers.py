"""Endpoints that a killed job left behind are deleted, and no others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.api.house import _serve
from tests.api.world import World

from clary.app.operations import OwnOperations
from clary.domain.jobs import processing
from clary.domain.resources import Record, Scope
from clary.loops.jobs.leftovers import TAG, Leftovers
from clary.toolkit.clarify import endpoint as made_by

SCOPE = Scope("000000000000", "eu-west-1")
JOB = "arn:aws:sagemaker:eu-west-1:000000000000:processing-job/explain"
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
VARIANT = {"VariantName": "v", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}


class Scene:
    """An endpoint of the job's own, one that bears no tag, and the job."""

    def __init__(self) -> None:
        self.world = World({"b": {"m.tar.gz": b""}})
        self.leftovers = Leftovers(self.world.store, OwnOperations(self.world.ports))

    async def made(self, status: str) -> Scene:
        ask = self.world
        await ask(
            "sagemaker",
            "CreateModel",
            ModelName="m",
            PrimaryContainer={"Image": IMAGE, "ModelDataUrl": "s3://b/m.tar.gz"},
        )
        for name, tags in (("left", [{"Key": TAG, "Value": JOB}]), ("mine", [])):
            await ask(
                "sagemaker", "CreateEndpointConfig", EndpointConfigName=name, ProductionVariants=[VARIANT], Tags=tags
            )
            await ask("sagemaker", "CreateEndpoint", EndpointName=name, EndpointConfigName=name, Tags=tags)
            await _serve(self.world, "endpoint", name)
        if status:
            await self.world.store.add(Record(processing.KIND, SCOPE, "explain", JOB, status, 1.0, 1.0, {}))
        return self

    async def there(self) -> dict[str, str]:
        """The statuses of what is there, by kind and name."""
        found = {}
        for kind in ("endpoint", "endpoint-config"):
            for name in ("left", "mine"):
                record = await self.world.store.get(kind, SCOPE, name)
                if record is not None:
                    found[f"{kind} {name}"] = record.status
        return found


async def test_of_a_job_that_runs_nothing_is_deleted() -> None:
    scene = await Scene().made("InProgress")
    assert await scene.leftovers.clear()
    assert len(await scene.there()) == 4


async def test_of_a_job_that_ended_both_are_deleted() -> None:
    scene = await Scene().made("Failed")
    assert await scene.leftovers.clear()
    found = await scene.there()
    assert "endpoint-config left" not in found
    assert found.get("endpoint left") in (None, "Deleting")
    assert found["endpoint mine"] == "InService"
    assert "endpoint-config mine" in found
    assert await scene.leftovers.clear()


async def test_of_a_job_that_is_gone_too() -> None:
    scene = await Scene().made("")
    assert await scene.leftovers.clear()
    assert "endpoint-config left" not in await scene.there()


async def test_the_end_of_a_job_is_heard() -> None:
    scene = await Scene().made("InProgress")
    job: Any = await scene.world.store.get(processing.KIND, SCOPE, "explain")
    scene.leftovers.hear(job)
    assert not scene.leftovers._ended.is_set()
    scene.leftovers.hear(replace(job, status="Stopped"))
    assert scene.leftovers._ended.is_set()


def test_the_tag_is_the_one_that_jobs_write() -> None:
    assert TAG == made_by.TAG
