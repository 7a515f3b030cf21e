"""What a turn of a latency objective comes to as an event of its log: what was seen, why, and what of it is not done. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from clary.domain.endpoints.fleets import Variant
from clary.domain.endpoints.routing import workers_of
from clary.domain.objectives.record import Range, unable
from clary.domain.objectives.sight import ObjectiveTurn, stays
from clary.domain.scaling import words
from clary.domain.scaling.decisions import CUT, ENDED, FLEET, HOLD, SIZE, STAFFING, Event, State, candidates_of, short
from clary.domain.scaling.samples import Recent
from clary.domain.scaling.shape import NO_ROOM, Have, Shape
from clary.domain.scaling.signals import STALE, Desired, Reason, Sample
from clary.domain.scaling.staffing import tail

REST = 10.0  # seconds after the endpoint took no change
STEADY = ("InService", "OutOfService")
HELD = ("stale", "unmeasured", "absurd")


def named(desired: Desired, recent: Recent | None) -> Desired:
    """A hold for want of samples, by what was wrong with them."""
    if desired.reason.won != "stale" or recent is None or not recent.absurd:
        return desired
    terms = tuple(term._replace(name="absurd") if term.name == "stale" else term for term in desired.reason.terms)
    return replace(desired, reason=Reason("absurd", terms))


def event_of(
    turn: ObjectiveTurn, desired: Desired, made: Shape, have: Have, allowance: int, samples: Sequence[Sample]
) -> Event:
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
        why = f"Keep what there is: {recent.absurd}, which is impossible, so the size stays as it is."
    if millicpu != have.millicpu:
        why += f" Each is to have {millicpu} millicpu, not {have.millicpu}."
    why += stays(turn) + _unmet(turn, samples)
    strain = turn.seen.strain
    if strain.ceiling:
        most = f"{strain.ceiling} worker{'' if strain.ceiling == 1 else 's'}"
        why += f" All CPUs of the machine are wanted: no more than {most} of {strain.wanted} may be busy."
    if made.why and not made.stuck:  # else it is what refuses it
        why += f" {made.why[0].upper()}{made.why[1:]}."
    moves, blocked = (count, millicpu) != (have.asked, have.millicpu), _blocked(turn, made, have)
    turn.barred = _barred(turn) if moves else ""
    refused = made.why if made.stuck else turn.barred or (blocked if not moves else "")
    if blocked and not refused:
        why += f" Not all of it: {blocked}."
    changes = after != before and not refused
    saw = _saw(samples, recent, have, desired, asked.objective, turn.now) | figures
    if strain.ceiling:
        saw |= {CUT: strain.ceiling}
    if strain.waits:
        saw |= {"waits": strain.waits}
    return Event(turn.now, asked.policy, level, won, why, before, after, saw, terms, changes, refused)


def _unmet(turn: ObjectiveTurn, samples: Sequence[Sample]) -> str:
    """That nothing which is decided here could keep the objective."""
    if not samples or turn.now - samples[-1].time > STALE or not samples[-1].service > 0.0:
        return ""
    slow, objective = tail(samples[-1].service, samples[-1].spread), turn.asked.objective
    if slow <= objective:
        return ""
    return (
        f" No size keeps the p99 within {objective * 1000:g} ms: one request in twenty takes {short(slow * 1000)} ms or more with a worker "
        "to itself."
    )


def ended(policy: str, group: Sequence[Variant], asynchronous: bool, now: float) -> Event:
    """That nobody asks for an objective of this variant any more, or that it cannot have one."""
    state, what = State(group[0].count, group[0].millicpu), unable(group, asynchronous)
    why = (
        f"The latency objective has no effect any more, since the variant {what}"
        if what
        else "The latency objective is gone"
    )
    after = (
        "a replica starts, since no request would wake one"
        if not state.count
        else "what there is stays until others change it"
    )
    return Event(now, policy, HOLD, ENDED, f"{why}: {after}.", state, state)


def woken(policy: str, after: State, now: float) -> Event:
    """That the front called for the first replica: it holds requests, and waits for no policy."""
    why = f"Add {after.count}, to {after.count} replica{'' if after.count == 1 else 's'}: a request came, and was held until one served."
    return Event(now, policy, FLEET, "request", why, replace(after, count=0), after, applied=True)


def _saw(
    samples: Sequence[Sample], recent: Recent | None, have: Have, desired: Desired, objective: float, now: float
) -> dict[str, float]:
    saw: dict[str, float] = {
        "count": have.ready,
        "starting": have.starting,
        "size": have.millicpu,
        "objective_ms": objective * 1000.0,
    }
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


def _blocked(turn: ObjectiveTurn, made: Shape, have: Have) -> str:
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


def _barred(turn: ObjectiveTurn) -> str:
    """Why nothing can be asked of the endpoint now."""
    refused = turn.document["refused"]
    if refused is not None and 0 <= turn.now - refused["at"] < REST:
        return str(refused["why"])
    return f"the endpoint is {turn.endpoint.status}" if turn.endpoint.status not in STEADY else ""
