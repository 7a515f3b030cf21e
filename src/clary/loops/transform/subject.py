"""The transform job loop's hands: observes jobs and carries out what `domain/transform/life.py` decides.

`TransformSubject` plugs into `loop.Loop`. It owns the translation of commands into the record of the replicas, background work
(`work.py`) and the driver's workload; it decides nothing. `attach` wires the wake-ups.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from clary import untrusted
from clary.domain.decisions import Decision
from clary.domain.endpoints.fleets import READY, STARTED, Fleet, Plant
from clary.domain.endpoints.routing import workers_of
from clary.domain.endpoints.turn import plant_of
from clary.domain.errors import AlreadyExists, ClaryError, Denied, Invalid, NotFound
from clary.domain.ids import arn as make_arn
from clary.domain.machine.workload import Observation
from clary.domain.names import TRANSFORM_FLEET, TRANSFORM_LOGS, route_name
from clary.domain.resources import KINDS, Record
from clary.domain.transform import life
from clary.domain.transform import record as transforms
from clary.domain.transform.record import (
    Begin,
    Command,
    Discard,
    DropFleet,
    ForgetDriver,
    ForgetWork,
    MakeFleet,
    SeenFleet,
    SeenTransform,
    StartDriver,
    StopDriver,
    Unstartable,
    Work,
)
from clary.guarded import until_first
from clary.loops.core.loop import Loop
from clary.loops.core.tasks import Done, Failed, Tasks
from clary.loops.endpoints.models import Models
from clary.loops.transform import places
from clary.loops.transform.places import TransformSettings
from clary.loops.transform.work import TransformWork, complete
from clary.ports import LoopPorts
from clary.short_runs import end

_GONE_SECONDS = 60.0
_LEASE = 30.0
_VERDICT = 1 << 16  # bytes of failure.json that are read
_WORK = ("place", "publish", "finish")


class TransformSubject:
    """`loop.Subject` of transform jobs."""

    kind = transforms.KIND
    statuses = transforms.ACTIVE

    def __init__(self, ports: LoopPorts, models: Models, settings: TransformSettings) -> None:
        self._ports = ports
        self._models = models  # has the environments of replicas
        self._settings = settings
        self._work = TransformWork(ports.artifacts, settings, ports.clock)
        self._arns: dict[str, str] = {}  # a driver's handle -> ARN of the job
        self.tasks = Tasks()

    # -- observe ------------------------------------------------------------------------------------------------------------------

    async def observe(self, record: Record) -> SeenTransform:
        document = record.document
        fleet = await self._ports.store.get(TRANSFORM_FLEET, record.scope, record.name)
        run: Observation | None = None
        verdict: Mapping[str, str] = {}
        ready = False
        if document["phase"] != "starting":
            if document["handle"]:
                self._arns[document["handle"]] = record.arn
                run = await self._ports.backend.observe(document["handle"])
            verdict, ready = await asyncio.to_thread(self._results, record)
        return SeenTransform(
            fleet=None if fleet is None else seen_fleet(fleet, self._ports.measure().cpus),
            run=run,
            verdict=verdict,
            ready=ready,
            work={name: work for name in _WORK if (work := self._state(record, name)) is not None},
        )

    def _results(self, record: Record) -> tuple[Mapping[str, str], bool]:
        where = places.folders(self._settings, record)
        text = untrusted.read_text(str(where.out), "failure.json", _VERDICT)
        return json.loads(text) if text else {}, bool(complete(where))

    def _state(self, record: Record, name: str) -> Work | None:
        match self.tasks.state(f"{record.arn} {name}"):
            case None:
                return None
            case Done(result):
                return Work("done", result)
            case Failed(message, known, error):
                client = known and isinstance(error, (Denied, Invalid, NotFound))
                return Work("failed", message=message, client=client)
        return Work("running")

    def decide(self, record: Record, observation: SeenTransform, now: float) -> Decision[Command]:
        return life.decide(record, observation, now)

    def absorb(self, record: Record, outcomes: Sequence[tuple[Command, Any]]) -> Record:
        return transforms.absorb(record, outcomes)

    # -- run ----------------------------------------------------------------------------------------------------------------------

    async def run(self, command: Command, record: Record) -> Any:
        match command:
            case MakeFleet():
                await self._make_fleet(record)
            case DropFleet():
                await self._drop_fleet(record)
            case Begin(name):
                self.tasks.start(f"{record.arn} {name}", lambda: self._work.begin(name, record), record.arn)
            case ForgetWork(name):
                self.tasks.forget(f"{record.arn} {name}")
            case StartDriver():
                return await self._start(command, record)
            case StopDriver(handle):
                await self._ports.backend.stop(handle)
            case ForgetDriver(handle):
                await end(self._ports.backend, handle, _GONE_SECONDS)
                self._arns.pop(handle, None)
            case Discard(handle):
                await self._discard(handle, record)
        return None

    async def _make_fleet(self, record: Record) -> None:
        scope = record.scope
        arn = make_arn("sagemaker", scope.region, scope.account, f"{KINDS[TRANSFORM_FLEET].tail}/{record.name}")
        with suppress(AlreadyExists):
            await self._ports.store.add(transforms.fleet_record(record, arn, self._ports.clock.now()))

    async def _drop_fleet(self, record: Record) -> None:
        async def attempt() -> None:
            fleet = await self._ports.store.get(TRANSFORM_FLEET, record.scope, record.name)
            if fleet is not None and (over := transforms.job_over(fleet, self._ports.clock.now())) is not fleet:
                await self._ports.store.save(over)

        await until_first(attempt)

    async def _start(self, command: StartDriver, record: Record) -> str | Unstartable:
        ports, where = self._ports, places.folders(self._settings, record)
        fleet = await ports.store.get(TRANSFORM_FLEET, record.scope, record.name)
        if fleet is None:
            return Unstartable("the job's replicas are not there any more.")
        front = ports.backend.address(self._settings.home(route_name(fleet)))
        container = Fleet.from_json(record.document["fleet"]).variants[0].container
        spec = places.driver_spec(record, fleet, front, command.workers, self._linewise(fleet))
        stream = places.data_log(record)
        now = ports.clock.now()
        log_path = ports.logs.open(record.scope, TRANSFORM_LOGS, stream, now)

        def say(line: str) -> None:
            ports.logs.append(record.scope, TRANSFORM_LOGS, stream, [(int(now * 1000), f"[clary] {line}")])

        try:
            environment = await self._models.runtimes.opener(container.image, container.program, say)
            workload = places.driver_workload(record, where, command.attempt, spec, environment, log_path)
            plan = ports.backend.plan(workload)
            await asyncio.to_thread(_write, Path(where.given / "spec.json"), json.dumps(spec))
            handle = await ports.backend.start(plan)
        except ClaryError as error:
            return Unstartable(error.message)
        self._arns[handle] = record.arn
        return handle

    def _linewise(self, fleet: Record) -> bool:
        """Whether the model is Clary's own built-in algorithm alone, which answers a line to each line of CSV."""
        plant = plant_of(fleet)
        variants = (plant.serving or plant.incoming or Fleet("", "", (), 0.0)).variants
        if len(variants) != 1 or not variants[0].prepared or variants[0].prepared["program"]:
            return False
        return self._models.runtime(variants[0].container, "").algorithm == "xgboost"

    async def _discard(self, handle: str, record: Record) -> None:
        self.tasks.forget_all(f"{record.arn} ")
        self._work.forget(record)
        if handle:
            await end(self._ports.backend, handle, _GONE_SECONDS)
            self._arns.pop(handle, None)
        await asyncio.to_thread(shutil.rmtree, places.folders(self._settings, record).top, True)

    # -- wake-ups and order -------------------------------------------------------------------------------------------------------

    async def sweep(self) -> None:
        """At the start: remove folders of jobs that are over, which a control plane that died left behind."""
        now, owner = self._ports.clock.now(), self._settings.owner
        leases = await self._ports.store.claim(self.kind, owner, now, _LEASE, self.statuses, 1_000_000)
        await asyncio.to_thread(
            _remove_others, self._settings.folder, {str(lease.record.document["id"]) for lease in leases}
        )

    def arn_of(self, handle: str) -> str | None:
        """Whose driver that is."""
        return self._arns.get(handle)


def seen_fleet(record: Record, cpus: int) -> SeenFleet:
    """What the record of a job's replicas says. Of a pipeline the first container takes the requests."""
    plant: Plant = plant_of(record)
    fleet = plant.serving or plant.incoming
    if fleet is None:
        return SeenFleet(record.status, plant.failure)
    first = fleet.variants[0]
    workers = 0
    if all(variant.prepared is not None for variant in fleet.variants):
        prepared = first.prepared or {}
        workers = 1 if prepared.get("server") or prepared.get("image") else workers_of(first, cpus)
    return SeenFleet(
        record.status,
        plant.failure or next((variant.failure for variant in fleet.variants if variant.failure), ""),
        workers,
        all(any(r.phase in (STARTED, READY) for r in variant.replicas) for variant in fleet.variants),
        sum(replica.kills for replica in fleet.replicas),
    )


def _write(path: Path, text: str) -> None:
    """Whole or not at all: a token is in it, and the sandbox's user must read it."""
    part = path.with_suffix(".part")
    part.write_text(text)
    part.chmod(0o644)
    part.rename(path)


def _remove_others(folder: str, kept: set[str]) -> None:
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        if name not in kept:
            shutil.rmtree(os.path.join(folder, name), ignore_errors=True)


def attach(subject: TransformSubject, loop: Loop[Command, SeenTransform], ports: LoopPorts) -> Callable[[], None]:
    """Wire what wakes the loop: changes of the replicas' records, drivers that ended, ended work. Answers the way to undo it."""

    def changed(record: Record) -> None:
        if record.kind == TRANSFORM_FLEET:
            loop.wake(str(record.document["job"]))

    def ended(handle: str) -> None:
        arn = subject.arn_of(handle)
        if arn is not None:
            loop.wake(arn)

    undo = (ports.store.watch(changed), ports.backend.watch(ended), subject.tasks.watch(loop.wake))

    def leave() -> None:
        for each in undo:
            each()
        subject.tasks.forget_all("")

    return leave
