"""The next step of a job: `decide(record, seen, now)`, pure.

Phases: starting (waits for capacity) -> downloading -> training -> uploading -> closing -> final. How it ends is written down
first (closing), what is left is removed second, and only then the status moves: a crash in between repeats the removal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from clary.domain.decisions import Decision
from clary.domain.errors import LimitExceeded
from clary.domain.grants import GrantChange
from clary.domain.jobs import failures, growth, pools
from clary.domain.jobs import record as jobs
from clary.domain.jobs.hosts import size_of
from clary.domain.jobs.kinds import kind_of, spec_of
from clary.domain.jobs.log_metrics import latest
from clary.domain.jobs.record import (
    Announce,
    Begin,
    Command,
    Discard,
    Report,
    Retain,
    Say,
    SeenJob,
    StartHost,
    StopHosts,
    SyncOut,
    Work,
    ended,
    entered,
    secondary,
)
from clary.domain.jobs.spec import JobSpec
from clary.domain.lifecycle import JOB, JobFact, JobStatus, advance
from clary.domain.machine import admission, capacity, grants
from clary.domain.machine.admission import Admission
from clary.domain.machine.capacity import Book, Fit, Machine
from clary.domain.machine.workload import Observation, RunState
from clary.domain.resources import Record

TICK = 1.0  # seconds between looks at a running job's log
WAIT_TICK = 2.0  # and at one that waits for capacity
AHEAD_TICK, QUEUE_TICK = (
    0.5,
    300.0,
)  # for each job that goes first, and at most: thousands may wait, and the first alone may start
MOVES = 10  # times that a job with checkpoints goes on elsewhere because its node was lost
TOLD_AGAIN = 30.0  # seconds until the figures of the same reason are told again
_FIGURES = re.compile(r"[\d.]+")

SLOWED = " It is slowed, because endpoints on this machine need CPU and have priority."
SLOWED_SECONDS = 30.0  # for which it is said after it was last seen: demand comes and goes

_PREPARING = ("datasets", "channels", "code", "environment", "syncs")


def _stopped(record: Record) -> Mapping[str, Any]:
    return {"fact": JobFact.ENDED, "secondary": "Stopped", "message": f"{_noun(record)} stopped"}


def _noun(record: Record) -> str:
    """As a sentence begins with it."""
    return kind_of(record).noun.capitalize()


def decide(record: Record, seen: SeenJob, now: float) -> Decision[Command]:
    """What happens next to an InProgress or Stopping job."""
    phase = record.document["phase"]
    if seen.lost and phase in ("downloading", "training"):
        return _without_node(record, seen.lost, now)
    if phase == "starting":
        return _starting(record, seen, now)
    if phase == "downloading":
        return _downloading(record, seen, now)
    if phase == "training":
        return _running(record, seen, now)
    if phase == "uploading":
        return _uploading(record, seen, now)
    return _closing(record, now)


def _moved(record: Record, now: float, **changes: Any) -> Record:
    document = {**record.document, **changes}
    return record if document == record.document else replace(record, modified=now, document=document)


def _with(record: Record, document: Mapping[str, Any], now: float) -> Record:
    return record if document == record.document else replace(record, modified=now, document=document)


def fits_on(record: Record, machine: Machine, policy: str) -> tuple[Fit, ...]:
    """What its hosts get of a machine. LimitExceeded where that can never hold one of them (`strict`)."""
    sizes = [size_of(host) for host in spec_of(record).hosts]
    return tuple(capacity.fit_hosts(sizes, machine, policy, kind_of(record).noun))


def admits(record: Record, book: Book, ahead: int = 0) -> Admission:
    """Whether its hosts may start on that machine now. LimitExceeded as of `fits_on`."""
    fits = fits_on(record, book.machine, book.policy)
    return admission.admit(fits, pools.without(book), ahead, but=record.arn, account=record.scope.account)


def portable(record: Record) -> bool:
    """Whether it may run on a node. One that asks a database of the operator's is asked for where that is reached from."""
    return not spec_of(record).queries


def _starting(record: Record, seen: SeenJob, now: float) -> Decision[Command]:
    document = record.document
    if record.status == JobStatus.STOPPING:
        return _over(record, _stopped(record), now)
    spec = spec_of(record)
    of = spec.hosts
    try:
        fits = fits_on(record, seen.book.machine, seen.book.policy)
    except LimitExceeded as error:
        return _failed(record, f"CapacityError: {error.message}", now)
    by_type = {host.instance_type: fit for host, fit in zip(of, fits, strict=True)}
    answer = admits(record, seen.book, seen.ahead)
    if not answer.granted:
        return _waiting(record, answer, seen.ahead, now)
    clamped = [note for fit in by_type.values() for note in fit.notes]
    shown = {
        kind: {"cpu": f.cpu, "memory": f.memory, "gpus": f.gpus, "notes": list(f.notes)} for kind, f in by_type.items()
    }
    names = [(host.name, fit) for host, fit in zip(of, fits, strict=True)]
    given = grants.of_hosts(seen.book.machine.name, record, names, now)
    told = " ".join(
        [f"Preparing the instances for {kind_of(record).doing.lower()}.", *(f"{note}." for note in clamped)]
    )
    if secondary(document) == "Restarting":  # and why stays to be read
        begun_at = entered(document, "Restarting", f"{document['transitions'][-1]['StatusMessage']}. {told}", now)
    else:
        begun_at = entered(document, "Starting", told, now)
    moved = {**entered(begun_at, "Downloading", "Downloading input data", now), "phase": "downloading", "fits": shown}
    moved.setdefault("started", now)
    moved["node"] = seen.book.machine.name if seen.book.machine.node else ""
    # Nothing begins before the place is sure: the save is refused when another control plane took it meanwhile.
    change = GrantChange(seen.book.machine.name, seen.book.version, given)
    return Decision(replace(record, modified=now, document=moved), grants=change)


def _opening(document: Mapping[str, Any]) -> Announce:
    """What the log says at the beginning of an attempt."""
    if document["attempt"]:
        return Announce(document["attempt"], (f"Attempt {document['attempt'] + 1}.",))
    clamped = (note for fit in document["fits"].values() for note in fit["notes"])
    return Announce(0, (*document["notes"], *clamped))


def _released(record: Record) -> GrantChange | None:
    """What is given back when its hosts have ended."""
    if "fits" not in record.document:
        return None
    return GrantChange(release=tuple(grants.host_key(record.arn, host.name) for host in spec_of(record).hosts))


def _waiting(record: Record, admission: Admission, ahead: int, now: float) -> Decision[Command]:
    spec = spec_of(record)
    limit = spec.max_wait
    again = max(WAIT_TICK, min(ahead * AHEAD_TICK, QUEUE_TICK))
    if limit is not None:
        again = min(again, max(WAIT_TICK, limit - (now - record.created)))
    if limit is not None and now - record.created > limit:
        status = "MaxWaitTimeExceeded" if spec.spot else "Stopped"
        message = f"The job waited longer than {limit} seconds for capacity"
        return _over(record, {"fact": JobFact.TIME_UP, "secondary": status, "message": message}, now)
    last = record.document["transitions"][-1]
    if (
        last["Status"] == "Pending"
        and now - record.modified < TOLD_AGAIN
        and _shape(last["StatusMessage"]) == _shape(admission.reason)
    ):
        return Decision(record, again=again)  # the figures move all the time: they are no news
    pending = entered(record.document, "Pending", admission.reason, now)
    return Decision(_with(record, pending, now), again=again)


def _shape(reason: str) -> str:
    """The reason without its figures."""
    return _FIGURES.sub("#", reason)


def _wanted(spec: JobSpec, done: Mapping[str, Any]) -> tuple[str, ...]:
    """The work that can begin at once. The environment waits for the code's requirements when there is code. What synced folders begin with
    is part of the data, but for that which an older Clary placed."""
    first = "code" if spec.code is not None else "environment"
    older = "channels" in done and not done["channels"].get("synced")
    restores = older and any(sync.restore for sync in spec.syncs)
    data = "datasets" if spec.queries else "channels"
    return (data, first, *(("syncs",) if restores else ()))


def _downloading(record: Record, seen: SeenJob, now: float) -> Decision[Command]:
    document = record.document
    if record.status == JobStatus.STOPPING:
        return _over(record, _stopped(record), now)
    kind, spec = kind_of(record), spec_of(record)
    done = dict(document["work"])
    for name in _PREPARING:
        work = seen.work.get(name)
        if work is not None and work.state == "failed":
            return _work_failed(record, work, now)
        if work is not None and work.state == "done":
            done[name] = dict(work.result)
    wanted = list(_wanted(spec, done))
    if "datasets" in done:
        wanted.append("channels")  # they are among these
    if "code" in done and "environment" not in wanted:
        wanted.append("environment")
    begun = tuple(
        Begin(name, document["attempt"], requirements=str(done.get("code", {}).get("requirements", "")))
        for name in wanted
        if name not in done and name not in seen.work
    )
    placed = jobs.placed(document, done, wanted, now)
    if not seen.work and not done:
        return Decision(_with(record, placed, now), (_opening(document), *begun))
    if begun or any(name not in done for name in wanted):
        return Decision(_with(record, placed, now), begun)
    if done != document["work"]:
        # Saved before anything starts: who repeats this turn after a crash must not do the work again under hosts that run already.
        return Decision(_with(record, placed, now))
    moved = {**entered(document, kind.doing, kind.running, now), "phase": "training", "run_started": now}
    moved["unbilled"] = jobs.unbilled(placed, now)
    commands = tuple(_start(spec, document, host.name) for host in spec.hosts)
    return Decision(replace(record, modified=now, document=moved), commands, again=TICK)


def _start(spec: JobSpec, document: Mapping[str, Any], host: str) -> StartHost:
    left = spec.max_runtime - float(document["spent"])
    return StartHost(host, int(document["attempt"]), max(1.0, left))


def _work_failed(record: Record, work: Work, now: float) -> Decision[Command]:
    if work.client:
        return _failed(record, failures.client_error(work.message), now)
    return _internal(record, work.message, now)


def _running(record: Record, seen: SeenJob, now: float) -> Decision[Command]:
    decision = _run(record, seen, now)
    if not seen.samples:
        return decision
    return replace(decision, commands=(Report(seen.samples), *decision.commands))


def _run(record: Record, seen: SeenJob, now: float) -> Decision[Command]:
    document = {
        **record.document,
        "metrics": latest(record.document["metrics"], seen.samples),
        "offsets": {**record.document["offsets"], **seen.offsets},
        **jobs.objective(record, seen.samples),
    }
    record = _with(record, document, now)
    if document.get("unstartable"):
        why = document["unstartable"]
        return _unstartable(record, why["message"], why["client"], now)
    spec = spec_of(record)
    of = [host.name for host in spec.hosts]
    handles: Mapping[str, str] = document["handles"]
    missing = [name for name in of if name not in handles]
    if missing:
        return Decision(record, tuple(_start(spec, document, name) for name in missing), again=TICK)
    runs = {name: seen.runs.get(name) or Observation(RunState.LOST) for name in handles}
    alive = [handles[name] for name, run in runs.items() if not run.state.is_terminal]
    if alive:
        commands: list[Command] = [SyncOut(int(document["attempt"]))] if seen.sync_due else []
        # MaxRuntime is the shim's to enforce: by its own monotonic clock, whatever becomes of this process.
        spent = float(document["spent"]) + now - float(document["run_started"])
        stop = record.status == JobStatus.STOPPING or any(_bad(run) for run in runs.values())
        if stop:
            commands.append(StopHosts(tuple(alive)))
        record = _with(record, _pace(record, any(run.giving_way for run in runs.values()), now), now)
        if stop or spent >= spec.max_runtime:
            record = _moved(record, now, ending=True)
        return Decision(record, tuple(commands), again=TICK)
    return _ran(record, runs, seen, now)


def _unstartable(record: Record, why: str, client: bool, now: float) -> Decision[Command]:
    if client:
        return _failed(record, failures.client_error(why), now)
    return _internal(record, why, now)


def _pace(record: Record, giving_way: bool, now: float) -> Mapping[str, Any]:
    """Whether it is slowed, where users look for it: in the message of its secondary status."""
    document, kind = record.document, kind_of(record)
    if secondary(document) != kind.doing:
        return document
    slowed = kind.running + SLOWED
    told = document["transitions"][-1]["StatusMessage"]
    if giving_way:
        fresh = now - float(document.get("slowed", 0.0)) < SLOWED_SECONDS / 2
        found = document if fresh else {**document, "slowed": now}
        return found if told == slowed else entered(found, kind.doing, slowed, now)
    over = now - float(document.get("slowed", 0.0)) > SLOWED_SECONDS
    return entered(document, kind.doing, kind.running, now) if told == slowed and over else document


def _bad(run: Observation) -> bool:
    return run.state is RunState.LOST or (run.state is RunState.EXITED and run.exit_code != 0)


def _ran(record: Record, runs: Mapping[str, Observation], seen: SeenJob, now: float) -> Decision[Command]:
    """All hosts have ended: determines the result."""
    document = record.document
    failure = next((run.failure for run in runs.values() if run.failure is not None), None)
    if failure is not None:
        return _unstartable(record, failure.message, failure.client, now)
    outcome = _outcome(record, runs, seen)
    if outcome is None:
        return _internal(record, f"The process that ran the {kind_of(record).noun} was lost", now)
    said = _message(seen)
    if kind_of(record).exit_message and said is None:
        words = f"The file /opt/ml/{kind_of(record).told} is not UTF-8"
        outcome = {"fact": JobFact.GAVE_UP, "secondary": "Failed", "reason": failures.client_error(words)}
    succeeded = outcome["fact"] != JobFact.GAVE_UP
    moved = {**document, "phase": "uploading", "outcome": outcome, **({"message": said} if said else {})}
    more = None if succeeded or record.status == JobStatus.STOPPING else growth.growth(record, runs, seen.book)
    if more is not None and more.to:
        moved["growth"] = {"to": dict(more.to), "why": more.why}
    if succeeded or spec_of(record).syncs:
        moved = entered(moved, "Uploading", kind_of(record).storing, now)
    upload = Begin("upload", int(document["attempt"]), succeeded=succeeded)
    told = () if more is None else (Say((more.why if more.to else f"Not started again with more memory: {more.why}",)),)
    return Decision(replace(record, modified=now, document=moved), (*_unmatched(record), *told, upload))


def _message(seen: SeenJob) -> str | None:
    """What the hosts' containers say, one after the other, in AWS's length. None: one of them is no text."""
    texts = [text for _, text in sorted(seen.messages.items())]
    return None if None in texts else "".join(text for text in texts if text)[: failures.LIMIT]


def _unmatched(record: Record) -> tuple[Say, ...]:
    """A metric whose expression matched nothing is a mistake that a tuning job would suffer from in silence: say it."""
    found = {entry["MetricName"] for entry in record.document["metrics"]}
    missing = [entry for entry in spec_of(record).metrics if entry["Name"] not in found]
    if not missing:
        return ()
    told = "Warning: no line gave a number for metric '{Name}': nothing matched its expression '{Regex}', or group 1 was no number"
    return (Say(tuple(told.format(**entry) for entry in missing)),)


def _outcome(record: Record, runs: Mapping[str, Observation], seen: SeenJob) -> dict[str, Any] | None:
    """None: lost. The first host (by number) that failed by itself tells the reason."""
    if not runs:
        return dict(_stopped(record))
    if any(run.timed_out for run in runs.values()):
        message = f"{_noun(record)} runtime exceeded MaxRuntimeInSeconds provided"
        return {"fact": JobFact.TIME_UP, "secondary": "MaxRuntimeExceeded", "message": message}
    if all(run.exit_code == 0 for run in runs.values() if run.state is RunState.EXITED) and all(
        run.state is RunState.EXITED for run in runs.values()
    ):
        if record.status == JobStatus.STOPPING and any(run.stopped for run in runs.values()):
            return dict(_stopped(record))
        return {"fact": JobFact.SUCCEEDED, "secondary": "Completed", "message": f"{_noun(record)} completed"}
    if record.status == JobStatus.STOPPING:
        return dict(_stopped(record))
    failed = [(name, run) for name, run in runs.items() if _bad(run)]
    by_itself = [(name, run) for name, run in failed if not run.stopped] or failed
    for name, run in by_itself:
        if run.state is RunState.EXITED:
            return {"fact": JobFact.GAVE_UP, "secondary": "Failed", "reason": _reason(record, name, run, seen)}
    return None


def _reason(record: Record, name: str, run: Observation, seen: SeenJob) -> str:
    if run.oom_killed:
        host = spec_of(record).host(name)
        return failures.out_of_memory(
            name, host.instance_type, int(record.document["fits"][host.instance_type]["memory"])
        )
    if run.detail:  # the backend's word: it could not be started, or a limit ended it
        if run.started_at is None:
            return failures.internal_error(run.detail)
        return failures.fitted("ClientError: ", run.detail, f", exit code: {run.exit_code}")
    text, tail = seen.failures.get(name, ("", ()))
    return kind_of(record).failed(run.exit_code or 0, text, tail)


def _without_node(record: Record, why: str, now: float) -> Decision[Command]:
    """Its node is lost. What had not begun, or has checkpoints to go on from, starts again on another machine, and that is no attempt of
    its own; all else would begin anew."""
    document, noun = record.document, kind_of(record).noun
    if record.status == JobStatus.STOPPING:
        return _over(record, _stopped(record), now)
    begun = document["phase"] == "training"
    if begun and not any(sync.restore for sync in spec_of(record).syncs):
        return _internal(record, f"{why}, and the {noun} that ran on it has no checkpoints to go on from", now)
    moves = int(document.get("moves", 0)) + 1
    if moves > MOVES:
        return _failed(record, failures.internal_error(f"{why}, the last of {moves} machines that it was on"), now)
    return _restarted(_moved(record, now, moves=moves), why, now)


def _internal(record: Record, why: str, now: float) -> Decision[Command]:
    """Clary's own fault: another attempt where the job allows it, else the end."""
    document = record.document
    if record.status == JobStatus.STOPPING:
        return _over(record, _stopped(record), now)
    if document["attempt"] - int(document.get("grown", 0)) - int(document.get("moves", 0)) >= spec_of(record).attempts:
        return _failed(record, failures.internal_error(why), now)
    return _restarted(record, why, now)


def _restarted(record: Record, why: str, now: float) -> Decision[Command]:
    """Everything of this attempt is discarded, and the next one waits for its place."""
    document, node = record.document, str(record.document.get("node", ""))
    spent = float(document["spent"]) + (now - document["run_started"] if "run_started" in document else 0.0)
    again = {
        **entered(document, "Restarting", f"Restarting the {kind_of(record).noun}: {why}", now),
        "phase": "starting",
        "attempt": document["attempt"] + 1,
        "spent": spent,
        "handles": {},
        "work": {},
        "offsets": {},
        **({"objective": []} if "objective" in document else {}),
        **({"nodes": {**document.get("nodes", {}), str(document["attempt"]): node}} if node else {}),
    }
    for name in ("unstartable", "ending", "run_started", "placed", "outcome", "growth", "message", "node"):
        again.pop(name, None)
    handles = tuple(document["handles"].values())
    discard = Discard(document["attempt"], handles, folder=False)
    saved = replace(record, modified=now, document=again)
    return Decision(saved, (discard,), again=0.5, grants=_released(record))


def _uploading(record: Record, seen: SeenJob, now: float) -> Decision[Command]:
    document = record.document
    succeeded = document["outcome"]["fact"] != JobFact.GAVE_UP
    work = seen.work.get("upload")
    if work is None:
        return Decision(record, (Begin("upload", int(document["attempt"]), succeeded=succeeded),))
    if work.state == "running":
        return Decision(record)
    if work.state == "failed":
        reason = failures.client_error(work.message) if work.client else failures.internal_error(work.message)
        if not succeeded:
            reason = document["outcome"]["reason"]
        return _failed(record, reason, now)
    if "growth" in document and record.status != JobStatus.STOPPING:
        return _larger(record, now)
    kept = {name: work.result[name] for name in ("artifacts", "stored") if work.result.get(name)}
    return _over(_moved(record, now, **kept), dict(document["outcome"]), now)


def _larger(record: Record, now: float) -> Decision[Command]:
    """What the killed attempt checkpointed is stored: the next one, with more memory, goes on from there."""
    document = record.document
    again = growth.grown(document, spec_of(record), document["growth"]["to"])
    again["sizes"] = [*document.get("sizes", ()), jobs.sized(document, spec_of(record), now)]
    decision = _restarted(_moved(record, now, **again), document["growth"]["why"], now)
    return replace(decision, grants=_released(record))


def _failed(record: Record, reason: str, now: float) -> Decision[Command]:
    return _over(record, {"fact": JobFact.GAVE_UP, "secondary": "Failed", "reason": reason[: failures.LIMIT]}, now)


def _over(record: Record, outcome: Mapping[str, Any], now: float) -> Decision[Command]:
    """How it ends is known and kept; the closing turn stops and removes what is left, and only then the status moves."""
    moved = {**record.document, "phase": "closing", "outcome": {**outcome, "fact": str(outcome["fact"])}}
    if "started" in moved:
        moved["ended"] = now
    return _closing(replace(record, modified=now, document=moved), now, first=True)


def _closing(record: Record, now: float, first: bool = False) -> Decision[Command]:
    document = record.document
    if first:  # saved before anything is removed: a crash in between closes again
        return Decision(record, again=0.0)
    outcome = document["outcome"]
    status = advance(JOB, record.status, JobFact(outcome["fact"]))
    message = outcome.get("message") or outcome.get("reason", "")
    final = ended(document, outcome["secondary"], message, now)
    if outcome.get("reason"):
        final["failure"] = outcome["reason"]
    final["phase"] = "final"
    failed = status == JobStatus.FAILED
    discard = Discard(int(document["attempt"]), tuple(document["handles"].values()), folder=True, keep=failed)
    saved = replace(record, status=status, modified=now, document=final)
    keep = pools.keep_alive(document["request"]) if status == JobStatus.COMPLETED else 0
    retain = (Retain(keep),) if keep else ()
    return Decision(saved, (*retain, discard), grants=_released(record))
