"""A tuning job's record: its document, the commands its life needs, what is observed of it. What happens next is decided in `turn.py`.

The document holds the whole study, so that a process that is killed changes no trial: beside `request`, `tags`, `by` (who created it)
and `id`, there are `seed`, `prior` (trials of warm start's parents) and `prior_best`, `trials`, `events` (["ask", trial] and ["tell",
trial], in the order in which the sampler is told), `closing` (how it ends, while its last jobs are stopped), `warning`, `failure`,
`ended`, `converged`.

A trial: `name` (of its training job), `definition` (index), `params` (texts, as the job gets them), `raw` (as the sampler gave them),
`made`, `status`, `created`, `started`, `ended`, `failure`, `seconds`, `objective` (Pending | Succeeded | Failed), `value`, `values` (one
an epoch, kept where trials are stopped early), `checked` (epochs that were compared with other trials), `at` (the epoch of an early
stop), `full` (that is Hyperband's last epoch), `stopping`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from clary.domain.decisions import Unable
from clary.domain.lifecycle import JOB, JobFact, JobStatus, advance
from clary.domain.resources import Record
from clary.domain.tuning.request import Definition

KIND = "hyper-parameter-tuning-job"
ACTIVE = (JobStatus.IN_PROGRESS.value, JobStatus.STOPPING.value)
LOG_GROUP = "/aws/sagemaker/HyperParameterTuningJobs"

Trial = Mapping[str, Any]
Document = Mapping[str, Any]


# -- commands -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Suggest:
    """Ask the sampler for the next trial, in the background. `key` names the point in the study: the same key, the same answer."""

    key: str
    study: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Train:
    """Create the training job of trial `number`: once, by its name."""

    together = True
    number: int
    name: str
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Halt:
    """Stop a training job; one that ended is left as it is."""

    together = True
    name: str


@dataclass(frozen=True, slots=True)
class Tell:
    """Write lines to the tuning job's log."""

    lines: tuple[str, ...]


Command: TypeAlias = Suggest | Train | Halt | Tell


# -- observations -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Proposal:
    """What the sampler suggested at that point of the study."""

    key: str
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SeenTuning:
    """`children`: the open trials' training jobs by name (None: there is none); `proposal` None: the sampler works, or was not asked."""

    children: Mapping[str, Record | None] = field(default_factory=dict)
    proposal: Proposal | Unable | None = None


# -- the document -------------------------------------------------------------------------------------------------------------


def document(
    request: Mapping[str, Any],
    tags: Sequence[Mapping[str, str]],
    by: str,
    job_id: str,
    seed: int,
    prior: Sequence[Mapping[str, Any]] = (),
    prior_best: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A new tuning job's document."""
    return {
        "request": dict(request),
        "tags": [dict(tag) for tag in tags],
        "by": by,
        "id": job_id,
        "seed": seed,
        "prior": [dict(entry) for entry in prior],
        "prior_best": dict(prior_best) if prior_best else None,
        "trials": [],
        "events": [],
    }


def seed_of(job_id: str) -> int:
    """A seed for a job that gives none."""
    return int.from_bytes(hashlib.sha256(job_id.encode()).digest()[:4], "big")


def child_name(record: Record, number: int) -> str:
    """`<tuning job>-NNN-<8 hex>`, from 001 on. The digits follow from the record: a command that is repeated names the same job, and a
    tuning job that is created anew under its name names others."""
    digits = hashlib.sha256(f"{record.document['id']}:{number}".encode()).hexdigest()[:8]
    return f"{record.name}-{number + 1:03d}-{digits}"


def is_open(trial: Trial) -> bool:
    return trial["status"] in ACTIVE


def open_trials(document: Document) -> list[Trial]:
    return [trial for trial in document["trials"] if is_open(trial)]


def succeeded(document: Document) -> list[Trial]:
    return [trial for trial in document["trials"] if trial["objective"] == "Succeeded"]


def best(document: Document, maximize: bool) -> Trial | None:
    """The trial with the best value; the earliest of equal ones."""
    found = succeeded(document)
    if not found:
        return None
    return (max if maximize else min)(found, key=lambda trial: float(trial["value"]))


def job_counters(document: Document) -> dict[str, int]:
    """TrainingJobStatusCounters."""
    found = dict.fromkeys(("Completed", "InProgress", "RetryableError", "NonRetryableError", "Stopped"), 0)
    names = {"Completed": "Completed", "Stopped": "Stopped", "Failed": "NonRetryableError"}
    for trial in document["trials"]:
        found[names.get(trial["status"], "InProgress")] += 1
    return found


def objective_counters(document: Document) -> dict[str, int]:
    """ObjectiveStatusCounters."""
    found = dict.fromkeys(("Succeeded", "Pending", "Failed"), 0)
    for trial in document["trials"]:
        found[trial["objective"]] += 1
    return found


def study(document: Document, definition: int, of: Definition, sampler: str) -> dict[str, Any]:
    """The study of one definition as the sampler takes it. Random draws do not depend on what came of others: it is told no values."""
    numbers: dict[int, int] = {}
    events: list[list[Any]] = []
    for kind, at in document["events"]:
        trial = document["trials"][at]
        if trial["definition"] != definition or (kind == "tell" and sampler == "random"):
            continue
        if kind == "ask":
            numbers[at] = len(numbers)
            events.append(["ask", dict(trial["raw"])])
        else:
            events.append(["tell", numbers[at], *_outcome(trial)])
    return {
        "sampler": sampler,
        "seed": (int(document["seed"]) + definition) % 2**32,
        "direction": "maximize" if of.maximize else "minimize",
        "space": [each.sampled() for each in of.ranges],
        "prior": [] if sampler == "random" else _prior(document, of),
        "events": events,
    }


def _outcome(trial: Trial) -> tuple[str, float | None, list[float]]:
    """As the sampler is told: of an early stop the epochs up to the comparison, not those that the job made until it ended."""
    if trial["objective"] != "Succeeded":
        return "failed", None, []
    if trial.get("at") and not trial.get("full"):
        values = [float(value) for value in trial["values"][: trial["at"]]]
        return "pruned", values[-1], values
    return "complete", float(trial["value"]), []


def _prior(document: Document, of: Definition) -> list[dict[str, Any]]:
    found = []
    for entry in document["prior"]:
        if entry["definition"] != of.name:
            continue
        raw = {each.name: each.raw(str(entry["params"].get(each.name))) for each in of.ranges}
        if None not in raw.values():
            found.append({"params": raw, "value": float(entry["value"])})
    return found


def stop_asked(record: Record, now: float) -> Record:
    """StopHyperParameterTuningJob. IllegalTransition when it has ended."""
    return replace(record, status=advance(JOB, record.status, JobFact.STOP_ASKED), modified=now)


def absorb(record: Record, outcomes: Sequence[tuple[Command, Any]]) -> Record:
    """Which training jobs were made, or why one could not be."""
    trials = [dict(trial) for trial in record.document["trials"]]
    events = list(record.document["events"])
    for command, answer in outcomes:
        if not isinstance(command, Train):
            continue
        trial = trials[command.number]
        if isinstance(answer, Unable):
            trial |= {"status": "Failed", "objective": "Failed", "failure": answer.why[:1024]}
            events.append(["tell", command.number])
        else:
            trial["made"] = True
    changed = {**record.document, "trials": trials, "events": events}
    return record if changed == record.document else replace(record, document=changed)
