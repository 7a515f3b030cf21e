"""What a job is, whatever its kind: hosts, inputs, code, command, outputs, limits. Parsed once, when the job is created.

Life, work, places, ledger and usage see nothing else of a request. A record keeps it as `domain/stored.py` says. The image
stays a name here: which runtime stands behind it is asked when the job starts, and again after a restart. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from clary.domain.jobs.channels import Channel
from clary.domain.jobs.datasets import SourceQuery
from clary.domain.jobs.hosts import Host
from clary.domain.s3 import Location

STOP_GRACE = 120.0  # seconds between SIGTERM and SIGKILL, AWS's


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
    `isolated`: without any network. `queries`: inputs that are asked of a database, before the others are placed."""

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
    queries: tuple[SourceQuery, ...] = ()

    def host(self, name: str) -> Host:
        return next(host for host in self.hosts if host.name == name)
