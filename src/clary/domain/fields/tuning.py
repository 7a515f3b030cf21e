"""The rows of `fields` for tuning jobs. What a training job definition shares with CreateTrainingJob is classified there (`SHARED`)."""

from __future__ import annotations

from collections.abc import Mapping

Row = tuple[str, str, str]
_HONOURED, _RECORDED, _REFUSED = "honoured", "recorded", "refused"

DEFINITIONS = ("TrainingJobDefinition", "TrainingJobDefinitions[]")

# Members of a definition, with all below them, that CreateTrainingJob has too.
SHARED = (
    "AlgorithmSpecification.TrainingImage",
    "AlgorithmSpecification.TrainingInputMode",
    "AlgorithmSpecification.AlgorithmName",
    "AlgorithmSpecification.MetricDefinitions",
    "RoleArn",
    "InputDataConfig",
    "VpcConfig",
    "OutputDataConfig",
    "ResourceConfig",
    "StoppingCondition",
    "EnableNetworkIsolation",
    "EnableInterContainerTrafficEncryption",
    "EnableManagedSpotTraining",
    "CheckpointConfig",
    "RetryStrategy",
    "Environment",
)

_CONFIG = "HyperParameterTuningJobConfig"


def _below(prefix: str, names: str) -> str:
    return " ".join(f"{prefix}.{name}" for name in names.split())


def _ranges(prefix: str) -> str:
    numbers = " ".join(
        f"{kind} " + _below(f"{kind}[]", "Name MinValue MaxValue ScalingType")
        for kind in ("IntegerParameterRanges", "ContinuousParameterRanges")
    )
    others = """CategoricalParameterRanges CategoricalParameterRanges[].Name CategoricalParameterRanges[].Values AutoParameters
        AutoParameters[].Name AutoParameters[].ValueHint"""
    return f"{prefix} " + _below(prefix, f"{numbers} {others}")


def _definition(prefix: str) -> tuple[Row, ...]:
    tuning = "HyperParameterTuningResourceConfig"
    sizes = "InstanceType InstanceCount"
    return (
        (
            _HONOURED,
            "",
            _below(
                prefix,
                """DefinitionName TuningObjective TuningObjective.Type TuningObjective.MetricName StaticHyperParameters
                AlgorithmSpecification""",
            ),
        ),
        (_HONOURED, "", _ranges(f"{prefix}.HyperParameterRanges")),
        (
            _HONOURED,
            "",
            _below(prefix, f"{tuning} " + _below(tuning, f"{sizes} VolumeSizeInGB")),
        ),
        (
            _HONOURED,
            "the first of InstanceConfigs: this machine has every type",
            _below(
                prefix,
                _below(
                    tuning,
                    f"AllocationStrategy InstanceConfigs {_below('InstanceConfigs[]', f'{sizes} VolumeSizeInGB')}",
                ),
            ),
        ),
        (_RECORDED, "Clary does not encrypt data", _below(prefix, f"{tuning}.VolumeKmsKeyId")),
    )


ROWS: Mapping[str, tuple[Row, ...]] = {
    "CreateHyperParameterTuningJob": (
        (
            _HONOURED,
            "",
            f"HyperParameterTuningJobName Tags Tags[].Key Tags[].Value {_CONFIG} TrainingJobDefinition TrainingJobDefinitions",
        ),
        (
            _HONOURED,
            "",
            _below(
                _CONFIG,
                """Strategy StrategyConfig StrategyConfig.HyperbandStrategyConfig StrategyConfig.HyperbandStrategyConfig.MinResource
                StrategyConfig.HyperbandStrategyConfig.MaxResource HyperParameterTuningJobObjective
                HyperParameterTuningJobObjective.Type HyperParameterTuningJobObjective.MetricName ResourceLimits
                ResourceLimits.MaxNumberOfTrainingJobs ResourceLimits.MaxParallelTrainingJobs ResourceLimits.MaxRuntimeInSeconds
                TrainingJobEarlyStoppingType TuningJobCompletionCriteria TuningJobCompletionCriteria.TargetObjectiveMetricValue
                TuningJobCompletionCriteria.BestObjectiveNotImproving
                TuningJobCompletionCriteria.BestObjectiveNotImproving.MaxNumberOfTrainingJobsNotImproving
                TuningJobCompletionCriteria.ConvergenceDetected
                TuningJobCompletionCriteria.ConvergenceDetected.CompleteOnConvergence RandomSeed""",
            ),
        ),
        (_HONOURED, "", _ranges(f"{_CONFIG}.ParameterRanges")),
        (
            _HONOURED,
            "",
            """WarmStartConfig WarmStartConfig.ParentHyperParameterTuningJobs
            WarmStartConfig.ParentHyperParameterTuningJobs[].HyperParameterTuningJobName WarmStartConfig.WarmStartType""",
        ),
        (
            _HONOURED,
            "ranges from a tenth of a number's hint to ten times of it; a hint that is no number is refused",
            "Autotune Autotune.Mode",
        ),
        *(row for prefix in DEFINITIONS for row in _definition(prefix)),
    )
}
