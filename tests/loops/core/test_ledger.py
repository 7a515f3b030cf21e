"""The account of the machine: places of jobs and replicas, and who waits."""

from __future__ import annotations

import pytest

from clary.domain.errors import Stale
from clary.domain.machine.capacity import WISH_SECONDS, Fit, Machine, Part, Waiting, owner_of
from clary.domain.machine.grants import of_replica
from clary.domain.machine.instances import GIB
from clary.domain.resources import Record, Scope
from clary.loops.core.ledger import Ledger
from clary.testing.store import MemoryStore

MACHINE = Machine(4, 16 * GIB, 8 * GIB)
SHOP_RECORD = Record("endpoint", Scope("0", "here"), "shop", "arn:shop", "InService", 0.0, 0.0, {})
SHOP = owner_of(SHOP_RECORD)
ONE = Fit(1.0, GIB, 0)


def test_what_was_cut_is_in_the_account_until_nothing_is() -> None:
    ledger = Ledger(MemoryStore())
    part = Part(SHOP, "v", 1, 4, 1.0)
    ledger.share((part,))
    assert ledger.book(MACHINE, "fit", 10.0).parts == (part,)
    ledger.share(())
    assert ledger.book(MACHINE, "fit", 10.0).parts == ()


async def test_what_one_control_plane_took_the_other_sees_when_it_looks() -> None:
    store = MemoryStore()
    mine, theirs = Ledger(store, "here"), Ledger(store.beside(), "here")
    await mine.change([of_replica("here", SHOP_RECORD, "r", ONE, 5.0)])
    [claim] = mine.book(MACHINE, "fit", 10.0).replicas
    assert (claim.key, claim.fits, claim.since, claim.owner) == ("r", (ONE,), 5.0, SHOP)
    assert theirs.book(MACHINE, "fit", 10.0).replicas == ()
    await theirs.look()
    assert theirs.book(MACHINE, "fit", 10.0).replicas == (claim,)
    with pytest.raises(Stale):  # decided without a look
        await mine.change([of_replica("here", SHOP_RECORD, "s", ONE, 6.0)])
    await mine.change(release=["r"])
    assert mine.held() == ()


async def test_a_ledger_is_that_of_one_machine() -> None:
    store = MemoryStore()
    here, there = Ledger(store, "here"), Ledger(store, "there")
    await here.change([of_replica("here", SHOP_RECORD, "r", ONE, 5.0)])
    assert there.held() == ()
    await there.look()
    assert there.held() == ()


async def test_what_runs_without_a_grant_is_given_one_and_no_second() -> None:
    store = MemoryStore()
    ledger = Ledger(store, "here")
    owed = [of_replica("here", SHOP_RECORD, key, ONE, 5.0) for key in ("r", "s")]
    await ledger.change(owed[:1])
    await ledger.adopt(owed)
    assert [(g.key, g.version) for g in (await store.granted("here")).grants] == [("r", 1), ("s", 1)]
    await ledger.adopt(owed)
    assert [(g.key, g.version) for g in (await store.granted("here")).grants] == [("r", 1), ("s", 1)]


async def test_a_replica_of_another_size_is_as_heavy_as_before() -> None:
    ledger = Ledger(MemoryStore())
    await ledger.change([of_replica("", SHOP_RECORD, "r", ONE, 5.0)])
    ledger.weigh("r", 7)
    await ledger.look()
    await ledger.change([of_replica("", SHOP_RECORD, "r", Fit(2.0, GIB, 0), 5.0)])
    [claim] = ledger.book(MACHINE, "fit", 10.0).replicas
    assert (claim.fits[0].cpu, claim.since, claim.used) == (2.0, 5.0, 7)


def test_a_wish_is_kept_while_it_is_asked_for_and_is_as_old_as_at_first() -> None:
    ledger = Ledger(MemoryStore())
    ledger.wish(Waiting("r", SHOP, 1.0, "no room"), 1.0)
    ledger.wish(Waiting("r", SHOP, 50.0, "still no room"), 50.0)
    [waiting] = ledger.book(MACHINE, "fit", 50.0 + WISH_SECONDS).waiting
    assert (waiting.since, waiting.why) == (1.0, "still no room")
    assert not ledger.book(MACHINE, "fit", 51.0 + WISH_SECONDS).waiting
    ledger.wish(Waiting("r", SHOP, 1.0, "no room", hold=600.0), 100.0)
    assert ledger.book(MACHINE, "fit", 690.0).waiting


async def test_a_wish_is_over_with_its_place_or_its_owner() -> None:
    ledger = Ledger(MemoryStore())
    for key in ("a-1", "a-2", "b-1"):
        ledger.wish(Waiting(key, SHOP, 1.0, "no room"), 1.0)
    await ledger.change([of_replica("", SHOP_RECORD, "b-1", ONE, 2.0)])
    ledger.withdraw("a")
    ledger.withdraw("a-1")
    assert [w.key for w in ledger.book(MACHINE, "fit", 2.0).waiting] == ["a-2"]


def waiting(name: str, created: float, kind: str = "training-job", **changes: object) -> Record:
    document = {"phase": "starting", "transitions": [{"StatusMessage": "Waiting for capacity"}], **changes}
    return Record(kind, Scope("0", "here"), name, f"arn:{name}", "InProgress", created, created, document)


def test_jobs_that_wait_stand_in_the_order_of_their_creation_whatever_their_kind() -> None:
    ledger = Ledger(MemoryStore())
    assert ledger.first() == ("", "")
    line = [waiting("c", 3.0), waiting("a", 1.0, "processing-job"), waiting("b", 2.0)]
    for record in [*line, *line]:  # saved again: it stands there once
        ledger.note(record)
    assert ledger.first() == ("processing-job", "arn:a")
    assert [ledger.ahead(record) for record in line] == [2, 0, 1]
    assert [each.key for each in ledger.book(MACHINE, "fit", 10.0).waiting] == ["arn:a", "arn:b", "arn:c"]
    ledger.note(waiting("a", 1.0, "processing-job", phase="downloading"))
    assert ledger.first() == ("training-job", "arn:b")
    told = waiting("b", 2.0, transitions=[{"StatusMessage": "Waiting for capacity: 1 MiB"}])
    ledger.note(told)
    assert next(each.why for each in ledger.book(MACHINE, "fit", 10.0).waiting) == "Waiting for capacity: 1 MiB"
