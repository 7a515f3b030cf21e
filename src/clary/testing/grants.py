"""What every store of grants must do: the conformance class of `ports.Grants`. A test inherits it and gives `grants` and `pair`."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Protocol

import pytest

from clary.domain.errors import Stale
from clary.domain.grants import Grant, GrantChange, Granted
from clary.domain.machine.capacity import Fit
from clary.domain.machine.grants import of_replica
from clary.domain.machine.instances import GIB
from clary.guarded import until_first
from clary.ports import Grants, Store
from clary.testing.stores import record

HERE, THERE = "this machine", "another machine"
OWNER = record("shop")


class GrantStore(Store, Grants, Protocol):
    """Both ports, as one object on one database has them."""


GrantPair = tuple[GrantStore, GrantStore]


def grant(key: str, memory: int = GIB, machine: str = HERE, since: float = 1.0) -> Grant:
    return of_replica(machine, OWNER, key, Fit(1.5, memory, 1, ("a note",), 2.0, 7), since)


def keys(granted: Granted) -> list[str]:
    return [each.key for each in granted.grants]


class GrantsConformance:
    """Inherit and define an async fixture `grant_pair`: two stores on one empty database, closed afterwards."""

    async def test_a_machine_that_nobody_wrote_has_given_nothing(self, grant_pair: GrantPair) -> None:
        assert await grant_pair[0].granted(HERE) == Granted(HERE, 0)

    async def test_what_was_taken_is_there_for_both(self, grant_pair: GrantPair) -> None:
        one, two = grant_pair
        await one.write(GrantChange(HERE, 0, (grant("b", since=2.0), grant("a"))))
        found = await two.granted(HERE)
        assert found.version > 0
        assert found.grants == (replace(grant("a"), version=1), replace(grant("b", since=2.0), version=1))
        assert await two.granted(THERE) == Granted(THERE, 0)

    async def test_of_two_that_decided_by_one_version_one_is_refused(self, grant_pair: GrantPair) -> None:
        one, two = grant_pair
        await one.write(GrantChange(HERE, 0, (grant("a"),)))
        with pytest.raises(Stale):
            await two.write(GrantChange(HERE, 0, (grant("b"),)))
        read = await two.granted(HERE)
        await two.write(GrantChange(HERE, read.version, (grant("b"),)))
        with pytest.raises(Stale):
            await one.write(GrantChange(HERE, read.version, (grant("c"),), ("a",)))
        assert keys(await one.granted(HERE)) == ["a", "b"]

    async def test_machines_do_not_hold_each_other_up(self, grant_pair: GrantPair) -> None:
        one, two = grant_pair
        await one.write(GrantChange(HERE, 0, (grant("a"),)))
        await two.write(GrantChange(THERE, 0, (grant("b", machine=THERE),)))
        assert keys(await one.granted(THERE)) == ["b"]

    async def test_a_grant_is_replaced_by_one_with_its_key(self, grant_pair: GrantPair) -> None:
        one, two = grant_pair
        await one.write(GrantChange(HERE, 0, (grant("a"),)))
        read = await two.granted(HERE)
        await two.write(GrantChange(HERE, read.version, (grant("a", 3 * GIB),)))
        [found] = (await one.granted(HERE)).grants
        assert (found.memory, found.version) == (3 * GIB, 2)

    async def test_who_gives_back_is_never_refused_and_who_decided_before_is(self, grant_pair: GrantPair) -> None:
        one, two = grant_pair
        await one.write(GrantChange(HERE, 0, (grant("a"), grant("b"))))
        read = await two.granted(HERE)
        await one.write(GrantChange(HERE, 0, release=("a", "none")))
        await one.write(GrantChange(HERE, 0, release=("a",)))
        with pytest.raises(Stale):
            await two.write(GrantChange(HERE, read.version, (grant("c"),)))
        assert keys(await two.granted(HERE)) == ["b"]

    async def test_a_record_and_what_it_takes_are_one_write(self, grant_pair: GrantPair) -> None:
        one, two = grant_pair
        first = await one.add(OWNER)
        [lease] = await one.claim("endpoint", "me", 1.0, 30.0, ("Creating",), 1)
        second = await one.save(first, lease, GrantChange(HERE, 0, (grant("a"),)))
        read = await two.granted(HERE)
        with pytest.raises(Stale):  # the record is another one
            await one.save(first, lease, GrantChange(HERE, read.version, (grant("b"),)))
        read = await two.granted(HERE)
        await two.write(GrantChange(HERE, read.version, (grant("c"),)))
        with pytest.raises(Stale):  # the machine is another one
            await one.save(replace(second, status="InService"), lease, GrantChange(HERE, read.version, (grant("b"),)))
        assert await two.by_arn(OWNER.arn) == second
        assert keys(await one.granted(HERE)) == ["a", "c"]
        await one.save(second, lease, GrantChange(HERE, 0, release=("a",)))
        assert keys(await two.granted(HERE)) == ["c"]

    async def test_the_same_memory_is_never_given_twice(self, grant_pair: GrantPair) -> None:
        """Forty want a GiB each of ten, twenty through each store at once."""

        async def want(store: GrantStore, key: str) -> bool:
            async def attempt() -> bool:
                read = await store.granted(HERE)
                if sum(each.memory for each in read.grants) >= 10 * GIB:
                    return False
                await store.write(GrantChange(HERE, read.version, (grant(key),)))
                return True

            while True:
                try:
                    return await until_first(attempt)
                except Stale:
                    continue  # forty at once: more than anybody tries by himself

        got = await asyncio.gather(*(want(grant_pair[n % 2], f"k{n}") for n in range(40)))
        assert sum(got) == 10
        assert len((await grant_pair[0].granted(HERE)).grants) == 10

    async def test_watchers_hear_what_this_store_wrote(self, grant_pair: GrantPair) -> None:
        one, _ = grant_pair
        heard: list[GrantChange] = []
        stop = one.watch_grants(heard.append)
        first = await one.add(OWNER)
        took = GrantChange(HERE, 0, (grant("a"),))
        await one.save(first, None, took)
        with pytest.raises(Stale):
            await one.write(took)
        gave = GrantChange(HERE, 0, release=("a",))
        await one.write(gave)
        stop()
        stop()
        await one.write(gave)
        assert heard == [took, gave]
