"""Endpoints: what the user may ask of one, and the pure `decide` that brings its plant (fleets of replicas) to it.

All changes are all-at-once blue/green: a new fleet comes up beside the old, the route flips when it is ready, the old fleet
drains and stops; a change that cannot be reached rolls back. Statuses move by `lifecycle.ENDPOINT` alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from clary.domain import serverless
from clary.domain.decisions import Decision
from clary.domain.endpoint_commands import (
    Command,
    DropRoute,
    ForgetEndpoint,
    ForgetWork,
    LogDeath,
    PutRoute,
    Seen,
    Started,
    StartReplica,
)
from clary.domain.endpoint_routes import route_of
from clary.domain.endpoint_turn import (
    Turn,
    died,
    fill,
    map_fleets,
    moved,
    plant_of,
    stop_fleet,
    sweep_retired,
    with_plant,
    work_keys,
)
from clary.domain.errors import IllegalTransition, Invalid
from clary.domain.fleets import DRAINING, PLANNED, READY, STARTED, Fleet, Plant, Replica, Variant, replica_id
from clary.domain.lifecycle import EndpointFact, EndpointStatus
from clary.domain.replicas import REASON_LENGTH, judge, ping_failure
from clary.domain.resources import Record

__all__ = ["absorb", "asked_capacity", "asked_delete", "asked_update", "decide", "plant_of", "with_plant"]

GIVE_UP_AFTER = 3  # deaths in a row without a replica becoming ready, while the endpoint is being changed
CALM = 60.0  # seconds without a death after which those before count no more
LOOK_AGAIN = 10.0  # seconds between looks at an endpoint in service when nothing happens
NO_CAPACITY = "CapacityError: "  # how FailureReason begins when there is no place for a replica; the SDKs look for it
SOON = 1.0  # the same while something is on its way (events come first; this is for lost ones)


# -- what the user asks -----------------------------------------------------------------------------------------------------------


def asked_update(record: Record, fleet: Fleet, deployment: Mapping[str, Any], now: float) -> Record:
    """UpdateEndpoint: `fleet` shall take over from the one that serves."""
    plant = replace(plant_of(record), incoming=fleet, deployment=dict(deployment), failure="", changed=now)
    return with_plant(moved(record, EndpointFact.UPDATE_ASKED, now), plant)


def asked_capacity(record: Record, wanted: Sequence[Mapping[str, Any]], now: float) -> Record:
    """UpdateEndpointWeightsAndCapacities: new weights and counts for variants of the fleet that serves."""
    record = moved(record, EndpointFact.UPDATE_ASKED, now)
    plant = plant_of(record)
    if plant.serving is None:
        raise IllegalTransition(f'Cannot update endpoint "{record.arn}": it has no fleet in service.')
    fleet = plant.serving
    before = {v.name: {"count": v.count, "weight": v.weight, "config": v.config} for v in fleet.variants}
    for row in wanted:
        named = [v for v in fleet.variants if v.name == row["VariantName"]]
        if not named:
            raise Invalid(
                f'The variant name "{row["VariantName"]}" is not a production variant of endpoint "{record.arn}".'
            )
        for variant in (serverless.changed(v, row) for v in named):
            fleet = fleet.with_variant(
                replace(
                    variant,
                    weight=float(row.get("DesiredWeight", variant.weight)),
                    count=int(row.get("DesiredInstanceCount", variant.count)),
                    deaths=0,
                    fatal=False,
                    failure="",
                    retry=0.0,
                )
            )
    return with_plant(record, replace(plant, serving=fleet, before=before, failure="", changed=now))


def retained(fleet: Fleet, serving: Fleet, excluded: Collection[str]) -> Fleet:
    """RetainAllVariantProperties: variants of the same name keep count and weight, apart from the excluded properties."""
    for old, *_ in (*serving.groups, *serving.shadows):
        for new in (v for v in fleet.variants if v.name == old.name):
            alike = bool(new.serverless) == bool(old.serverless)
            count = new.count if "DesiredInstanceCount" in excluded or not alike or new.serverless else old.count
            weight = new.weight if "DesiredWeight" in excluded else old.weight
            fleet = fleet.with_variant(replace(new, count=count, weight=weight))
    return fleet


def check_deployment(deployment: Mapping[str, Any] | None) -> None:
    """Invalid for kinds of deployment that are not available yet; they must not be taken for another kind."""
    policy = (deployment or {}).get("BlueGreenUpdatePolicy") or {}
    kind = (policy.get("TrafficRoutingConfiguration") or {}).get("Type", "ALL_AT_ONCE")
    if kind != "ALL_AT_ONCE":
        raise Invalid(
            f"DeploymentConfig.BlueGreenUpdatePolicy.TrafficRoutingConfiguration.Type {kind} is not available in Clary yet; "
            "ALL_AT_ONCE is."
        )


def asked_delete(record: Record, now: float) -> Record:
    """DeleteEndpoint."""
    return moved(record, EndpointFact.DELETE_ASKED, now)


# -- the decision -----------------------------------------------------------------------------------------------------------------


def decide(record: Record, seen: Seen, now: float) -> Decision[Command]:
    """One turn of an endpoint. Pure."""
    turn = Turn(record, plant_of(record), seen, now)
    _note(turn)
    _tend(turn)
    match EndpointStatus(record.status):
        case EndpointStatus.CREATING | EndpointStatus.UPDATING:
            _change(turn)
        case EndpointStatus.ROLLING_BACK:
            _roll_back(turn)
        case EndpointStatus.IN_SERVICE | EndpointStatus.OUT_OF_SERVICE | EndpointStatus.UPDATE_ROLLBACK_FAILED:
            _keep(turn)
        case EndpointStatus.SYSTEM_UPDATING:
            _keep(turn)
        case EndpointStatus.FAILED:
            _stop_all(turn)
        case EndpointStatus.DELETING:
            return _delete(turn)
    sweep_retired(turn)
    _tell_front(turn)
    return Decision(turn.finished(), (*turn.commands, *turn.starts), _again(turn))


def absorb(record: Record, outcomes: Sequence[tuple[Command, Any]], now: float) -> Record:
    """Put the handles that StartReplica answered into the record; a refused start counts as a death."""
    started = {c.id: value for c, value in outcomes if isinstance(c, StartReplica) and isinstance(value, Started)}
    if not started:
        return record
    plant = plant_of(record)

    def fleet(old: Fleet) -> Fleet:
        return replace(old, variants=tuple(variant(v) for v in old.variants))

    def variant(old: Variant) -> Variant:
        kept: list[Replica] = []
        for replica in old.replicas:
            answer = started.get(replica.id)
            if answer is None or replica.phase != PLANNED:
                kept.append(replica)
            elif answer.unprepared:
                old = replace(old, prepared=None)
            elif answer.refused:
                old = died(old, answer.refused, True, now)
            else:
                kept.append(replace(replica, phase=STARTED, handle=answer.handle, since=now))
        return replace(old, replicas=tuple(kept))

    return with_plant(record, map_fleets(plant, fleet))


def _note(turn: Turn) -> None:
    """Bring every replica's phase up to what is seen."""
    plant = turn.plant
    revision = plant.revision

    def fleet(old: Fleet) -> Fleet:
        return replace(old, variants=tuple(variant(v) for v in old.variants))

    def variant(old: Variant) -> Variant:
        kept: list[Replica] = []
        new = old
        for replica in old.replicas:
            verdict = judge(replica, old, turn.seen, revision, turn.now)
            turn.commands.extend(verdict.commands)
            if verdict.failure:
                new = died(new, verdict.failure, verdict.fatal, turn.now)
                view = turn.seen.replica(replica.id)
                if view is None or not view.failure:  # else the model's traceback is in its log
                    turn.commands.append(LogDeath(old.name, replica.id, verdict.failure, old.container.hostname))
            if verdict.replica is not None:
                kept.append(verdict.replica)
                if verdict.replica.phase == READY and replica.phase != READY:
                    new = replace(new, failure="", fatal=False)
        new = replace(new, replicas=tuple(kept))
        if new.deaths and turn.now > new.retry + CALM and all(r.phase == READY for r in new.live):
            new = replace(new, deaths=0, retry=0.0)
        return new

    turn.plant = map_fleets(plant, fleet)


def _tend(turn: Turn) -> None:
    """Serverless variants wake in every status in which the endpoint serves."""
    serving = turn.plant.serving
    if serving is None or turn.record.status in (EndpointStatus.DELETING, EndpointStatus.FAILED):
        return
    settled = turn.record.status == EndpointStatus.IN_SERVICE
    tended = serverless.tended(serving, turn.seen.variants, turn.seen.rest, settled)
    turn.plant = replace(turn.plant, serving=fill(turn, tended) if tended != serving else serving)


def _change(turn: Turn) -> None:
    """Creating and Updating: bring the wanted fleet up, then let it take over."""
    plant = turn.plant
    target = plant.incoming or plant.serving
    if target is None:
        raise ValueError(f"{turn.record.arn} has no fleet to bring up")
    broken = next((v for v in target.variants if v.fatal or v.deaths >= GIVE_UP_AFTER), None)
    if broken is not None or _timed_out(plant, turn.now):
        reason = _reason(turn, broken) if broken else "The deployment reached MaximumExecutionTimeoutInSeconds."
        _give_up(turn, reason)
        return
    filled = fill(turn, target)
    if plant.incoming is None:
        turn.plant = replace(turn.plant, serving=filled)
        if filled.settled and not plant.retiring:
            turn.plant = replace(turn.plant, before={})
            turn.move(EndpointFact.ALL_READY)
        return
    if not filled.reachable:
        turn.plant = replace(turn.plant, incoming=filled)
        return
    retiring = plant.retiring
    if plant.serving is not None:
        retiring = (*retiring, replace(plant.serving, keep_until=turn.now + _bake(plant.deployment)))
    turn.plant = replace(turn.plant, serving=filled, incoming=None, retiring=retiring, failure="")
    if plant.serving is None:
        turn.move(EndpointFact.ALL_READY)


def _give_up(turn: Turn, reason: str) -> None:
    plant = turn.plant
    kept = next((f for f in plant.retiring if f.keep_until > turn.now), None)
    if plant.serving is not None and plant.incoming is None and kept is not None:  # after the flip, in the bake
        retiring = (*(f for f in plant.retiring if f is not kept), plant.serving)
        turn.plant = replace(plant, serving=replace(kept, keep_until=0.0), retiring=retiring, failure=reason)
    elif plant.serving is not None and plant.incoming is None:  # a change of capacity: back to what was
        serving = plant.serving
        for variant in serving.variants:
            back = plant.before.get(variant.name, {})
            serving = serving.with_variant(replace(variant, **back, deaths=0, fatal=False, failure=""))
        turn.plant = replace(plant, serving=serving, before={}, failure=reason)
    else:
        retiring = (*plant.retiring, plant.incoming) if plant.incoming else plant.retiring
        turn.plant = replace(plant, incoming=None, retiring=retiring, failure=reason)
    turn.move(EndpointFact.GAVE_UP)
    if turn.record.status == EndpointStatus.FAILED:
        _stop_all(turn)


def _roll_back(turn: Turn) -> None:
    """The old fleet never stopped serving: back in service when it is whole and the new one is gone."""
    plant = turn.plant
    if plant.serving is None:
        turn.move(EndpointFact.GAVE_UP)
        return
    if any(v.fatal or v.deaths >= GIVE_UP_AFTER for v in plant.serving.variants):
        turn.move(EndpointFact.GAVE_UP)
        return
    serving = fill(turn, plant.serving)
    turn.plant = replace(turn.plant, serving=serving)
    if serving.reachable and not any(f.replicas for f in turn.plant.retiring):
        turn.move(EndpointFact.ALL_READY)


def _keep(turn: Turn) -> None:
    """In service: replace what died."""
    plant = turn.plant
    if plant.serving is None:
        return
    serving = fill(turn, plant.serving)
    turn.plant = replace(turn.plant, serving=serving)
    # without one of its containers a variant serves nobody
    none_left = all(any(v.ready == 0 for v in group) for group in serving.groups if group[0].count)
    if turn.record.status == EndpointStatus.IN_SERVICE and none_left:
        if any(v.deaths >= GIVE_UP_AFTER for v in serving.variants):
            worst = max(serving.variants, key=lambda v: v.deaths)
            turn.plant = replace(turn.plant, failure=_reason(turn, worst))
            turn.move(EndpointFact.ALL_LOST)
    elif turn.record.status == EndpointStatus.OUT_OF_SERVICE and serving.reachable:
        turn.plant = replace(turn.plant, failure="")
        turn.move(EndpointFact.ALL_READY)


def _stop_all(turn: Turn) -> None:
    """End every replica, serving or not, without a drain by the front: they finish what they have."""
    plant = turn.plant
    fleets = (*plant.retiring, *(f for f in (plant.serving, plant.incoming) if f is not None))
    retiring = tuple(stop_fleet(turn, fleet) for fleet in fleets)
    turn.plant = replace(plant, serving=None, incoming=None, retiring=retiring)


def _delete(turn: Turn) -> Decision[Command]:
    """No new work at once, then the replicas stop, then the record goes."""
    _stop_all(turn)
    scope = turn.record.scope
    keys = tuple(k for f in turn.plant.fleets for v in f.variants for k in work_keys(turn.record, f, v))
    drop = DropRoute(scope.account, scope.region, turn.record.name)
    commands: tuple[Command, ...] = (drop, ForgetWork(keys), *turn.commands)
    if turn.plant.replicas:
        return Decision(turn.finished(), commands, SOON)
    return Decision(turn.finished(), (*commands, ForgetEndpoint()), remove=True)


def _timed_out(plant: Plant, now: float) -> bool:
    policy = plant.deployment.get("BlueGreenUpdatePolicy") or {}
    limit = policy.get("MaximumExecutionTimeoutInSeconds")
    return limit is not None and plant.incoming is not None and now - plant.changed > float(limit)


def _bake(deployment: Mapping[str, Any]) -> float:
    """Seconds that the old fleet is kept after all traffic has moved."""
    policy = deployment.get("BlueGreenUpdatePolicy") or {}
    shift = policy.get("TrafficRoutingConfiguration") or {}
    return float(shift.get("WaitIntervalInSeconds", 0)) + float(policy.get("TerminationWaitInSeconds", 0))


def _reason(turn: Turn, variant: Variant) -> str:
    last = variant.replicas[-1].id if variant.replicas else ""
    if not last and variant.made:
        fleet = next((f for f in turn.plant.fleets if variant in f.variants), None)
        last = replica_id(fleet.id, variant.key, variant.made - 1) if fleet else ""
    if not variant.made or variant.failure.startswith(
        NO_CAPACITY
    ):  # it never came to a process: the words are the whole reason
        return variant.failure[:REASON_LENGTH]
    return ping_failure(variant, turn.record.name, last)


def _tell_front(turn: Turn) -> None:
    """Put the route when its content changed, or when the front is behind. The revision never goes back, even when a save was
    lost: it is at least the wall clock's milliseconds."""
    if turn.plant.serving is not None:
        routed = tuple(replace(v, routed=v.weight) for v in turn.plant.serving.variants)
        turn.plant = replace(turn.plant, serving=replace(turn.plant.serving, variants=routed))
    plant = turn.plant
    if turn.record.status == EndpointStatus.FAILED:
        scope = turn.record.scope
        if plant.mark:
            turn.commands.append(DropRoute(scope.account, scope.region, turn.record.name))
            turn.plant = replace(plant, mark="")
        return
    if not plant.replicas and not plant.mark:
        return  # nothing to tell yet: the model is being prepared
    content = route_of(turn.record, plant, 0, turn.seen.cpus, turn.seen.rest.workers)
    mark = hashlib.sha256(json.dumps(content.to_json(), sort_keys=True).encode()).hexdigest()[:16]
    view = turn.seen.view
    if mark != plant.mark:
        known = view.revision if view is not None else 0
        revision = max(plant.revision + 1, known + 1, int(turn.now * 1000))
        plant = replace(plant, revision=revision, mark=mark)
        turn.plant = plant
    elif view is not None and view.revision >= plant.revision:
        return
    turn.commands.append(PutRoute(replace(content, revision=plant.revision)))


def _again(turn: Turn) -> float | None:
    plant = turn.plant
    if turn.record.status == EndpointStatus.FAILED and not plant.replicas:
        return None
    waits = [f.keep_until - turn.now for f in plant.retiring if f.keep_until > turn.now]
    # No event tells that a draining replica is empty: look often at first, then ever less.
    waits += [min(SOON, max(0.03, (turn.now - r.since) / 4)) for r in plant.replicas if r.phase == DRAINING]
    if plant.serving is not None:
        waits += serverless.waits(plant.serving, turn.seen.variants, turn.seen.rest)
    waits += [v.retry - turn.now for f in plant.fleets for v in f.variants if v.retry > turn.now]
    calm = turn.record.status not in ("Creating", "Updating", "RollingBack") and not plant.retiring
    return max(0.01, min([LOOK_AGAIN if calm else SOON, *waits]))
