"""A world with one of everything that handlers keep: what requests to all operations may name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.api import monitors
from tests.api.requests import (
    ACCOUNT,
    DOCUMENT,
    DOMAIN,
    EXECUTION,
    FUNCTION,
    IMAGE,
    POLICY,
    PYTHON,
    QUERY,
    QUEUE,
    REGION,
    ROLE,
    SCHEDULE,
    STEPS,
    TOKEN,
    TOKEN_OF_A_STEP,
    TOPIC,
    TRUST,
    ZIP,
)
from tests.api.world import World

from clary.domain.endpoints import life
from clary.domain.names import COMPONENT
from clary.domain.resources import Query, Record, Scope

VARIANT = {"VariantName": "v", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
TARGET = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "endpoint/e/variant/v",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}
TRANSFORM = {
    "TransformJobName": "batch",
    "ModelName": "m",
    "TransformInput": {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/in"}}},
    "TransformOutput": {"S3OutputPath": "s3://b/out"},
    "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
}
JOB = {
    "TrainingJobName": "j",
    "RoleArn": ROLE,
    "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
    "OutputDataConfig": {"S3OutputPath": "s3://b/out"},
    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
    "StoppingCondition": {"MaxRuntimeInSeconds": 60},
}
PROCESSING = {
    "ProcessingJobName": "p",
    "RoleArn": ROLE,
    "AppSpecification": {"ImageUri": IMAGE, "ContainerEntrypoint": ["python3", "x.py"]},
    "ProcessingResources": {"ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}},
}
_SIZE = {"InstanceType": "ml.m5.large", "InstanceCount": 1}
_SHADOWED = {"InfrastructureType": "RealTimeInference", "RealTimeInferenceConfig": _SIZE}
INFERENCE_EXPERIMENT: dict[str, Any] = {
    "Name": "shadowed",
    "Type": "ShadowMode",
    "RoleArn": ROLE,
    "EndpointName": "shadowed",
    "ModelVariants": [
        {"ModelName": "m", "VariantName": name, "InfrastructureConfig": _SHADOWED} for name in ("now", "next")
    ],
    "ShadowModeConfig": {
        "SourceModelVariantName": "now",
        "ShadowModelVariants": [{"ShadowModelVariantName": "next", "SamplingPercentage": 10}],
    },
}
RECOMMENDATIONS: dict[str, Any] = {
    "JobName": "right",
    "JobType": "Default",
    "RoleArn": ROLE,
    "InputConfig": {
        "ModelName": "m",
        "ContainerConfig": {"PayloadConfig": {"SamplePayloadUrl": "s3://b/m.tar.gz"}},
    },
}
TUNING: dict[str, Any] = {
    "HyperParameterTuningJobName": "t",
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
}
ALARM = {
    "AlarmName": "a",
    "Namespace": "N",
    "MetricName": "x",
    "Statistic": "Sum",
    "Period": 60,
    "EvaluationPeriods": 1,
    "Threshold": 1.0,
    "ComparisonOperator": "GreaterThanThreshold",
}
COPIES = {
    "InferenceComponentName": "ic",
    "EndpointName": "empty",
    "VariantName": "v",
    "Specification": {"ModelName": "m", "ComputeResourceRequirements": {"MinMemoryRequiredInMb": 128}},
    "RuntimeConfig": {"CopyCount": 1},
}
GROUP = {
    "FeatureGroupName": "people",
    "RecordIdentifierFeatureName": "id",
    "EventTimeFeatureName": "at",
    "FeatureDefinitions": [
        {"FeatureName": "id", "FeatureType": "String"},
        {"FeatureName": "at", "FeatureType": "Fractional"},
        {"FeatureName": "v", "FeatureType": "Fractional", "CollectionType": "List"},
    ],
    "OnlineStoreConfig": {"EnableOnlineStore": True, "StorageType": "InMemory"},
    "OfflineStoreConfig": {"S3StorageConfig": {"S3Uri": "s3://b/features"}},
    "RoleArn": ROLE,
}
RECORDS: list[tuple[str, str, dict[str, Any]]] = [
    ("iam", "CreateRole", {"RoleName": "R", "AssumeRolePolicyDocument": TRUST, "Tags": [{"Key": "k", "Value": "v"}]}),
    ("iam", "CreatePolicy", {"PolicyName": "p", "PolicyDocument": DOCUMENT}),
    ("iam", "CreatePolicy", {"PolicyName": "free", "PolicyDocument": DOCUMENT}),
    ("iam", "AttachRolePolicy", {"RoleName": "R", "PolicyArn": POLICY}),
    ("iam", "PutRolePolicy", {"RoleName": "R", "PolicyName": "inline", "PolicyDocument": DOCUMENT}),
    ("sqs", "CreateQueue", {"QueueName": "q"}),
    ("sqs", "CreateQueue", {"QueueName": "q.fifo", "Attributes": {"FifoQueue": "true"}}),
    ("sqs", "SendMessage", {"QueueUrl": QUEUE, "MessageBody": "m"}),
    (
        "lambda",
        "CreateFunction",
        {"FunctionName": "f", "Runtime": PYTHON, "Role": ROLE, "Handler": "index.handler", "Code": {"ZipFile": ZIP}},
    ),
    (
        "lambda",
        "AddPermission",
        {
            "FunctionName": "f",
            "StatementId": "s",
            "Action": "lambda:InvokeFunction",
            "Principal": "events.amazonaws.com",
        },
    ),
    ("lambda", "PublishVersion", {"FunctionName": "f"}),
    ("lambda", "CreateAlias", {"FunctionName": "f", "Name": "live", "FunctionVersion": "1"}),
    ("events", "PutRule", {"Name": "rule", "EventPattern": '{"source": ["a"]}'}),
    ("events", "PutTargets", {"Rule": "rule", "Targets": [{"Id": "f", "Arn": FUNCTION}]}),
    ("scheduler", "CreateScheduleGroup", {"Name": "nightly"}),
    ("scheduler", "CreateSchedule", SCHEDULE),
    ("sns", "CreateTopic", {"Name": "t"}),
    ("sns", "Subscribe", {"TopicArn": TOPIC, "Protocol": "http", "Endpoint": "http://127.0.0.1/h"}),
    (
        "sagemaker",
        "CreateModel",
        {"ModelName": "m", "PrimaryContainer": {"Image": IMAGE, "ModelDataUrl": "s3://b/m.tar.gz"}},
    ),
    (
        "sagemaker",
        "CreateEndpointConfig",
        {"EndpointConfigName": "c", "ProductionVariants": [{**VARIANT, "InitialInstanceCount": 2}]},
    ),
    ("sagemaker", "CreateEndpoint", {"EndpointName": "e", "EndpointConfigName": "c"}),
    (
        "sagemaker",
        "CreateEndpointConfig",
        {
            "EndpointConfigName": "host",
            "ExecutionRoleArn": ROLE,
            "ProductionVariants": [{"VariantName": "v", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}],
        },
    ),
    ("sagemaker", "CreateEndpoint", {"EndpointName": "empty", "EndpointConfigName": "host"}),
    (
        "sagemaker",
        "CreateEndpointConfig",
        {
            "EndpointConfigName": "later",
            "ProductionVariants": [VARIANT],
            "AsyncInferenceConfig": {"OutputConfig": {"S3OutputPath": "s3://b/out"}},
        },
    ),
    ("sagemaker", "CreateEndpoint", {"EndpointName": "queue", "EndpointConfigName": "later"}),
    ("sagemaker", "CreateInferenceComponent", COPIES),
    ("sagemaker", "CreateTrainingJob", JOB),
    ("sagemaker", "CreateProcessingJob", PROCESSING),
    ("sagemaker", "CreateHyperParameterTuningJob", TUNING),
    ("sagemaker", "CreateInferenceExperiment", INFERENCE_EXPERIMENT),
    ("sagemaker", "CreateInferenceRecommendationsJob", RECOMMENDATIONS),
    ("sagemaker", "CreateTransformJob", TRANSFORM),
    *monitors.RECORDS,
    ("sagemaker", "CreateModelPackageGroup", {"ModelPackageGroupName": "G"}),
    (
        "sagemaker",
        "CreateModelPackage",
        {
            "ModelPackageGroupName": "G",
            "InferenceSpecification": {"Containers": [{"Image": IMAGE, "ModelDataUrl": "s3://b/m.tar.gz"}]},
            "ModelApprovalStatus": "Approved",
        },
    ),
    (
        "sagemaker",
        "CreateCodeRepository",
        {"CodeRepositoryName": "repository", "GitConfig": {"RepositoryUrl": "https://example.com/r.git"}},
    ),
    ("sagemaker", "CreateHub", {"HubName": "hub", "HubDescription": "d"}),
    (
        "sagemaker",
        "ImportHubContent",
        {
            "HubName": "hub",
            "HubContentType": "Model",
            "HubContentName": "content",
            "HubContentVersion": "1.0.0",
            "DocumentSchemaVersion": "1.0.0",
            "HubContentDocument": "{}",
        },
    ),
    (
        "sagemaker",
        "CreateHubContentReference",
        {
            "HubName": "hub",
            "SageMakerPublicHubContentArn": f"arn:aws:sagemaker:{REGION}:aws:hub-content/SageMakerPublicHub/Model/bert",
        },
    ),
    ("sagemaker", "CreateImage", {"ImageName": "image", "RoleArn": ROLE, "Description": "d"}),
    (
        "sagemaker",
        "CreateImageVersion",
        {"ImageName": "image", "BaseImage": IMAGE, "ClientToken": "one", "Aliases": ["first"]},
    ),
    ("sagemaker", "CreateModelCard", {"ModelCardName": "card", "Content": "{}", "ModelCardStatus": "Draft"}),
    (
        "sagemaker",
        "CreateModelCardExportJob",
        {"ModelCardName": "card", "ModelCardExportJobName": "export", "OutputConfig": {"S3OutputPath": "s3://b/out"}},
    ),
    ("sagemaker", "PutModelPackageGroupPolicy", {"ModelPackageGroupName": "G", "ResourcePolicy": DOCUMENT}),
    (
        "sagemaker",
        "CreateDomain",
        {"DomainName": "D", "AuthMode": "IAM", "DefaultUserSettings": {"ExecutionRole": ROLE}},
    ),
    (
        "sagemaker",
        "CreatePipeline",
        {
            "PipelineName": "pipe",
            "PipelineDefinition": STEPS,
            "RoleArn": ROLE,
            "ClientRequestToken": TOKEN,
            "PipelineVersionAliases": ["live"],
        },
    ),
    (
        "sagemaker",
        "CreatePipeline",
        {"PipelineName": "idle", "PipelineDefinition": STEPS, "RoleArn": ROLE, "ClientRequestToken": TOKEN},
    ),
    ("sagemaker", "StartPipelineExecution", {"PipelineName": "pipe", "ClientRequestToken": TOKEN}),
    ("sagemaker", "CreateFeatureGroup", GROUP),
    (
        "sagemaker",
        "CreateMlflowTrackingServer",
        {"TrackingServerName": "tracker", "ArtifactStoreUri": "s3://b/runs", "RoleArn": ROLE},
    ),
    ("cloudwatch", "PutMetricAlarm", ALARM),
    ("cloudwatch", "PutCompositeAlarm", {"AlarmName": "both", "AlarmRule": "ALARM(a)"}),
    ("cloudwatch", "PutDashboard", {"DashboardName": "d", "DashboardBody": '{"widgets": []}'}),
    ("application-autoscaling", "RegisterScalableTarget", {**TARGET, "MinCapacity": 1, "MaxCapacity": 2}),
    (
        "application-autoscaling",
        "PutScheduledAction",
        {
            **TARGET,
            "ScheduledActionName": "nightly",
            "Schedule": "rate(5 minutes)",
            "ScalableTargetAction": {"MinCapacity": 1},
        },
    ),
    ("sagemaker", "CreateExperiment", {"ExperimentName": "exp"}),
    ("sagemaker", "CreateTrial", {"TrialName": "tr", "ExperimentName": "exp"}),
    ("sagemaker", "CreateTrialComponent", {"TrialComponentName": "tc"}),
    ("sagemaker", "CreateTrialComponent", {"TrialComponentName": "lone"}),
    ("sagemaker", "AssociateTrialComponent", {"TrialComponentName": "tc", "TrialName": "tr"}),
    ("sagemaker", "CreateArtifact", {"ArtifactType": "DataSet", "Source": {"SourceUri": "s3://b/x"}}),
    ("sagemaker", "CreateArtifact", {"ArtifactType": "DataSet", "Source": {"SourceUri": "s3://b/lone"}}),
    ("sagemaker", "CreateAction", {"ActionName": "act", "ActionType": "Approval", "Source": {"SourceUri": "s3://b/x"}}),
    (
        "sagemaker",
        "CreateContext",
        {"ContextName": "con", "ContextType": "Endpoint", "Source": {"SourceUri": "s3://b/x"}},
    ),
    (
        "sagemaker",
        "AddAssociation",
        {
            "SourceArn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:action/act",
            "DestinationArn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:context/con",
        },
    ),
]
IN_DOMAIN: list[tuple[str, dict[str, Any]]] = [
    ("CreateUserProfile", {"DomainId": DOMAIN, "UserProfileName": "u"}),
    ("CreateSpace", {"DomainId": DOMAIN, "SpaceName": "s"}),
]
OTHERS: list[tuple[str, str, dict[str, Any]]] = [
    ("logs", "CreateLogGroup", {"logGroupName": "g"}),
    ("logs", "CreateLogStream", {"logGroupName": "g", "logStreamName": "s"}),
    ("cloudwatch", "PutMetricData", {"Namespace": "N", "MetricData": [{"MetricName": "x", "Value": 1.0}]}),
]
BUCKETS = {"bbb": {"pipe.json": STEPS.encode()}, "b": {"data": b"1,2", "m.tar.gz": b"archive"}}
PERSON = [
    {"FeatureName": "id", "ValueAsString": "here"},
    {"FeatureName": "at", "ValueAsString": "1"},
    {"FeatureName": "v", "ValueAsStringList": ["1"]},
]
OTHERS.append(("sagemaker-featurestore-runtime", "PutRecord", {"FeatureGroupName": "people", "Record": PERSON}))
_made: list[World] = []


async def house() -> World:
    """A world with one of everything, its endpoints in service. Records are made once and copied: tests make thousands of worlds."""
    if not _made:
        first = World(BUCKETS)
        for service, operation, params in RECORDS:
            await first(service, operation, **params)
        for name in ("e", "empty", "queue"):
            await _serve(first, "endpoint", name)
        await _serve(first, COMPONENT, "ic")
        await _open(first, "feature-group", "people")
        await _ask(first)
        await _query(first)
        await rename_domain(first)
        for operation, params in IN_DOMAIN:
            await first("sagemaker", operation, **params)
        _made.append(first)
    world = World(BUCKETS, _made[0].store.copy())
    world.ports.keys.create(ACCOUNT, "clary")
    for service, operation, params in OTHERS:
        await world(service, operation, **params)
    return world


async def _serve(world: World, kind: str, name: str) -> None:
    """What the loops would do: the first fleet takes over."""
    record = await world.store.get(kind, Scope(ACCOUNT, REGION), name)
    assert record is not None
    plant = life.plant_of(record)
    plant = replace(plant, serving=plant.incoming, incoming=None)
    await world.store.save(replace(life.with_plant(record, plant), status="InService"))


async def _open(world: World, kind: str, name: str) -> None:
    """What its loop would do: it is made."""
    record = await world.store.get(kind, Scope(ACCOUNT, REGION), name)
    assert record is not None
    await world.store.save(replace(record, status="Created"))


async def _ask(world: World) -> None:
    """What its loop would do: the execution's Callback step waits, with a token that requests can know."""
    record = await world.store.by_arn(EXECUTION)
    assert record is not None
    state = {
        "type": "Callback",
        "status": "Executing",
        "attempt": 1,
        "started": 0.0,
        "token": TOKEN_OF_A_STEP,
        "sent": True,
    }
    steps = {"Ask": {**state, "queue": QUEUE, "given": {}}}
    await world.store.save(replace(record, document={**record.document, "steps": steps}))


async def _query(world: World) -> None:
    """A query of Athena's that was answered."""
    request = {"QueryString": "SELECT 1", "ResultConfiguration": {"OutputLocation": "s3://b/data"}}
    arn = f"arn:aws:athena:{REGION}:{ACCOUNT}:query-execution/{QUERY}"
    document = {
        "request": request,
        "sql": "SELECT 1",
        "columns": [["a", "bigint"], ["b", "bigint"]],
        "ended": world.now,
    }
    at = world.now
    await world.store.add(Record("query-execution", Scope(ACCOUNT, REGION), QUERY, arn, "SUCCEEDED", at, at, document))


async def rename_domain(world: World) -> None:
    """Give the one domain an id that requests can know."""
    (found,) = await world.store.page(Query("domain", Scope(ACCOUNT, REGION)))
    document = {**found.document, "request": {**found.document["request"], "DomainId": DOMAIN}, "DomainId": DOMAIN}
    await world.store.remove(found)
    await world.store.add(replace(found, name=DOMAIN, arn=found.arn.replace(found.name, DOMAIN), document=document))


async def subscription() -> str:
    """The ARN of the one subscription in the house."""
    await house()
    (found,) = (await _made[0]("sns", "ListSubscriptions"))["Subscriptions"]
    return str(found["SubscriptionArn"])
