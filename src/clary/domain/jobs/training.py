"""What a CreateTrainingJob request means inside the container: hosts, contract files, environment, where results go.

Pure. The contract is AWS's (reference: "Using your own algorithms": /opt/ml/input/config, environment variables, S3 layout of the
results). Who writes the files and starts processes is `loops/`; when, is `jobs.decide`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from clary.domain.errors import Invalid
from clary.domain.jobs import channels, log_metrics, notebook
from clary.domain.jobs.channels import Channel
from clary.domain.jobs.hosts import Host, receivers, size_of
from clary.domain.jobs.spec import JobSpec, Output, Sync
from clary.domain.machine import admission
from clary.domain.resources import Record
from clary.domain.s3 import Location, parse_uri

KIND = "training-job"
LOG_GROUP = "/aws/sagemaker/TrainingJobs"
DEFAULT_MAX_RUNTIME = 86_400
CHECKPOINTS = "/opt/ml/checkpoints"
TENSORBOARD = "/opt/ml/output/tensorboard"
MODEL = "model"  # the output that is the job's artifact
ONE_GROUP = "homogeneousCluster"


def parse(request: Mapping[str, Any]) -> JobSpec:
    """What a CreateTrainingJob request asks for. Invalid and LimitExceeded, in AWS's words, for what cannot be."""
    check_stopping(request)
    of = hosts(request)
    for host in of:
        size_of(host)
    inputs = channels.channels(request)
    for channel in inputs:
        receivers(channel, of)
    algorithm = request["AlgorithmSpecification"]
    definitions = algorithm.get("MetricDefinitions") or []
    log_metrics.compile_definitions(definitions)
    return JobSpec(
        image=algorithm["TrainingImage"],
        role=str(request.get("RoleArn", "")),
        log_group=LOG_GROUP,
        hosts=of,
        max_runtime=max_runtime(request),
        inputs=inputs,
        code=submit_directory(request),
        command=entrypoint(request),
        built_in=built_in(request),
        environment={str(name): str(value) for name, value in (request.get("Environment") or {}).items()},
        outputs=outputs(request),
        syncs=syncs(request),
        folders=("/opt/ml/input/data", "/opt/ml/model", "/opt/ml/output/data", "/opt/ml/code", CHECKPOINTS),
        metrics=tuple({"Name": entry["Name"], "Regex": entry["Regex"]} for entry in definitions),
        objective=_text(request, "_tuning_objective_metric"),
        volume=int(request["ResourceConfig"].get("VolumeSizeInGB") or 0) << 30,
        max_wait=max_wait(request),
        spot=bool(request.get("EnableManagedSpotTraining")),
        attempts=int((request.get("RetryStrategy") or {}).get("MaximumRetryAttempts") or 0),
        isolated=bool(request.get("EnableNetworkIsolation", False)),
    )


def hosts(request: Mapping[str, Any]) -> tuple[Host, ...]:
    """algo-1 ... algo-n over ResourceConfig. Invalid when type and count are not given one way or the other; LimitExceeded."""
    config = request.get("ResourceConfig") or {}
    groups = config.get("InstanceGroups") or []
    if groups and (config.get("InstanceType") or config.get("InstanceCount")):
        raise Invalid("ResourceConfig takes either InstanceType and InstanceCount, or InstanceGroups.")
    if not groups:
        if not config.get("InstanceType") or not config.get("InstanceCount"):
            raise Invalid("ResourceConfig needs InstanceType and an InstanceCount of at least 1.")
        groups = [{**config, "InstanceGroupName": ONE_GROUP}]
    admission.check_number(groups[0]["InstanceType"], sum(int(g["InstanceCount"]) for g in groups), "training job")
    flat = [(g["InstanceType"], g["InstanceGroupName"]) for g in groups for _ in range(int(g["InstanceCount"]))]
    if not flat:
        raise Invalid("ResourceConfig needs an InstanceCount of at least 1.")
    return tuple(Host(f"algo-{n}", kind, group) for n, (kind, group) in enumerate(flat, 1))


# -- hyperparameters and code ---------------------------------------------------------------------------------------------------


def decoded(text: str) -> Any:
    """A hyperparameter's value: SDK v2 encodes as JSON in script mode, others send plain text; both are read."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _text(request: Mapping[str, Any], name: str) -> str:
    raw = (request.get("HyperParameters") or {}).get(name)
    return "" if raw is None else str(decoded(raw))


def program(request: Mapping[str, Any]) -> str:
    """The user's script (`sagemaker_program`); '' for a built-in algorithm or a container command."""
    return _text(request, "sagemaker_program")


def built_in(request: Mapping[str, Any]) -> bool:
    """No code of a user's is named: the image's own algorithm runs, where it has one."""
    return not (entrypoint(request) or program(request) or "SAGEMAKER_PROGRAM" in (request.get("Environment") or {}))


def submit_directory(request: Mapping[str, Any]) -> Location | None:
    """Where `sourcedir.tar.gz` lies in S3; None when there is none, or it is a path inside the container."""
    where = _text(request, "sagemaker_submit_directory")
    return parse_uri(where) if where.startswith(("s3://", "https://")) else None


def entrypoint(request: Mapping[str, Any]) -> tuple[str, ...]:
    """ContainerEntrypoint + ContainerArguments, which replace the image's own `train`; () when not given, or just that."""
    spec = request["AlgorithmSpecification"]
    command = (*(spec.get("ContainerEntrypoint") or ()), *(spec.get("ContainerArguments") or ()))
    return () if command == ("train",) else command


# -- /opt/ml/input/config ---------------------------------------------------------------------------------------------------------


def contract_files(record: Record, spec: JobSpec, host: Host) -> dict[str, str]:
    """`contract` of a job's record."""
    return contract(record.document["request"], spec.hosts, host, spec.inputs)


def variables(record: Record) -> dict[str, str]:
    """The two names that AWS always sets."""
    return {"TRAINING_JOB_NAME": record.name, "TRAINING_JOB_ARN": record.arn}


def contract(request: Mapping[str, Any], of: Sequence[Host], host: Host, inputs: Sequence[Channel]) -> dict[str, str]:
    """File name -> text of `/opt/ml/input/config` on that host."""
    present = [channel for channel in inputs if host in receivers(channel, of)]
    files: dict[str, Any] = {
        "hyperparameters.json": dict(request.get("HyperParameters") or {}),
        "inputdataconfig.json": {channel.name: _input_config(channel) for channel in present},
        "resourceconfig.json": _resource_config(of, host),
        "init-config.json": {},
        "upstreamoutputdataconfig.json": [],
    }
    checkpoint = request.get("CheckpointConfig")
    if checkpoint:
        files["checkpointconfig.json"] = {
            "LocalPath": checkpoint.get("LocalPath") or CHECKPOINTS,
            "S3Uri": checkpoint["S3Uri"],
        }
    return {name: json.dumps(value) for name, value in files.items()}


def _input_config(channel: Channel) -> dict[str, str]:
    config = {
        "TrainingInputMode": channel.mode,
        "S3DistributionType": channel.distribution,
        "RecordWrapperType": channel.wrapper,
    }
    if channel.content_type:
        config["ContentType"] = channel.content_type
    if channel.compression != "None":
        config["CompressionType"] = channel.compression
    return config


def _resource_config(of: Sequence[Host], host: Host) -> dict[str, Any]:
    groups: dict[str, dict[str, Any]] = {}
    for each in of:
        group = groups.setdefault(
            each.group, {"instance_group_name": each.group, "instance_type": each.instance_type, "hosts": []}
        )
        group["hosts"].append(each.name)
    return {
        "current_host": host.name,
        "current_instance_type": host.instance_type,
        "current_group_name": host.group,
        "hosts": sorted(each.name for each in of),
        "instance_groups": list(groups.values()),
        # Hosts share this machine: what they say to each other goes over the loopback interface.
        "network_interface_name": "lo",
    }


# -- results ------------------------------------------------------------------------------------------------------------------


def outputs(request: Mapping[str, Any]) -> tuple[Output, ...]:
    """`<S3OutputPath>/<job>/output/model.tar.gz` and `output.tar.gz`, or `.../model/` and `.../data/` with CompressionType NONE. A job
    that failed keeps neither, but for a notebook's: up to the cell that failed, with the log, as AWS stores them."""
    output = request["OutputDataConfig"]
    base = parse_uri(output["S3OutputPath"]).below(request["TrainingJobName"], "output")
    packed = output.get("CompressionType") != "NONE"
    where = ("model.tar.gz", "output.tar.gz") if packed else ("model", "data")
    model, data = (base.below(name) for name in where)
    if not packed:
        model, data = (Location(each.bucket, f"{each.key}/") for each in (model, data))
    return (
        Output(MODEL, "/opt/ml/model", model, packed, always=True),
        Output("output", "/opt/ml/output/data", data, packed, failed=notebook.asked(request)),
    )


def syncs(request: Mapping[str, Any]) -> tuple[Sync, ...]:
    """CheckpointConfig and TensorBoardOutputConfig."""
    found: list[Sync] = []
    checkpoint = request.get("CheckpointConfig")
    if checkpoint:
        path = _local_path(checkpoint.get("LocalPath") or CHECKPOINTS, "CheckpointConfig.LocalPath")
        found.append(Sync("checkpoints", path, parse_uri(checkpoint["S3Uri"]), restore=True))
    board = request.get("TensorBoardOutputConfig")
    if board:
        path = _local_path(board.get("LocalPath") or TENSORBOARD, "TensorBoardOutputConfig.LocalPath")
        where = parse_uri(board["S3OutputPath"]).below(request["TrainingJobName"], "tensorboard-output")
        found.append(Sync("tensorboard", path, where, restore=False))
    return tuple(found)


def _local_path(path: str, field: str) -> str:
    clean = "/" + "/".join(part for part in path.split("/") if part not in ("", "."))
    taken = (
        "/opt/ml/input",
        "/opt/ml/model",
        "/opt/ml/code",
        "/opt/ml/output/data",
        "/opt/clary",
        "/usr",
        "/etc",
        "/proc",
        "/dev",
    )
    if not path.startswith("/") or ".." in clean.split("/") or clean in ("/", "/opt", "/opt/ml", "/tmp"):
        raise Invalid(f"{field} must be the absolute path of a folder that nothing else uses, not {path!r}.")
    if any(clean == place or clean.startswith(f"{place}/") for place in taken):
        raise Invalid(f"{field} {path!r} is in a folder that Clary uses for something else.")
    return clean


# -- limits -------------------------------------------------------------------------------------------------------------------


def max_runtime(request: Mapping[str, Any]) -> int:
    return int((request.get("StoppingCondition") or {}).get("MaxRuntimeInSeconds") or DEFAULT_MAX_RUNTIME)


def max_wait(request: Mapping[str, Any]) -> int | None:
    """Seconds that the job may wait for capacity: MaxWaitTime less MaxRuntime for spot, or MaxPendingTime."""
    condition = request.get("StoppingCondition") or {}
    if request.get("EnableManagedSpotTraining") and condition.get("MaxWaitTimeInSeconds"):
        return max(1, int(condition["MaxWaitTimeInSeconds"]) - max_runtime(request))
    pending = condition.get("MaxPendingTimeInSeconds")
    return int(pending) if pending else None


def check_stopping(request: Mapping[str, Any]) -> None:
    condition = request.get("StoppingCondition") or {}
    wait = condition.get("MaxWaitTimeInSeconds")
    if request.get("EnableManagedSpotTraining"):
        if not wait:
            raise Invalid("Invalid MaxWaitTimeInSeconds. It must be present when EnableManagedSpotTraining is true.")
        if wait < max_runtime(request):
            raise Invalid("Invalid MaxWaitTimeInSeconds. It must be greater than or equal to MaxRuntimeInSeconds.")
    elif wait:
        raise Invalid("Invalid MaxWaitTimeInSeconds. It must not be present when EnableManagedSpotTraining is false.")
    if max_runtime(request) > 28 * 86_400:
        raise Invalid("Invalid MaxRuntimeInSeconds. It must be at most 2419200 seconds (28 days).")
