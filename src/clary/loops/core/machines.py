"""This machine's row in the book of machines, and the rows of the others as they are stored.

A control plane enters the machine that it runs on: at its start, when something of it changed, and now and then, so that others know that
it is there. What of it is free is measured when it is asked for, and never stored. Decides nothing: `domain/machine/machines.py` does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from clary.domain.errors import NoRoom, Stale, Unavailable
from clary.domain.machine import machines
from clary.domain.machine.capacity import Machine
from clary.domain.machine.machines import MachineRow
from clary.domain.resources import Query, Record
from clary.guarded import MADE_OR_CHANGED, until_first
from clary.ports import Clock, Store

log = logging.getLogger(__name__)
MOST = 10_000  # rows that are read


class Machines:
    """One per process. `measure` tells this machine as it is now, with the zone and the labels that its operator gave it."""

    def __init__(self, store: Store, clock: Clock, measure: Callable[[], Machine]) -> None:
        self._store = store
        self._clock = clock
        self._measure = measure
        self._rows: dict[str, MachineRow] = {}
        self.close = store.watch(self._heard)

    def here(self) -> Machine:
        """This machine as it is now, in the state that the book has of it."""
        found = self._measure()
        row = self._rows.get(found.name)
        return found if row is None else replace(found, state=row.machine.state)

    def rows(self) -> Sequence[MachineRow]:
        """All machines, by name."""
        return [self._rows[name] for name in sorted(self._rows)]

    async def enter(self) -> None:
        """Write this machine's row where it tells something new, and read all rows."""
        found = self._measure()

        async def attempt() -> None:
            stored = await self._store.get(machines.KIND, machines.SCOPE, found.name)
            if stored is None:
                await self._store.add(machines.new_record(found, self._clock.now()))
                return
            changed = machines.heard_of(stored, found, self._clock.now())
            if changed is not None:
                await self._store.save(changed)

        await until_first(attempt, f"The row of the machine {found.name}", MADE_OR_CHANGED)
        read = await self._store.page(Query(machines.KIND, machines.SCOPE, limit=MOST))
        self._rows = {record.name: machines.row_of(record) for record in read if record.status != machines.LEFT}

    def row(self, name: str) -> MachineRow | None:
        """That of a machine, as it is stored."""
        return self._rows.get(name)

    async def hear(self, machine: Machine) -> None:
        """A word of a node: its row is written where it tells something new."""

        async def attempt() -> None:
            stored = await self._store.get(machines.KIND, machines.SCOPE, machine.name)
            changed = None if stored is None else machines.heard_of(stored, machine, self._clock.now())
            if changed is not None:
                await self._store.save(changed)

        await until_first(attempt, f"The row of the machine {machine.name}")

    async def run(self) -> None:
        """For as long as the process lives. Cancel it to end it; it hears nothing any more then."""
        try:
            while True:
                await asyncio.sleep(machines.EVERY)
                try:
                    await self.enter()
                except (Stale, Unavailable, NoRoom) as error:
                    log.warning("the book of machines hears nothing of this one: %s", error)
        finally:
            self.close()

    def _heard(self, record: Record) -> None:
        if record.kind == machines.KIND and record.status == machines.LEFT:
            self._rows.pop(record.name, None)
        elif record.kind == machines.KIND:
            self._rows[record.name] = machines.row_of(record)
