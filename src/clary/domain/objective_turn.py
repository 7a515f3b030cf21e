"""One turn of a variant with a latency objective: samples in, workers, sizes and replicas out, and the decision's record. Pure.

The policy is `scaling/policy.py`'s. Here its figures meet an endpoint: what there is, what may be, who does it. What the front needs
(`Staff`) is told at once. A dimension that a scalable target has is a *wish* in the record, which the target's turn takes up
(`autoscaling_turn.py`), so that other policies, suspensions and schedules hold; the others are asked of the endpoint (`Ask`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from clary.domain import instances, objective_tournament
from clary.domain.autoscaling import INSTANCES, MILLICPU
from clary.domain.decisions import Decision
from clary.domain.endpoint_routes import workers_of
from clary.domain.endpoint_sizes import SizeSeen, size_of_group
from clary.domain.endpoint_turn import NO_CAPACITY, plant_of
from clary.domain.fleets import READY, Variant
from clary.domain.latency_objectives import Asked, Range, pack, sane
from clary.domain.objective_commands import Ask, Command, Live, Seen, Staff, Tell, Unable
from clary.domain.resources import Record
from clary.domain.routes import Boost
from clary.domain.scaling import candidates, usual, words
from clary.domain.scaling.decisions import FLEET, HOLD, SIZE, STAFFING, Event, State, candidates_of, worth
from clary.domain.scaling.policy import ClaryPolicy
from clary.domain.scaling.retreat import may_sleep
from clary.domain.scaling.samples import Recent
from clary.domain.scaling.shape import NO_ROOM, Bounds, Have, Shape, allowance_of, policy_of, ready_of, shape
from clary.domain.scaling.signals import STALE, Current, Desired, Memory, Reason, Sample
from clary.domain.scaling.staffing import tail

TICK = 2.0  # seconds after which a variant is looked at without news of its front
ONCE = (
    STALE + 0.1
)  # seconds in which the same samples are decided by once: a change of the endpoint is no news of its load
SAVED_EVERY = 30.0  # seconds between two savings of nothing but the memory
AGAIN_LARGER, AGAIN_ANOTHER = 300.0, 60.0  # seconds after which a size, a replica without room is asked for again
REST = 10.0  # seconds after the endpoint took no change
SURGE = ClaryPolicy(1.0).surge
STARTS = 20  # replicas whose starts are remembered
UNMEASURED_START = 1.2
STEADY = ("InService", "OutOfService")
HELD = ("stale", "unmeasured", "absurd")


@dataclass(frozen=True, slots=True)
class Step:
    decision: Decision[Command]
    live: Live


@dataclass(slots=True)
class _Turn:
    record: Record
    seen: Seen
    asked: Asked
    endpoint: Record
    group: tuple[Variant, ...]
    now: float
    size: SizeSeen
    document: dict[str, Any] = field(default_factory=dict)
    commands: list[Command] = field(default_factory=list)
    larger: bool = False  # a size, a replica that there was no room for is asked for again
    another: bool = False
    barred: str = ""  # why nothing can be asked of the endpoint now

    @property
    def variant(self) -> Variant:
        return self.group[0]


def group_of(endpoint: Record | None, name: str) -> tuple[Variant, ...]:
    """The containers of the variant that serves, or comes first; none when it is not there."""
    plant = plant_of(endpoint) if endpoint is not None else None
    fleet = (plant.serving or plant.incoming) if plant is not None else None
    return tuple(v for v in fleet.variants if v.name == name and not v.shadow) if fleet is not None else ()


def decide(record: Record, seen: Seen, now: float) -> Step:
    group = group_of(seen.endpoint, record.document["variant"])
    if seen.endpoint is None or not group or seen.asked is None:
        boosted = bool(group) and (group[0].boost is not None or group[0].allowance)
        commands: tuple[Command, ...] = (Staff(None, 0),) if boosted else ()
        if group and not group[0].count:
            commands = (*commands, Ask(INSTANCES, 1, 0))  # nothing would wake it any more
        return Step(Decision(record, commands, remove=True), seen.live)
    live, heard = seen.live, seen.recent.at if seen.recent is not None else 0.0
    since = now - live.decided
    if heard == live.heard and 0 <= since < ONCE and _objective(group) == seen.asked.objective:
        return Step(Decision(record, again=ONCE - since), live)
    live = replace(live, decided=now, heard=heard)
    size, document = size_of_group(group), dict(record.document)
    turn = _Turn(record, replace(seen, live=live), seen.asked, seen.endpoint, group, now, size, document)
    return _decided(turn)


def _objective(group: tuple[Variant, ...]) -> float:
    boost = group[0].boost
    return boost.objective if boost is not None else 0.0


def _decided(turn: _Turn) -> Step:
    seen, now, asked = turn.seen, turn.now, turn.asked
    have = _have(turn)
    _note_room(turn, have)
    bounds = _bounds(turn, have)
    allowance = allowance_of(bounds, SURGE)
    samples = tuple(seen.recent.samples) if seen.recent is not None else ()
    memory = sane(seen.live.memory, now)
    fresh = samples if samples and now - samples[-1].time <= STALE else ()
    floor = usual.replicas(seen.usual, fresh, memory, asked.objective, ready_of(bounds, have))
    policy = policy_of(asked.objective, asked.keep, bounds, have, floor)
    policy = candidates.set_as(policy, objective_tournament.serving(turn.document, asked))
    current = Current(
        have.ready,
        have.starting,
        turn.variant.failure if turn.variant.deaths else "",
        allowance,
        _start(turn),
        boosting=_boosting(turn),
        memory=memory,
    )
    desired = _named(policy.decide(samples, current, turn.document["changed"], now), seen.recent)
    made = shape(desired, bounds, have)
    boost = _boost(turn, desired)
    if boost != turn.variant.boost or allowance != turn.variant.allowance:
        turn.commands.append(Staff(boost, allowance))
    event = _event(turn, desired, made, have, allowance, samples)
    _do(turn, event, have)
    start, starts, ready = current.start, turn.document["starts"], ready_of(bounds, have)
    setup = objective_tournament.setup_of(asked, bounds, ready, allowance, starts, start)
    live = replace(seen.live, memory=desired.memory, setup=setup)
    if seen.played is not None:
        news, word = objective_tournament.judged(turn.document, seen.played, asked, event.before, now)
        turn.document["tournament"] = news
        turn.commands += [Tell(word)] if word is not None else []
    busy = bool(fresh) and bool(fresh[-1].arrivals or fresh[-1].in_flight)
    if worth(event, live.outcome, live.told, busy):
        turn.commands.append(Tell(event))
        live = replace(live, outcome=event.outcome, told=now)
    return Step(Decision(_saved(turn, desired.memory), tuple(turn.commands), TICK), live)


def _saved(turn: _Turn, memory: Memory) -> Record:
    """The record, changed only when there is something to keep: a save each second would be the dearest part of a decision."""
    changed = turn.document != turn.record.document
    kept = pack(memory)
    aged = not 0 <= turn.now - turn.record.modified < SAVED_EVERY and kept != turn.record.document["memory"]
    if not changed and not aged:
        return turn.record
    return replace(turn.record, document={**turn.document, "memory": kept}, modified=turn.now)


# -- what there is ----------------------------------------------------------------------------------------------------------------


def _have(turn: _Turn) -> Have:
    asked, live = turn.variant.count, len(turn.variant.live)
    ready = min(asked, *(sum(r.phase == READY for r in v.replicas) for v in turn.group))
    size = turn.size
    return Have(asked, ready, max(0, min(live, asked) - ready), size.actual or size.wanted)


def _note_room(turn: _Turn, have: Have) -> None:
    """What could not be had, until it is had."""
    document, now, asked = turn.document, turn.now, turn.asked
    cramped = turn.variant.cramped or (asked.millicpu.refused if asked.millicpu else "")
    failing = turn.variant.failure if turn.variant.deaths else ""
    full = failing.removeprefix(NO_CAPACITY) if failing.startswith(NO_CAPACITY) else ""
    full = full or (asked.count.refused if asked.count else "")
    turn.larger = _note_lack(document, "cramped", cramped, have.millicpu, AGAIN_LARGER, now)
    turn.another = _note_lack(document, "full", full, have.ready, AGAIN_ANOTHER, now)
    document["starts"] = [*document["starts"], *(round(each, 3) for each in turn.seen.starts)][-STARTS:]


def _note_lack(document: dict[str, Any], which: str, why: str, has: int, again: float, now: float) -> bool:
    """Why there was no room lately; answers whether it is time to ask again, which it is for one decision."""
    known = document[which]
    if known is None:
        document[which] = {"why": why, "at": now, "has": has} if why else None
        return False
    if not why and has > known["has"]:
        document[which] = None
        return False
    due = not 0 <= now - known["at"] < again
    if due or (why and why != known["why"]):
        document[which] = {"why": why or known["why"], "at": now, "has": known["has"]}
    return due


def _bounds(turn: _Turn, have: Have) -> Bounds:
    asked, variant, document = turn.asked, turn.variant, turn.document
    size = instances.find(variant.instance_type)
    own = min(size.vcpu if size is not None else turn.seen.cpus, turn.seen.cpus) * 1000
    if asked.millicpu is None and variant.millicpu:
        own = variant.millicpu
    count = asked.count or Range(have.asked, have.asked)
    millicpu = asked.millicpu or Range(0, 0)
    cramped, full = document["cramped"], document["full"]
    unlimited = replace(variant, allowance=1)
    fixed = workers_of(unlimited, turn.seen.cpus)
    return Bounds(
        max(count.least, 0 if _may_sleep(turn) else 1),
        count.most,
        millicpu.least,
        millicpu.most,
        own,
        0 if fixed == 1 and not variant.container.workers else fixed,
        cramped["why"] if cramped else "",
        full["why"] if full else "",
        turn.larger,
        turn.another,
        turn.seen.cpus * 1000,
    )


def _may_sleep(turn: _Turn) -> bool:
    """Whether the last replica may go: the request that wakes it is still in time. What the start costs must have been measured."""
    recent, starts = turn.seen.recent, turn.document["starts"]
    if turn.asked.count is None or turn.asked.count.least or not starts:
        return False
    if recent is None or not recent.samples:
        return not turn.variant.count  # it sleeps: without news it goes on
    last = recent.samples[-1]
    return may_sleep(max(starts), tail(last.service, last.spread), turn.asked.objective)


def _stays(turn: _Turn) -> str:
    """Why the last replica stays where none would be allowed."""
    if turn.asked.count is None or turn.asked.count.least or turn.variant.count > 1 or _may_sleep(turn):
        return ""
    starts = turn.document["starts"]
    if not starts:
        return " One replica stays, parked: no start of it was measured yet."
    return (
        f" One replica stays, parked: a start takes {max(starts):.2g} s, and the request that wakes it would be late."
    )


def _start(turn: _Turn) -> float:
    """The 95th percentile of this model's starts."""
    starts = sorted(turn.document["starts"])
    return float(starts[min(len(starts) - 1, round(0.95 * len(starts)))]) if starts else UNMEASURED_START


def _boosting(turn: _Turn) -> bool:
    recent, boost = turn.seen.recent, turn.variant.boost
    return recent is not None and boost is not None and recent.working > max(1, boost.base)


def _named(desired: Desired, recent: Recent | None) -> Desired:
    """A hold for want of samples, by what was wrong with them."""
    if desired.reason.won != "stale" or recent is None or not recent.absurd:
        return desired
    terms = tuple(term._replace(name="absurd") if term.name == "stale" else term for term in desired.reason.terms)
    return replace(desired, reason=Reason("absurd", terms))


# -- what shall be ----------------------------------------------------------------------------------------------------------------


def _boost(turn: _Turn, desired: Desired) -> Boost:
    """What the front is told: as it was, where the difference is not worth a word."""
    old, objective = turn.variant.boost, turn.asked.objective
    new = Boost(objective, max(0, desired.base), round(desired.rate, 3), round(desired.delta, 3), desired.hold)
    if old is None or old.objective != objective:
        return new
    if desired.reason.won in ("stale", "absurd"):
        return old
    close = (
        abs(new.rate - old.rate) <= max(0.15 * max(new.rate, old.rate), 0.1 / objective)
        and abs(new.base - old.base) <= 0.1 * max(new.base, old.base)
        and abs(new.delta - old.delta) <= 0.1
        and new.hold == old.hold
    )
    return old if close else new


def _event(turn: _Turn, desired: Desired, made: Shape, have: Have, allowance: int, samples: Sequence[Sample]) -> Event:
    asked, recent = turn.asked, turn.seen.recent
    count = (asked.count or Range(have.asked, have.asked)).within(made.count, have.asked)
    millicpu = asked.millicpu.within(made.millicpu, have.millicpu) if asked.millicpu else have.millicpu
    before = State(have.asked, have.millicpu, turn.variant.allowance or workers_of(turn.variant, turn.seen.cpus))
    after = State(count, millicpu, allowance)
    won = NO_ROOM if made.stuck else desired.reason.won
    terms, figures = candidates_of(desired.reason)
    held = won in HELD
    level = HOLD if held else FLEET if count != have.asked else SIZE if millicpu != have.millicpu else STAFFING
    why = words.sentence(replace(desired, count=count), have.asked)
    if recent is not None and recent.absurd and won == "absurd":
        why = f"Keep what there is: {recent.absurd}, which cannot be, and nothing is decided by it."
    if millicpu != have.millicpu:
        why += f" Each is to have {millicpu} millicpu, not {have.millicpu}."
    why += _stays(turn)
    if made.why:
        why += f" {made.why[0].upper()}{made.why[1:]}."
    moves, blocked = (count, millicpu) != (have.asked, have.millicpu), _blocked(turn, made, have)
    turn.barred = _barred(turn) if moves else ""
    refused = made.why if made.stuck else turn.barred or (blocked if not moves else "")
    if blocked and not refused:
        why += f" Not all of it: {blocked}."
    changes = after != before and not refused
    saw = _saw(samples, recent, have, desired, turn.now) | figures
    return Event(turn.now, asked.policy, level, won, why, before, after, saw, terms, changes, refused)


def _saw(
    samples: Sequence[Sample], recent: Recent | None, have: Have, desired: Desired, now: float
) -> dict[str, float]:
    saw: dict[str, float] = {"count": have.ready, "starting": have.starting, "size": have.millicpu}
    if not samples or now - samples[-1].time > STALE:
        return saw
    last = samples[-1]
    load = next((dict(term.of) for term in desired.reason.terms if term.name == "load"), None)
    newest = [sample.arrivals for sample in samples[-4:]]
    saw |= {
        "rate": load["rate"] if load is not None else sum(newest) / len(newest),
        "service_ms": last.service * 1000.0,
        "in_flight": last.in_flight,
        "queued": last.queued,
    }
    if last.service > 0.0:
        saw["service_p95_ms"] = tail(last.service, last.spread) * 1000.0
    if recent is not None:
        saw |= {"late": recent.late, "working": recent.working, "p99_ms": recent.p99 * 1000.0}
    return {name: value for name, value in saw.items() if math.isfinite(value)}


def _blocked(turn: _Turn, made: Shape, have: Have) -> str:
    """Why what is wanted of a dimension is not done; "" when all is."""
    asked = turn.asked
    for which, one, wanted, now in (
        ("count", asked.count, made.count, have.asked),
        ("size", asked.millicpu, made.millicpu, have.millicpu),
    ):
        if one is None or wanted == now:
            continue
        if wanted > now and not one.grows:
            return f"the {which} may not grow: DynamicScalingOutSuspended"
        if wanted < now and not one.shrinks:
            return f"the {which} may not shrink: DynamicScalingInSuspended, or DisableScaleIn"
        if wanted > now and one.refused:
            return one.refused
    return ""


def _barred(turn: _Turn) -> str:
    """Why nothing can be asked of the endpoint now."""
    refused = turn.document["refused"]
    if refused is not None and 0 <= turn.now - refused["at"] < REST:
        return str(refused["why"])
    return f"the endpoint is {turn.endpoint.status}" if turn.endpoint.status not in STEADY else ""


def _do(turn: _Turn, event: Event, have: Have) -> None:
    """Wishes for targets, and what is asked of the endpoint itself."""
    asked, asks = turn.asked, len(turn.commands)
    wishes: dict[str, Mapping[str, Any]] = {}
    for dimension, one, now, wanted in (
        (INSTANCES, asked.count, have.asked, event.after.count),
        (MILLICPU, asked.millicpu, turn.size.wanted, event.after.millicpu),
    ):
        if one is None or wanted == now or turn.barred:
            continue
        if one.target:
            wishes[dimension] = {
                "from": now,
                "to": wanted,
                "why": event.why,
                "policy": asked.policy,
                "at": turn.now,
            }
        else:
            turn.commands.append(Ask(dimension, wanted, now))
    news = _amounts(wishes) != _amounts(turn.document["wish"])
    if news:
        turn.document["wish"] = wishes
    if event.after.count != event.before.count and not turn.barred and (news or len(turn.commands) > asks):
        turn.document["changed"] = turn.now


def _amounts(wishes: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[int, int]]:
    return {dimension: (wish["from"], wish["to"]) for dimension, wish in wishes.items()}


def absorb(record: Record, outcomes: Sequence[tuple[Command, Any]], now: float) -> Record:
    """What the endpoint could not do is known in the next turn."""
    for command, answer in outcomes:
        if isinstance(command, Ask) and isinstance(answer, Unable):
            lack = {"why": answer.why, "at": now}
            which = "refused" if not answer.scarce else "full" if command.dimension == INSTANCES else "cramped"
            kept = lack if which == "refused" else {**lack, "has": command.has}
            record = replace(record, document={**record.document, which: kept})
    return record
