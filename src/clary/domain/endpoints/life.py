"""Endpoints: what the user may ask of one, and the pure `decide` that brings its plant (fleets of replicas) to it.

A change brings a new fleet up beside the old one and moves the traffic as its rollout says (`deployment.py`, steered by
`endpoints/rollout.py`), or changes counts and sizes in place; one that cannot be reached rolls back. Statuses move by
`lifecycle.ENDPOINT` alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from clary.domain.decisions import Decision
from clary.domain.endpoints import capture, components, deployment, memory, serverless
from clary.domain.endpoints.commands import (
    Command,
    DropRoute,
    ForgetEndpoint,
    ForgetWork,
    LogDeath,
    PutRoute,
    Resized,
    ResizeReplica,
    SeenEndpoint,
    Started,
    StartReplica,
    WriteHistory,
)
from clary.domain.endpoints.fleets import DRAINING, PLANNED, READY, STARTED, Fleet, Plant, Replica, Variant
from clary.domain.endpoints.replicas import ReplicaVerdict, judge, longest_answer
from clary.domain.endpoints.rollout import change, roll_back, way_back
from clary.domain.endpoints.routing import route_of, share_of
from clary.domain.endpoints.sizes import inherited, kept_size
from clary.domain.endpoints.turn import (
    GIVE_UP_AFTER,
    NO_CAPACITY,
    NO_RESIZE,
    PROBATION,
    SERVED,
    EndpointTurn,
    config_of,
    died,
    fill,
    forgiven,
    has_served,
    lost,
    map_fleets,
    moved,
    noted,
    plant_of,
    reason_of,
    stop_all,
    sweep_retired,
    told_of_deaths,
    with_plant,
    work_keys,
)
from clary.domain.errors import IllegalTransition, Invalid
from clary.domain.lifecycle import EndpointFact, EndpointStatus
from clary.domain.machine import instances
from clary.domain.names import COMPONENT, route_name
from clary.domain.resources import Record

__all__ = ["absorb", "asked_capacity", "asked_delete", "asked_update", "config_of", "decide", "plant_of", "with_plant"]

_IN_PLACE = ("InstanceType", "InitialInstanceCount", "InitialVariantWeight")  # what of a variant's row changes in place
MODEL_GONE = "The folder of the unpacked model was not there; it is unpacked again."
LOOK_AGAIN = 10.0  # seconds between looks at an endpoint in service when nothing happens
SOON = 1.0  # the same while something is on its way (events come first; this is for lost ones)


# -- what the user asks -----------------------------------------------------------------------------------------------------------


def asked_update(
    record: Record, fleet: Fleet, config: Mapping[str, Any], now: float, regression: float = 0.0
) -> Record:
    """UpdateEndpoint: `fleet` shall take over from the one that serves, as the DeploymentConfig `config` says. Without one, a change
    of nothing but instance types and counts is made in place. `regression`: false alarm rate of the comparison of both fleets."""
    record = moved(record, EndpointFact.UPDATE_ASKED, now)
    plant = _of_one_fleet(plant_of(record))
    old = plant.serving.counts if plant.serving else {}
    fleet = inherited(fleet, plant.serving)
    rollout = deployment.plan(config, old, fleet.counts, now, regression)
    if not config and plant.serving is not None and only_sizes_differ(plant.serving, fleet):
        rollout = replace(rollout, kind=deployment.IN_PLACE)
    plant = replace(plant, incoming=fleet, deployment=dict(config), failure="", changed=now, rollout=rollout, before={})
    plant = noted(plant, "update asked", f"endpoint config {fleet.config}, {rollout.kind}", now, fleet.config)
    return with_plant(record, plant)


def _of_one_fleet(plant: Plant) -> Plant:
    """A rollback that failed left two fleets that serve: the stronger one goes on, and is what the next change starts from."""
    if plant.incoming is None or plant.serving is None:
        return plant
    weaker, stronger = sorted((plant.incoming, plant.serving), key=lambda f: sum(v.ready for v in f.variants))
    return replace(plant, serving=stronger, incoming=None, retiring=(*plant.retiring, weaker), rollout=None)


def only_sizes_differ(serving: Fleet, incoming: Fleet) -> bool:
    """Whether the two differ in instance types, counts and weights alone, and in one of them at all."""
    old, new = ({v.key: v for v in fleet.variants} for fleet in (serving, incoming))
    if any(v.serverless for v in incoming.variants):
        return False
    alone: dict[str, Any] = {"id": "", "config": "", "specification": {}, "variants": (), "created": 0.0}
    if set(old) != set(new) or replace(serving, **alone) != replace(incoming, **alone):
        return False
    for key, variant in new.items():
        rows = [{k: v for k, v in one.config.items() if k not in _IN_PLACE} for one in (old[key], variant)]
        if rows[0] != rows[1] or (old[key].container, old[key].shadow) != (variant.container, variant.shadow):
            return False
        if _devices(old[key]) != _devices(variant):
            return False  # a running sandbox gets no further device
    return any(_size(old[key]) != _size(variant) for key, variant in new.items())


def _devices(variant: Variant) -> tuple[str, int]:
    size = instances.find(variant.instance_type)
    return (size.accelerator, size.accelerators) if size is not None else ("", 0)


def _size(variant: Variant) -> tuple[str, int, float]:
    return variant.instance_type, variant.count, variant.weight


def asked_capacity(record: Record, wanted: Sequence[Mapping[str, Any]], now: float) -> Record:
    """UpdateEndpointWeightsAndCapacities: new weights and counts for variants of the fleet that serves."""
    record = moved(record, EndpointFact.UPDATE_ASKED, now)
    plant = _of_one_fleet(plant_of(record))
    if plant.serving is None:
        raise IllegalTransition(f'Cannot update endpoint "{record.arn}": it has no fleet in service.')
    fleet = plant.serving
    before = way_back(fleet)
    for row in wanted:
        named = [v for v in fleet.variants if v.name == row["VariantName"]]
        if not named:
            raise Invalid(
                f'The variant name "{row["VariantName"]}" is not a production variant of endpoint "{record.arn}".'
            )
        for variant in (serverless.changed(v, row) for v in named):
            count = int(row.get("DesiredInstanceCount", variant.count))
            if variant.hosting:
                variant = components.sized(variant, count) if "DesiredInstanceCount" in row else variant
                count = 0
            fleet = fleet.with_variant(
                replace(
                    variant,
                    weight=float(row.get("DesiredWeight", variant.weight)),
                    count=count,
                    deaths=0,
                    fatal=False,
                    failure="",
                    retry=0.0,
                )
            )
    plant = replace(plant, serving=fleet, before=before, failure="", changed=now, rollout=None)
    asked = ", ".join(f"{group[0].name} {group[0].count} x weight {group[0].weight:g}" for group in fleet.groups)
    return with_plant(record, noted(plant, "weights and capacities asked", asked, now, fleet.config))


def retained(fleet: Fleet, serving: Fleet, excluded: Collection[str]) -> Fleet:
    """RetainAllVariantProperties: variants of the same name keep count and weight, and the endpoint its data capture, apart from the
    excluded properties."""
    if serving.capture and "DataCaptureConfig" not in excluded:
        fleet = replace(fleet, capture=capture.retained(serving.capture, fleet.config))
    for old, *_ in (*serving.groups, *serving.shadows):
        for new in (v for v in fleet.variants if v.name == old.name):
            alike = bool(new.serverless) == bool(old.serverless)
            count = new.count if "DesiredInstanceCount" in excluded or not alike or new.serverless else old.count
            weight = new.weight if "DesiredWeight" in excluded else old.weight
            fleet = fleet.with_variant(replace(new, count=count, weight=weight))
    return fleet


def asked_delete(record: Record, now: float) -> Record:
    """DeleteEndpoint."""
    record = moved(record, EndpointFact.DELETE_ASKED, now)
    plant = plant_of(record)
    return with_plant(record, noted(plant, "delete asked", "", now, plant.shown.config if plant.shown else ""))


# -- the decision -----------------------------------------------------------------------------------------------------------------


def decide(record: Record, seen: SeenEndpoint, now: float) -> Decision[Command]:
    """One turn of an endpoint. Pure."""
    decision = _decided(record, seen, now)
    return replace(decision, commands=(*seen.due, *decision.commands)) if seen.due else decision


def _decided(record: Record, seen: SeenEndpoint, now: float) -> Decision[Command]:
    turn = EndpointTurn(record, plant_of(record), seen, now)
    _note(turn)
    _tend(turn)
    match EndpointStatus(record.status):
        case EndpointStatus.CREATING | EndpointStatus.UPDATING:
            change(turn)
        case EndpointStatus.ROLLING_BACK:
            roll_back(turn)
        case EndpointStatus.IN_SERVICE | EndpointStatus.OUT_OF_SERVICE | EndpointStatus.UPDATE_ROLLBACK_FAILED:
            _keep(turn)
        case EndpointStatus.SYSTEM_UPDATING:
            _keep(turn)
        case EndpointStatus.FAILED:
            stop_all(turn)
        case EndpointStatus.DELETING:
            return _delete(turn)
    sweep_retired(turn)
    turn.plant = told_of_deaths(plant_of(record), turn.plant, now)
    _tell_front(turn)
    record = turn.finished()
    return Decision(record, (*turn.commands, *turn.starts), _again(turn))


def absorb(record: Record, outcomes: Sequence[tuple[Command, Any]], now: float) -> Record:
    """Put the handles that StartReplica answered into the record; a refused start counts as a death."""
    started = {c.id: (c, value) for c, value in outcomes if isinstance(c, StartReplica) and isinstance(value, Started)}
    resized = {c.id: (c, value) for c, value in outcomes if isinstance(c, ResizeReplica) and isinstance(value, Resized)}
    if not started and not resized:
        return record
    told = _Told({}, {})

    def fleet(old: Fleet) -> Fleet:
        return replace(old, variants=tuple(variant(v) for v in old.variants))

    def variant(old: Variant) -> Variant:
        kept: list[Replica | None] = []
        for replica in old.replicas:
            if replica.id in resized:
                old, replica = _resized(old, replica, *resized[replica.id], told, now)
            there: Replica | None = replica
            if replica.id in started and replica.phase == PLANNED:
                old, there = _started(old, replica, *started[replica.id], told, now)
            kept.append(there)
        return replace(old, replicas=tuple(replica for replica in kept if replica is not None))

    before = plant_of(record)
    plant = map_fleets(before, fleet)
    config = plant.serving.config if plant.serving else ""
    for what, whys in (("no room", told.no_room), ("size kept", told.size_kept)):
        for name, why in whys.items():
            plant = noted(plant, what, f"{name}: {why}", now, config)
    return with_plant(record, told_of_deaths(before, plant, now))


class _Told(NamedTuple):
    """What of the outcomes goes into the history: reasons by the variant's name."""

    no_room: dict[str, str]
    size_kept: dict[str, str]


def _resized(
    variant: Variant, replica: Replica, asked: ResizeReplica, answer: Resized, told: _Told, now: float
) -> tuple[Variant, Replica]:
    """What ResizeReplica answered: the replica has its new size; or the variant keeps the one that the replica has; or, where another
    instance type was asked for by hand, the refusal counts as a death."""
    if not answer.refused:
        return variant, replace(replica, size=asked.instance_type)
    kept = kept_size(variant, replica, answer.refused)
    if kept is None:
        return died(variant, NO_RESIZE + answer.refused, True, now), replica
    told.size_kept[variant.name] = answer.refused
    return kept, replica


def _started(
    variant: Variant, replica: Replica, asked: StartReplica, answer: Started, told: _Told, now: float
) -> tuple[Variant, Replica | None]:
    """What StartReplica answered: the replica runs; or there is none (None), which counts as a death of its variant."""
    if answer.unprepared:
        return replace(died(variant, MODEL_GONE, False, now), prepared=None), None
    if not answer.refused:
        return variant, replace(replica, phase=STARTED, handle=answer.handle, since=now, size=asked.instance_type)
    if answer.refused.startswith(NO_CAPACITY) and not variant.failure.startswith(NO_CAPACITY):
        told.no_room[variant.name] = answer.refused  # once, however often it is tried
    variant, fatal = memory.not_started(variant, answer.refused)
    return died(variant, answer.refused, fatal, now), None


def _note(turn: EndpointTurn) -> None:
    """Bring every replica's phase up to what is seen."""
    plant = turn.plant
    growths: list[memory.Growth] = []

    def fleet(old: Fleet) -> Fleet:
        earned = PROBATION if old is plant.incoming else SERVED
        return replace(old, variants=tuple(_judged(turn, old, v, earned, growths) for v in old.variants))

    turn.plant = map_fleets(plant, fleet)
    for growth in growths:
        turn.note(growth.name, str(growth))


class _Death(NamedTuple):
    """A replica that died or must be stopped, as `lost` takes it."""

    replica: Replica
    failure: str
    fatal: bool


def _judged(turn: EndpointTurn, fleet: Fleet, variant: Variant, earned: float, growths: list[memory.Growth]) -> Variant:
    """The variant with its replicas as they are seen. Deaths count last: what serves for `earned` seconds has forgiven those before."""
    kept: list[Replica] = []
    deaths: list[_Death] = []
    new, longest = variant, longest_answer(fleet, variant)
    for replica in variant.replicas:
        verdict = judge(replica, variant, turn.seen, turn.plant.revision, turn.now, longest)
        turn.commands.extend(verdict.commands)
        if verdict.failure:
            new, death = _buried(turn, new, replica, verdict, growths)
            deaths.append(death)
        if verdict.replica is not None:
            kept.append(verdict.replica)
            if verdict.replica.phase == READY and replica.phase != READY:
                new = replace(new, failure="", fatal=False)
    new = replace(new, replicas=tuple(kept))
    if len(new.live) >= new.count and all(has_served(r, turn.now, earned) for r in new.live):
        new = forgiven(new)
    for death in deaths:
        new = lost(new, *death, turn.now, earned)
    return _fitting(turn, new, growths)


def _buried(
    turn: EndpointTurn, variant: Variant, replica: Replica, verdict: ReplicaVerdict, growths: list[memory.Growth]
) -> tuple[Variant, _Death]:
    """A replica that fails: the variant whose next one gets more memory, where that was the cause, and how it died, for its log too."""
    death = _Death(replica, verdict.failure, verdict.fatal)
    growth = memory.restarted(variant, replica, turn.seen, turn.now)
    if growth:
        growths.append(growth)
        variant, death = growth.variant, _Death(replica, growth.what, False)
    view = turn.seen.replica(replica.id)
    if view is None or not view.failure:  # else the model's traceback is in its log
        turn.commands.append(LogDeath(variant.name, replica.id, death.failure, variant.container.hostname))
    return variant, death


def _fitting(turn: EndpointTurn, variant: Variant, growths: list[memory.Growth]) -> Variant:
    """The variant with more memory where its replicas need it, or with less where they do not."""
    growth = memory.outgrown(variant, turn.seen, turn.now)
    growth = growth or memory.roomy(variant, turn.seen, turn.now)
    if growth:
        growths.append(growth)
        variant = growth.variant
    return memory.noticed(variant, turn.seen, turn.now)


def _tend(turn: EndpointTurn) -> None:
    """Serverless variants wake in every status in which the endpoint serves."""
    serving, settled = turn.plant.serving, turn.record.status == EndpointStatus.IN_SERVICE
    if serving is None or turn.record.status in (EndpointStatus.DELETING, EndpointStatus.FAILED):
        return
    tended = serverless.tended(serving, turn.seen.variants, turn.seen.rest, settled)
    for what in serverless.woken(serving, tended):
        turn.note("woken", what)
    turn.plant = replace(turn.plant, serving=fill(turn, tended) if tended != serving else serving)


def _keep(turn: EndpointTurn) -> None:
    """In service: replace what died."""
    plant = turn.plant
    if plant.serving is None:
        return
    serving = fill(turn, plant.serving)
    turn.plant = replace(turn.plant, serving=serving)
    # without one of its containers a variant serves nobody
    wanted = [group for group in serving.groups if group[0].count]
    none_left = all(any(v.ready == 0 for v in group) for group in wanted)
    if turn.record.status == EndpointStatus.IN_SERVICE and none_left:
        if any(v.deaths >= GIVE_UP_AFTER for v in serving.variants):
            turn.plant = replace(turn.plant, failure=reason_of(turn, max(serving.variants, key=lambda v: v.deaths)))
            turn.move(EndpointFact.ALL_LOST)
            turn.note("out of service", turn.plant.failure)
    elif turn.record.status == EndpointStatus.OUT_OF_SERVICE and (not none_left or serving.reachable):
        turn.plant = replace(turn.plant, failure="")
        turn.move(EndpointFact.ALL_READY)
        turn.note("in service", "replicas are there again" if serving.reachable else "a replica serves again")


def _delete(turn: EndpointTurn) -> Decision[Command]:
    """No new work at once, then the replicas stop, then the record goes."""
    stop_all(turn)
    scope = turn.record.scope
    keys = tuple(k for f in turn.plant.fleets for v in f.variants for k in work_keys(turn.record, f, v))
    drop = DropRoute(scope.account, scope.region, route_name(turn.record))
    commands: tuple[Command, ...] = (drop, ForgetWork(keys), *turn.commands)
    record = turn.finished()
    written = tuple(c for c in turn.commands if isinstance(c, WriteHistory))
    if turn.plant.replicas:
        return Decision(record, (*commands, *written), SOON)
    return Decision(record, (*commands, *written, ForgetEndpoint()), remove=True)


def _tell_front(turn: EndpointTurn) -> None:
    """Put the route when its content changed, or when the front is behind. The revision never goes back, even when a save was
    lost: it is at least the wall clock's milliseconds."""
    _note_weights(turn)
    plant = turn.plant
    if turn.record.status == EndpointStatus.FAILED:
        scope = turn.record.scope
        if plant.mark:
            turn.commands.append(DropRoute(scope.account, scope.region, route_name(turn.record)))
            turn.plant = replace(plant, mark="")
        return
    if not plant.replicas and not plant.mark and not _without_models(turn):
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


def _without_models(turn: EndpointTurn) -> bool:
    """Whether the front gets the route although nothing runs, so that it can say what is missing."""
    serving = turn.plant.serving
    return serving is not None and (turn.record.kind == COMPONENT or any(v.hosting for v in serving.variants))


def _note_weights(turn: EndpointTurn) -> None:
    """Each variant's weight as the front is told it: its part of it, while another fleet has the rest."""
    plant = turn.plant

    def routed(fleet: Fleet) -> Fleet:
        told = tuple(replace(v, routed=v.weight * share_of(plant, fleet, v)) for v in fleet.variants)
        return replace(fleet, variants=told)

    turn.plant = replace(
        plant,
        serving=routed(plant.serving) if plant.serving else None,
        incoming=routed(plant.incoming) if plant.incoming and plant.serving else plant.incoming,
    )


def _again(turn: EndpointTurn) -> float | None:
    plant = turn.plant
    if turn.record.status == EndpointStatus.FAILED and not plant.replicas:
        return None
    waits: list[float] = []
    if plant.rollout is not None and turn.record.status == EndpointStatus.UPDATING:
        ends = (deployment.due(plant.rollout), plant.changed + plant.rollout.limit if plant.rollout.limit else None)
        waits += [end - turn.now for end in ends if end is not None]
    # No event tells that a draining replica is empty: look often at first, then ever less.
    waits += [min(SOON, max(0.03, (turn.now - r.since) / 4)) for r in plant.replicas if r.phase == DRAINING]
    if plant.serving is not None:
        waits += serverless.waits(plant.serving, turn.seen.variants, turn.seen.rest)
    waits += [wait for f in plant.fleets for v in f.variants if (wait := memory.look_in(v, turn.seen))]
    waits += [v.retry - turn.now for f in plant.fleets for v in f.variants if v.retry > turn.now]
    calm = turn.record.status not in ("Creating", "Updating", "RollingBack") and not plant.retiring
    return max(0.01, min([LOOK_AGAIN if calm else SOON, *waits]))
