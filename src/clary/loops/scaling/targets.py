"""The scaling loop: looks at each scalable target's resource, at the alarms that drive its policies and at its scheduled actions, lets
`domain/autoscaling/turn.py` decide, asks for capacity as UpdateEndpointWeightsAndCapacities does, and keeps activities.

An alarm that tells a policy's ARN (`tell`, one of `AlarmPorts.actions`) becomes a trigger in the target's record, so that a control plane
that comes back goes on; a trigger acts again each step for as long as the alarm stays in that state.

A further policy is a function in `domain/autoscaling/policies.py` and a case in the turn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from clary.domain.alarms import evaluation as alarms
from clary.domain.alarms import turn as alarm_turn
from clary.domain.alarms.turn import Act
from clary.domain.autoscaling import activity, rooms
from clary.domain.autoscaling import capacity as autoscaling_capacity
from clary.domain.autoscaling import turn as autoscaling_turn
from clary.domain.autoscaling.activity import (
    LONGEST_PAUSE,
    ActivityNote,
    Apply,
    Command,
    Forget,
    SeenTarget,
    Want,
    Write,
)
from clary.domain.autoscaling.alarms import AWS
from clary.domain.autoscaling.policies import Heard
from clary.domain.autoscaling.record import (
    ACTION,
    ACTIVE,
    ACTIVITY,
    KEEP_ACTIVITIES,
    MILLICPU,
    POLICY,
    TARGET,
    Capacity,
    ScalableResource,
    place_of,
    policy_of,
    triggered,
)
from clary.domain.decisions import Decision, Unable
from clary.domain.endpoints import components
from clary.domain.endpoints.life import plant_of, with_plant
from clary.domain.endpoints.turn import noted
from clary.domain.errors import (
    NotFound,
    Stale,
    Unschedulable,
)
from clary.domain.ids import arn as make_arn
from clary.domain.lifecycle import EndpointStatus
from clary.domain.machine import admission, capacity, instances
from clary.domain.machine.capacity import Book, Machine, Waiting
from clary.domain.machine.rooms import Room
from clary.domain.names import COMPONENT
from clary.domain.objectives import record as latency_objectives
from clary.domain.resources import Query, Record, Scope
from clary.domain.scaling.decisions import COPIES_STREAM
from clary.guarded import MADE_OR_CHANGED, until_first
from clary.loops.alarms.subject import AlarmSubject
from clary.loops.core.loop import Loop
from clary.loops.scaling.objectives import done_or_unable, targets_of, write
from clary.ports import Clock, Logs, Store

_MANY = 10_000
_SWEPT_AT_ONCE = 20
_MAKING = 5.0  # seconds that a policy which was just put may lack alarms: they are made one after the other


@dataclass(frozen=True, slots=True)
class ScalingPorts:
    """`alarms` reads what an alarm sees. `reserving`: the machine whose sizes are reserved, None where they are shared. `book` is the
    account of the machine now, from which `domain/machine/rooms.py` answers; None: there is room for anything. `wish` keeps what is
    freed."""

    store: Store
    clock: Clock
    alarms: AlarmSubject
    timing: str
    reserving: Callable[[], Machine | None] = field(default=lambda: None)
    book: Callable[[], Book | None] = field(default=lambda: None)
    wish: Callable[[str, Waiting | None], None] = field(default=lambda key, waiting: None)
    logs: Logs | None = None  # where decisions are written; None: nowhere


class ScalingSubject:
    """See `loops.loop.Subject`."""

    kind = TARGET
    statuses = (ACTIVE,)

    def __init__(self, ports: ScalingPorts) -> None:
        self._ports = ports
        self.followers: dict[
            tuple[str, Scope, str], set[str]
        ] = {}  # a resource, or a target's own name -> targets' ARNs

    async def observe(self, record: Record) -> SeenTarget:
        document, scope = record.document, record.scope
        place = place_of(document["resource"], document["dimension"])
        for key in ((place.kind, scope, place.name), (TARGET, scope, record.name)):
            self.followers.setdefault(key, set()).add(record.arn)
        held = await self._capacity(record, place)
        parts = await self._parts(record, POLICY)
        policies = {each.arn: each.document for each in parts}
        actions = {each.document["name"]: each.document for each in await self._parts(record, ACTION)}
        heard: dict[str, Heard] = {}
        steps: dict[str, float] = {}
        silent: set[str] = set()
        for name, trigger in document["triggers"].items():
            alarm = await self._ports.store.get(alarms.KIND, scope, name)
            if alarm is not None and _drives(alarm, trigger):
                heard[name] = await self._heard(alarm)
                steps[name] = min(60.0, max(10.0, alarms.period_of(alarm.document["request"])))
            elif alarm is not None and alarm.status == alarms.StateValue.INSUFFICIENT_DATA:
                silent.add(name)
        missing = await self._missing(record, parts)
        wish, keeps = await self._wish(record)
        room = await self._room(record, place) if (heard or wish) and held is not None else None
        return SeenTarget(
            held, heard, steps, policies, actions, frozenset(silent), self._ports.timing, room, wish, missing, keeps
        )

    async def _missing(self, record: Record, policies: Sequence[Record]) -> dict[str, str]:
        """Alarms of policies of this target that are there no more. Their return, and their end, wake it."""
        found: dict[str, str] = {}
        for policy in policies:
            for name in policy.document.get("alarms", ()):
                self.followers.setdefault((alarms.KIND, record.scope, name), set()).add(record.arn)
                there = await self._ports.store.get(alarms.KIND, record.scope, name)
                if there is None and self._ports.clock.now() - policy.modified >= _MAKING:
                    found[name] = policy.arn
        if found:  # a policy that is deleted takes its alarms with it
            kept = {policy.arn for policy in await self._parts(record, POLICY)}
            found = {name: arn for name, arn in found.items() if arn in kept}
        return found

    async def _room(self, record: Record, place: ScalableResource) -> Room | None:
        """Up to where the machine has room for it."""
        book = self._ports.book()
        resource = await self._ports.store.get(place.kind, record.scope, place.name)
        if book is None or resource is None:
            return None
        with suppress(NotFound):
            dimension, most = record.document["dimension"], record.document["max"]
            return rooms.room_for(book, resource, place, dimension, most)
        return None

    async def _wish(self, record: Record) -> tuple[Mapping[str, Any] | None, str]:
        """What its latency objective wants to change, and the policy of one that lets nobody take away what it needs."""
        dimension = record.document["dimension"]
        name = latency_objectives.of_resource(record.document["resource"], dimension)
        found = await self._ports.store.get(latency_objectives.KIND, record.scope, name) if name else None
        if found is None:
            return None, ""
        return found.document["wish"].get(dimension), found.document.get("keeps", {}).get(dimension, "")

    async def _capacity(self, record: Record, place: ScalableResource) -> Capacity | None:
        resource = await self._ports.store.get(place.kind, record.scope, place.name)
        if resource is None:
            return None
        try:
            return autoscaling_capacity.capacity_of(resource, place, record.document["dimension"])
        except NotFound:
            if resource.status == EndpointStatus.IN_SERVICE:
                return None
            low = record.document["min"]
            return Capacity(low, low, False, status=resource.status)

    async def _parts(self, target: Record, kind: str) -> list[Record]:
        return await self._ports.store.page(Query(kind, target.scope, where={"target": target.name}, limit=_MANY))

    async def _heard(self, alarm: Record) -> Heard:
        """Under AWS's timing only windows that ended count, though the alarm may know sooner what they will say."""
        request = alarm.document["request"]
        seen = await self._ports.alarms.observe(alarm)
        looked = alarms.plan(request, seen.at)
        verdict = alarm_turn.verdict_of(request, looked, seen)
        whole = alarm_turn.verdict_of(request, looked, seen, early=False)
        waits = self._ports.timing == AWS and verdict.value != whole.value
        late, stale = (bool(verdict.points) and verdict.points[-1].at < looked.end - n * looked.period for n in (1, 2))
        above = str(request["ComparisonOperator"]).startswith("GreaterThan")
        return Heard(alarm.name, above, float(request["Threshold"]), () if waits else verdict.points, stale, late)

    def decide(self, record: Record, observation: SeenTarget, now: float) -> Decision[Command]:
        return autoscaling_turn.decide(record, observation, now)

    async def run(self, command: Command, record: Record) -> Any:
        match command:
            case Apply(wanted, steady):
                self._ports.wish(record.arn, None)
                return await self._apply(record, wanted, steady)
            case Write(event):
                if self._ports.logs is not None:
                    place = place_of(record.document["resource"], record.document["dimension"])
                    write(self._ports.logs, record.scope, place.name, place.variant or COPIES_STREAM, event)
            case ActivityNote(id, entry):
                await keep(self._ports.store, record.scope, id, entry)
            case Want():
                await self._want(record, command)
            case Forget():
                self._ports.wish(record.arn, None)
                await self._forget(record)
        return None

    async def _want(self, record: Record, want: Want) -> None:
        """Keep what comes free for the resource; its history says once what is missing and who has it."""
        dimension = record.document["dimension"]
        place = place_of(record.document["resource"], dimension)

        async def attempt() -> None:
            book, resource = self._ports.book(), await self._ports.store.get(place.kind, record.scope, place.name)
            if book is None or resource is None:
                return
            each, need = rooms.needed(book, resource, place, dimension, want.wanted)
            self._ports.wish(
                record.arn, Waiting(record.arn, capacity.owner_of(resource), book.at, want.why, each, need)
            )
            if want.first:
                plant, what = plant_of(resource), f"{place.variant or place.name}: {want.why}"
                config = plant.serving.config if plant.serving else ""
                await self._ports.store.save(with_plant(resource, noted(plant, "not scaled", what, book.at, config)))

        with suppress(Stale):  # the history of a resource that others change all the time lacks a line
            await until_first(attempt, lost=(Stale, NotFound))

    def absorb(self, record: Record, outcomes: Sequence[tuple[Command, Any]]) -> Record:
        return activity.absorb(record, list(outcomes))

    async def _apply(self, record: Record, wanted: int, steady: bool) -> Unable | None:
        document = record.document
        dimension = document["dimension"]
        place = place_of(document["resource"], dimension)

        async def attempt() -> Unable | None:
            resource = await self._ports.store.get(place.kind, record.scope, place.name)
            if resource is None:
                return Unable(f"there is no {place.words} any more")
            if autoscaling_capacity.capacity_of(resource, place, dimension).desired == wanted:
                return None
            self._check_now(record, resource, place, dimension, wanted)
            now = self._ports.clock.now()
            changed = autoscaling_capacity.asked(resource, place, dimension, wanted, now, steady)
            await self._check_room(changed)
            await self._ports.store.save(changed)
            return None

        return await done_or_unable(attempt, "The resource")

    def _check_now(
        self, target: Record, resource: Record, place: ScalableResource, dimension: str, wanted: int
    ) -> None:
        """Unschedulable when there is no room for it now: then it is not asked, and what comes free is kept for it."""
        book = self._ports.book()
        has = autoscaling_capacity.capacity_of(resource, place, dimension).desired
        if (
            book is None or wanted <= has or dimension == MILLICPU
        ):  # a size is changed in place, or kept, without a change of status
            return
        room = rooms.room_for(book, resource, place, dimension, wanted)
        if room is not None and room.most < wanted:
            each, need = rooms.needed(book, resource, place, dimension, wanted)
            hold = LONGEST_PAUSE + capacity.WISH_SECONDS  # longer than until it is tried again
            waiting = Waiting(target.arn, capacity.owner_of(resource), book.at, room.why, each, need, hold)
            self._ports.wish(target.arn, waiting)
            raise Unschedulable(f"there is room for {room.most}: {room.why}")

    async def _check_room(self, changed: Record) -> None:
        """That what is asked could be there at all."""
        if changed.kind == COMPONENT:
            await self._check_place(changed)
            return
        machine, fleet = self._ports.reserving(), plant_of(changed).serving
        if machine is None or fleet is None:
            return
        firsts = [group[0] for group in (*fleet.groups, *fleet.shadows)]
        sizes = [size for v in firsts if (size := instances.find(v.instance_type)) for _ in range(v.count)]
        if sizes:
            admission.check_reservable(sizes, machine, "endpoint")

    async def _check_place(self, changed: Record) -> None:
        store, scope = self._ports.store, changed.scope
        endpoint = await store.get("endpoint", scope, changed.document["endpoint"])
        if endpoint is None:
            raise NotFound(f"There is no endpoint {changed.document['endpoint']} any more.")
        plant, variant = plant_of(endpoint), changed.document["variant"]
        host = components.host_of(plant.serving or plant.incoming, endpoint.name, variant)
        others = await store.page(Query(COMPONENT, scope, where={"endpoint": endpoint.name}, limit=_MANY))
        beside = [
            need
            for each in others
            if each.name != changed.name
            and each.document["variant"] == variant
            and each.status != EndpointStatus.FAILED
            for need in components.needs_of(each)
        ]
        components.check_room(host, components.asked_need(changed), beside)

    async def _forget(self, target: Record) -> None:
        for kind in (POLICY, ACTION):
            for part in await self._parts(target, kind):
                for name in part.document.get("alarms", ()):
                    await _remove(self._ports.store, alarms.KIND, target.scope, name)
                await _remove(self._ports.store, kind, target.scope, part.name)
        for arns in self.followers.values():
            arns.discard(target.arn)

    async def tell(self, alarm: Record, act: Act) -> None:
        """An alarm's action that names a policy: the alarm drives it from now on, until it leaves its state."""
        arn, store = policy_of(act.action), self._ports.store
        policy = await store.by_arn(arn)
        if policy is None or policy.kind != POLICY or policy.scope != alarm.scope:
            raise NotFound(f"There is no scaling policy {arn} in {alarm.scope.region}.")

        async def attempt() -> None:
            target = await store.get(TARGET, policy.scope, policy.document["target"])
            if target is None:
                raise NotFound(f"The scalable target of policy {arn} is not registered any more.")
            document = triggered(target, alarm.name, arn, alarm.status)
            await store.save(replace(target, document=document))

        await until_first(attempt, f"The scalable target of policy {arn}")


def _drives(alarm: Record, trigger: Mapping[str, Any]) -> bool:
    request = alarm.document["request"]
    if alarms.is_composite(alarm.document) or alarm.status != trigger["state"]:
        return False
    members = {"ALARM": "AlarmActions", "OK": "OKActions"}
    actions = request.get(members.get(alarm.status, "InsufficientDataActions"), ())
    return request.get("ActionsEnabled", True) and trigger["policy"] in [policy_of(action) for action in actions]


async def keep(store: Store, scope: Scope, id: str, entry: Mapping[str, Any]) -> None:
    """Add an activity, or replace it by its new state. Those of more than six weeks ago go."""
    at = float(entry["StartTime"])
    arn = make_arn("application-autoscaling", scope.region, scope.account, f"scaling-activity/{id}")

    async def attempt() -> None:
        known = await store.get(ACTIVITY, scope, id)
        if known is None:
            await store.add(Record(ACTIVITY, scope, id, arn, "", at, at, entry))
        else:
            await store.save(replace(known, document=entry))

    await until_first(attempt, f"The scaling activity {id}", MADE_OR_CHANGED)
    old = Query(ACTIVITY, scope, created_before=at - KEEP_ACTIVITIES, descending=False, limit=_SWEPT_AT_ONCE)
    for each in await store.page(old):
        with suppress(Stale):
            await store.remove(each)


async def _remove(store: Store, kind: str, scope: Scope, name: str) -> None:
    async def attempt() -> None:
        record = await store.get(kind, scope, name)
        if record is not None:
            await store.remove(record)

    await until_first(attempt, f"{kind} {name}")


def attach(subject: ScalingSubject, loop: Loop[Command, SeenTarget], store: Store) -> Callable[[], None]:
    """Let a change of a resource, a policy or a scheduled action wake the targets that it belongs to; answers the way to stop."""

    def changed(record: Record) -> None:
        key = (record.kind, record.scope, record.name)
        if record.kind == latency_objectives.KIND:
            for name in targets_of(record).values():
                for arn in tuple(subject.followers.get((TARGET, record.scope, name), ())):
                    loop.wake(arn)
            return
        if record.kind in (POLICY, ACTION):
            key = (TARGET, record.scope, record.document["target"])
        if record.kind != TARGET:
            for arn in tuple(subject.followers.get(key, ())):
                loop.wake(arn)

    return store.watch(changed)
