"""Builds one decision and its effect on fleets: start missing replicas, drain surplus ones, stop retired ones.

`endpoints.decide` steers; this module knows how a variant gets from a wanted count to replicas. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from clary.domain.endpoints.commands import (
    Command,
    EnsureEnvironment,
    ForgetWork,
    PrepareModel,
    ReplicaNeed,
    ResizeReplica,
    SeenEndpoint,
    StartReplica,
    WriteHistory,
)
from clary.domain.endpoints.fleets import (
    DRAINING,
    LIVE,
    PLANNED,
    READY,
    STARTED,
    STOPPING,
    Fleet,
    Note,
    Plant,
    Replica,
    Variant,
    replica_id,
)
from clary.domain.endpoints.replicas import REASON_LENGTH, ping_failure, stop
from clary.domain.endpoints.routing import route_key, workers_of
from clary.domain.errors import IllegalTransition
from clary.domain.lifecycle import ENDPOINT, EndpointFact, advance
from clary.domain.names import route_name
from clary.domain.resources import KINDS, Record

GIVE_UP_AFTER = 3  # deaths in a row without a replica becoming ready, while the endpoint is being changed
NO_CAPACITY = "CapacityError: "  # how FailureReason begins when there is no place for a replica; the SDKs look for it
NO_RESIZE = "The instance type could not be changed in place: "
LONGEST_RETRY = 60.0  # seconds between starts of replicas that keep dying
SERVED = 2.0  # seconds of service by which a replica earns its successor, and all deaths before its own are forgiven
PROBATION = 60.0  # the same in a fleet that is coming in, which is being judged
AT_ONCE = (
    4  # deaths in a row that are made good at once where no other replica is ready: requests wait for the next one
)
LAST_RETRY = 10.0  # seconds that the last one waits at most after those, if it had been ready at all
LAST_CHANGE = (
    "aws:clary:last-change"  # a tag of the system's own: it counts towards no limit, and no user can change it
)
SIZES = "aws:clary:sizes"
_NOT_IN_TAGS = re.compile(r"[^\w .:/=+\-@]")
_IN_PROGRESS = ("Creating", "Updating", "RollingBack", "SystemUpdating", "Deleting")


def plant_of(record: Record) -> Plant:
    return Plant.from_json(record.document["plant"])


def config_of(record: Record, plant: Plant) -> str:
    """The endpoint config that the endpoint, whose plant that is, is shown with: the one that serves, or the first one that shall."""
    return plant.shown.config if plant.shown is not None else str(record.document["request"]["EndpointConfigName"])


def with_plant(record: Record, plant: Plant) -> Record:
    return replace(record, document={**record.document, "plant": plant.to_json()})


def moved(record: Record, fact: EndpointFact, now: float) -> Record:
    """The record with the status that follows. IllegalTransition in AWS's words (reference/sagemaker.md 1.3)."""
    try:
        status = advance(ENDPOINT, record.status, fact)
    except IllegalTransition:
        label = KINDS[record.kind].label
        if record.status in _IN_PROGRESS:
            raise IllegalTransition(f'Cannot update in-progress {label} "{record.arn}".') from None
        raise IllegalTransition(
            f'Cannot update {label} "{record.arn}" in status {record.status}; delete it and create it again.'
        ) from None
    return replace(record, status=status, modified=now)


@dataclass(slots=True)
class EndpointTurn:
    """`plant` is taken from the record at the start and put back by `finished`. Commands run in order; `starts` after them (so
    that the front knows a replica before it dials)."""

    record: Record
    plant: Plant
    seen: SeenEndpoint
    now: float
    commands: list[Command] = field(default_factory=list)
    starts: list[StartReplica] = field(default_factory=list)

    def move(self, fact: EndpointFact) -> None:
        self.record = moved(self.record, fact, self.now)

    def note(self, what: str, why: str = "") -> None:
        """A step of the endpoint's history."""
        shown = self.plant.shown
        self.plant = noted(self.plant, what, why, self.now, shown.config if shown else "")

    def finished(self) -> Record:
        """The record as this turn leaves it. Its history is written, and its last step shown as a tag."""
        for note in self.plant.notes:
            number = self.plant.noted + 1
            self.plant = replace(self.plant, noted=number)
            self.commands.append(WriteHistory(number, note, self.record.status))
            self._tag(LAST_CHANGE, last_change(note))
        self.plant = replace(self.plant, notes=())
        shown = self.plant.shown
        self._tag(SIZES, sizes_tag(shown) if shown is not None else "")
        return with_plant(self.record, self.plant)

    def _tag(self, key: str, value: str) -> None:
        """Set a tag of the system's own; none for no value."""
        tags = self.record.document.get("system_tags", {})
        if tags.get(key, "") != value:
            tags = {name: text for name, text in tags.items() if name != key} | ({key: value} if value else {})
            self.record = replace(self.record, document={**self.record.document, "system_tags": tags})


def sizes_tag(fleet: Fleet) -> str:
    """The variants of other sizes than their instance types' own, as the value of a tag."""
    groups = [group[0] for group in fleet.groups if group[0].size != group[0].instance_type]
    each = (f"{v.name}={v.size.removeprefix(v.instance_type).strip()}" for v in groups)
    return _NOT_IN_TAGS.sub(" ", " ".join(each))[:256].rstrip()


def noted(plant: Plant, what: str, why: str, now: float, config: str = "") -> Plant:
    """The plant with one more step of its history to be written."""
    return replace(plant, notes=(*plant.notes, Note(what, why, now, config)))


def last_change(note: Note) -> str:
    """The last step as the value of a tag: at most 256 of the characters that tags may have."""
    at = datetime.fromtimestamp(note.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    text = f"{at} {note.what}" + (f": {note.why}" if note.why else "")
    return _NOT_IN_TAGS.sub(" ", text)[:256].rstrip()


def died(
    variant: Variant, failure: str, fatal: bool, now: float, *, at_once: int = 1, longest: float = LONGEST_RETRY
) -> Variant:
    """One more death. The first `at_once` are made good at once; after more in a row the next start waits 0.5 s, doubling to `longest`."""
    deaths = variant.deaths + 1
    wait = 0.0 if deaths <= at_once else min(longest, 0.125 * 2 ** min(deaths, 10))
    return replace(
        variant,
        deaths=deaths,
        failure=failure[-4 * REASON_LENGTH :],
        fatal=fatal,
        retry=now + wait,
    )


def told_of_deaths(before: Plant, plant: Plant, now: float) -> Plant:
    """The plant with a step of its history for each variant in service whose replicas have begun to fail one after another."""
    old = {(f.id, v.key): v for f in before.fleets for v in f.variants}
    if plant.serving is None:
        return plant
    for variant in plant.serving.variants:
        known = old.get((plant.serving.id, variant.key))
        told = variant.failure.startswith(NO_CAPACITY)  # by a step of its own
        if known is not None and known.deaths < 2 <= variant.deaths and not told:
            why = f"{variant.name}: {variant.failure}" if variant.failure else variant.name
            plant = noted(plant, "replicas fail", why, now, plant.serving.config)
    return plant


def forgiven(variant: Variant) -> Variant:
    """The deaths so far count no more."""
    return replace(variant, deaths=0, retry=0.0) if variant.deaths else variant


def has_served(replica: Replica, now: float, seconds: float) -> bool:
    """Whether it has been ready for so long."""
    return replica.phase == READY and now - replica.since >= seconds


def lost(variant: Variant, replica: Replica, failure: str, fatal: bool, now: float, earned: float) -> Variant:
    """The variant after this replica of it died; it has the others still. One that served for `earned` seconds had earned its successor,
    whatever came before it. Where no other is ready each second of waiting is one in which nobody serves, so the next start comes at
    once, unless it was tried several times in vain."""
    variant = forgiven(variant) if has_served(replica, now, earned) else variant
    if variant.ready:
        return died(variant, failure, fatal, now)
    longest = LAST_RETRY if replica.phase == READY else LONGEST_RETRY
    return died(variant, failure, fatal, now, at_once=AT_ONCE, longest=longest)


def map_fleets(plant: Plant, change: Callable[[Fleet], Fleet]) -> Plant:
    return replace(
        plant,
        serving=change(plant.serving) if plant.serving else None,
        incoming=change(plant.incoming) if plant.incoming else None,
        retiring=tuple(change(f) for f in plant.retiring),
    )


def fill(turn: EndpointTurn, fleet: Fleet, counts: Mapping[str, int] | None = None) -> Fleet:
    """Start what is missing, drain what is too much, give what runs its size. `counts` (by variant) stand for the variants' own. What a
    change brings takes its places all at once or not at all; where only what died is replaced, each replica that finds room starts."""
    beside = places(fleet, turn.seen, counts) if turn.record.status in ("Creating", "Updating") else ()
    for variant in fleet.variants:
        live = variant.live
        wanted = (counts or {}).get(variant.name, variant.count)
        _resize(turn, variant, beside)
        if len(live) > wanted:
            fleet = fleet.with_variant(_shrink(turn, variant, len(live) - wanted))
        elif len(live) < wanted or any(r.phase == PLANNED for r in live):
            fleet = fleet.with_variant(_grow(turn, fleet, variant, wanted, beside))
    return fleet


def places(fleet: Fleet, seen: SeenEndpoint, counts: Mapping[str, int] | None = None) -> tuple[ReplicaNeed, ...]:
    """What the fleet still lacks: places for replicas that are to be started, and larger or smaller ones for those that run."""
    found: list[ReplicaNeed] = []
    for variant in fleet.variants:
        size, of, like = variant.size, variant.container.of, weight_of(variant, seen)
        found += [ReplicaNeed(r.id, size, of, like) for r in variant.live if r.phase == PLANNED or not variant.fits(r)]
        missing = (counts or {}).get(variant.name, variant.count) - len(variant.live)
        ids = (replica_id(fleet.id, variant.key, variant.made + n) for n in range(max(0, missing)))
        found += [ReplicaNeed(id_, size, of, like) for id_ in ids]
    return tuple(found)


def weight_of(variant: Variant, seen: SeenEndpoint) -> int:
    """Bytes that a replica of the variant uses, as far as one is seen."""
    runs = (seen.runs.get(replica.id) for replica in variant.replicas)
    return max((run.memory_bytes for run in runs if run is not None), default=0)


def _resize(turn: EndpointTurn, variant: Variant, beside: tuple[ReplicaNeed, ...]) -> None:
    """Replicas of another size than the variant's: in place."""
    if variant.fatal or not turn.seen.resizes:
        return
    for replica in variant.replicas:
        if replica.phase in (STARTED, READY) and replica.handle and not variant.fits(replica):
            turn.commands.append(ResizeReplica(replica.id, replica.handle, variant.size, variant.container.of, beside))


def broken(fleet: Fleet) -> Variant | None:
    """A variant of which no more starts are worth a try."""
    return next((v for v in fleet.variants if v.fatal or v.deaths >= GIVE_UP_AFTER), None)


def prepare(turn: EndpointTurn, fleet: Fleet) -> Fleet:
    """Only the models: where each variant's lies, once that is known (`Variant.prepared`)."""
    for variant in fleet.variants:
        if variant.prepared is None:
            fleet = fleet.with_variant(_prepare(turn, fleet, variant))
    return fleet


def _shrink(turn: EndpointTurn, variant: Variant, surplus: int) -> Variant:
    """Take the least useful first: not started, not ready, then the least busy, of those the newest. What serves drains, so that the
    front gives it nothing new before it is stopped; the rest just stops."""

    def use(replica: Replica) -> tuple[int, int, float]:
        view = turn.seen.replica(replica.id)
        return LIVE.index(replica.phase), view.in_flight if view is not None else 0, -replica.since

    order = sorted(variant.live, key=use)
    leaving = {r.id for r in order[:surplus]}
    return replace(variant, replicas=leave(turn, variant.replicas, leaving))


def leave(turn: EndpointTurn, replicas: Sequence[Replica], leaving: set[str]) -> tuple[Replica, ...]:
    kept: list[Replica] = []
    for replica in replicas:
        if replica.id not in leaving or replica.phase in (DRAINING, STOPPING):
            kept.append(replica)
        elif replica.phase == READY:
            kept.append(replace(replica, phase=DRAINING, since=turn.now))
        else:
            verdict = stop(replica, turn.now)
            turn.commands.extend(verdict.commands)
            if verdict.replica is not None:
                kept.append(verdict.replica)
    return tuple(kept)


def stop_fleet(turn: EndpointTurn, fleet: Fleet) -> Fleet:
    for variant in fleet.variants:
        kept: list[Replica] = []
        for replica in variant.replicas:
            verdict = stop(replica, turn.now)
            turn.commands.extend(verdict.commands)
            if verdict.replica is not None:
                kept.append(verdict.replica)
        fleet = fleet.with_variant(replace(variant, replicas=tuple(kept)))
    return fleet


def sweep_retired(turn: EndpointTurn) -> None:
    """Retiring fleets drain; when the last is empty, an update that waits for it is done. What failed stays in sight, empty."""
    left: list[Fleet] = []
    for fleet in turn.plant.retiring:
        everyone = {r.id for r in fleet.replicas}
        for variant in fleet.variants:
            if _may_leave(turn, fleet, variant):
                fleet = fleet.with_variant(replace(variant, replicas=leave(turn, variant.replicas, everyone)))
        if fleet.replicas:
            left.append(fleet)
        else:
            keys = tuple(k for v in fleet.variants for k in work_keys(turn.record, fleet, v))
            turn.commands.append(ForgetWork(keys))
            if turn.record.status == "Failed":
                turn.plant = replace(turn.plant, failed=fleet)
    turn.plant = replace(turn.plant, retiring=tuple(left))


def _may_leave(turn: EndpointTurn, fleet: Fleet, variant: Variant) -> bool:
    """A later container of a pipeline works on until those before it are gone and nothing waits for it."""
    stage = variant.container.stage
    if any(v.replicas for v in fleet.variants if v.name == variant.name and v.container.stage < stage):
        return False
    return not stage or not turn.seen.queued(route_key(fleet, variant))


def work_keys(record: Record, fleet: Fleet, variant: Variant) -> tuple[str, str]:
    """Keys of a variant's long work: (PrepareModel's, EnsureEnvironment's)."""
    return f"{record.arn} model {fleet.id}/{variant.key}", f"{record.arn} environment {fleet.id}/{variant.key}"


def _grow(turn: EndpointTurn, fleet: Fleet, variant: Variant, wanted: int, beside: tuple[ReplicaNeed, ...]) -> Variant:
    """Model, then environment, then processes."""
    if turn.now < variant.retry <= turn.now + LONGEST_RETRY:  # later than that: the clock was set back
        return variant
    if variant.prepared is None:
        variant = _prepare(turn, fleet, variant)
        if variant.prepared is None:
            return variant
    _, environment_key = work_keys(turn.record, fleet, variant)
    work = turn.seen.environments.get(environment_key)
    if work is None:
        turn.commands.append(EnsureEnvironment(environment_key, variant.container, variant.prepared or {}))
        return variant
    if work.state == "failed":
        turn.commands.append(ForgetWork((environment_key,)))
        return died(variant, work.message, not work.transient, turn.now)
    if work.state != "done":
        return variant
    return _start_missing(turn, fleet, variant, wanted, beside)


def _prepare(turn: EndpointTurn, fleet: Fleet, variant: Variant) -> Variant:
    """The variant with its model prepared, when that is done."""
    model_key, _ = work_keys(turn.record, fleet, variant)
    work = turn.seen.prepared.get(model_key)
    if work is None:
        seconds = float(variant.config.get("ModelDataDownloadTimeoutInSeconds", 3600))
        turn.commands.append(PrepareModel(model_key, variant.container, seconds))
        return variant
    if work.state == "failed":
        turn.commands.append(ForgetWork((model_key,)))
        return died(variant, work.message, not work.transient, turn.now)
    return replace(variant, prepared=dict(work.value)) if work.state == "done" else variant


def _start_missing(
    turn: EndpointTurn, fleet: Fleet, variant: Variant, wanted: int, beside: tuple[ReplicaNeed, ...]
) -> Variant:
    missing = wanted - len(variant.live)
    made = variant.made
    replicas = list(variant.replicas)
    for _ in range(max(0, missing)):
        replicas.append(Replica(replica_id(fleet.id, variant.key, made), since=turn.now))
        made += 1
    variant = replace(variant, replicas=tuple(replicas), made=made)
    for replica in variant.replicas:
        if replica.phase == PLANNED:
            turn.starts.append(
                StartReplica(
                    id=replica.id,
                    token=turn.plant.token(replica.id),
                    endpoint=route_name(turn.record),
                    variant=variant.name,
                    container=variant.container,
                    prepared=variant.prepared or {},
                    instance_type=variant.size,
                    workers=max(1, variant.warm) if variant.serverless else workers_of(variant, turn.seen.cpus),
                    timeout=max(variant.container.timeout, float(fleet.private.get("timeout", 0.0))),
                    beside=beside,
                    like=weight_of(variant, turn.seen),
                    explainer=fleet.explainer,
                )
            )
    return variant


def stop_all(turn: EndpointTurn) -> None:
    """End every replica, serving or not, without a drain by the front: they finish what they have."""
    plant = turn.plant
    fleets = (*plant.retiring, *(f for f in (plant.serving, plant.incoming) if f is not None))
    retiring = tuple(stop_fleet(turn, fleet) for fleet in fleets)
    turn.plant = replace(plant, serving=None, incoming=None, retiring=retiring, rollout=None)


def reason_of(turn: EndpointTurn, variant: Variant) -> str:
    """FailureReason for a variant that does not come up."""
    last = variant.replicas[-1].id if variant.replicas else ""
    if not last and variant.made:
        fleet = next((f for f in turn.plant.fleets if variant in f.variants), None)
        last = replica_id(fleet.id, variant.key, variant.made - 1) if fleet else ""
    if not variant.made or variant.failure.startswith((NO_CAPACITY, NO_RESIZE)):
        return variant.failure[:REASON_LENGTH]  # it never came to a process: the words are the whole reason
    return ping_failure(variant, route_name(turn.record), last)
