"""What handlers of all kinds of jobs refuse alike."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
from tests.api.house import JOB, PROCESSING, TRANSFORM, TUNING, house

from clary.domain.machine.capacity import Machine
from clary.domain.machine.instances import GIB

KINDS: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("CreateTrainingJob", JOB, ("ResourceConfig",)),
    ("CreateProcessingJob", PROCESSING, ("ProcessingResources", "ClusterConfig")),
    ("CreateTransformJob", TRANSFORM, ("TransformResources",)),
    ("CreateHyperParameterTuningJob", TUNING, ("TrainingJobDefinition", "ResourceConfig")),
]


@pytest.mark.parametrize(("operation", "base", "path"), KINDS, ids=[each[0] for each in KINDS])
async def test_strict_capacity_refuses_gpus_that_are_not_there(
    operation: str, base: dict[str, Any], path: tuple[str, ...]
) -> None:
    world = await house()
    request = copy.deepcopy(base)
    request[next(name for name in request if name.endswith("Name"))] = "on-gpus"
    place = request
    for name in path:
        place = place[name]
    place["InstanceType"] = "ml.g5.xlarge"

    def capacity(policy: str, gpus: int) -> None:
        machine = Machine(cpus=8, memory=64 * GIB, available=32 * GIB, gpus=gpus)
        world.ports = replace(world.ports, settings=replace(world.ports.settings, capacity=policy, machine=machine))

    capacity("strict", 0)
    code, message = await world.refused("sagemaker", operation, **request)
    assert code == "ResourceLimitExceeded"
    assert "'ml.g5.xlarge for" in message
    assert "0 GPU(s), and the capacity policy is 'strict'. The type has 1 GPU(s)" in message
    place["InstanceCount"] = 2
    capacity("strict", 1)
    code, message = await world.refused("sagemaker", operation, **request)
    assert (code, "2 GPU are needed" in message) == ("ResourceLimitExceeded", True), message
    place["InstanceCount"] = 1
    await world("sagemaker", operation, **request)


@pytest.mark.parametrize(("operation", "base", "path"), KINDS, ids=[each[0] for each in KINDS])
async def test_a_job_is_found_by_its_name_as_arns_write_it(
    operation: str, base: dict[str, Any], path: tuple[str, ...]
) -> None:
    """SDK v2 asks for the job of an `@step` by the last part of its ARN, which is in lower case."""
    world = await house()
    request, key = copy.deepcopy(base), next(name for name in base if name.endswith("JobName"))
    request[key] = "Some-Name"
    made = await world("sagemaker", operation, **request)
    [arn] = made.values()
    assert arn.endswith("/some-name")
    describe = operation.replace("Create", "Describe")
    assert (await world("sagemaker", describe, **{key: "some-name"}))[key] == "Some-Name"
    assert (await world.refused("sagemaker", describe, **{key: "some-other"}))[0] in (
        "ResourceNotFound",
        "ValidationException",
    )
