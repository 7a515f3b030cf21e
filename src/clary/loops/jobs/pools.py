"""Warm pools for the loop: their sandboxes are made, looked at and ended; and the hand-over of one to a job that reuses it.

`domain/jobs/pools.py` decides. The environment of a sandbox that waits is the runtime's own, without a variable of the job's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from clary.domain.decisions import Decision, Unable
from clary.domain.errors import AlreadyExists, ClaryError, Stale
from clary.domain.ids import arn
from clary.domain.jobs import pools, training
from clary.domain.jobs import record as jobs
from clary.domain.jobs.kinds import spec_of
from clary.domain.jobs.pools import Command, Drop, Hold, SeenPool
from clary.domain.machine.workload import Feature, RunState, Workload
from clary.domain.resources import Query, Record
from clary.loops.core.ledger import Ledger
from clary.loops.core.sandboxes import LIBRARY
from clary.loops.jobs import places
from clary.loops.jobs.places import JobSettings
from clary.loops.jobs.work import JobWork
from clary.ports import LoopPorts
from clary.short_runs import end

_END_SECONDS = 30.0
_MOST = 1000  # pools of one namespace that are looked through
_PROGRAM = "clary.toolkit.standby"


class PoolSubject:
    """`loop.Subject` of warm pools."""

    kind = pools.KIND
    statuses = pools.LIVING

    def __init__(self, ports: LoopPorts, settings: JobSettings, ledger: Ledger, work: JobWork) -> None:
        self._ports = ports
        self._settings = settings
        self._ledger = ledger
        self._work = work

    async def observe(self, record: Record) -> SeenPool:
        handle = str(record.document.get("handle", ""))
        run = await self._ports.backend.observe(handle) if handle else None
        if "granted" not in record.document:
            await self._ledger.look()
        if run is not None:
            self._ledger.weigh(record.arn, run.memory_bytes, 0.0)
        reuser = str(record.document.get("reused", ""))
        job = await self._ports.store.get(training.KIND, record.scope, reuser) if reuser else None
        book = self._ledger.book(self._ports.measure(), self._settings.policy, self._ports.clock.now())
        return SeenPool(book, run, job is not None and job.status in jobs.ACTIVE)

    def decide(self, record: Record, observation: SeenPool, now: float) -> Decision[Command]:
        return pools.decide(record, observation, now)

    def absorb(self, record: Record, outcomes: Sequence[tuple[Command, Any]]) -> Record:
        return pools.absorb(record, outcomes)

    async def run(self, command: Command, record: Record) -> Any:
        match command:
            case Hold():
                return await self._hold(command, record)
            case Drop(handle):
                await end(self._ports.backend, handle, _END_SECONDS)
        return None

    async def _hold(self, command: Hold, record: Record) -> str | Unable:
        job = await self._ports.store.by_arn(str(record.document["job"]))
        if job is None:
            return Unable("its job was deleted")
        try:
            workload = await self._waiting(command, job)
            return await self._ports.backend.start(self._ports.backend.plan(workload))
        except ClaryError as error:
            return Unable(error.message)

    async def _waiting(self, command: Hold, job: Record) -> Workload:
        """The sandbox that a job like this one would have, without anything of it."""
        runtime, environment = self._work.runtime(job), await self._work.environment(job)
        host = spec_of(job).hosts[0]
        like = places.host_workload(job, self._settings, host, runtime, environment, {}, command.seconds)
        modules = pools.MODULES.get(runtime.framework, ())
        return replace(
            like,
            key=command.key,
            command=(environment.python, "-m", _PROGRAM, *modules),
            environment={
                "PATH": like.environment["PATH"],
                "PYTHONPATH": LIBRARY,
                "PYTHONUNBUFFERED": "1",
            },
            mounts=(),
            files=(),
            logs=None,
            hosts={},
            peers="",
            cwd="/",
            stop_grace=1.0,
            waits=True,
        )


class Pools:
    """What the loop of training jobs does with pools."""

    def __init__(self, ports: LoopPorts, ledger: Ledger) -> None:
        self._ports = ports
        self._ledger = ledger

    async def retain(self, record: Record) -> str:
        """Make the pool of a job that ends now; answers why nothing is kept, "" where something is."""
        if places.node(record):
            return "the job ran on a node, and only this machine's own sandboxes are kept"
        if Feature.STANDBY not in self._ports.backend.features:
            return "only Clary that runs as root can give a sandbox another job's folders"
        where = arn("clary", record.scope.region, record.scope.account, f"{pools.KIND}/{record.name}")
        pool = pools.new(record, where, self._ports.clock.now())
        if pool is None:
            return (
                "a job with several hosts, GPUs, requirements, or without a script has nothing that another could use"
            )
        try:
            await self._ports.store.add(pool)
        except AlreadyExists:
            pass  # this turn is repeated
        return ""

    def may_have(self, record: Record) -> bool:
        """Whether there are pools at all, and one could be for a job like this. None is asked for otherwise."""
        held = any(grant.kind == pools.OWNER for grant in self._ledger.grants())
        return held and pools.match(record) is not None

    async def take(self, record: Record) -> str:
        """The handle of the sandbox that waits for a job like this one, which nobody else gets then; "" where there is none."""
        before = await self._before(record)
        if before is not None:
            return str(before.document["handle"])
        found = await self._page(record, pools.AVAILABLE)
        now = self._ports.clock.now()
        pool = pools.reusable(found, record, now)
        if pool is None:
            return ""
        handle = str(pool.document["handle"])
        seen = await self._ports.backend.observe(handle)
        if seen is None or seen.state is not RunState.RUNNING:
            return ""
        try:
            await self._ports.store.save(pools.taken(pool, record.name, now), change=pools.released(pool))
        except Stale:
            return ""  # somebody was first, or it was ended just now
        return handle

    async def _before(self, record: Record) -> Record | None:
        """The pool that this job took in a turn that was not saved."""
        found = await self._page(record, pools.HANDING)
        return next((each for each in found if each.document.get("reused") == record.name), None)

    async def _page(self, record: Record, status: str) -> Sequence[Record]:
        return await self._ports.store.page(Query(pools.KIND, record.scope, statuses=(status,), limit=_MOST))
