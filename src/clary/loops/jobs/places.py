"""A job's workloads: the short ones before and after it, and its hosts'. Pure: values, no I/O.

What a run has and leaves is the backend's to lay out and keep, by the names here: a host has `ml` (/opt/ml), `config` (the contract files),
`code`, `data.CHANNEL` and `sync.NAME`, the short runs have `in` and `out`, the run that is nothing but the job's data `HOST.CHANNEL` and
`sync.HOST.NAME`. Of an attempt that an older Clary began, these lie in folders of the job's own:

jobs/ID/ATTEMPT/
    restore/SYNC/   what a synced folder begins with
    algo-N/         channels/CHANNEL, pipes/CHANNEL, manifests/ (lists of channels' files), sync/SYNC
    code-out/code/  the user's code
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from clary.domain.jobs import egress, hosts, notebook, remote
from clary.domain.jobs.channels import Channel, no_objects
from clary.domain.jobs.hosts import Host
from clary.domain.jobs.kinds import JobKind, kind_of, spec_of
from clary.domain.jobs.spec import STOP_GRACE, JobSpec, Output, Sync
from clary.domain.machine.nodes import key_on
from clary.domain.machine.workload import (
    Environment,
    Files,
    Laid,
    LeftBy,
    LogTarget,
    Mount,
    MountMode,
    Result,
    Selected,
    Workload,
)
from clary.domain.resources import Record
from clary.domain.s3 import Location
from clary.loops.core.sandboxes import LIBRARY, bundle_files, bundle_variables, short_workload
from clary.ports import Runtime

_MODES = {True: MountMode.READ_WRITE, False: MountMode.OVERLAY}  # a File channel, by whether it is the job's own copy
LIST_LIMIT = 256 << 20  # bytes of a list of a channel's files
_SHORT_MEMORY = 1 << 30
_SHORT_SECONDS = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class JobSettings:
    """What the job loop may know of the settings. `endpoint` is AWS_ENDPOINT_URL as a sandbox reaches it; `ca_bundle` says the PEM
    text that goes with it under TLS; `passed` are variables of `clary up` that networked jobs see; `disk` bytes (0: VolumeSizeInGB);
    `kept`: how many failed jobs' sandboxes stay for a look; `sources`: databases that inputs are asked of, URLs by name; `egress`: what
    `toolkit/fetch.py` may reach."""

    folder: str
    owner: str
    endpoint: str
    policy: str = "fit"
    slots: int = 0
    disk: int = 0
    passed: Mapping[str, str] = field(default_factory=dict)
    ca_bundle: Callable[[], str] = str
    sync_seconds: float = 5.0
    kept: int = 3
    sources: Mapping[str, str] = field(default_factory=dict, repr=False)
    egress: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JobFolders:
    """The folders of one attempt of one job."""

    job: PurePosixPath
    attempt: int

    @property
    def top(self) -> PurePosixPath:
        return self.job / str(self.attempt)

    def host(self, name: str) -> PurePosixPath:
        return self.top / name

    def channel(self, name: str, channel: str) -> PurePosixPath:
        return self.host(name) / "channels" / channel

    def pipe(self, name: str, channel: str) -> PurePosixPath:
        return self.host(name) / "pipes" / channel

    def sync(self, name: str, sync: str) -> PurePosixPath:
        return self.host(name) / "sync" / sync

    def manifests(self, name: str) -> PurePosixPath:
        return self.host(name) / "manifests"


def places(settings: JobSettings, record: Record) -> JobFolders:
    return JobFolders(PurePosixPath(settings.folder) / str(record.document["id"]), int(record.document["attempt"]))


def stream(record: Record, host: str) -> str:
    """The log stream of a host of this job."""
    return hosts.stream(record.name, host, record.document["started"])


def key(record: Record, what: str, attempt: int | None = None) -> str:
    """The key of one of the job's workloads, in this attempt or another. Keys of jobs begin with `job-`, then comes the job's id; at their
    end is the node that the job is on. What an attempt began is on one machine."""
    number = record.document["attempt"] if attempt is None else attempt
    return key_on(f"job-{record.document['id']}-{number}-{what}", node(record, int(number)))


def node(record: Record, attempt: int | None = None) -> str:
    """Where the job is, in this attempt or an earlier one; "" on the control plane's own machine."""
    if attempt is None or attempt == int(record.document["attempt"]):
        return str(record.document.get("node", ""))
    return str(record.document.get("nodes", {}).get(str(attempt), ""))


def log_of(record: Record, host: str) -> LogTarget:
    return LogTarget(record.scope, spec_of(record).log_group, stream(record, host))


# -- the job's data -----------------------------------------------------------------------------------------------------------


def data(record: Record) -> Workload:
    """All inputs of all hosts, laid out once for the attempt: a run without a command, kept until the hosts have ended."""
    spec = spec_of(record)
    files = []
    for channel in spec.inputs:
        to = hosts.receivers(channel, spec.hosts)
        for number, host in enumerate(to):
            shard = (number, len(to)) if channel.sharded else None
            name = data_name(host, channel)
            files.append(Files(name, f"/{name}", selected=_selected(record, channel, shard)))
    for sync in spec.syncs:
        if sync.restore:
            begins = Selected(
                record.scope.account,
                _below(sync.location),
                copies=True,
                optional=True,
                nothing=f"What {sync.path} begins with cannot be had from {sync.location}",
            )
            files += [
                Files(each, f"/{each}", selected=begins) for each in (_sync_name(host, sync) for host in spec.hosts)
            ]
    return Workload(key(record, "data"), (), {}, files=tuple(files))


def _sync_name(host: Host, sync: Sync) -> str:
    return f"sync.{host.name}.{sync.name}"


def _below(location: Location) -> Location:
    """As a folder."""
    key = location.key.rstrip("/")
    return Location(location.bucket, f"{key}/" if key else "")


def data_name(host: Host, channel: Channel) -> str:
    """The name of a host's part of a channel."""
    return f"{host.name}.{channel.name}"


def _selected(record: Record, channel: Channel, shard: tuple[int, int] | None) -> Selected:
    return Selected(
        record.scope.account,
        channel.location,
        channel.data_type,
        channel.attributes,
        shard,
        channel.seed,
        piped=channel.mode == "Pipe",
        own=channel.mode == "File",
        nothing=no_objects(channel, record.scope.region, spec_of(record).role),
    )


def placed_data(record: Record, laid: Mapping[str, Laid], run: str) -> dict[str, Any]:
    """What the record keeps of the job's data. `copied`: [host, channel] of those that are the job's own files, not links of blobs;
    `objects`: of each channel that was listed how many they were, a digest of all keys and ETags, and the first of them; `bytes`: of all
    that was placed, each host's share counted; `run`: that which has it;
    `synced`: its synced folders are files of the hosts' runs, and begin there."""
    spec = spec_of(record)
    parts = [
        (host.name, channel.name, laid[data_name(host, channel)])
        for channel in spec.inputs
        for host in hosts.receivers(channel, spec.hosts)
    ]
    return {
        "copied": sorted([host, channel] for host, channel, part in parts if part.own),
        "objects": {
            channel: {"count": part.count, "digest": part.digest, "first": [list(each) for each in part.first]}
            for _, channel, part in parts
            if part.digest
        },
        "bytes": sum(part.size for _, _, part in parts),
        "run": run,
        "synced": True,
    }


# -- the short workloads ------------------------------------------------------------------------------------------------------


def pack(record: Record, environment: Environment, outputs: Sequence[Output]) -> Workload:
    """Pack what the hosts left. They have all of `ml` there: what a job put in the place of one of its own folders (a link) then leads
    nowhere but into the sandbox."""
    handles: Mapping[str, str] = record.document["handles"]
    of = [host for host in spec_of(record).hosts if host.name in handles]
    files = (
        Files("out", "/opt/clary/out", MountMode.READ_WRITE, {"spec.json": _pack_spec(of, outputs)}),
        *(
            Files(host.name, f"/opt/clary/in/{host.name}", MountMode.READ_WRITE, left=LeftBy(handles[host.name], "ml"))
            for host in of
        ),
    )
    results = tuple(_result(record.scope.account, output) for output in outputs)
    return replace(_short(record, "pack", environment, "/opt/clary/out/spec.json", files), results=results)


def _result(account: str, output: Output) -> Result:
    if output.packed:
        return Result("out", f"{output.name}.tar.gz", account, output.location, "application/x-tar", given=True)
    return Result("out", output.name, account, output.location, tree=True, given=True)


def _pack_spec(of: Sequence[Host], outputs: Sequence[Output]) -> str:
    """What `toolkit/pack.py` is told: outputs lie below /opt/ml."""
    packs = [
        {
            "name": output.name,
            "sources": [f"/opt/clary/in/{host.name}/{output.path.removeprefix('/opt/ml/')}" for host in of],
            "target": f"/opt/clary/out/{output.name}{'.tar.gz' if output.packed else ''}",
            "form": "tar" if output.packed else "files",
            "empty": output.always,
        }
        for output in outputs
    ]
    return json.dumps({"packs": packs, "report": "/opt/clary/out/report.json"})


def _short(record: Record, what: str, environment: Environment, spec: str, files: Sequence[Files]) -> Workload:
    """It says what it does in the log of the first host."""
    short = short_workload(key(record, what), what, spec, environment, files, _SHORT_MEMORY, _SHORT_SECONDS)
    return replace(short, logs=log_of(record, "algo-1"))


# -- a host of the job --------------------------------------------------------------------------------------------------------


def volume(settings: JobSettings, spec: JobSpec) -> int | None:
    """Bytes that each host of a job may write; None for any number."""
    return settings.disk or spec.volume or None


def host_workload(
    record: Record,
    settings: JobSettings,
    host: Host,
    runtime: Runtime,
    environment: Environment,
    lists: Mapping[str, str],
    max_runtime: float,
) -> Workload:
    """The container of one host, as AWS lays it out. Its keys go beside it: see `secrets`. `lists`: further texts in /opt/ml/input/data."""
    kind, spec = kind_of(record), spec_of(record)
    where = places(settings, record)
    of = spec.hosts
    fit = record.document["fits"][host.instance_type]
    present = present_on(spec, host)
    return Workload(
        key=key(record, host.name),
        command=_command(kind, spec, runtime, environment, any(channel.mode == "Pipe" for channel in present)),
        environment={
            **_variables(record, settings, runtime, environment),
            "CLARY_CPUS": str(max(1, int(fit["cpu"]))),
            "CLARY_MEMORY": str(int(fit["memory"])),
        },
        packages=environment,
        installs=True,
        mounts=tuple(_host_mounts(record, where, host, present)),
        files=(*_host_files(record, host, present, lists), *bundle_files(settings.ca_bundle())),
        results=_synced(record),
        logs=log_of(record, host.name),
        cpu=float(fit["cpu"]),
        background=True,  # production endpoints come first
        memory=int(fit["memory"]),
        disk=volume(settings, spec),
        network=not spec.isolated,
        connects=len(of) > 1 or not (runtime.algorithm and spec.built_in),
        peers=key(record, "hosts"),
        hostname=host.name,
        hosts={each.name: hosts.address(str(record.document["id"]), number) for number, each in enumerate(of)},
        cwd=remote.folder(spec),
        stop_grace=STOP_GRACE,
        gpus=int(fit["gpus"]),
        max_runtime=max_runtime,
    )


def present_on(spec: JobSpec, host: Host) -> list[Channel]:
    """The inputs that this host gets."""
    return [channel for channel in spec.inputs if host in hosts.receivers(channel, spec.hosts)]


def _host_files(record: Record, host: Host, present: Sequence[Channel], lists: Mapping[str, str]) -> tuple[Files, ...]:
    kind, spec = kind_of(record), spec_of(record)
    mounted = [channel.path if channel.mode != "Pipe" else channel.path.rpartition("/")[0] for channel in present]
    inside = (kind.config, *spec.folders, *mounted, *(sync.path for sync in spec.syncs))
    ml = Files(
        "ml",
        "/opt/ml",
        MountMode.READ_WRITE,
        texts={f"input/data/{name}": text for name, text in lists.items()},
        folders=tuple(folder.removeprefix("/opt/ml/") for folder in inside if folder.startswith("/opt/ml/")),
    )
    texts = {**kind.contract(record, spec, host), ".pipes.json": json.dumps(pipes_spec(present, kind.told))}
    config = Files("config", kind.config, MountMode.OVERLAY, texts=texts)
    return (ml, config, *_code(record.document["work"].get("code", {})), *_data_files(record, host, present))


def _code(found: Mapping[str, Any]) -> tuple[Files, ...]:
    """The user's code, as the node has it, or as a run of an older Clary left it."""
    if "folder" in found:
        return (Files("code", "/opt/ml/code", MountMode.OVERLAY, model=str(found["folder"])),)
    if "run" in found:
        return (Files("code", "/opt/ml/code", MountMode.OVERLAY, left=LeftBy(str(found["run"]), "out", "code")),)
    return ()


def _data_files(record: Record, host: Host, present: Sequence[Channel]) -> list[Files]:
    placed = record.document["work"].get("channels", {})
    run = placed.get("run", "")
    files = [_sync_files(host, sync, run) for sync in spec_of(record).syncs] if synced_by_value(record) else []
    for channel in present if run else ():  # or an older Clary placed it
        part = data_name(host, channel)
        if channel.mode == "Pipe":
            where, mode, left = f"/opt/clary/pipes/{channel.name}", MountMode.READ_ONLY, LeftBy(run, part)
        else:
            where, mode, left = channel.path, _mode(host, channel, placed["copied"]), LeftBy(run, part, "data")
        files.append(Files(f"data.{channel.name}", where, mode, left=left))
    return files


def synced_by_value(record: Record) -> bool:
    """Whether its synced folders are files of the hosts' runs, not (as an older Clary made them) folders of the job's own."""
    return bool(record.document["work"].get("channels", {}).get("synced"))


def _sync_files(host: Host, sync: Sync, run: str) -> Files:
    left = LeftBy(run, _sync_name(host, sync), "data") if sync.restore else None
    return Files(f"sync.{sync.name}", sync.path, MountMode.READ_WRITE, left=left)


def _synced(record: Record) -> tuple[Result, ...]:
    if not synced_by_value(record):
        return ()
    account = record.scope.account
    return tuple(
        Result(
            f"sync.{sync.name}",
            "",
            account,
            _below(sync.location),
            tree=True,
            synced=True,
            running=sync.running,
            mirror=sync.restore,
        )
        for sync in spec_of(record).syncs
    )


def _mode(host: Host, channel: Channel, copied: Sequence[Any]) -> MountMode:
    return MountMode.READ_ONLY if channel.mode == "FastFile" else _MODES[[host.name, channel.name] in copied]


def lists_of(record: Record, host: Host) -> dict[str, str]:
    """Which lists of its channels' files the host has in /opt/ml/input/data: name -> the files of the data's run that have it."""
    if not kind_of(record).lists or "run" not in record.document["work"].get("channels", {}):
        return {}
    return {
        f"{channel.name}-manifest": data_name(host, channel)
        for channel in present_on(spec_of(record), host)
        if channel.mode != "Pipe" and (channel.sharded or channel.data_type == "ManifestFile")
    }


def pipes_spec(inputs: Sequence[Channel], told: str) -> dict[str, Any]:
    """What `toolkit/pipes.py` is told about the Pipe channels of a host. `told`: where it writes why one cannot be streamed."""
    return {
        "failure": f"/opt/ml/{told}",
        "channels": [
            {
                "name": channel.path.rpartition("/")[2],
                "folder": channel.path.rpartition("/")[0],
                "items": f"/opt/clary/pipes/{channel.name}/items.jsonl",
                "objects": f"/opt/clary/pipes/{channel.name}/objects",
                "wrapper": channel.wrapper,
                "gzip": channel.compression == "Gzip",
                "seed": channel.seed,
                "group": max(1, len(channel.attributes)),
            }
            for channel in inputs
            if channel.mode == "Pipe"
        ],
    }


def _host_mounts(record: Record, where: JobFolders, host: Host, present: Sequence[Channel]) -> tuple[Mount, ...]:
    spec, work = spec_of(record), record.document["work"]
    placed = work.get("channels", {})
    mounts = []
    if "code" in work and not {"run", "folder"} & set(work["code"]):  # an older Clary extracted it
        mounts.append(Mount(str(where.top / "code-out" / "code"), "/opt/ml/code", MountMode.OVERLAY))
    for channel in present if "run" not in placed else ():  # as it was placed by an older Clary
        if channel.mode == "Pipe":
            mounts.append(Mount(str(where.pipe(host.name, channel.name)), f"/opt/clary/pipes/{channel.name}"))
        else:
            mode = _mode(host, channel, placed.get("copied", ()))
            mounts.append(Mount(str(where.channel(host.name, channel.name)), channel.path, mode))
    if not synced_by_value(record):
        mounts += [Mount(str(where.sync(host.name, s.name)), s.path, MountMode.READ_WRITE) for s in spec.syncs]
    return tuple(mounts)


def _command(kind: JobKind, spec: JobSpec, runtime: Runtime, environment: Environment, pipes: bool) -> tuple[str, ...]:
    own = (environment.python, "-m", runtime.process if kind.bare else kind.program)
    asked = notebook.command(environment.python, LIBRARY) if notebook.runs(spec) else spec.command
    command = (*(asked or own), *spec.arguments)
    if pipes:
        feeder = (environment.python, f"{LIBRARY}/clary/toolkit/pipes.py", f"{kind.config}/.pipes.json")
        return (*feeder, *command)
    return command


def secrets(record: Record, credentials: Mapping[str, str]) -> dict[str, str]:
    """The role's keys as variables, but for those that the job sets itself."""
    own = {*spec_of(record).environment, *kind_of(record).variables(record)}
    return {name: value for name, value in credentials.items() if name not in own}


def _variables(record: Record, settings: JobSettings, runtime: Runtime, environment: Environment) -> dict[str, str]:
    """What the container sees: the proxies of the machine, AWS's access, the user's own, and those that AWS always sets."""
    spec = spec_of(record)
    own = dict(spec.environment)
    if not spec.command:
        own["PYTHONPATH"] = f"{LIBRARY}:{own['PYTHONPATH']}" if own.get("PYTHONPATH") else LIBRARY
        own["CLARY_ALGORITHM"] = runtime.algorithm
    bins = environment.python.rpartition("/")[0]
    return {
        **({} if spec.isolated else settings.passed),
        "PATH": f"{bins}:/usr/local/bin:/usr/bin:/bin",
        "PYTHONUNBUFFERED": "1",
        "AWS_REGION": record.scope.region,
        "AWS_DEFAULT_REGION": record.scope.region,
        "AWS_ENDPOINT_URL": settings.endpoint,
        **bundle_variables(settings.ca_bundle()),
        **remote.variables(spec),
        **own,
        **kind_of(record).variables(record),
        # Last, and for that program only: a request that sets the variable itself, or brings a program of its own, changes nothing.
        **({egress.VARIABLE: json.dumps(settings.egress)} if runtime.process == egress.PROGRAM else {}),
    }
