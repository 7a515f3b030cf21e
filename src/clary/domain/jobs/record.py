"""A job's record: its document, the commands its life needs, and what is observed of it. Values and small steps; what
happens next is decided in `jobs/life.py`.

Phases: starting (waits for capacity) -> downloading -> training -> uploading -> closing -> (final). A phase is where the work is;
the status that users see moves only through `lifecycle.JOB`, the secondary status through `enter`. Long work (placing channels,
preparing code, building environments, packing and uploading) is named by commands and observed as `Work`; processes are named by
`StartHost` and observed as runs. Does not know paths, mounts, S3 calls: `loops/jobs/subject.py` does these.

The document, beside `request`, `spec` (the request as a `JobSpec`) and `tags`: `id`, `phase`, `attempt`, `transitions`, `fits` (what each
instance type gets here), `handles`, `started` and `ended` (TrainingStartTime and -EndTime), `placed` (its data was there; only its
runtime was waited for), `run_started`, `spent` (seconds of earlier attempts), `unbilled` (seconds of waiting for runtimes to be built),
`work` (results of done work), `outcome`, `failure`, `message` (what the container says of its end), `artifacts`, `stored` (bytes of
results), `metrics`, `offsets`,
`notes`, `ending` (its hosts were asked to end, by whatever), `slowed` (when it was last seen to give way to
endpoints), `growth` (the larger types on which it starts again, and why), `grown` (how often it did), `sizes` (of each earlier size the
seconds and the fits), `parent` (ARN of whose child it is), `objective` (of a tuning job's child: every value of the objective metric, in
order).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from clary.domain.jobs.kinds import JobKind, kind_of, spec_of
from clary.domain.jobs.log_metrics import Sample
from clary.domain.jobs.spec import JobSpec
from clary.domain.lifecycle import JOB, JobFact, JobStatus, advance
from clary.domain.machine.capacity import Book
from clary.domain.machine.workload import Observation
from clary.domain.resources import Record
from clary.domain.stored import dumped

ACTIVE = (JobStatus.IN_PROGRESS.value, JobStatus.STOPPING.value)
BEFORE_RESULTS = ("starting", "downloading", "training")  # phases in which it may take long, and in which its log grows
OBJECTIVE_LIMIT = 20_000  # values of a tuning job's objective that are kept: as many as Hyperband has epochs
RUNTIME_WORK = ("code", "environment")  # pieces of work that may build a runtime

# -- commands -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Announce:
    """Open the hosts' log streams and write Clary's own lines to the first, at the beginning of an attempt; those that are there already
    are not written again."""

    attempt: int
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Say:
    """Write Clary's own lines to the first host's log stream."""

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """Hand samples to the datapoints."""

    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class Begin:
    """Begin a piece of background work: datasets | channels | code | environment | syncs | upload. Idempotent by (job, attempt, name)."""

    name: str
    attempt: int
    requirements: str = ""  # environment: the user's own
    succeeded: bool = True  # upload: every output, or those alone that are kept of a job that failed


@dataclass(frozen=True, slots=True)
class StartHost:
    """Start one host's workload. `max_runtime` in seconds. Answers its handle (or why not, as `Unstartable`)."""

    host: str
    attempt: int
    max_runtime: float


@dataclass(frozen=True, slots=True)
class StopHosts:
    handles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SyncOut:
    """Copy what changed in the synced folders to S3, beside the run."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Discard:
    """Forget an attempt's runs and background work; `folder`: and remove the job's folder and give its place back. `keep`: its hosts'
    sandboxes may be looked at a while longer."""

    attempt: int
    handles: tuple[str, ...]
    folder: bool
    keep: bool = False


@dataclass(frozen=True, slots=True)
class Retain:
    """Keep what the next job like this one can use: make its warm pool."""

    seconds: int


Command: TypeAlias = Announce | Say | Report | Begin | StartHost | StopHosts | SyncOut | Discard | Retain


# -- observations -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Work:
    """Background work as it stands. `state`: running | done | failed. `client`: the failure is the caller's fault."""

    state: str
    result: Mapping[str, Any] = field(default_factory=dict)
    message: str = ""
    client: bool = True


@dataclass(frozen=True, slots=True)
class Unstartable:
    """What StartHost answers instead of a handle."""

    message: str
    client: bool


@dataclass(frozen=True, slots=True)
class SeenJob:
    """What the world says. `runs` by host, for hosts with a handle (None: the backend never heard of it); `failures` by host:
    (what the container tells, last lines of the log), of hosts that ended badly; `messages` by host: that text where the kind shows it
    however the job ends (None: it is not UTF-8), once all hosts have ended. `samples` and `offsets` are what the log grew by. `lost`: that
    the job's node is, in words."""

    book: Book
    ahead: int = 0
    work: Mapping[str, Work] = field(default_factory=dict)
    runs: Mapping[str, Observation | None] = field(default_factory=dict)
    failures: Mapping[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    samples: tuple[Sample, ...] = ()
    offsets: Mapping[str, int] = field(default_factory=dict)
    messages: Mapping[str, str | None] = field(default_factory=dict)
    sync_due: bool = False
    lost: str = ""


# -- the document -------------------------------------------------------------------------------------------------------------


def document(
    kind: JobKind,
    spec: JobSpec,
    request: Mapping[str, Any],
    tags: Sequence[Mapping[str, str]],
    job_id: str,
    notes: Sequence[str],
    now: float,
) -> dict[str, Any]:
    """A new job's document. `notes` are lines for the job's log (recorded fields)."""
    return {
        "request": dict(request),
        "spec": dumped(spec),
        "tags": [dict(tag) for tag in tags],
        "id": job_id,
        "phase": "starting",
        "attempt": 0,
        "transitions": [{"Status": "Starting", "StartTime": now, "StatusMessage": f"Starting the {kind.noun}"}],
        "handles": {},
        "work": {},
        "metrics": [],
        "offsets": {},
        "notes": list(notes),
        "spent": 0.0,
    }


def secondary(document: Mapping[str, Any]) -> str:
    return str(document["transitions"][-1]["Status"])


def entered(document: Mapping[str, Any], status: str, message: str, now: float) -> dict[str, Any]:
    """The document with another secondary status (or another message of the same one). One entry is open at a time."""
    *before, last = document["transitions"]
    if last["Status"] == status:
        transitions = [*before, {**last, "StatusMessage": message}]
    else:
        transitions = [
            *before,
            {**last, "EndTime": now},
            {"Status": status, "StartTime": now, "StatusMessage": message},
        ]
    return {**document, "transitions": transitions}


def ended(document: Mapping[str, Any], status: str, message: str, now: float) -> dict[str, Any]:
    """`entered` for a final secondary status, whose entry is closed at once."""
    there = entered(document, status, message, now)
    *before, last = there["transitions"]
    return {**there, "transitions": [*before, {**last, "EndTime": now}]}


def ending(record: Record) -> bool:
    """Its hosts were asked to end (a stop, MaxRuntimeInSeconds, another host's failure), and have some time left for it."""
    return record.status == JobStatus.STOPPING or bool(record.document.get("ending"))


def placed(document: Mapping[str, Any], done: Mapping[str, Any], wanted: Sequence[str], now: float) -> dict[str, Any]:
    """The document with the work that is done; once nothing but code and environment is missing it tells since when."""
    changed = {**document, "work": dict(done)}
    if "placed" not in changed and all(name in done for name in wanted if name not in RUNTIME_WORK):
        changed["placed"] = now
    return changed


def unbilled(document: Mapping[str, Any], now: float) -> float:
    """Seconds that the job waited for nothing but the building of its runtime, at the moment of its run's start."""
    built = sum(float(document["work"].get(name, {}).get("built", 0.0)) for name in RUNTIME_WORK)
    return float(document.get("unbilled", 0.0)) + min(built, now - float(document.get("placed", now)))


def billed_seconds(document: Mapping[str, Any]) -> int | None:
    """TrainingTimeInSeconds of a job that ended: whole and at least 1, as AWS bills; without the time that Clary took to build a runtime,
    which on AWS is an image that is there. None: it did not start, or has not ended."""
    if "started" not in document or "ended" not in document:
        return None
    until = float(document["ended"] if "run_started" in document else document.get("placed", document["ended"]))
    return max(1, round(until - float(document["started"]) - float(document.get("unbilled", 0.0))))


def sized(document: Mapping[str, Any], spec: JobSpec, now: float) -> dict[str, Any]:
    """The billed seconds until now in which a job has had its present hosts, and what each of these has: kept when it gets others."""
    until = now - float(document["started"]) - float(document.get("unbilled", 0.0))
    before = sum(float(each["seconds"]) for each in document.get("sizes", ()))
    fits = [dict(document["fits"][host.instance_type]) for host in spec.hosts]
    return {"seconds": max(0.0, until - before), "fits": fits}


def objective(record: Record, samples: Sequence[Sample]) -> dict[str, Any]:
    """The values of the objective metric so far, with these taken in: `{"objective": [...]}` of a tuning job's child, else `{}`."""
    document, name = record.document, spec_of(record).objective
    if not name or "parent" not in document:
        return {}
    found = [sample.value for sample in samples if sample.name == name]
    known = list(document.get("objective") or [])
    return {"objective": [*known, *found[: OBJECTIVE_LIMIT - len(known)]]}


def stop_asked(record: Record, now: float) -> Record:
    """A stop is asked for. IllegalTransition when the job has ended."""
    status = advance(JOB, record.status, JobFact.STOP_ASKED)
    changed = entered(record.document, "Stopping", f"Stopping the {kind_of(record).noun}", now)
    return replace(record, status=status, modified=now, document=changed)


def absorb(record: Record, outcomes: Sequence[tuple[Command, Any]]) -> Record:
    """Handles that StartHost answered, or why a host could not be started."""
    handles = dict(record.document["handles"])
    document = dict(record.document)
    for command, answer in outcomes:
        if isinstance(command, StartHost):
            if isinstance(answer, Unstartable):
                document["unstartable"] = {"message": answer.message, "client": answer.client}
            else:
                handles[command.host] = str(answer)
    document["handles"] = handles
    return record if document == record.document else replace(record, document=document)
