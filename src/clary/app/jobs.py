"""The loops of jobs, one for each kind, over one ledger."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from clary.domain.jobs import pools, training
from clary.domain.jobs.kinds import JOB_KINDS
from clary.domain.jobs.record import Command, SeenJob
from clary.loops.core.ledger import Ledger
from clary.loops.core.loop import Loop
from clary.loops.jobs.places import JobSettings
from clary.loops.jobs.pools import PoolSubject
from clary.loops.jobs.subject import JobSubject, attach
from clary.ports import LoopPorts


class JobLoops:
    """See the module."""

    def __init__(self, ports: LoopPorts, settings: JobSettings, ledger: Ledger) -> None:
        self._ports = ports
        self.subjects = tuple(JobSubject(kind, ports, settings, ledger) for kind in JOB_KINDS.values())
        self._loops = tuple[Loop[Command, SeenJob], ...](
            Loop(subject, ports.store, ports.clock, settings.owner) for subject in self.subjects
        )
        work = next(subject.work for subject in self.subjects if subject.kind == training.KIND)
        self._pools = PoolSubject(ports, settings, ledger, work)
        self._pool_loop = Loop[pools.Command, pools.SeenPool](self._pools, ports.store, ports.clock, settings.owner)

    def living(self) -> list[tuple[str, tuple[str, ...]]]:
        """By kind, the statuses of records that may have runs."""
        jobs = [(subject.kind, subject.statuses) for subject in self.subjects]
        return [*jobs, (self._pools.kind, self._pools.statuses)]

    async def seed(self) -> None:
        """Every kind's, before any job is granted a place."""
        for subject in self.subjects:
            await subject.seed()

    def attach(self) -> tuple[Callable[[], None], ...]:
        """The ways to undo it."""
        pairs = zip(self.subjects, self._loops, strict=True)
        return tuple(attach(subject, loop, self._ports) for subject, loop in pairs)

    def run(self) -> tuple[Coroutine[Any, Any, None], ...]:
        """The work that must not end."""
        loops = (*(loop.run() for loop in self._loops), self._pool_loop.run())
        return (*loops, *(subject.usage.run() for subject in self.subjects))
