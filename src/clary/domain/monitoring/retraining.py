"""When an endpoint is retrained, and when a person is called instead. Pure.

The endpoint's tag `clary:retrain` names a pipeline and what starts it. A record beside the endpoint keeps what was started and told; each
turn compares what is seen with it. What speaks for a retraining is a *trigger*; what speaks against one is a *refusal*, which is told
once, in the history and, where a person has to look, by the topic. At most one execution of the pipeline runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from clary.domain.decisions import Decision, Unable
from clary.domain.errors import Invalid
from clary.domain.resources import Record

TAG, ASK = "clary:retrain", "clary:retrain-now"
KIND, WATCHING = "retraining", "Watching"
IN_SERVICE = "InService"
GOING = ("Executing", "Stopping")
LOOK = 2.0  # seconds between looks
MONTH = 30 * 86_400.0
WORSE, DRIFT, VIOLATION, ALARM = "worse", "drift", "violation", "alarm"
ON = (WORSE, DRIFT, VIOLATION, ALARM)
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DISAGREE = (5, 0.01)  # labels that contradict an earlier one: at least so many, and that share of the new ones
_BROKEN = 0.95  # share of a column's values that are missing or out of range, when hardly any were
_LONGEST = 900  # characters of a sentence
_USED = 100  # occasions that are remembered


@dataclass(frozen=True, slots=True)
class RetrainPlan:
    """The tag's value. `every`, `cooldown` in seconds (0: not); `rows`: new labelled rows that start one (0: none do); `fresh`: the fewest
    that one needs; `budget`: trainings in 30 days; `topic`: an SNS topic by name or ARN."""

    pipeline: str
    on: tuple[str, ...] = (WORSE, VIOLATION)
    alarms: tuple[str, ...] = ()
    every: float = 0.0
    rows: int = 0
    fresh: int = 200
    cooldown: float = 3600.0
    budget: int = 30
    topic: str = ""
    gate: str = ""

    @classmethod
    def read(cls, text: str) -> RetrainPlan:
        """From `pipeline=NAME on=worse,drift every=7d cooldown=1d budget=30 topic=NAME ...`. Invalid: not so."""
        given: dict[str, Any] = {}
        for word in text.split():
            name, equals, value = word.partition("=")
            if name not in cls.__slots__ or name in given or not equals or not value:
                raise Invalid(f"{TAG}: '{word}' is none of {', '.join(f'{each}=VALUE' for each in cls.__slots__)}.")
            given[name] = _READ.get(name, str)(value)
        if "pipeline" not in given:
            raise Invalid(f"{TAG} must name a pipeline: pipeline=NAME.")
        unknown = [each for each in given.get("on", ()) if each not in ON]
        if unknown:
            raise Invalid(f"{TAG}: on={unknown[0]} must be one or several of {','.join(ON)}.")
        made = cls(**given)
        if made.budget < 1 or made.fresh < 1:
            raise Invalid(f"{TAG}: budget and fresh must be 1 or more.")
        return made


def _seconds(value: str) -> float:
    try:
        found = float(value[:-1]) * _UNITS[value[-1]]
    except (KeyError, ValueError, IndexError):
        raise Invalid(f"{TAG}: '{value}' is no length of time such as 90s, 30m, 12h or 7d.") from None
    if not 0 <= found < 1e9:
        raise Invalid(f"{TAG}: '{value}' is no length of time such as 90s, 30m, 12h or 7d.")
    return found


def _number(value: str) -> int:
    if not value.isdigit() or len(value) > 9:
        raise Invalid(f"{TAG}: '{value}' is not a whole number.")
    return int(value)


def _words(value: str) -> tuple[str, ...]:
    return tuple(each for each in value.split(",") if each)


_READ: Mapping[str, Any] = {
    **dict.fromkeys(("every", "cooldown"), _seconds),
    **dict.fromkeys(("rows", "fresh", "budget"), _number),
    **dict.fromkeys(("on", "alarms"), _words),
}


@dataclass(frozen=True, slots=True)
class SeenRun:
    """An execution: `status` is a pipeline execution's, `why` its failure's sentence."""

    arn: str
    status: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class SeenForRetraining:
    """What the world says. `watched` is what `clary drift` shows, by variant; `violations`: (schedule, time, words) of monitors whose last
    execution had violations; `no_data`: sentences of those that had none; `alarms`: (name, since, reason) of those in ALARM; `run`: an
    execution of the pipeline that runs, or the one that was started; `known`: whether there is such a pipeline; `parameters`: those that
    its definition declares."""

    endpoint: Record | None
    tag: str = ""
    ask: str = ""
    watched: Sequence[Mapping[str, Any]] = ()
    violations: Sequence[tuple[str, float, str]] = ()
    no_data: Sequence[str] = ()
    alarms: Sequence[tuple[str, float, str]] = ()
    run: SeenRun | None = None
    other: str = ""
    known: bool = True
    parameters: frozenset[str] = frozenset()
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StartRetraining:
    """Start the pipeline, once for the token. `keys`: occasions that are used up by it; counts of labels at its start."""

    pipeline: str
    token: str
    parameters: Mapping[str, str]
    why: str
    keys: tuple[str, ...] = ()
    joined: int = 0
    conflicts: int = 0


@dataclass(frozen=True, slots=True)
class TellRetraining:
    """A line of the endpoint's history; `topic`: and a message to a person."""

    n: int
    at: float
    what: str
    why: str
    pipeline: str
    topic: str = ""


RetrainingCommand = StartRetraining | TellRetraining


@dataclass(frozen=True, slots=True)
class Trigger:
    """`key` is the same for the same occasion. `once`: it starts one retraining at most."""

    kind: str
    key: str
    why: str
    once: bool = True


@dataclass(frozen=True, slots=True)
class Refusal:
    kind: str
    why: str
    page: bool = True


def new(endpoint: Record, arn: str, now: float) -> Record:
    lists: dict[str, Any] = {"started": [], "used": [], "told": [], "untold": []}
    counts = {"n": 0, "starts": 0, "joined": 0, "conflicts": 0}
    document = {"endpoint": endpoint.name, "made": endpoint.created, "run": "", **counts, **lists}
    return Record(KIND, endpoint.scope, endpoint.name, arn, WATCHING, now, now, document)


def decide(record: Record, seen: SeenForRetraining, now: float) -> Decision[RetrainingCommand]:
    """Start one, tell why not, tell what came of the last one, or wait."""
    endpoint = seen.endpoint
    if endpoint is None or not seen.tag or endpoint.created != record.document["made"]:
        return Decision(record, remove=True)
    try:
        plan = RetrainPlan.read(seen.tag)
    except Invalid:
        return Decision(record, again=60.0)
    state = dict(record.document)
    commands: list[RetrainingCommand] = []
    if state["untold"]:
        what, why, page = state["untold"]
        _tell(state, commands, plan, what, why, now, page=page)
        state["untold"] = []
    if labelled(seen) < state["joined"]:  # a new endpoint config counts anew
        state |= {"joined": 0, "conflicts": 0}
    if state["run"] and seen.run is not None and seen.run.status not in GOING:
        what, why = _outcome(plan, seen.run)
        _tell(state, commands, plan, what, why, now, page="NO_DATA" in why)
        state["run"] = ""
    elif not state["run"]:
        found = [each for each in triggers(plan, seen, state, record.created, now) if each.key not in state["used"]]
        if endpoint.status == IN_SERVICE and found:
            _act(state, commands, plan, seen, found, now)
        elif not found:
            state["told"] = []
    changed = record if state == record.document else replace(record, document=state)
    return Decision(changed, tuple(commands), again=LOOK)


def _act(
    state: dict[str, Any],
    commands: list[RetrainingCommand],
    plan: RetrainPlan,
    seen: SeenForRetraining,
    found: Sequence[Trigger],
    now: float,
) -> None:
    """Start, or tell why not, once for the reason."""
    why = "; ".join(each.why for each in found)
    refusals = reasons(plan, seen, state, found, now)
    asked = [each.key for each in found if each.kind == ASK]
    if refusals:
        fresh = [each for each in refusals if each.kind not in state["told"]]
        if fresh or asked:
            told = "; ".join(each.why for each in (fresh or refusals))
            page = any(each.page for each in fresh)
            _tell(state, commands, plan, "retraining refused", f"{why}; but {told}", now, page=page)
            state["told"] = [*state["told"], *(each.kind for each in fresh)]
            state["used"] = [*state["used"], *asked]
        return
    token = hashlib.sha256(
        f"{seen.endpoint and seen.endpoint.arn} {state['made']} {state['starts']}".encode()
    ).hexdigest()
    given = {name: text for name, text in {**seen.values, "Reason": why[:_LONGEST]}.items() if name in seen.parameters}
    used = tuple(each.key for each in found if each.once)
    commands.append(StartRetraining(plan.pipeline, token, given, why, used, labelled(seen), conflicting(seen)))


def started(record: Record, command: StartRetraining, outcome: str | Unable, now: float) -> Record:
    """The record with the execution that was started (its ARN), or why it could not be: the next turn tells it."""
    state = dict(record.document)
    if isinstance(outcome, Unable):
        if "start" not in state["told"]:
            state["told"] = [*state["told"], "start"]
            why = f"{command.why}; but {command.pipeline} cannot be started: {outcome.why}"
            state["untold"] = ["retraining refused", why, True]
        return replace(record, document=state)
    state |= {"run": outcome, "told": [], "used": [*state["used"], *command.keys][-_USED:]}
    state |= {"joined": command.joined, "conflicts": command.conflicts, "starts": state["starts"] + 1}
    state["started"] = [*(at for at in state["started"] if now - at < MONTH), now]
    state["untold"] = ["retraining started", command.why, False]
    return replace(record, document=state)


def _tell(
    state: dict[str, Any],
    commands: list[RetrainingCommand],
    plan: RetrainPlan,
    what: str,
    why: str,
    now: float,
    *,
    page: bool = False,
) -> None:
    state["n"] = state["n"] + 1
    commands.append(TellRetraining(state["n"], now, what, why[:_LONGEST], plan.pipeline, plan.topic if page else ""))


def _outcome(plan: RetrainPlan, run: SeenRun) -> tuple[str, str]:
    if run.status == "Succeeded":
        return "retraining ended", f"{plan.pipeline} succeeded{f': {run.why}' if run.why else ''}"
    return "retraining kept the incumbent", run.why or f"{plan.pipeline} is {run.status}"


# -- what speaks for it -----------------------------------------------------------------------------------------------------------------


def triggers(
    plan: RetrainPlan, seen: SeenForRetraining, state: Mapping[str, Any], created: float, now: float
) -> list[Trigger]:
    """All that ask for a retraining now."""
    found: list[Trigger] = []
    last = max([created, *state["started"]])
    if seen.ask:
        found.append(Trigger(ASK, f"asked {seen.ask}", f"a person asked for it ({seen.ask})"))
    for each in seen.watched:
        found += _watched(plan, each)
    if VIOLATION in plan.on:
        found += [
            Trigger(VIOLATION, f"violation {name} {at}", f"monitor {name} had violations at {_moment(at)}: {words}")
            for name, at, words in seen.violations
        ]
    found += [
        Trigger(ALARM, f"alarm {name} {at}", f"alarm {name} is in ALARM since {_moment(at)}: {words}")
        for name, at, words in seen.alarms
    ]
    if plan.every and now - last >= plan.every:
        found.append(Trigger("every", f"every {last}", f"{_length(plan.every)} have passed since {_moment(last)}"))
    rows = labelled(seen) - state["joined"]
    if plan.rows and rows >= plan.rows:
        found.append(Trigger("rows", f"rows {last}", f"{rows:,} new labelled rows have come"))
    return found


def _watched(plan: RetrainPlan, told: Mapping[str, Any]) -> list[Trigger]:
    found = []
    labels, variant = told.get("labels") or {}, told["variant"]
    if WORSE in plan.on and labels.get("since") is not None:
        key = f"worse {variant} {told.get('config')} {labels['since']}"
        found.append(Trigger(WORSE, key, _worse(variant, labels), once=False))
    drifting = [each["name"] for each in told.get("columns", ()) if each["since"] is not None]
    if DRIFT in plan.on and drifting:
        names = ", ".join(drifting[:5]) + (", ..." if len(drifting) > 5 else "")
        key = f"drift {variant} {told.get('config')} {names}"
        found.append(Trigger(DRIFT, key, f"{len(drifting)} columns of {variant} drift: {names}", once=False))
    return found


def _worse(variant: str, labels: Mapping[str, Any]) -> str:
    rolling, reference = labels["rolling"], labels["reference"]
    name, key = ("accuracy", "accuracy") if "accuracy" in rolling else ("mean absolute error", "mae")
    return (
        f"{name} of {variant} went from {reference[key]:.3g} to {rolling[key]:.3g} ({rolling['lower']:.3g} to {rolling['upper']:.3g}, "
        f"{rolling['rows']:,} labelled rows) since {_moment(labels['since'])}"
    )


# -- what speaks against it -------------------------------------------------------------------------------------------------------------


def reasons(
    plan: RetrainPlan, seen: SeenForRetraining, state: Mapping[str, Any], found: Sequence[Trigger], now: float
) -> list[Refusal]:
    """All that forbids a retraining now."""
    refused = []
    if not seen.known:
        refused.append(Refusal("pipeline", f"there is no pipeline {plan.pipeline}"))
    if seen.other:
        refused.append(Refusal("runs", f"an execution of {plan.pipeline} runs: {seen.other}", page=False))
    recent = [at for at in state["started"] if now - at < MONTH]
    asked = any(each.kind == ASK for each in found)
    if recent and now - max(recent) < plan.cooldown and not asked:
        told = f"the last one began at {_moment(max(recent))}, and the cool-down is {_length(plan.cooldown)}"
        refused.append(Refusal("cool-down", told, page=False))
    if len(recent) >= plan.budget:
        refused.append(Refusal("budget", f"{len(recent)} trainings in 30 days are the whole budget"))
    broken = [each for told in seen.watched for each in broken_columns(told)]
    if broken:
        refused.append(Refusal("schema", f"the schema broke: {', '.join(broken[:5])}"))
    refused += [Refusal("no data", each) for each in seen.no_data]
    joined = labelled(seen)
    fresh = joined - state["joined"]
    if not joined:
        refused.append(Refusal("no data", "NO_DATA: no labels have come for captured requests"))
    elif fresh < plan.fresh:
        refused.append(
            Refusal("rows", f"too few new rows: {fresh:,} labelled ones since the last training, of {plan.fresh:,}")
        )
    conflicts = conflicting(seen) - state["conflicts"]
    if conflicts >= max(_DISAGREE[0], _DISAGREE[1] * max(1, fresh)):
        refused.append(Refusal("labels", f"labels disagree: {conflicts:,} contradict an earlier one"))
    return refused


def labelled(seen: SeenForRetraining) -> int:
    return sum(int((each.get("labels") or {}).get("joined", 0)) for each in seen.watched)


def conflicting(seen: SeenForRetraining) -> int:
    return sum(int((each.get("labels") or {}).get("conflicts", 0)) for each in seen.watched)


def broken_columns(told: Mapping[str, Any]) -> list[str]:
    """Columns that are missing or out of range nearly everywhere, and hardly were before."""
    found = []
    for each in told.get("columns", ()):
        reference = each.get("reference") or []
        rows = sum(reference)
        if not rows or "missing" not in each or not each["name"].startswith("input."):
            continue
        if each["missing"] >= _BROKEN > 0.5 > reference[-2] / rows:
            found.append(f"{each['name']} is missing in {each['missing']:.0%} of the rows")
        elif each["outside"] >= _BROKEN > 0.5 > reference[-1] / rows:
            found.append(f"{each['name']} is out of its range in {each['outside']:.0%} of the rows")
    return found


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _length(seconds: float) -> str:
    for unit, name in ((86_400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= unit:
            return f"{seconds / unit:g} {name}"
    return f"{seconds:g} seconds"
