"""Retraining by the loop, over the real handlers: pipelines are started once, people are called, history is written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tests.api.house import _serve
from tests.api.world import ACCOUNT, REGION, World
from tests.loops.bundles import parent_ports

from clary.domain.endpoints import topics
from clary.domain.monitoring import retraining
from clary.domain.names import RETRAINING_STREAM, history_group
from clary.domain.resources import Query, Record, Scope
from clary.loops.core.loop import Loop
from clary.loops.monitoring.retraining import RetrainingBeginner, RetrainingSubject

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
        self.joined, self.since, self.config = 1000, 1_799_999_900.0, "c"
        self.quiet = False
        ports = self.world.ports
        self.logs, self.clock, self.store = ports.logs, ports.clock, self.world.store
        given = parent_ports(ports)
        self.loop: Loop[Any, Any] = Loop(RetrainingSubject(given, self.watched), self.store, self.clock, "owner")
        self.beginner = RetrainingBeginner(self.store, self.clock, lambda: [self.scope])
        self.scope = Scope("", "")

    def watched(self, endpoint: Record) -> Sequence[Mapping[str, Any]]:
        each = {"accuracy": 0.7, "lower": 0.6, "upper": 0.8, "rows": 400}
        labels = {
            "joined": self.joined,
            "conflicts": 0,
            "since": None if self.quiet else self.since,
            "rolling": each,
            "reference": each,
        }
        return [
            {"variant": "v", "config": self.config, "labels": labels, "labels_folder": "s3://b/labels", "columns": []},
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
        for config in ("c", "c2"):
            await ask("sagemaker", "CreateEndpointConfig", EndpointConfigName=config, ProductionVariants=[variant])
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

    async def paged(self) -> list[tuple[str, str]]:
        """(subject, text) of what the topic's subscriber gets."""
        found = await self.store.page(Query(topics.DELIVERY, self.scope, descending=False, limit=10))
        messages = [json.loads(each.document["body"]) for each in found]
        return [(each["Subject"], each["Message"]) for each in messages]

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


async def test_a_refusal_pages_the_subscribers_of_the_topic_once_with_its_reason() -> None:
    house = await House().made()
    arn = (await house.world("sns", "CreateTopic", Name="pager"))["TopicArn"]
    await house.world("sns", "Subscribe", TopicArn=arn, Protocol="http", Endpoint="http://127.0.0.1/page")
    house.joined = 100
    await house.turns(3)
    [(subject, text)] = await house.paged()
    assert subject == "live: retraining refused"
    assert "accuracy of v went from" in text
    assert "too few new rows: 100 labelled ones since the last training, of 200" in text


async def test_what_a_person_need_not_look_at_pages_nobody() -> None:
    house = await House().made()
    arn = (await house.world("sns", "CreateTopic", Name="pager"))["TopicArn"]
    await house.world("sns", "Subscribe", TopicArn=arn, Protocol="http", Endpoint="http://127.0.0.1/page")
    await house.turns(3)
    assert (house.history(), await house.paged()) == (["retraining started"], [])


async def test_a_topic_that_is_gone_does_not_stop_the_loop() -> None:
    house = await House().made()
    house.joined = 100
    await house.turns(3)
    assert house.history() == ["retraining refused"]


async def test_the_world_changes_twice_and_each_time_the_pipeline_runs() -> None:
    house = await House().made("pipeline=P cooldown=1s")
    await house.turns(2)
    [first] = await house.runs()
    record = await house.store.by_arn(first["PipelineExecutionArn"])
    assert record is not None
    await house.store.save(replace(record, status="Succeeded"))
    await house.world("sagemaker", "UpdateEndpoint", EndpointName="live", EndpointConfigName="c2")
    await _serve(house.world, "endpoint", "live")
    house.clock.advance(10)
    house.config, house.joined = "c2", 30  # the new version, of whose labels few have come
    house.quiet = True
    await house.turns(3)
    assert len(await house.runs()) == 1
    house.quiet, house.joined, house.since = False, 600, house.since + 50
    await house.turns(3)
    runs = await house.runs()
    assert len({each["PipelineExecutionArn"] for each in runs}) == 2
    assert house.history() == ["retraining started", "retraining ended", "retraining started"]
