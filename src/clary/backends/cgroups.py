"""Control groups: CPU, memory and number of processes of a run, counted and limited by the kernel.

Chosen per controller by a write test, version 2 or 1 (version 2 may be mounted without a controller that version 1 has), always in a
group of our own below the group that Clary was started in. Where a controller cannot be had, `facts` says what stands in for it: the
shim's own measuring of memory, affinity and giving way (`shim/way.py`), RLIMIT_NPROC.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clary.domain.errors import Unschedulable

CONTROLLERS = ("cpu", "memory", "pids", "cpuacct")
STAND_INS = {"cpu": "affinity and giving way", "memory": "measured by the shim", "pids": "RLIMIT_NPROC"}
_PERIOD_US = 100_000
_BACKGROUND = 1 / 32  # of a weight: what others want, a run in the background gets little of
_LEAF = "clary-main"  # version 2: a group with children may hold no processes, so Clary's own go here


@dataclass(frozen=True, slots=True)
class Controller:
    """A controller that passed the write test: `parent` is our own group."""

    name: str
    version: int
    parent: str


@dataclass(frozen=True, slots=True)
class GroupLimits:
    """cpu in vCPU (weight, and ceiling where `burst` is no more), memory in bytes, pids a count. `background`: it weighs little."""

    cpu: float
    memory: int
    pids: int
    burst: float = 0.0
    background: bool = False

    @property
    def weight(self) -> float:
        """In vCPU: what it gets, when all want more than there is, is in proportion to it."""
        return self.cpu * (_BACKGROUND if self.background else 1.0)

    @property
    def ceiling(self) -> float:
        return max(self.cpu, self.burst)


@dataclass(frozen=True, slots=True)
class Group:
    """The groups of one run: controller -> (version, folder)."""

    folders: Mapping[str, tuple[int, str]] = field(default_factory=dict)

    @staticmethod
    def of(spec: Mapping[str, Any]) -> Group:
        """Those that a run's spec names."""
        return Group({name: (int(version), str(folder)) for name, (version, folder) in spec.get("folders", {}).items()})

    @property
    def join(self) -> list[str]:
        """Files into which a process writes "0" to enter."""
        return [f"{folder}/cgroup.procs" for folder in self.paths]

    @property
    def paths(self) -> list[str]:
        return sorted({folder for _, folder in self.folders.values()})

    def counters(self) -> dict[str, tuple[str, str, float]]:
        """What the run used: cpu (seconds), peak (bytes), oom (kills) -> (file, key or "", divisor)."""
        found: dict[str, tuple[str, str, float]] = {}
        if "memory" in self.folders:
            version, folder = self.folders["memory"]
            found["peak"] = (f"{folder}/memory.peak" if version == 2 else f"{folder}/memory.max_usage_in_bytes", "", 1)
            found["oom"] = (
                f"{folder}/memory.events" if version == 2 else f"{folder}/memory.oom_control",
                "oom_kill",
                1,
            )
        if "cpuacct" in self.folders:
            found["cpu"] = (f"{self.folders['cpuacct'][1]}/cpuacct.usage", "", 1e9)
        elif "cpu" in self.folders and self.folders["cpu"][0] == 2:
            found["cpu"] = (f"{self.folders['cpu'][1]}/cpu.stat", "usage_usec", 1e6)
        return found

    def memory(self) -> int:
        """Bytes in use that could not simply be dropped (page cache not used lately is left out); 0 when not counted."""
        if "memory" not in self.folders:
            return 0
        version, folder = self.folders["memory"]
        try:
            used = int(Path(folder, "memory.current" if version == 2 else "memory.usage_in_bytes").read_text())
            statistics = Path(folder, "memory.stat").read_text().splitlines()
        except (OSError, ValueError):
            return 0
        key = "inactive_file " if version == 2 else "total_inactive_file "
        return max(0, used - sum(int(line.removeprefix(key)) for line in statistics if line.startswith(key)))

    def impose(self, limits: GroupLimits) -> None:
        """Impose limits, also on a running group. Unschedulable when the kernel refuses (memory below what cannot be freed)."""
        for name, (version, folder) in self.folders.items():
            for file, value, needed in settings(name, version, limits):
                try:
                    Path(folder, file).write_text(value)
                except OSError as error:
                    if needed:
                        raise Unschedulable(f"cannot set {file} to {value}: {error.strerror}") from error

    def processes(self) -> set[int]:
        found: set[int] = set()
        for path in self.paths:
            try:
                found |= {int(line) for line in Path(path, "cgroup.procs").read_text().split()}
            except OSError:
                continue
        return found

    def end(self, seconds: float = 2.0, pause: Callable[[float], None] = time.sleep) -> None:
        """Kill whatever is left in it and remove it. For a run whose shim is dead."""
        until = time.monotonic() + seconds
        while (left := self.processes()) and time.monotonic() < until:
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            pause(0.002)
        for path in self.paths:
            try:
                os.rmdir(path)
            except OSError:
                continue  # gone already, or a process that the kernel cannot end: the folder stays and says so


def settings(controller: str, version: int, limits: GroupLimits) -> list[tuple[str, str, bool]]:
    """(file, value, needed) for a controller; pure. Swap counts as memory where the kernel can tell."""
    quota = max(1000, round(limits.ceiling * _PERIOD_US))
    match controller, version:
        case "cpu", 1:
            shares = max(2, round(1024 * limits.weight))
            return [
                ("cpu.shares", str(shares), True),
                ("cpu.cfs_period_us", str(_PERIOD_US), True),
                ("cpu.cfs_quota_us", str(quota), True),
            ]
        case "cpu", 2:
            weight = min(10_000, max(1, round(100 * limits.weight)))
            return [("cpu.weight", str(weight), True), ("cpu.max", f"{quota} {_PERIOD_US}", True)]
        case "memory", 1:
            size = str(limits.memory)
            # Lowering: memory first; raising: memory and swap together first. Twice covers both.
            return [
                ("memory.memsw.limit_in_bytes", size, False),
                ("memory.limit_in_bytes", size, True),
                ("memory.memsw.limit_in_bytes", size, False),
            ]
        case "memory", 2:
            return [("memory.max", str(limits.memory), True), ("memory.swap.max", "0", False)]
        case "pids", _:
            return [("pids.max", str(limits.pids), True)]
        case _:
            return []


class Cgroups:
    """Makes the groups of runs in the controllers that passed the test."""

    def __init__(self, controllers: Mapping[str, Controller]) -> None:
        self._controllers = dict(controllers)

    def facts(self) -> dict[str, str]:
        """Resource -> mechanism, for `clary doctor`."""
        told = {}
        for name, stand_in in STAND_INS.items():
            have = self._controllers.get(name)
            told[name] = f"cgroup v{have.version} ({have.parent})" if have else stand_in
        return told

    def remove(self) -> None:
        """Our own groups, where no run is left in them."""
        for folder in {item.parent for item in self._controllers.values()}:
            try:
                os.rmdir(folder)
            except OSError:
                continue  # a run goes on

    def __contains__(self, controller: str) -> bool:
        return controller in self._controllers

    def create(self, run: str, limits: GroupLimits) -> Group:
        """The groups of `run` (a file name), with their limits. Idempotent."""
        group = Group({name: (item.version, f"{item.parent}/{run}") for name, item in self._controllers.items()})
        for path in group.paths:
            os.makedirs(path, exist_ok=True)
        group.impose(limits)
        return group


def find(name: str, proc: str = "/proc/self") -> Cgroups:
    """Test every controller; `name` is the group that will be ours."""
    own = own_groups(Path(proc, "cgroup").read_text(), Path(proc, "mountinfo").read_text())
    found: dict[str, Controller] = {}
    for version, folder, controllers in own:
        for controller in controllers:
            if controller in CONTROLLERS and controller not in found:
                parent = _make(version, folder, name, controller)
                if parent:
                    found[controller] = Controller(controller, version, parent)
    return Cgroups(found)


def own_groups(processes: str, mounts: str) -> list[tuple[int, str, list[str]]]:
    """(version, folder of the group that we are in, its controllers), version 2 first; pure but for reading cgroup.controllers."""
    paths: dict[str, str] = {}
    for line in processes.splitlines():
        _, controllers, path = line.split(":", 2)
        for item in controllers.split(","):
            paths[item] = path
    found: list[tuple[int, str, list[str]]] = []
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        root, point = left.split()[3:5]
        kind, _, options = right.split(" ", 2)
        if kind == "cgroup2":
            folder = _below(point, root, paths.get("", "/"))
            folder = folder.removesuffix("/" + _LEAF)
            found.insert(0, (2, folder, _read(folder, "cgroup.controllers").split()))
        elif kind == "cgroup":
            names = [item for item in options.split(",") if item in CONTROLLERS]
            found += [(1, _below(point, root, paths[item]), [item]) for item in names if item in paths]
    return found


def _below(point: str, root: str, path: str) -> str:
    """Where a group's folder is: the mount may show only a part of the hierarchy."""
    inside = path.removeprefix(root) if root != "/" and (path + "/").startswith(root + "/") else path
    return (point + "/" + inside.strip("/")).rstrip("/")


def _read(folder: str, name: str) -> str:
    try:
        return Path(folder, name).read_text()
    except OSError:
        return ""


def _make(version: int, folder: str, name: str, controller: str) -> str:
    """Our own group's folder when a group below it can be limited, else ""."""
    parent, probe = f"{folder}/{name}", f"{folder}/{name}/probe-{os.getpid()}"
    try:
        os.makedirs(parent, exist_ok=True)
        if version == 2 and not (_enable(folder, controller) and _enable(parent, controller)):
            return ""
        os.makedirs(probe, exist_ok=True)
        try:
            for file, value, needed in settings(controller, version, GroupLimits(cpu=1.0, memory=1 << 30, pids=64)):
                if needed:
                    Path(probe, file).write_text(value)
            if not os.access(f"{probe}/cgroup.procs", os.W_OK):
                return ""
        finally:
            os.rmdir(probe)
    except OSError:
        return ""
    return parent


def _enable(folder: str, controller: str) -> bool:
    if controller in _read(folder, "cgroup.subtree_control").split():
        return True
    try:
        Path(folder, "cgroup.subtree_control").write_text(f"+{controller}")
    except OSError:
        if not _delegated(folder):
            return False
        _vacate(folder)
        Path(folder, "cgroup.subtree_control").write_text(f"+{controller}")
    return True


def _delegated(folder: str) -> bool:
    """systemd marks a group whose owner may arrange it."""
    for name in ("user.delegate", "trusted.delegate"):
        try:
            if os.getxattr(folder, name) == b"1":
                return True
        except OSError:
            continue
    return False


def _vacate(folder: str) -> None:
    """Move the group's processes (all ours: it is delegated to us) into a leaf, as version 2 demands of a parent."""
    leaf = f"{folder}/{_LEAF}"
    os.makedirs(leaf, exist_ok=True)
    for pid in _read(folder, "cgroup.procs").split():
        try:
            Path(leaf, "cgroup.procs").write_text(pid)
        except OSError:
            continue  # it has just ended
