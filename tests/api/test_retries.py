"""A Create that its client asks again meets its first success (`api/retries.py`), for every Create that stores a record."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest
from tests.api import monitors
from tests.api.house import INFERENCE_EXPERIMENT, RECOMMENDATIONS, rename_domain
from tests.api.requests import DOMAIN, PYTHON, SCHEDULE, STEPS, TOKEN, ZIP
from tests.api.world import ACCOUNT, REGION, World

from clary.api import registry
from clary.api.call import Call
from clary.api.dispatch import answer
from clary.api.errors import translate
from clary.api.retries import made_by
from clary.domain.attempts import WITHIN
from clary.domain.errors import ClaryError
from clary.domain.resources import Scope
from clary.testing.clock import FakeClock

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/any"
WHO = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
WHAT = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
TRUST, POLICY = (json.dumps({"Version": "2012-10-17", "Statement": [rule]}) for rule in (WHO, WHAT))
VARIANT = {"VariantName": "v", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
HOST = {"VariantName": "v", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
CREATES: dict[tuple[str, str], dict[str, Any]] = {
    ("sagemaker", "CreateModel"): {
        "ModelName": "again",
        "PrimaryContainer": {"Image": IMAGE, "ModelDataUrl": "s3://b/m.tar.gz"},
    },
    ("scheduler", "CreateSchedule"): {**SCHEDULE, "GroupName": "default"},
    ("scheduler", "CreateScheduleGroup"): {"Name": "again"},
    ("lambda", "CreateFunction"): {
        "FunctionName": "again",
        "Runtime": PYTHON,
        "Role": ROLE,
        "Handler": "index.handler",
        "Code": {"ZipFile": ZIP},
    },
    ("lambda", "CreateAlias"): {"FunctionName": "f", "Name": "again", "FunctionVersion": "1"},
    ("sagemaker", "CreateModelPackageGroup"): {"ModelPackageGroupName": "again"},
    ("sagemaker", "CreateDomain"): {"DomainName": "again", "AuthMode": "IAM", "DefaultUserSettings": {}},
    ("sagemaker", "CreateUserProfile"): {"DomainId": DOMAIN, "UserProfileName": "again"},
    ("sagemaker", "CreateSpace"): {"DomainId": DOMAIN, "SpaceName": "again"},
    ("sagemaker", "CreateModelPackage"): {
        "ModelPackageGroupName": "g",
        "InferenceSpecification": {"Containers": [{"Image": IMAGE}]},
    },
    ("sagemaker", "CreateEndpointConfig"): {"EndpointConfigName": "again", "ProductionVariants": [VARIANT]},
    ("sagemaker", "CreateEndpoint"): {"EndpointName": "again", "EndpointConfigName": "c"},
    ("sagemaker", "CreateInferenceComponent"): {
        "InferenceComponentName": "again",
        "EndpointName": "e",
        "VariantName": "v",
        "Specification": {"ModelName": "m", "ComputeResourceRequirements": {"MinMemoryRequiredInMb": 5000}},
        "RuntimeConfig": {"CopyCount": 1},
    },
    ("sagemaker", "CreateTrainingJob"): {
        "TrainingJobName": "again",
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": "s3://b/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    },
    ("sagemaker", "CreateProcessingJob"): {
        "ProcessingJobName": "again",
        "RoleArn": ROLE,
        "AppSpecification": {"ImageUri": IMAGE, "ContainerEntrypoint": ["python3", "x.py"]},
        "ProcessingResources": {
            "ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
        },
    },
    ("sagemaker", "CreateInferenceExperiment"): {**INFERENCE_EXPERIMENT, "Name": "again", "EndpointName": "again"},
    ("sagemaker", "CreateInferenceRecommendationsJob"): {**RECOMMENDATIONS, "JobName": "again"},
    ("sagemaker", "CreateHyperParameterTuningJob"): {
        "HyperParameterTuningJobName": "again",
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "validation:rmse"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 1},
            "ParameterRanges": {"ContinuousParameterRanges": [{"Name": "eta", "MinValue": "0.1", "MaxValue": "0.5"}]},
        },
        "TrainingJobDefinition": {
            "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
            "RoleArn": ROLE,
            "OutputDataConfig": {"S3OutputPath": "s3://b/out"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        },
    },
    ("sagemaker", "CreateTransformJob"): {
        "TransformJobName": "again",
        "ModelName": "m",
        "TransformInput": {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/in"}}},
        "TransformOutput": {"S3OutputPath": "s3://b/out"},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    },
    ("sagemaker", "CreateCodeRepository"): {
        "CodeRepositoryName": "again",
        "GitConfig": {"RepositoryUrl": "https://example.com/r.git"},
    },
    ("sagemaker", "CreatePipeline"): {
        "PipelineName": "again",
        "PipelineDefinition": STEPS,
        "RoleArn": ROLE,
        "ClientRequestToken": TOKEN,
    },
    ("sagemaker", "CreateImage"): {"ImageName": "again", "RoleArn": ROLE},
    ("sagemaker", "CreateModelCard"): {"ModelCardName": "again", "Content": "{}", "ModelCardStatus": "Draft"},
    ("sagemaker", "CreateModelCardExportJob"): {
        "ModelCardName": "card",
        "ModelCardExportJobName": "again",
        "OutputConfig": {"S3OutputPath": "s3://b/out"},
    },
    ("sagemaker", "CreateImageVersion"): {"ImageName": "i", "BaseImage": IMAGE, "ClientToken": "c"},
    ("sagemaker", "CreateHubContentReference"): {
        "HubName": "h",
        "SageMakerPublicHubContentArn": f"arn:aws:sagemaker:{REGION}:aws:hub-content/SageMakerPublicHub/Model/again",
    },
    ("sagemaker", "CreateHub"): {"HubName": "again", "HubDescription": "d"},
    ("sagemaker", "ImportHubContent"): {
        "HubName": "h",
        "HubContentType": "Model",
        "HubContentName": "again",
        "HubContentVersion": "1.0.0",
        "DocumentSchemaVersion": "1.0.0",
        "HubContentDocument": "{}",
    },
    ("sagemaker", "CreateFeatureGroup"): {
        "FeatureGroupName": "again",
        "RecordIdentifierFeatureName": "id",
        "EventTimeFeatureName": "at",
        "FeatureDefinitions": [
            {"FeatureName": "id", "FeatureType": "String"},
            {"FeatureName": "at", "FeatureType": "Fractional"},
        ],
        "OnlineStoreConfig": {"EnableOnlineStore": True},
    },
    ("sagemaker", "CreateMlflowTrackingServer"): {
        "TrackingServerName": "again",
        "ArtifactStoreUri": "s3://b/runs",
        "RoleArn": ROLE,
    },
    ("sagemaker", "CreateMlflowApp"): {"Name": "again", "ArtifactStoreUri": "s3://b/runs", "RoleArn": ROLE},
    **monitors.CREATES,
    ("iam", "CreateRole"): {"RoleName": "again", "AssumeRolePolicyDocument": TRUST},
    ("iam", "CreatePolicy"): {"PolicyName": "again", "PolicyDocument": POLICY},
    ("sagemaker", "CreateExperiment"): {"ExperimentName": "again"},
    ("sagemaker", "CreateTrial"): {"TrialName": "again", "ExperimentName": "e"},
    ("sagemaker", "CreateTrialComponent"): {"TrialComponentName": "again"},
    ("sagemaker", "CreateArtifact"): {"ArtifactType": "t", "Source": {"SourceUri": "s3://b/again"}},
    ("sagemaker", "CreateAction"): {"ActionName": "again", "ActionType": "t", "Source": {"SourceUri": "u"}},
    ("sagemaker", "CreateContext"): {"ContextName": "again", "ContextType": "t", "Source": {"SourceUri": "u"}},
}


@pytest.fixture
async def world() -> World:
    """What the Creates name is there."""
    world = World({"b": {"m.tar.gz": b""}})
    await world(
        "sagemaker", "CreateModel", ModelName="m", PrimaryContainer={"Image": IMAGE, "ModelDataUrl": "s3://b/m.tar.gz"}
    )
    await world("sagemaker", "CreateEndpointConfig", EndpointConfigName="c", ProductionVariants=[VARIANT])
    await world("sagemaker", "CreateModelPackageGroup", ModelPackageGroupName="g")
    await world("sagemaker", "CreateExperiment", ExperimentName="e")
    await world("sagemaker", "CreateDomain", DomainName="D", AuthMode="IAM", DefaultUserSettings={})
    await rename_domain(world)
    await world("sagemaker", "CreateHub", HubName="h", HubDescription="d")
    await world("sagemaker", "CreateImage", ImageName="i", RoleArn=ROLE)
    await world("sagemaker", "CreateModelCard", ModelCardName="card", Content="{}", ModelCardStatus="Draft")
    await world(
        "lambda", "CreateFunction", **{**CREATES["lambda", "CreateFunction"], "FunctionName": "f"}, Publish=True
    )
    await world(
        "sagemaker", "CreateEndpointConfig", EndpointConfigName="h", ProductionVariants=[HOST], ExecutionRoleArn=ROLE
    )
    await world("sagemaker", "CreateEndpoint", EndpointName="e", EndpointConfigName="h")
    return world


async def ask(
    world: World, which: tuple[str, str], params: dict[str, Any], token: str = "t", attempt: int = 1, **more: str
) -> dict[str, Any]:
    return await answer(
        world.ports,
        *which,
        params,
        account=ACCOUNT,
        region=more.get("region", REGION),
        principal=more.get("principal", "arn:aws:iam::000000000000:user/clary"),
        retry_token=token,
        attempt=attempt,
    )


def test_every_create_with_a_record_is_among_them() -> None:
    World()
    again = {key for key, operation in registry.registered().items() if operation.again}
    assert again == set(CREATES)
    # The rest has no name that a retry could meet, or answers the same twice, or keeps no record.
    rest = {
        name
        for (_, name), operation in registry.registered().items()
        if name.startswith("Create") and not operation.again
    }
    # Groups and streams of logs are files: see below.
    assert rest == {
        "CreateEventBus",
        "CreateQueue",
        "CreateTopic",
        "CreateAccessKey",
        "CreateLogGroup",
        "CreateLogStream",
        "CreatePresignedMlflowAppUrl",
        "CreatePresignedMlflowTrackingServerUrl",
    }


@pytest.mark.parametrize("which", CREATES, ids=lambda which: which[1])
@pytest.mark.parametrize("attempt", [0, 1, 2])
async def test_its_own_retry_is_answered_the_same_and_makes_nothing_twice(
    world: World, which: tuple[str, str], attempt: int
) -> None:
    """A client that does not count its attempts, one whose first attempt arrived twice, one that does count."""
    told: list[str] = []
    params = CREATES[which]
    first = await ask(world, which, params)
    world.ports.store.watch(lambda record: told.append(record.arn))
    if which[1] in ("CreateModelPackage", "StartQueryExecution") and attempt == 1:
        return  # a version, and a query, has no name that could be taken
    assert await ask(world, which, params, attempt=attempt) == first
    assert told == []


@pytest.mark.parametrize("which", CREATES, ids=lambda which: which[1])
async def test_anybody_elses_is_refused(world: World, which: tuple[str, str]) -> None:
    params = CREATES[which]
    first = await ask(world, which, params)
    if which[1] == "StartQueryExecution":  # it is a query of its own
        assert await ask(world, which, params, token="u", attempt=2) != first
        return
    if which[1] == "CreateModelPackage":
        assert (await ask(world, which, params, token="u", attempt=2))["ModelPackageArn"].endswith("/2")
        return
    if which[1] == "CreateImageVersion":  # its ClientToken is the client's own word for "the same"
        assert (await ask(world, which, params, token="u"))["ImageVersionArn"].endswith("/1")
        more = await ask(world, which, {**params, "ClientToken": "d"}, token="u", attempt=2)
        assert more["ImageVersionArn"].endswith("/2")
        return
    if which[1] == "CreatePipeline":  # so is its ClientRequestToken
        assert await ask(world, which, params, token="u")
        params = {**params, "ClientRequestToken": "u" * 32}
    tags: Any = {"k": "v"} if which[0] == "lambda" else [{"Key": "k", "Value": "v"}]
    for other in (
        {"token": "u"},
        {"token": ""},
        {"principal": "arn:aws:iam::000000000000:user/another"},
        {"params": {**params, "Tags": tags}},
    ):
        with pytest.raises(ClaryError) as caught:
            await ask(world, which, **{"params": params, "attempt": 2, **other})  # type: ignore[arg-type]
        words = " ".join(translate(*which, caught.value)[:2])
        assert "exist" in words.lower() or "ResourceLimitExceeded" in words, words


async def test_it_is_remembered_for_a_time(world: World) -> None:
    which = "sagemaker", "CreateModel"
    first = await ask(world, which, CREATES[which])
    clock = world.ports.clock
    assert isinstance(clock, FakeClock)
    clock.advance(WITHIN)
    assert await ask(world, which, CREATES[which], attempt=2) == first
    clock.advance(1)
    with pytest.raises(ClaryError, match="already existing"):
        await ask(world, which, CREATES[which], attempt=2)


async def test_what_was_deleted_meanwhile_is_made_again(world: World) -> None:
    which = "sagemaker", "CreateModel"
    await ask(world, which, CREATES[which])
    await world("sagemaker", "DeleteModel", ModelName="again")
    assert await ask(world, which, CREATES[which], attempt=2)
    assert await world("sagemaker", "DescribeModel", ModelName="again")


async def test_a_region_is_its_own(world: World) -> None:
    which = "iam", "CreateRole"  # a kind without one
    await ask(world, which, CREATES[which])
    with pytest.raises(ClaryError, match="already exists"):
        await ask(world, which, CREATES[which], region="us-west-2", attempt=2)


async def test_members_that_json_has_no_word_for(world: World) -> None:
    which = "sagemaker", "CreateModelPackageGroup"
    params = {
        "ModelPackageGroupName": "odd",
        "At": datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
        "Bytes": b"\xff",
    }
    call = Call(world.ports, *which, Scope(ACCOUNT, REGION), "p", retry_token="t")
    assert made_by(call, params) == made_by(call, dict(reversed(params.items())))
    assert made_by(call, params) != made_by(call, {**params, "Bytes": b"\xfe"})
    assert made_by(call, params) != made_by(call, {**params, "At": datetime.datetime(2026, 1, 3, tzinfo=datetime.UTC)})


async def test_groups_and_streams_of_logs(world: World) -> None:
    group: tuple[tuple[str, str], dict[str, Any]] = (
        ("logs", "CreateLogGroup"),
        {"logGroupName": "again", "kmsKeyId": "k", "tags": {"a": "b"}},
    )
    stream: tuple[tuple[str, str], dict[str, Any]] = (
        ("logs", "CreateLogStream"),
        {"logGroupName": "again", "logStreamName": "s"},
    )
    for which, params in (group, stream):
        assert await ask(world, which, params) == {}
        assert await ask(world, which, params, attempt=2) == {}
        for attempt in (0, 1):
            with pytest.raises(ClaryError, match="already exists"):
                await ask(world, which, params, attempt=attempt)
    for other in ({"tags": {}}, {"kmsKeyId": "l"}):
        with pytest.raises(ClaryError, match="already exists"):
            await ask(world, group[0], {**group[1], **other}, attempt=2)
    clock = world.ports.clock
    assert isinstance(clock, FakeClock)
    clock.advance(WITHIN + 1)
    for which, params in (group, stream):
        with pytest.raises(ClaryError, match="already exists"):
            await ask(world, which, params, attempt=2)
