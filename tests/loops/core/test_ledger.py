"""The account of the machine: places of jobs and replicas, and who waits."""

from __future__ import annotations

from clary.domain.machine.capacity import WISH_SECONDS, Fit, Machine, Owner, Part, Waiting
from clary.domain.machine.instances import GIB
from clary.loops.core.ledger import Ledger

MACHINE = Machine(4, 16 * GIB, 8 * GIB)
SHOP = Owner("endpoint", "shop", "0")
ONE = Fit(1.0, GIB, 0)


def test_what_was_cut_is_in_the_account_until_nothing_is() -> None:
    ledger = Ledger()
    part = Part(SHOP, "v", 1, 4, 1.0)
    ledger.share((part,))
    assert ledger.book(MACHINE, "fit", 10.0).parts == (part,)
    ledger.share(())
    assert ledger.book(MACHINE, "fit", 10.0).parts == ()


def test_a_replica_keeps_its_place_once() -> None:
    ledger = Ledger()
    ledger.hold("r", ONE, 5.0, SHOP)
    ledger.hold("r", Fit(2.0, GIB, 0), 6.0, SHOP)
    [claim] = ledger.book(MACHINE, "fit", 10.0).replicas
    assert (claim.fits, claim.since, claim.owner) == ((ONE,), 5.0, SHOP)


def test_a_replica_of_another_size_is_as_old_and_as_heavy_as_before() -> None:
    ledger = Ledger()
    ledger.resize("r", ONE, 5.0, SHOP)
    ledger.weigh("r", 7)
    ledger.resize("r", Fit(2.0, GIB, 0), 6.0, SHOP)
    [claim] = ledger.book(MACHINE, "fit", 10.0).replicas
    assert (claim.fits[0].cpu, claim.since, claim.used) == (2.0, 5.0, 7)


def test_a_wish_is_kept_while_it_is_asked_for_and_is_as_old_as_at_first() -> None:
    ledger = Ledger()
    ledger.wish(Waiting("r", SHOP, 1.0, "no room"), 1.0)
    ledger.wish(Waiting("r", SHOP, 50.0, "still no room"), 50.0)
    [waiting] = ledger.book(MACHINE, "fit", 50.0 + WISH_SECONDS).waiting
    assert (waiting.since, waiting.why) == (1.0, "still no room")
    assert not ledger.book(MACHINE, "fit", 51.0 + WISH_SECONDS).waiting
    ledger.wish(Waiting("r", SHOP, 1.0, "no room", hold=600.0), 100.0)
    assert ledger.book(MACHINE, "fit", 690.0).waiting


def test_a_wish_is_over_with_its_place_or_its_owner() -> None:
    ledger = Ledger()
    for key in ("a-1", "a-2", "b-1"):
        ledger.wish(Waiting(key, SHOP, 1.0, "no room"), 1.0)
    ledger.hold("b-1", ONE, 2.0, SHOP)
    ledger.withdraw("a")
    ledger.withdraw("a-1")
    assert [w.key for w in ledger.book(MACHINE, "fit", 2.0).waiting] == ["a-2"]
