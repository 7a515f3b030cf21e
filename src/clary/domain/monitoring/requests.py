"""The processing jobs of a monitoring execution: their CreateProcessingJob requests. Pure.

Names of inputs and paths are those that AWS's own monitoring jobs have (`endpoint_input_1`, `baseline`, `constraints`). Steps: `merge`
joins captured records with labels, `analysis` judges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from clary.domain.monitoring import record as monitoring
from clary.domain.monitoring.definitions import BIAS, MONITOR_KINDS, Monitor
from clary.domain.resources import Record

ANALYSIS, MERGE = "analysis", "merge"
_TRUTH, _MERGED = "/opt/ml/processing/groundtruth", "/opt/ml/processing/merge"
_MERGER = "sagemaker-model-monitor-groundtruth-merger"
_ACCOUNT = "156813124566.dkr.ecr.us-east-1.amazonaws.com"
INPUTS = 5  # prefixes of captured data that a job gets; it may have ten inputs, and four are for other things
_LEVELS = ("%Y/%m/%d/%H", "%Y/%m/%d", "%Y/%m", "%Y")


@dataclass(frozen=True, slots=True)
class Captured:
    """A place of captured data: a prefix or, of a transform job's capture, a manifest. `path` is its folder below the input's LocalPath."""

    uri: str
    path: str
    manifest: bool = False


@dataclass(frozen=True, slots=True)
class Baseline:
    """URIs of a baseline's reports; "" without one."""

    constraints: str = ""
    statistics: str = ""


def steps(monitor: Monitor) -> tuple[str, ...]:
    """The jobs of an execution, in order."""
    return (MERGE, ANALYSIS) if monitor.truth else (ANALYSIS,)


def hours(start: float, end: float) -> list[str]:
    """The folders of the hours that a window touches, as capture names them."""
    hour = datetime.fromtimestamp(start, UTC).replace(minute=0, second=0, microsecond=0)
    found: list[str] = []
    while hour.timestamp() < end:
        found.append(f"{hour:{_LEVELS[0]}}")
        hour += timedelta(hours=1)
    return found


def days(start: float, end: float) -> list[str]:
    """The folders of its days."""
    return sorted({hour[:10] for hour in hours(start, end)})


def coarse(folders: Sequence[str], most: int) -> list[str]:
    """As few folders as are allowed that hold all of these: hours, else days, months, years; [""] for the folder above."""
    for depth in (4, 3, 2, 1):
        found = sorted({"/".join(folder.split("/")[:depth]) for folder in folders})
        if len(found) <= most:
            return found
    return [""]


def output_uri(execution: Record, monitor: Monitor, step: str = ANALYSIS) -> str:
    """Where a step's reports go: by endpoint, schedule and hour, as on AWS."""
    at = datetime.fromtimestamp(execution.created, UTC)
    parts = [
        str(monitor.output["S3Uri"]).rstrip("/"),
        *(["merge"] if step == MERGE else []),
        *([monitor.endpoint] if monitor.endpoint else []),
        str(execution.document["schedule"]),
        f"{at:%Y/%m/%d/%H}",
    ]
    return "/".join(parts)


def request(
    execution: Record, monitor: Monitor, step: str, captured: Sequence[Captured], baseline: Baseline
) -> dict[str, Any]:
    """The CreateProcessingJob request of a step."""
    merging = step == MERGE
    local = str(monitor.input["LocalPath"]).rstrip("/")
    merged = bool(monitor.truth) and not merging
    inputs = [_captured(monitor, each, number, local) for number, each in enumerate(captured, 1)]
    if merged:
        inputs = [_input("merged_data", output_uri(execution, monitor, MERGE), _MERGED)]
    source = _MERGED if merged else local
    environment = {**monitor.environment, **_environment(execution, monitor, source)}
    if merging:
        inputs.append(_input("ground_truth", monitor.truth, _TRUTH))
        environment |= {"analysis_type": "MERGE", "ground_truth_source": _TRUTH, "output_path": _MERGED}
        output = {"S3Uri": output_uri(execution, monitor, MERGE), "LocalPath": _MERGED, "S3UploadMode": "EndOfJob"}
    else:
        more, told = _beside(monitor, baseline, config_uri(execution, monitor) if monitor.config else "")
        inputs += more
        environment |= told
        output = {
            "S3Uri": output_uri(execution, monitor),
            "LocalPath": monitor.output["LocalPath"],
            "S3UploadMode": monitor.output.get("S3UploadMode") or "EndOfJob",
        }
    application: dict[str, Any] = {"ImageUri": _merger(monitor.image) if merging else monitor.image}
    if not merging:
        application |= {"ContainerEntrypoint": monitor.entrypoint} if monitor.entrypoint else {}
        application |= {"ContainerArguments": monitor.arguments} if monitor.arguments else {}
    stored = {"Outputs": [{"OutputName": "result", "S3Output": output}]}
    return {
        "ProcessingJobName": monitoring.job_name(execution, step),
        "ProcessingInputs": inputs,
        "ProcessingOutputConfig": {**stored, **({"KmsKeyId": monitor.key} if monitor.key else {})},
        "ProcessingResources": {"ClusterConfig": {**monitor.cluster, "InstanceCount": 1}},
        "StoppingCondition": {"MaxRuntimeInSeconds": monitor.max_runtime},
        "AppSpecification": application,
        "Environment": environment,
        "RoleArn": monitor.role,
        **({"NetworkConfig": monitor.network} if monitor.network else {}),
    }


def config_uri(execution: Record, monitor: Monitor) -> str:
    """Where the analysis configuration of a bias or explainability job is put, completed for its data."""
    return f"{str(monitor.output['S3Uri']).rstrip('/')}/config/{monitoring.job_name(execution, ANALYSIS)}/analysis_config.json"


def analysis_config(monitor: Monitor, given: Mapping[str, Any]) -> dict[str, Any]:
    """A monitor's configuration, which says only what is analysed, with what Clarify must know of the data: its form, and where the
    prediction is in an answer."""
    config: dict[str, Any] = {**given, "dataset_type": _dataset_type(monitor)}
    told = monitor.input
    if told.get("FeaturesAttribute"):
        config.setdefault("features", told["FeaturesAttribute"])
    if told.get("ProbabilityThresholdAttribute") is not None:
        config.setdefault("probability_threshold", told["ProbabilityThresholdAttribute"])
    named = {"label": "InferenceAttribute", "probability": "ProbabilityAttribute"}
    where = {name: _place(told[member]) for name, member in named.items() if _given(monitor, member)}
    if monitor.type == BIAS and monitor.endpoint and "predictor" not in config:
        # The captured answers are read; the endpoint is named because an analysis of predictions needs one.
        config["predictor"] = {"endpoint_name": monitor.endpoint, **where}
    elif monitor.type == BIAS and "predicted_label" not in config and "label" in where:
        config["predicted_label"] = where["label"]
    elif "predictor" in config:
        config["predictor"] = {**where, **config["predictor"]}
    return config


def _place(attribute: str) -> int | str:
    """An index, where it is one."""
    return int(attribute) if attribute.isdigit() else attribute


def _dataset_type(monitor: Monitor) -> str:
    if not monitor.batch or monitor.truth:
        return "application/sagemakercapturejson"
    kind = next(iter(monitor.input["DatasetFormat"]), "Csv")
    return {"Csv": "text/csv", "Json": "application/jsonlines", "Parquet": "application/x-parquet"}[kind]


def _merger(image: str) -> str:
    """The merger's image, of the registry that the analyzer's comes from; a user's own registry has none."""
    registry, _, name = image.rpartition("/")
    return f"{registry if 'sagemaker' in name and registry else _ACCOUNT}/{_MERGER}"


def _captured(monitor: Monitor, each: Captured, number: int, local: str) -> dict[str, Any]:
    name = "batch_transform_input" if monitor.batch else "endpoint_input"
    source = _input(f"{name}_{number}", each.uri, f"{local}/{each.path}".rstrip("/"))
    source["S3Input"] |= {"S3DataDistributionType": monitor.input.get("S3DataDistributionType") or "FullyReplicated"}
    if each.manifest:
        source["S3Input"]["S3DataType"] = "ManifestFile"
    return source


def _input(name: str, uri: str, path: str) -> dict[str, Any]:
    given = {"S3Uri": uri, "LocalPath": path, "S3DataType": "S3Prefix", "S3InputMode": "File"}
    return {"InputName": name, "AppManaged": False, "S3Input": given}


_ATTRIBUTES = {
    "InferenceAttribute": "inference_attribute",
    "ProbabilityAttribute": "probability_attribute",
    "ProbabilityThresholdAttribute": "probability_threshold_attribute",
    "FeaturesAttribute": "features_attribute",
    "ExcludeFeaturesAttribute": "exclude_features_attribute",
}


def _environment(execution: Record, monitor: Monitor, source: str) -> dict[str, str]:
    start, end = execution.document["window"]
    found = {
        "dataset_format": _format(monitor),
        "dataset_source": source,
        "output_path": str(monitor.output["LocalPath"]),
        "start_time": monitoring.iso(start),
        "end_time": monitoring.iso(end),
        "sagemaker_monitoring_schedule_name": str(execution.document["schedule"]),
        "publish_cloudwatch_metrics": monitor.environment.get("publish_cloudwatch_metrics", "Enabled"),
    }
    kind = MONITOR_KINDS[monitor.type]
    optional = {
        "sagemaker_endpoint_name": monitor.endpoint,
        "analysis_type": kind.analysis,
        "problem_type": monitor.problem,
        **{told: str(monitor.input[name]) for name, told in _ATTRIBUTES.items() if _given(monitor, name)},
    }
    return {**found, **{name: value for name, value in optional.items() if value}}


def _given(monitor: Monitor, name: str) -> bool:
    """Whether an attribute of the input is there: SDK v2 writes "None" where there is none."""
    return monitor.input.get(name) not in (None, "", "None")


def _format(monitor: Monitor) -> str:
    """As the container is told: the API's own names are others."""
    if not monitor.batch:
        return '{"sagemakerCaptureJson": {"captureIndexNames": ["endpointInput", "endpointOutput"]}}'
    given: Mapping[str, Any] = monitor.input["DatasetFormat"]
    if "Csv" in given:
        return f'{{"csv": {{"header": {str(bool(given["Csv"].get("Header"))).lower()}}}}}'
    if "Json" in given:
        return f'{{"json": {{"lines": {str(bool(given["Json"].get("Line", True))).lower()}}}}}'
    return '{"parquet": {}}'


def _beside(monitor: Monitor, baseline: Baseline, config: str) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Inputs besides the data, and the variables that tell their paths."""
    top = "/opt/ml/processing"
    given = (
        ("constraints", baseline.constraints, f"{top}/baseline/constraints", "baseline_constraints"),
        ("baseline", baseline.statistics, f"{top}/baseline/stats", "baseline_statistics"),
        ("pre_processor_script", monitor.preprocessor, f"{top}/code/preprocessing", "record_preprocessor_script"),
        (
            "post_processor_script",
            monitor.postprocessor,
            f"{top}/code/postprocessing",
            "post_analytics_processor_script",
        ),
        ("analysis_config", config, f"{top}/input/config", ""),
    )
    inputs, told = [], {}
    for name, uri, path, variable in given:
        if not uri:
            continue
        inputs.append(_input(name, uri, path))
        if variable:
            told[variable] = f"{path}/{uri.rpartition('/')[2]}"
    return inputs, told
