"""Requests that a service's model allows, made by hypothesis: any optional member absent, unions and lists empty, numbers at their
ends. Names are those of things that are there (`world`), so that requests get far into their handlers."""

from __future__ import annotations

import copy
import datetime
import io
import math
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson
from hypothesis import strategies as st

from clary.domain.extensions import VALUES
from clary.domain.pipelines.record import execution_id
from clary.wire.patterns import matcher

ACCOUNT, REGION = "000000000000", "eu-west-1"
AT = f"{REGION}:{ACCOUNT}"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/R"
POLICY = f"arn:aws:iam::{ACCOUNT}:policy/p"
QUEUE = f"http://127.0.0.1:4600/{ACCOUNT}/q"
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
FUNCTION = f"arn:aws:lambda:{AT}:function:f"
SCHEDULE = {
    "Name": "schedule",
    "GroupName": "nightly",
    "ScheduleExpression": "rate(5 minutes)",
    "FlexibleTimeWindow": {"Mode": "OFF"},
    "Target": {"Arn": FUNCTION, "RoleArn": ROLE, "Input": "{}"},
}
TOPIC = f"arn:aws:sns:{AT}:t"
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
DOMAIN = "d-house"


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("index.py", "def handler(event, context):\n    return event\n")
    return buffer.getvalue()


ZIP = _zip()
DOCUMENT = '{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}'
TOKEN = "t" * 32
STEPS = orjson.dumps(
    {
        "Version": "2020-12-01",
        "Parameters": [{"Name": "Rounds", "Type": "Integer", "DefaultValue": 3}],
        "Steps": [
            {
                "Name": "Train",
                "Type": "Training",
                "Arguments": {
                    "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
                    "RoleArn": ROLE,
                    "HyperParameters": {"r": {"Std:Join": {"On": "", "Values": [{"Get": "Parameters.Rounds"}]}}},
                    "OutputDataConfig": {"S3OutputPath": "s3://b/out"},
                    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
                    "StoppingCondition": {"MaxRuntimeInSeconds": 60},
                },
            },
            {
                "Name": "Ask",
                "Type": "Callback",
                "Arguments": {},
                "SqsQueueUrl": "http://127.0.0.1/000000000000/q",
                "OutputParameters": [{"OutputName": "count", "OutputType": "Integer"}],
            },
            {"Name": "End", "Type": "Fail", "Arguments": {"ErrorMessage": "e"}, "DependsOn": ["Train"]},
        ],
    }
).decode()
TOKEN_OF_A_STEP = "abcde12345"
PIPELINE = f"arn:aws:sagemaker:{AT}:pipeline/pipe"
EXECUTION = f"{PIPELINE}/execution/{execution_id(f'{PIPELINE} 1800000000.0', TOKEN)}"
TRUST = '{"Statement": {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "sagemaker.amazonaws.com"}}}'

# What a member of that name is given first, wherever it stands.
QUERY = "01890000-0000-7000-8000-000000000000"
NAMED: Mapping[str, list[Any]] = {
    "TrainingJobName": ["j", "new"],
    "ProcessingJobName": ["p", "new"],
    "HyperParameterTuningJobName": ["t", "new"],
    "ModelName": ["m", "new"],
    "EndpointConfigName": ["c", "new"],
    "EndpointName": ["e", "empty", "new"],
    "InferenceComponentName": ["ic", "new"],
    "BaseInferenceComponentName": ["ic"],
    "ModelPackageGroupName": ["G", "new"],
    "ModelPackageName": [f"arn:aws:sagemaker:{AT}:model-package/g/1", "m"],
    "ModelPackageArn": [f"arn:aws:sagemaker:{AT}:model-package/g/1"],
    "PipelineName": ["pipe", "new"],
    "PipelineArn": [PIPELINE],
    "PipelineExecutionArn": [EXECUTION],
    "SourcePipelineExecutionArn": [EXECUTION],
    "PipelineVersionId": [1, 2],
    "PipelineVersionAlias": ["live"],
    "PipelineDefinition": [STEPS],
    "StepName": ["Train"],
    "CallbackToken": [TOKEN_OF_A_STEP],
    "DomainId": [DOMAIN, "d-none"],
    "DomainIdEquals": [DOMAIN, "d-none"],
    "UserProfileName": ["u", "new"],
    "SpaceName": ["s", "new"],
    "HubName": ["hub", "new"],
    "HubContentType": ["Model"],
    "HubContentName": ["content", "new"],
    "HubContentVersion": ["1.0.0", "2.0.0"],
    "ImageName": ["image", "new"],
    "SageMakerPublicHubContentArn": [f"arn:aws:sagemaker:{REGION}:aws:hub-content/SageMakerPublicHub/Model/bert"],
    "ModelCardName": ["card", "new"],
    "ModelCardExportJobName": ["export", "new"],
    "ModelCardExportJobArn": [f"arn:aws:sagemaker:{AT}:model-card/card/export-job/export"],
    "Content": ["{}"],
    "Alias": ["first", "none"],
    "FeatureGroupName": ["people", "new"],
    "QueryExecutionId": [QUERY],
    "CodeRepositoryName": ["repository", "new"],
    "MonitoringScheduleName": ["watch", "new"],
    "MonitoringAlertName": ["watch", "none"],
    "JobDefinitionName": ["definition", "new"],
    "MonitoringJobDefinitionName": ["definition", "none"],
    "UserProfileNameContains": ["u"],
    "SpaceNameContains": ["s"],
    "VariantName": ["v", "w"],
    "Image": [IMAGE],
    "TrainingImage": [IMAGE],
    "InstanceType": ["ml.m5.large"],
    "InitialInstanceCount": [1, 2],
    "RoleName": ["R", "new"],
    "RoleArn": [ROLE],
    "RoleARN": [ROLE],
    "ExecutionRoleArn": [ROLE],
    "PolicyName": ["p", "inline", "new"],
    "PolicyArn": [POLICY, "arn:aws:iam::aws:policy/AmazonSageMakerFullAccess"],
    "PolicySourceArn": [ROLE],
    "PolicyDocument": [DOCUMENT],
    "AssumeRolePolicyDocument": [TRUST],
    "VersionId": ["v1"],
    "UserName": ["clary"],
    "AccessKeyId": ["AKIA0000000000000001"],
    "logGroupName": ["g", "new"],
    "logGroupIdentifier": ["g", f"arn:aws:logs:{AT}:log-group:g"],
    "resourceIdentifier": [f"arn:aws:logs:{AT}:log-group:g"],
    "resourceArn": [f"arn:aws:logs:{AT}:log-group:g"],
    "logStreamName": ["s", "new"],
    "logStreamNames": ["s"],
    "filterPattern": ["", "ERROR", '{ $.a = "b" }', "[a, b=1]", "%a%"],
    "retentionInDays": [7, 1],
    "AlarmName": ["a", "both", "new"],
    "AlarmNames": ["a"],
    "AlarmRule": ["ALARM(a)", "TRUE"],
    "AlarmActions": [TOPIC],
    "ActionsSuppressor": ["a"],
    "ComparisonOperator": ["GreaterThanThreshold"],
    "EvaluationPeriods": [1, 3],
    "Period": [60, 300],
    "Stat": ["Sum", "p90"],
    "ExtendedStatistic": ["p90"],
    "ExtendedStatistics": ["p90"],
    "Id": ["q"],
    "Expression": ["1", "SUM(METRICS())", "SEARCH('{N} x', 'Sum', 60)"],
    "EventPattern": ['{"source": ["a"]}', "{"],
    "ScheduleExpression": ["rate(5 minutes)", "cron(0 12 * * ? *)", "at(2030-01-01T00:00:00)"],
    "ScheduleExpressionTimezone": ["UTC", "Europe/Berlin"],
    "EventBusName": ["default"],
    "Rule": ["rule", "new"],
    "GroupName": ["nightly", "default", "new"],
    "FlexibleTimeWindow": [{"Mode": "OFF"}],
    "Detail": ["{}", "x"],
    "Source": ["a", "aws.x"],
    "QueueName": ["q", "q.fifo", "new"],
    "QueueUrl": [QUEUE, f"{QUEUE}.fifo", "new"],
    "QueueNamePrefix": ["q"],
    "MessageBody": ["m"],
    "MessageGroupId": ["g"],
    "DelaySeconds": [0, 1],
    "FunctionName": ["f", FUNCTION, "new"],
    "Qualifier": ["$LATEST"],
    "Runtime": [PYTHON],
    "Handler": ["index.handler"],
    "StatementId": ["s", "new"],
    "Resource": [FUNCTION],
    "Principal": ["events.amazonaws.com"],
    "Namespace": ["N"],
    "MetricName": ["x"],
    "DashboardName": ["d", "new"],
    "DashboardNames": ["d"],
    "DashboardBody": ['{"widgets": []}'],
    "TopicArn": [TOPIC],
    "TargetArn": [TOPIC, FUNCTION],
    "SubscriptionArn": [f"{TOPIC}:00000000-0000-0000-0000-000000000000"],
    "ServiceNamespace": ["sagemaker"],
    "ResourceId": ["endpoint/e/variant/v", "inference-component/ic"],
    "ScalableDimension": ["sagemaker:variant:DesiredInstanceCount", "sagemaker:inference-component:DesiredCopyCount"],
    "PolicyType": ["TargetTrackingScaling", "StepScaling"],
    "PolicyNames": ["track"],
    "PredefinedMetricType": ["SageMakerVariantInvocationsPerInstance"],
    "TargetValue": [5.0],
    "AdjustmentType": ["ChangeInCapacity"],
    "ScheduledActionName": ["nightly"],
    "Schedule": ["rate(5 minutes)", "cron(0 3 * * ? *)", "at(2030-01-01T00:00:00)"],
    "Timezone": ["Europe/Berlin", "+0130"],
    "ResourceARN": [
        f"arn:aws:cloudwatch:{AT}:alarm:a",
        f"arn:aws:cloudwatch::{ACCOUNT}:dashboard/d",
        f"arn:aws:events:{AT}:rule/rule",
    ],
    "ResourceArn": [f"arn:aws:sagemaker:{AT}:model/m", f"arn:aws:sagemaker:{AT}:endpoint/e"],
    "S3Uri": ["s3://b/data"],
    "ModelDataUrl": ["s3://b/m.tar.gz"],
    "S3OutputPath": ["s3://b/out"],
    "InputLocation": ["s3://b/data"],
    "DestinationS3Uri": ["s3://b/out"],
    "SortBy": ["CreationTime"],
}
_TEXTS = ["x", "a-b", "", "1", "ä 😀", "\0", "s3://b/k", "arn:aws:iam::000000000000:role/R", "true", "{}", "x" * 2000]
_MOMENTS = [0.0, 1.8e9, 1.8e9 - 3600, 253_402_300_799.0, -62_135_596_800.0]
_FLOATS = [0.0, 1.0, 5.0, -1.5, 1e308, 5e-324, math.nan, math.inf, -math.inf]
_WHOLE = {
    "integer": [0, 1, 2, -1, 60, 2**31 - 1, -(2**31)],
    "long": [0, 1, -1, 60, 2**63 - 1, -(2**63), 1_800_000_000_000],
}
_DEEPEST = 7

Draw = Callable[[st.SearchStrategy[Any]], Any]


@st.composite
def requests(draw: Draw, shape: Any) -> dict[str, Any]:
    """Parameters of an operation as `wire` would hand them on, all constraints of the model kept."""
    return _structure(draw, shape, 0)


def _structure(draw: Draw, shape: Any, depth: int) -> dict[str, Any]:
    if shape.metadata.get("document"):
        return draw(st.sampled_from([{}, {"any": [1, None]}]))
    names = list(shape.members)
    required = set(shape.required_members)
    if shape.metadata.get("union"):
        names = [draw(st.sampled_from(names))] if draw(st.booleans()) else []
        required = set(names)
    some = draw(st.integers(0, 2**32 - 1)) if names else 0
    few = draw(st.booleans())
    found = {}
    for at, name in enumerate(names):
        wanted = some >> (at % 32) & 1 and (not few or some >> ((at + 7) % 32) & 1)
        if depth > _DEEPEST or (name not in required and not wanted):
            continue
        value = _value(draw, shape.members[name], name, depth + 1)
        if value is not None:
            found[name] = value
    return found


def _value(draw: Draw, shape: Any, name: str, depth: int) -> Any:
    """None where nothing that is allowed was found."""
    kind = shape.type_name
    if kind == "structure":
        return _structure(draw, shape, depth)
    if kind in ("list", "map"):
        least, most = shape.metadata.get("min", 0), shape.metadata.get("max", 3)
        count = draw(st.integers(min(least, most), max(least, min(most, least + 2))))
        if kind == "list":
            items = [_value(draw, shape.member, name, depth + 1) for _ in range(count)]
            return items if None not in items else None
        keys = [
            draw(st.sampled_from([k for k in ("k", "max_depth", "a") if fits(shape.key, k)] or ["k"]))
            for _ in range(count)
        ]
        return {key: _value(draw, shape.value, name, depth + 1) for key in keys}
    if kind == "timestamp":
        return datetime.datetime.fromtimestamp(draw(st.sampled_from(_MOMENTS)), datetime.UTC)
    if kind == "boolean":
        return draw(st.booleans())
    if kind == "blob":
        return draw(st.sampled_from([b"", b"1,2", b"\xff\x00"]))
    allowed = list(_allowed(shape, name))
    return draw(st.sampled_from(allowed)) if allowed else None


def _allowed(shape: Any, name: str) -> Iterator[Any]:
    """Those of the values at hand that the model allows; of names that are known, mostly what they stand for."""
    kind = shape.type_name
    known = [value for value in NAMED.get(name, ()) if fits(shape, value)]
    if kind == "string" and shape.metadata.get("enum"):
        yield from known * 4
        yield from (*shape.metadata["enum"], *VALUES.get(shape.name, ()))
        return
    yield from known * 8
    if kind == "string":
        texts = [*_TEXTS, "a" * shape.metadata.get("max", 64)] if shape.metadata.get("max", 64) < 5000 else _TEXTS
        yield from (text for text in texts if fits(shape, text))
        return
    ends = [shape.metadata[end] for end in ("min", "max") if end in shape.metadata]
    numbers = _FLOATS if kind in ("float", "double") else _WHOLE[kind]
    yield from (number for number in [*numbers, *ends] if fits(shape, number))


def fits(shape: Any, value: Any) -> bool:
    """Whether the model allows a text or a number."""
    meta = shape.metadata
    size = len(value) if isinstance(value, str) else value
    if isinstance(value, str) != (shape.type_name == "string"):
        return False
    if meta.get("enum") and value not in (*meta["enum"], *VALUES.get(shape.name, ())):
        return False
    if meta.get("max") is not None and not size <= meta["max"]:
        return False
    if meta.get("min") is not None and not size >= meta["min"]:
        return False
    return not meta.get("pattern") or not isinstance(value, str) or matcher(meta["pattern"])(value)


@st.composite
def mutations(draw: Draw, shape: Any, base: Mapping[str, Any]) -> dict[str, Any]:
    """A good request with one to three changes: a member left out, made empty, made anew, or added."""
    found = copy.deepcopy(dict(base))
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(shape, found))
        place, of, name = draw(st.sampled_from(places))
        member = of.member if of.type_name == "list" else of.value if of.type_name == "map" else of.members[name]
        what = draw(st.sampled_from(["out", "empty", "anew", "anew"]))
        present = name in place if isinstance(place, dict) else True
        if what == "out" and present:
            del place[name]
        elif what == "empty" and member.type_name in ("structure", "list", "map", "string"):
            place[name] = {"structure": dict, "map": dict, "list": list, "string": str}[member.type_name]()
        else:
            value = _value(draw, member, str(name), 3)
            if value is not None:
                place[name] = value
    return found


def _places(shape: Any, value: Any) -> Iterator[tuple[Any, Any, Any]]:
    """(container, its shape, key) of everything in a request, and of the members that its structures could have beside."""
    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict) and not shape.metadata.get("document"):
        for name, member in shape.members.items():
            yield value, shape, name
            if name in value:
                yield from _places(member, value[name])
    elif kind == "list" and isinstance(value, list):
        for at, item in enumerate(value):
            yield value, shape, at
            yield from _places(shape.member, item)
    elif kind == "map" and isinstance(value, dict):
        for key, item in value.items():
            yield value, shape, key
            yield from _places(shape.value, item)


def reductions(shape: Any, base: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A good request without each of its members in turn, and with each of its structures, lists and maps empty in turn."""
    count = len(list(_places(shape, copy.deepcopy(dict(base)))))
    for at in range(count):
        for empty in (False, True):
            found = copy.deepcopy(dict(base))
            place, _, name = list(_places(shape, found))[at]
            if isinstance(place, dict) and name not in place:
                continue
            if not empty:
                del place[name]
            elif isinstance(place[name], dict | list | str):
                place[name] = type(place[name])()
            else:
                continue
            yield found
