"""Members of other operations than those of `fields.py` that do not act as on AWS: by service and operation, (use, why, paths). What is
not named here is honoured: tests/api/test_members.py finds the members that no handler reads. Pure."""

from __future__ import annotations

from collections.abc import Mapping

Rows = tuple[tuple[str, str, str], ...]
_POLICIES = "Clary does not enforce policies"
_LINKED = "Clary links no accounts"
_MASKED = "Clary masks no data"
_SESSION = "without effect: a session may do everything in its account"

_INLINE = "MonitoringScheduleConfig.MonitoringJobDefinition"


def _monitor(type_: str) -> Rows:
    """Of a job definition of that MonitoringType."""
    return (
        (
            "recorded",
            "Clary does not encrypt data",
            f"{type_}JobOutputConfig.KmsKeyId JobResources.ClusterConfig.VolumeKmsKeyId",
        ),
        (
            "recorded",
            "Clary has no VPC; EnableNetworkIsolation disables the network",
            "NetworkConfig.VpcConfig NetworkConfig.EnableInterContainerTrafficEncryption",
        ),
    )


ROWS: Mapping[str, Rows] = {
    "application-autoscaling PutScalingPolicy": (
        ("refused", "predictive scaling is not available", "PredictiveScalingPolicyConfiguration"),
    ),
    "athena StartQueryExecution": (
        (
            "recorded",
            "Clary does not encrypt data",
            "ResultConfiguration.EncryptionConfiguration ResultConfiguration.EncryptionConfiguration.EncryptionOption "
            "ResultConfiguration.EncryptionConfiguration.KmsKey",
        ),
        (
            "recorded",
            "an account's buckets are its own",
            "ResultConfiguration.ExpectedBucketOwner ResultConfiguration.AclConfiguration ResultConfiguration.AclConfiguration.S3AclOption",
        ),
        (
            "recorded",
            "each query is run",
            "ResultReuseConfiguration ResultReuseConfiguration.ResultReuseByAgeConfiguration",
        ),
        ("recorded", "there is one workgroup", "WorkGroup"),
        ("ignored", "there is one engine: DuckDB", "EngineConfiguration"),
    ),
    "glue GetTable": (
        ("ignored", "there is one version of a table", "TransactionId QueryAsOfTime"),
        ("ignored", "all is answered", "AuditContext IncludeStatusDetails AttributesToGet"),
    ),
    "cloudwatch DescribeAlarmHistory": (("refused", "Clary's alarms have no contributors", "AlarmContributorId"),),
    "cloudwatch ListMetrics": (("ignored", _LINKED, "IncludeLinkedAccounts"),),
    "cloudwatch PutMetricData": (
        ("ignored", "Clary does not group metrics by entities", "EntityMetricData[].Entity StrictEntityValidation"),
    ),
    "events CreateEventBus": (
        (
            "ignored",
            "refused: there is the bus `default` alone",
            "EventSourceName Description KmsKeyIdentifier DeadLetterConfig LogConfig Tags",
        ),
    ),
    "events PutEvents": (
        ("ignored", "Clary has one region's endpoint", "EndpointId"),
        ("ignored", "Clary traces nothing", "Entries[].TraceHeader"),
    ),
    "events RemoveTargets": (("ignored", "no rule is managed by another service", "Force"),),
    "events DeleteRule": (("ignored", "no rule is managed by another service", "Force"),),
    "events ListTargetsByRule": (("ignored", "all targets are in one page: 100 at most", "Limit"),),
    "events ListEventBuses": (("ignored", "there is one bus", "Limit"),),
    "scheduler UpdateSchedule": (("ignored", "the same update twice changes nothing", "ClientToken"),),
    "scheduler DeleteSchedule": (("ignored", "a schedule is deleted once", "ClientToken"),),
    "scheduler DeleteScheduleGroup": (("ignored", "a group is deleted once", "ClientToken"),),
    "iam SimulatePrincipalPolicy": (
        (
            "ignored",
            _POLICIES,
            "PolicyInputList PermissionsBoundaryPolicyInputList PolicyExclusionList ResourcePolicy ResourceOwner CallerArn "
            "ContextEntries ResourceHandlingOption",
        ),
    ),
    "iam CreateRole": (("recorded", _POLICIES, "PermissionsBoundary"),),
    "lambda CreateFunction": (
        ("recorded", "each function has a network of its own", "VpcConfig"),
        ("recorded", "Clary does not encrypt data", "KMSKeyArn"),
        ("recorded", "Clary traces nothing", "TracingConfig"),
        ("recorded", "/tmp counts as the function's memory", "EphemeralStorage"),
        ("recorded", "functions run on this machine's own architecture", "Architectures"),
        ("recorded", "sandboxes are kept for further invocations anyway", "SnapStart"),
        ("ignored", "Publish makes a version, and there is nowhere else to publish to", "PublishTo"),
        (
            "ignored",
            "any version of the object would do: its newest is taken",
            "Code.S3ObjectVersion Code.S3ObjectStorageMode",
        ),
        ("ignored", "Clary does not encrypt data", "Code.SourceKMSKeyArn"),
        ("refused", "layers are not available: put packages into the archive", "Layers"),
        ("refused", "file systems are not available", "FileSystemConfigs"),
        ("refused", "code signing is not available", "CodeSigningConfigArn"),
        ("refused", "images are not run as functions", "ImageConfig"),
        (
            "refused",
            "this is not available",
            "TenancyConfig CapacityProviderConfig DurableConfig RuntimeConfig AcceleratorConfig",
        ),
    ),
    "lambda UpdateFunctionConfiguration": (
        ("refused", "layers are not available: put packages into the archive", "Layers"),
        ("refused", "file systems are not available", "FileSystemConfigs"),
        ("refused", "images are not run as functions", "ImageConfig"),
        ("refused", "this is not available", "CapacityProviderConfig DurableConfig RuntimeConfig AcceleratorConfig"),
    ),
    "lambda UpdateFunctionCode": (
        ("ignored", "Publish makes a version, and there is nowhere else to publish to", "PublishTo"),
        ("ignored", "any version of the object would do: its newest is taken", "S3ObjectVersion S3ObjectStorageMode"),
        ("ignored", "Clary does not encrypt data", "SourceKMSKeyArn"),
    ),
    "lambda PublishVersion": (("ignored", "there is nowhere else to publish to", "PublishTo"),),
    "lambda Invoke": (("refused", "this is not available", "DurableExecutionName TenantId"),),
    "lambda AddPermission": (
        ("ignored", _POLICIES, "FunctionUrlAuthType InvokedViaFunctionUrl EventSourceToken PrincipalOrgID"),
    ),
    "lambda ListFunctions": (
        (
            "ignored",
            "functions are listed once; ListVersionsByFunction lists their versions",
            "FunctionVersion MasterRegion",
        ),
    ),
    "logs CreateLogGroup": (
        ("recorded", "Clary does not encrypt data", "kmsKeyId"),
        ("recorded", "every group can do what STANDARD can", "logGroupClass"),
    ),
    "logs AssociateKmsKey": (("recorded", "Clary does not encrypt data", "kmsKeyId"),),
    "logs DescribeLogGroups": (("ignored", _LINKED, "accountIdentifiers includeLinkedAccounts"),),
    "logs FilterLogEvents": (
        ("ignored", _MASKED, "unmask"),
        ("ignored", "streams are always interleaved, as on AWS since 2019", "interleaved"),
    ),
    "logs GetLogEvents": (("ignored", _MASKED, "unmask"),),
    "logs PutLogEvents": (
        ("ignored", "as on AWS since 2023", "sequenceToken"),
        ("ignored", "Clary does not group events by entities", "entity"),
    ),
    "sagemaker CreateDataQualityJobDefinition": _monitor("DataQuality"),
    "sagemaker CreateModelQualityJobDefinition": _monitor("ModelQuality"),
    "sagemaker CreateModelBiasJobDefinition": _monitor("ModelBias"),
    "sagemaker CreateModelExplainabilityJobDefinition": _monitor("ModelExplainability"),
    **{
        f"sagemaker {verb}MonitoringSchedule": (
            (
                "recorded",
                "Clary does not encrypt data",
                f"{_INLINE}.MonitoringOutputConfig.KmsKeyId {_INLINE}.MonitoringResources.ClusterConfig.VolumeKmsKeyId",
            ),
            (
                "recorded",
                "Clary has no VPC; EnableNetworkIsolation disables the network",
                f"{_INLINE}.NetworkConfig.VpcConfig {_INLINE}.NetworkConfig.EnableInterContainerTrafficEncryption",
            ),
        )
        for verb in ("Create", "Update")
    },
    "sagemaker CreateModelCard": (
        ("recorded", "Clary does not encrypt data", "SecurityConfig SecurityConfig.KmsKeyId"),
    ),
    "sagemaker DescribeModelCard": (("ignored", "Clary encrypts nothing: all data is shown", "IncludedData"),),
    "sagemaker DescribeModelPackage": (("ignored", "Clary encrypts nothing: all data is shown", "IncludedData"),),
    "sagemaker ListResourceCatalogs": (
        (
            "ignored",
            "there are no catalogs: Clary shares nothing between accounts",
            "NameContains CreationTimeAfter CreationTimeBefore SortOrder SortBy MaxResults",
        ),
    ),
    "sagemaker ListTags": (("ignored", "all tags are in one page: 50 at most", "MaxResults"),),
    "sagemaker CreatePipeline": (
        ("refused", "the latest version of the object is read", "PipelineDefinitionS3Location.VersionId"),
    ),
    "sagemaker DeletePipeline": (("ignored", "the same deletion twice changes nothing", "ClientRequestToken"),),
    "sagemaker StartPipelineExecution": (("refused", "MLflow is not available yet", "MlflowExperimentName"),),
    "sagemaker StopPipelineExecution": (("ignored", "the same stop twice changes nothing", "ClientRequestToken"),),
    "sagemaker UpdatePipeline": (
        ("refused", "the latest version of the object is read", "PipelineDefinitionS3Location.VersionId"),
    ),
    "sagemaker UpdateModelPackage": (("ignored", "the same update twice changes nothing", "ClientToken"),),
    "sns Publish": (
        ("refused", "text messages to phones are not available", "PhoneNumber"),
        ("refused", "FIFO topics are not available", "MessageDeduplicationId"),
        ("ignored", "Clary has no queues that group messages", "MessageGroupId"),
    ),
    "sns Subscribe": (("ignored", "the ARN is always answered", "ReturnSubscriptionArn"),),
    "sqs ReceiveMessage": (
        ("ignored", "a repeated receipt waits for the visibility timeout", "ReceiveRequestAttemptId"),
    ),
    "sts AssumeRole": (
        (
            "ignored",
            _SESSION,
            "Tags TransitiveTagKeys ExternalId SerialNumber TokenCode ProvidedContexts MinimumSessionTokenSize",
        ),
    ),
    "sts GetSessionToken": (("ignored", _SESSION, "SerialNumber TokenCode MinimumSessionTokenSize"),),
}
