"""What a job is, whatever its kind: hosts, inputs, code, command, outputs, limits. Parsed once, when the job is created.

Life, work, places, ledger and usage see nothing else of a request. `dumped` is how a record keeps it, `loaded` reads that back. The image
stays a name here: which runtime stands behind it is asked when the job starts, and again after a restart. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import lru_cache
from types import NoneType, UnionType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from clary.domain.jobs.channels import Channel
from clary.domain.jobs.hosts import Host
from clary.domain.s3 import Location

STOP_GRACE = 120.0  # seconds between SIGTERM and SIGKILL, AWS's

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Output:
    """A folder of the container that is stored when the job ends. `packed`: as one gzipped tar, whose object `location` is; else the
    files themselves, below it. `failed`: also of a job that failed. `always`: a tar even when there is nothing to pack."""

    name: str
    path: str
    location: Location
    packed: bool = True
    failed: bool = False
    always: bool = False


@dataclass(frozen=True, slots=True)
class Sync:
    """A folder of the container whose files are stored below an S3 prefix, however the job ends: links are never followed, and files
    that hosts wrote under one name overwrite each other. `restore`: it is filled from there at the start, and what the job deletes is
    deleted there. `running`: what changes is stored while the job runs, too."""

    name: str
    path: str
    location: Location
    restore: bool
    running: bool = True


@dataclass(frozen=True, slots=True)
class JobSpec:
    """A job. `command` () means the kind's own program, or the image's; `arguments` follow it; `built_in`: no code of a user's is
    named. `code` is an archive that is unpacked in /opt/ml/code. `folders`: further ones that are there when the container starts.
    `metrics`: name and expression of each, `objective`: the one that a parent looks at. `volume`: bytes that each host may write (0:
    any number); `max_runtime`, `max_wait` (for capacity) in seconds; `attempts`: how often it is tried again when Clary is at fault;
    `isolated`: without any network."""

    image: str
    role: str
    log_group: str
    hosts: tuple[Host, ...]
    max_runtime: int
    inputs: tuple[Channel, ...] = ()
    code: Location | None = None
    command: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    built_in: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    outputs: tuple[Output, ...] = ()
    syncs: tuple[Sync, ...] = ()
    folders: tuple[str, ...] = ()
    metrics: tuple[Mapping[str, str], ...] = ()
    objective: str = ""
    volume: int = 0
    max_wait: int | None = None
    spot: bool = False
    attempts: int = 0
    isolated: bool = False

    def host(self, name: str) -> Host:
        return next(host for host in self.hosts if host.name == name)


def dumped(value: Any) -> Any:
    """A value of dataclasses, tuples and mappings as JSON; what has its default is left out."""
    if is_dataclass(value):
        return {
            each.name: dumped(found)
            for each in fields(value)
            if (found := getattr(value, each.name)) != each.default
            and (each.default_factory is MISSING or found != each.default_factory())
        }
    if isinstance(value, tuple):
        return [dumped(each) for each in value]
    return dict(value) if isinstance(value, Mapping) else value


def loaded(kind: type[T], stored: Mapping[str, Any]) -> T:
    """The dataclass that `dumped` made this of. Members that it does not know (of a later Clary) are passed over."""
    known = _hints(cast(Any, kind))
    return kind(**{name: _read(known[name], value) for name, value in stored.items() if name in known})


@lru_cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _read(hint: Any, value: Any) -> Any:
    if get_origin(hint) is UnionType:
        if value is None:
            return None
        hint = next(each for each in get_args(hint) if each is not NoneType)
    if is_dataclass(hint) and isinstance(hint, type):
        return loaded(hint, value)
    if get_origin(hint) is tuple:
        return tuple(_read(get_args(hint)[0], each) for each in value)
    return value
