"""Alarms as the API shows them: pages, filters, what may not be deleted, what is kept on a change."""

from __future__ import annotations

from typing import Any

import pytest

from clary.api.call import Ports
from clary.api.dispatch import answer
from clary.api.errors import ApiError, translate
from clary.domain.errors import Invalid, NotFound
from clary.testing.clock import FakeClock


class Watch:
    def __init__(self, ports: Ports) -> None:
        self.ports = ports

    async def __call__(self, operation: str, _account: str = "000000000000", **params: Any) -> dict[str, Any]:
        where = {"account": _account, "region": "eu-west-1", "principal": "arn:aws:iam::0:user/clary"}
        return await answer(self.ports, "cloudwatch", operation, params, **where)

    async def alarm(self, name: str, **changes: Any) -> None:
        request = {
            "AlarmName": name,
            "Namespace": "N",
            "MetricName": "m",
            "Statistic": "Sum",
            "Period": 60,
            "EvaluationPeriods": 1,
            "Threshold": 1.0,
            "ComparisonOperator": "GreaterThanThreshold",
        }
        await self("PutMetricAlarm", **{**request, **changes})

    async def names(self, **filters: Any) -> list[str]:
        seen = await self("DescribeAlarms", **filters)
        return [each["AlarmName"] for each in (*seen["MetricAlarms"], *seen["CompositeAlarms"])]


@pytest.fixture
def watch(ports: Ports) -> Watch:
    return Watch(ports)


async def test_filters(watch: Watch) -> None:
    for name in ("b", "a-1", "a-2"):
        await watch.alarm(name, AlarmActions=[f"arn:aws:sns:eu-west-1:0:{name}"])
    await watch("PutCompositeAlarm", AlarmName="both", AlarmRule="ALARM(a-1) OR ALARM(a-2)")
    assert await watch.names() == ["a-1", "a-2", "b"]
    assert await watch.names(AlarmTypes=["CompositeAlarm"]) == ["both"]
    assert await watch.names(AlarmNamePrefix="a-") == ["a-1", "a-2"]
    assert await watch.names(AlarmNames=["b", "nobody"]) == ["b"]
    assert await watch.names(ActionPrefix="arn:aws:sns:eu-west-1:0:a") == ["a-1", "a-2"]
    assert await watch.names(ChildrenOfAlarmName="both") == ["a-1", "a-2"]
    assert await watch.names(ParentsOfAlarmName="a-1") == ["both"]
    assert await watch.names(StateValue="ALARM") == []
    await watch("SetAlarmState", AlarmName="b", StateValue="ALARM", StateReason="r")
    assert await watch.names(StateValue="ALARM") == ["b"]
    assert await watch.names(_account="111111111111") == []


async def test_pages(watch: Watch) -> None:
    for number in range(7):
        await watch.alarm(f"alarm-{number}")
    first = await watch("DescribeAlarms", MaxRecords=3)
    second = await watch("DescribeAlarms", MaxRecords=3, NextToken=first["NextToken"])
    third = await watch("DescribeAlarms", MaxRecords=3, NextToken=second["NextToken"])
    shown = [each["AlarmName"] for page in (first, second, third) for each in page["MetricAlarms"]]
    assert shown == [f"alarm-{number}" for number in range(7)]
    assert "NextToken" not in third
    with pytest.raises(ApiError, match="altered") as caught:
        await watch("DescribeAlarms", MaxRecords=3, AlarmNamePrefix="x", NextToken=first["NextToken"])
    assert caught.value.code == "InvalidNextToken"


async def test_a_change_keeps_the_state(watch: Watch, clock: FakeClock) -> None:
    await watch.alarm("a")
    await watch("SetAlarmState", AlarmName="a", StateValue="ALARM", StateReason="r")
    clock.advance(5)
    await watch.alarm("a", Threshold=9.0)
    (seen,) = (await watch("DescribeAlarms"))["MetricAlarms"]
    assert (seen["StateValue"], seen["Threshold"]) == ("ALARM", 9.0)
    assert seen["AlarmConfigurationUpdatedTimestamp"].timestamp() == clock.now()
    assert seen["StateTransitionedTimestamp"].timestamp() == clock.now() - 5


async def test_what_a_composite_alarm_needs_stays(watch: Watch) -> None:
    await watch.alarm("a")
    await watch("PutCompositeAlarm", AlarmName="top", AlarmRule="ALARM(a)")
    with pytest.raises(ApiError) as caught:
        await watch("DeleteAlarms", AlarmNames=["a"])
    assert (caught.value.code, caught.value.status) == ("ResourceConflict", 409)
    await watch("DeleteAlarms", AlarmNames=["a", "top", "nobody"])
    assert await watch.names(AlarmTypes=["MetricAlarm", "CompositeAlarm"]) == []


async def test_types_and_children_are_checked(watch: Watch) -> None:
    await watch.alarm("a")
    for rule, words in (("ALARM(nobody)", "no such alarm"), ("ALARM(top)", "name the alarm itself")):
        with pytest.raises(Invalid, match=words):
            await watch("PutCompositeAlarm", AlarmName="top", AlarmRule=rule)
    with pytest.raises(Invalid, match="other type"):
        await watch("PutCompositeAlarm", AlarmName="a", AlarmRule="TRUE")


async def test_actions_are_switched(watch: Watch) -> None:
    await watch.alarm("a")
    for operation, enabled in (("DisableAlarmActions", False), ("EnableAlarmActions", True)):
        await watch(operation, AlarmNames=["a", "nobody"])
        (seen,) = (await watch("DescribeAlarms"))["MetricAlarms"]
        assert seen["ActionsEnabled"] is enabled


async def test_alarms_for_a_metric(watch: Watch) -> None:
    where = [{"Name": "Host", "Value": "h"}]
    await watch.alarm("plain")
    await watch.alarm("hosted", Dimensions=where)
    for dimensions, expected in ((where, ["hosted"]), ([], ["plain"])):
        seen = await watch("DescribeAlarmsForMetric", Namespace="N", MetricName="m", Dimensions=dimensions)
        assert [each["AlarmName"] for each in seen["MetricAlarms"]] == expected


@pytest.mark.parametrize(
    ("operation", "error", "expected"),
    [
        ("SetAlarmState", NotFound("x"), ("ResourceNotFound", 404)),
        ("PutMetricAlarm", Invalid("x"), ("ValidationError", 400)),
        ("PutMetricData", Invalid("x"), ("InvalidParameterValue", 400)),
        ("TagResource", NotFound("x"), ("ResourceNotFoundException", 404)),
    ],
)
def test_codes(operation: str, error: Any, expected: tuple[str, int]) -> None:
    code, _, status, _ = translate("cloudwatch", operation, error)
    assert (code, status) == expected
