"""The account of the machine as one account of users sees it."""

from __future__ import annotations

from dataclasses import replace

from clary.domain.machine.capacity import Book, Claim, Fit, Machine, Owner, Part, Waiting
from clary.domain.machine.capacity_view import summary, view
from clary.domain.machine.instances import GIB

ME = "000000000000"
SHOP, JOB = Owner("endpoint", "shop", ME), Owner("training job", "nightly", ME)
THEIRS = Owner("endpoint", "secret", "111111111111")
MACHINE = Machine(4, 16 * GIB, 6 * GIB, gpus=1)


def claim(key: str, owner: Owner, cpu: float = 1.0, since: float = 50.0, used: int = 0) -> Claim:
    return Claim(key, (Fit(cpu, 2 * GIB, 0),), since, used, owner)


def book(policy: str = "strict") -> Book:
    replicas = (claim("a", SHOP, since=60.0, used=5), claim("b", SHOP, used=6), claim("c", THEIRS, 0.5))
    waiting = (
        Waiting("w", THEIRS, 80.0, "held by endpoint secret"),
        Waiting("j", JOB, 90.0, "no room", (Fit(1.0, GIB, 0),)),
    )
    return Book(MACHINE, policy, 100.0, (claim("d", JOB),), replicas, waiting)


def test_each_owner_is_one_row_and_endpoints_come_first() -> None:
    rows = view(book(), ME)["holders"]
    assert [(row["kind"], row["name"], row["places"]) for row in rows] == [
        ("endpoint", "shop", 2),
        ("endpoint", "(another account)", 1),
        ("training job", "nightly", 1),
    ]
    shop = {
        "kind": "endpoint",
        "name": "shop",
        "places": 2,
        "cpu": 2.0,
        "memory": 4 * GIB,
        "gpus": 0,
        "used": 11,
        "since": 50.0,
    }
    assert rows[0] == shop


def test_what_is_free_is_what_the_policy_counts() -> None:
    assert view(book(), ME)["free"] == {"cpu": 0.5, "memory": 8 * GIB, "gpus": 1}
    assert view(book("fit"), ME)["free"] == {"memory": 6 * GIB, "jobs": 3}


def test_who_waits_and_why_but_nothing_of_other_accounts() -> None:
    shown = view(book(), ME)
    assert [(row["name"], row["since"], row["why"], row["cpu"]) for row in shown["waiting"]] == [
        ("(another account)", 80.0, "", 0),
        ("nightly", 90.0, "no room", 1.0),
    ]
    assert "secret" not in str(shown)
    assert "shop" not in str(view(book(), "111111111111"))


def test_one_line() -> None:
    assert summary(view(book(), ME)) == (
        "4 vCPU, 16 GiB, 0.5 vCPU and 8 GiB free; sizes are reserved; 3 running, 2 waiting"
    )
    quiet = Book(MACHINE, "fit", 1.0, (claim("d", JOB, since=-50.0),))
    assert summary(view(quiet, ME)) == "4 vCPU, 16 GiB, 6 GiB free; CPU is shared; 1 running"


def test_whose_cpus_are_wanted_by_all_is_shown_to_its_own_account() -> None:
    cut = replace(book("fit"), parts=(Part(THEIRS, "v", 1, 3, 1.0), Part(SHOP, "v", 2, 7, 0.5)))
    shown = view(cut, ME)
    assert shown["cut"] == [{"kind": "endpoint", "name": "shop", "variant": "v", "workers": 2, "wanted": 7}]
    assert "CPU is shared, all CPUs are wanted; " in summary(shown)
    assert view(book("fit"), ME)["cut"] == []
    assert "wanted" not in summary(view(book("fit"), ME))
