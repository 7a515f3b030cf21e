"""Job definitions of monitors: the four kinds are rows; `Monitor` is what any of them, or a schedule's inline definition, asks for. Pure.

Source: SageMaker API reference (Create*JobDefinition, MonitoringJobDefinition).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from clary.domain.errors import Invalid
from clary.domain.jobs.processing import local_path
from clary.domain.monitoring import windows
from clary.domain.s3 import parse_uri

DATA, QUALITY, BIAS, EXPLAINABILITY = "DataQuality", "ModelQuality", "ModelBias", "ModelExplainability"
_DEFAULT_RUNTIME = 86_400
_LONGEST_DELAY = 86_400.0  # seconds from StartTimeOffset to EndTimeOffset


@dataclass(frozen=True, slots=True)
class MonitorKind:
    """A row. `type` is botocore's MonitoringType and begins the members of its requests; `kind` is of its definitions' records; `analysis`
    is what the analyzer is told; `metrics` ends its namespaces; `job` begins the names of its processing jobs."""

    type: str
    kind: str
    analysis: str
    metrics: str
    job: str


MONITOR_KINDS: Mapping[str, MonitorKind] = {
    row.type: row
    for row in (
        MonitorKind(DATA, "data-quality-job-definition", "", "data-metrics", "model-monitoring"),
        MonitorKind(
            QUALITY, "model-quality-job-definition", "MODEL_QUALITY", "model-metrics", "model-quality-monitoring"
        ),
        MonitorKind(BIAS, "model-bias-job-definition", "MODEL_BIAS", "bias-metrics", "model-bias-monitoring"),
        MonitorKind(
            EXPLAINABILITY,
            "model-explainability-job-definition",
            "MODEL_EXPLAINABILITY",
            "explainability-metrics",
            "model-explainability-monitoring",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Monitor:
    """What is to be run. `input` is an EndpointInput or, with `batch`, a BatchTransformInput; `truth` where labels are; `output` an
    S3Output; `constraints`, `statistics` are URIs, or those of the reports of `baselining`, a processing job. JSON values."""

    type: str
    image: str
    role: str
    input: Mapping[str, Any]
    output: Mapping[str, Any]
    cluster: Mapping[str, Any]
    batch: bool = False
    entrypoint: list[str] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)
    environment: Mapping[str, str] = field(default_factory=dict)
    preprocessor: str = ""
    postprocessor: str = ""
    config: str = ""
    problem: str = ""
    truth: str = ""
    key: str = ""
    constraints: str = ""
    statistics: str = ""
    baselining: str = ""
    network: Mapping[str, Any] = field(default_factory=dict)
    max_runtime: int = _DEFAULT_RUNTIME

    @property
    def endpoint(self) -> str:
        """The name of the endpoint that is watched; "" of one that reads a transform job's capture."""
        return "" if self.batch else str(self.input["EndpointName"])

    def stored(self) -> dict[str, Any]:
        return asdict(self)


def loaded(stored: Mapping[str, Any]) -> Monitor:
    return Monitor(**stored)


def of_definition(type_: str, request: Mapping[str, Any]) -> Monitor:
    """Of a Create*JobDefinition request."""
    application = request[f"{type_}AppSpecification"]
    given = request[f"{type_}JobInput"]
    return _monitor(
        type_,
        application,
        application.get("Environment") or {},
        given,
        (given.get("GroundTruthS3Input") or {}).get("S3Uri") or "",
        request[f"{type_}JobOutputConfig"],
        request.get(f"{type_}BaselineConfig") or {},
        request["JobResources"],
        request,
    )


def of_inline(definition: Mapping[str, Any]) -> Monitor:
    """Of the MonitoringJobDefinition of a schedule: always of data quality."""
    return _monitor(
        DATA,
        definition["MonitoringAppSpecification"],
        definition.get("Environment") or {},
        definition["MonitoringInputs"][0],
        "",
        definition["MonitoringOutputConfig"],
        definition.get("BaselineConfig") or {},
        definition["MonitoringResources"],
        definition,
    )


def _monitor(
    type_: str,
    application: Mapping[str, Any],
    environment: Mapping[str, str],
    given: Mapping[str, Any],
    truth: str,
    output: Mapping[str, Any],
    baseline: Mapping[str, Any],
    resources: Mapping[str, Any],
    rest: Mapping[str, Any],
) -> Monitor:
    sources = [name for name in ("EndpointInput", "BatchTransformInput") if given.get(name)]
    if len(sources) != 1:
        raise Invalid("Give exactly one of EndpointInput and BatchTransformInput.")
    return Monitor(
        type=type_,
        image=application["ImageUri"],
        role=rest["RoleArn"],
        input=dict(given[sources[0]]),
        output=dict(output["MonitoringOutputs"][0]["S3Output"]),
        cluster=dict(resources["ClusterConfig"]),
        batch=sources[0] == "BatchTransformInput",
        entrypoint=list(application.get("ContainerEntrypoint") or ()),
        arguments=list(application.get("ContainerArguments") or ()),
        environment=dict(environment),
        preprocessor=application.get("RecordPreprocessorSourceUri") or "",
        postprocessor=application.get("PostAnalyticsProcessorSourceUri") or "",
        config=application.get("ConfigUri") or "",
        problem=application.get("ProblemType") or "",
        truth=truth,
        key=output.get("KmsKeyId") or "",
        constraints=(baseline.get("ConstraintsResource") or {}).get("S3Uri") or "",
        statistics=(baseline.get("StatisticsResource") or {}).get("S3Uri") or "",
        baselining=baseline.get("BaseliningJobName") or "",
        network=dict(rest.get("NetworkConfig") or {}),
        max_runtime=int((rest.get("StoppingCondition") or {}).get("MaxRuntimeInSeconds") or _DEFAULT_RUNTIME),
    )


def check(monitor: Monitor) -> None:
    """Invalid for what could never run."""
    local_path(monitor.input["LocalPath"], "The monitoring input")
    local_path(monitor.output["LocalPath"], "The monitoring output")
    if monitor.input.get("S3InputMode") == "Pipe":
        raise Invalid("S3InputMode Pipe is not supported for monitoring inputs: the analyzer reads files. Use File.")
    uris = [
        monitor.output["S3Uri"],
        monitor.input.get("DataCapturedDestinationS3Uri"),
        monitor.constraints,
        monitor.statistics,
        monitor.truth,
        monitor.config,
        monitor.preprocessor,
        monitor.postprocessor,
    ]
    for uri in filter(None, uris):
        parse_uri(uri)
    if monitor.type in (QUALITY, BIAS) and not monitor.truth:
        raise Invalid(
            f"{monitor.type}JobInput.GroundTruthS3Input needs an S3Uri: labels are compared with predictions."
        )
    if monitor.type == QUALITY and not monitor.problem:
        raise Invalid("ModelQualityAppSpecification.ProblemType is needed.")
    start, end = (
        windows.offset(monitor.input.get(f"{which}TimeOffset") or "", f"{which}TimeOffset")
        for which in ("Start", "End")
    )
    if start is not None and end is not None and not 0 < end - start <= _LONGEST_DELAY:
        raise Invalid(
            "EndTimeOffset must be later than StartTimeOffset, by at most 24 hours: "
            f"{monitor.input['StartTimeOffset']} and {monitor.input['EndTimeOffset']} are not."
        )
