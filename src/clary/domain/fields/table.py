"""How Clary treats every field of a request: one table per operation, from which `docs/fields.md` is generated.

*honoured*: it acts as on AWS. *recorded*: kept and shown by Describe, and a line in the job's log says that it has no effect
here. *refused*: ValidationException that names it. *ignored*: taken, without effect, and nothing of AWS's API shows it. *kept*: of a
plain record, which acts by being there; its tables are derived in `api/plain/fields.py`. A field that
the table does not know is refused, and fails the build (tests/domain/fields/test_table.py walks botocore's shapes). Paths are written as
`A.B[].C`; maps end at their own name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from clary.domain.errors import Invalid
from clary.domain.fields import (
    components,
    elsewhere,
    experiments,
    features,
    inference_recommendations,
    mlflow,
    processing,
    serving,
    transform,
    tuning,
)


class Use(StrEnum):
    HONOURED = "honoured"
    RECORDED = "recorded"
    REFUSED = "refused"
    IGNORED = "ignored"
    KEPT = "kept"  # of plain records (`api/plain`): the record is the act


@dataclass(frozen=True, slots=True)
class Field:
    """One path of a request. `why` is for the user: what is missing, or what happens instead."""

    path: str
    use: Use
    why: str = ""


def _table(*rows: tuple[str, str, str]) -> Mapping[str, Field]:
    """Rows are (use, why, paths separated by blanks); a path twice is a mistake in the table."""
    fields: dict[str, Field] = {}
    for use, why, paths in rows:
        for path in paths.split():
            if path in fields:
                raise ValueError(f"{path} is classified twice")
            fields[path] = Field(path, Use(use), why)
    return fields


_HONOURED = Use.HONOURED
_RECORDED = Use.RECORDED
_REFUSED = Use.REFUSED
_RULE = [
    "RuleConfigurationName",
    "LocalPath",
    "S3OutputPath",
    "RuleEvaluatorImage",
    "InstanceType",
    "VolumeSizeInGB",
    "RuleParameters",
]

CREATE_TRAINING_JOB = _table(
    (_HONOURED, "", "TrainingJobName HyperParameters RoleArn Environment Tags Tags[].Key Tags[].Value"),
    (
        _HONOURED,
        "",
        """AlgorithmSpecification AlgorithmSpecification.TrainingImage AlgorithmSpecification.TrainingInputMode
        AlgorithmSpecification.MetricDefinitions AlgorithmSpecification.MetricDefinitions[].Name
        AlgorithmSpecification.MetricDefinitions[].Regex AlgorithmSpecification.ContainerEntrypoint
        AlgorithmSpecification.ContainerArguments""",
    ),
    (
        _HONOURED,
        "every metric's time series is kept, also without this field",
        "AlgorithmSpecification.EnableSageMakerMetricsTimeSeries",
    ),
    (_REFUSED, "algorithm resources are not available yet; name an image", "AlgorithmSpecification.AlgorithmName"),
    (
        _RECORDED,
        "image names select runtimes; Clary uses no registry",
        """AlgorithmSpecification.TrainingImageConfig AlgorithmSpecification.TrainingImageConfig.TrainingRepositoryAccessMode
        AlgorithmSpecification.TrainingImageConfig.TrainingRepositoryAuthConfig
        AlgorithmSpecification.TrainingImageConfig.TrainingRepositoryAuthConfig.TrainingRepositoryCredentialsProviderArn""",
    ),
    (
        _HONOURED,
        "",
        """InputDataConfig InputDataConfig[].ChannelName InputDataConfig[].DataSource InputDataConfig[].DataSource.S3DataSource
        InputDataConfig[].DataSource.S3DataSource.S3Uri InputDataConfig[].DataSource.S3DataSource.S3DataDistributionType
        InputDataConfig[].DataSource.S3DataSource.AttributeNames InputDataConfig[].DataSource.S3DataSource.InstanceGroupNames
        InputDataConfig[].ContentType InputDataConfig[].CompressionType InputDataConfig[].RecordWrapperType
        InputDataConfig[].InputMode InputDataConfig[].ShuffleConfig InputDataConfig[].ShuffleConfig.Seed""",
    ),
    (
        _HONOURED,
        "S3Prefix, ManifestFile, AugmentedManifestFile; Converse is refused",
        "InputDataConfig[].DataSource.S3DataSource.S3DataType",
    ),
    (
        _RECORDED,
        "Clary needs no licence agreement",
        """InputDataConfig[].DataSource.S3DataSource.ModelAccessConfig
        InputDataConfig[].DataSource.S3DataSource.ModelAccessConfig.AcceptEula""",
    ),
    (
        _REFUSED,
        "hubs are not available",
        """InputDataConfig[].DataSource.S3DataSource.HubAccessConfig
        InputDataConfig[].DataSource.S3DataSource.HubAccessConfig.HubContentArn
        InputDataConfig[].DataSource.DatasetSource InputDataConfig[].DataSource.DatasetSource.DatasetArn""",
    ),
    (
        _REFUSED,
        "file systems are not available; put the data into S3",
        """InputDataConfig[].DataSource.FileSystemDataSource InputDataConfig[].DataSource.FileSystemDataSource.FileSystemId
        InputDataConfig[].DataSource.FileSystemDataSource.FileSystemAccessMode
        InputDataConfig[].DataSource.FileSystemDataSource.FileSystemType
        InputDataConfig[].DataSource.FileSystemDataSource.DirectoryPath""",
    ),
    (_HONOURED, "", "OutputDataConfig OutputDataConfig.S3OutputPath OutputDataConfig.CompressionType"),
    (_RECORDED, "Clary does not encrypt data", "OutputDataConfig.KmsKeyId"),
    (
        _HONOURED,
        "",
        """ResourceConfig ResourceConfig.InstanceType ResourceConfig.InstanceCount ResourceConfig.InstanceGroups
        ResourceConfig.InstanceGroups[].InstanceType ResourceConfig.InstanceGroups[].InstanceCount
        ResourceConfig.InstanceGroups[].InstanceGroupName""",
    ),
    (_HONOURED, "as a quota on what a host may write", "ResourceConfig.VolumeSizeInGB"),
    (_RECORDED, "Clary does not encrypt data", "ResourceConfig.VolumeKmsKeyId"),
    (
        _HONOURED,
        "an interpreter that has imported the image's packages waits for the next job with a script, on one host",
        "ResourceConfig.KeepAlivePeriodInSeconds",
    ),
    (
        _REFUSED,
        "training plans and instance preferences are not available; name an InstanceType",
        """ResourceConfig.TrainingPlanArn ResourceConfig.InstancePreferences ResourceConfig.InstancePreferences[].InstanceType
        ResourceConfig.InstancePreferences[].InstanceCount ResourceConfig.InstancePreferences[].TrainingPlanArns
        ResourceConfig.SelectedInstanceType ResourceConfig.SelectedInstanceCount""",
    ),
    (
        _RECORDED,
        "Clary has no UltraServers",
        """ResourceConfig.InstancePlacementConfig ResourceConfig.InstancePlacementConfig.EnableMultipleJobs
        ResourceConfig.InstancePlacementConfig.PlacementSpecifications
        ResourceConfig.InstancePlacementConfig.PlacementSpecifications[].UltraServerId
        ResourceConfig.InstancePlacementConfig.PlacementSpecifications[].InstanceCount""",
    ),
    (
        _RECORDED,
        "Clary has no VPC; EnableNetworkIsolation disables the network",
        "VpcConfig VpcConfig.SecurityGroupIds VpcConfig.Subnets",
    ),
    (
        _HONOURED,
        "",
        "StoppingCondition StoppingCondition.MaxRuntimeInSeconds StoppingCondition.MaxPendingTimeInSeconds",
    ),
    (
        _HONOURED,
        "spot capacity is ordinary capacity; MaxWaitTimeInSeconds limits the wait for it",
        "StoppingCondition.MaxWaitTimeInSeconds EnableManagedSpotTraining",
    ),
    (_HONOURED, "", "EnableNetworkIsolation CheckpointConfig CheckpointConfig.S3Uri CheckpointConfig.LocalPath"),
    (_RECORDED, "the hosts of a job share one machine", "EnableInterContainerTrafficEncryption"),
    (
        _HONOURED,
        "",
        "TensorBoardOutputConfig TensorBoardOutputConfig.LocalPath TensorBoardOutputConfig.S3OutputPath",
    ),
    (
        _RECORDED,
        "the debugger is not available",
        " ".join(
            (
                "DebugHookConfig DebugHookConfig.LocalPath DebugHookConfig.S3OutputPath DebugHookConfig.HookParameters",
                "DebugHookConfig.CollectionConfigurations DebugHookConfig.CollectionConfigurations[].CollectionName",
                "DebugHookConfig.CollectionConfigurations[].CollectionParameters DebugRuleConfigurations",
                *(f"DebugRuleConfigurations[].{name}" for name in _RULE),
            )
        ),
    ),
    (
        _RECORDED,
        "the profiler is not available",
        " ".join(
            (
                "ProfilerConfig ProfilerConfig.S3OutputPath ProfilerConfig.ProfilingIntervalInMilliseconds",
                "ProfilerConfig.ProfilingParameters ProfilerConfig.DisableProfiler ProfilerRuleConfigurations",
                *(f"ProfilerRuleConfigurations[].{name}" for name in _RULE),
            )
        ),
    ),
    (
        _HONOURED,
        "the job's trial component joins the trial, where there is such a one when the job is created",
        """ExperimentConfig ExperimentConfig.ExperimentName ExperimentConfig.TrialName
        ExperimentConfig.TrialComponentDisplayName ExperimentConfig.RunName""",
    ),
    (_HONOURED, "", "RetryStrategy RetryStrategy.MaximumRetryAttempts"),
    (_RECORDED, "log in to the machine instead", "RemoteDebugConfig RemoteDebugConfig.EnableRemoteDebug"),
    (_RECORDED, "`clary doctor` checks this machine", "InfraCheckConfig InfraCheckConfig.EnableInfraCheck"),
    (
        _RECORDED,
        "a role's credentials do not depend on a session",
        "SessionChainingConfig SessionChainingConfig.EnableSessionTagChaining",
    ),
    (
        _REFUSED,
        "serverless customization of models is not available",
        """ServerlessJobConfig ServerlessJobConfig.BaseModelArn ServerlessJobConfig.AcceptEula ServerlessJobConfig.JobType
        ServerlessJobConfig.CustomizationTechnique ServerlessJobConfig.Peft ServerlessJobConfig.EvaluationType
        ServerlessJobConfig.EvaluatorArn ServerlessJobConfig.SequenceLength""",
    ),
    (
        _REFUSED,
        "MLflow tracking servers are not available",
        "MlflowConfig MlflowConfig.MlflowResourceArn MlflowConfig.MlflowExperimentName MlflowConfig.MlflowRunName",
    ),
    (
        _REFUSED,
        "a job registers no model; give its S3ModelArtifacts to CreateModelPackage",
        "ModelPackageConfig ModelPackageConfig.ModelPackageGroupArn ModelPackageConfig.SourceModelPackageArn",
    ),
)


UPDATE_TRAINING_JOB = _table(
    (_HONOURED, "", "TrainingJobName"),
    (
        _HONOURED,
        "while the warm pool is Available; 0 ends it",
        "ResourceConfig ResourceConfig.KeepAlivePeriodInSeconds",
    ),
    (
        _REFUSED,
        "jobs are not profiled",
        """ProfilerConfig ProfilerConfig.S3OutputPath ProfilerConfig.ProfilingIntervalInMilliseconds
        ProfilerConfig.ProfilingParameters ProfilerConfig.DisableProfiler ProfilerRuleConfigurations
        ProfilerRuleConfigurations[].RuleConfigurationName ProfilerRuleConfigurations[].LocalPath
        ProfilerRuleConfigurations[].S3OutputPath ProfilerRuleConfigurations[].RuleEvaluatorImage
        ProfilerRuleConfigurations[].InstanceType ProfilerRuleConfigurations[].VolumeSizeInGB
        ProfilerRuleConfigurations[].RuleParameters""",
    ),
    (_REFUSED, "log in to the machine instead", "RemoteDebugConfig RemoteDebugConfig.EnableRemoteDebug"),
)


def _shared(prefix: str) -> Iterator[tuple[str, Field]]:
    """What a tuning job's definition has of CreateTrainingJob's fields, classified alike."""
    for path, field in CREATE_TRAINING_JOB.items():
        root = any(path == top or path.startswith((f"{top}.", f"{top}[]")) for top in tuning.SHARED)
        if root:
            yield f"{prefix}.{path}", Field(f"{prefix}.{path}", field.use, field.why)


CREATE_TUNING_JOB: Mapping[str, Field] = {
    **_table(*tuning.ROWS["CreateHyperParameterTuningJob"]),
    **{path: field for prefix in tuning.DEFINITIONS for path, field in _shared(prefix)},
}

OPERATIONS: Mapping[str, Mapping[str, Field]] = {
    "CreateTrainingJob": CREATE_TRAINING_JOB,
    "UpdateTrainingJob": UPDATE_TRAINING_JOB,
    "CreateHyperParameterTuningJob": CREATE_TUNING_JOB,
    **{name: _table(*rows) for name, rows in processing.ROWS.items()},
    "CreateTransformJob": _table(*transform.CREATE_TRANSFORM_JOB),
    **{name: _table(*rows) for name, rows in serving.ROWS.items()},
    **{name: _table(*rows) for name, rows in components.ROWS.items()},
    **{name: _table(*rows) for name, rows in features.ROWS.items()},
    **{name: _table(*rows) for name, rows in mlflow.ROWS.items()},
    **{name: _table(*rows) for name, rows in experiments.ROWS.items()},
    **{name: _table(*rows) for name, rows in inference_recommendations.ROWS.items()},
}


ELSEWHERE: Mapping[str, Mapping[str, Field]] = {name: _table(*rows) for name, rows in elsewhere.ROWS.items()}


def given(params: Mapping[str, Any], table: Mapping[str, Field]) -> Iterator[str]:
    """The paths of a request that carry something: empty texts, lists, maps and structures are as good as not sent, and so is
    a switch that is off."""
    yield from _given(params, "", table)


def _given(value: Any, path: str, table: Mapping[str, Field]) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, member in value.items():
            below = f"{path}.{name}" if path else name
            if member is None or member is False or member in ("", [], {}):
                continue
            yield below
            # A map (HyperParameters, Environment) has free keys: it ends at its own name. A structure has rows below it.
            if isinstance(member, Mapping) and not any(row.startswith(f"{below}.") for row in table) and below in table:
                continue
            yield from _given(member, below, table)
    elif isinstance(value, list):
        for item in value:
            yield from _given(item, f"{path}[]", table)


def check(operation: str, params: Mapping[str, Any], strict: bool = False) -> list[Field]:
    """The recorded fields that were given, topmost only. Invalid names the refused ones (and the recorded ones if `strict`)."""
    table = OPERATIONS[operation]
    seen = dict.fromkeys(given(params, table))
    refused: list[str] = []
    recorded: list[Field] = []
    for path in seen:
        field = table.get(path) or Field(path, Use.REFUSED, "this version of Clary does not know it")
        above = path.rpartition(".")[0].removesuffix("[]")
        if field.use is Use.REFUSED and not _within(above, table, Use.REFUSED):
            refused.append(f"{path} ({field.why})")
        elif field.use is Use.RECORDED and not _within(above, table, Use.RECORDED):
            recorded.append(field)
    if refused:
        raise Invalid(f"Clary does not support: {', '.join(refused)}. See docs/fields.md.")
    if strict and recorded:
        names = ", ".join(f"{field.path} ({field.why})" for field in recorded)
        raise Invalid(f"These fields have no effect in Clary, and strict_fields refuses them: {names}.")
    return recorded


def check_elsewhere(service: str, operation: str, params: Mapping[str, Any], strict: bool = False) -> None:
    """Invalid names the members of other operations that are refused (and those that are ignored if `strict`)."""
    table = ELSEWHERE.get(f"{service} {operation}")
    if table is None:
        return
    check_without_effect(table, params, strict)


def check_without_effect(table: Mapping[str, Field], params: Mapping[str, Any], strict: bool) -> None:
    """Invalid names what of a table of refused and ignored members was given: the refused, and if `strict` the others."""
    seen = [table[path] for path in dict.fromkeys(given(params, {})) if path in table]
    refused = [field for field in seen if field.use is Use.REFUSED]
    if refused:
        names = ", ".join(f"{field.path} ({field.why})" for field in refused)
        raise Invalid(f"Clary does not support: {names}. See docs/fields.md.")
    if strict and seen:
        names = ", ".join(f"{field.path} ({field.why})" for field in seen)
        raise Invalid(f"These fields have no effect in Clary, and strict_fields refuses them: {names}.")


def _within(path: str, table: Mapping[str, Field], use: Use) -> bool:
    """Is the field above classified alike? Then it speaks for its members."""
    return path in table and table[path].use is use


Tables = Mapping[str, Mapping[str, Field]]


def render(plain: Tables, plain_others: Tables) -> str:
    """`docs/fields.md`. `plain` are the tables of plain records, one row for a member and all below it; `plain_others` what their other
    operations ignore or refuse."""
    lines = [
        "# What Clary does with each field",
        "",
        "Generated from `clary/domain/fields/table.py` and `clary/api/plain/fields.py`; do not edit. *honoured*: works as on AWS.",
        "*recorded*: stored and shown by Describe, without effect (the job's log says so; the setting `strict_fields` refuses it).",
        "*kept*: stored and shown, which is all that is asked of a record. *refused*: ValidationException. *ignored*: accepted without",
        "effect, and not shown by AWS's API (`strict_fields` refuses it).",
    ]
    for operation, table in OPERATIONS.items():
        lines += ["", f"## {operation}", "", "| field | use | note |", "|---|---|---|"]
        lines += [f"| `{field.path}` | {field.use} | {field.why} |" for _, field in sorted(table.items())]
    lines += [
        "",
        "## Plain records",
        "",
        "A field here stands for all that is below it.",
        "",
        "| operation | honoured | kept | refused or ignored |",
        "|---|---|---|---|",
    ]
    for operation, table in sorted(plain.items()):
        lines.append(
            f"| {operation} | {_named(table, Use.HONOURED)} | {_named(table, Use.KEPT)} | {_explained(table)} |"
        )
    lines += [
        "",
        "## Other operations",
        "",
        "Every other member of the operations that are done is honoured. Policies are stored and shown, but not enforced.",
        "",
    ]
    lines += ["| operation | field | use | note |", "|---|---|---|---|"]
    others = {**ELSEWHERE, **{f"sagemaker {name}": table for name, table in plain_others.items()}}
    for name, table in sorted(others.items()):
        lines += [f"| {name} | `{field.path}` | {field.use} | {field.why} |" for _, field in sorted(table.items())]
    return "\n".join(lines) + "\n"


def _named(table: Mapping[str, Field], use: Use) -> str:
    return ", ".join(f"`{field.path}`" for field in table.values() if field.use is use) or "-"


def _explained(table: Mapping[str, Field]) -> str:
    rows = [field for field in table.values() if field.use in (Use.REFUSED, Use.IGNORED)]
    return "; ".join(f"`{field.path}` {field.use}: {field.why}" for field in rows) or "-"
