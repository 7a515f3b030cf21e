"""A parent's calls of the API (`app/operations.py`): checked like a client's, and its children are made once."""

from __future__ import annotations

from typing import Any

import pytest
from tests.api.test_retries import CREATES
from tests.api.world import ACCOUNT, REGION, World

from clary.app.operations import OwnOperations
from clary.domain.attempts import WITHIN
from clary.domain.errors import AlreadyExists, ClaryError
from clary.domain.resources import Record, Scope
from clary.testing.clock import FakeClock

PARENT = Record(
    "training-job", Scope(ACCOUNT, REGION), "p", f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:thing/p", "", 0, 0, {}
)
JOB = CREATES["sagemaker", "CreateTrainingJob"]


@pytest.fixture
def world() -> World:
    return World({"b": {}})


async def create(world: World, key: str, parent: Record = PARENT, **changed: Any) -> dict[str, Any]:
    return await OwnOperations(world.ports).call(
        "sagemaker", "CreateTrainingJob", {**JOB, **changed}, parent=parent, key=key
    )


async def test_a_child_tells_whose_it_is(world: World) -> None:
    made = await create(world, "1")
    record = await world.store.by_arn(made["TrainingJobArn"])
    assert record is not None
    assert record.document["parent"] == PARENT.arn


async def test_a_child_is_made_once_however_late_its_parent_asks_again(world: World) -> None:
    made = await create(world, "1")
    clock = world.ports.clock
    assert isinstance(clock, FakeClock)
    clock.advance(WITHIN * 30)
    assert await create(world, "1", Environment={"A": "another release asks for more"}) == made


async def test_a_child_of_another_parent_or_key_meets_the_taken_name(world: World) -> None:
    await create(world, "1")
    with pytest.raises(AlreadyExists):
        await create(world, "2")
    other = Record("training-job", PARENT.scope, "q", PARENT.arn + "q", "", 0, 0, {})
    with pytest.raises(AlreadyExists):
        await create(world, "1", other)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"RoleArn": "x"}, "Member must have length greater than or equal to 20"),
        ({"StoppingCondition": "soon"}, "STRING_VALUE can not be converted to a structure"),
    ],
)
async def test_what_a_client_would_be_refused_a_parent_is_refused(
    world: World, changed: dict[str, Any], words: str
) -> None:
    with pytest.raises(ClaryError) as caught:
        await create(world, "1", **changed)
    assert words in str(caught.value)


async def test_it_asks_in_the_parents_account_and_region(world: World) -> None:
    await create(world, "1")
    abroad = Record("training-job", Scope(ACCOUNT, "us-west-2"), "p", PARENT.arn, "", 0, 0, {})
    name = {"TrainingJobName": JOB["TrainingJobName"]}
    operations = OwnOperations(world.ports)
    assert (await operations.call("sagemaker", "DescribeTrainingJob", name, parent=PARENT))["TrainingJobStatus"]
    with pytest.raises(ClaryError):
        await operations.call("sagemaker", "DescribeTrainingJob", name, parent=abroad)
