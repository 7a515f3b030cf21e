"""What a CreateProcessingJob request means: hosts, inputs, outputs, command, and the files that its container finds. Pure.

The contract is AWS's ("Build your own processing container"). Inputs are folders of links or copies that the container may write into;
outputs are folders that are there before it starts, and are stored however the job ends.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from clary.domain import images
from clary.domain.errors import Invalid
from clary.domain.jobs import datasets
from clary.domain.jobs.channels import Channel, check
from clary.domain.jobs.datasets import SourceQuery
from clary.domain.jobs.hosts import Host, size_of
from clary.domain.jobs.spec import JobSpec, Sync
from clary.domain.machine import admission
from clary.domain.resources import Record
from clary.domain.s3 import parse_uri

KIND = "processing-job"
LOG_GROUP = "/aws/sagemaker/ProcessingJobs"
TOP = "/opt/ml/processing"
DEFAULT_MAX_RUNTIME = 86_400
_SPARK = "sagemaker-spark-processing"


def parse(request: Mapping[str, Any]) -> JobSpec:
    """What a CreateProcessingJob request asks for. Invalid and LimitExceeded, in AWS's words, for what cannot be."""
    application = request["AppSpecification"]
    _check_image(application["ImageUri"])
    given, stored = request.get("ProcessingInputs") or [], _outputs(request)
    _no_duplicates("InputName", "ProcessingInputs", [entry["InputName"] for entry in given])
    _no_duplicates("OutputName", "ProcessingOutputConfig", [entry["OutputName"] for entry in stored])
    asked = {
        number: datasets.query(entry, f"input-{number}", request["ProcessingJobName"])
        for number, entry in enumerate(given, 1)
        if entry.get("DatasetDefinition")
    }
    numbered = ((entry, number, asked.get(number)) for number, entry in enumerate(given, 1))
    inputs = [channel for each in numbered if (channel := _input(*each)) is not None]
    syncs = [sync for number, entry in enumerate(stored, 1) if (sync := _sync(entry, number)) is not None]
    _no_duplicates("LocalPath", "the request", [*(each.path for each in inputs), *(each.path for each in syncs)])
    cluster = request["ProcessingResources"]["ClusterConfig"]
    network = request.get("NetworkConfig") or {}
    return JobSpec(
        image=application["ImageUri"],
        role=request["RoleArn"],
        log_group=LOG_GROUP,
        hosts=hosts(request),
        max_runtime=max_runtime(request),
        inputs=tuple(inputs),
        command=tuple(application.get("ContainerEntrypoint") or ()),
        arguments=tuple(application.get("ContainerArguments") or ()),
        environment={str(name): str(value) for name, value in (request.get("Environment") or {}).items()},
        syncs=tuple(syncs),
        folders=(TOP, "/opt/ml/output", *_app_managed(stored)),
        volume=int(cluster["VolumeSizeInGB"]) << 30,
        isolated=bool(network.get("EnableNetworkIsolation", False)),
        queries=tuple(asked.values()),
    )


def hosts(request: Mapping[str, Any]) -> tuple[Host, ...]:
    """algo-1 ... algo-n of ClusterConfig. Invalid for a type that is not known."""
    cluster = request["ProcessingResources"]["ClusterConfig"]
    if not cluster.get("InstanceType") or not cluster.get("InstanceCount"):
        raise Invalid("ProcessingResources.ClusterConfig needs InstanceType and an InstanceCount of at least 1.")
    count = int(cluster["InstanceCount"])
    admission.check_number(cluster["InstanceType"], count, "processing job")
    found = tuple(Host(f"algo-{number}", cluster["InstanceType"]) for number in range(1, count + 1))
    size_of(found[0])
    return found


def max_runtime(request: Mapping[str, Any]) -> int:
    """Seconds."""
    return int((request.get("StoppingCondition") or {}).get("MaxRuntimeInSeconds") or DEFAULT_MAX_RUNTIME)


def _check_image(image: str) -> None:
    if images.repository(image) == _SPARK:
        raise Invalid(
            f"Image '{image}' is Spark, which Clary does not run. Process the data with DuckDB or pandas instead, in a script for "
            "SKLearnProcessor or ScriptProcessor."
        )


def _outputs(request: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return (request.get("ProcessingOutputConfig") or {}).get("Outputs") or ()


def _no_duplicates(field: str, where: str, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Invalid(f"Duplicate {field} {twice[0]!r} in {where}.")


def _input(entry: Mapping[str, Any], number: int, asked: SourceQuery | None) -> Channel | None:
    """None: the application fetches it by itself (AppManaged)."""
    name = entry["InputName"]
    source = entry.get("S3Input")
    if asked is not None:
        if source is not None or entry.get("AppManaged"):
            raise Invalid(f"Input {name!r} takes either S3Input or DatasetDefinition, which is not AppManaged.")
        path = entry["DatasetDefinition"].get("LocalPath")
        if not path:
            raise Invalid(f"Input {name!r} needs DatasetDefinition.LocalPath.")
        found = datasets.channel(entry, asked, local_path(path, f"Input {name!r}"))
        check(found, f"Input {name!r}")
        return found
    if source is None:
        raise Invalid(f"Input {name!r} needs S3Input or DatasetDefinition.")
    if entry.get("AppManaged"):
        return None
    if not source.get("LocalPath"):
        raise Invalid(f"Input {name!r} needs S3Input.LocalPath, unless AppManaged is true.")
    channel = Channel(
        name=f"input-{number}",  # a folder on this machine: an InputName may be any text
        location=parse_uri(source["S3Uri"]),
        uri=source["S3Uri"],
        mode=source.get("S3InputMode") or "File",
        data_type=source["S3DataType"],
        distribution=source.get("S3DataDistributionType") or "FullyReplicated",
        compression=source.get("S3CompressionType") or "None",
        local_path=local_path(source["LocalPath"], f"Input {name!r}"),
    )
    check(channel, f"Input {name!r}")
    return channel


def _sync(entry: Mapping[str, Any], number: int) -> Sync | None:
    """None: the application stores it by itself (AppManaged)."""
    name = entry["OutputName"]
    if entry.get("AppManaged"):
        return None
    if entry.get("FeatureStoreOutput"):
        raise Invalid(
            f"Output {name!r}: FeatureStoreOutput needs AppManaged true: the container itself puts the records."
        )
    target = entry.get("S3Output")
    if target is None:
        raise Invalid(f"Output {name!r} needs S3Output.")
    if not target.get("LocalPath"):
        raise Invalid(f"Output {name!r} needs S3Output.LocalPath, unless AppManaged is true.")
    path = local_path(target["LocalPath"], f"Output {name!r}")
    running = target["S3UploadMode"] == "Continuous"
    return Sync(f"output-{number}", path, parse_uri(target["S3Uri"]), restore=False, running=running)


def _app_managed(stored: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The folders of outputs that the application stores by itself."""
    paths = ((each["OutputName"], (each.get("S3Output") or {}).get("LocalPath")) for each in stored)
    managed = {each["OutputName"] for each in stored if each.get("AppManaged")}
    return tuple(local_path(path, f"Output {name!r}") for name, path in paths if path and name in managed)


def local_path(path: str, whose: str) -> str:
    """The folder in the container without empty parts. Invalid unless it is below /opt/ml/processing."""
    clean = "/" + "/".join(part for part in path.split("/") if part not in ("", "."))
    if not path.startswith("/") or ".." in clean.split("/") or not clean.startswith(f"{TOP}/") or "\0" in path:
        raise Invalid(f"{whose}: LocalPath must be a folder below {TOP}/, not {path!r}.")
    return clean


# -- /opt/ml/config -----------------------------------------------------------------------------------------------------------


def contract_files(record: Record, spec: JobSpec, host: Host) -> dict[str, str]:
    """File name -> text of `/opt/ml/config` on that host. What the request does not have is null, as on AWS."""
    request = record.document["request"]
    output = request.get("ProcessingOutputConfig") or {}
    cluster = request["ProcessingResources"]["ClusterConfig"]
    application = request["AppSpecification"]
    job = {
        "ProcessingJobArn": record.arn,
        "ProcessingJobName": record.name,
        "AppSpecification": _with_nulls(application, "ImageUri", "ContainerEntrypoint", "ContainerArguments"),
        "Environment": request.get("Environment"),
        "ExperimentConfig": request.get("ExperimentConfig"),
        "NetworkConfig": request.get("NetworkConfig"),
        "ProcessingInputs": [_told_input(entry) for entry in request.get("ProcessingInputs") or ()],
        "ProcessingOutputConfig": {
            "Outputs": [_told_output(entry) for entry in _outputs(request)],
            "KmsKeyId": output.get("KmsKeyId"),
        },
        "ProcessingResources": {
            "ClusterConfig": _with_nulls(cluster, "InstanceCount", "InstanceType", "VolumeSizeInGB", "VolumeKmsKeyId")
        },
        "RoleArn": request["RoleArn"],
        "StoppingCondition": {"MaxRuntimeInSeconds": spec.max_runtime},
    }
    resources = {"current_host": host.name, "hosts": sorted(each.name for each in spec.hosts)}
    return {"processingjobconfig.json": json.dumps(job), "resourceconfig.json": json.dumps(resources)}


def _with_nulls(given: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: given.get(name) for name in names}


def _told_input(entry: Mapping[str, Any]) -> dict[str, Any]:
    if entry.get("DatasetDefinition"):
        told = {"InputName": entry["InputName"], "AppManaged": False, "S3Input": None}
        return {**told, "DatasetDefinition": entry["DatasetDefinition"]}
    names = ("LocalPath", "S3Uri", "S3DataDistributionType", "S3DataType", "S3InputMode", "S3CompressionType")
    source = {**_with_nulls(described_input(entry)["S3Input"], *names), "S3DownloadMode": "StartOfJob"}
    return {
        "InputName": entry["InputName"],
        "AppManaged": bool(entry.get("AppManaged")),
        "S3Input": source,
        "DatasetDefinition": None,
    }


def _told_output(entry: Mapping[str, Any]) -> dict[str, Any]:
    target = entry.get("S3Output")
    return {
        "OutputName": entry["OutputName"],
        "AppManaged": bool(entry.get("AppManaged")),
        "S3Output": target and _with_nulls(target, "LocalPath", "S3Uri", "S3UploadMode"),
        "FeatureStoreOutput": entry.get("FeatureStoreOutput"),
    }


def described_input(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An input with its defaults."""
    if entry.get("DatasetDefinition"):
        defaults = {"DataDistributionType": "FullyReplicated", "InputMode": "File"}
        return {"AppManaged": False, **entry, "DatasetDefinition": {**defaults, **entry["DatasetDefinition"]}}
    defaults = {"S3InputMode": "File", "S3DataDistributionType": "FullyReplicated", "S3CompressionType": "None"}
    return {"AppManaged": False, **entry, "S3Input": {**defaults, **entry["S3Input"]}}


def variables(record: Record) -> dict[str, str]:
    """None: what a processing container knows of its job stands in its configuration files."""
    return {}


# -- describe -----------------------------------------------------------------------------------------------------------------

_ECHOED = ("NetworkConfig", "ExperimentConfig", "Environment")
_PARENTS = {
    "monitoring-schedule": "MonitoringScheduleArn",
    "automl-job": "AutoMLJobArn",
    "training-job": "TrainingJobArn",
}


def described(record: Record) -> dict[str, Any]:
    """DescribeProcessingJob's answer: what was asked with its defaults, and what became of it."""
    document = record.document
    request = document["request"]
    answer: dict[str, Any] = {
        **summary(record),
        "ProcessingResources": request["ProcessingResources"],
        "StoppingCondition": {"MaxRuntimeInSeconds": max_runtime(request)},
        "AppSpecification": request["AppSpecification"],
        "RoleArn": request["RoleArn"],
        **{name: request[name] for name in _ECHOED if name in request},
    }
    if request.get("ProcessingInputs"):
        answer["ProcessingInputs"] = [described_input(entry) for entry in request["ProcessingInputs"]]
    if request.get("ProcessingOutputConfig"):
        outputs = [{"AppManaged": False, **entry} for entry in _outputs(request)]
        answer["ProcessingOutputConfig"] = {**request["ProcessingOutputConfig"], "Outputs": outputs}
    if "started" in document:
        answer["ProcessingStartTime"] = document["started"]
    parent = str(document.get("parent", ""))
    member = _PARENTS.get(parent.rpartition(":")[2].partition("/")[0])
    return answer if member is None else {**answer, member: parent}


def summary(record: Record) -> dict[str, Any]:
    """The job in a list."""
    document = record.document
    found = {
        "ProcessingJobName": record.name,
        "ProcessingJobArn": record.arn,
        "CreationTime": record.created,
        "LastModifiedTime": record.modified,
        "ProcessingJobStatus": record.status,
    }
    told = (("ProcessingEndTime", "ended"), ("FailureReason", "failure"), ("ExitMessage", "message"))
    return {**found, **{name: document[key] for name, key in told if document.get(key)}}
