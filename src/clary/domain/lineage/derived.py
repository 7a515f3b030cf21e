"""What Clary records by itself of a job, a model package, an endpoint: a trial component, artifacts, actions, contexts, associations.

Names follow from the resource, so that it can be done again at any time. A component's `followed` is the version of the job that it shows.
A job: data and image -> component -> model or data. An endpoint: the model's data -> deployment -> endpoint -> (what is deployed) -> the
model, in which the second half is for SDK v2's `EndpointContext.models()`; the model there is another artifact than its data, so that
there is no circle.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from clary.domain.conditions import number
from clary.domain.endpoints import life
from clary.domain.experiments import components, metrics
from clary.domain.lineage.entities import (
    JOBS,
    LINEAGE_TYPES,
    arn,
    artifact_name,
    entity_document,
    hashed,
)
from clary.domain.resources import Record

SOURCES = (*JOBS, "model-package", "endpoint")
_LONGEST = 2500  # characters of a parameter's text
_OWN = ("Status", "StartTime", "EndTime", "Parameters", "InputArtifacts", "OutputArtifacts")


@dataclass(frozen=True, slots=True)
class Derived:
    """`component` of a job, else None; `entities` besides; `edges` between all of these: (source, destination, type)."""

    component: Record | None
    entities: tuple[Record, ...]
    edges: tuple[tuple[Record, Record, str], ...]


def derived(record: Record) -> Derived:
    """All that is recorded of the resource as it is now. Nothing of other kinds."""
    if record.kind in JOBS:
        return _of_job(record)
    edges = tuple(_of_package(record) if record.kind == "model-package" else _of_endpoint(record))
    found = {each.arn: each for source, destination, _ in edges for each in (source, destination)}
    return Derived(None, tuple(found.values()), edges)


# -- jobs ---------------------------------------------------------------------------------------------------------------------


def component_name(record: Record) -> str:
    """<job>-aws-training-job and the like, as AWS has it."""
    return f"{record.name}-aws-{record.kind}"


def _of_job(record: Record) -> Derived:
    component = _component(record)
    inputs, outputs = dict(_inputs_by_name(record)), dict(_outputs(record))
    edges: list[tuple[Record, Record, str]] = []
    for name, uri in inputs.items():
        if name == "SageMaker.ImageUri":
            edges.append((_artifact(record, uri, "Image"), component, "ContributedTo"))
        elif _read(record):
            edges.append((_data(record, name, uri), component, "ContributedTo"))
    for uri, type_ in outputs.items():
        if uri not in inputs.values():  # a job that writes where it reads would come of itself
            edges.append((component, _artifact(record, uri, type_), "Produced"))
    found = {
        each.arn: each for source, destination, _ in edges for each in (source, destination) if each is not component
    }
    return Derived(component, tuple(found.values()), tuple(edges))


def _component(record: Record) -> Record:
    document, request = record.document, record.document["request"]
    name = component_name(record)
    config = request.get("ExperimentConfig") or {}
    status: dict[str, Any] = {"PrimaryStatus": record.status}
    if document.get("failure"):
        status["Message"] = str(document["failure"])[:1024]
    shown: dict[str, Any] = {
        "TrialComponentName": name,
        "DisplayName": config.get("TrialComponentDisplayName") or name,
        "Status": status,
        "Parameters": _parameters(request),
        "InputArtifacts": _named(_inputs_by_name(record)),
        "OutputArtifacts": _named(_outputs_by_name(record)),
    }
    for member, key in (("StartTime", "started"), ("EndTime", "ended")):
        if key in document:
            shown[member] = document[key]
    made = {"request": shown, "tags": [], "followed": record.version}
    made = components.sourced(components.placed(made, ()), record.arn, f"SageMaker{JOBS[record.kind]}")
    summaries = metrics.fold(
        {},
        [
            metrics.Point(each["MetricName"], None, float(each["Timestamp"]), float(each["Value"]))
            for each in document.get("metrics") or ()
        ],
    )
    if summaries:
        made["final"] = summaries
    return Record(
        components.KIND,
        record.scope,
        name,
        arn(record.scope, components.KIND, name),
        "",
        record.created,
        record.modified,
        made,
    )


def followed(stored: Record, fresh: Record, now: float) -> Record | None:
    """The stored component with what its job tells; None when it tells nothing new. What users added stays."""
    if stored.document.get("followed", 0) >= fresh.document["followed"]:
        return None
    request, told = dict(stored.document["request"]), fresh.document["request"]
    for member in _OWN:
        if member not in told:
            continue
        value = told[member]
        both = isinstance(value, Mapping) and member != "Status"
        request[member] = {**(request.get(member) or {}), **value} if both else value
    document = {**stored.document, "request": request, "followed": fresh.document["followed"]}
    if "final" in fresh.document:
        document["final"] = fresh.document["final"]
    if {**document, "followed": 0} == {**stored.document, "followed": 0}:
        return None  # a job's record changes many times a second, what is shown of it a few times
    return replace(stored, document=document, modified=now)


def mark(found: Derived) -> tuple[object, ...]:
    """What is to be recorded, without the version of the job: equal where the same would be recorded again."""
    component = found.component
    shown = None if component is None else (component.document["request"], component.document.get("final"))
    edges = tuple((source.arn, destination.arn, type_) for source, destination, type_ in found.edges)
    return shown, tuple(each.arn for each in found.entities), edges


def _parameters(request: Mapping[str, Any]) -> dict[str, Any]:
    """Hyperparameters or environment, and what it runs on."""
    told = dict(request.get("HyperParameters") or request.get("Environment") or {})
    cluster = request.get("ResourceConfig") or request.get("TransformResources") or {}
    cluster = cluster or (request.get("ProcessingResources") or {}).get("ClusterConfig") or {}
    for member in ("InstanceType", "InstanceCount", "VolumeSizeInGB"):
        if member in cluster:
            told[f"SageMaker.{member}"] = cluster[member]
    found: dict[str, Any] = {}
    for key, value in list(told.items())[: components.PARAMETERS]:
        as_number = float(value) if isinstance(value, int | float) else number(str(value))
        known = as_number is not None
        found[key] = {"NumberValue": as_number} if known else {"StringValue": str(value)[:_LONGEST]}
    return found


def _named(pairs: Iterator[tuple[str, str]]) -> dict[str, Any]:
    return {name: {"Value": uri} for name, uri in list(pairs)[: components.ARTIFACTS]}


def _inputs_by_name(record: Record) -> Iterator[tuple[str, str]]:
    request = record.document["request"]
    for each in request.get("InputDataConfig") or ():
        uri = ((each.get("DataSource") or {}).get("S3DataSource") or {}).get("S3Uri")
        if uri:
            yield each["ChannelName"], uri
    for each in request.get("ProcessingInputs") or ():
        uri = (each.get("S3Input") or {}).get("S3Uri")
        if uri:
            yield each["InputName"], uri
    source = ((request.get("TransformInput") or {}).get("DataSource") or {}).get("S3DataSource") or {}
    if source.get("S3Uri"):
        yield "SageMaker.TransformInput", source["S3Uri"]
    image = _image(request)
    if image:
        yield "SageMaker.ImageUri", image


def _outputs_by_name(record: Record) -> Iterator[tuple[str, str]]:
    request = record.document["request"]
    if record.document.get("artifacts"):
        yield "SageMaker.ModelArtifact", str(record.document["artifacts"])
    for each in (request.get("ProcessingOutputConfig") or {}).get("Outputs") or ():
        uri = (each.get("S3Output") or {}).get("S3Uri")
        if uri:
            yield each["OutputName"], uri
    path = (request.get("TransformOutput") or {}).get("S3OutputPath")
    if path:
        yield "SageMaker.TransformOutput", path


def _image(request: Mapping[str, Any]) -> str:
    training = (request.get("AlgorithmSpecification") or {}).get("TrainingImage")
    return str(training or (request.get("AppSpecification") or {}).get("ImageUri") or "")


def _read(record: Record) -> bool:
    """Its data was read: by then it is known which objects they were."""
    return record.status not in ("InProgress", "Stopping") or "channels" in record.document.get("work", {})


def _data(record: Record, name: str, uri: str) -> Record:
    """The data of a channel: with the digest of its objects it is another artifact when any of them changed. Properties: their ETags."""
    told = record.document.get("work", {}).get("channels", {}).get("objects", {}).get(name)
    if not told:
        return _artifact(record, uri, "DataSet")
    source = {"SourceUri": uri, "SourceTypes": [{"SourceIdType": "Custom", "Value": told["digest"]}]}
    properties = {"Objects": str(told["count"]), **{f"s3:{key}": etag for key, etag in told["first"]}}
    request = {"Source": source, "ArtifactType": "DataSet", "Properties": properties}
    return _made(record, "artifact", artifact_name(source), request)


def _outputs(record: Record) -> Iterator[tuple[str, str]]:
    """Only of a job that completed: before, there is nothing."""
    if record.status == "Completed":
        for name, uri in _outputs_by_name(record):
            yield uri, "Model" if name == "SageMaker.ModelArtifact" else "DataSet"


# -- packages and endpoints -----------------------------------------------------------------------------------------------------


def _of_package(record: Record) -> Iterator[tuple[Record, Record, str]]:
    request = record.document["request"]
    package = _artifact(record, record.arn, "ModelPackage")
    for each in (request.get("InferenceSpecification") or {}).get("Containers") or ():
        if each.get("ModelDataUrl"):
            yield _artifact(record, each["ModelDataUrl"], "Model"), package, "ContributedTo"
    group = record.document.get("group")
    if group:
        of = arn(record.scope, "model-package-group", str(group))
        yield package, _entity(record, "context", f"{group}-{hashed(of)[:8]}", "ModelGroup", of), "AssociatedWith"
        status = str(request.get("ModelApprovalStatus", ""))
        if status and status != "PendingManualApproval":
            name = f"{group}-{record.document['version']}-{status.lower()}-{hashed(record.arn)[:8]}"
            yield (
                package,
                _entity(record, "action", name, "Approval", record.arn, {"Status": "Completed"}),
                "ContributedTo",
            )


def _of_endpoint(record: Record) -> Iterator[tuple[Record, Record, str]]:
    shown = life.plant_of(record).serving
    if shown is None:
        return
    mark = hashed(record.arn, shown.config)[:8]
    context = _entity(record, "context", f"{record.name}-{hashed(record.arn)[:8]}", "Endpoint", record.arn)
    action = _entity(record, "action", f"{record.name}-{mark}-deployment", "ModelDeployment", record.arn)
    deployed = _entity(record, "action", f"{record.name}-{mark}-deployed", "ModelDeployment", record.arn)
    yield action, context, "AssociatedWith"
    yield context, deployed, "AssociatedWith"
    for container in [variant.container for group in shown.groups for variant in group]:
        if container.artifact:
            yield _artifact(record, container.artifact, "Model"), action, "ContributedTo"
        if container.model:
            yield deployed, _artifact(record, arn(record.scope, "model", container.model), "Model"), "Produced"


def _artifact(of: Record, uri: str, type_: str) -> Record:
    source = {"SourceUri": uri}
    return _made(of, "artifact", artifact_name(source), {"Source": source, "ArtifactType": type_})


def _entity(of: Record, kind: str, name: str, type_: str, uri: str, more: Mapping[str, Any] | None = None) -> Record:
    noun = LINEAGE_TYPES[kind]
    request = {f"{noun}Name": name, f"{noun}Type": type_, "Source": {"SourceUri": uri, "SourceType": "ARN"}}
    return _made(of, kind, name, {**request, **(more or {})})


def _made(of: Record, kind: str, name: str, request: Mapping[str, Any]) -> Record:
    document = {**entity_document(kind, request, [], ""), "derived": True}
    return Record(kind, of.scope, name, arn(of.scope, kind, name), "", of.modified, of.modified, document)


def parents(config: Mapping[str, Any], trial: Record | None) -> Sequence[Mapping[str, str]]:
    """Where ExperimentConfig puts the component: into its trial, if that is there and of the experiment."""
    if trial is None or config.get("ExperimentName") not in (None, trial.document["ExperimentName"]):
        return ()
    return ({"TrialName": trial.name, "ExperimentName": str(trial.document["ExperimentName"])},)
