"""The next step of a tuning job: `decide(record, seen, now)`, pure.

A turn takes in what became of its training jobs, stops trials that fall behind, sees whether the job is over, and starts the next trial.
A trial is saved before its training job is created: after a crash the record says with which parameters the job was, or is, to be made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from clary.domain.decisions import Decision, Unable
from clary.domain.jobs import record as jobs
from clary.domain.lifecycle import JOB, JobFact, JobStatus, advance
from clary.domain.resources import Record
from clary.domain.tuning import criteria, ranges, stopping
from clary.domain.tuning import record as tuning
from clary.domain.tuning import request as asked
from clary.domain.tuning.record import Command, Halt, Proposal, SeenTuning, Suggest, Tell, Train
from clary.domain.tuning.request import Definition

_ENDED = ("Completed", "Failed", "Stopped")


def decide(record: Record, seen: SeenTuning, now: float) -> Decision[Command]:
    """What happens next to an InProgress or Stopping job."""
    of = asked.definitions(record.document["request"])
    before = record.document
    document = taken(before, of, seen.children)
    document = _warned(document, of)
    commands: list[Command] = _told(before, document, of)
    document, halts = _early(document, of, seen.children)
    commands += halts
    if record.status == JobStatus.STOPPING:
        document = {**document, "closing": {"fact": str(JobFact.ENDED), "reason": ""}}
    elif "closing" not in document:
        document = _closed(document, record, of, seen, now)
    if "closing" in document:
        return _closing(record, document, commands, of, now)
    document, more = _next(record, document, of, seen, now)
    again = criteria.left(record, now)
    return Decision(_with(record, document, now), (*commands, *more), again=again)


def _with(record: Record, document: Mapping[str, Any], now: float) -> Record:
    return record if document == record.document else replace(record, modified=now, document=document)


# -- what became of the training jobs -------------------------------------------------------------------------------------------


def taken(
    document: Mapping[str, Any], of: Sequence[Definition], children: Mapping[str, Record | None]
) -> dict[str, Any]:
    """The document with what is seen of the open trials' jobs; a trial that ended is told to the sampler from now on."""
    keeps = asked.early_stopping(document["request"]) or asked.strategy(document["request"]) == "Hyperband"
    trials, events = list(document["trials"]), list(document["events"])
    for number, trial in enumerate(document["trials"]):
        if not tuning.is_open(trial) or trial["name"] not in children:
            continue
        child = children[trial["name"]]
        if child is None and not trial["made"]:
            continue
        changed = _lost(trial) if child is None else _followed(trial, child, of[trial["definition"]].metric, keeps)
        trials[number] = changed
        if not tuning.is_open(changed):
            events.append(["tell", number])
    return {**document, "trials": trials, "events": events}


def _lost(trial: Mapping[str, Any]) -> dict[str, Any]:
    """Its training job was deleted before anybody saw how it ended."""
    return {**trial, "status": "Stopped", "objective": "Failed", "failure": "The training job was deleted."}


def _followed(trial: Mapping[str, Any], child: Record, metric: str, keeps: bool) -> dict[str, Any]:
    found = child.document
    changed = {**trial, "made": True, "status": child.status, "created": child.created}
    changed |= {name: found[name] for name in ("started", "ended", "failure") if name in found}
    if child.status not in _ENDED:
        return changed
    changed["seconds"] = jobs.billed_seconds(found) or 0
    value = next((entry["Value"] for entry in found["metrics"] if entry["MetricName"] == metric), None)
    if value is None or child.status == "Failed":
        return {**changed, "objective": "Failed"}
    changed |= {"objective": "Succeeded", "value": float(value)}
    if keeps:
        changed["values"] = list(found.get("objective") or [value])
    return changed


def _warned(document: dict[str, Any], of: Sequence[Definition]) -> dict[str, Any]:
    """After the first job that ended well and gave no value: whoever reads Describe or the log learns it then, not at the end."""
    silent = _silent(document)
    if not silent or "warning" in document:
        return document
    definition = of[silent[0]["definition"]]
    entries = definition.request["AlgorithmSpecification"].get("MetricDefinitions") or []
    regex = next((entry["Regex"] for entry in entries if entry["Name"] == definition.metric), "")
    looked = f" Its expression is '{regex}'." if regex else ""
    words = (
        f"Warning: the training job {silent[0]['name']} ended without a value of the objective metric '{definition.metric}': no "
        f"line of its log gave a number.{looked}"
    )
    return {**document, "warning": words}


def _silent(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [trial for trial in document["trials"] if trial["status"] == "Completed" and trial["objective"] == "Failed"]


def _told(before: Mapping[str, Any], after: Mapping[str, Any], of: Sequence[Definition]) -> list[Command]:
    """Lines of the job's log about what is new."""
    lines = []
    for old, new in zip(before["trials"], after["trials"], strict=True):
        if tuning.is_open(old) and not tuning.is_open(new):
            metric = of[new["definition"]].metric
            shown = f"{metric} {new['value']:g}" if new["objective"] == "Succeeded" else "no objective value"
            lines.append(f"{new['name']}: {new['status']}, {shown}")
    if "warning" in after and "warning" not in before:
        lines.append(after["warning"])
    return [Tell(tuple(lines))] if lines else []


# -- trials that fall behind ----------------------------------------------------------------------------------------------------


def _early(
    document: dict[str, Any], of: Sequence[Definition], children: Mapping[str, Record | None]
) -> tuple[dict[str, Any], list[Command]]:
    request = document["request"]
    if not (asked.early_stopping(request) or asked.strategy(request) == "Hyperband"):
        return document, []
    values = {number: _values(trial, children.get(trial["name"])) for number, trial in enumerate(document["trials"])}
    trials, halts = list(document["trials"]), list[Command]()
    for number, trial in enumerate(trials):
        if not tuning.is_open(trial) or trial.get("at") or len(values[number]) <= trial.get("checked", 0):
            continue
        at = _behind(document, of[trial["definition"]], number, values)
        trials[number] = {**trial, "checked": len(values[number])}
        if at is not None:
            bounds = asked.resources(request, of[trial["definition"]])
            trials[number] |= {"at": at, "stopping": True, "full": bounds is not None and at >= bounds[1]}
            halts += [Tell((f"{trial['name']}: stopped early at epoch {at}",)), Halt(trial["name"])]
    return {**document, "trials": trials}, halts


def _values(trial: Mapping[str, Any], child: Record | None) -> Sequence[float]:
    found: Sequence[float] = (
        trial.get("values") or (child.document.get("objective") if child is not None else None) or []
    )
    return found


def _behind(
    document: Mapping[str, Any], definition: Definition, number: int, values: Mapping[int, Sequence[float]]
) -> int | None:
    """The epoch at which that trial has lost; None: it goes on."""
    trials, own = document["trials"], values[number]
    checked = int(trials[number].get("checked", 0))
    alike = [
        at for at, each in enumerate(trials) if at != number and each["definition"] == trials[number]["definition"]
    ]
    bounds = asked.resources(document["request"], definition)
    if bounds is not None:
        return stopping.by_rungs(own, checked, [values[at] for at in alike], bounds, definition.maximize)
    earlier = [values[at] for at in alike if trials[at]["objective"] == "Succeeded"]
    return stopping.by_median(own, checked, earlier, definition.maximize)


# -- the end --------------------------------------------------------------------------------------------------------------------


def _closed(
    document: dict[str, Any], record: Record, of: Sequence[Definition], seen: SeenTuning, now: float
) -> dict[str, Any]:
    """The document with how the job ends, if it is over: then no trial starts, and those that run are stopped."""
    failure = criteria.hopeless(document, _silent(document))
    if failure is None and isinstance(seen.proposal, Unable):
        failure = f"InternalServerError: no hyperparameters could be suggested: {seen.proposal.why}"
    if failure is not None:
        return {**document, "closing": {"fact": str(JobFact.GAVE_UP), "reason": failure}}
    if criteria.converged(document, of):
        return {**document, "converged": now, "closing": {"fact": str(JobFact.SUCCEEDED), "reason": ""}}
    full = len(document["trials"]) >= asked.maximum(document["request"], of) and not tuning.open_trials(document)
    if full or criteria.met(document, of) or criteria.time_up(record, now):
        return {**document, "closing": {"fact": str(JobFact.SUCCEEDED), "reason": ""}}
    return document


def _closing(
    record: Record, document: dict[str, Any], commands: list[Command], of: Sequence[Definition], now: float
) -> Decision[Command]:
    """Stop what runs; when nothing does any more, the status moves."""
    trials = [
        {**trial, "status": "Stopped", "objective": "Failed"} if tuning.is_open(trial) and not trial["made"] else trial
        for trial in document["trials"]
    ]
    running = [trial for trial in trials if tuning.is_open(trial)]
    if running:
        halts = [Halt(trial["name"]) for trial in running if not trial.get("stopping")]
        trials = [{**trial, "stopping": True} if tuning.is_open(trial) else trial for trial in trials]
        return Decision(_with(record, {**document, "trials": trials}, now), (*commands, *halts))
    fact, reason = JobFact(document["closing"]["fact"]), document["closing"]["reason"]
    document = {**document, "trials": trials, "ended": now}
    if fact is JobFact.SUCCEEDED and not tuning.succeeded(document):
        fact, reason = JobFact.GAVE_UP, criteria.nothing(document)
    if reason:
        document["failure"] = reason[:1024]
    status = advance(JOB, record.status, fact)
    best = tuning.best(document, of[0].maximize)
    lines = (f"{status}. {reason}".strip(), *((f"The best training job: {best['name']}",) if best else ()))
    final = replace(record, status=status, modified=now, document=document)
    return Decision(final, (*commands, Tell(lines)))


# -- the next trial -------------------------------------------------------------------------------------------------------------


def _next(
    record: Record, document: dict[str, Any], of: Sequence[Definition], seen: SeenTuning, now: float
) -> tuple[dict[str, Any], list[Command]]:
    commands: list[Command] = [
        Train(number, trial["name"], asked.child(of[trial["definition"]], trial["name"], trial["params"]))
        for number, trial in enumerate(document["trials"])
        if tuning.is_open(trial) and not trial["made"]
    ]
    number, open_ = len(document["trials"]), tuning.open_trials(document)
    parallel = int(asked.limits(document["request"])["MaxParallelTrainingJobs"])
    if _silent(document) and not tuning.succeeded(document):
        parallel = 1  # nobody knows yet whether the metric is ever found: one more job tells
    if number >= asked.maximum(document["request"], of) or len(open_) >= parallel:
        return document, commands
    if asked.strategy(document["request"]) == "Grid":
        which, place = _grid_place(of, number)
        params = ranges.combination(of[which].ranges, place)
        return _added(record, document, which, params, params, now), commands
    which = number % len(of)
    key = f"{number}:{len(document['events'])}"
    if isinstance(seen.proposal, Proposal) and seen.proposal.key == key:
        raw = seen.proposal.params
        params = {each.name: each.text(raw[each.name]) for each in of[which].ranges}
        return _added(record, document, which, params, raw, now), commands
    sampler = "random" if asked.strategy(document["request"]) == "Random" else "tpe"
    return document, [*commands, Suggest(key, tuning.study(document, which, of[which], sampler))]


def _grid_place(of: Sequence[Definition], number: int) -> tuple[int, int]:
    """Which definition trial `number` of a grid belongs to, and which of its combinations it is."""
    for which, each in enumerate(of):
        size = ranges.combinations(each.ranges)
        if number < size:
            return which, number
        number -= size
    raise ValueError("the grid has no such trial")


def _added(
    record: Record, document: dict[str, Any], which: int, params: Mapping[str, str], raw: Mapping[str, Any], now: float
) -> dict[str, Any]:
    number = len(document["trials"])
    trial = {
        "name": tuning.child_name(record, number),
        "definition": which,
        "params": dict(params),
        "raw": dict(raw),
        "made": False,
        "status": JobStatus.IN_PROGRESS.value,
        "created": now,
        "objective": "Pending",
    }
    return {
        **document,
        "trials": [*document["trials"], trial],
        "events": [*document["events"], ["ask", number]],
    }
