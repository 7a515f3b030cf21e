"""The endpoint loop's hands: observes endpoints and carries out what `domain/endpoints/life.py` decides.

`EndpointSubject` plugs into `loop.Loop`. It owns the translation of commands into models, environments, replicas and routes; it
decides nothing. `attach` wires the wake-ups.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any

from clary.domain.decisions import Decision
from clary.domain.endpoints import life
from clary.domain.endpoints.commands import (
    Command,
    DropRoute,
    EnsureEnvironment,
    ForgetEndpoint,
    ForgetReplica,
    ForgetWork,
    LogDeath,
    MountModels,
    Outcome,
    PrepareModel,
    PutRoute,
    RenewCredentials,
    ReplicaNeed,
    Resized,
    ResizeReplica,
    SeenEndpoint,
    SettleRooms,
    Started,
    StartReplica,
    StopReplica,
    WriteHistory,
)
from clary.domain.endpoints.fleets import Plant
from clary.domain.endpoints.replicas import replica_key
from clary.domain.endpoints.turn import work_keys
from clary.domain.errors import Invalid, LimitExceeded, NotFound, Unschedulable
from clary.domain.grants import Grant
from clary.domain.ids import arn as make_arn
from clary.domain.lifecycle import EndpointStatus
from clary.domain.machine import instances
from clary.domain.machine.workload import Feature, Files, Observation
from clary.domain.names import COMPONENT, TRANSFORM_FLEET, history_group, log_group, resource_of, route_name
from clary.domain.resources import KINDS, Record
from clary.loops.core.ledger import Ledger
from clary.loops.core.loop import Loop
from clary.loops.core.tasks import Done, Failed, State, Tasks
from clary.loops.endpoints import replica_places
from clary.loops.endpoints.guards import Guards
from clary.loops.endpoints.models import Models
from clary.loops.endpoints.replica_credentials import ReplicaCredentials
from clary.loops.endpoints.replica_places import SPEC, SPEC_FILES, TOKEN, ServingSettings
from clary.loops.endpoints.replica_rooms import ReplicaRooms
from clary.ports import LoopPorts
from clary.short_runs import end

_GONE_SECONDS = 60.0
_LEASE = 30.0


class EndpointSubject:
    """`loop.Subject` of endpoints."""

    kind = "endpoint"
    statuses = tuple(status.value for status in EndpointStatus)

    def __init__(
        self,
        ports: LoopPorts,
        settings: ServingSettings,
        ledger: Ledger,
        models: Models | None = None,
    ) -> None:
        self._ports = ports
        self._settings = settings
        self._ledger = ledger
        self._rooms = ReplicaRooms(ledger, ports.measure, ports.clock, settings.policy)
        self.tasks = Tasks()
        self.models = models or Models(ports.backend, ports.artifacts, ports.runtimes)
        self._arns: dict[str, str] = {}  # workload key -> ARN
        self.guards = Guards(ports.store)
        self._credentials = ReplicaCredentials(ports.keys, ports.clock, ports.backend)

    def moved(self, record: Record, step: float) -> Record:
        """Waits of a deployment and of replicas are as long as they were (`Plant.moved`)."""
        return life.with_plant(record, life.plant_of(record).moved(step))

    # -- observe ------------------------------------------------------------------------------------------------------------------

    async def observe(self, record: Record) -> SeenEndpoint:
        plant = life.plant_of(record)
        runs: dict[str, Observation | None] = {}
        for replica in plant.replicas:
            self._arns[replica_key(replica.id)] = record.arn
            if replica.handle:
                self._arns[replica.handle] = record.arn
                runs[replica.id] = await self._ports.backend.observe(replica.handle)
        self._rooms.weigh(runs)
        strays = {key: await self._ports.backend.observe(replica_key(key)) for key in self._rooms.strays(record, plant)}
        scope, machine = record.scope, self._ports.measure()
        return SeenEndpoint(
            runs=runs,
            view=await self._ports.fronts.observe(scope.account, scope.region, route_name(record)),
            prepared=self._prepared(record, plant),
            environments=self._environments(record, plant),
            cpus=machine.cpus,
            memory=machine.usable,
            available=machine.available,
            rest=self._settings.rest,
            alarms=await self.guards.states(record, plant),
            resizes=Feature.RESIZE in self._ports.backend.features,
            due=tuple(self._due(record, plant, {**runs, **strays})),
        )

    def _due(
        self, record: Record, plant: Plant, runs: Mapping[str, Observation | None]
    ) -> Iterator[SettleRooms | MountModels | RenewCredentials]:
        """What is to be done beside what is decided."""
        if (folders := _models(plant)) != self.models.mounted.get(record.arn):
            yield MountModels(frozenset(folders))
        if settle := self._rooms.unsettled(record, plant, runs):
            yield settle
        if renewed := self._credentials.due(plant, runs):
            yield RenewCredentials(renewed)

    async def seed(self) -> None:
        """At the start, before anything may be swept, or get a place: keep the models of every endpoint, also of those that this process
        has not looked at, and see that what runs has grants, also what a Clary started that stored none."""
        now, owner = self._ports.clock.now(), self._settings.owner
        owed: list[Grant] = []
        for kind in ("endpoint", COMPONENT, TRANSFORM_FLEET):
            for lease in await self._ports.store.claim(kind, owner, now, _LEASE, self.statuses, 1_000_000):
                plant = life.plant_of(lease.record)
                self.models.mounted.setdefault(lease.record.arn, _models(plant))
                owed += self._rooms.owed(lease.record, plant)
        await self._ledger.adopt(owed)

    def _prepared(self, record: Record, plant: Plant) -> dict[str, Outcome]:
        found = {}
        for fleet in plant.fleets:
            for variant in fleet.variants:
                key, _ = work_keys(record, fleet, variant)
                state = self.tasks.state(key)
                if state is not None:
                    found[key] = _outcome(state)
        return found

    def _environments(self, record: Record, plant: Plant) -> dict[str, Outcome]:
        """Built ones are known at once; the others by their work."""
        found = {}
        for fleet in plant.fleets:
            for variant in fleet.variants:
                _, key = work_keys(record, fleet, variant)
                state = self.tasks.state(key)
                if state is not None and not isinstance(state, Done):
                    found[key] = _outcome(state)
                elif state is not None or (
                    variant.prepared and self._is_built(variant.container.image, variant.prepared)
                ):
                    found[key] = Outcome("done")
        return found

    def _is_built(self, image: str, prepared: Any) -> bool:
        return self.models.runtimes.is_built(image, prepared["program"], prepared["requirements"])

    def decide(self, record: Record, observation: SeenEndpoint, now: float) -> Decision[Command]:
        return life.decide(record, observation, now)

    def absorb(self, record: Record, outcomes: Sequence[tuple[Command, Any]]) -> Record:
        return life.absorb(record, outcomes, self._ports.clock.now())

    # -- run ----------------------------------------------------------------------------------------------------------------------

    async def run(self, command: Command, record: Record) -> Any:
        match command:
            case PrepareModel() | EnsureEnvironment():
                self.tasks.start(command.key, lambda: self._long(command, record), record.arn)
            case StartReplica():
                return await self._start(command, record)
            case ResizeReplica():
                return await self._resize(command, record)
            case WriteHistory():
                self._write_history(command, record)
            case StopReplica(id=id_, handle=handle, grace=grace):
                await self._ports.backend.stop(handle or replica_key(id_), grace)
            case ForgetReplica():
                self._forget(command, record)
            case LogDeath(variant=variant, id=id_, how=how, container=container):
                stream = replica_places.log_stream(variant, id_, container)
                self._say(record, stream, f"The replica ended: {how.rstrip('.')}.")
            case PutRoute(route):
                await self._ports.fronts.put(route)
            case DropRoute(account, region, name):
                await self._ports.fronts.drop(account, region, name)
            case ForgetWork(keys):
                for key in keys:
                    self.tasks.forget(key)
            case SettleRooms() | MountModels() | RenewCredentials():
                await self._tend(command, record)
            case ForgetEndpoint():
                await self._gone(record.arn)
        return None

    async def _tend(self, command: SettleRooms | MountModels | RenewCredentials, record: Record) -> None:
        match command:
            case SettleRooms():
                await self._rooms.settle(command, record.arn)
            case MountModels(folders):
                self.models.mounted[record.arn] = set(folders)
            case RenewCredentials(replicas):
                await self._credentials.renew(record, life.plant_of(record), replicas)

    def _long(self, command: PrepareModel | EnsureEnvironment, record: Record) -> Coroutine[Any, Any, Any]:
        def log(line: str) -> None:
            self._say(record, "preparation", line)

        if isinstance(command, PrepareModel):
            return self.models.prepare(command.container, record.scope.account, command.seconds, log)
        return self._build(command, log)

    async def _build(self, command: EnsureEnvironment, log: Callable[[str], None]) -> None:
        runtime = self.models.runtime(command.container, str(command.prepared["program"]))
        await self.models.runtimes.ensure(runtime, str(command.prepared["requirements"]), log)

    async def _placement(self, record: Record) -> Callable[[], None]:
        """A look at where the record's replicas are to be, at the very moment at which they get their places."""
        return lambda: None

    async def _start(self, command: StartReplica, record: Record) -> Started:
        ports, settings = self._ports, self._settings
        self._arns[replica_key(command.id)] = record.arn
        if await ports.backend.model(replica_places.digest_of(command.prepared["model"])) is None:
            self.tasks.forget_all(f"{record.arn} model ")
            return Started(unprepared=True)
        try:
            runtime = self.models.runtime(command.container, str(command.prepared["program"]))
            environment = await self.models.runtimes.ensure(runtime, str(command.prepared["requirements"]))
            own = ReplicaNeed(command.id, command.instance_type, command.container.of, command.like)
            fit = await self._rooms.take(record, own, command.beside, await self._placement(record))
            stream = replica_places.log_stream(command.variant, command.id, command.container.hostname)
            front = ports.backend.address(settings.home(command.endpoint))
            image = bool(command.prepared.get("image"))
            keys = self._credentials.first(record, command.id, command.container, image)
            texts = {"replica.json": replica_places.replica_spec(command, front, runtime, fit), **keys.texts}
            files = Files(SPEC_FILES, SPEC, texts=texts, secrets={TOKEN: TOKEN, **keys.files})
            workload = replica_places.replica_workload(
                command, record, settings, runtime, environment, fit, files, keys.environment
            )
            for note in fit.notes:
                self._say(record, stream, note)
            secrets = {TOKEN: command.token, **keys.secrets}
            handle = await ports.backend.start(ports.backend.plan(workload), secrets)
        except (Invalid, LimitExceeded, NotFound, Unschedulable) as error:
            await self._rooms.drop(command.id)
            return Started(refused=error.message)
        self._arns[handle] = record.arn
        return Started(handle)

    async def _resize(self, command: ResizeReplica, record: Record) -> Resized:
        """The new size at once, unless the machine has no room for it, or the model has none in it."""
        try:
            _, millicpu, _ = instances.parts(command.instance_type)
            if millicpu > 1000 * (cpus := self._ports.measure().cpus):
                raise Unschedulable(f"this machine has {cpus} vCPU, and {millicpu / 1000:g} are requested")
            own = ReplicaNeed(command.id, command.instance_type, command.containers)
            fit = await self._rooms.take(record, own, command.beside, await self._placement(record))
            run = await self._ports.backend.observe(command.handle)
            if run is not None and run.memory_bytes > fit.memory:
                raise Unschedulable(
                    f"{command.instance_type} has {fit.memory >> 20} MiB of memory here, and the model uses "
                    f"{run.memory_bytes >> 20} MiB"
                )
            await self._ports.backend.resize(command.handle, fit.cpu, fit.memory, fit.burst)
            # A multi-model replica looks there how much its models may have.
            await self._ports.backend.write(command.handle, SPEC_FILES, {"memory": str(fit.memory)})
        except NotFound:
            pass  # it has just ended: its successor is started in the new size
        except (LimitExceeded, Unschedulable) as error:
            return Resized(refused=error.message)
        return Resized()

    def _write_history(self, command: WriteHistory, record: Record) -> None:
        note = command.note
        group, at = history_group(route_name(record)), int(note.at * 1000)
        line = {"n": command.number, "endpoint": record.arn, "created": record.created, "what": note.what}
        line |= {"why": note.why, "config": note.config, "status": command.status}
        self._ports.logs.open(record.scope, group, replica_places.HISTORY, note.at)
        self._ports.logs.append(record.scope, group, replica_places.HISTORY, [(at, json.dumps(line))])

    def _say(self, record: Record, stream: str, line: str) -> None:
        group = log_group(route_name(record))
        now = self._ports.clock.now()
        self._ports.logs.open(record.scope, group, stream, now)
        self._ports.logs.append(record.scope, group, stream, [(int(now * 1000), f"[clary] {line}")])

    def _forget(self, command: ForgetReplica, record: Record) -> None:
        """In the background: a run that has ended can be forgotten a moment later, when its shim has left."""
        key = f"{record.arn} forget {command.id}"
        self.tasks.start(key, lambda: self._clear(command, key), record.arn)

    async def _clear(self, command: ForgetReplica, key: str) -> None:
        handle = command.handle or replica_key(command.id)
        await end(self._ports.backend, handle, _GONE_SECONDS)
        await self._rooms.drop(command.id)
        self._credentials.forget(command.id)
        self._arns.pop(handle, None)
        asyncio.get_running_loop().call_soon(self.tasks.forget, key)

    # -- wake-ups and order -------------------------------------------------------------------------------------------------------

    def arn_of(self, handle: str) -> str | None:
        """Whose replica that is; None: no endpoint's."""
        return self._arns.get(handle)

    async def _gone(self, arn: str) -> None:
        """The endpoint's record goes: its models may go too when nobody else mounts them."""
        self.models.mounted.pop(arn, None)
        runs = {key: await self._ports.backend.observe(replica_key(key)) for key in self._rooms.held(arn)}
        await self._rooms.forget(arn, [key for key, run in runs.items() if run is None or run.state.is_terminal])
        key = f"{arn} sweep"
        self.tasks.forget(key)
        self.tasks.start(key, self.models.sweep, arn)


def _models(plant: Plant) -> set[str]:
    return {v.prepared["model"] for f in plant.fleets for v in f.variants if v.prepared}


def _outcome(state: State) -> Outcome:
    match state:
        case Done(result):
            return Outcome("done", result)
        case Failed(message, _, error):
            return Outcome("failed", message=message, transient=not isinstance(error, (Invalid, NotFound)))
    return Outcome("running")


def attach(subject: EndpointSubject, loop: Loop[Command, SeenEndpoint], ports: LoopPorts) -> Callable[[], None]:
    """Wire what wakes the endpoint loop: replicas that ended, fronts that saw something, work that is done. Answers the way to
    undo it."""

    def ended(handle: str) -> None:
        arn = subject.arn_of(handle)
        if arn is not None:
            loop.wake(arn)

    def seen(account: str, region: str, name: str) -> None:
        kind, own = resource_of(name)
        if kind == subject.kind:
            loop.wake(make_arn("sagemaker", region, account, f"{KINDS[kind].tail}/{own}"))

    def changed(record: Record) -> None:
        for arn in subject.guards.guarded(record):
            loop.wake(arn)

    undo = (
        ports.backend.watch(ended),
        ports.fronts.watch(seen),
        ports.store.watch(changed),
        subject.tasks.watch(loop.wake),
    )

    def leave() -> None:
        for each in undo:
            each()

    return leave
