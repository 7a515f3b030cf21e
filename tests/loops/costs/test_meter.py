"""The meter over stored grants: what is held, resized, released, found by another control plane, or killed in between."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clary.domain.costs import kept
from clary.domain.costs.use import total
from clary.domain.grants import Grant, GrantChange
from clary.domain.machine.instances import GIB
from clary.domain.resources import Query
from clary.loops.core.ledger import Ledger
from clary.loops.costs.meter import Meter
from clary.testing.clock import FakeClock
from clary.testing.grants import HERE, OWNER, grant
from clary.testing.store import MemoryStore


class House:
    def __init__(self) -> None:
        self.store, self.clock = MemoryStore(), FakeClock(100.0)
        self.meter = self.another()

    def another(self) -> Meter:
        ledger = Ledger(self.store, HERE)
        meter = Meter(self.store, ledger, self.clock)
        ledger.watch(meter.hear)
        return meter

    async def take(self, given: Grant) -> None:
        version = (await self.store.granted(HERE)).version
        await self.store.write(GrantChange(HERE, version, (given,)))

    async def used(self) -> tuple[float, float]:
        """vCPU-seconds and GB-seconds of all that is kept."""
        found = await self.store.page(Query(kept.KIND, OWNER.scope))
        whole = total(row.use for record in found for row in kept.rows(record))
        return whole.vcpu_seconds, whole.gb_seconds


async def test_a_replica_counts_from_its_beginning_with_each_size_for_its_time() -> None:
    house = House()
    await house.take(grant("r", since=90.0))
    house.clock.advance(10)
    await house.meter.count()
    assert await house.used() == (30.0, 20.0)  # 1.5 vCPU and 1 GiB for 20 seconds
    house.clock.advance(10)
    await house.take(grant("r", memory=3 * GIB, since=90.0))  # a resized one keeps its beginning
    house.clock.advance(10)
    await house.store.write(GrantChange(release=("r",)))
    house.clock.advance(1000)
    await house.meter.count()
    assert await house.used() == (60.0, 60.0)


async def test_two_meters_of_a_machine_count_once_and_a_successor_goes_on() -> None:
    house = House()
    await house.take(grant("r", since=100.0))
    other = house.another()
    house.clock.advance(10)
    await house.meter.count()
    await other.count()
    assert await house.used() == (15.0, 10.0)
    house.clock.advance(30)  # nobody looked meanwhile: both were killed
    await house.another().count()
    assert await house.used() == (60.0, 40.0)


async def test_what_another_machine_gave_is_not_counted_here() -> None:
    house = House()
    await house.store.write(GrantChange("elsewhere", 0, (grant("r", machine="elsewhere", since=1.0),)))
    await house.meter.count()
    assert await house.used() == (0.0, 0.0)


async def test_the_tags_are_those_of_the_endpoint_and_stay_when_it_is_gone() -> None:
    house = House()
    tagged = await house.store.add(replace(OWNER, document={"tags": [{"Key": "a", "Value": "b"}]}, version=0))
    await house.take(grant("r", since=100.0))
    house.clock.advance(1)
    await house.meter.count()
    await house.store.remove(tagged)
    house.clock.advance(1)
    await house.meter.count()
    [record] = await house.store.page(Query(kept.KIND, OWNER.scope))
    assert record.document["tags"] == {"a": "b"}
    assert record.document["until"] == pytest.approx(102.0)
