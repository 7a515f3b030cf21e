"""What every record store must do: the conformance class of `ports.Store`. A test inherits it and gives `store`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from clary.domain.conditions import All, Any_, Column, Condition, Member, Ordered, Term, Text
from clary.domain.errors import AlreadyExists, Stale
from clary.domain.resources import Query, Record, Scope
from clary.ports import Store

Pair = tuple[Store, Store]

HERE = Scope("000000000000", "eu-west-1")
THERE = Scope("111111111111", "eu-west-1")


def record(name: str, at: float = 1.0, status: str = "Creating", scope: Scope = HERE, **document: Any) -> Record:
    arn = f"arn:aws:sagemaker:{scope.region}:{scope.account}:endpoint/{name.lower()}"
    return Record("endpoint", scope, name, arn, status, at, at, document)


def names(records: list[Record]) -> list[str]:
    return [r.name for r in records]


class StoreConformance:
    """Inherit and define an async fixture `store` that is empty and closed afterwards."""

    async def passed(self, store: Store, seconds: float) -> None:
        """Let so much time pass for leases. Nothing to do where a claim's `now` is the time."""

    async def test_an_added_record_is_found_by_name_and_arn(self, store: Store) -> None:
        document: dict[str, Any] = {"request": {"Deep": [1, 2.5, None, True, "ü", {"k": ""}]}, "tags": []}
        added = await store.add(record("My-Name", 1234.567891, **document))
        assert added.version == 1
        assert added.document == document
        assert await store.get("endpoint", HERE, "My-Name") == added
        assert await store.by_arn(added.arn) == added

    async def test_what_is_not_there_is_none(self, store: Store) -> None:
        await store.add(record("a"))
        assert await store.get("endpoint", HERE, "b") is None
        assert await store.get("endpoint", HERE, "A") is None
        assert await store.get("endpoint", THERE, "a") is None
        assert await store.get("model", HERE, "a") is None
        assert await store.by_arn("arn:none") is None

    async def test_a_name_is_taken_once_per_kind_and_scope(self, store: Store) -> None:
        await store.add(record("a"))
        with pytest.raises(AlreadyExists):
            await store.add(record("a"))
        await store.add(record("a", scope=THERE))
        await store.add(replace(record("a"), kind="model", arn="arn:model/a"))

    async def test_names_that_differ_by_case_share_an_arn_and_clash(self, store: Store) -> None:
        await store.add(record("a"))
        with pytest.raises(AlreadyExists):
            await store.add(record("A"))

    async def test_of_a_hundred_at_once_one_wins(self, store: Store) -> None:
        outcomes = await asyncio.gather(*(store.add(record("a")) for _ in range(100)), return_exceptions=True)
        assert sum(isinstance(o, Record) for o in outcomes) == 1
        assert sum(isinstance(o, AlreadyExists) for o in outcomes) == 99

    async def test_a_record_is_found_by_the_call_that_made_it(self, store: Store) -> None:
        added = await store.add(record("a"), "call-1")
        await store.add(record("b"))
        assert await store.made("call-1") == added
        assert await store.made("call-2") is None
        assert await store.made("") is None
        with pytest.raises(AlreadyExists):
            await store.add(record("a"), "call-2")
        assert await store.made("call-2") is None
        saved = await store.save(replace(added, status="InService"))
        assert await store.made("call-1") == saved  # for as long as it is there
        await store.remove(saved)
        assert await store.made("call-1") is None

    async def test_a_value_is_had_alone_in_a_kind_and_scope(self, store: Store) -> None:
        outcomes = await asyncio.gather(
            *(store.add(record(f"n{n}"), alone="team") for n in range(20)), return_exceptions=True
        )
        [added] = [each for each in outcomes if isinstance(each, Record)]
        assert sum(isinstance(each, AlreadyExists) for each in outcomes) == 19
        await store.add(record("there", scope=THERE), alone="team")
        await store.add(replace(record("model"), kind="model"), alone="team")
        await store.add(record("other"), alone="other")
        for name in ("without", "another without"):
            await store.add(record(name))
        await store.remove(await store.save(added))
        await store.add(record("successor"), alone="team")

    async def test_a_save_needs_the_version_that_was_read(self, store: Store) -> None:
        first = await store.add(record("a", n=0))
        second = await store.save(replace(first, status="InService", modified=2.0, document={"n": 1}))
        assert (second.version, second.status, second.modified) == (2, "InService", 2.0)
        assert await store.get("endpoint", HERE, "a") == second
        with pytest.raises(Stale):
            await store.save(replace(first, document={"n": 2}))
        with pytest.raises(Stale):
            await store.save(replace(record("never"), version=1))

    async def test_of_many_saves_of_one_version_one_wins(self, store: Store) -> None:
        first = await store.add(record("a"))
        outcomes = await asyncio.gather(
            *(store.save(replace(first, document={"n": n})) for n in range(20)), return_exceptions=True
        )
        assert sum(isinstance(o, Record) for o in outcomes) == 1

    async def test_removal(self, store: Store) -> None:
        first = await store.add(record("a"))
        second = await store.save(first)
        with pytest.raises(Stale):
            await store.remove(first)
        await store.remove(second)
        assert await store.get("endpoint", HERE, "a") is None
        with pytest.raises(Stale):
            await store.remove(second)
        await store.add(record("a"))

    async def test_what_the_caller_holds_is_not_what_is_stored(self, store: Store) -> None:
        inner = {"n": 1}
        await store.add(record("a", inner=inner))
        inner["n"] = 2
        found = await store.get("endpoint", HERE, "a")
        assert found is not None
        assert found.document["inner"] == {"n": 1}

    async def test_watchers_hear_every_change_until_they_stop(self, store: Store) -> None:
        heard: list[tuple[str, int]] = []
        stop = store.watch(lambda r: heard.append((r.name, r.version)))
        first = await store.add(record("a"))
        second = await store.save(first)
        with pytest.raises(Stale):
            await store.save(first)
        await store.remove(second)
        stop()
        stop()
        await store.add(record("b"))
        assert heard == [("a", 1), ("a", 2), ("a", 3)]

    # -- lists -------------------------------------------------------------------------------------------------------------------

    async def _fill(self, store: Store) -> None:
        for n in range(12):
            status = ("Creating", "InService", "Failed")[n % 3]
            await store.add(replace(record(f"n{n:02}", 100.0 + n // 2, status, n=n), modified=200.0 - n))
        await store.add(record("other", scope=THERE))
        await store.add(replace(record("other"), kind="model", arn="arn:model/other"))

    async def test_orders_are_total_and_ties_go_by_name(self, store: Store) -> None:
        await self._fill(store)
        for sort, descending in [(s, d) for s in ("created", "modified", "name", "status") for d in (True, False)]:
            query = Query("endpoint", HERE, sort_by=sort, descending=descending, limit=100)
            found = await store.page(query)
            keys = [(getattr(r, sort), r.name) for r in found]
            assert len(keys) == 12
            assert keys == sorted(keys, reverse=descending)

    async def test_pages_join_in_every_order(self, store: Store) -> None:
        await self._fill(store)
        for sort, descending in [(s, d) for s in ("created", "modified", "name", "status") for d in (True, False)]:
            query = Query("endpoint", HERE, sort_by=sort, descending=descending, limit=5)
            found: list[Record] = []
            while page := await store.page(query):
                found += page
                query = replace(query, after=(getattr(page[-1], sort), page[-1].name))
            assert names(found) == names(await store.page(replace(query, after=None, limit=100)))

    async def test_filters(self, store: Store) -> None:
        await self._fill(store)
        everything = Query("endpoint", HERE, sort_by="name", descending=False, limit=100)

        async def found(**filters: Any) -> list[str]:
            page = names(await store.page(replace(everything, **filters)))
            assert await store.count(replace(everything, **filters)) == len(page)
            return page

        assert await found(name_contains="N0") == [f"n{n:02}" for n in range(10)]
        assert await found(name_contains="%") == []
        assert await found(name_contains="n_0") == []
        assert await found(name_contains="\\") == []
        assert await found(name_contains="1", statuses=("InService",)) == ["n01", "n10"]
        assert await found(statuses=("Creating", "Failed"), created_before=101.0) == ["n00"]
        assert await found(created_after=104.0) == ["n10", "n11"]
        assert await found(created_after=102.0, created_before=104.0) == ["n06", "n07"]
        assert await found(modified_after=198.0) == ["n00", "n01"]
        assert await found(modified_before=190.5, modified_after=189.5) == ["n10"]
        assert await found(where={"none": "x"}) == []

    async def test_filters_on_the_document(self, store: Store) -> None:
        for n in range(6):
            await store.add(record(f"n{n}", group="odd" if n % 2 else "even"))
        query = Query("endpoint", HERE, where={"group": "odd"}, sort_by="name", descending=False, limit=2)
        assert names(await store.page(query)) == ["n1", "n3"]
        assert await store.count(query) == 3

    # -- leases ------------------------------------------------------------------------------------------------------------------

    async def test_scopes(self, store: Store) -> None:
        for scope in (THERE, HERE):
            await store.add(record("a", scope=scope))
            await store.add(record("b", scope=scope))
        assert await store.scopes("endpoint") == [HERE, THERE]
        assert await store.scopes("model") == []

    async def test_conditions(self, store: Store) -> None:
        tags = [{"Key": "team", "Value": "red_1"}, {"Key": "empty", "Value": ""}]
        first = await store.add(
            record("alpha", 1.0, "Creating", tags=tags, request={"P": {"eta": "0.1", "n": 5, "on": True, 'q"': "x"}})
        )
        await store.add(record("beta", 2.0, "Failed", terms={"Parents": ["one", "two"]}, request={"P": {"eta": "0.2"}}))
        await store.add(record("gamma", 3.0, "Creating", request={"P": [{"eta": "0.1"}], "name": "50%_É"}))

        async def found(condition: Condition, **more: Any) -> str:
            query = Query("endpoint", HERE, sort_by="name", descending=False, condition=condition, **more)
            page = await store.page(query)
            assert await store.count(replace(query, after=None)) == len(page)
            return " ".join(names(page))

        assert await found(Term("Tags.team", "red_1")) == "alpha"
        assert await found(Term("Tags.empty", "")) == "alpha"
        assert await found(Term("Tags.team", "red")) == ""
        assert await found(Term("Parents", "two")) == "beta"
        assert await found(Column("status", "=", "Creating")) == "alpha gamma"
        assert await found(Column("status", "<>", "Creating")) == "beta"
        assert await found(Column("created", ">=", 2.0)) == "beta gamma"
        assert await found(Column("created", "<", 2.0)) == "alpha"
        assert await found(Column("name", "contains", "AM")) == "gamma"
        assert await found(Member(("request", "P", "eta"), "0.1")) == "alpha"
        assert await found(Member(("request", "P", "n"), "5.0")) == "alpha"
        assert await found(Member(("request", "P", "on"), "true")) == "alpha"
        assert await found(Member(("request", "P", "on"), "no")) == ""
        assert await found(Ordered(("request", "P", "eta"), ">=", 0.15)) == "beta"
        assert await found(Ordered(("request", "P", "eta"), "<", 0.15)) == "alpha"
        assert await found(Ordered(("request", "P", "n"), ">", 4.5)) == "alpha"
        assert await found(Text('"0.1"')) == "alpha gamma"
        assert await found(Text("0%_")) == "gamma"
        assert await found(All((Column("status", "=", "Creating"), Text("0.1"), Column("name", ">", "b")))) == "gamma"
        either = Any_((Term("Parents", "one"), Column("arn", "=", first.arn)))
        assert await found(either) == "alpha beta"
        assert await found(either, name_contains="alph") == "alpha"
        assert await found(All(())) == "alpha beta gamma"
        assert await found(Any_(())) == ""

    async def test_terms_follow_their_record(self, store: Store) -> None:
        async def found(value: str) -> list[str]:
            return names(await store.page(Query("endpoint", HERE, condition=Term("Tags.k", value))))

        first = await store.add(record("a", tags=[{"Key": "k", "Value": "1"}]))
        other = await store.add(record("b", tags=[{"Key": "k", "Value": "1"}]))
        second = await store.save(replace(first, document={"tags": [{"Key": "k", "Value": "2"}]}))
        assert (await found("1"), await found("2")) == (["b"], ["a"])
        with pytest.raises(Stale):
            await store.remove(first)
        assert await found("2") == ["a"]
        await store.remove(second)
        await store.remove(other)
        assert (await found("1"), await found("2")) == ([], [])
        long = "x" * 600
        await store.add(record("c", tags=[{"Key": "k", "Value": long}]))
        assert await found(long) == ["c"]

    async def test_a_claim_takes_what_no_other_holds(self, store: Store) -> None:
        await self._fill(store)
        mine = await store.claim("endpoint", "me", 1000.0, 30.0, ("Creating", "InService"), 3)
        assert len(mine) == 3
        assert all((lease.owner, lease.until) == ("me", 1030.0) for lease in mine)
        theirs = await store.claim("endpoint", "other", 1001.0, 30.0, ("Creating", "InService"), 100)
        assert len(theirs) == 6  # 8 here and 1 there, without my 3
        assert not {lease.record.arn for lease in mine} & {lease.record.arn for lease in theirs}
        assert await store.claim("endpoint", "third", 1002.0, 30.0, ("Creating", "InService"), 100) == []

    async def test_an_owner_renews_and_others_wait_for_the_end(self, store: Store) -> None:
        first = await store.add(record("a"))
        await store.claim("endpoint", "me", 1000.0, 30.0, ("Creating",), 10)
        renewed = await store.claim("endpoint", "me", 1020.0, 30.0, ("Creating",), 10)
        assert renewed[0].until == 1050.0
        assert renewed[0].record == first  # claiming is not a change
        assert await store.claim("endpoint", "other", 1049.0, 30.0, ("Creating",), 10) == []
        await self.passed(store, 31.0)
        assert len(await store.claim("endpoint", "other", 1051.0, 30.0, ("Creating",), 10)) == 1

    async def test_claims_can_name_their_records(self, store: Store) -> None:
        await self._fill(store)
        wanted = record("n03").arn
        leases = await store.claim("endpoint", "me", 1.0, 30.0, ("Creating",), 10, [wanted, "arn:none"])
        assert [lease.record.arn for lease in leases] == [wanted]

    async def test_a_save_with_a_lost_lease_is_refused(self, store: Store) -> None:
        await store.add(record("a"))
        (mine,) = await store.claim("endpoint", "me", 1000.0, 30.0, ("Creating",), 10)
        saved = await store.save(replace(mine.record, document={"n": 1}), mine)
        await self.passed(store, 31.0)
        await store.claim("endpoint", "other", 1031.0, 30.0, ("Creating",), 10)
        with pytest.raises(Stale):
            await store.save(saved, mine)
        with pytest.raises(Stale):
            await store.remove(saved, mine)
        await store.save(saved)  # a handler has no lease: the version alone guards

    async def test_released_is_free_at_once(self, store: Store) -> None:
        await store.add(record("a"))
        (mine,) = await store.claim("endpoint", "me", 1000.0, 30.0, ("Creating",), 10)
        await store.release(replace(mine, owner="other"))
        assert await store.claim("endpoint", "other", 1001.0, 30.0, ("Creating",), 10) == []
        await store.release(mine)
        assert len(await store.claim("endpoint", "other", 1001.0, 30.0, ("Creating",), 10)) == 1

    async def test_two_owners_never_hold_one_record(self, store: Store) -> None:
        for n in range(30):
            await store.add(record(f"n{n}"))
        claims = await asyncio.gather(
            *(store.claim("endpoint", f"owner{n % 3}", 1000.0, 30.0, ("Creating",), 7) for n in range(9))
        )
        holders: dict[str, str] = {}
        for lease in (lease for claim in claims for lease in claim):
            assert holders.setdefault(lease.record.arn, lease.owner) == lease.owner


class TwoStoresConformance:
    """Two control planes on one database. Inherit and define an async fixture `pair` of empty stores that are closed afterwards."""

    async def test_each_hears_what_the_other_writes(self, pair: Pair) -> None:
        one, two = pair
        heard: list[tuple[str, int, str]] = []
        own: list[tuple[str, int, str]] = []
        two.watch(lambda r: heard.append((r.name, r.version, r.status)))
        one.watch(lambda r: own.append((r.name, r.version, r.status)))
        first = await one.add(record("a"))
        await until(lambda: heard == [("a", 1, "Creating")])
        second = await one.save(replace(first, status="InService"))
        await until(lambda: heard[1:] == [("a", 2, "InService")])
        await one.remove(second)
        await until(lambda: heard[2:] == [("a", 3, "InService")])
        await two.add(record("b"))
        await until(lambda: ("b", 1, "Creating") in own)
        assert own == [("a", 1, "Creating"), ("a", 2, "InService"), ("a", 3, "InService"), ("b", 1, "Creating")]
        assert heard[3:] == [("b", 1, "Creating")]  # what it wrote itself: once

    async def test_a_record_that_was_removed_is_heard_as_it_was_last(self, pair: Pair) -> None:
        one, two = pair
        heard: list[Record] = []
        added = await one.add(record("a", target="shop"))
        two.watch(heard.append)
        await one.remove(added)
        await until(lambda: heard[-1:] == [replace(added, version=2)])

    async def test_a_name_that_was_removed_and_taken_again_is_heard_as_it_is(self, pair: Pair) -> None:
        one, two = pair
        heard: list[Record] = []
        two.watch(heard.append)
        await one.remove(await one.add(record("a", n=1)))
        last = await one.add(record("a", n=2))
        await until(lambda: last in heard)

    async def test_of_many_writes_the_last_one_of_each_record_is_heard(self, pair: Pair) -> None:
        one, two = pair
        heard: dict[str, int] = {}
        two.watch(lambda r: heard.update({r.name: r.version}))

        async def write(n: int) -> None:
            current = await one.add(record(f"n{n}"))
            for _ in range(4):
                current = await one.save(current)

        await asyncio.gather(*(write(n) for n in range(60)))
        await until(lambda: heard == {f"n{n}": 5 for n in range(60)})

    async def test_of_two_that_write_at_once_one_wins(self, pair: Pair) -> None:
        first = await pair[0].add(record("a"))
        outcomes = await asyncio.gather(
            *(store.save(replace(first, document={"by": n})) for n, store in enumerate(pair * 5)),
            return_exceptions=True,
        )
        assert sum(not isinstance(outcome, BaseException) for outcome in outcomes) == 1
        assert all(isinstance(outcome, Stale) for outcome in outcomes if isinstance(outcome, BaseException))

    async def test_a_lease_is_never_held_by_both(self, pair: Pair) -> None:
        for n in range(20):
            await pair[0].add(record(f"n{n}"))
        claims = await asyncio.gather(
            *(
                store.claim("endpoint", owner, 1.0, 30.0, ("Creating",), 5)
                for owner, store in zip("12" * 4, pair * 4, strict=True)
            )
        )
        holders: dict[str, str] = {}
        for lease in (lease for claim in claims for lease in claim):
            assert holders.setdefault(lease.record.arn, lease.owner) == lease.owner
        assert len(holders) == 20

    async def test_a_store_that_is_closed_hears_nothing_and_disturbs_nobody(self, pair: Pair) -> None:
        one, two = pair
        heard: list[str] = []
        two.watch(lambda r: heard.append(r.name))
        await two.close()
        await one.add(record("a"))
        assert heard == []


async def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    """Return once it is true; an assertion after so many seconds."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not true():
        assert loop.time() < end, "it did not come true"
        await asyncio.sleep(0.01)
