"""Good requests, at least one for every operation that takes much: what the walk of all handlers leaves out of, empties and changes."""

from __future__ import annotations

import datetime
from typing import Any

from tests.api import monitors
from tests.api.requests import (
    DOCUMENT,
    DOMAIN,
    EXECUTION,
    FUNCTION,
    IMAGE,
    PIPELINE,
    PYTHON,
    QUERY,
    QUEUE,
    ROLE,
    SCHEDULE,
    STEPS,
    TOKEN_OF_A_STEP,
    TOPIC,
    ZIP,
)

from clary.domain.lineage.entities import artifact_name

AT = datetime.datetime.fromtimestamp(1_800_000_000 - 600, datetime.UTC)
END = datetime.datetime.fromtimestamp(1_800_000_000, datetime.UTC)
MS = 1_800_000_000_000
VARIANT = {"VariantName": "v", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
VPC = {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}
STRING = {"DataType": "String", "StringValue": "v"}
EVENT = (
    '{"id": "1", "account": "000000000000", "source": "a", "time": "2030-01-01T00:00:00Z", "region": "eu-west-1", '
    '"resources": [], "detail-type": "d", "detail": {}}'
)
TAGS = [{"Key": "k", "Value": "v"}]
ALARMS = {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "a"}]}}
CAPACITY = {"Type": "INSTANCE_COUNT", "Value": 1}
COPY = {"Type": "COPY_COUNT", "Value": 1}
TARGET = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "endpoint/e/variant/v",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}
METRIC = {"Namespace": "N", "MetricName": "x", "Dimensions": [{"Name": "k", "Value": "v"}]}
QUERIES = [
    {
        "Id": "m",
        "MetricStat": {"Metric": METRIC, "Period": 60, "Stat": "Sum", "Unit": "None"},
        "Label": "${LABEL} ${MAX}",
    },
    {"Id": "e", "Expression": "FILL(m, 0) / PERIOD(m)", "Label": "rate", "Period": 60, "ReturnData": False},
]
TRAFFIC = {
    "BlueGreenUpdatePolicy": {
        "TrafficRoutingConfiguration": {
            "Type": "CANARY",
            "WaitIntervalInSeconds": 1,
            "CanarySize": CAPACITY,
        },
        "TerminationWaitInSeconds": 1,
        "MaximumExecutionTimeoutInSeconds": 700,
    },
    **ALARMS,
}
COMPONENT = {
    "InferenceComponentName": "made",
    "EndpointName": "empty",
    "VariantName": "v",
    "Specification": {
        "Container": {"Image": IMAGE, "ArtifactUrl": "s3://b/m.tar.gz", "Environment": {"A": "b"}},
        "StartupParameters": {
            "ModelDataDownloadTimeoutInSeconds": 60,
            "ContainerStartupHealthCheckTimeoutInSeconds": 60,
        },
        "ComputeResourceRequirements": {"NumberOfCpuCoresRequired": 1.0, "MinMemoryRequiredInMb": 128},
    },
    "RuntimeConfig": {"CopyCount": 1},
    "Tags": TAGS,
}
PACKAGED = {
    "Containers": [
        {
            "Image": IMAGE,
            "ModelDataUrl": "s3://b/m.tar.gz",
            "Environment": {"A": "b"},
            "Framework": "XGBOOST",
            "ModelInput": {"DataInputConfig": "{}"},
        }
    ],
    "SupportedContentTypes": ["text/csv"],
    "SupportedResponseMIMETypes": ["text/csv"],
    "SupportedRealtimeInferenceInstanceTypes": ["ml.m5.large"],
    "SupportedTransformInstanceTypes": ["ml.m5.large"],
}
SAGEMAKER = "arn:aws:sagemaker:eu-west-1:000000000000"
ARTIFACT = f"{SAGEMAKER}:artifact/{artifact_name({'SourceUri': 's3://b/x'})}"
COMPONENT_OF_TRIAL: dict[str, Any] = {
    "DisplayName": "d",
    "Status": {"PrimaryStatus": "InProgress", "Message": "m"},
    "StartTime": AT,
    "EndTime": END,
    "Parameters": {"a": {"NumberValue": 1.0}, "b": {"StringValue": "x"}},
    "InputArtifacts": {"a": {"Value": "s3://b/x", "MediaType": "text/csv"}},
    "OutputArtifacts": {"a": {"Value": "s3://b/x", "MediaType": "text/csv"}},
    "MetadataProperties": {"CommitId": "c", "Repository": "r", "GeneratedBy": "g", "ProjectId": "p"},
}
S3 = {"ContentType": "application/json", "S3Uri": "s3://b/data", "ContentDigest": "sha256:" + "0" * 64}


def rolling(batch: dict[str, Any]) -> dict[str, Any]:
    policy = {
        "MaximumBatchSize": batch,
        "WaitIntervalInSeconds": 1,
        "MaximumExecutionTimeoutInSeconds": 700,
        "RollbackMaximumBatchSize": batch,
    }
    return {"RollingUpdatePolicy": policy, **ALARMS}


def tracking(**metric: Any) -> dict[str, Any]:
    return {
        **TARGET,
        "PolicyName": "made",
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": {"TargetValue": 5.0, **metric},
    }


_OBJECTIVE = {"Type": "Minimize", "MetricName": "validation:rmse"}
_RANGES = {
    "IntegerParameterRanges": [{"Name": "max_depth", "MinValue": "1", "MaxValue": "9", "ScalingType": "Auto"}],
    "ContinuousParameterRanges": [{"Name": "eta", "MinValue": "0.1", "MaxValue": "0.5", "ScalingType": "Logarithmic"}],
    "CategoricalParameterRanges": [{"Name": "tree_method", "Values": ["hist", "exact"]}],
    "AutoParameters": [{"Name": "gamma", "ValueHint": "0.5"}],
}
_TRIAL = {
    "AlgorithmSpecification": {
        "TrainingImage": IMAGE,
        "TrainingInputMode": "File",
        "MetricDefinitions": [{"Name": "loss", "Regex": "loss: (.*)"}],
    },
    "StaticHyperParameters": {"num_round": "5", "epochs": "9"},
    "RoleArn": ROLE,
    "InputDataConfig": [
        {
            "ChannelName": "train",
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/data"}},
            "ContentType": "text/csv",
        }
    ],
    "OutputDataConfig": {"S3OutputPath": "s3://b/out", "CompressionType": "GZIP", "KmsKeyId": "k"},
    "VpcConfig": VPC,
    "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60},
    "EnableManagedSpotTraining": True,
    "CheckpointConfig": {"S3Uri": "s3://b/checkpoints", "LocalPath": "/opt/ml/checkpoints"},
    "RetryStrategy": {"MaximumRetryAttempts": 1},
    "Environment": {"A": "b"},
}
_TUNED = {
    "Strategy": "Bayesian",
    "HyperParameterTuningJobObjective": _OBJECTIVE,
    "ResourceLimits": {"MaxNumberOfTrainingJobs": 4, "MaxParallelTrainingJobs": 2, "MaxRuntimeInSeconds": 600},
    "ParameterRanges": _RANGES,
    "TrainingJobEarlyStoppingType": "Auto",
    "TuningJobCompletionCriteria": {
        "TargetObjectiveMetricValue": 0.1,
        "BestObjectiveNotImproving": {"MaxNumberOfTrainingJobsNotImproving": 3},
        "ConvergenceDetected": {"CompleteOnConvergence": "Enabled"},
    },
    "RandomSeed": 1,
}
CARD = '{"model_overview": {"model_description": "d"}}'
HOUR = {"Unit": "Hours", "Value": 1}
PERSON = {
    "FeatureGroupName": "people",
    "Record": [
        {"FeatureName": "id", "ValueAsString": "a"},
        {"FeatureName": "at", "ValueAsString": "1"},
        {"FeatureName": "v", "ValueAsStringList": ["1"]},
    ],
    "TargetStores": ["OnlineStore", "OfflineStore"],
    "TtlDuration": HOUR,
}
RUNTIME = "sagemaker-featurestore-runtime"
BASES: list[tuple[str, str, dict[str, Any]]] = [
    *monitors.BASES,
    (
        "athena",
        "StartQueryExecution",
        {
            "QueryString": "SELECT ?",
            "ExecutionParameters": ["1"],
            "QueryExecutionContext": {"Database": "sagemaker_featurestore", "Catalog": "AwsDataCatalog"},
            "ResultConfiguration": {"OutputLocation": "s3://b/answers"},
            "ClientRequestToken": "a" * 32,
            "WorkGroup": "primary",
        },
    ),
    ("athena", "GetQueryExecution", {"QueryExecutionId": QUERY}),
    ("athena", "GetQueryResults", {"QueryExecutionId": QUERY, "MaxResults": 1, "QueryResultType": "DATA_ROWS"}),
    ("athena", "StopQueryExecution", {"QueryExecutionId": QUERY}),
    (
        "glue",
        "GetTable",
        {"DatabaseName": "sagemaker_featurestore", "Name": "people_1800000000", "CatalogId": "000000000000"},
    ),
    (RUNTIME, "PutRecord", PERSON),
    (RUNTIME, "BatchWriteRecord", {"Entries": [PERSON], "TtlDuration": HOUR}),
    (
        RUNTIME,
        "GetRecord",
        {
            "FeatureGroupName": "people",
            "RecordIdentifierValueAsString": "here",
            "FeatureNames": ["id"],
            "ExpirationTimeResponse": "Enabled",
        },
    ),
    (
        RUNTIME,
        "BatchGetRecord",
        {
            "Identifiers": [
                {"FeatureGroupName": "people", "RecordIdentifiersValueAsString": ["here"], "FeatureNames": ["id"]}
            ],
            "ExpirationTimeResponse": "Enabled",
        },
    ),
    (
        RUNTIME,
        "DeleteRecord",
        {
            "FeatureGroupName": "people",
            "RecordIdentifierValueAsString": "a",
            "EventTime": "2",
            "TargetStores": ["OnlineStore"],
            "DeletionMode": "HardDelete",
        },
    ),
    (RUNTIME, "ListRecords", {"FeatureGroupName": "people", "IncludeSoftDeletedRecords": True, "MaxResults": 1}),
    (
        RUNTIME,
        "UpdateRecord",
        {
            "FeatureGroupName": "people",
            "RecordIdentifierValueAsString": "here",
            "Features": [{"FeatureName": "v", "ValueAsStringList": ["2"]}],
            "TargetStores": ["OnlineStore"],
            "TtlDuration": HOUR,
        },
    ),
    (
        "sagemaker",
        "UpdateFeatureGroup",
        {
            "FeatureGroupName": "people",
            "FeatureAdditions": [{"FeatureName": "w", "FeatureType": "Integral"}],
            "OnlineStoreConfig": {"TtlDuration": HOUR},
            "ThroughputConfig": {"ThroughputMode": "OnDemand"},
        },
    ),
    (
        "sagemaker",
        "UpdateFeatureMetadata",
        {
            "FeatureGroupName": "people",
            "FeatureName": "v",
            "Description": "d",
            "ParameterAdditions": [{"Key": "k", "Value": "v"}],
            "ParameterRemovals": ["other"],
        },
    ),
    ("sagemaker", "DescribeFeatureMetadata", {"FeatureGroupName": "people", "FeatureName": "v"}),
    (
        "sagemaker",
        "CreateInferenceRecommendationsJob",
        {
            "JobName": "made",
            "JobType": "Advanced",
            "RoleArn": ROLE,
            "JobDescription": "d",
            "InputConfig": {
                "ModelName": "m",
                "JobDurationInSeconds": 3600,
                "TrafficPattern": {
                    "TrafficType": "PHASES",
                    "Phases": [{"InitialNumberOfUsers": 1, "SpawnRate": 1, "DurationInSeconds": 120}],
                },
                "ResourceLimit": {"MaxNumberOfTests": 4, "MaxParallelOfTests": 1},
                "EndpointConfigurations": [
                    {
                        "InstanceType": "ml.m5.large",
                        "EnvironmentParameterRanges": {
                            "CategoricalParameterRanges": [{"Name": "A", "Value": ["1", "2"]}]
                        },
                    },
                    {"ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 2, "ProvisionedConcurrency": 1}},
                ],
                "ContainerConfig": {
                    "Domain": "MACHINE_LEARNING",
                    "Task": "OTHER",
                    "Framework": "SKLEARN",
                    "FrameworkVersion": "1.2-1",
                    "PayloadConfig": {"SamplePayloadUrl": "s3://b/m.tar.gz", "SupportedContentTypes": ["text/csv"]},
                    "SupportedInstanceTypes": ["ml.m5.large"],
                    "SupportedEndpointType": "RealTime",
                    "SupportedResponseMIMETypes": ["text/csv"],
                },
                "Endpoints": [{"EndpointName": "e"}],
            },
            "StoppingConditions": {
                "MaxInvocations": 100,
                "FlatInvocations": "Stop",
                "ModelLatencyThresholds": [{"Percentile": "P95", "ValueInMilliseconds": 100}],
            },
            "Tags": TAGS,
        },
    ),
    (
        "sagemaker",
        "CreateInferenceRecommendationsJob",
        {
            "JobName": "climbs",
            "JobType": "Advanced",
            "RoleArn": ROLE,
            "InputConfig": {
                "ModelPackageVersionArn": "arn:aws:sagemaker:eu-west-1:000000000000:model-package/g/1",
                "TrafficPattern": {
                    "TrafficType": "STAIRS",
                    "Stairs": {"DurationInSeconds": 60, "NumberOfSteps": 3, "UsersPerStep": 2},
                },
                "EndpointConfigurations": [{"InstanceType": "ml.m5.large"}],
                "ContainerConfig": {"PayloadConfig": {"SamplePayloadUrl": "s3://b/m.tar.gz"}},
            },
        },
    ),
    ("sagemaker", "DescribeInferenceRecommendationsJob", {"JobName": "right"}),
    (
        "sagemaker",
        "ListInferenceRecommendationsJobs",
        {
            "NameContains": "right",
            "StatusEquals": "PENDING",
            "ModelNameEquals": "m",
            "CreationTimeAfter": AT,
            "LastModifiedTimeBefore": END,
            "SortBy": "Status",
        },
    ),
    ("sagemaker", "ListInferenceRecommendationsJobSteps", {"JobName": "right", "Status": "PENDING", "MaxResults": 1}),
    ("sagemaker", "StopInferenceRecommendationsJob", {"JobName": "right"}),
    (
        "sagemaker",
        "CreateHyperParameterTuningJob",
        {
            "HyperParameterTuningJobName": "made",
            "HyperParameterTuningJobConfig": _TUNED,
            "TrainingJobDefinition": {
                **_TRIAL,
                "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            },
            "Autotune": {"Mode": "Enabled"},
            "Tags": TAGS,
        },
    ),
    (
        "sagemaker",
        "CreateHyperParameterTuningJob",
        {
            "HyperParameterTuningJobName": "several",
            "HyperParameterTuningJobConfig": {
                "Strategy": "Hyperband",
                "StrategyConfig": {"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": 9}},
                "ResourceLimits": {"MaxNumberOfTrainingJobs": 4, "MaxParallelTrainingJobs": 2},
            },
            "TrainingJobDefinitions": [
                {
                    **_TRIAL,
                    "DefinitionName": "one",
                    "TuningObjective": _OBJECTIVE,
                    "HyperParameterRanges": {k: v for k, v in _RANGES.items() if k != "AutoParameters"},
                    "HyperParameterTuningResourceConfig": {
                        "InstanceConfigs": [{"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}],
                        "AllocationStrategy": "Prioritized",
                    },
                }
            ],
            "Tags": TAGS,
        },
    ),
    (
        "sagemaker",
        "CreateProcessingJob",
        {
            "ProcessingJobName": "made",
            "RoleArn": ROLE,
            "AppSpecification": {
                "ImageUri": IMAGE,
                "ContainerEntrypoint": ["python3", "x.py"],
                "ContainerArguments": ["a"],
            },
            "Environment": {"A": "b"},
            "ProcessingInputs": [
                {
                    "InputName": "code",
                    "AppManaged": False,
                    "S3Input": {
                        "S3Uri": "s3://b/data",
                        "LocalPath": "/opt/ml/processing/input",
                        "S3DataType": "S3Prefix",
                        "S3InputMode": "Pipe",
                        "S3DataDistributionType": "ShardedByS3Key",
                        "S3CompressionType": "Gzip",
                    },
                }
            ],
            "ProcessingOutputConfig": {
                "Outputs": [
                    {
                        "OutputName": "out",
                        "AppManaged": True,
                        "S3Output": {
                            "S3Uri": "s3://b/out",
                            "LocalPath": "/opt/ml/processing/out",
                            "S3UploadMode": "Continuous",
                        },
                        "FeatureStoreOutput": {"FeatureGroupName": "people"},
                    }
                ],
                "KmsKeyId": "k",
            },
            "ProcessingResources": {
                "ClusterConfig": {
                    "InstanceType": "ml.m5.large",
                    "InstanceCount": 2,
                    "VolumeSizeInGB": 1,
                    "VolumeKmsKeyId": "k",
                }
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
            "NetworkConfig": {
                "EnableNetworkIsolation": True,
                "EnableInterContainerTrafficEncryption": True,
                "VpcConfig": VPC,
            },
            "ExperimentConfig": {"ExperimentName": "x", "TrialName": "t"},
            "Tags": TAGS,
        },
    ),
    (
        "sagemaker",
        "ListProcessingJobs",
        {"SortBy": "Status", "SortOrder": "Descending", "CreationTimeAfter": AT, "StatusEquals": "InProgress"},
    ),
    (
        "sagemaker",
        "CreateTransformJob",
        {
            "TransformJobName": "made",
            "ModelName": "m",
            "MaxConcurrentTransforms": 2,
            "MaxPayloadInMB": 6,
            "BatchStrategy": "MultiRecord",
            "Environment": {"A": "b"},
            "ModelClientConfig": {"InvocationsTimeoutInSeconds": 60, "InvocationsMaxRetries": 1},
            "TransformInput": {
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/in"}},
                "ContentType": "text/csv",
                "CompressionType": "None",
                "SplitType": "Line",
            },
            "TransformOutput": {
                "S3OutputPath": "s3://b/out",
                "Accept": "text/csv",
                "AssembleWith": "Line",
                "KmsKeyId": "k",
            },
            "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeKmsKeyId": "k"},
            "DataProcessing": {"InputFilter": "$[1:]", "OutputFilter": "$[0,-1]", "JoinSource": "Input"},
            "DataCaptureConfig": {"DestinationS3Uri": "s3://b/captured", "KmsKeyId": "k", "GenerateInferenceId": True},
            "ExperimentConfig": {"ExperimentName": "e"},
            "Tags": [{"Key": "a", "Value": "b"}],
        },
    ),
    ("sagemaker", "DescribeTransformJob", {"TransformJobName": "batch"}),
    ("sagemaker", "ListTransformJobs", {"NameContains": "a", "StatusEquals": "InProgress", "SortBy": "Name"}),
    ("sagemaker", "StopTransformJob", {"TransformJobName": "batch"}),
    (
        "sagemaker",
        "CreateTrainingJob",
        {
            "TrainingJobName": "made",
            "RoleArn": ROLE,
            "HyperParameters": {"max_depth": "5"},
            "AlgorithmSpecification": {
                "TrainingImage": IMAGE,
                "TrainingInputMode": "File",
                "MetricDefinitions": [{"Name": "loss", "Regex": "loss: (.*)"}],
                "EnableSageMakerMetricsTimeSeries": True,
                "ContainerEntrypoint": ["python"],
                "ContainerArguments": ["a"],
                "TrainingImageConfig": {"TrainingRepositoryAccessMode": "Platform"},
            },
            "InputDataConfig": [
                {
                    "ChannelName": "train",
                    "DataSource": {
                        "S3DataSource": {
                            "S3DataType": "S3Prefix",
                            "S3Uri": "s3://b/data",
                            "S3DataDistributionType": "FullyReplicated",
                        }
                    },
                    "ContentType": "text/csv",
                    "CompressionType": "None",
                    "RecordWrapperType": "None",
                    "InputMode": "File",
                    "ShuffleConfig": {"Seed": 1},
                }
            ],
            "OutputDataConfig": {"S3OutputPath": "s3://b/out", "CompressionType": "GZIP", "KmsKeyId": "k"},
            "ResourceConfig": {
                "InstanceGroups": [{"InstanceType": "ml.m5.large", "InstanceCount": 1, "InstanceGroupName": "g"}],
                "VolumeSizeInGB": 1,
                "KeepAlivePeriodInSeconds": 1,
            },
            "VpcConfig": VPC,
            "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60},
            "EnableManagedSpotTraining": True,
            "CheckpointConfig": {"S3Uri": "s3://b/checkpoints", "LocalPath": "/opt/ml/checkpoints"},
            "DebugHookConfig": {
                "S3OutputPath": "s3://b/debug",
                "HookParameters": {"a": "b"},
                "CollectionConfigurations": [{"CollectionName": "c", "CollectionParameters": {"a": "b"}}],
            },
            "TensorBoardOutputConfig": {"S3OutputPath": "s3://b/tb"},
            "ExperimentConfig": {"ExperimentName": "x", "TrialName": "t"},
            "ProfilerConfig": {"S3OutputPath": "s3://b/p", "ProfilingIntervalInMilliseconds": 500},
            "Environment": {"A": "b"},
            "RetryStrategy": {"MaximumRetryAttempts": 1},
            "RemoteDebugConfig": {"EnableRemoteDebug": True},
            "InfraCheckConfig": {"EnableInfraCheck": True},
            "Tags": TAGS,
        },
    ),
    (
        "sagemaker",
        "CreateModel",
        {
            "ModelName": "made",
            "ExecutionRoleArn": ROLE,
            "PrimaryContainer": {
                "Image": IMAGE,
                "Mode": "MultiModel",
                "ModelDataUrl": "s3://b/models/",
                "Environment": {"A": "b"},
                "ImageConfig": {"RepositoryAccessMode": "Platform"},
                "MultiModelConfig": {"ModelCacheSetting": "Enabled"},
            },
            "VpcConfig": VPC,
            "EnableNetworkIsolation": False,
            "Tags": TAGS,
        },
    ),
    (
        "sagemaker",
        "CreateModel",
        {
            "ModelName": "made",
            "Containers": [
                {"Image": IMAGE, "ModelDataUrl": "s3://b/m.tar.gz", "ContainerHostname": "one"},
                {
                    "Image": IMAGE,
                    "ModelDataSource": {
                        "S3DataSource": {
                            "S3Uri": "s3://b/m.tar.gz",
                            "S3DataType": "S3Object",
                            "CompressionType": "Gzip",
                        }
                    },
                    "ContainerHostname": "two",
                },
            ],
            "InferenceExecutionConfig": {"Mode": "Direct"},
        },
    ),
    (
        "sagemaker",
        "CreateEndpointConfig",
        {
            "EndpointConfigName": "made",
            "ProductionVariants": [
                {
                    **VARIANT,
                    "InitialVariantWeight": 1.0,
                    "VolumeSizeInGB": 1,
                    "ModelDataDownloadTimeoutInSeconds": 60,
                    "ContainerStartupHealthCheckTimeoutInSeconds": 60,
                    "RoutingConfig": {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"},
                    "CoreDumpConfig": {"DestinationS3Uri": "s3://b/core"},
                }
            ],
            "ShadowProductionVariants": [{**VARIANT, "VariantName": "w", "InitialVariantWeight": 0.5}],
            "DataCaptureConfig": {
                "EnableCapture": True,
                "InitialSamplingPercentage": 50,
                "DestinationS3Uri": "s3://b/capture",
                "CaptureOptions": [{"CaptureMode": "Input"}],
                "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"], "JsonContentTypes": ["application/json"]},
            },
            "KmsKeyId": "k",
            "ExecutionRoleArn": ROLE,
            "VpcConfig": VPC,
            "MetricsConfig": {"EnableEnhancedMetrics": True},
            "Tags": TAGS,
        },
    ),
    (
        "sagemaker",
        "CreateEndpointConfig",
        {
            "EndpointConfigName": "made",
            "ProductionVariants": [
                {
                    "VariantName": "v",
                    "ModelName": "m",
                    "ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 2, "ProvisionedConcurrency": 1},
                }
            ],
        },
    ),
    (
        "sagemaker",
        "CreateEndpointConfig",
        {
            "EndpointConfigName": "made",
            "ProductionVariants": [VARIANT],
            "AsyncInferenceConfig": {
                "ClientConfig": {"MaxConcurrentInvocationsPerInstance": 2},
                "OutputConfig": {
                    "S3OutputPath": "s3://b/out",
                    "S3FailurePath": "s3://b/failed",
                    "NotificationConfig": {
                        "SuccessTopic": TOPIC,
                        "ErrorTopic": TOPIC,
                        "IncludeInferenceResponseIn": ["SUCCESS_NOTIFICATION_TOPIC"],
                    },
                },
            },
        },
    ),
    (
        "sagemaker",
        "CreateEndpoint",
        {"EndpointName": "made", "EndpointConfigName": "c", "DeploymentConfig": ALARMS, "Tags": TAGS},
    ),
    (
        "sagemaker",
        "UpdateEndpoint",
        {
            "EndpointName": "e",
            "EndpointConfigName": "c",
            "RetainAllVariantProperties": True,
            "ExcludeRetainedVariantProperties": [{"VariantPropertyType": "DesiredInstanceCount"}],
            "DeploymentConfig": TRAFFIC,
            "RetainDeploymentConfig": False,
        },
    ),
    (
        "sagemaker",
        "UpdateEndpoint",
        {"EndpointName": "e", "EndpointConfigName": "c", "DeploymentConfig": rolling(CAPACITY)},
    ),
    (
        "sagemaker",
        "UpdateEndpointWeightsAndCapacities",
        {
            "EndpointName": "e",
            "DesiredWeightsAndCapacities": [
                {"VariantName": "v", "DesiredWeight": 1.0, "DesiredInstanceCount": 2},
            ],
        },
    ),
    ("sagemaker", "DeleteEndpoint", {"EndpointName": "e"}),
    ("sagemaker", "CreateInferenceComponent", COMPONENT),
    (
        "sagemaker",
        "CreateModel",
        {
            "ModelName": "made",
            "PrimaryContainer": {"ModelPackageName": "arn:aws:sagemaker:eu-west-1:000000000000:model-package/g/1"},
            "ExecutionRoleArn": ROLE,
        },
    ),
    (
        "sagemaker",
        "CreateEndpointConfig",
        {
            "EndpointConfigName": "made",
            "ProductionVariants": [
                {
                    "VariantName": "v",
                    "InstanceType": "ml.m5.large",
                    "InitialInstanceCount": 1,
                    "ManagedInstanceScaling": {"Status": "ENABLED", "MinInstanceCount": 1, "MaxInstanceCount": 2},
                    "RoutingConfig": {"RoutingStrategy": "RANDOM"},
                }
            ],
            "ExecutionRoleArn": ROLE,
        },
    ),
    (
        "sagemaker",
        "UpdateInferenceComponent",
        {
            "InferenceComponentName": "ic",
            "Specification": COMPONENT["Specification"],
            "RuntimeConfig": {"CopyCount": 2},
            "DeploymentConfig": rolling(COPY),
        },
    ),
    (
        "sagemaker",
        "UpdateInferenceComponentRuntimeConfig",
        {"InferenceComponentName": "ic", "DesiredRuntimeConfig": {"CopyCount": 2}},
    ),
    (
        "sagemaker",
        "CreateModelPackageGroup",
        {"ModelPackageGroupName": "made", "ModelPackageGroupDescription": "d", "Tags": TAGS},
    ),
    (
        "sagemaker",
        "CreateCodeRepository",
        {
            "CodeRepositoryName": "made",
            "GitConfig": {"RepositoryUrl": "https://example.com/r.git", "Branch": "main"},
            "Tags": TAGS,
        },
    ),
    (
        "sagemaker",
        "UpdateCodeRepository",
        {
            "CodeRepositoryName": "repository",
            "GitConfig": {"SecretArn": "arn:aws:secretsmanager:us-east-1:000000000000:secret:s"},
        },
    ),
    ("sagemaker", "ListCodeRepositories", {"NameContains": "rep", "SortBy": "Name", "SortOrder": "Descending"}),
    (
        "sagemaker",
        "CreateImage",
        {"ImageName": "made", "RoleArn": ROLE, "DisplayName": "d", "Description": "x", "Tags": TAGS},
    ),
    (
        "sagemaker",
        "UpdateImage",
        {"ImageName": "image", "DisplayName": "other", "DeleteProperties": ["Description"]},
    ),
    (
        "sagemaker",
        "CreatePipeline",
        {
            "PipelineName": "made",
            "PipelineDisplayName": "shown",
            "PipelineDefinition": STEPS,
            "PipelineDescription": "d",
            "ClientRequestToken": "u" * 32,
            "RoleArn": ROLE,
            "Tags": TAGS,
            "ParallelismConfiguration": {"MaxParallelExecutionSteps": 2},
            "PipelineVersionAliases": ["first"],
        },
    ),
    (
        "sagemaker",
        "CreatePipeline",
        {
            "PipelineName": "made",
            "PipelineDefinitionS3Location": {"Bucket": "bbb", "ObjectKey": "pipe.json"},
            "ClientRequestToken": "u" * 32,
            "RoleArn": ROLE,
        },
    ),
    (
        "sagemaker",
        "UpdatePipeline",
        {
            "PipelineName": "pipe",
            "PipelineDisplayName": "shown",
            "PipelineDefinition": STEPS,
            "PipelineDescription": "d",
            "RoleArn": ROLE,
            "ParallelismConfiguration": {"MaxParallelExecutionSteps": 2},
            "PipelineVersionAliases": ["second"],
        },
    ),
    (
        "sagemaker",
        "UpdatePipeline",
        {"PipelineName": "pipe", "PipelineDefinitionS3Location": {"Bucket": "bbb", "ObjectKey": "pipe.json"}},
    ),
    (
        "sagemaker",
        "UpdatePipelineVersion",
        {
            "PipelineArn": PIPELINE,
            "PipelineVersionId": 1,
            "PipelineVersionDisplayName": "n",
            "PipelineVersionDescription": "d",
            "PipelineVersionAliasOperations": {"Add": ["next"], "Remove": ["live"]},
        },
    ),
    ("sagemaker", "DescribePipeline", {"PipelineName": PIPELINE, "PipelineVersionId": 1}),
    ("sagemaker", "DescribePipeline", {"PipelineName": "pipe", "PipelineVersionAlias": "live"}),
    (
        "sagemaker",
        "ListPipelines",
        {
            "PipelineNamePrefix": "pi",
            "CreatedAfter": AT,
            "CreatedBefore": END,
            "SortBy": "Name",
            "SortOrder": "Ascending",
            "ManagedBy": "CUSTOMER",
        },
    ),
    (
        "sagemaker",
        "ListPipelineVersions",
        {
            "PipelineName": "pipe",
            "CreatedAfter": AT,
            "CreatedBefore": END,
            "SortOrder": "Ascending",
            "MaxResults": 5,
        },
    ),
    ("sagemaker", "DeletePipeline", {"PipelineName": "idle", "ClientRequestToken": "u" * 32}),
    (
        "sagemaker",
        "StartPipelineExecution",
        {
            "PipelineName": "pipe",
            "PipelineExecutionDisplayName": "shown",
            "PipelineParameters": [{"Name": "Rounds", "Value": "5"}],
            "PipelineExecutionDescription": "d",
            "ClientRequestToken": "u" * 32,
            "ParallelismConfiguration": {"MaxParallelExecutionSteps": 2},
            "SelectiveExecutionConfig": {"SelectedSteps": [{"StepName": "Train"}]},
            "PipelineVersionId": 1,
            "RoleArn": ROLE,
        },
    ),
    (
        "sagemaker",
        "StartPipelineExecution",
        {"PipelineName": "pipe", "ClientRequestToken": "u" * 32, "PipelineVersionAlias": "live"},
    ),
    ("sagemaker", "StopPipelineExecution", {"PipelineExecutionArn": EXECUTION, "ClientRequestToken": "u" * 32}),
    (
        "sagemaker",
        "UpdatePipelineExecution",
        {
            "PipelineExecutionArn": EXECUTION,
            "PipelineExecutionDescription": "d",
            "PipelineExecutionDisplayName": "shown",
            "ParallelismConfiguration": {"MaxParallelExecutionSteps": 2},
        },
    ),
    (
        "sagemaker",
        "ListPipelineExecutions",
        {
            "PipelineName": "pipe",
            "CreatedAfter": AT,
            "CreatedBefore": END,
            "SortBy": "PipelineExecutionArn",
            "SortOrder": "Ascending",
            "PipelineVersionAlias": "live",
        },
    ),
    ("sagemaker", "ListPipelineExecutionSteps", {"PipelineExecutionArn": EXECUTION, "SortOrder": "Ascending"}),
    ("sagemaker", "ListPipelineParametersForExecution", {"PipelineExecutionArn": EXECUTION, "MaxResults": 5}),
    ("sagemaker", "DescribePipelineDefinitionForExecution", {"PipelineExecutionArn": EXECUTION}),
    ("sagemaker", "DescribePipelineExecution", {"PipelineExecutionArn": EXECUTION}),
    (
        "sagemaker",
        "SendPipelineExecutionStepSuccess",
        {
            "CallbackToken": TOKEN_OF_A_STEP,
            "OutputParameters": [{"Name": "count", "Value": "1"}],
            "ClientRequestToken": "u" * 32,
        },
    ),
    (
        "sagemaker",
        "SendPipelineExecutionStepFailure",
        {"CallbackToken": TOKEN_OF_A_STEP, "FailureReason": "r", "ClientRequestToken": "u" * 32},
    ),
    ("sagemaker", "ListImages", {"NameContains": "im", "SortBy": "IMAGE_NAME", "SortOrder": "ASCENDING"}),
    (
        "sagemaker",
        "CreateImageVersion",
        {
            "ImageName": "image",
            "BaseImage": IMAGE,
            "ClientToken": "other",
            "Aliases": ["newest"],
            "VendorGuidance": "STABLE",
            "JobType": "TRAINING",
            "MLFramework": "XGBoost 1.7",
            "ProgrammingLang": "Python 3.11",
            "Processor": "CPU",
            "Horovod": False,
            "ReleaseNotes": "n",
        },
    ),
    (
        "sagemaker",
        "UpdateImageVersion",
        {
            "ImageName": "image",
            "Alias": "first",
            "AliasesToAdd": ["good"],
            "AliasesToDelete": ["first"],
            "VendorGuidance": "ARCHIVED",
            "ReleaseNotes": "m",
        },
    ),
    ("sagemaker", "DescribeImageVersion", {"ImageName": "image", "Alias": "first"}),
    ("sagemaker", "ListImageVersions", {"ImageName": "image", "SortBy": "VERSION", "SortOrder": "ASCENDING"}),
    ("sagemaker", "ListAliases", {"ImageName": "image", "Version": 1, "MaxResults": 5}),
    ("sagemaker", "DeleteImageVersion", {"ImageName": "image", "Version": 1}),
    ("sagemaker", "PutModelPackageGroupPolicy", {"ModelPackageGroupName": "G", "ResourcePolicy": DOCUMENT}),
    ("sagemaker", "GetModelPackageGroupPolicy", {"ModelPackageGroupName": "G"}),
    ("sagemaker", "DeleteModelPackageGroupPolicy", {"ModelPackageGroupName": "G"}),
    ("sagemaker", "PutEndpointPolicy", {"EndpointName": "e", "ResourcePolicy": DOCUMENT}),
    (
        "sagemaker",
        "CreateHubContentReference",
        {
            "HubName": "hub",
            "SageMakerPublicHubContentArn": "arn:aws:sagemaker:eu-west-1:aws:hub-content/SageMakerPublicHub/Model/bert",
            "HubContentName": "made",
            "MinVersion": "1.0.0",
            "Tags": TAGS,
        },
    ),
    (
        "sagemaker",
        "UpdateHubContentReference",
        {"HubName": "hub", "HubContentName": "bert", "HubContentType": "ModelReference", "MinVersion": "2.0.0"},
    ),
    (
        "sagemaker",
        "CreateHub",
        {
            "HubName": "made",
            "HubDescription": "d",
            "HubDisplayName": "n",
            "HubSearchKeywords": ["k"],
            "S3StorageConfig": {"S3OutputPath": "s3://b/hub"},
            "Tags": TAGS,
        },
    ),
    ("sagemaker", "UpdateHub", {"HubName": "hub", "HubDescription": "other", "HubSearchKeywords": ["k", "l"]}),
    ("sagemaker", "ListHubs", {"NameContains": "hu", "SortBy": "HubName", "SortOrder": "Ascending"}),
    (
        "sagemaker",
        "ImportHubContent",
        {
            "HubName": "hub",
            "HubContentType": "Model",
            "HubContentName": "made",
            "HubContentVersion": "1.0.0",
            "DocumentSchemaVersion": "1.0.0",
            "HubContentDocument": "{}",
            "HubContentDescription": "d",
            "HubContentDisplayName": "n",
            "HubContentMarkdown": "m",
            "HubContentSearchKeywords": ["k"],
            "SupportStatus": "Supported",
            "Tags": TAGS,
        },
    ),
    (
        "sagemaker",
        "UpdateHubContent",
        {
            "HubName": "hub",
            "HubContentType": "Model",
            "HubContentName": "content",
            "HubContentVersion": "1.0.0",
            "HubContentDescription": "other",
        },
    ),
    ("sagemaker", "DescribeHubContent", {"HubName": "hub", "HubContentType": "Model", "HubContentName": "content"}),
    ("sagemaker", "ListHubContents", {"HubName": "hub", "HubContentType": "Model", "NameContains": "con"}),
    (
        "sagemaker",
        "ListHubContentVersions",
        {"HubName": "hub", "HubContentType": "Model", "HubContentName": "content", "MinVersion": "1.0.0"},
    ),
    (
        "sagemaker",
        "DeleteHubContent",
        {"HubName": "hub", "HubContentType": "Model", "HubContentName": "content", "HubContentVersion": "1.0.0"},
    ),
    (
        "sagemaker",
        "CreateDomain",
        {
            "DomainName": "made",
            "AuthMode": "IAM",
            "DefaultUserSettings": {"ExecutionRole": ROLE, "SecurityGroups": ["sg-1"]},
            "DomainSettings": {"ExecutionRoleIdentityConfig": "DISABLED"},
            "SubnetIds": ["subnet-1"],
            "VpcId": "vpc-1",
            "AppNetworkAccessType": "VpcOnly",
            "KmsKeyId": "k",
            "HomeEfsFileSystemCreation": "Disabled",
            "TagPropagation": "ENABLED",
            "Tags": TAGS,
        },
    ),
    (
        "sagemaker",
        "UpdateDomain",
        {
            "DomainId": DOMAIN,
            "DefaultUserSettings": {"SecurityGroups": ["sg-2"]},
            "DomainSettingsForUpdate": {"SecurityGroupIds": ["sg-3"]},
            "AppNetworkAccessType": "PublicInternetOnly",
        },
    ),
    (
        "sagemaker",
        "CreateUserProfile",
        {"DomainId": DOMAIN, "UserProfileName": "made", "UserSettings": {"ExecutionRole": ROLE}, "Tags": TAGS},
    ),
    (
        "sagemaker",
        "UpdateUserProfile",
        {"DomainId": DOMAIN, "UserProfileName": "u", "UserSettings": {"ExecutionRole": ROLE}},
    ),
    (
        "sagemaker",
        "CreateSpace",
        {
            "DomainId": DOMAIN,
            "SpaceName": "made",
            "SpaceSettings": {
                "AppType": "JupyterLab",
                "SpaceStorageSettings": {"EbsStorageSettings": {"EbsVolumeSizeInGb": 5}},
            },
            "OwnershipSettings": {"OwnerUserProfileName": "u"},
            "SpaceSharingSettings": {"SharingType": "Private"},
            "SpaceDisplayName": "S",
            "Tags": TAGS,
        },
    ),
    ("sagemaker", "ListSpaces", {"DomainIdEquals": DOMAIN, "SpaceNameContains": "s", "SortBy": "LastModifiedTime"}),
    ("sagemaker", "DeleteSpace", {"DomainId": DOMAIN, "SpaceName": "s"}),
    (
        "sagemaker",
        "CreateModelPackage",
        {
            "ModelPackageGroupName": "G",
            "ModelPackageDescription": "d",
            "InferenceSpecification": PACKAGED,
            "ModelApprovalStatus": "Approved",
            "MetadataProperties": {"CommitId": "c", "GeneratedBy": "me"},
            "ModelMetrics": {"ModelQuality": {"Statistics": S3, "Constraints": S3}, "Bias": {"Report": S3}},
            "DriftCheckBaselines": {"ModelQuality": {"Statistics": S3, "Constraints": S3}},
            "CustomerMetadataProperties": {"a": "b"},
            "Domain": "COMPUTER_VISION",
            "Task": "OTHER",
            "SamplePayloadUrl": "s3://b/data",
            "AdditionalInferenceSpecifications": [{"Name": "n", "Containers": PACKAGED["Containers"]}],
            "SkipModelValidation": "All",
            "ModelCard": {"ModelCardContent": "{}", "ModelCardStatus": "Draft"},
            "ModelLifeCycle": {"Stage": "Dev", "StageStatus": "ok", "StageDescription": "d"},
            "SecurityConfig": {"KmsKeyId": "k"},
            "ClientToken": "a" * 36,
        },
    ),
    (
        "sagemaker",
        "CreateModelCard",
        {
            "ModelCardName": "made",
            "Content": CARD,
            "ModelCardStatus": "Draft",
            "SecurityConfig": {"KmsKeyId": "k"},
            "Tags": TAGS,
        },
    ),
    ("sagemaker", "UpdateModelCard", {"ModelCardName": "card", "Content": CARD}),
    ("sagemaker", "UpdateModelCard", {"ModelCardName": "card", "ModelCardStatus": "Approved"}),
    ("sagemaker", "DescribeModelCard", {"ModelCardName": "card", "ModelCardVersion": 1, "IncludedData": "AllData"}),
    ("sagemaker", "ListModelCards", {"NameContains": "car", "ModelCardStatus": "Draft", "SortBy": "Name"}),
    ("sagemaker", "ListModelCardVersions", {"ModelCardName": "card", "SortBy": "Version", "SortOrder": "Ascending"}),
    (
        "sagemaker",
        "CreateModelCardExportJob",
        {
            "ModelCardName": "card",
            "ModelCardVersion": 1,
            "ModelCardExportJobName": "made",
            "OutputConfig": {"S3OutputPath": "s3://b/out"},
        },
    ),
    (
        "sagemaker",
        "ListModelCardExportJobs",
        {
            "ModelCardName": "card",
            "ModelCardVersion": 1,
            "ModelCardExportJobNameContains": "ex",
            "StatusEquals": "InProgress",
            "SortBy": "Name",
        },
    ),
    (
        "sagemaker",
        "DescribeModelCardExportJob",
        {"ModelCardExportJobArn": "arn:aws:sagemaker:eu-west-1:000000000000:model-card/card/export-job/export"},
    ),
    ("sagemaker", "DeleteModelCard", {"ModelCardName": "card"}),
    (
        "sagemaker",
        "BatchDescribeModelPackage",
        {"ModelPackageArnList": ["arn:aws:sagemaker:eu-west-1:000000000000:model-package/g/1"]},
    ),
    (
        "sagemaker",
        "UpdateModelPackage",
        {
            "ModelPackageArn": "arn:aws:sagemaker:eu-west-1:000000000000:model-package/g/1",
            "ModelApprovalStatus": "Approved",
            "ApprovalDescription": "d",
            "CustomerMetadataProperties": {"a": "b"},
            "CustomerMetadataPropertiesToRemove": ["c"],
            "AdditionalInferenceSpecificationsToAdd": [{"Name": "n", "Containers": PACKAGED["Containers"]}],
            "InferenceSpecification": PACKAGED,
            "ModelLifeCycle": {"Stage": "Dev", "StageStatus": "ok"},
        },
    ),
    ("sagemaker", "AddTags", {"ResourceArn": "arn:aws:sagemaker:eu-west-1:000000000000:model/m", "Tags": TAGS}),
    (
        "sagemaker",
        "ListTrainingJobs",
        {"SortBy": "Status", "SortOrder": "Descending", "CreationTimeAfter": AT, "StatusEquals": "InProgress"},
    ),
    ("sagemaker", "ListInferenceComponents", {"EndpointNameEquals": "empty", "StatusEquals": "Creating"}),
    (
        "sagemaker-runtime",
        "InvokeEndpointAsync",
        {
            "EndpointName": "queue",
            "InputLocation": "s3://b/data",
            "ContentType": "text/csv",
            "Accept": "text/csv",
            "InferenceId": "i",
            "RequestTTLSeconds": 60,
            "InvocationTimeoutSeconds": 10,
        },
    ),
    (
        "cloudwatch",
        "PutMetricData",
        {
            "Namespace": "N",
            "MetricData": [
                {"MetricName": "x", "Timestamp": END, "Value": 1.0, "Unit": "Count", "StorageResolution": 1},
                {"MetricName": "x", "Values": [1.0], "Counts": [1.0], "Dimensions": [{"Name": "k", "Value": "v"}]},
                {
                    "MetricName": "x",
                    "StatisticValues": {"SampleCount": 1.0, "Sum": 1.0, "Minimum": 1.0, "Maximum": 1.0},
                },
            ],
        },
    ),
    (
        "cloudwatch",
        "PutMetricData",
        {
            "Namespace": "N",
            "EntityMetricData": [
                {
                    "Entity": {"KeyAttributes": {"Type": "Service", "Name": "n"}, "Attributes": {"a": "b"}},
                    "MetricData": [{"MetricName": "x", "Value": 1.0}],
                }
            ],
            "StrictEntityValidation": False,
        },
    ),
    (
        "cloudwatch",
        "GetMetricData",
        {"MetricDataQueries": QUERIES, "StartTime": AT, "EndTime": END, "LabelOptions": {"Timezone": "+0100"}},
    ),
    (
        "cloudwatch",
        "GetMetricStatistics",
        {**METRIC, "StartTime": AT, "EndTime": END, "Period": 60, "Statistics": ["Sum"], "ExtendedStatistics": ["p90"]},
    ),
    (
        "cloudwatch",
        "PutMetricAlarm",
        {
            **METRIC,
            "AlarmName": "made",
            "AlarmDescription": "d",
            "ActionsEnabled": True,
            "OKActions": [TOPIC],
            "AlarmActions": [TOPIC],
            "InsufficientDataActions": [TOPIC],
            "ExtendedStatistic": "p90",
            "Period": 60,
            "Unit": "Count",
            "EvaluationPeriods": 2,
            "DatapointsToAlarm": 1,
            "Threshold": 1.0,
            "ComparisonOperator": "GreaterThanThreshold",
            "TreatMissingData": "breaching",
            "EvaluateLowSampleCountPercentile": "ignore",
            "Tags": TAGS,
        },
    ),
    (
        "cloudwatch",
        "PutMetricAlarm",
        {
            "AlarmName": "made",
            "EvaluationPeriods": 1,
            "Threshold": 1.0,
            "ComparisonOperator": "GreaterThanThreshold",
            "Metrics": [{**QUERIES[0], "ReturnData": False}, {**QUERIES[1], "ReturnData": True}],
        },
    ),
    (
        "cloudwatch",
        "PutCompositeAlarm",
        {
            "AlarmName": "made",
            "AlarmRule": "ALARM(a) OR OK(both)",
            "ActionsSuppressor": "a",
            "ActionsSuppressorWaitPeriod": 1,
            "ActionsSuppressorExtensionPeriod": 1,
            "AlarmActions": [TOPIC],
            "Tags": TAGS,
        },
    ),
    (
        "cloudwatch",
        "SetAlarmState",
        {"AlarmName": "a", "StateValue": "ALARM", "StateReason": "r", "StateReasonData": '{"a": 1}'},
    ),
    (
        "cloudwatch",
        "DescribeAlarmHistory",
        {"AlarmName": "a", "StartDate": AT, "EndDate": END, "ScanBy": "TimestampAscending"},
    ),
    ("cloudwatch", "DescribeAlarmsForMetric", {**METRIC, "Statistic": "Sum", "Period": 60, "Unit": "Count"}),
    ("cloudwatch", "ListMetrics", {"Namespace": "N", "MetricName": "x", "Dimensions": [{"Name": "k"}]}),
    (
        "logs",
        "PutLogEvents",
        {
            "logGroupName": "g",
            "logStreamName": "s",
            "logEvents": [{"timestamp": MS, "message": "one"}, {"timestamp": MS + 1, "message": "two"}],
            "entity": {"keyAttributes": {"Type": "Service", "Name": "n"}},
        },
    ),
    (
        "logs",
        "GetLogEvents",
        {"logGroupName": "g", "logStreamName": "s", "startTime": 0, "endTime": MS, "limit": 5, "startFromHead": True},
    ),
    (
        "logs",
        "FilterLogEvents",
        {
            "logGroupName": "g",
            "logStreamNames": ["s"],
            "startTime": 0,
            "endTime": MS,
            "filterPattern": "?a ?b",
            "limit": 5,
        },
    ),
    ("logs", "DescribeLogStreams", {"logGroupName": "g", "orderBy": "LastEventTime", "descending": True, "limit": 5}),
    (
        "logs",
        "CreateLogGroup",
        {"logGroupName": "made", "kmsKeyId": "k", "tags": {"a": "b"}, "logGroupClass": "STANDARD"},
    ),
    (
        "application-autoscaling",
        "RegisterScalableTarget",
        {**TARGET, "MinCapacity": 1, "MaxCapacity": 3, "SuspendedState": {}},
    ),
    (
        "application-autoscaling",
        "PutScalingPolicy",
        tracking(
            CustomizedMetricSpecification={**METRIC, "Statistic": "Average", "Unit": "Count"},
            ScaleOutCooldown=1,
            ScaleInCooldown=1,
            DisableScaleIn=False,
        ),
    ),
    (
        "application-autoscaling",
        "PutScalingPolicy",
        tracking(
            CustomizedMetricSpecification={
                "Metrics": [
                    {
                        "Id": "m",
                        "MetricStat": {"Metric": METRIC, "Stat": "Sum", "Unit": "Count"},
                        "ReturnData": False,
                    },
                    {"Id": "e", "Expression": "m * 2", "Label": "l", "ReturnData": True},
                ]
            }
        ),
    ),
    (
        "application-autoscaling",
        "PutScalingPolicy",
        tracking(PredefinedMetricSpecification={"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}),
    ),
    (
        "application-autoscaling",
        "PutScalingPolicy",
        {
            **TARGET,
            "PolicyName": "made",
            "PolicyType": "StepScaling",
            "StepScalingPolicyConfiguration": {
                "AdjustmentType": "PercentChangeInCapacity",
                "StepAdjustments": [
                    {"MetricIntervalLowerBound": 0.0, "MetricIntervalUpperBound": 5.0, "ScalingAdjustment": 1},
                    {"MetricIntervalLowerBound": 5.0, "ScalingAdjustment": 2},
                ],
                "MinAdjustmentMagnitude": 1,
                "Cooldown": 1,
                "MetricAggregationType": "Average",
            },
        },
    ),
    (
        "application-autoscaling",
        "PutScheduledAction",
        {
            **TARGET,
            "ScheduledActionName": "made",
            "Schedule": "cron(0 3 * * ? *)",
            "Timezone": "Europe/Berlin",
            "StartTime": END,
            "EndTime": datetime.datetime.fromtimestamp(1_900_000_000, datetime.UTC),
            "ScalableTargetAction": {"MinCapacity": 1, "MaxCapacity": 2},
        },
    ),
    ("application-autoscaling", "DescribeScalingPolicies", {"ServiceNamespace": "sagemaker", "PolicyNames": ["p"]}),
    (
        "application-autoscaling",
        "DescribeScalableTargets",
        {"ServiceNamespace": "sagemaker", "ResourceIds": ["endpoint/e/variant/v"], "MaxResults": 1},
    ),
    (
        "lambda",
        "CreateFunction",
        {
            "FunctionName": "made",
            "Runtime": PYTHON,
            "Role": ROLE,
            "Handler": "index.handler",
            "Code": {"ZipFile": ZIP},
            "Description": "d",
            "Timeout": 5,
            "MemorySize": 256,
            "PackageType": "Zip",
            "Environment": {"Variables": {"SOME": "value"}},
            "DeadLetterConfig": {"TargetArn": "arn:aws:sqs:eu-west-1:000000000000:q"},
            "VpcConfig": {"SubnetIds": ["subnet-1"]},
            "KMSKeyArn": "",
            "TracingConfig": {"Mode": "Active"},
            "EphemeralStorage": {"Size": 512},
            "Architectures": ["x86_64"],
            "SnapStart": {"ApplyOn": "None"},
            "LoggingConfig": {"LogFormat": "Text", "LogGroup": "g"},
            "Tags": {"k": "v"},
        },
    ),
    (
        "lambda",
        "UpdateFunctionCode",
        {"FunctionName": "f", "ZipFile": ZIP, "Architectures": ["x86_64"], "DryRun": False},
    ),
    (
        "lambda",
        "UpdateFunctionConfiguration",
        {"FunctionName": "f", "Timeout": 5, "Environment": {"Variables": {"AB": "c"}}},
    ),
    ("lambda", "GetFunction", {"FunctionName": "f", "Qualifier": "$LATEST"}),
    ("lambda", "GetFunctionConfiguration", {"FunctionName": "f", "Qualifier": "$LATEST"}),
    ("lambda", "ListFunctions", {"MaxItems": 1}),
    ("lambda", "PublishVersion", {"FunctionName": "f", "Description": "d", "CodeSha256": "", "RevisionId": ""}),
    ("lambda", "ListVersionsByFunction", {"FunctionName": "f", "MaxItems": 1}),
    (
        "lambda",
        "CreateAlias",
        {"FunctionName": "f", "Name": "made", "FunctionVersion": "1", "Description": "d"},
    ),
    (
        "lambda",
        "UpdateAlias",
        {"FunctionName": "f", "Name": "live", "FunctionVersion": "1", "Description": "d", "RoutingConfig": {}},
    ),
    ("lambda", "GetAlias", {"FunctionName": "f", "Name": "live"}),
    ("lambda", "DeleteAlias", {"FunctionName": "f", "Name": "live"}),
    ("lambda", "ListAliases", {"FunctionName": "f", "FunctionVersion": "1", "MaxItems": 1}),
    ("lambda", "DeleteFunction", {"FunctionName": "f"}),
    (
        "lambda",
        "AddPermission",
        {
            "FunctionName": "f",
            "StatementId": "new",
            "Action": "lambda:InvokeFunction",
            "Principal": "events.amazonaws.com",
            "SourceArn": "arn:aws:events:eu-west-1:000000000000:rule/r",
            "SourceAccount": "000000000000",
            "Qualifier": "$LATEST",
        },
    ),
    ("lambda", "RemovePermission", {"FunctionName": "f", "StatementId": "s", "Qualifier": "$LATEST"}),
    ("lambda", "GetPolicy", {"FunctionName": "f", "Qualifier": "$LATEST"}),
    ("lambda", "TagResource", {"Resource": FUNCTION, "Tags": {"k": "v"}}),
    ("lambda", "UntagResource", {"Resource": FUNCTION, "TagKeys": ["k"]}),
    (
        "lambda",
        "Invoke",
        {
            "FunctionName": "f",
            "InvocationType": "RequestResponse",
            "LogType": "Tail",
            "ClientContext": "e30=",
            "Payload": b"{}",
            "Qualifier": "$LATEST",
        },
    ),
    ("lambda", "Invoke", {"FunctionName": "f", "InvocationType": "Event", "Payload": b"{}"}),
    (
        "events",
        "PutRule",
        {
            "Name": "made",
            "EventPattern": '{"source": ["a"]}',
            "ScheduleExpression": "rate(5 minutes)",
            "State": "DISABLED",
            "Description": "d",
            "RoleArn": ROLE,
            "Tags": TAGS,
            "EventBusName": "default",
        },
    ),
    (
        "events",
        "PutTargets",
        {
            "Rule": "rule",
            "EventBusName": "default",
            "Targets": [
                {
                    "Id": "q",
                    "Arn": "arn:aws:sqs:eu-west-1:000000000000:q.fifo",
                    "RoleArn": ROLE,
                    "InputTransformer": {"InputPathsMap": {"a": "$.detail.a"}, "InputTemplate": '{"a": <a>}'},
                    "SqsParameters": {"MessageGroupId": "g"},
                    "DeadLetterConfig": {"Arn": "arn:aws:sqs:eu-west-1:000000000000:q"},
                    "RetryPolicy": {"MaximumRetryAttempts": 1, "MaximumEventAgeInSeconds": 60},
                },
                {
                    "Id": "p",
                    "Arn": "arn:aws:sagemaker:eu-west-1:000000000000:pipeline/p",
                    "SageMakerPipelineParameters": {"PipelineParameterList": [{"Name": "a", "Value": "b"}]},
                },
            ],
        },
    ),
    ("events", "RemoveTargets", {"Rule": "rule", "Ids": ["f"], "EventBusName": "default"}),
    ("events", "DescribeRule", {"Name": "rule", "EventBusName": "default"}),
    ("events", "ListRules", {"NamePrefix": "r", "EventBusName": "default", "Limit": 1}),
    ("events", "ListTargetsByRule", {"Rule": "rule", "EventBusName": "default", "Limit": 1}),
    ("events", "ListRuleNamesByTarget", {"TargetArn": FUNCTION, "EventBusName": "default", "Limit": 1}),
    ("events", "EnableRule", {"Name": "rule", "EventBusName": "default"}),
    ("events", "DisableRule", {"Name": "rule", "EventBusName": "default"}),
    ("events", "TestEventPattern", {"EventPattern": '{"source": ["a"]}', "Event": EVENT}),
    (
        "events",
        "PutEvents",
        {
            "Entries": [
                {
                    "Time": AT,
                    "Source": "a",
                    "Resources": ["r"],
                    "DetailType": "d",
                    "Detail": "{}",
                    "EventBusName": "default",
                }
            ]
        },
    ),
    ("events", "ListEventBuses", {"NamePrefix": "d", "Limit": 1}),
    ("events", "TagResource", {"ResourceARN": "arn:aws:events:eu-west-1:000000000000:rule/rule", "Tags": TAGS}),
    ("events", "UntagResource", {"ResourceARN": "arn:aws:events:eu-west-1:000000000000:rule/rule", "TagKeys": ["k"]}),
    (
        "scheduler",
        "CreateSchedule",
        {
            **SCHEDULE,
            "Name": "made",
            "ScheduleExpressionTimezone": "Europe/Berlin",
            "StartDate": AT,
            "EndDate": END,
            "State": "DISABLED",
            "Description": "d",
            "KmsKeyArn": "arn:aws:kms:eu-west-1:000000000000:key/k",
            "FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 5},
            "ActionAfterCompletion": "DELETE",
            "ClientToken": "t",
        },
    ),
    ("scheduler", "UpdateSchedule", {**SCHEDULE, "State": "DISABLED"}),
    ("scheduler", "GetSchedule", {"Name": "schedule", "GroupName": "nightly"}),
    ("scheduler", "DeleteSchedule", {"Name": "schedule", "GroupName": "nightly"}),
    ("scheduler", "ListSchedules", {"GroupName": "nightly", "NamePrefix": "s", "State": "ENABLED", "MaxResults": 1}),
    ("scheduler", "CreateScheduleGroup", {"Name": "made", "Tags": TAGS}),
    ("scheduler", "DeleteScheduleGroup", {"Name": "nightly"}),
    ("scheduler", "ListScheduleGroups", {"NamePrefix": "n", "MaxResults": 1}),
    ("sqs", "CreateQueue", {"QueueName": "made", "Attributes": {"DelaySeconds": "1"}, "tags": {"k": "v"}}),
    ("sqs", "SetQueueAttributes", {"QueueUrl": QUEUE, "Attributes": {"DelaySeconds": "1"}}),
    ("sqs", "GetQueueUrl", {"QueueName": "q", "QueueOwnerAWSAccountId": "000000000000"}),
    ("sqs", "ListQueues", {"QueueNamePrefix": "q", "MaxResults": 1}),
    ("sqs", "ListDeadLetterSourceQueues", {"QueueUrl": QUEUE, "MaxResults": 1}),
    ("sqs", "GetQueueAttributes", {"QueueUrl": QUEUE, "AttributeNames": ["All"]}),
    ("sqs", "TagQueue", {"QueueUrl": QUEUE, "Tags": {"k": "v"}}),
    ("sqs", "UntagQueue", {"QueueUrl": QUEUE, "TagKeys": ["k"]}),
    (
        "sqs",
        "SendMessage",
        {
            "QueueUrl": QUEUE,
            "MessageBody": "m",
            "DelaySeconds": 1,
            "MessageAttributes": {"a": STRING},
            "MessageSystemAttributes": {"AWSTraceHeader": STRING},
            "MessageGroupId": "g",
        },
    ),
    (
        "sqs",
        "SendMessage",
        {"QueueUrl": QUEUE + ".fifo", "MessageBody": "m", "MessageGroupId": "g", "MessageDeduplicationId": "d"},
    ),
    (
        "sqs",
        "SendMessageBatch",
        {
            "QueueUrl": QUEUE,
            "Entries": [
                {
                    "Id": "a",
                    "MessageBody": "m",
                    "DelaySeconds": 1,
                    "MessageAttributes": {"a": {"DataType": "Binary", "BinaryValue": b"b"}},
                    "MessageSystemAttributes": {"AWSTraceHeader": STRING},
                }
            ],
        },
    ),
    (
        "sqs",
        "ReceiveMessage",
        {
            "QueueUrl": QUEUE,
            "AttributeNames": ["All"],
            "MessageSystemAttributeNames": ["All"],
            "MessageAttributeNames": ["All"],
            "MaxNumberOfMessages": 2,
            "VisibilityTimeout": 1,
            "WaitTimeSeconds": 0,
        },
    ),
    ("sns", "CreateTopic", {"Name": "made", "Attributes": {"DisplayName": "d"}, "Tags": TAGS}),
    (
        "sns",
        "Subscribe",
        {
            "TopicArn": TOPIC,
            "Protocol": "http",
            "Endpoint": "http://127.0.0.1/x",
            "Attributes": {"RawMessageDelivery": "true"},
            "ReturnSubscriptionArn": True,
        },
    ),
    ("sns", "SetTopicAttributes", {"TopicArn": TOPIC, "AttributeName": "DisplayName", "AttributeValue": "d"}),
    (
        "sns",
        "SetSubscriptionAttributes",
        {"SubscriptionArn": "{subscription}", "AttributeName": "RawMessageDelivery", "AttributeValue": "true"},
    ),
    ("sns", "GetSubscriptionAttributes", {"SubscriptionArn": "{subscription}"}),
    (
        "sns",
        "Publish",
        {
            "TopicArn": TOPIC,
            "Message": '{"default": "m"}',
            "Subject": "s",
            "MessageStructure": "json",
            "MessageAttributes": {"a": {"DataType": "String", "StringValue": "b"}},
        },
    ),
    ("sts", "AssumeRole", {"RoleArn": ROLE, "RoleSessionName": "me", "DurationSeconds": 900, "SourceIdentity": "me"}),
    (
        "iam",
        "CreateRole",
        {"RoleName": "made", "AssumeRolePolicyDocument": "{trust}", "Tags": TAGS, "MaxSessionDuration": 3600},
    ),
    (
        "sagemaker",
        "Search",
        {
            "Resource": "TrainingJob",
            "SearchExpression": {
                "Filters": [{"Name": "TrainingJobName", "Operator": "Contains", "Value": "j"}],
                "NestedFilters": [
                    {
                        "NestedPropertyName": "InputDataConfig",
                        "Filters": [{"Name": "ChannelName", "Operator": "Equals", "Value": "train"}],
                    }
                ],
                "SubExpressions": [{"Filters": [{"Name": "Tags.k", "Operator": "Exists"}], "Operator": "And"}],
                "Operator": "Or",
            },
            "SortBy": "TrainingJobName",
            "SortOrder": "Ascending",
            "MaxResults": 5,
            "CrossAccountFilterOption": "SameAccount",
            "VisibilityConditions": [{"Key": "Tags.k", "Value": "v"}],
        },
    ),
    ("sagemaker", "CreateExperiment", {"ExperimentName": "made", "DisplayName": "d", "Description": "t", "Tags": TAGS}),
    ("sagemaker", "UpdateExperiment", {"ExperimentName": "exp", "DisplayName": "d", "Description": "t"}),
    (
        "sagemaker",
        "CreateTrial",
        {
            "TrialName": "made",
            "ExperimentName": "exp",
            "DisplayName": "d",
            "MetadataProperties": {"CommitId": "c"},
            "Tags": TAGS,
        },
    ),
    ("sagemaker", "UpdateTrial", {"TrialName": "tr", "DisplayName": "d"}),
    ("sagemaker", "ListTrials", {"ExperimentName": "exp", "CreatedAfter": AT, "CreatedBefore": END, "SortBy": "Name"}),
    ("sagemaker", "ListTrials", {"TrialComponentName": "tc", "SortOrder": "Ascending", "MaxResults": 5}),
    ("sagemaker", "CreateTrialComponent", {"TrialComponentName": "made", **COMPONENT_OF_TRIAL, "Tags": TAGS}),
    (
        "sagemaker",
        "UpdateTrialComponent",
        {
            "TrialComponentName": "tc",
            **{name: value for name, value in COMPONENT_OF_TRIAL.items() if name != "MetadataProperties"},
            "ParametersToRemove": ["x"],
            "InputArtifactsToRemove": ["x"],
            "OutputArtifactsToRemove": ["x"],
        },
    ),
    (
        "sagemaker",
        "ListTrialComponents",
        {"ExperimentName": "exp", "TrialName": "tr", "SourceArn": "arn:aws:x", "SortBy": "Name"},
    ),
    (
        "sagemaker",
        "ListTrialComponents",
        {"CreatedAfter": AT, "CreatedBefore": END, "SortOrder": "Ascending", "MaxResults": 5},
    ),
    ("sagemaker", "AssociateTrialComponent", {"TrialComponentName": "tc", "TrialName": "tr"}),
    ("sagemaker", "DisassociateTrialComponent", {"TrialComponentName": "tc", "TrialName": "tr"}),
    (
        "sagemaker-metrics",
        "BatchPutMetrics",
        {"TrialComponentName": "tc", "MetricData": [{"MetricName": "m", "Timestamp": END, "Step": 1, "Value": 0.5}]},
    ),
    (
        "sagemaker-metrics",
        "BatchGetMetrics",
        {
            "MetricQueries": [
                {
                    "MetricName": "m",
                    "ResourceArn": f"{SAGEMAKER}:experiment-trial-component/tc",
                    "MetricStat": "Last",
                    "Period": "OneMinute",
                    "XAxisType": "Timestamp",
                    "Start": 0,
                    "End": 1_900_000_000,
                }
            ]
        },
    ),
    (
        "sagemaker",
        "CreateArtifact",
        {
            "ArtifactName": "made",
            "Source": {"SourceUri": "s3://b/made", "SourceTypes": [{"SourceIdType": "S3ETag", "Value": "e"}]},
            "ArtifactType": "DataSet",
            "Properties": {"a": "b"},
            "MetadataProperties": {"CommitId": "c"},
            "Tags": TAGS,
        },
    ),
    (
        "sagemaker",
        "UpdateArtifact",
        {"ArtifactArn": ARTIFACT, "ArtifactName": "n", "Properties": {"a": "b"}, "PropertiesToRemove": ["x"]},
    ),
    (
        "sagemaker",
        "ListArtifacts",
        {"SourceUri": "s3://b/x", "ArtifactType": "DataSet", "CreatedAfter": AT, "SortBy": "CreationTime"},
    ),
    ("sagemaker", "DeleteArtifact", {"Source": {"SourceUri": "s3://b/lone"}}),
    (
        "sagemaker",
        "CreateAction",
        {
            "ActionName": "made",
            "Source": {"SourceUri": "s3://b/made", "SourceType": "t", "SourceId": "i"},
            "ActionType": "Approval",
            "Description": "d",
            "Status": "Completed",
            "Properties": {"a": "b"},
            "MetadataProperties": {"CommitId": "c"},
            "Tags": TAGS,
        },
    ),
    (
        "sagemaker",
        "UpdateAction",
        {
            "ActionName": "act",
            "Description": "d",
            "Status": "Failed",
            "Properties": {"a": "b"},
            "PropertiesToRemove": ["x"],
        },
    ),
    (
        "sagemaker",
        "CreateContext",
        {
            "ContextName": "made",
            "Source": {"SourceUri": "s3://b/made", "SourceType": "t", "SourceId": "i"},
            "ContextType": "Endpoint",
            "Description": "d",
            "Properties": {"a": "b"},
            "Tags": TAGS,
        },
    ),
    (
        "sagemaker",
        "UpdateContext",
        {"ContextName": "con", "Description": "d", "Properties": {"a": "b"}, "PropertiesToRemove": ["x"]},
    ),
    (
        "sagemaker",
        "AddAssociation",
        {"SourceArn": f"{SAGEMAKER}:context/con", "DestinationArn": ARTIFACT, "AssociationType": "Produced"},
    ),
    (
        "sagemaker",
        "ListAssociations",
        {
            "SourceArn": f"{SAGEMAKER}:action/act",
            "DestinationArn": f"{SAGEMAKER}:context/con",
            "SourceType": "Approval",
            "DestinationType": "Endpoint",
            "AssociationType": "AssociatedWith",
            "SortBy": "SourceArn",
            "SortOrder": "Ascending",
            "MaxResults": 5,
        },
    ),
    ("sagemaker", "ListAssociations", {"CreatedAfter": AT, "CreatedBefore": END, "SortBy": "CreationTime"}),
    (
        "sagemaker",
        "DeleteAssociation",
        {"SourceArn": f"{SAGEMAKER}:action/act", "DestinationArn": f"{SAGEMAKER}:context/con"},
    ),
    (
        "sagemaker",
        "QueryLineage",
        {
            "StartArns": [f"{SAGEMAKER}:action/act"],
            "Direction": "Both",
            "IncludeEdges": True,
            "Filters": {
                "Types": ["Endpoint"],
                "LineageTypes": ["Context"],
                "CreatedBefore": datetime.datetime.fromtimestamp(1_900_000_000, datetime.UTC),
                "CreatedAfter": datetime.datetime.fromtimestamp(0, datetime.UTC),
                "ModifiedBefore": datetime.datetime.fromtimestamp(1_900_000_000, datetime.UTC),
                "ModifiedAfter": datetime.datetime.fromtimestamp(0, datetime.UTC),
                "Properties": {"a": "b"},
            },
            "MaxDepth": 3,
            "MaxResults": 5,
        },
    ),
]
