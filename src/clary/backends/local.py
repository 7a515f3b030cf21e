"""The local backend: workloads in sandboxes on this machine, each under a shim that outlives this process.

Owns starting, finding again, stopping and resizing of runs, and the user ids and GPUs that they occupy. Does not know what runs
(a job or a replica) and whether it should run again.
"""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import hashlib
import json
import math
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from clary.backends import access, cgroups, containers, host, launch, library, networks, sandbox, standby, state
from clary.backends.cgroups import Cgroups, Group, GroupLimits
from clary.backends.choice import BackendOptions
from clary.backends.claims import Claims
from clary.backends.host import Host
from clary.backends.networks import Networks
from clary.backends.node import requests
from clary.backends.node.changes import Changes
from clary.backends.node.layout import (
    NodePorts,
    content_of,
    files_of,
    names_of,
    placed,
    small_of,
    text_of,
    with_packages,
)
from clary.backends.node.models import NodeModels
from clary.backends.node.outputs import store
from clary.backends.node.starts import Starts
from clary.backends.node.syncs import Syncs
from clary.backends.reentry import Reentry, reentry
from clary.backends.shim import way
from clary.backends.shim.beside import remove as remove_container
from clary.backends.shim.proc import counter, cpu_time, end_marked, family, resident, waited
from clary.backends.shim.standby import ORDER
from clary.backends.state import Base, Folder, Index
from clary.domain.errors import InUse, Invalid, NotFound, Unavailable, Unschedulable
from clary.domain.machine.addresses import Address
from clary.domain.machine.workload import (
    Collected,
    Environment,
    Feature,
    ModelFiles,
    Mount,
    MountMode,
    Objects,
    Observation,
    RunState,
    SmallFile,
    Workload,
)

SOCKETS = "/run/clary"  # where a sandbox finds the fronts' sockets
LISTENER = "/run/clary-listener"  # and the folder of the one listener that it dials
_LOG_BYTES = 1 << 30
_FILES = 65_536
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,199}")


@dataclass(frozen=True, slots=True)
class Spawn:
    """What will be run: bwrap's options and what it executes. `@uid@`, `@files@` and `@gpu@N` are filled in at the start. `asked` is the
    workload as it was given, `workload` with all its mounts."""

    asked: Workload = field(repr=False)
    workload: Workload = field(repr=False)
    options: tuple[str, ...]
    command: tuple[str, ...]
    environment: tuple[str, ...] = field(repr=False)
    container: tuple[str, ...] = ()  # the container engine's command line

    def __str__(self) -> str:
        if not self.command:
            return f"lay out {', '.join(each.name for each in self.asked.files)}"
        return sandbox.printable(("bwrap", *self.options, "--", *self.command))


class LocalBackend:
    """See ports.Backend. `state` is a folder of the backend's own; a handle is the workload's key."""

    name = "local"
    members = None  # it has no nodes

    def __init__(
        self,
        folder: Path,
        facts: Host,
        groups: Cgroups,
        uids: Claims,
        nets: Networks,
        engine: containers.Engine | None = None,
        fronts: Sequence[str] = (),
        ports: NodePorts | None = None,
        listeners: str = "",
    ) -> None:
        self._ports = ports
        self._listening = listeners
        self._starts = Starts(ports, self._launch, self._started, self._root_of)
        self._changes = Changes(ports)
        self._syncs = Syncs()
        self._models_folder = folder.parent / "models"
        self._models = NodeModels(self._models_folder, self, ports)
        self._own = folder / "own"  # folders of runs by value
        self._removed = (
            self._own,
            folder.parent / "replicas",
        )  # those of one go with it; a Clary before laid replicas out beside us
        self._engine = engine
        self._fronts = tuple(fronts)
        self.networks = nets
        self.host = facts
        self.groups = groups
        further = ((Feature.GPU,) if facts.gpus else ()) + ((Feature.STANDBY,) if facts.root else ())
        self.features = frozenset({Feature.RESIZE, Feature.LOGS, *further})
        self._base = Base(folder.parent)
        self._index = Index(folder / "runs", self._base)
        self._serving = folder / "serving"  # of what runs in the foreground, for what gives way to it
        self._uids = uids
        self._gpus = Claims(folder / "gpus", 0, max(0, len(facts.gpus) - 1), self._base)
        self._starting: dict[str, asyncio.Lock] = {}
        self._nursery = launch.Nursery()
        self._watched: dict[str, tuple[int, int]] = {}  # handle -> (pidfd of the shim, its pid)
        self._listeners: list[Callable[[str], None]] = []

    @property
    def gpus(self) -> int:
        return len(self.host.gpus)

    def at(self, node: str) -> LocalBackend:
        return self

    def address(self, listener: int | str) -> Address:
        if isinstance(listener, int):
            return Address("unix", f"{SOCKETS}/{os.path.basename(self._fronts[listener])}")
        if not self._listening:
            raise Unschedulable(
                f"this machine's backend was told of no folder of listeners, so {listener!r} is not in reach"
            )
        return Address("unix", f"{LISTENER}/s")

    def plan(self, workload: Workload) -> Spawn:
        asked = workload
        self.networks.check(workload)
        if workload.by_value:
            workload = placed(workload, self._folder_of(workload.key), self._models_folder, self._root_of)
            if not workload.command:
                return Spawn(asked, workload, (), (), ())
        workload = with_packages(workload, self._ports)
        if workload.fronts:  # the whole folder: a mounted socket file is dead when the front makes another one
            sockets = Mount(os.path.dirname(self._fronts[0]), SOCKETS)
            workload = dataclasses.replace(workload, mounts=(*workload.mounts, sockets))
        if workload.dials:
            workload = dataclasses.replace(workload, mounts=(*workload.mounts, self._listener(workload.dials)))
        workload = self.networks.without(workload)
        options = sandbox.arguments(workload, self.host)
        command, environment = sandbox.command(workload, self.host), sandbox.environment(workload)
        return Spawn(asked, workload, options, command, environment, containers.arguments(workload, self._engine))

    def _listener(self, name: str) -> Mount:
        self.address(name)
        if not _PLAIN.fullmatch(name):
            raise Invalid(f"{name!r} cannot be the name of a listener: use letters, digits, - and _")
        return Mount(os.path.join(self._listening, name), LISTENER)

    async def start(self, request: Spawn, secrets: Mapping[str, str] = MappingProxyType({})) -> str:
        key = request.asked.key
        _check_secrets(request.asked, secrets)
        if request.asked.by_value:
            async with self._starting.setdefault(key, asyncio.Lock()):  # two at once would write the same files
                if not self._begun(key):
                    await asyncio.to_thread(self._accept, request, secrets)
            self._starting.pop(key, None)
            self._take_up(key)
            self._attach(key)
            return key
        if secrets:
            request = self.plan(_with(request.asked, secrets))
        async with self._starting.setdefault(key, asyncio.Lock()):
            root = self._index.root(key)
            if root is None or Folder.of(root).read("run.json") is None:
                await asyncio.to_thread(self._start, request)
                self._tell(key)
        self._starting.pop(key, None)
        self._attach(key)
        return key

    async def observe(self, handle: str) -> Observation | None:
        root = self._index.root(handle)
        if root is None:
            return None
        folder = Folder.of(root)
        said = folder.read("run.json")
        if said is None:
            return self._coming(handle, folder)
        ended = folder.read("exit.json")
        if ended is None and folder.lost():
            ended = folder.read("exit.json") or await asyncio.to_thread(self._lost, folder, said)
        if ended is not None:
            return state.ended(ended)
        self._attach(handle)
        return self._running(folder, said)

    def _coming(self, handle: str, folder: Folder) -> Observation | None:
        """A run whose command has not begun."""
        ended = folder.read("exit.json")
        if ended is not None:
            return state.ended(ended)
        if requests.there(folder):
            return Observation(RunState.STARTING, phase=self._starts.phase(handle))
        return Observation(RunState.STARTING) if folder.alive() else None

    async def read(self, handle: str, files: str, path: str, limit: int) -> str:
        root = self._index.root(handle)
        return "" if root is None else await asyncio.to_thread(text_of, root, files, path, limit)

    async def write(self, handle: str, files: str, texts: Mapping[str, str]) -> bool:
        where = await self._files_of(handle, files)
        if where is not None:
            await self._changes.write(where, texts)
        return where is not None

    async def place(self, handle: str, files: str, folder: str, objects: Objects, keep: float) -> bool:
        where = await self._files_of(handle, files)
        if where is not None:
            await self._changes.place(where, folder, objects, keep, time.time())
        return where is not None

    async def _files_of(self, handle: str, files: str) -> str | None:
        """Where these files of a run lie that goes on, and may be changed; None where it does not. Invalid where it has no such files, or
        could change them itself: who writes there could be led elsewhere."""
        await self._starts.done(handle)
        root = self._index.root(handle)
        folder = Folder.of(root) if root else None
        if root is None or folder is None or folder.read("run.json") is None or folder.read("exit.json") is not None:
            return None
        asked = requests.kept(folder)
        if (
            asked is None
        ):  # of a Clary that laid replicas out in folders of their own: what they had was called the same
            where = os.path.join(root, files)
            return where if os.path.isdir(where) else None
        ours = (each for each in asked[0].files if each.mode is not MountMode.READ_WRITE and not each.model)
        if not any(each.name == files for each in ours):
            raise Invalid(f"the run {handle!r} has no files {files!r} that others may change")
        return files_of(root, files)

    async def model(self, digest: str) -> Mapping[str, Any] | None:
        return await asyncio.to_thread(self._models.found, digest)

    async def make_model(self, model: ModelFiles, opener: Environment | None, seconds: float) -> Mapping[str, Any]:
        return await self._models.make(model, opener, seconds)

    async def keep_models(self, digests: Collection[str]) -> None:
        await asyncio.to_thread(lambda: self._models.sweep({*digests, *self._mounted()}, time.time()))

    def _mounted(self) -> set[str]:
        """Digests of the models that runs have, ended ones too: those may be entered again."""
        keys = self._index.keys()
        roots = [self._index.root(key) for key in keys]
        asked = [requests.kept(Folder.of(root)) for root in roots if root is not None]
        return {files.model.partition("/")[0] for each in asked if each for files in each[0].files if files.model}

    async def content(self, handle: str, files: str, path: str, limit: int) -> bytes:
        root = self._index.root(handle)
        return b"" if root is None else await asyncio.to_thread(content_of, root, files, path, limit)

    async def names(self, handle: str, files: str, path: str) -> tuple[str, ...]:
        root = self._index.root(handle)
        return () if root is None else await asyncio.to_thread(names_of, root, files, path)

    async def small(self, handle: str, files: str, path: str) -> tuple[SmallFile, ...] | None:
        root = self._index.root(handle)
        if root is None or Folder.of(root).read("exit.json") is None:
            return None
        return await asyncio.to_thread(small_of, root, files, path)

    async def collect(self, handle: str) -> Mapping[str, Collected]:
        root = self._index.root(handle)
        asked = requests.kept(Folder.of(root)) if root else None
        if root is None or asked is None:
            raise NotFound(f"no run {handle!r} to collect the results of")
        folder, workload = Folder.of(root), asked[0]
        running = folder.read("exit.json") is None
        if not workload.results or (running and folder.read("run.json") is None):
            return {}
        if self._ports is None:
            raise Unavailable("this backend was given no object store")
        artifacts = self._ports.artifacts
        synced = await self._syncs.collect(workload, root, self._root_of, artifacts, running, time.time())
        return synced if running else {**synced, **await store(root, workload.results, artifacts)}

    async def take_up(self) -> None:
        """Go on with the starts of a predecessor that was killed."""
        for key in await asyncio.to_thread(self._index.keys):
            self._take_up(key)

    def _take_up(self, key: str) -> None:
        root = self._index.root(key)
        folder = Folder.of(root) if root else None
        if root and folder and requests.there(folder) and not (folder.read("run.json") or folder.read("exit.json")):
            self._starts.begin(key, root)

    def log_path(self, handle: str) -> str:
        """Where the run's output goes; empty when there is no such run."""
        root = self._index.root(handle)
        return str(((root and Folder.of(root).read("spec.json")) or {}).get("log", ""))

    def reentry(self, handle: str, command: Sequence[str], variables: Mapping[str, str], terminal: bool) -> Reentry:
        """How to enter the sandbox of an ended run again (see `reentry.py`). NotFound when it was forgotten."""
        way = reentry(self._index.root(handle), self._base, command, variables, terminal)
        return dataclasses.replace(way, network=self.networks.again(way.network))

    async def stop(self, handle: str, grace: float | None = None) -> None:
        root = self._index.root(handle)
        spec = Folder.of(root).read("spec.json") if root else None
        if root is None:
            return
        folder = Folder.of(root)
        asked = requests.kept(folder) if spec is None else None
        if asked is not None and folder.read("exit.json") is None:
            how = {"grace": asked[0].stop_grace if grace is None else grace}
            await asyncio.to_thread(folder.write, "stop.json", how)
            folder.tell(signal.SIGTERM)  # it may have been started just now
            await self._starts.stop(handle, folder)
            return
        if spec is None:
            return
        if folder.read("exit.json") is None:
            # Written first, told second: a shim that is just starting looks for it when it can be told.
            await asyncio.to_thread(folder.write, "stop.json", {"grace": spec["grace"] if grace is None else grace})
            folder.tell(signal.SIGTERM)
            await self.observe(handle)  # nobody was told where the shim is dead: then this ends what it left

    async def resize(self, handle: str, cpu: float, memory: int, burst: float = 0.0) -> None:
        """NotFound for a run that is not there or has ended; Unschedulable when the kernel refuses the new size."""
        await self._starts.done(handle)  # it would come up in the size that was asked for first
        root = self._index.root(handle)
        folder = Folder.of(root) if root else None
        spec = folder.read("spec.json") if folder else None
        if folder is None or spec is None or folder.read("exit.json") is not None:
            raise NotFound(f"no run {handle!r} to resize")
        limits = GroupLimits(cpu, memory, spec["pids"], burst, spec.get("background", False))
        await asyncio.to_thread(self._resize, folder, spec, limits)

    async def forget(self, handle: str) -> None:
        root = self._index.root(handle)
        if root is None:
            return
        folder = Folder.of(root)
        coming = requests.there(folder) and folder.read("run.json") is None
        if (folder.read("exit.json") is None and (coming or folder.alive())) or _is_given(folder):
            raise InUse(f"the run {handle!r} has not ended")
        await asyncio.to_thread(self._forget, handle, root, folder)

    async def handles(self) -> list[str]:
        """Keys that start with a dot are left out: they are Clary's own short runs (builds of environments), not a loop's; and runs whose
        sandbox was given to another, which are that one's."""

        def ours() -> list[str]:
            keys = self._index.keys()
            roots = ((key, self._index.root(key)) for key in keys if not key.startswith("."))
            return [key for key, root in roots if root is not None and not _is_given(Folder.of(root))]

        return await asyncio.to_thread(ours)

    def watch(self, listener: Callable[[str], None]) -> Callable[[], None]:
        self._listeners.append(listener)

        def leave() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return leave

    def facts(self) -> dict[str, str]:
        """What stands behind sandboxes here, for `clary doctor`: part -> how; "problem" only where workloads cannot run."""
        way = "root, one user id per sandbox" if self.host.root else "user namespaces"
        told = {"sandbox": way, "bwrap": self.host.bwrap or "missing", "filter": self.host.seccomp or "missing"}
        told |= self.groups.facts()
        told["containers"] = self._engine.name if self._engine else containers.NONE
        told["gpus"] = str(len(self.host.gpus))
        told["network"] = self.networks.problem or "one for each job and replica"
        return told | ({"problem": self.host.problem} if self.host.problem else {})

    def tidy(self) -> None:
        """Networks that have ended hold a FIFO, over which a copy of the state folder stumbles."""
        self.networks.tidy()

    def close(self) -> None:
        """Stop listening for ends; the runs go on. The last one to close after all runs have ended leaves no control group behind."""
        self._starts.close()
        self._nursery.close()
        for handle in list(self._watched):
            self._detach(handle)
        self.groups.remove()

    # Starting: in a thread, since it waits for the disk and for the shim.

    def _start(self, request: Spawn) -> None:
        try:
            self._start_or_find(request.workload, request)
        except OSError as error:  # a full disk, a folder that is gone
            raise Unavailable(f"cannot start {request.workload.key!r}: {error}") from error

    def _start_or_find(self, workload: Workload, request: Spawn) -> None:
        folder = Folder.of(workload.root)
        folder.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = launch.claim(folder, workload.key)
        if lock is None:
            return
        try:
            if folder.read("run.json") is not None:
                return  # another process was quicker, and its run may even have ended
            self._index.add(workload.key, workload.root)
            self._spawn(request, folder, lock)
        finally:
            os.close(lock)

    def _accept(self, request: Spawn, secrets: Mapping[str, str]) -> None:
        """From now on the run is known, and a successor can start it."""
        root = self._folder_of(request.asked.key)
        folder = Folder.of(root)
        try:
            folder.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._index.add(request.asked.key, root)
            requests.keep(folder, request.asked, secrets)
        except OSError as error:
            raise Unavailable(f"cannot start {request.asked.key!r}: {error}") from error

    def _launch(self, asked: Workload, secrets: Mapping[str, str], log: str, lock: int) -> None:
        """Start the shim of a run by value that is laid out. The lock is given away."""
        try:
            request = self.plan(_with(asked, secrets))
            request = dataclasses.replace(request, workload=dataclasses.replace(request.workload, log_path=log))
            self._spawn(request, Folder.of(request.workload.root), lock)
        finally:
            os.close(lock)

    def _started(self, key: str) -> None:
        self._attach(key)
        self._tell(key)

    def _begun(self, key: str) -> bool:
        """Whether the run was asked for: also where an older Clary started it, in a folder of the caller's."""
        root = self._index.root(key)
        folder = Folder.of(root) if root else None
        return folder is not None and (requests.there(folder) or folder.read("run.json") is not None)

    def _root_of(self, key: str) -> str:
        return self._index.root(key) or self._folder_of(key)

    def _folder_of(self, key: str) -> str:
        """A key that can be a folder's name is one: who looks there sees whose it is."""
        plain = _PLAIN.fullmatch(key) is not None
        return str(self._own / (key if plain else hashlib.sha256(key.encode()).hexdigest()[:40]))

    def _spawn(self, request: Spawn, folder: Folder, lock: int) -> None:
        if request.workload.standby and self._given(request, folder, lock):
            return
        uid = self._uid(request.workload, folder)
        if self.host.root:
            access.give(request.workload, uid)
        self._prepare(request, folder, uid)
        launch.spawn(folder.path, lock, folder.mark, self._nursery)

    def _given(self, request: Spawn, folder: Folder, lock: int) -> bool:
        """Begin the run in the sandbox that waits for one. False: it is not there any more, does not fit, or failed."""
        workload = request.workload
        root = self._index.root(workload.standby) if self.host.root else None
        waiting = Folder.of(root) if root else None
        made = waiting.read("spec.json") if waiting else None
        further = standby.further(workload, made["waits"]) if made and made.get("waits") else None
        if waiting is None or made is None or further is None or waiting.read("exit.json") is not None:
            return False
        access.give(workload, made["uid"])
        _secret(folder.path / "bwrap.args", "".join(item + "\0" for item in request.environment).encode())
        _secret(folder.path / ORDER, json.dumps(standby.order(workload)).encode())
        base = self._spec(request, folder, Group.of(made), list(workload.command))
        spec = {**base, **standby.inherited(made), "standby": workload.standby, "further": further, "beside": None}
        folder.write("spec.json", spec)
        if launch.give(waiting, folder, lock):
            return True
        for name in ("spec.json", ORDER):
            (folder.path / name).unlink(missing_ok=True)
        return False

    def _uid(self, workload: Workload, folder: Folder) -> int:
        if not self.host.root:
            return self.host.uid
        begun = folder.read("spec.json")  # of a start that was cut off
        begun = None if begun and begun.get("standby") else begun  # the other sandbox's
        return int(begun["uid"]) if begun else self._uids.take(workload.root)

    def _prepare(self, request: Spawn, folder: Folder, uid: int) -> None:
        workload = request.workload
        etc = folder.path / "etc"
        etc.mkdir(exist_ok=True, mode=0o755)
        for name, text in sandbox.files(workload, uid, uid if self.host.root else self.host.gid).items():
            (etc / name).write_text(text)
            (etc / name).chmod(0o644)
        filled = {sandbox.UID: str(uid), sandbox.FILES: str(etc), **self._take_gpus(workload)}
        arguments = [*_fill(request.options, filled), *request.environment]
        _secret(folder.path / "bwrap.args", "".join(item + "\0" for item in arguments).encode())
        limits = GroupLimits(workload.cpu, workload.memory, workload.pids, workload.burst, workload.background)
        group = self.groups.create(hashlib.sha256(workload.key.encode()).hexdigest()[:40], limits)
        spec = self._spec(request, folder, group, _fill(request.command, filled))
        beside = containers.beside(workload, request.container, self._engine, folder.path)
        folder.write("spec.json", {**spec, "uid": uid, "beside": beside})

    def _spec(self, request: Spawn, folder: Folder, group: Group, command: list[str]) -> dict[str, Any]:
        workload = request.workload
        counted = "memory" in self.groups
        return {
            "bwrap": self.host.bwrap,
            "mark": folder.mark,
            "args": str(folder.path / "bwrap.args"),
            "seccomp": self.host.seccomp,
            "command": command,
            "log": workload.log_path,
            "log_limit": _LOG_BYTES,
            "grace": workload.stop_grace,
            "max_runtime": workload.max_runtime,
            "join": group.join,
            "groups": group.paths,
            "folders": {name: list(where) for name, where in group.folders.items()},
            "counters": group.counters(),
            "memory": None if counted else workload.memory,
            "scratch": list(sandbox.SCRATCH),
            "pids": workload.pids,
            "disk": workload.disk,
            "network": self.networks.spec(workload),
            "note": self.networks.note(workload),
            "disk_paths": [mount.source for mount in workload.mounts if mount.mode == "rw"],
            "rlimits": self._rlimits(workload),
            "affinity": None if "cpu" in self.groups else self._affinity(max(workload.cpu, workload.burst)),
            "way": {"folder": str(self._serving), "weighed": "cpu" in group.folders, "by": ""}
            if workload.background
            else None,
            "tell": self._told(workload),
            "background": workload.background,
            "waits": standby.shape(workload) if workload.waits else None,
        }

    def _told(self, workload: Workload) -> tuple[str, str] | None:
        """Where a replica says that it is there. Clary's own short runs (`.`) are no reason for jobs to give way."""
        if workload.background or workload.key.startswith("."):
            return None
        self._serving.mkdir(exist_ok=True, mode=0o700)
        return str(self._serving), hashlib.sha256(workload.key.encode()).hexdigest()[:40]

    def _rlimits(self, workload: Workload) -> dict[str, int]:
        limits = {"CORE": 0, "NOFILE": _FILES}
        if workload.disk is not None:
            limits["FSIZE"] = workload.disk  # one file can never pass what all together may take
        if self.host.root:
            limits["NPROC"] = workload.pids  # counts per user id, and each sandbox has its own
        return limits

    def _affinity(self, cpu: float) -> list[int]:
        available = sorted(os.sched_getaffinity(0))
        wanted = min(len(available), max(1, math.ceil(cpu)))
        offset = os.urandom(1)[0] % len(available)
        return sorted((available[offset:] + available[:offset])[:wanted])

    def _take_gpus(self, workload: Workload) -> dict[str, str]:
        owned = self._gpus.owned(workload.root) if workload.gpus else []
        while len(owned) < workload.gpus:
            owned.append(self._gpus.take(workload.root))
        return {f"{sandbox.GPU}{index}": self.host.gpus[number] for index, number in enumerate(owned)}

    # What became of a run.

    def _running(self, folder: Folder, said: Mapping[str, Any]) -> Observation:
        spec = folder.read("spec.json") or {}
        counters = spec.get("counters", {})
        counted, group = "memory" in spec.get("folders", {}), Group.of(spec)
        members = sorted(group.processes()) if counted and "cpu" in counters else family(said["pid"])[1:]
        memory = group.memory() if counted else resident(members)
        cpu = counter(counters.get("cpu"))
        kills = int(counter(counters.get("oom")) or 0)
        return Observation(
            RunState.RUNNING,
            started_at=said["started_at"],
            cpu_seconds=cpu_time(members) if cpu is None else cpu,
            waited_seconds=waited(members),
            memory_bytes=memory,
            memory_peak_bytes=int(counter(counters.get("peak")) or memory),
            oom_killed=bool(kills),
            oom_kills=kills,
            disk_bytes=state.disk(folder),
            giving_way=bool((folder.read(way.FILE) or {}).get("giving")),
            pid=said["pid"],
        )

    def _lost(self, folder: Folder, said: Mapping[str, Any]) -> Mapping[str, Any]:
        """The shim died without a word. The kernel ends its sandbox, unless it was still being made; see to the rest, and write down that
        it is over."""
        spec = folder.read("spec.json") or {}
        if "mark" in spec:  # not in those of an older Clary
            end_marked(spec["mark"])
        with folder.locked() as ours:
            ended = folder.read("exit.json")
            if ended is None and ours:
                _end(spec)
                ended = {"state": "lost", "started_at": said["started_at"], "ended_at": time.time()}
                folder.write("exit.json", ended)
        return ended or {"state": "lost", "started_at": said["started_at"], "ended_at": None}

    def _resize(self, folder: Folder, spec: Mapping[str, Any], limits: GroupLimits) -> None:
        Group.of(spec).impose(limits)
        containers.resize(spec, limits.ceiling, limits.memory)
        if "memory" not in spec["folders"]:
            folder.write("limits.json", {"memory": limits.memory})
            folder.tell(signal.SIGUSR1)
        said = folder.read("run.json")
        if "cpu" not in spec["folders"] and said:
            cores = self._affinity(limits.ceiling)
            for pid in family(said["pid"])[1:]:
                try:
                    os.sched_setaffinity(pid, cores)
                except ProcessLookupError:
                    continue

    def _forget(self, handle: str, root: str, folder: Folder) -> None:
        spec = folder.read("spec.json") or {}
        _end(spec)
        before = self._index.root(spec["standby"]) if spec.get("standby") else None
        if before is not None:  # the run had its sandbox
            self._forget(spec["standby"], before, Folder.of(before))
        self.networks.forget(spec.get("network"))
        for claims in (self._uids, self._gpus):
            for number in claims.owned(root):
                claims.release(number, root)
        state.remove(folder)
        if Path(root).parent in self._removed:
            shutil.rmtree(root, ignore_errors=True)
        self._index.remove(handle)

    # Hearing of an end: a pidfd of the shim is readable when it has exited.

    def _attach(self, handle: str) -> None:
        root = self._index.root(handle)
        said = Folder.of(root).read("run.json") if root and handle not in self._watched else None
        fd = Folder.of(root).shim() if root and said else None
        if said is None or fd is None:
            return
        self._watched[handle] = (fd, said["pid"])
        # In a context of its own: whose turn it is now has nothing to do with the end of the run.
        contextvars.Context().run(asyncio.get_running_loop().add_reader, fd, self._left, handle)

    def _left(self, handle: str) -> None:
        self._detach(handle)
        self._tell(handle)

    def _detach(self, handle: str) -> None:
        fd, pid = self._watched.pop(handle, (-1, 0))
        if fd < 0:
            return
        asyncio.get_running_loop().remove_reader(fd)
        os.close(fd)
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            pass  # a predecessor's child

    def _tell(self, handle: str) -> None:
        for listener in list(self._listeners):
            listener(handle)


def create(
    folder: str,
    *,
    uid_range: tuple[int, int] = (210_000, 214_095),
    control_groups: bool = True,
    facts: Host | None = None,
    engine: containers.Engine | None = None,
    reach: Iterable[str] = (),
    strict_network: bool = False,
    fronts: Sequence[str] = (),
    ports: NodePorts | None = None,
    listeners: str = "",
) -> LocalBackend:
    """The backend that keeps its state in `folder` (absolute; made if need be, mode 0700).

    `uid_range`: first and last user id for sandboxes when Clary runs as root; the one behind them is pasta's. `control_groups` False: do
    without them, as on a host where they cannot be written. `reach`: URLs that sandboxes are given; what they name on loopback stays in
    reach from their networks. `strict_network`: refuse to run what would share the machine's network. `fronts`: the fronts' sockets for
    workers, by the fronts' numbers. `ports`: the object store and the logs, for workloads by value, and the
    environments of workloads. `listeners`: see `choice.BackendOptions`."""
    path = Path(os.path.abspath(folder))
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    name = "clary-" + hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    groups = cgroups.find(name) if control_groups else Cgroups({})
    found = facts or host.find()
    toolkit = library.publish(Path(found.toolkit), path / "lib")
    found = dataclasses.replace(found, toolkit=str(toolkit))
    uid = uid_range[1] + 1 if found.root else None
    nets = networks.find(path / "networks", uid, urls=reach, files=host.PACKAGE_SETTINGS, strict=strict_network)
    found = found if nets.problem else networks.with_resolver(found, path)
    uids = Claims(path / "uids", *uid_range, Base(path.parent))
    return LocalBackend(path, found, groups, uids, nets, engine, fronts, ports, listeners)


def for_site(options: BackendOptions) -> LocalBackend:
    """The backend of a state folder (see `choice.py`)."""
    return create(
        options.folder,
        uid_range=options.uid_range,
        engine=options.engine,
        reach=options.reach,
        strict_network=options.strict_network,
        fronts=options.fronts,
        ports=options.ports,
        listeners=options.listeners,
    )


def _with(workload: Workload, secrets: Mapping[str, str]) -> Workload:
    """With the secrets that are variables, which a real image beside it gets too."""
    variables = workload.variables(secrets)
    beside = workload.container
    if beside is not None:
        beside = dataclasses.replace(beside, environment={**beside.environment, **variables})
    return dataclasses.replace(workload, environment={**workload.environment, **variables}, container=beside)


def _check_secrets(workload: Workload, secrets: Mapping[str, str]) -> None:
    missing = {name for files in workload.files for name in files.secrets.values()} - set(secrets)
    if missing:
        raise Invalid(f"the files of {workload.key!r} name secrets that were not given: {', '.join(sorted(missing))}")


def _fill(argv: tuple[str, ...], values: Mapping[str, str]) -> list[str]:
    """Put what is known only now into a plan's options: whole words, and the folder at the start of a path."""
    etc = values[sandbox.FILES] + "/"
    return [values.get(item, item).replace(sandbox.FILES + "/", etc) for item in argv]


def _secret(path: Path, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)


def _is_given(folder: Folder) -> bool:
    """Its sandbox was given to another run, which is there: what it has goes with that one."""
    to = (folder.read("exit.json") or {}).get("given", "")
    return bool(to) and Path(str(to), "run.json").exists()


def _end(spec: Mapping[str, Any]) -> None:
    Group.of(spec).end()
    if spec.get("beside"):
        remove_container(spec["beside"])
