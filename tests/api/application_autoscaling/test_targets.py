"""Application Auto Scaling as the API shows it: targets, policies with their alarms, scheduled actions, tags, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from clary.api.call import ApiSettings, Ports
from clary.api.dispatch import answer
from clary.api.errors import translate
from clary.domain.autoscaling.record import TARGET
from clary.domain.endpoints.fleets import Plant, new_fleet
from clary.domain.errors import ClaryError
from clary.domain.models.containers import Container
from clary.domain.resources import Record, Scope
from clary.testing.clock import FakeClock

SCOPE = Scope("000000000000", "eu-west-1")
COUNT = "sagemaker:variant:DesiredInstanceCount"
RESOURCE = "endpoint/e/variant/v"
WHERE = {"ServiceNamespace": "sagemaker", "ResourceId": RESOURCE, "ScalableDimension": COUNT}
NAME = "application-autoscaling"


class Scaling:
    def __init__(self, ports: Ports) -> None:
        self.ports = ports

    async def __call__(self, operation: str, _service: str = NAME, **params: Any) -> dict[str, Any]:
        where = {"account": SCOPE.account, "region": SCOPE.region, "principal": "arn:aws:iam::0:user/clary"}
        return await answer(self.ports, _service, operation, params, **where)

    async def refused(self, operation: str, **params: Any) -> tuple[str, str]:
        with pytest.raises(ClaryError) as caught:
            await self(operation, **params)
        code, message, _, _ = translate(NAME, operation, caught.value)
        return code, message

    async def endpoint(self, name: str = "e", **variant: Any) -> None:
        row = {
            "VariantName": "v",
            "ModelName": "m",
            "InitialInstanceCount": 1,
            "InstanceType": "ml.m5.large",
            **variant,
        }
        row = {key: value for key, value in row.items() if value is not None}
        fleet = new_fleet("f", "c", [row], {"m": [Container("m", "image")]}, 0.0)
        plant = Plant(seed="s", serving=fleet).to_json()
        arn = f"arn:aws:sagemaker:eu-west-1:000000000000:endpoint/{name}"
        document = {"request": {}, "tags": [], "plant": plant}
        await self.ports.store.add(Record("endpoint", SCOPE, name, arn, "InService", 0.0, 0.0, document))

    async def registered(self) -> str:
        await self.endpoint()
        made = await self("RegisterScalableTarget", **WHERE, MinCapacity=1, MaxCapacity=4)
        return str(made["ScalableTargetARN"])


@pytest.fixture
def scaling(ports: Ports) -> Scaling:
    return Scaling(ports)


TRACKING = {
    "TargetValue": 60.0,
    "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
}


async def test_a_target_is_registered_changed_and_deregistered(scaling: Scaling) -> None:
    arn = await scaling.registered()
    assert arn.startswith("arn:aws:application-autoscaling:eu-west-1:000000000000:scalable-target/")
    suspended = {"DynamicScalingInSuspended": True}
    again = await scaling("RegisterScalableTarget", **WHERE, MaxCapacity=6, SuspendedState=suspended)
    assert again["ScalableTargetARN"] == arn
    [target] = (await scaling("DescribeScalableTargets", ServiceNamespace="sagemaker"))["ScalableTargets"]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 6)
    assert target["RoleARN"].endswith("AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint")
    assert target["SuspendedState"] == {
        "DynamicScalingInSuspended": True,
        "DynamicScalingOutSuspended": False,
        "ScheduledScalingSuspended": False,
    }
    await scaling("PutScalingPolicy", **WHERE, PolicyName="p", PolicyType="TargetTrackingScaling",
                  TargetTrackingScalingPolicyConfiguration=TRACKING)  # fmt: skip
    await scaling("PutScheduledAction", **WHERE, ScheduledActionName="s", Schedule="rate(1 day)",
                  ScalableTargetAction={"MinCapacity": 2})  # fmt: skip
    await scaling("DeregisterScalableTarget", **WHERE)
    assert (await scaling("DescribeScalableTargets", ServiceNamespace="sagemaker"))["ScalableTargets"] == []
    assert (await scaling("DescribeScalingPolicies", ServiceNamespace="sagemaker"))["ScalingPolicies"] == []
    assert (await scaling("DescribeScheduledActions", ServiceNamespace="sagemaker"))["ScheduledActions"] == []
    assert (await scaling("DescribeAlarms", _service="cloudwatch"))["MetricAlarms"] == []
    code, message = await scaling.refused("DeregisterScalableTarget", **WHERE)
    assert code == "ObjectNotFoundException"
    assert message.startswith("No scalable target registered for service namespace: sagemaker, resource ID: endpoint/e")


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"ServiceNamespace": "ecs"}, "Unsupported service namespace: ecs"),
        ({"ResourceId": "endpoint/e"}, "resource type or scalable dimension"),
        ({"ResourceId": "inference-component/c"}, "resource type or scalable dimension"),
        ({"ResourceId": "endpoint/nobody/variant/v"}, "There is no variant v of endpoint nobody"),
        ({"ResourceId": "endpoint/e/variant/other"}, "There is no variant other of endpoint e"),
        ({"ScalableDimension": "sagemaker:variant:DesiredProvisionedConcurrency"}, "is not serverless"),
        ({"MaxCapacity": None}, "must be specified"),
        ({"MinCapacity": 5}, "Maximum capacity cannot be less"),
        ({"MinCapacity": -1}, "at least 0"),
        ({"MinCapacity": 0}, "must be at least 1"),
    ],
)
async def test_targets_that_cannot_be(scaling: Scaling, changes: dict[str, Any], word: str) -> None:
    await scaling.endpoint()
    params = {**WHERE, "MinCapacity": 1, "MaxCapacity": 4, **changes}
    params = {name: value for name, value in params.items() if value is not None}
    code, message = await scaling.refused("RegisterScalableTarget", **params)
    assert code == "ValidationException"
    assert word in message


async def test_serverless_variants_scale_their_provisioned_concurrency(scaling: Scaling) -> None:
    config = {"MemorySizeInMB": 1024, "MaxConcurrency": 5, "ProvisionedConcurrency": 1}
    await scaling.endpoint(ServerlessConfig=config, InstanceType=None, InitialInstanceCount=None)
    where = {**WHERE, "ScalableDimension": "sagemaker:variant:DesiredProvisionedConcurrency"}
    await scaling("RegisterScalableTarget", **where, MinCapacity=1, MaxCapacity=5)
    _, message = await scaling.refused("RegisterScalableTarget", **where, MaxCapacity=6)
    assert "MaxConcurrency" in message
    _, message = await scaling.refused("RegisterScalableTarget", **WHERE, MinCapacity=1, MaxCapacity=5)
    assert "is serverless" in message


@pytest.mark.parametrize(("timing", "period", "high", "low"), [("fast", 10, 10.0, 9.0), ("aws", 60, 60.0, 54.0)])
async def test_target_tracking_makes_alarms_that_show_the_timing(
    ports: Ports, timing: str, period: int, high: float, low: float
) -> None:
    object.__setattr__(ports, "settings", ApiSettings(page_key=b"k", scaling_timing=timing))
    scaling = Scaling(ports)
    await scaling.registered()
    put = {**WHERE, "PolicyName": "p", "PolicyType": "TargetTrackingScaling"}
    made = await scaling("PutScalingPolicy", **put, TargetTrackingScalingPolicyConfiguration=TRACKING)
    alarms = (await scaling("DescribeAlarms", _service="cloudwatch"))["MetricAlarms"]
    assert [alarm["AlarmArn"] for alarm in alarms] == [each["AlarmARN"] for each in made["Alarms"]]
    first, second = alarms
    assert first["AlarmName"].startswith("TargetTracking-endpoint/e/variant/v-AlarmHigh-")
    assert second["AlarmName"].startswith("TargetTracking-endpoint/e/variant/v-AlarmLow-")
    arn = made["PolicyARN"]
    assert first["AlarmDescription"] == f"DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {arn}."
    assert first["AlarmActions"] == [f"{arn}:createdBy/{first['AlarmName'].rpartition('AlarmHigh-')[2]}"]
    assert (first["Period"], first["EvaluationPeriods"], first["Threshold"]) == (period, 3, high)
    assert (second["Period"], second["EvaluationPeriods"], second["Threshold"]) == (period, 15, low)
    assert (first["MetricName"], first["Statistic"]) == ("InvocationsPerInstance", "Sum")
    await scaling("DeleteAlarms", _service="cloudwatch", AlarmNames=[second["AlarmName"]])
    [told] = (await scaling("DescribeScalingPolicies", ServiceNamespace="sagemaker"))["ScalingPolicies"]
    assert told["Alarms"] == made["Alarms"][:1], "one that somebody deleted is not there"
    await scaling("PutScalingPolicy", **put, TargetTrackingScalingPolicyConfiguration=TRACKING)
    [told] = (await scaling("DescribeScalingPolicies", ServiceNamespace="sagemaker"))["ScalingPolicies"]
    assert told["Alarms"] == made["Alarms"], "the policy put again has it back"
    config = {**TRACKING, "DisableScaleIn": True}
    again = await scaling("PutScalingPolicy", **put, TargetTrackingScalingPolicyConfiguration=config)
    assert again["PolicyARN"] == arn
    assert again["Alarms"] == made["Alarms"][:1]
    assert len((await scaling("DescribeAlarms", _service="cloudwatch"))["MetricAlarms"]) == 1
    await scaling("DeleteScalingPolicy", **WHERE, PolicyName="p")
    assert (await scaling("DescribeAlarms", _service="cloudwatch"))["MetricAlarms"] == []
    code, _ = await scaling.refused("DeleteScalingPolicy", **WHERE, PolicyName="p")
    assert code == "ObjectNotFoundException"


async def test_customized_metrics_and_metric_math(scaling: Scaling) -> None:
    await scaling.registered()
    put = {**WHERE, "PolicyType": "TargetTrackingScaling"}
    where = [{"Name": "EndpointName", "Value": "e"}, {"Name": "VariantName", "Value": "v"}]
    cpu = {"Namespace": "/aws/sagemaker/Endpoints", "MetricName": "CPUUtilization", "Dimensions": where}
    own = {"Namespace": "Shop", "MetricName": "Orders"}
    for name, metric, period in (("cpu", cpu, 10), ("own", own, 60)):
        config = {"TargetValue": 50.0, "CustomizedMetricSpecification": {**metric, "Statistic": "Average"}}
        made = await scaling(
            "PutScalingPolicy", **put, PolicyName=name, TargetTrackingScalingPolicyConfiguration=config
        )
        names = [each["AlarmName"] for each in made["Alarms"]]
        alarms = (await scaling("DescribeAlarms", _service="cloudwatch", AlarmNames=names))["MetricAlarms"]
        assert [(alarm["Period"], alarm["Threshold"]) for alarm in alarms] == [(period, 50.0), (period, 45.0)]
    queries = [
        {"Id": "rate", "Expression": "a / b"},
        *[{"Id": i, "MetricStat": {"Metric": own, "Stat": "Sum"}, "ReturnData": False} for i in ("a", "b")],
    ]
    config = {"TargetValue": 2.0, "CustomizedMetricSpecification": {"Metrics": queries}}
    made = await scaling("PutScalingPolicy", **put, PolicyName="math", TargetTrackingScalingPolicyConfiguration=config)
    names = [made["Alarms"][0]["AlarmName"]]
    [alarm] = (await scaling("DescribeAlarms", _service="cloudwatch", AlarmNames=names))["MetricAlarms"]
    assert [query["Id"] for query in alarm["Metrics"]] == ["rate", "a", "b"]
    assert [query["MetricStat"]["Period"] for query in alarm["Metrics"][1:]] == [60, 60]
    given = {"Namespace": "clary/Endpoints", "MetricName": "MillicpuPerReplica", "Dimensions": where}
    for name, metric, stat, period in (
        ("of", cpu, "Average", 10),
        ("sum", cpu, "Sum", 60),
        ("own", own, "Maximum", 60),
    ):
        queries = [
            {"Id": "share", "Expression": "1000 * used / given"},
            {"Id": "used", "MetricStat": {"Metric": metric, "Stat": stat}, "ReturnData": False},
            {"Id": "given", "MetricStat": {"Metric": given, "Stat": "Average"}, "ReturnData": False},
        ]
        shares = {"TargetValue": 60.0, "CustomizedMetricSpecification": {"Metrics": queries}}
        made = await scaling(
            "PutScalingPolicy", **put, PolicyName=name, TargetTrackingScalingPolicyConfiguration=shares
        )
        names = [each["AlarmName"] for each in made["Alarms"]]
        alarms = (await scaling("DescribeAlarms", _service="cloudwatch", AlarmNames=names))["MetricAlarms"]
        periods = [query["MetricStat"]["Period"] for alarm in alarms for query in alarm["Metrics"][1:]]
        assert periods == [period] * 4, f"{name}: ten seconds where there are such points, and no total is of a minute"
    _, message = await scaling.refused(
        "PutScalingPolicy", **put, PolicyName="twice", TargetTrackingScalingPolicyConfiguration=config
    )
    assert message.startswith("Only one TargetTrackingScaling policy for a given metric specification is allowed")


STEPS = {
    "AdjustmentType": "ChangeInCapacity",
    "StepAdjustments": [{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 1}],
}


@pytest.mark.parametrize(
    ("params", "code", "word"),
    [
        ({"PolicyType": "PredictiveScaling"}, "ValidationException", "PredictiveScaling is not available"),
        ({"PolicyType": "TargetTrackingScaling"}, "ValidationException", "is required"),
        (
            {"StepScalingPolicyConfiguration": {"AdjustmentType": "ExactCapacity"}},
            "ValidationException",
            "At least one",
        ),
        (
            {
                "PolicyType": "TargetTrackingScaling",
                "TargetTrackingScalingPolicyConfiguration": {
                    "TargetValue": 1.0,
                    "PredefinedMetricSpecification": {
                        "PredefinedMetricType": "SageMakerInferenceComponentInvocationsPerCopy"
                    },
                },
            },
            "ValidationException",
            "Unsupported PredefinedMetricType",
        ),
        (
            {"PolicyType": "TargetTrackingScaling", "TargetTrackingScalingPolicyConfiguration": {"TargetValue": 1.0}},
            "ValidationException",
            "either PredefinedMetricSpecification",
        ),
        (
            {
                "PolicyType": "TargetTrackingScaling",
                "TargetTrackingScalingPolicyConfiguration": {
                    "TargetValue": 100.0,
                    "PredefinedMetricSpecification": {"PredefinedMetricType": "ClaryLatencyObjective"},
                    "ScaleInCooldown": -1,
                },
            },
            "ValidationException",
            "ScaleInCooldown must be at least 0",
        ),
        (
            {"StepScalingPolicyConfiguration": {**STEPS, "Cooldown": -1}},
            "ValidationException",
            "Cooldown must be at least 0",
        ),
        (
            {"ResourceId": "endpoint/o/variant/v", "StepScalingPolicyConfiguration": STEPS},
            "ObjectNotFoundException",
            "No scalable",
        ),
    ],
)
async def test_policies_that_cannot_be(scaling: Scaling, params: dict[str, Any], code: str, word: str) -> None:
    await scaling.registered()
    found, message = await scaling.refused("PutScalingPolicy", **{**WHERE, "PolicyName": "p", **params})
    assert (found, word in message) == (code, True), message


async def test_a_step_policy_shows_the_alarms_that_drive_it(scaling: Scaling) -> None:
    await scaling.registered()
    made = await scaling("PutScalingPolicy", **WHERE, PolicyName="p", StepScalingPolicyConfiguration=STEPS)
    assert made["Alarms"] == []
    alarm = {
        "AlarmName": "a",
        "Namespace": "N",
        "MetricName": "m",
        "Statistic": "Sum",
        "Period": 60,
        "EvaluationPeriods": 1,
        "Threshold": 1.0,
        "ComparisonOperator": "GreaterThanThreshold",
        "AlarmActions": [made["PolicyARN"]],
    }
    await scaling("PutMetricAlarm", _service="cloudwatch", **alarm)
    listed = await scaling("DescribeScalingPolicies", **WHERE, PolicyNames=["p", "q"])
    [policy] = listed["ScalingPolicies"]
    assert policy["PolicyType"] == "StepScaling"
    assert policy["StepScalingPolicyConfiguration"] == STEPS
    assert [each["AlarmName"] for each in policy["Alarms"]] == ["a"]


@pytest.mark.parametrize(
    ("params", "word"),
    [
        ({}, "Schedule is required"),
        ({"Schedule": "rate(1 day)"}, "MinCapacity, MaxCapacity or both"),
        ({"Schedule": "rate(1 day)", "ScalableTargetAction": {"MinCapacity": 3, "MaxCapacity": 2}}, "cannot be less"),
        ({"Schedule": "at(2020-01-01T00:00:00)", "ScalableTargetAction": {"MinCapacity": 1}}, "in the past"),
        ({"Schedule": "rate(1 day)", "Timezone": "X", "ScalableTargetAction": {"MinCapacity": 1}}, "IANA"),
    ],
)
async def test_scheduled_actions_that_cannot_be(scaling: Scaling, params: dict[str, Any], word: str) -> None:
    await scaling.registered()
    code, message = await scaling.refused("PutScheduledAction", **WHERE, ScheduledActionName="s", **params)
    assert code == "ValidationException"
    assert word in message


async def test_a_scheduled_action_is_changed_in_part(scaling: Scaling, clock: FakeClock) -> None:
    await scaling.registered()
    end = datetime.fromtimestamp(clock.now() + 9000, UTC)
    put = {**WHERE, "ScheduledActionName": "s"}
    await scaling(
        "PutScheduledAction", **put, Schedule="rate(1 day)", ScalableTargetAction={"MinCapacity": 2}, EndTime=end
    )
    await scaling("PutScheduledAction", **put, Timezone="Europe/Berlin")
    [action] = (await scaling("DescribeScheduledActions", **WHERE))["ScheduledActions"]
    assert (action["Schedule"], action["Timezone"], action["EndTime"]) == (
        "rate(1 day)",
        "Europe/Berlin",
        end.timestamp(),
    )
    assert action["ScheduledActionARN"].endswith(f"resource/sagemaker/{RESOURCE}:scheduledActionName/s")
    await scaling("DeleteScheduledAction", **put)
    assert (await scaling.refused("DeleteScheduledAction", **put))[0] == "ObjectNotFoundException"


async def test_tags(scaling: Scaling) -> None:
    arn = await scaling.registered()
    await scaling("TagResource", ResourceARN=arn, Tags={"a": "1", "b": "2"})
    await scaling("UntagResource", ResourceARN=arn, TagKeys=["a"])
    assert (await scaling("ListTagsForResource", ResourceARN=arn))["Tags"] == {"b": "2"}
    assert (await scaling.refused("ListTagsForResource", ResourceARN=arn + "x"))[0] == "ResourceNotFoundException"


async def test_pages(scaling: Scaling) -> None:
    for name in ("e", "f", "g"):
        await scaling.endpoint(name)
        where = {**WHERE, "ResourceId": f"endpoint/{name}/variant/v"}
        await scaling("RegisterScalableTarget", **where, MinCapacity=1, MaxCapacity=4)
    first = await scaling("DescribeScalableTargets", ServiceNamespace="sagemaker", MaxResults=2)
    rest = await scaling("DescribeScalableTargets", ServiceNamespace="sagemaker", NextToken=first["NextToken"])
    seen = [target["ResourceId"] for target in (*first["ScalableTargets"], *rest["ScalableTargets"])]
    assert sorted(seen) == [f"endpoint/{name}/variant/v" for name in ("e", "f", "g")]
    refused = await scaling.refused("DescribeScalableTargets", ServiceNamespace="sagemaker", NextToken="bad")
    assert refused[0] == "InvalidNextTokenException"
    assert await scaling.ports.store.get(TARGET, SCOPE, f"{RESOURCE}|{COUNT}")
