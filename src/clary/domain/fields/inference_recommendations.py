"""The rows of `fields` for inference recommendations jobs: (use, why, paths separated by blanks)."""

from __future__ import annotations

from collections.abc import Mapping

Row = tuple[str, str, str]
_HONOURED, _RECORDED = "honoured", "recorded"
_CONFIG, _CONTAINER = "InputConfig", "InputConfig.ContainerConfig"


def _below(prefix: str, names: str) -> str:
    return " ".join(f"{prefix}.{name}" for name in names.split())


_ROWS: tuple[Row, ...] = (
    (_HONOURED, "", "JobName JobType RoleArn JobDescription Tags Tags[].Key Tags[].Value InputConfig"),
    (
        _HONOURED,
        "",
        _below(
            _CONFIG,
            """ModelPackageVersionArn ModelName JobDurationInSeconds TrafficPattern TrafficPattern.TrafficType TrafficPattern.Phases
            TrafficPattern.Phases[].InitialNumberOfUsers TrafficPattern.Phases[].SpawnRate TrafficPattern.Phases[].DurationInSeconds
            TrafficPattern.Stairs TrafficPattern.Stairs.DurationInSeconds TrafficPattern.Stairs.NumberOfSteps
            TrafficPattern.Stairs.UsersPerStep ResourceLimit ResourceLimit.MaxNumberOfTests Endpoints Endpoints[].EndpointName""",
        ),
    ),
    (
        _HONOURED,
        "",
        _below(
            f"{_CONFIG}.EndpointConfigurations[]",
            """InstanceType ServerlessConfig ServerlessConfig.MemorySizeInMB ServerlessConfig.MaxConcurrency
            ServerlessConfig.ProvisionedConcurrency InferenceSpecificationName EnvironmentParameterRanges
            EnvironmentParameterRanges.CategoricalParameterRanges EnvironmentParameterRanges.CategoricalParameterRanges[].Name
            EnvironmentParameterRanges.CategoricalParameterRanges[].Value""",
        )
        + f" {_CONFIG}.EndpointConfigurations",
    ),
    (
        _HONOURED,
        "one test at a time: beside each other they would measure each other",
        f"{_CONFIG}.ResourceLimit.MaxParallelOfTests",
    ),
    (
        _HONOURED,
        "",
        _below(
            _CONTAINER,
            """PayloadConfig PayloadConfig.SamplePayloadUrl PayloadConfig.SupportedContentTypes SupportedInstanceTypes
            SupportedEndpointType SupportedResponseMIMETypes""",
        )
        + f" {_CONTAINER}",
    ),
    (
        _RECORDED,
        "what is tried does not depend on it",
        _below(_CONTAINER, "Domain Task Framework FrameworkVersion NearestModelName DataInputConfig"),
    ),
    (_RECORDED, "Clary does not encrypt data", f"{_CONFIG}.VolumeKmsKeyId OutputConfig.KmsKeyId"),
    (
        _RECORDED,
        "there is no virtual private cloud",
        f"{_CONFIG}.VpcConfig {_CONFIG}.VpcConfig.SecurityGroupIds {_CONFIG}.VpcConfig.Subnets",
    ),
    (
        _RECORDED,
        "no model is compiled",
        "OutputConfig OutputConfig.CompiledOutputConfig OutputConfig.CompiledOutputConfig.S3OutputUri",
    ),
    (
        _HONOURED,
        "",
        """StoppingConditions StoppingConditions.MaxInvocations StoppingConditions.FlatInvocations
        StoppingConditions.ModelLatencyThresholds StoppingConditions.ModelLatencyThresholds[].Percentile
        StoppingConditions.ModelLatencyThresholds[].ValueInMilliseconds""",
    ),
)

ROWS: Mapping[str, tuple[Row, ...]] = {"CreateInferenceRecommendationsJob": _ROWS}
