"""The workloads that a backend runs (sandboxed process groups), and its reports about them. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from clary.domain.resources import Scope
from clary.domain.s3 import Location


class Feature(StrEnum):
    """What a backend can do beyond running a process."""

    GPU = "gpu"
    RESIZE = "resize"
    LOGS = "logs"
    MULTI_NODE = "multi-node"
    STANDBY = "standby"  # a sandbox may be made ahead, for a run that comes later (`Workload.standby`)


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


ENVIRONMENT = "/opt/clary/environment"  # where a sandbox has its packages


@dataclass(frozen=True, slots=True)
class Environment:
    """Packages by value: those of a runtime of that name, and what a user adds to them. `hash` is of all that decides their content: locked
    requirements, the user's, the interpreter's version, the kind of machine. Where they lie on a host only its node knows, which makes them
    where they are not there yet. Clary's toolkit is no part of them: each node lays its own beside (`backends/library.py`), so that an
    upgrade of Clary builds nothing again. `release`: of Python, where the code needs that one; `serving`: see `ports.Runtime`."""

    runtime: str
    hash: str
    requirements: str = ""
    release: str = ""
    serving: bool = False

    @property
    def path(self) -> str:
        """In a sandbox."""
        return ENVIRONMENT

    @property
    def python(self) -> str:
        """The interpreter, in a sandbox."""
        return f"{ENVIRONMENT}/bin/python"


@dataclass(frozen=True, slots=True)
class EnvironmentPlace:
    """Where a node has an environment: its folder on the host, and the further folders that it needs at their own paths (those of its base
    interpreter)."""

    path: str
    mounts: tuple[str, ...] = ()

    @property
    def python(self) -> str:
        """The interpreter, on the host."""
        return f"{self.path}/bin/python"


@dataclass(frozen=True, slots=True)
class Objects:
    """Objects of S3 as read-only files, as the account may read them. `keys`: key -> path below the folder `below` of the files' own."""

    account: str
    bucket: str
    keys: Mapping[str, str]
    below: str = ""


@dataclass(frozen=True, slots=True)
class Selected:
    """Objects of S3 that are selected when they are laid out: in the folder `data` under their names, which `list` beside it tells.

    Which ones is `data_type`'s (AWS's S3DataType): all whose keys begin with that of `location`, those that the manifest there names, or
    the values of the `attributes` of an augmented one. `sharded`: (number, of) takes every `of`-th of them, in order or, with `seed`, as
    shuffled by it. `piped`: for a feeder of FIFOs, by number in the folder `objects`, in the order of the lines of `items.jsonl`. `own`:
    data so small that it costs nothing are copies, which the run may change; `copies`: all data are. `nothing`: words for the user where
    there is none, unless that is fine (`optional`): then for a bucket that is not there."""

    account: str
    location: Location
    data_type: str = "S3Prefix"
    attributes: tuple[str, ...] = ()
    sharded: tuple[int, int] | None = None
    seed: int | None = None
    piped: bool = False
    own: bool = False
    copies: bool = False
    optional: bool = False
    nothing: str = ""


@dataclass(frozen=True, slots=True)
class Laid:
    """What became of `Selected`: bytes, and whether they are copies; of what was listed the count, a digest of keys and ETags, and of the
    first objects both."""

    size: int
    own: bool = False
    count: int = 0
    digest: str = ""
    first: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class LeftBy:
    """What another run of the same backend has in its files of that name, from `path` on. That run must not be forgotten meanwhile."""

    run: str
    files: str
    path: str = ""


@dataclass(frozen=True, slots=True)
class Files:
    """A folder that is laid out for a run before it starts, and lies at `target` in its sandbox. `name` tells it from the workload's
    others. `texts`: path -> content. `secrets`: path -> name of the secret, given beside the workload, that is its content; `folders`:
    paths of empty ones. What is in it is readable by everybody inside, and by nobody else on the host.

    `selected`: objects that its node selects. `model`: instead of all, that folder (`DIGEST/NAME`, and what is below it) of a model that
    the node has (`ModelFiles`), never to be written itself. `left`: instead, another run's. Under an overlay everybody inside may add
    files to either."""

    name: str
    target: str
    mode: MountMode = MountMode.READ_ONLY
    texts: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    objects: tuple[Objects, ...] = ()
    model: str = ""
    folders: tuple[str, ...] = ()
    selected: Selected | None = None
    left: LeftBy | None = None


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model, or the code of jobs, as files, which a node makes once for all that have it: by name, folders of objects, and of what is in
    archives (.tar.gz) of the account's. `digest` is of all that decides their content."""

    digest: str
    account: str
    folders: Mapping[str, Objects] = field(default_factory=dict)
    archives: Mapping[str, Location] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Result:
    """A file that a run leaves at `path` in its `files` of that name, and the object of the account's that it becomes. `tree`: `path` is a
    folder, and every regular file below it becomes an object below `to`. `given`: the file itself is given away, without a copy of it
    (for runs that nobody enters again).

    `synced`: a `tree` (`path` is '', `to` ends in '/') of which only what is new or changed is stored; `running`: also when results are
    collected while the run goes on; `mirror`: what the run deletes is deleted there."""

    files: str
    path: str
    account: str
    to: Location
    content_type: str = ""
    tree: bool = False
    given: bool = False
    synced: bool = False
    running: bool = False
    mirror: bool = False


@dataclass(frozen=True, slots=True)
class Collected:
    """An object that a result became. Size in bytes."""

    etag: str
    size: int


SMALL_COUNT, SMALL_BYTES = 100, 1 << 20


@dataclass(frozen=True, slots=True)
class SmallFile:
    """A file that a run left. `modified`: whole seconds since 1970."""

    path: str
    content: bytes = field(repr=False)
    modified: int
    executable: bool = False


@dataclass(frozen=True, slots=True)
class LogTarget:
    """The log stream that a run writes. It is made where there is none."""

    scope: Scope
    group: str
    stream: str


@dataclass(frozen=True, slots=True)
class ContainerImage:
    """A real image that runs beside the sandbox, under the host's container engine, as long as the workload does. The sandbox shares
    its network, and reaches its ports at 127.0.0.1. `files`: names of those of the workload's that it has too. `network`: whether it
    reaches anything else."""

    image: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    mounts: tuple[Mount, ...] = ()
    files: tuple[str, ...] = ()
    network: bool = True


@dataclass(frozen=True, slots=True)
class Workload:
    """A process group in a sandbox. `key` is chosen before starting: starting the same key twice is one run.

    `environment` reaches the process by inheritance, never on a command line. Memory is in bytes, cpu in vCPU (weight, and
    ceiling), times in seconds. The writable contents of READ_WRITE mounts are made accessible to the sandbox's user by the
    backend.

    A workload by value has no `root`: the backend lays out its `files`, and `results` can be collected when it has ended. `logs` is where
    its output goes; without, the backend keeps it as long as the run (`Backend.read`). What is secret of its environment is given beside.

    One without a command has ended (exit code 0) when its files are laid out: for others, which have them by `LeftBy`.

    With a `root` (a folder on the host that the caller made; the backend keeps its own files there too) output goes to `log_path`.
    """

    key: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    mounts: tuple[Mount, ...] = ()
    files: tuple[Files, ...] = ()
    results: tuple[Result, ...] = ()
    logs: LogTarget | None = None
    packages: Environment | None = None
    installs: bool = (
        False  # it has a copy of the packages that it may change (a job may pip-install), which ends with it
    )
    root: str = ""
    log_path: str | None = None  # stdout and stderr, line by line: "<epoch ms>\t<text>\n"
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
    dials: str = ""  # name of a listener of the control plane's own, in reach of this run alone, at the address that the backend tells
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
    waits: bool = False  # its command reads from its standard input what to be (`toolkit/standby.py`)
    standby: str = ""  # handle of a run that waits, in whose sandbox it begins where that is there and fits; else in one of its own
    max_runtime: float | None = (
        None  # the shim ends it after this (SIGTERM, grace, SIGKILL), even without a control plane
    )

    def variables(self, secrets: Mapping[str, str]) -> dict[str, str]:
        """Those of the secrets given beside it that are further variables of its environment: no files name them."""
        filed = {name for files in self.files for name in files.secrets.values()}
        return {name: text for name, text in secrets.items() if name not in filed}

    @property
    def by_value(self) -> bool:
        """Whether the backend lays it out."""
        return not self.root


class RunState(StrEnum):
    STARTING = "starting"
    RUNNING = "running"
    EXITED = "exited"
    LOST = "lost"  # the shim died without a word; how it ended is not known

    @property
    def is_terminal(self) -> bool:
        return self in (RunState.EXITED, RunState.LOST)


@dataclass(frozen=True, slots=True)
class RunFailure:
    """Why a run could not be laid out or started. `client`: the user's data is at fault, and the same would happen again."""

    message: str
    client: bool = False


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
    phase: str = ""  # of a run that is STARTING, what is being done
    failure: RunFailure | None = None  # of a run that EXITED before its command ran
    laid: Mapping[str, Laid] = field(default_factory=dict)  # by files' name, of a run without a command that EXITED
