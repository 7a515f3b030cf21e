"""Warm pools: what is kept of a training job for the next one like it, for KeepAlivePeriodInSeconds. Records and decisions; pure.

A pool is a record beside its job's, by the same name. It holds a sandbox that was made when the job had ended: an interpreter that has
imported what the job's image has, and waits. Nothing of the job is in it. It has a grant of its machine like a job, and gives it up as soon
as a job or an endpoint waits for room.

The document: `job` (ARN), `match` (what another job must have alike), `keep` (seconds), `began`, `fit`, `handle` of the sandbox and
`lasts` (when it ends by itself), `round` (how many it had), `reused` (name of the job that took it), `ended`, `why`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from clary.domain.decisions import Decision, Unable
from clary.domain.grants import GrantChange
from clary.domain.jobs import training
from clary.domain.jobs.hosts import Host
from clary.domain.jobs.kinds import spec_of
from clary.domain.machine import admission, grants
from clary.domain.machine.capacity import FLOOR, Book, Fit
from clary.domain.machine.workload import Observation
from clary.domain.resources import Record

KIND = "warm-pool"
OWNER = "warm pool"  # how an account of a machine calls what holds a place
AVAILABLE, REUSED, TERMINATED, IN_USE = "Available", "Reused", "Terminated", "InUse"
HANDING = "Handing"  # reused, and its sandbox is not known to have been taken yet; shown as Reused
LIVING = (AVAILABLE, HANDING)
TICK = 1.0
HANDING_SECONDS = 60.0  # in which a sandbox is taken by the job that reuses it, or it does not fit that job
HOST = Host("algo-1", "", "")

# What the interpreter of a pool imports, by the framework of the job's runtime: what nearly every script of such an image imports.
MODULES: Mapping[str, tuple[str, ...]] = {
    "sklearn": (
        "numpy",
        "scipy.sparse",
        "scipy.stats",
        "pandas",
        "joblib",
        "sklearn",
        "sklearn.linear_model",
        "sklearn.ensemble",
        "sklearn.model_selection",
        "sklearn.pipeline",
        "sklearn.preprocessing",
        "sklearn.compose",
        "sklearn.metrics",
    ),
    "xgboost": ("numpy", "scipy.sparse", "pandas", "sklearn", "xgboost"),
    "pytorch": ("numpy", "torch", "torch.utils.data"),
    "python": ("numpy", "pandas"),
}


@dataclass(frozen=True, slots=True)
class Hold:
    """Make the sandbox that waits. `seconds`: it ends by itself after them. Answers its handle, or `Unable`."""

    key: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Drop:
    """End a sandbox that nobody took."""

    handle: str


Command = Hold | Drop


@dataclass(frozen=True, slots=True)
class SeenPool:
    """What the world says: the account of the machine, the sandbox (None: never heard of it), whether the job that reuses it goes on."""

    book: Book
    run: Observation | None = None
    reuser_runs: bool = False


def keep_alive(request: Mapping[str, Any]) -> int:
    return int((request.get("ResourceConfig") or {}).get("KeepAlivePeriodInSeconds") or 0)


def match(record: Record) -> dict[str, Any] | None:
    """What two jobs must have alike, for the second to reuse what is kept of the first. None: nothing is kept of a job like this: it has
    several hosts, GPUs, no script, requirements or a machine image of its own, or code that is no archive."""
    spec, request = spec_of(record), record.document["request"]
    work, fits = record.document["work"], record.document.get("fits", {})
    if len(spec.hosts) != 1 or spec.command or not training.program(request) or "environment" not in work:
        return None
    if work.get("code", {}).get("requirements") or any(fit["gpus"] for fit in fits.values()):
        return None
    fit = fits[spec.hosts[0].instance_type]
    return {
        "image": spec.image,
        "role": spec.role,
        "type": spec.hosts[0].instance_type,
        "volume": spec.volume,
        "isolated": spec.isolated,
        "network": request.get("VpcConfig"),
        "encrypted": bool(request.get("EnableInterContainerTrafficEncryption")),
        "fit": [fit["cpu"], fit["memory"]],
    }


def new(record: Record, arn: str, now: float) -> Record | None:
    """The pool of a job that ends now. None: nothing is kept of it."""
    keep, alike = keep_alive(record.document["request"]), match(record)
    if not keep or alike is None:
        return None
    cpu, memory = alike["fit"]
    document = {
        "job": record.arn,
        "id": record.document["id"],
        "match": alike,
        "keep": keep,
        "began": now,
        "fit": {"cpu": cpu, "memory": memory},
        "round": 0,
        "tags": [],
        "request": {},
    }
    return Record(KIND, record.scope, record.name, arn, AVAILABLE, now, now, document)


def shown(pool: Record | None, job: Record, now: float) -> dict[str, Any] | None:
    """DescribeTrainingJob's WarmPoolStatus. None: nothing was to be kept, or could be."""
    if pool is None:
        active = job.status in ("InProgress", "Stopping") and keep_alive(job.document["request"])
        return {"Status": IN_USE} if active else None
    found: dict[str, Any] = {"Status": status(pool), "ResourceRetainedBillableTimeInSeconds": retained(pool, now)}
    if pool.document.get("reused"):
        found["ReusedByJob"] = pool.document["reused"]
    return found


def status(pool: Record) -> str:
    """As users see it."""
    return REUSED if pool.status == HANDING else pool.status


def kept(pool: Record, seconds: int, now: float) -> Record:
    """The pool with another time, from the end of its job on."""
    return replace(pool, modified=now, document={**pool.document, "keep": seconds})


def retained(pool: Record, now: float) -> int:
    """Seconds, whole as AWS bills."""
    return math.ceil(float(pool.document.get("ended", now)) - float(pool.document["began"]))


def until(pool: Record) -> float:
    return float(pool.document["began"]) + float(pool.document["keep"])


def reusable(pools: Sequence[Record], job: Record, now: float) -> Record | None:
    """The pool that a job takes: of those alike the one that has least time left."""
    alike = match(job)
    found = [
        each
        for each in pools
        if each.status == AVAILABLE and each.document.get("handle") and each.document["match"] == alike
    ]
    return min((each for each in found if until(each) > now), key=until, default=None)


def taken(pool: Record, job: str, now: float) -> Record:
    """The pool as a job of that name reuses it."""
    document = {**pool.document, "reused": job, "ended": now}
    return replace(pool, status=HANDING, modified=now, document=document)


def released(pool: Record) -> GrantChange:
    return GrantChange(release=(grants.host_key(pool.arn, HOST.name),))


def without(book: Book) -> Book:
    """The account as a job sees it: what pools hold is free for it."""
    return replace(book, jobs=tuple(claim for claim in book.jobs if claim.owner.kind != OWNER))


def decide(record: Record, seen: SeenPool, now: float) -> Decision[Command]:
    """What happens next to a pool that is Available, or being handed over."""
    document = record.document
    if record.status == HANDING:
        return _handed(record, seen, now)
    if now >= until(record):
        return _over(record, "its time was up", now)
    why = needed(seen.book)
    if why:
        return _over(record, why, now)
    if "unable" in document:
        return _over(record, str(document["unable"]), now)
    again = min(TICK, until(record) - now)
    if "granted" not in document:
        fit = Fit(float(document["fit"]["cpu"]), int(document["fit"]["memory"]), 0)
        given = grants.of_hosts(seen.book.machine.name, record, [(HOST.name, fit)], now)
        change = GrantChange(seen.book.machine.name, seen.book.version, given)
        return Decision(replace(record, document={**document, "granted": True}), again=0.0, grants=change)
    if "handle" not in document:
        lasts = until(record)
        moved = {**document, "lasts": lasts}
        return Decision(replace(record, document=moved), (Hold(_key(record), lasts - now),), again=again)
    if seen.run is None or seen.run.state.is_terminal:
        return _over(record, "its sandbox ended", now)
    if float(document["lasts"]) < until(record):  # it was prolonged
        fresh = {name: value for name, value in document.items() if name not in ("handle", "lasts")}
        fresh["round"] = int(document["round"]) + 1
        return Decision(replace(record, modified=now, document=fresh), (Drop(str(document["handle"])),), again=0.0)
    return Decision(record, again=again)


def needed(book: Book) -> str:
    """Why a pool must give way now; "" where it need not."""
    for each in book.waiting:
        # A job that was only just created waits for nothing yet; of endpoints it is told what is to be kept for them.
        if each.fits or each.why.startswith(admission.WAITING):
            return f"{each.owner.kind or 'something'} waits for room"
    if book.machine.available < FLOOR:
        return "memory is short"
    if book.policy == "strict":
        held = [fit for claim in (*book.jobs, *book.replicas) for fit in claim.held]
        if sum(fit.memory for fit in held) > book.machine.usable or sum(fit.cpu for fit in held) > book.machine.cpus:
            return "what it holds is given to others"
    return ""


def absorb(record: Record, outcomes: Sequence[tuple[Command, Any]]) -> Record:
    """The handle that Hold answered, or why there is none."""
    document = dict(record.document)
    for command, answer in outcomes:
        if isinstance(command, Hold):
            name, value = ("unable", answer.why) if isinstance(answer, Unable) else ("handle", str(answer))
            document[name] = value
    return record if document == record.document else replace(record, document=document)


def _key(record: Record) -> str:
    return f"pool-{record.document['id']}-{record.document['round']}"


def _handed(record: Record, seen: SeenPool, now: float) -> Decision[Command]:
    """Its sandbox is the job's that reuses it, and goes with that. Where that job could not take it, it is ended."""
    over = replace(record, status=REUSED, modified=now)
    if seen.run is None or (seen.run.state.is_terminal and seen.run.exit_code == 0):
        return Decision(over)
    waited = now - float(record.document["ended"])
    if not seen.run.state.is_terminal and seen.reuser_runs and waited < HANDING_SECONDS:
        return Decision(record, again=TICK)
    return Decision(over, (Drop(str(record.document["handle"])),))


def _over(record: Record, why: str, now: float) -> Decision[Command]:
    document = {**record.document, "ended": min(now, until(record)), "why": why}
    handle = str(document.get("handle", ""))
    drops = (Drop(handle),) if handle else ()
    ended = replace(record, status=TERMINATED, modified=now, document=document)
    return Decision(ended, drops, grants=released(record))
