"""Steers an endpoint through a change: what comes up, when traffic moves, when to give up, and the way back. Pure.

While a rollout is under way `Plant.serving` is the old fleet and `Plant.incoming` the new one; they change places in the end. The
order within a turn: reasons to give up, then what happened (facts), then replicas for the step that is reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from clary.domain.endpoints import deployment, regression
from clary.domain.endpoints.commands import ForgetWork
from clary.domain.endpoints.deployment import Rollout
from clary.domain.endpoints.fleets import DRAINING, Fleet, Variant
from clary.domain.endpoints.regression import Tally
from clary.domain.endpoints.replicas import REASON_LENGTH
from clary.domain.endpoints.routing import route_key
from clary.domain.endpoints.turn import EndpointTurn, broken, fill, prepare, reason_of, stop_all, work_keys
from clary.domain.lifecycle import EndpointFact, EndpointStatus, RolloutFact, RolloutPhase

LINGER = 70.0  # seconds that a change waits for replicas that leave: the default deadline of a prediction, and a margin


def change(turn: EndpointTurn) -> None:
    """Creating and Updating: bring the wanted fleet up, then let it take over."""
    plant = turn.plant
    target = plant.incoming or plant.serving
    if target is None:
        raise ValueError(f"{turn.record.arn} has no fleet to bring up")
    reason = _reason_to_give_up(turn, target)
    plant = turn.plant  # with what was just counted
    if reason:
        give_up(turn, reason)
    elif plant.incoming is None or plant.serving is None:
        _bring_up(turn, target)
    elif plant.rollout is None:  # asked before there were rollouts
        _roll_out(turn, deployment.plan(plant.deployment, plant.serving.counts, plant.incoming.counts, turn.now))
    elif plant.rollout.kind == deployment.IN_PLACE:
        _in_place(turn, plant.serving, plant.incoming)
    else:
        _roll_out(turn, plant.rollout)


def _bring_up(turn: EndpointTurn, target: Fleet) -> None:
    """A fleet with nothing beside it: the first one, or one that changes in place."""
    plant = turn.plant
    filled = fill(turn, target)
    if plant.incoming is None:
        turn.plant = replace(turn.plant, serving=filled)
        if (filled.settled and not plant.retiring) or _lingering(turn, filled):
            turn.plant = replace(turn.plant, before={})
            turn.move(EndpointFact.ALL_READY)
            turn.note("in service", _sizes(filled))
    elif filled.reachable:
        turn.plant = replace(turn.plant, serving=filled, incoming=None, rollout=None, failure="")
        turn.move(EndpointFact.ALL_READY)
        turn.note("in service", _sizes(filled))
    else:
        turn.plant = replace(turn.plant, incoming=filled)


def _lingering(turn: EndpointTurn, fleet: Fleet) -> bool:
    """All that is wanted serves, and what leaves still finishes something long, a stream or an asynchronous invocation: it goes on
    doing so, but nobody shall wait up to an hour for the endpoint to take its next change."""
    there = all(v.ready == v.count == len(v.live) and all(v.fits(r) for r in v.live) for v in fleet.variants)
    others = [
        r for f in turn.plant.fleets for v in f.variants for r in v.replicas if f.id != fleet.id or r not in v.live
    ]
    return there and all(r.phase == DRAINING and turn.now - r.since > LINGER for r in others)


def _sizes(fleet: Fleet) -> str:
    firsts = [group[0] for group in fleet.groups]
    return ", ".join(f"{v.name}: {v.count} x {v.size or 'no instance type'}" for v in firsts)


# -- in place ---------------------------------------------------------------------------------------------------------------------


def _in_place(turn: EndpointTurn, serving: Fleet, incoming: Fleet) -> None:
    """Only sizes differ. When the artifacts are still the same too, the serving fleet takes the new sizes over; else the new fleet
    takes over from it."""
    incoming = prepare(turn, incoming)
    turn.plant = replace(turn.plant, incoming=incoming)
    if any(v.prepared is None for v in incoming.variants):
        return
    old = {v.key: v for v in serving.variants}
    same = all(old[v.key].prepared == v.prepared for v in incoming.variants)
    fixed = not turn.seen.resizes and any(old[v.key].instance_type != v.instance_type for v in incoming.variants)
    if same and not fixed:
        keys = tuple(key for v in incoming.variants for key in work_keys(turn.record, incoming, v))
        turn.commands.append(ForgetWork(keys))
        before = way_back(serving)
        turn.plant = replace(turn.plant, serving=_sized(serving, incoming), incoming=None, before=before, rollout=None)
        turn.note("changed in place", f"the model is the same; {_sizes(incoming)}")
        assert turn.plant.serving is not None
        _bring_up(turn, turn.plant.serving)
        return
    rollout = deployment.plan({}, serving.counts, incoming.counts, turn.now)
    turn.plant = replace(turn.plant, rollout=rollout)
    turn.note(
        "not in place", "the backend cannot resize" if same else "the model's artifact is not the one that serves"
    )
    _roll_out(turn, rollout)


def _sized(serving: Fleet, incoming: Fleet) -> Fleet:
    """The serving fleet with the rows of the new config."""
    known = {v.key: v for v in serving.variants}
    variants = tuple(
        replace(
            known[new.key],
            config=new.config,
            count=new.count,
            weight=new.weight,
            prepared=new.prepared,
            millicpu=new.millicpu,
            memory=new.memory,
            deaths=0,
            fatal=False,
            failure="",
            retry=0.0,
        )
        for new in incoming.variants
    )
    return replace(serving, config=incoming.config, specification=incoming.specification, variants=variants)


def way_back(fleet: Fleet) -> dict[str, Any]:
    """What a change in place goes back to (`Plant.before`)."""
    rows = {
        v.key: {
            "count": v.count,
            "weight": v.weight,
            "config": dict(v.config),
            "millicpu": v.millicpu,
            "memory": v.memory,
        }
        for v in fleet.variants
    }
    return {"config": fleet.config, "specification": dict(fleet.specification), "variants": rows}


# -- a new fleet ------------------------------------------------------------------------------------------------------------------


def _roll_out(turn: EndpointTurn, rollout: Rollout) -> None:
    plant = turn.plant
    assert plant.serving is not None
    assert plant.incoming is not None
    # What the front was told before this turn holds every step that was reached before it.
    told = turn.seen.view is not None and turn.seen.view.revision >= plant.revision
    serving, incoming = plant.serving, plant.incoming
    if rollout.since > turn.now:  # the clock was set back: no wait becomes longer than it is
        rollout = replace(rollout, since=turn.now)
    while True:
        incoming = fill(turn, incoming, rollout.wanted)
        fact = deployment.fact_of(rollout, incoming.has(rollout.wanted), told, turn.now)
        if fact is None:
            break
        rollout = deployment.advance(rollout, fact, turn.now)
        turn.plant = replace(turn.plant, incoming=incoming, rollout=rollout)
        _note_fact(turn, rollout, fact)
        if rollout.phase == RolloutPhase.DONE:
            _finish(turn, serving, incoming)
            return
        told = told and fact is not RolloutFact.READY
        if fact is RolloutFact.READY and rollout.regression:
            rollout = replace(rollout, evidence=_first_look(turn, rollout, serving))
    serving = fill(turn, serving, rollout.left)
    turn.plant = replace(turn.plant, serving=serving, incoming=incoming, rollout=rollout)


def _note_fact(turn: EndpointTurn, rollout: Rollout, fact: RolloutFact) -> None:
    step = f"step {rollout.step + 1} of {len(rollout.steps)}"
    if fact is RolloutFact.READY:
        turn.note("traffic moved", f"{step}: {100 * rollout.overall:.4g} % to the new fleet, whose replicas are ready")
    elif fact is RolloutFact.TOLD and rollout.wait:
        turn.note("baking", f"{step}: {rollout.wait:g} s")
    elif fact in (RolloutFact.WAITED, RolloutFact.LAST_WAITED) and rollout.wait:
        turn.note("baked", f"{step}: no alarm and no regression")
    if fact is RolloutFact.LAST_WAITED and rollout.keep:
        turn.note("old fleet kept", f"for {rollout.keep:g} s (TerminationWaitInSeconds)")


def _finish(turn: EndpointTurn, serving: Fleet, incoming: Fleet) -> None:
    """The new fleet has taken over; the old one retires, and the update is done when it is gone."""
    retiring = (*turn.plant.retiring, serving)
    turn.plant = replace(turn.plant, serving=incoming, incoming=None, rollout=None, retiring=retiring, failure="")
    turn.note("taken over", f"the fleet of {serving.config} retires")


# -- giving up --------------------------------------------------------------------------------------------------------------------


def _reason_to_give_up(turn: EndpointTurn, target: Fleet) -> str:
    plant, rollout = turn.plant, turn.plant.rollout
    bad = broken(target)
    if bad is not None:
        return reason_of(turn, bad)
    if rollout is None or plant.serving is None or plant.incoming is None:
        return ""
    if rollout.limit and turn.now - plant.changed > rollout.limit:
        return f"The deployment reached MaximumExecutionTimeoutInSeconds ({rollout.limit:g} s)."
    if rollout.step < 0 and not target.has(rollout.wanted):
        return ""  # nothing moves in this turn
    for name in rollout.alarms:
        state = turn.seen.alarms.get(name, "")
        if state is None:
            return f"The CloudWatch alarm {name}, which guards this deployment, was deleted."
        if state == "ALARM":
            return f"The CloudWatch alarm {name} is in state ALARM."
    if rollout.regression and rollout.evidence:
        rollout = replace(rollout, evidence=_look(turn, rollout, plant.serving, plant.incoming))
        turn.plant = replace(plant, rollout=rollout)
        return regression.verdict(rollout.evidence["seen"], len(rollout.evidence["p99"]), rollout.regression)
    return ""


def _first_look(turn: EndpointTurn, rollout: Rollout, serving: Fleet) -> dict[str, Any]:
    """Evidence begins with the first step: what was the old fleet's p99, beyond which an answer is slow?"""
    if rollout.evidence:
        return dict(rollout.evidence)
    views = turn.seen.variants
    p99 = {
        group[0].name: max((view.p99 for v in group if (view := views.get(route_key(serving, v)))), default=0.0)
        for group in serving.groups
    }
    return {"p99": p99, "seen": {}}


def _look(turn: EndpointTurn, rollout: Rollout, serving: Fleet, incoming: Fleet) -> dict[str, Any]:
    """What was counted since the last look. Nothing counts before the front knows what is slow."""
    if turn.seen.view is None or turn.seen.view.revision < turn.plant.revision:
        return dict(rollout.evidence)
    seen = dict(rollout.evidence["seen"])
    new = {group[0].name: group for group in incoming.groups}
    for group in serving.groups:
        name = group[0].name
        if name in new and 0 < rollout.share(name) < 1:
            tallies = _tally(turn, serving, group), _tally(turn, incoming, new[name])
            if tallies[0] is not None and tallies[1] is not None:
                seen[name] = regression.weighed(seen.get(name, {}), tallies[0], tallies[1])
    return {**rollout.evidence, "seen": seen}


def _tally(turn: EndpointTurn, fleet: Fleet, group: Sequence[Variant]) -> Tally | None:
    """Of a production variant's containers together: a request is counted where it ended."""
    views = [turn.seen.variants.get(route_key(fleet, v)) for v in group]
    known = [view for view in views if view is not None]
    if len(known) < len(views):
        return None
    return Tally(
        sum(v.completed + v.lost for v in known),
        sum(v.faults for v in known),
        sum(v.slow + v.lost for v in known),
    )


def give_up(turn: EndpointTurn, reason: str) -> None:
    """What is wanted cannot be reached: back to what was, where there was something."""
    plant = turn.plant
    reason = reason[:REASON_LENGTH]
    if plant.serving is not None and plant.incoming is None:
        turn.plant = replace(plant, serving=_restored(plant.serving, plant.before), before={}, failure=reason)
    else:
        rollout = plant.rollout
        if (
            rollout is not None
            and plant.serving is not None
            and plant.incoming is not None
            and rollout.left is not None
            and rollout.left != plant.serving.counts
        ):
            counts = plant.serving.counts, plant.incoming.counts
            back = deployment.going_back(rollout, plant.deployment, *counts, turn.now)
            turn.plant = replace(plant, rollout=back, failure=reason)
        else:
            retiring = (*plant.retiring, plant.incoming) if plant.incoming else plant.retiring
            turn.plant = replace(plant, incoming=None, retiring=retiring, rollout=None, failure=reason)
    turn.move(EndpointFact.GAVE_UP)
    if turn.record.status == EndpointStatus.FAILED:
        stop_all(turn)
        turn.note("failed", reason)
    else:
        turn.note("rolling back", reason)


def _restored(fleet: Fleet, before: Any) -> Fleet:
    """The fleet with the counts, weights and sizes that it had before a change in place."""
    rows = before.get("variants", {}) if before else {}
    for variant in fleet.variants:
        row = rows.get(variant.key, {"count": variant.count, "weight": variant.weight, "config": variant.config})
        fleet = fleet.with_variant(replace(variant, **row, deaths=0, fatal=False, failure="", retry=0.0))
    kept = {name: before[name] for name in ("config", "specification") if before and name in before}
    return replace(fleet, **kept)


def roll_back(turn: EndpointTurn) -> None:
    """The old fleet never stopped serving: back in service when it is whole and the new one is gone."""
    plant = turn.plant
    if plant.serving is None or broken(plant.serving) is not None:
        bad = broken(plant.serving) if plant.serving is not None else None
        turn.move(EndpointFact.GAVE_UP)
        turn.note("rollback failed", reason_of(turn, bad) if bad is not None else "there is no fleet to go back to")
        return
    if plant.rollout is not None and plant.incoming is not None:
        _step_back(turn, plant.rollout, plant.serving, plant.incoming)
        return
    serving = fill(turn, plant.serving)
    turn.plant = replace(turn.plant, serving=serving)
    gone = not any(f.replicas for f in turn.plant.retiring)
    if serving.reachable and (gone or _lingering(turn, serving)):
        turn.move(EndpointFact.ALL_READY)
        turn.note("rolled back", plant.failure)


def _step_back(turn: EndpointTurn, rollout: Rollout, serving: Fleet, incoming: Fleet) -> None:
    """A rolling deployment's way back: the old fleet grows by batches and takes its traffic back."""
    while True:
        serving = fill(turn, serving, rollout.wanted)
        turn.plant = replace(turn.plant, serving=serving)
        if not serving.has(rollout.wanted):
            break
        rollout = replace(rollout, step=rollout.step + 1, since=turn.now)
        turn.plant = replace(turn.plant, rollout=rollout)
        turn.note("traffic moved back", f"{100 * (1 - rollout.overall):.4g} % to the old fleet")
        if rollout.last:
            retiring = (*turn.plant.retiring, incoming)
            turn.plant = replace(turn.plant, incoming=None, retiring=retiring, rollout=None)
            return
    if broken(incoming) is None:
        incoming = fill(turn, incoming, rollout.left or rollout_counts(rollout, incoming))
    turn.plant = replace(turn.plant, incoming=incoming, rollout=rollout)


def rollout_counts(rollout: Rollout, incoming: Fleet) -> dict[str, int]:
    """Before the first step back, the new fleet keeps what serves; what was on its way up stops."""
    return {group[0].name: min(v.ready for v in group) for group in (*incoming.groups, *incoming.shadows)}
