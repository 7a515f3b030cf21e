"""The rows of `fields` for inference components: (use, why, paths separated by blanks)."""

from __future__ import annotations

from collections.abc import Mapping

Row = tuple[str, str, str]
_HONOURED, _RECORDED, _REFUSED = "honoured", "recorded", "refused"
_NO_LIST = "specifications by instance type are not available; give Specification"

_HONOURED_SPEC = """ModelName Container Container.Image Container.ArtifactUrl Container.Environment StartupParameters
    StartupParameters.ModelDataDownloadTimeoutInSeconds StartupParameters.ContainerStartupHealthCheckTimeoutInSeconds
    ComputeResourceRequirements ComputeResourceRequirements.NumberOfCpuCoresRequired
    ComputeResourceRequirements.NumberOfAcceleratorDevicesRequired ComputeResourceRequirements.MinMemoryRequiredInMb
    ComputeResourceRequirements.MaxMemoryRequiredInMb"""
_METRICS = """Container.ContainerMetricsConfig Container.ContainerMetricsConfig.MetricsEndpoints
    Container.ContainerMetricsConfig.MetricsEndpoints[].MetricsEndpointPath
    Container.ContainerMetricsConfig.MetricsEndpoints[].MetricPublishFrequencyInSeconds"""
_PLACED = """SchedulingConfig SchedulingConfig.PlacementStrategy SchedulingConfig.AvailabilityZoneBalance
    SchedulingConfig.AvailabilityZoneBalance.EnforcementMode SchedulingConfig.AvailabilityZoneBalance.MaxImbalance"""
_PARTITION = "ComputeResourceRequirements.AcceleratorPartitionType"
_CACHE = "DataCacheConfig DataCacheConfig.EnableCaching"
_EVERYTHING = f"InstanceType {_HONOURED_SPEC} {_METRICS} {_PLACED} {_PARTITION} {_CACHE} BaseInferenceComponentName"


def _below(prefix: str, names: str) -> str:
    return " ".join(f"{prefix}.{name}" for name in names.split())


_SPECIFICATION: tuple[Row, ...] = (
    (_HONOURED, "", "Specification " + _below("Specification", _HONOURED_SPEC)),
    (_REFUSED, "a container's own metrics are not collected", _below("Specification", _METRICS)),
    (_REFUSED, "accelerators are not partitioned", _below("Specification", _PARTITION)),
    (_REFUSED, _NO_LIST, "Specification.InstanceType"),
    (
        _REFUSED,
        "adapters need a runtime that loads them beside a base model; none does",
        "Specification.BaseInferenceComponentName",
    ),
    (_RECORDED, "a model is prepared once and kept, also without this field", _below("Specification", _CACHE)),
    (_RECORDED, "all copies share this machine", _below("Specification", _PLACED)),
    (_REFUSED, _NO_LIST, "Specifications " + _below("Specifications[]", _EVERYTHING)),
)
_SIZE = "Type Value"
_ROLLING = "DeploymentConfig.RollingUpdatePolicy"
_DEPLOYMENT: Row = (
    _HONOURED,
    "",
    f"""DeploymentConfig {_ROLLING} {_ROLLING}.MaximumBatchSize {_below(f"{_ROLLING}.MaximumBatchSize", _SIZE)}
    {_ROLLING}.WaitIntervalInSeconds {_ROLLING}.MaximumExecutionTimeoutInSeconds {_ROLLING}.RollbackMaximumBatchSize
    {_below(f"{_ROLLING}.RollbackMaximumBatchSize", _SIZE)} DeploymentConfig.AutoRollbackConfiguration
    DeploymentConfig.AutoRollbackConfiguration.Alarms DeploymentConfig.AutoRollbackConfiguration.Alarms[].AlarmName""",
)

ROWS: Mapping[str, tuple[Row, ...]] = {
    "CreateInferenceComponent": (
        (
            _HONOURED,
            "",
            """InferenceComponentName EndpointName VariantName RuntimeConfig RuntimeConfig.CopyCount Tags Tags[].Key
            Tags[].Value""",
        ),
        *_SPECIFICATION,
    ),
    "UpdateInferenceComponent": (
        (_HONOURED, "", "InferenceComponentName RuntimeConfig RuntimeConfig.CopyCount"),
        *_SPECIFICATION,
        _DEPLOYMENT,
    ),
}
