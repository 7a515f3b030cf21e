"""The rows of `fields` for models, endpoint configs and endpoints: (use, why, paths separated by blanks).

What the deployment work makes available becomes "honoured" here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping

Row = tuple[str, str, str]
_HONOURED, _RECORDED, _REFUSED = "honoured", "recorded", "refused"

_NO_VPC = "Clary has no VPC; EnableNetworkIsolation disables the network"
_NO_KMS = "Clary does not encrypt data"


def _under(prefix: str, *names: str) -> str:
    """The paths `prefix` and `prefix.name` for every name (which may be dotted)."""
    return " ".join([prefix, *(f"{prefix}.{name}" for name in " ".join(names).split())])


def _below(prefix: str, names: str) -> str:
    return " ".join(f"{prefix}.{name}" for name in names.split())


_S3_SOURCE = "S3DataSource S3DataSource.S3Uri S3DataSource.S3DataType S3DataSource.CompressionType"
_S3_LICENCE = "S3DataSource.ModelAccessConfig S3DataSource.ModelAccessConfig.AcceptEula"
_S3_OTHER = """S3DataSource.HubAccessConfig S3DataSource.HubAccessConfig.HubContentArn S3DataSource.ManifestS3Uri
    S3DataSource.ETag S3DataSource.ManifestEtag"""


def _container(prefix: str) -> tuple[Row, ...]:
    return (
        (_HONOURED, "", _under(prefix, "Image ModelDataUrl Environment ModelDataSource")),
        (_HONOURED, "", _below(f"{prefix}.ModelDataSource", _S3_SOURCE)),
        (_RECORDED, "Clary needs no licence agreement", _below(f"{prefix}.ModelDataSource", _S3_LICENCE)),
        (
            _REFUSED,
            "hubs, manifests and pinned ETags are not available",
            _below(f"{prefix}.ModelDataSource", _S3_OTHER),
        ),
        (_HONOURED, "", _under(f"{prefix}.MultiModelConfig", "ModelCacheSetting") + f" {prefix}.Mode"),
        (_HONOURED, "tells the containers of a model apart", f"{prefix}.ContainerHostname"),
        (
            _RECORDED,
            "image names select runtimes; for other images the container engine uses its own login",
            _under(
                f"{prefix}.ImageConfig",
                "RepositoryAccessMode RepositoryAuthConfig RepositoryAuthConfig.RepositoryCredentialsProviderArn",
            ),
        ),
        (
            _HONOURED,
            "",
            f"{prefix}.AdditionalModelDataSources "
            + _below(f"{prefix}.AdditionalModelDataSources[]", f"ChannelName {_S3_SOURCE}"),
        ),
        (
            _RECORDED,
            "Clary needs no licence agreement",
            _below(f"{prefix}.AdditionalModelDataSources[]", _S3_LICENCE),
        ),
        (
            _REFUSED,
            "hubs, manifests and pinned ETags are not available",
            _below(f"{prefix}.AdditionalModelDataSources[]", _S3_OTHER),
        ),
        (
            _HONOURED,
            "a package of this account's registry",
            f"{prefix}.ModelPackageName {prefix}.InferenceSpecificationName",
        ),
        (
            _REFUSED,
            "a container's own metrics are not collected",
            _under(
                f"{prefix}.ContainerMetricsConfig",
                "MetricsEndpoints MetricsEndpoints[].MetricsEndpointPath MetricsEndpoints[].MetricPublishFrequencyInSeconds",
            ),
        ),
    )


CREATE_MODEL: tuple[Row, ...] = (
    (_HONOURED, "", "ModelName ExecutionRoleArn Tags Tags[].Key Tags[].Value EnableNetworkIsolation"),
    *_container("PrimaryContainer"),
    (_HONOURED, "", "Containers InferenceExecutionConfig InferenceExecutionConfig.Mode"),
    *((use, why, paths.removeprefix("Containers[] ")) for use, why, paths in _container("Containers[]")),
    (_RECORDED, _NO_VPC, "VpcConfig VpcConfig.SecurityGroupIds VpcConfig.Subnets"),
)

_SERVERLESS = "ServerlessConfig ServerlessConfig.MemorySizeInMB ServerlessConfig.MaxConcurrency ServerlessConfig.ProvisionedConcurrency"
_MANAGED = """ManagedInstanceScaling ManagedInstanceScaling.Status ManagedInstanceScaling.MinInstanceCount
    ManagedInstanceScaling.MaxInstanceCount"""
_SCALE_IN = """ManagedInstanceScaling.ScaleInPolicy ManagedInstanceScaling.ScaleInPolicy.Strategy
    ManagedInstanceScaling.ScaleInPolicy.MaximumStepSize ManagedInstanceScaling.ScaleInPolicy.CooldownInMinutes"""
_PREFIX_ROUTING = """RoutingConfig.PrefixAwareRoutingConfig RoutingConfig.PrefixAwareRoutingConfig.PrefixLength
    RoutingConfig.PrefixAwareRoutingConfig.ConcurrencyThreshold"""
_POOLS = """InstancePools InstancePools[].InstanceType InstancePools[].ModelNameOverride InstancePools[].Priority
    VariantInstanceProvisionTimeoutInSeconds"""

_VARIANT: tuple[Row, ...] = (
    (
        _HONOURED,
        "",
        """VariantName ModelName InitialInstanceCount InstanceType InitialVariantWeight ModelDataDownloadTimeoutInSeconds
        ContainerStartupHealthCheckTimeoutInSeconds""",
    ),
    (_REFUSED, "instance pools are not available; name an InstanceType", _POOLS),
    (_REFUSED, "accelerators and their partitions are not available", "AcceleratorType"),
    (
        _REFUSED,
        "accelerators and their partitions are not available",
        "AcceleratorPartitionLayouts AcceleratorPartitionLayouts[].AcceleratorPartitionTypes",
    ),
    (_RECORDED, "no core dumps are kept", "CoreDumpConfig CoreDumpConfig.DestinationS3Uri CoreDumpConfig.KmsKeyId"),
    (_HONOURED, "", _SERVERLESS),
    (_RECORDED, "replicas share this machine's disk", "VolumeSizeInGB"),
    (_RECORDED, "log in to the machine instead", "EnableSSMAccess"),
    (_HONOURED, "of variants for inference components, and of those with a latency objective", _MANAGED),
    (_RECORDED, "the instance count follows the components at once", _SCALE_IN),
    (
        _RECORDED,
        "Clary always routes by one queue per variant, which is exact least-outstanding-requests routing",
        f"RoutingConfig RoutingConfig.RoutingStrategy {_PREFIX_ROUTING}",
    ),
    (_RECORDED, "replicas have no AMI", "InferenceAmiVersion"),
    (
        _RECORDED,
        "Clary has no capacity reservations",
        """CapacityReservationConfig CapacityReservationConfig.CapacityReservationPreference
        CapacityReservationConfig.MlReservationArn""",
    ),
)

_EXPLAINER = """EnableExplanations InferenceConfig ShapConfig ShapConfig.ShapBaselineConfig ShapConfig.ShapBaselineConfig.MimeType
    ShapConfig.ShapBaselineConfig.ShapBaseline ShapConfig.NumberOfSamples
    ShapConfig.UseLogit ShapConfig.Seed"""
_EXPLAINER_INFERENCE = """FeaturesAttribute ContentTemplate MaxRecordCount MaxPayloadInMB ProbabilityIndex LabelIndex
    ProbabilityAttribute LabelAttribute LabelHeaders FeatureHeaders FeatureTypes"""

CREATE_ENDPOINT_CONFIG: tuple[Row, ...] = (
    (_HONOURED, "", "EndpointConfigName ProductionVariants Tags Tags[].Key Tags[].Value EnableNetworkIsolation"),
    *((use, why, _below("ProductionVariants[]", paths)) for use, why, paths in _VARIANT),
    (_HONOURED, "one shadow of one production variant, as on AWS", "ShadowProductionVariants"),
    *((use, why, _below("ShadowProductionVariants[]", paths)) for use, why, paths in _VARIANT if paths != _SERVERLESS),
    (_REFUSED, "a shadow variant has instances", _below("ShadowProductionVariants[]", _SERVERLESS)),
    (_RECORDED, _NO_KMS, "DataCaptureConfig.KmsKeyId"),
    (
        _HONOURED,
        "what was answered well; answers in pieces and sessions are not captured",
        _under(
            "DataCaptureConfig",
            """EnableCapture InitialSamplingPercentage DestinationS3Uri CaptureOptions CaptureOptions[].CaptureMode
            CaptureContentTypeHeader CaptureContentTypeHeader.CsvContentTypes CaptureContentTypeHeader.JsonContentTypes""",
        ),
    ),
    (
        _HONOURED,
        "",
        _under(
            "AsyncInferenceConfig",
            """OutputConfig OutputConfig.S3FailurePath OutputConfig.NotificationConfig OutputConfig.NotificationConfig.SuccessTopic
            OutputConfig.NotificationConfig.ErrorTopic OutputConfig.NotificationConfig.IncludeInferenceResponseIn""",
        ),
    ),
    (
        _HONOURED,
        "default: async-endpoint-outputs/ENDPOINT in the SDKs' default bucket, which is made if need be",
        "AsyncInferenceConfig.OutputConfig.S3OutputPath",
    ),
    (
        _HONOURED,
        "default: as many as a replica has workers",
        _under("AsyncInferenceConfig.ClientConfig", "MaxConcurrentInvocationsPerInstance"),
    ),
    (_RECORDED, _NO_KMS, "AsyncInferenceConfig.OutputConfig.KmsKeyId"),
    (
        _HONOURED,
        "tabular data, explained in the replicas themselves (docs/clarify.md)",
        "ExplainerConfig "
        + _under("ExplainerConfig.ClarifyExplainerConfig", _EXPLAINER)
        + " "
        + _below("ExplainerConfig.ClarifyExplainerConfig.InferenceConfig", _EXPLAINER_INFERENCE),
    ),
    (
        _REFUSED,
        "give the baseline's records inline, in ShapBaseline",
        "ExplainerConfig.ClarifyExplainerConfig.ShapConfig.ShapBaselineConfig.ShapBaselineUri",
    ),
    (
        _REFUSED,
        "texts are not explained, only tabular data",
        _under("ExplainerConfig.ClarifyExplainerConfig.ShapConfig.TextConfig", "Language Granularity"),
    ),
    (_RECORDED, _NO_KMS, "KmsKeyId"),
    (_HONOURED, "of inference components; models carry their own role", "ExecutionRoleArn"),
    (_RECORDED, _NO_VPC, "VpcConfig VpcConfig.SecurityGroupIds VpcConfig.Subnets"),
    (
        _RECORDED,
        "all metrics of an endpoint are kept, also without this field",
        _under("MetricsConfig", "EnableEnhancedMetrics EnableDetailedObservability MetricPublishFrequencyInSeconds"),
    ),
    (
        _RECORDED,
        "regions share this machine",
        _under("CrossRegionTrafficConfig", "MaxInvocationsPerSecondPerInstance MaxCrossRegionPercentPerEndpoint"),
    ),
)

_BLUE_GREEN = "DeploymentConfig.BlueGreenUpdatePolicy"
_SHIFT = f"{_BLUE_GREEN}.TrafficRoutingConfiguration"
_ROLLING = "DeploymentConfig.RollingUpdatePolicy"
_DEPLOYMENT: tuple[Row, ...] = (
    (
        _HONOURED,
        "",
        f"""DeploymentConfig {_BLUE_GREEN} {_SHIFT} {_SHIFT}.Type {_SHIFT}.WaitIntervalInSeconds
        {_BLUE_GREEN}.TerminationWaitInSeconds {_BLUE_GREEN}.MaximumExecutionTimeoutInSeconds""",
    ),
    (
        _HONOURED,
        "",
        _under(f"{_SHIFT}.CanarySize", "Type Value") + " " + _under(f"{_SHIFT}.LinearStepSize", "Type Value"),
    ),
    (
        _HONOURED,
        "",
        _under(
            _ROLLING,
            """MaximumBatchSize MaximumBatchSize.Type MaximumBatchSize.Value WaitIntervalInSeconds MaximumExecutionTimeoutInSeconds
            RollbackMaximumBatchSize RollbackMaximumBatchSize.Type RollbackMaximumBatchSize.Value""",
        ),
    ),
    (
        _HONOURED,
        "any in state ALARM, or deleted, while traffic moves or bakes: the update rolls back",
        _under("DeploymentConfig.AutoRollbackConfiguration", "Alarms Alarms[].AlarmName"),
    ),
)

CREATE_ENDPOINT: tuple[Row, ...] = (
    (_HONOURED, "", "EndpointName EndpointConfigName Tags Tags[].Key Tags[].Value"),
    *_DEPLOYMENT,
)

UPDATE_ENDPOINT: tuple[Row, ...] = (
    (
        _HONOURED,
        "",
        """EndpointName EndpointConfigName RetainAllVariantProperties ExcludeRetainedVariantProperties
        ExcludeRetainedVariantProperties[].VariantPropertyType RetainDeploymentConfig""",
    ),
    *_DEPLOYMENT,
)

UPDATE_WEIGHTS: tuple[Row, ...] = (
    (
        _HONOURED,
        "",
        "EndpointName DesiredWeightsAndCapacities "
        + _below("DesiredWeightsAndCapacities[]", "VariantName DesiredWeight DesiredInstanceCount"),
    ),
    (
        _HONOURED,
        "",
        _under("DesiredWeightsAndCapacities[].ServerlessUpdateConfig", "MaxConcurrency ProvisionedConcurrency"),
    ),
)

ROWS: Mapping[str, tuple[Row, ...]] = {
    "CreateModel": CREATE_MODEL,
    "CreateEndpointConfig": CREATE_ENDPOINT_CONFIG,
    "CreateEndpoint": CREATE_ENDPOINT,
    "UpdateEndpoint": UPDATE_ENDPOINT,
    "UpdateEndpointWeightsAndCapacities": UPDATE_WEIGHTS,
}
