"""One turn of a variant with a latency objective: samples in, workers, sizes and replicas out, and the decision's record. Pure.

The policy is `scaling/policy.py`'s. Here its figures meet an endpoint: what there is, what may be, who does it. What the front needs
(`Staff`) is told at once. A dimension that a scalable target has is a *wish* in the record, which the target's turn takes up
(`autoscaling/turn.py`), so that other policies, suspensions and schedules hold; the others are asked of the endpoint (`Ask`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from clary.domain.autoscaling.capacity import is_asynchronous
from clary.domain.autoscaling.latency import METRIC
from clary.domain.autoscaling.record import INSTANCES, MILLICPU
from clary.domain.decisions import Decision, Unable
from clary.domain.endpoints.fleets import Variant
from clary.domain.endpoints.routes import Boost
from clary.domain.endpoints.sizes import size_of_group
from clary.domain.objectives.commands import Ask, Command, Live, SeenObjective, Staff, Tell
from clary.domain.objectives.event import ended, event_of, named, woken
from clary.domain.objectives.record import kept_of, pack, sane
from clary.domain.objectives.sight import ObjectiveTurn, boosting, bounds_of, group_of, have_of, note_room, start_of
from clary.domain.resources import Record
from clary.domain.scaling import usual
from clary.domain.scaling.boost import allowed
from clary.domain.scaling.costs import undisturbed
from clary.domain.scaling.decisions import Event, worth
from clary.domain.scaling.policy import ClaryPolicy
from clary.domain.scaling.shape import Have, allowance_of, held_back, policy_of, ready_of, settled, shape
from clary.domain.scaling.sharing import Claim, claim
from clary.domain.scaling.signals import STALE, Current, Desired, Memory, Sample

TICK = 2.0  # seconds after which a variant is looked at without news of its front
ONCE = (
    STALE + 0.1
)  # seconds in which the same samples are decided by once: a change of the endpoint is no news of its load
SAVED_EVERY = 30.0  # seconds between two savings of nothing but the memory
SURGE = ClaryPolicy(1.0).surge


@dataclass(frozen=True, slots=True)
class ObjectiveStep:
    decision: Decision[Command]
    live: Live


def decide(record: Record, seen: SeenObjective, now: float) -> ObjectiveStep:
    group = group_of(seen.endpoint, record.document["variant"])
    if seen.endpoint is None or not group or seen.asked is None:
        boosted = bool(group) and (group[0].boost is not None or group[0].allowance)
        commands: tuple[Command, ...] = (Staff(None, 0),) if boosted else ()
        if group and not group[0].count:
            commands = (*commands, Ask(INSTANCES, 1, 0))  # nothing would wake it any more
        if seen.endpoint is not None and group:
            policy = seen.live.outcome[0] if seen.live.outcome else METRIC
            commands = (*commands, Tell(ended(policy, group, is_asynchronous(seen.endpoint), now)))
        return ObjectiveStep(Decision(record, commands, remove=True), seen.live)
    live, heard = seen.live, seen.recent.at if seen.recent is not None else 0.0
    since = now - live.decided
    if heard == live.heard and 0 <= since < ONCE and _objective(group) == seen.asked.objective:
        return ObjectiveStep(Decision(record, again=ONCE - since), live)
    live = replace(live, decided=now, heard=heard)
    size, document = size_of_group(group), dict(record.document)
    turn = ObjectiveTurn(record, replace(seen, live=live), seen.asked, seen.endpoint, group, now, size, document)
    return _decided(turn)


def _objective(group: tuple[Variant, ...]) -> float:
    boost = group[0].boost
    return boost.objective if boost is not None else 0.0


def _decided(turn: ObjectiveTurn) -> ObjectiveStep:
    seen, now, asked = turn.seen, turn.now, turn.asked
    have = have_of(turn)
    note_room(turn, have)
    bounds = bounds_of(turn, have)
    allowance = allowance_of(bounds, SURGE)
    samples = undisturbed(seen.recent.samples if seen.recent is not None else (), seen.strain.waits)
    memory = sane(seen.live.memory, now)
    fresh = samples if samples and now - samples[-1].time <= STALE else ()
    floor = usual.replicas(seen.usual, fresh, memory, asked.objective, ready_of(bounds, have))
    policy = policy_of(asked.objective, asked.keep, bounds, have, floor)
    current = Current(
        have.ready,
        have.starting,
        turn.variant.failure if turn.variant.deaths else "",
        allowance,
        start_of(turn),
        boosting=boosting(turn),
        memory=memory,
    )
    desired = named(policy.decide(samples, current, turn.document["changed"], now), seen.recent)
    made = held_back(shape(desired, bounds, have), bounds, have, seen.strain)
    made = settled(made, have, turn.document.get("grown", 0.0), now)
    boost = _boost(turn, desired)
    if boost != turn.variant.boost or allowance != turn.variant.allowance:
        turn.commands.append(Staff(boost, allowance))
    event = event_of(turn, desired, made, have, allowance, samples)
    _do(turn, event, have)
    kept = desired.memory
    if not event.applied or event.after.count >= have.asked:
        kept = kept._replace(shrunk=memory.shrunk)  # what is held was not given up
    if seen.live.asleep and have.asked and any(each.arrivals or each.in_flight or each.queued for each in fresh):
        turn.commands.append(Tell(woken(asked.policy, event.before, now)))
    live = replace(seen.live, memory=kept, claim=_claim(turn, desired, fresh), asleep=not have.asked)
    busy = bool(fresh) and bool(fresh[-1].arrivals or fresh[-1].in_flight)
    if worth(event, live.outcome, live.told, busy):
        turn.commands.append(Tell(event))
        live = replace(live, outcome=event.outcome, told=now)
    return ObjectiveStep(Decision(_saved(turn, kept), tuple(turn.commands), TICK), live)


def _claim(turn: ObjectiveTurn, desired: Desired, fresh: Sequence[Sample]) -> Claim | None:
    """What it would do with CPUs. Who has told nothing lately claims nothing."""
    if not fresh or turn.seen.recent is None:
        return None
    last, strain, objective = fresh[-1], turn.seen.strain, turn.asked.objective
    busy = min(last.in_flight, turn.seen.recent.working)
    made = claim(desired, last, objective, busy)._replace(cost=strain.cost)
    if not strain.waits or not last.service:
        return made
    # Its front decides by what requests take now. A variant that is released because it would need little alone would at once
    # take all of that.
    now, most = last.service / (1.0 - strain.waits), desired.count * desired.allowance
    rule = allowed(busy, desired.rate, now, last.queued, desired.base, most, objective, desired.delta)
    return made._replace(wanted=max(made.wanted, rule))


def _saved(turn: ObjectiveTurn, memory: Memory) -> Record:
    """The record, changed only when there is something to keep: a save each second would be the dearest part of a decision."""
    changed = turn.document != turn.record.document
    kept = pack(memory)
    aged = not 0 <= turn.now - turn.record.modified < SAVED_EVERY and kept != turn.record.document["memory"]
    if not changed and not aged:
        return turn.record
    return replace(turn.record, document={**turn.document, "memory": kept}, modified=turn.now)


# -- what shall be ----------------------------------------------------------------------------------------------------------------


def _boost(turn: ObjectiveTurn, desired: Desired) -> Boost:
    """What the front is told: as it was, where the difference is not worth a word."""
    old, objective = turn.variant.boost, turn.asked.objective
    new = Boost(
        objective, max(0, desired.base), round(desired.rate, 3), round(desired.delta, 3), round(desired.hold, 3)
    )
    if old is None or old.objective != objective:
        return new
    if desired.reason.won in ("stale", "absurd"):
        return old
    close = (
        abs(new.rate - old.rate) <= max(0.15 * max(new.rate, old.rate), 0.1 / objective)
        and abs(new.base - old.base) <= 0.1 * max(new.base, old.base)
        and abs(new.delta - old.delta) <= 0.2 * max(new.delta, old.delta)
        and abs(new.hold - old.hold) <= 0.2 * max(new.hold, old.hold)
    )
    return old if close else new


def _do(turn: ObjectiveTurn, event: Event, have: Have) -> None:
    """Wishes for targets, and what is asked of the endpoint itself."""
    asked, asks = turn.asked, len(turn.commands)
    wishes: dict[str, Mapping[str, Any]] = {}
    turn.document["keeps"] = kept_of(asked)
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
    if not turn.barred and (news or len(turn.commands) > asks):
        if event.after.count != event.before.count:
            turn.document["changed"] = turn.now
        if event.after.millicpu > event.before.millicpu:
            turn.document["grown"] = turn.now


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
