"""Changes of resources become events: each state once, also when Clary dies between the change and its telling."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from clary.domain.alarms import evaluation
from clary.domain.alarms.evaluation import State, StateValue
from clary.domain.alarms.turn import with_state
from clary.domain.errors import NotFound, Unavailable
from clary.domain.events import deliveries, rules
from clary.domain.resources import Query, Record, Scope
from clary.loops.events import changes
from clary.loops.events.carrier import Carrier
from clary.loops.events.teller import Teller
from clary.testing.clock import FakeClock
from clary.testing.store import MemoryStore

SCOPE = Scope("000000000000", "eu-west-1")
ARN = "arn:aws:sagemaker:eu-west-1:000000000000:endpoint/e"
QUEUE = "arn:aws:sqs:eu-west-1:000000000000:q"


class Told:
    """`ports.Operations` that notes what it is asked; `failure` is raised instead, when it is set."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, Mapping[str, Any]]] = []
        self.failure: Exception | None = None

    async def call(
        self, service: str, operation: str, params: Mapping[str, Any], *, parent: Record, key: str = ""
    ) -> dict[str, Any]:
        if self.failure is not None:
            raise self.failure
        self.calls.append((service, operation, params))
        return (
            {"EndpointName": "e", "EndpointStatus": "later", "CreationTime": 1.5}
            if operation == "DescribeEndpoint"
            else {}
        )


class Place:
    def __init__(self) -> None:
        self.store, self.clock, self.operations = MemoryStore(), FakeClock(), Told()
        self.teller = self.another()

    def another(self) -> Teller:
        """One as after a restart."""
        return Teller(self.store, self.operations, self.clock, "me")

    async def rule(self, pattern: str = '{"source": ["aws.sagemaker"]}') -> Record:
        document = {
            "pattern": pattern,
            "schedule": "",
            "targets": [{"Id": "q", "Arn": QUEUE}],
            "began": 0.0,
            "due": None,
        }
        return await self.store.add(
            Record(rules.RULE, SCOPE, "r", rules.rule_arn(SCOPE, "r"), rules.ENABLED, 0.0, 0.0, document)
        )

    async def endpoint(self, status: str) -> Record:
        now = self.clock.now()
        return await self.store.add(
            Record("endpoint", SCOPE, "e", ARN, status, now, now, {"request": {"EndpointName": "e"}})
        )

    async def told(self) -> list[str]:
        found = await self.store.page(Query(deliveries.DELIVERY, SCOPE, descending=False, limit=100))
        return [json.loads(record.document["input"])["detail"]["EndpointStatus"] for record in found]


async def test_each_state_is_told_once_with_the_state_that_was_heard() -> None:
    place = Place()
    await place.rule()
    made = await place.endpoint("Creating")
    for _ in range(2):
        await place.teller.look(made)
    place.clock.advance(1)
    saved = await place.store.save(replace(made, status="InService", modified=place.clock.now()))
    await place.teller.look(saved)
    assert await place.told() == ["CREATING", "IN_SERVICE"]


async def test_what_is_not_a_change_of_state_is_not_told() -> None:
    place = Place()
    await place.rule()
    made = await place.endpoint("InService")
    await place.teller.look(made)
    again = await place.store.save(replace(made, document={**made.document, "inner": 1}))
    await place.teller.look(again)
    assert await place.told() == ["IN_SERVICE"]


async def test_the_mark_is_read_once_while_the_state_stays() -> None:
    place, read = Place(), []
    get = place.store.get

    async def counted(kind: str, scope: Scope, name: str) -> Record | None:
        read.append(kind)
        return await get(kind, scope, name)

    place.store.get = counted  # type: ignore[method-assign]
    found = await place.endpoint("InService")
    for number in range(3):
        await place.teller.look(found)
        found = await place.store.save(replace(found, document={**found.document, "inner": number}))
    assert read.count(changes.MARK) == 1
    await place.teller.look(await place.store.save(replace(found, status="Updating")))
    assert read.count(changes.MARK) == 2
    await place.store.remove(gone := await place.store.save(replace(found, status="Deleting", version=5)))
    await place.teller.look(gone)
    assert await get(changes.MARK, SCOPE, ARN) is None


async def test_after_a_crash_the_next_start_tells_what_was_not_told() -> None:
    place = Place()
    await place.rule()
    made = await place.endpoint("Creating")
    await place.teller.look(made)
    place.clock.advance(1)
    await place.store.save(replace(made, status="Failed", modified=place.clock.now()))  # and killed
    successor = place.another()
    await successor._compare_all()
    assert successor._heard.qsize() == 1
    await successor.look(successor._heard.get_nowait())
    assert await place.told() == ["CREATING", "FAILED"]


async def test_killed_between_delivery_and_mark_it_plans_the_same_delivery() -> None:
    place = Place()
    await place.rule()
    made = await place.endpoint("Creating")
    place.teller._mark = _killed  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        await place.teller.look(made)
    await place.another().look(made)
    assert await place.told() == ["CREATING"]


async def _killed(*_: Any) -> None:
    raise KeyboardInterrupt


async def test_without_rules_nothing_is_asked_and_nothing_told_later() -> None:
    place = Place()
    made = await place.endpoint("InService")
    await place.teller.look(made)
    await place.rule()
    await place.teller.look(made)
    assert (place.operations.calls, await place.told()) == ([], [])


async def test_a_removed_resource_leaves_no_mark() -> None:
    place = Place()
    made = await place.endpoint("InService")
    await place.teller.look(made)
    await place.store.remove(made)
    await place.teller.look(made)
    assert await place.store.page(Query("event-mark", SCOPE)) == []


async def events_of(place: Place) -> list[dict[str, Any]]:
    found = await place.store.page(Query(deliveries.DELIVERY, SCOPE, descending=False, limit=100))
    return [json.loads(record.document["input"]) for record in found]


async def model(place: Place) -> Record:
    now, arn = place.clock.now(), "arn:aws:sagemaker:eu-west-1:000000000000:model/m"
    document = {
        "request": {"ModelName": "m", "ExecutionRoleArn": "r"},
        "packages": {},
        "tags": [{"Key": "a", "Value": "b"}],
    }
    return await place.store.add(Record("model", SCOPE, "m", arn, "", now, now, document))


async def test_a_model_is_told_when_it_is_made_and_when_it_is_deleted() -> None:
    place = Place()
    await place.rule('{"detail-type": ["SageMaker Model State Change"]}')
    made = await model(place)
    for _ in range(2):
        await place.teller.look(made)
    await place.store.remove(made)
    for _ in range(2):
        await place.teller.look(made)
    told = await events_of(place)
    assert len({each["id"] for each in told}) == 2
    for each in told:
        assert each["resources"] == [made.arn]
        assert each["detail"] == {
            "ModelName": "m",
            "ExecutionRoleArn": "r",
            "ModelArn": made.arn,
            "CreationTime": int(made.created * 1000),
            "Tags": {"a": "b"},
        }
    assert await place.store.page(Query("event-mark", SCOPE)) == []


async def test_a_model_that_replaces_one_of_its_name_at_once_is_told_and_so_is_the_end_of_the_first() -> None:
    place = Place()
    await place.rule('{"detail-type": ["SageMaker Model State Change"]}')
    first = await model(place)
    await place.teller.look(first)
    await place.store.remove(first)
    place.clock.advance(1)
    second = await model(place)
    for record in (first, second):
        await place.teller.look(record)
    made = [each["detail"]["CreationTime"] for each in await events_of(place)]
    assert sorted(made) == [int(first.created * 1000)] * 2 + [int(second.created * 1000)]


async def test_versions_of_images_are_told_as_aws_writes_them() -> None:
    place = Place()
    await place.rule()
    now, base = place.clock.now(), "arn:aws:sagemaker:eu-west-1:000000000000"
    image = Record("image", SCOPE, "i", f"{base}:image/i", "CREATED", now, now, {"versions": 1, "request": {}})
    request = {"ImageName": "i", "Version": 1}
    version = Record(
        "image-version", SCOPE, "i/1", f"{base}:image-version/i/1", "CREATED", now, now, {"request": request}
    )
    for record in (image, version):
        await place.teller.look(await place.store.add(record))
    told = {each["detail-type"]: each["detail"] for each in await events_of(place)}
    assert told == {
        "SageMaker Image State Change": {
            "ImageName": "i",
            "ImageArn": image.arn,
            "ImageStatus": "Created",
            "Version": 1,
            "Tags": {},
        },
        "SageMaker Image Version State Change": {
            "ImageArn": image.arn,
            "ImageVersionArn": version.arn,
            "ImageVersionStatus": "Created",
            "Version": 1,
            "Tags": {},
        },
    }


async def test_an_alarm_tells_each_change_of_its_state_once_as_cloudwatch() -> None:
    place = Place()
    await place.rule('{"source": ["aws.cloudwatch"], "detail": {"state": {"value": ["ALARM"]}}}')
    request = {"AlarmName": "a", "AlarmRule": "ALARM(b)"}
    arn, now = "arn:aws:cloudwatch:eu-west-1:000000000000:alarm:a", place.clock.now()
    document = evaluation.document(request, [], now)
    record = await place.store.add(Record("alarm", SCOPE, "a", arn, "INSUFFICIENT_DATA", now, now, document))
    await place.teller.look(record)
    for value in (StateValue.ALARM, StateValue.OK, StateValue.ALARM):
        place.clock.advance(1)
        record = await place.store.save(with_state(record, State(value, "b did", "", place.clock.now())))
        await place.teller.look(record)  # decided, and not yet acted upon
        record = await place.store.save(
            replace(record, document={**record.document, "acted": record.document["moves"]})
        )
        for _ in range(2):
            await place.teller.look(record)
    first, second = await events_of(place)
    assert (first["source"], first["detail-type"]) == ("aws.cloudwatch", "CloudWatch Alarm State Change")
    assert (first["resources"], first["detail"]["alarmName"]) == ([arn], "a")
    assert first["id"] != second["id"]
    assert [each["detail"]["previousState"]["value"] for each in (first, second)] == ["INSUFFICIENT_DATA", "OK"]
    assert [each["detail"]["configuration"]["alarmRule"] for each in (first, second)] == ["ALARM(b)"] * 2


async def test_a_violation_is_told_as_a_change_of_its_schedule() -> None:
    place = Place()
    seen = {"LastMonitoringExecutionSummary": {"MonitoringExecutionStatus": ["CompletedWithViolations"]}}
    kind = "SageMaker Monitoring Schedule State Change"
    await place.rule(json.dumps({"detail-type": [kind], "detail": seen}))
    schedule = "arn:aws:sagemaker:eu-west-1:000000000000:monitoring-schedule/s"
    document = {"schedule": "s", "schedule_arn": schedule, "type": "DataQuality", "made": 2.0, "endpoint": "e"}
    run = Record("monitoring-execution", SCOPE, "s/1", f"{schedule}/1", "InProgress", 1.0, 2.0, document)
    record = await place.store.add(run)
    await place.teller.look(record)
    ended = await place.store.save(replace(record, status="CompletedWithViolations"))
    for _ in range(2):
        await place.teller.look(ended)
    [told] = await events_of(place)
    assert told["resources"] == [schedule]
    summary = told["detail"]["LastMonitoringExecutionSummary"]
    assert (summary["MonitoringScheduleName"], summary["ScheduledTime"], summary["EndpointName"]) == ("s", 1000, "e")
    assert {operation for _, operation, _ in place.operations.calls} == {"DescribeMonitoringSchedule"}


@pytest.mark.parametrize(
    ("arn", "operation", "params"),
    [
        (QUEUE, "SendMessage", {"QueueUrl": "/000000000000/q", "MessageBody": "{}"}),
        (QUEUE.replace("sqs", "sns"), "Publish", {"TopicArn": QUEUE.replace("sqs", "sns"), "Message": "{}"}),
        ("arn:aws:scheduler:::aws-sdk:sagemaker:listModels", "ListModels", {}),
        ("arn:aws:lambda:eu-west-1:000000000000:function:f", "Invoke", None),
        ("arn:aws:sagemaker:eu-west-1:000000000000:pipeline/p", "StartPipelineExecution", None),
    ],
)
async def test_each_kind_of_target_is_called(arn: str, operation: str, params: dict[str, Any] | None) -> None:
    operations = Told()
    delivery = deliveries.new(SCOPE, "rule", "event", {"Arn": arn}, "{}", 0.0)
    carried = await Carrier(operations, FakeClock()).carry(delivery)
    assert carried.failure == ""
    [(_, called, given)] = operations.calls
    assert called == operation
    if params is not None:
        assert given == params
    if operation == "StartPipelineExecution":
        assert given["ClientRequestToken"] == delivery.name


@pytest.mark.parametrize(("error", "final"), [(NotFound("gone"), True), (Unavailable("wait"), False)])
async def test_only_what_may_pass_is_tried_again(error: Exception, final: bool) -> None:
    operations = Told()
    operations.failure = error
    carried = await Carrier(operations, FakeClock()).carry(deliveries.new(SCOPE, "r", "e", {"Arn": QUEUE}, "{}", 0.0))
    assert (carried.failure != "", carried.final) == (True, final)
