"""What a CreateTrainingJob request means inside the container: hosts, contract files, environment, where results go.

Pure. The contract is AWS's (reference: "Using your own algorithms": /opt/ml/input/config, environment variables, S3 layout of the
results). Who writes the files and starts processes is `loops/`; when, is `jobs.decide`.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clary.domain.errors import Invalid
from clary.domain.jobs.channels import Channel
from clary.domain.machine import admission
from clary.domain.machine.instances import Size, find
from clary.domain.s3 import Location, parse_uri

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
DEFAULT_MAX_RUNTIME = 86_400
CHECKPOINTS = "/opt/ml/checkpoints"
TENSORBOARD = "/opt/ml/output/tensorboard"
STOP_GRACE = 120.0  # seconds between SIGTERM and SIGKILL, AWS's
ONE_GROUP = "homogeneousCluster"
REQUIREMENTS_LIMIT = 1 << 20
_BLOCKS = 250 * 250  # of 250 loopback addresses each, from 127.2.1.1 on


@dataclass(frozen=True, slots=True)
class Host:
    """`algo-N`, the type it asks for, and its instance group."""

    name: str
    instance_type: str
    group: str


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


def stream(job: str, host: str, started: float) -> str:
    """The host's log stream: `<job>/algo-N-<epoch>`. `started`: TrainingStartTime."""
    return f"{job}/{host}-{int(started)}"


def size_of(host: Host) -> Size:
    size = find(host.instance_type)
    if size is None:
        raise Invalid(f"Clary does not know the instance type {host.instance_type}.")
    return size


def address(job: str, number: int) -> str:
    """The loopback address of host number `number` (from 0) of the job with that id: hosts of one machine share its network, and two
    jobs may well use the same port of their `algo-1`."""
    block = zlib.crc32(job.encode()) % _BLOCKS + number // 250
    return f"127.{2 + block // 250}.{1 + block % 250}.{1 + number % 250}"


def receivers(channel: Channel, of: Sequence[Host]) -> tuple[Host, ...]:
    """The hosts that get this channel (InstanceGroupNames, or all)."""
    if not channel.groups:
        return tuple(of)
    unknown = [name for name in channel.groups if all(host.group != name for host in of)]
    if unknown:
        raise Invalid(
            f"Channel {channel.name!r} names the instance group {unknown[0]!r}, which ResourceConfig does not have."
        )
    return tuple(host for host in of if host.group in channel.groups)


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


_REQUIREMENT_OPTION = re.compile(
    r"^(--index-url|-i|--extra-index-url|--find-links|-f|--trusted-host|--pre|--prefer-binary)\b"
)


def check_requirements(text: str) -> str:
    """A user's requirements.txt as it may be built: packages and indexes, nothing that reads this machine's files.

    The environment is built outside the sandbox, so `-r`, `-c`, `-e` and local paths are refused (ClientError's text)."""
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#", 1)[0].strip() if not line.strip().startswith("#") else ""
        if not words:
            continue
        option = words.startswith("-") and not _REQUIREMENT_OPTION.match(words)
        local = words.startswith((".", "/", "~", "file:")) or "file:" in words
        if option or local:
            raise Invalid(
                f"requirements.txt line {number}: {words[:100]!r} is not supported: only package names, versions, URLs, "
                "index options and further files of the source (-r) are."
            )
    return text


# -- /opt/ml/input/config ---------------------------------------------------------------------------------------------------------


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


@dataclass(frozen=True, slots=True)
class Results:
    """Where a job's results go. `packed` is CompressionType GZIP: one tar each; else the files themselves below the location."""

    model: Location
    output: Location
    packed: bool

    @property
    def artifact(self) -> str:
        return str(self.model)


def results(request: Mapping[str, Any]) -> Results:
    """`<S3OutputPath>/<job>/output/model.tar.gz` and `output.tar.gz`, or `.../model/` and `.../data/` with CompressionType NONE."""
    output = request["OutputDataConfig"]
    base = parse_uri(output["S3OutputPath"]).below(request["TrainingJobName"], "output")
    if output.get("CompressionType") == "NONE":
        model, data = base.below("model"), base.below("data")
        return Results(Location(model.bucket, f"{model.key}/"), Location(data.bucket, f"{data.key}/"), packed=False)
    return Results(base.below("model.tar.gz"), base.below("output.tar.gz"), packed=True)


@dataclass(frozen=True, slots=True)
class Sync:
    """A folder of the container that is kept in step with an S3 prefix while the job runs. `restore`: filled from it at start, and
    what the job deletes is deleted there."""

    name: str
    path: str
    location: Location
    restore: bool


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
