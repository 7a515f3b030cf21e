"""Retraining by the loop, over the real handlers: pipelines are started once, people are called, history is written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tests.api.house import _serve
from tests.api.world import ACCOUNT, REGION, World

from clary.app.operations import OwnOperations
from clary.domain.monitoring import retraining
from clary.domain.names import RETRAINING_STREAM, history_group
from clary.domain.resources import Query, Record, Scope
from clary.loops.core.loop import Loop
from clary.loops.monitoring.retraining import RetrainingBeginner, RetrainingPorts, RetrainingSubject

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
ROLE = "arn:aws:iam::000000000000:role/R"
DEFINITION = {
    "Version": "2020-12-01",
    "Parameters": [{"Name": "Reason", "Type": "String", "DefaultValue": ""}],
    "Steps": [{"Name": "Stop", "Type": "Fail", "Arguments": {"ErrorMessage": {"Get": "Parameters.Reason"}}}],
}


class House:
    """An endpoint with the tag, a pipeline, the loop; `joined` labelled rows, worse since `since`."""

    def __init__(self) -> None:
        self.world = World({"b": {"m.tar.gz": b""}})
        self.joined, self.since = 1000, 1_799_999_900.0
        ports = self.world.ports
        self.logs, self.clock, self.store = ports.logs, ports.clock, self.world.store
        given = RetrainingPorts(self.store, OwnOperations(ports), self.logs, self.clock, self.watched)
        self.loop: Loop[Any, Any] = Loop(RetrainingSubject(given), self.store, self.clock, "owner")
        self.beginner = RetrainingBeginner(self.store, self.clock, lambda: [self.scope])
        self.scope = Scope("", "")

    def watched(self, endpoint: Record) -> Sequence[Mapping[str, Any]]:
        each = {"accuracy": 0.7, "lower": 0.6, "upper": 0.8, "rows": 400}
        labels = {"joined": self.joined, "conflicts": 0, "since": self.since, "rolling": each, "reference": each}
        return [
            {"variant": "v", "config": "c", "labels": labels, "labels_folder": "s3://b/labels", "columns": []},
            {"variant": "old", "config": "before", "labels": {**labels, "joined": 9}, "columns": []},
        ]

    async def made(self, tag: str = "pipeline=P topic=pager") -> House:
        ask = self.world
        await ask(
            "sagemaker",
            "CreateModel",
            ModelName="m",
            PrimaryContainer={"Image": IMAGE, "ModelDataUrl": "s3://b/m.tar.gz"},
        )
        variant = {"VariantName": "v", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
        await ask("sagemaker", "CreateEndpointConfig", EndpointConfigName="c", ProductionVariants=[variant])
        tags = [{"Key": retraining.TAG, "Value": tag}]
        await ask("sagemaker", "CreateEndpoint", EndpointName="live", EndpointConfigName="c", Tags=tags)
        await _serve(self.world, "endpoint", "live")
        endpoint = await self.store.get("endpoint", Scope(ACCOUNT, REGION), "live")
        assert endpoint is not None
        self.scope = endpoint.scope
        text = json.dumps(DEFINITION)
        pipeline = {"PipelineName": "P", "PipelineDefinition": text, "RoleArn": ROLE, "ClientRequestToken": "t" * 32}
        await ask("sagemaker", "CreatePipeline", **pipeline)
        await self.beginner._all()
        await self.beginner.look(endpoint)
        return self

    async def turns(self, count: int = 1) -> None:
        for _ in range(count):
            [record] = await self.store.page(Query(retraining.KIND, self.scope))
            seen = await self.loop.subject.observe(record)
            decision = self.loop.subject.decide(record, seen, self.clock.now())
            outcomes = [(each, await self.loop.subject.run(each, record)) for each in decision.commands]
            after = self.loop.subject.absorb(decision.record, outcomes)
            if after != record:
                await self.store.save(after)

    async def runs(self) -> list[dict[str, Any]]:
        told = await self.world("sagemaker", "ListPipelineExecutions", PipelineName="P")
        return list(told["PipelineExecutionSummaries"])

    def history(self) -> list[str]:
        lines = self.logs.tail(self.scope, history_group("live"), RETRAINING_STREAM, 50)
        return [str(json.loads(line)["what"]) for line in lines]


async def test_a_worse_model_starts_its_pipeline_once_with_the_reason() -> None:
    house = await House().made()
    await house.turns(3)
    [run] = await house.runs()
    given = await house.world(
        "sagemaker", "ListPipelineParametersForExecution", PipelineExecutionArn=run["PipelineExecutionArn"]
    )
    [parameter] = given["PipelineParameters"]
    assert parameter["Name"] == "Reason"
    assert "accuracy of v went from" in parameter["Value"]
    assert house.history() == ["retraining started"]


async def test_what_was_served_before_does_not_count() -> None:
    house = await House().made()
    house.joined = 100
    await house.turns(2)
    assert await house.runs() == []
    assert house.history() == ["retraining refused"]


async def test_an_endpoint_gets_one_record() -> None:
    house = await House().made()
    endpoint = await house.store.get("endpoint", house.scope, "live")
    assert endpoint is not None
    await house.beginner.look(endpoint)
    assert len(await house.store.page(Query(retraining.KIND, house.scope))) == 1
