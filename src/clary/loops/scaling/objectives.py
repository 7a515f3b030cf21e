"""The latency objectives' loop: each second, when the fronts' counts are there, a decision for each variant that has one.

`ObjectiveSubject` plugs into `loop.Loop`; `domain/objectives/turn.py` decides. Owns what is between two savings (samples, the policy's
memory), the sight of the endpoint and of what is asked of it, and the writing of decisions. `Finder` sees to it that every variant that
has an objective has a record; the record goes by its own turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from clary.domain.autoscaling import capacity, latency, rooms
from clary.domain.autoscaling.record import INSTANCES, MILLICPU, POLICY, TARGET, ScalableResource, place_of, target_name
from clary.domain.decisions import Decision, Unable
from clary.domain.endpoints.fleets import PLANNED, READY, STARTED, Fleet, Variant
from clary.domain.endpoints.life import plant_of
from clary.domain.endpoints.serving_metrics import NAMESPACE
from clary.domain.endpoints.sizes import asked_boost
from clary.domain.errors import AlreadyExists, ClaryError, LimitExceeded, NotFound, Unavailable, Unschedulable
from clary.domain.lifecycle import EndpointStatus
from clary.domain.machine.capacity import Book, Waiting, owner_of
from clary.domain.metrics.counts import Count
from clary.domain.metrics.datapoints import Series
from clary.domain.objectives import record as latency_objectives
from clary.domain.objectives import turn
from clary.domain.objectives.commands import Ask, Command, Live, SeenObjective, Staff, Tell
from clary.domain.objectives.record import Asked, unpack
from clary.domain.resources import Query, Record, Scope
from clary.domain.scaling import decisions, usual
from clary.domain.scaling.costs import EASY
from clary.domain.scaling.decisions import Event
from clary.domain.scaling.samples import Gathered
from clary.guarded import until_first
from clary.loops.core.loop import Loop
from clary.loops.scaling.sharing import Sharing
from clary.ports import Clock, Datapoints, Logs, Store

_MANY = 1000
_LEASE = 30.0
_LOOK = 5.0
DIMENSIONS = (INSTANCES, MILLICPU)


@dataclass(frozen=True, slots=True)
class ObjectivePorts:
    """`cpus` of the machine; `book` is its account (None: there is room for anything), `wish` keeps from jobs what comes free."""

    store: Store
    logs: Logs
    clock: Clock
    cpus: Callable[[], int]
    book: Callable[[], Book | None] = field(default=lambda: None)
    datapoints: Datapoints | None = None  # where the requests of the last days are; None: nobody knows them
    wish: Callable[[str, Waiting | None], None] = field(default=lambda key, waiting: None)
    sharing: Sharing | None = None  # of a full machine's CPUs; None: there are always enough


@dataclass(slots=True)
class _Known:
    """Of one record, while this process looks after it. `wanting`: what is asked may have changed."""

    live: Live
    wanting: bool = True
    targets: dict[str, Record] = field(default_factory=dict)
    requests: list[Mapping[str, Any]] = field(default_factory=list)
    looked: float = 0.0
    coming: dict[str, float] = field(default_factory=dict)  # replica -> when it was first seen on its way
    starts: tuple[float, ...] = ()  # of replicas that came since the last decision
    usual: tuple[float, ...] = ()  # requests a second at this time of the last days
    remembered: float = 0.0  # when those were looked up
    unseen: int = 0  # seconds that were heard of since it was looked at last


class ObjectiveSubject:
    """See `loops.loop.Subject`."""

    kind = latency_objectives.KIND
    statuses = (latency_objectives.ACTIVE,)

    def __init__(self, ports: ObjectivePorts) -> None:
        self._ports = ports
        self._known: dict[str, _Known] = {}
        self._arns: dict[tuple[Scope, str, str], str] = {}  # a variant -> its record's ARN
        self.gathered = Gathered()

    def hear(self, count: Count, now: float) -> list[str]:
        """Take in what the fronts counted; answers the ARNs of the records that there is news for."""
        self._forget_others()
        told = self.gathered.hear(count.variants, now, count.complete)
        arns = (self._arns.get((Scope(account, region), name, variant)) for account, region, name, variant in told)
        return [arn for arn in arns if arn is not None]

    def live(self, arn: str) -> Live:
        """What is known of a record between two savings."""
        return self._known[arn].live

    def changed(self, record: Record) -> list[str]:
        """A record of another kind changed: the ARNs of those that it concerns."""
        if record.kind == "endpoint":
            return [a for (scope, name, _), a in self._arns.items() if (scope, name) == (record.scope, record.name)]
        if record.kind not in (TARGET, POLICY):
            return []
        place = place_of(record.document["resource"], record.document["dimension"])
        arn = self._arns.get((record.scope, place.name, place.variant))
        if arn is None:
            return []
        self._known[arn].wanting = True
        return [arn]

    # -- observe ------------------------------------------------------------------------------------------------------------------

    async def observe(self, record: Record) -> SeenObjective:
        scope, name, variant = record.scope, record.document["endpoint"], record.document["variant"]
        now = self._ports.clock.now()
        known = self._known.get(record.arn)
        if known is None:
            known = self._known[record.arn] = _Known(Live(unpack(record.document["memory"], now)))
            self._arns[scope, name, variant] = record.arn
        known.unseen = 0
        endpoint = await self._ports.store.get("endpoint", scope, name)
        if endpoint is not None and endpoint.status in (EndpointStatus.DELETING, EndpointStatus.FAILED):
            endpoint = None
        plant = plant_of(endpoint) if endpoint is not None else None
        fleet = (plant.serving or plant.incoming) if plant is not None else None
        group = tuple(v for v in fleet.variants if v.name == variant and not v.shadow) if fleet is not None else ()
        cpus = self._ports.cpus()
        asked = await self._asked(record, fleet, group, known, (cpus, now)) if fleet is not None and group else None
        key = (scope.account, scope.region, name, variant)
        known.starts += _starts(known, group, now)
        await self._remember(record, known, now)
        strain = self._ports.sharing.strain(key) if self._ports.sharing is not None else EASY
        recent = self.gathered.of(key)
        return SeenObjective(endpoint, asked, known.live, recent, cpus, known.usual, known.starts, strain)

    async def _remember(self, record: Record, known: _Known, now: float) -> None:
        """What came at this time of the last days, now and then. A disk that does not answer leaves what was known."""
        datapoints = self._ports.datapoints
        if datapoints is None or 0 <= now - known.remembered < usual.AHEAD:
            return
        known.remembered = now
        where = {"EndpointName": record.document["endpoint"], "VariantName": record.document["variant"]}
        series, looked = (
            Series.of(NAMESPACE, "Invocations", where),
            usual.windows(now, max(record.document["starts"], default=0.0)),
        )

        def read() -> list[float | None]:
            return [
                usual.rate(each.total for _, each in datapoints.get(record.scope, series, begin, end, usual.MINUTE))
                for begin, end in looked
            ]

        with suppress(Unavailable):
            known.usual = tuple(rate for rate in await asyncio.to_thread(read) if rate is not None)

    async def _asked(
        self, record: Record, fleet: Fleet, group: tuple[Variant, ...], known: _Known, here: tuple[int, float]
    ) -> Asked | None:
        """Targets and policies are read again when one of them changed (or, for other control planes' changes, after a while)."""
        cpus, now = here
        if known.wanting or not 0 <= now - known.looked < _LOOK:
            known.wanting, known.looked = False, now
            known.targets = {}
            for dimension, target in targets_of(record).items():
                found = await self._ports.store.get(TARGET, record.scope, target)
                known.targets |= {dimension: found} if found is not None else {}
            known.requests = [each.document["request"] for each in await policies_of(self._ports.store, record)]
        documents = {dimension: target.document for dimension, target in known.targets.items()}
        return latency_objectives.asked_of(
            group, fleet.objective, documents, known.requests, cpus, now, bool(fleet.asynchronous)
        )

    def decide(self, record: Record, observation: SeenObjective, now: float) -> Decision[Command]:
        step = turn.decide(record, observation, now)
        if step.decision.remove:
            self._forget(record.arn)
            return step.decision
        known = self._known[record.arn]
        if step.live is not known.live:
            known.starts = ()
        known.live = step.live
        if self._ports.sharing is not None:
            scope, document = record.scope, record.document
            key = (scope.account, scope.region, document["endpoint"], document["variant"])
            self._ports.sharing.decided(record.arn, key, step.live.claim, observation.recent)
        return step.decision

    def _forget(self, arn: str) -> None:
        self._known.pop(arn, None)
        self._arns = {place: known for place, known in self._arns.items() if known != arn}
        if self._ports.sharing is not None:
            self._ports.sharing.gone(arn)

    def _forget_others(self) -> None:
        """Those that nobody looked at for two leases: another control plane does. Should one come back, its record tells what it must."""
        for known in self._known.values():
            known.unseen += 1
        for arn in [arn for arn, known in self._known.items() if known.unseen > 2 * _LEASE]:
            self._forget(arn)

    def absorb(self, record: Record, outcomes: Sequence[tuple[Command, Any]]) -> Record:
        return turn.absorb(record, outcomes, self._ports.clock.now())

    # -- run ----------------------------------------------------------------------------------------------------------------------

    async def run(self, command: Command, record: Record) -> Any:
        name, variant = record.document["endpoint"], record.document["variant"]
        now = self._ports.clock.now()
        match command:
            case Staff(boost, allowance):
                return await self._change(record, lambda found: asked_boost(found, variant, boost, allowance))
            case Ask(dimension=dimension, wanted=wanted):
                place = ScalableResource("endpoint", name, variant)
                return await self._change(record, lambda found: self._asked_of(found, place, dimension, wanted, now))
            case Tell(event):
                write(self._ports.logs, record.scope, name, variant, event)
        return None

    def _asked_of(self, found: Record, place: ScalableResource, dimension: str, wanted: int, now: float) -> Record:
        """As much of it as there is room for. Unschedulable where there is none for any more."""
        book = self._ports.book()
        room = rooms.room_for(book, found, place, dimension, wanted) if book is not None else None
        has = capacity.capacity_of(found, place, dimension).desired
        self._ports.wish(found.arn + place.variant, None)
        if book is not None and room is not None and wanted > has:
            if room.most <= has:
                each, need = rooms.needed(book, found, place, dimension, wanted)
                waiting = Waiting(found.arn + place.variant, owner_of(found), now, room.why, each, need)
                self._ports.wish(waiting.key, waiting)
                raise Unschedulable(room.why)
            wanted = min(wanted, room.most)
        return capacity.asked(found, place, dimension, wanted, now, steady=True)

    async def _change(self, record: Record, change: Callable[[Record], Record]) -> Unable | None:
        async def attempt() -> Unable | None:
            found = await self._ports.store.get("endpoint", record.scope, record.document["endpoint"])
            if found is None:
                return Unable("the endpoint is gone")
            changed = change(found)
            if changed != found:
                await self._ports.store.save(changed)
            return None

        return await done_or_unable(attempt, "The endpoint")


async def done_or_unable(attempt: Callable[[], Awaitable[Unable | None]], what: str) -> Unable | None:
    """`until_first`, its errors as the command's answer."""
    try:
        return await until_first(attempt, what)
    except (LimitExceeded, Unschedulable) as error:
        return Unable(error.message, scarce=True)
    except ClaryError as error:
        return Unable(error.message)


def targets_of(record: Record) -> dict[str, str]:
    """The names of the scalable targets that the variant of an objective may have, by dimension."""
    resource = f"endpoint/{record.document['endpoint']}/variant/{record.document['variant']}"
    return {dimension: target_name(resource, dimension) for dimension in DIMENSIONS}


async def policies_of(store: Store, record: Record) -> list[Record]:
    """Every policy of those."""
    queries = [Query(POLICY, record.scope, where={"target": name}, limit=_MANY) for name in targets_of(record).values()]
    return [policy for query in queries for policy in await store.page(query)]


def write(logs: Logs, scope: Scope, endpoint: str, stream: str, event: Event) -> None:
    """Append a decision to its stream, which keeps so many days of them."""
    group = decisions.group_of(endpoint)
    try:
        logs.group(scope, group)
    except NotFound:
        logs.add_group(scope, group, event.at, {})
        logs.set_group(scope, group, decisions.KEEP_DAYS, {})
    logs.open(scope, group, stream, event.at)
    logs.append(scope, group, stream, [(int(event.at * 1000), decisions.line(event))])


def _starts(known: _Known, group: tuple[Variant, ...], now: float) -> tuple[float, ...]:
    """Seconds that the replicas took which are ready now and were on their way at the last look."""
    replicas = [r for v in group for r in v.replicas]
    done = tuple(max(0.0, r.since - known.coming[r.id]) for r in replicas if r.phase == READY and r.id in known.coming)
    known.coming = {r.id: known.coming.get(r.id, now) for r in replicas if r.phase in (PLANNED, STARTED)}
    return done


class Finder:
    """Makes the records of variants that have an objective: at the start for all, then when an endpoint or a policy changes."""

    def __init__(self, store: Store, clock: Clock, owner: str) -> None:
        self._store, self._clock, self._owner = store, clock, owner
        self._wanted: asyncio.Queue[Record] = asyncio.Queue()

    def changed(self, record: Record) -> None:
        if record.kind in ("endpoint", POLICY, latency_objectives.KIND):
            self._wanted.put_nowait(record)

    async def run(self) -> None:
        """For as long as the process lives. Cancel it to end it."""
        now = self._clock.now()
        statuses = [each.value for each in EndpointStatus]
        for lease in await self._store.claim("endpoint", self._owner, now, _LEASE, statuses, 1_000_000):
            await self._look(lease.record)
        for lease in await self._store.claim(TARGET, self._owner, now, _LEASE, ["Active"], 1_000_000):
            query = Query(POLICY, lease.record.scope, where={"target": lease.record.name}, limit=_MANY)
            for policy in await self._store.page(query):
                await self._look(policy)
        while True:
            await self._look(await self._wanted.get())

    async def _look(self, record: Record) -> None:
        document = record.document
        if record.kind == latency_objectives.KIND:
            await self._look_again(record)
            return
        if record.kind == POLICY:
            if latency.is_latency(document["request"]):
                place = place_of(document["resource"], document["dimension"])
                await self._make(record.scope, place.name, place.variant)
            return
        plant = plant_of(record)
        fleet = plant.serving or plant.incoming
        if fleet is not None and fleet.objective and record.status != EndpointStatus.DELETING:
            able = [g for g in fleet.groups if not latency_objectives.unable(g, bool(fleet.asynchronous))]
            for group in able:
                await self._make(record.scope, record.name, group[0].name)

    async def _look_again(self, record: Record) -> None:
        """One that went by its own turn while somebody asked for it again."""
        if await self._store.get(record.kind, record.scope, record.name) is not None:
            return
        endpoint = await self._store.get("endpoint", record.scope, record.document["endpoint"])
        for each in ([endpoint] if endpoint is not None else []) + await policies_of(self._store, record):
            await self._look(each)

    async def _make(self, scope: Scope, endpoint: str, variant: str) -> None:
        if await self._store.get(latency_objectives.KIND, scope, latency_objectives.name_of(endpoint, variant)):
            return
        with suppress(AlreadyExists):
            await self._store.add(latency_objectives.new(scope, endpoint, variant, self._clock.now()))


def attach(
    subject: ObjectiveSubject, loop: Loop[Command, SeenObjective], finder: Finder, store: Store
) -> Callable[[], None]:
    """Let a change of an endpoint, a target or a policy wake what it concerns; answers the way to stop."""

    def changed(record: Record) -> None:
        finder.changed(record)
        for arn in subject.changed(record):
            loop.wake(arn)

    return store.watch(changed)
