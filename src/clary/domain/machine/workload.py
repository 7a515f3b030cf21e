"""The workloads that a backend runs (sandboxed process groups), and its reports about them. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Feature(StrEnum):
    """What a backend can do beyond running a process."""

    GPU = "gpu"
    RESIZE = "resize"
    LOGS = "logs"
    MULTI_NODE = "multi-node"


class MountMode(StrEnum):
    READ_ONLY = "ro"
    READ_WRITE = "rw"
    OVERLAY = "overlay"  # source is the lower layer, writes go to a tmpfs that dies with the sandbox


@dataclass(frozen=True, slots=True)
class Mount:
    """A host folder or file inside the sandbox. `target` is absolute. FIFO folders (Pipe mode) are plain READ_WRITE mounts."""

    source: str
    target: str
    mode: MountMode = MountMode.READ_ONLY


@dataclass(frozen=True, slots=True)
class ContainerImage:
    """A real image that runs beside the sandbox, under the host's container engine, as long as the workload does. The sandbox shares
    its network, and reaches its ports at 127.0.0.1. `network`: whether it reaches anything else."""

    image: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    mounts: tuple[Mount, ...] = ()
    network: bool = True


@dataclass(frozen=True, slots=True)
class Workload:
    """A process group in a sandbox. `key` is chosen before starting: starting the same key twice is one run.

    `environment` reaches the process by inheritance, never on a command line. Memory is in bytes, cpu in vCPU (weight, and
    ceiling), times in seconds. The writable contents of READ_WRITE mounts are made accessible to the sandbox's user by the
    backend. `root` is the workload's own folder on the host (spec, shim state); the backend keeps its files there.
    """

    key: str
    root: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    mounts: tuple[Mount, ...]
    log_path: str | None  # stdout and stderr, line by line: "<epoch ms>\t<text>\n"
    cpu: float = 1.0
    burst: float = 0.0  # vCPU that it may use while nobody else wants them, where that is more than `cpu`
    background: bool = (
        False  # it gives way: others have CPU first, and it is the first to go when the machine runs out of memory
    )
    memory: int = 1 << 30
    pids: int = 4096
    disk: int | None = None  # bytes that READ_WRITE mounts may grow to together
    network: bool = True
    fronts: bool = False  # it dials fronts: their sockets are in reach, at the addresses that the backend tells
    connects: bool = (
        True  # False: Clary's own code, which dials nobody but its front: the backend may leave its network out
    )
    peers: str = ""  # workloads of the same name share a network, and reach each other in it; "": it has one of its own
    hostname: str = "algo-1"
    hosts: Mapping[str, str] = field(default_factory=dict)  # name -> address, for /etc/hosts
    cwd: str = "/"
    stop_grace: float = 120.0  # SIGTERM, then this long, then SIGKILL
    gpus: int = 0
    container: ContainerImage | None = None
    max_runtime: float | None = (
        None  # the shim ends it after this (SIGTERM, grace, SIGKILL), even without a control plane
    )


class RunState(StrEnum):
    STARTING = "starting"
    RUNNING = "running"
    EXITED = "exited"
    LOST = "lost"  # the shim died without a word; how it ended is not known

    @property
    def is_terminal(self) -> bool:
        return self in (RunState.EXITED, RunState.LOST)


@dataclass(frozen=True, slots=True)
class Observation:
    """How a run is. Times are epoch seconds. `exit_code` is the command's, 128 + signal when a signal ended it."""

    state: RunState
    started_at: float | None = None
    ended_at: float | None = None
    exit_code: int | None = None
    oom_killed: bool = False
    oom_kills: int = 0  # processes that the kernel ended for their memory, of a run that goes on
    timed_out: bool = False  # max_runtime ended it
    stopped: bool = False  # stop() ended it
    cpu_seconds: float = 0.0
    waited_seconds: float = (
        0.0  # in which its processes (those that still run) were ready to run and others ran; 0: not told
    )
    memory_bytes: int = 0
    memory_peak_bytes: int = 0
    disk_bytes: int | None = None  # what READ_WRITE mounts hold; None: not measured (yet)
    giving_way: bool = False  # in the background, and endpoints want CPU: it gets what they leave
    pid: int | None = None
    detail: str = ""  # why it could not start, in words for the user
