"""The rows of the book of machines, as control planes write and hear them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from clary.domain.machine import machines
from clary.domain.machine.capacity import DRAINING, READY, Machine
from clary.domain.machine.instances import GIB
from clary.loops.core.machines import Machines
from clary.testing.clock import FakeClock
from clary.testing.store import MemoryStore


class Site:
    """A machine with a control plane on a store that others use too."""

    def __init__(self, store: MemoryStore, name: str, clock: FakeClock) -> None:
        self.measured = Machine(4, 16 * GIB, 8 * GIB, name=name, zone=f"zone of {name}")
        self.machines = Machines(store, clock, lambda: self.measured)


async def test_each_machine_has_a_row_that_all_control_planes_know() -> None:
    store, clock = MemoryStore(), FakeClock()
    one, two = Site(store, "one", clock), Site(store.beside(), "two", clock)
    await asyncio.gather(one.machines.enter(), two.machines.enter())
    await one.machines.enter()
    assert [(row.machine.name, row.machine.zone) for row in one.machines.rows()] == [
        ("one", "zone of one"),
        ("two", "zone of two"),
    ]
    assert one.machines.here() == one.measured


async def test_two_control_planes_of_one_machine_write_one_row() -> None:
    store, clock = MemoryStore(), FakeClock()
    both = [Site(store, "one", clock), Site(store.beside(), "one", clock)]
    await asyncio.gather(*(site.machines.enter() for site in both))
    [row] = both[0].machines.rows()
    record = await store.get(machines.KIND, machines.SCOPE, "one")
    assert record is not None
    assert record.version == 1
    assert row == machines.row_of(record)


async def test_what_changes_of_a_machine_is_written_and_its_state_is_the_books() -> None:
    store, clock = MemoryStore(), FakeClock()
    site = Site(store, "one", clock)
    await site.machines.enter()
    assert site.machines.here().state == READY
    record = await store.get(machines.KIND, machines.SCOPE, "one")
    assert record is not None
    await store.save(replace(record, status=DRAINING))
    assert site.machines.here().state == DRAINING  # heard, not read
    site.measured = replace(site.measured, cpus=8, available=1)
    await site.machines.enter()
    [row] = site.machines.rows()
    assert (row.machine.cpus, row.machine.available, row.machine.state) == (8, 0, DRAINING)
    assert (site.machines.here().available, site.machines.here().state) == (1, DRAINING)
    site.machines.close()
    await store.save(replace(await _stored(store), status=READY))
    assert site.machines.here().state == DRAINING  # it hears nothing any more


async def _stored(store: MemoryStore) -> machines.Record:
    record = await store.get(machines.KIND, machines.SCOPE, "one")
    assert record is not None
    return record
