"""Followers are found, moved through the API, and woken by what concerns them."""

from __future__ import annotations

from typing import Any

from tests.api.house import _serve
from tests.api.world import World

from clary.app.cli.retrain import guard
from clary.app.operations import OwnOperations
from clary.domain.errors import LimitExceeded
from clary.domain.resources import Record, Scope
from clary.loops.core.loop import Loop
from clary.loops.registry.following import FollowingSubject, arn_of

SCOPE = Scope("000000000000", "eu-west-1")
HERE = "arn:aws:sagemaker:eu-west-1:000000000000"
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
VARIANT = {"VariantName": "v", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}


class Scene:
    """An endpoint that serves version 1 and follows `Churn@champion`, which names version 2."""

    def __init__(self) -> None:
        self.world = World({"b": {"m.tar.gz": b""}})
        self.operations = Counting(self.world)
        subject = FollowingSubject(self.world.store, self.operations, self.world.ports.clock)
        self.loop = Loop(subject, self.world.store, self.world.ports.clock, "owner")

    async def ask(self, operation: str, **params: Any) -> dict[str, Any]:
        return await self.world("sagemaker", operation, **params)

    async def made(self) -> Scene:
        await self.ask("CreateModelPackageGroup", ModelPackageGroupName="Churn")
        container = {"Image": IMAGE, "ModelDataUrl": "s3://b/m.tar.gz"}
        for _ in range(2):
            await self.ask(
                "CreateModelPackage",
                ModelPackageGroupName="Churn",
                InferenceSpecification={"Containers": [container]},
                ModelApprovalStatus="Approved",
            )
        await self.alias(1)
        await self.ask("CreateModel", ModelName="m", PrimaryContainer={"ModelPackageName": "Churn@champion"})
        await self.ask("CreateEndpointConfig", EndpointConfigName="c", ProductionVariants=[VARIANT])
        tag = {"Key": "clary:follow", "Value": "Churn@champion"}
        await self.ask("CreateEndpoint", EndpointName="live", EndpointConfigName="c", Tags=[tag])
        await _serve(self.world, "endpoint", "live")
        await self.alias(2)
        return self

    async def alias(self, version: int) -> None:
        tag = {"Key": "clary:alias", "Value": "champion"}
        await self.ask("AddTags", ResourceArn=f"{HERE}:model-package/churn/{version}", Tags=[tag])

    async def turn(self) -> dict[str, Any]:
        await self.loop.turn(f"{HERE}:model-package-group/churn")
        group = await self.world.store.get("model-package-group", SCOPE, "Churn")
        assert group is not None
        return dict(group.document.get("followed", {}).get("live", {}))


class Counting(OwnOperations):
    """Counts calls; `error` is raised once, before the operation of that name."""

    def __init__(self, world: World) -> None:
        super().__init__(world.ports)
        self.asked: list[str] = []
        self.error: dict[str, Exception] = {}

    async def call(self, service: str, operation: str, *given: Any, **more: Any) -> dict[str, Any]:
        if operation in self.error:
            raise self.error.pop(operation)
        self.asked.append(operation)
        return await super().call(service, operation, *given, **more)


async def test_a_follower_is_moved_once() -> None:
    scene = await Scene().made()
    noted = await scene.turn()
    assert noted["version"] == 2
    assert scene.operations.asked == ["CreateModel", "CreateEndpointConfig", "UpdateEndpoint"]
    endpoint = await scene.ask("DescribeEndpoint", EndpointName="live")
    assert endpoint["EndpointStatus"] == "Updating"
    assert endpoint["PendingDeploymentSummary"]["EndpointConfigName"] == noted["config"]
    made = (await scene.ask("DescribeEndpointConfig", EndpointConfigName=noted["config"]))["ProductionVariants"][0]
    model = await scene.world.store.get("model", SCOPE, made["ModelName"])
    assert model is not None
    assert model.document["parent"] == f"{HERE}:model-package-group/churn"
    assert list(model.document["made_of"].values()) == [f"{HERE}:model-package/churn/2"]
    assert await scene.turn() == noted  # while it is updated
    await _serve(scene.world, "endpoint", "live")
    await scene.turn()
    assert len(scene.operations.asked) == 3


async def test_an_alarm_on_its_accuracy_guards_the_move() -> None:
    scene = await Scene().made()
    alarm = guard("live", "v")
    await scene.world("cloudwatch", "PutMetricAlarm", **alarm)
    await scene.turn()
    endpoint = await scene.world.store.get("endpoint", SCOPE, "live")
    assert endpoint is not None
    back = endpoint.document["plant"]["deployment"]["AutoRollbackConfiguration"]
    assert back == {"Alarms": [{"AlarmName": alarm["AlarmName"]}]}


async def test_who_dies_between_two_requests_makes_nothing_twice() -> None:
    scene = await Scene().made()
    for operation in ("CreateEndpointConfig", "UpdateEndpoint"):
        scene.operations.error[operation] = LimitExceeded("killed")
        assert (await scene.turn())["why"] == "killed"
    assert "config" in await scene.turn()
    names = [each["ModelName"] for each in (await scene.ask("ListModels"))["Models"]]
    assert len(names) == 2
    configs = (await scene.ask("ListEndpointConfigs"))["EndpointConfigs"]
    assert len(configs) == 2


async def test_a_group_without_aliases_asks_for_nothing() -> None:
    scene = Scene()
    await scene.ask("CreateModelPackageGroup", ModelPackageGroupName="Churn")
    assert await scene.turn() == {}


def test_a_groups_arn() -> None:
    one = Record("endpoint", SCOPE, "e", "arn", "", 0.0, 0.0, {})
    assert arn_of(one, "Churn") == f"{HERE}:model-package-group/churn"
