"""Whether there is room, what is missing and who has it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clary.domain.machine.capacity import REPLICA_FLOOR, YOUNG, Book, Claim, Fit, Machine, Owner
from clary.domain.machine.instances import GIB, Size, find
from clary.domain.machine.rooms import Holder, holders, room

ME = "000000000000"
SHOP = Owner("endpoint", "shop", ME)
JOB = Owner("training job", "nightly", ME)
MACHINE = Machine(cpus=4, memory=32 * GIB, available=20 * GIB, gpus=1)
SMALL = Size("ml.m5.large", 2, 8 * GIB)


def claim(key: str, owner: Owner, cpu: float = 1.0, gib: float = 4.0, since: float = 0.0, used: int = 0) -> Claim:
    return Claim(key, (Fit(cpu, int(gib * GIB), 0),), since, used, owner)


def strict(*replicas: Claim, jobs: tuple[Claim, ...] = (), machine: Machine = MACHINE) -> Book:
    return Book(machine, "strict", 100.0, jobs, replicas)


def shared(*replicas: Claim, jobs: tuple[Claim, ...] = (), available: int = 20 * GIB) -> Book:
    return Book(replace(MACHINE, available=available), "fit", 100.0, jobs, replicas)


def test_an_empty_machine_has_room_for_what_it_has() -> None:
    assert room(strict(), SMALL, 2).granted
    assert room(strict(), SMALL, 3).most == 2


def test_what_is_reserved_says_what_is_missing_and_who_holds_it_the_largest_first() -> None:
    book = strict(claim("r1", SHOP), jobs=(claim("j", JOB, cpu=2.0),))
    answer = room(book, SMALL, account=ME)
    assert not answer.granted
    assert answer.why == (
        "2 vCPU are needed, 3 of 4 are reserved, held by training job nightly (2 vCPU), endpoint shop (1 vCPU)"
    )


def test_the_resource_that_is_shortest_is_the_one_that_is_told() -> None:
    book = strict(claim("r1", SHOP, cpu=1.0, gib=30.0))
    assert room(book, SMALL, account=ME).why == (
        "8 GiB of memory are needed, 30 of 32 are reserved, held by endpoint shop (30 GiB)"
    )


def test_a_gpu_is_held_by_who_has_one() -> None:
    book = strict(Claim("r1", (Fit(1.0, GIB, 1),), 0.0, 0, SHOP), claim("r2", Owner("endpoint", "other", ME)))
    answer = room(book, Size("ml.g5", 1, GIB, 1, "gpu"), account=ME)
    assert answer.why == "1 GPU are needed, 1 of 1 are reserved, held by endpoint shop (1 GPU)"


def test_a_gpu_is_not_shared_where_all_else_is() -> None:
    book = shared(Claim("r1", (Fit(1.0, GIB, 1),), 0.0, 0, SHOP))
    size = Size("ml.g5", 1, GIB, 1, "gpu")
    assert room(book, size, account=ME).why == "1 GPU are needed, 1 of 1 are reserved, held by endpoint shop (1 GPU)"
    assert room(book, SMALL, account=ME).granted
    assert room(book, size, instead=("r1",)).granted
    assert room(shared(), size, 2).most == 1


def test_a_replica_that_is_resized_gives_its_own_place_back() -> None:
    book = strict(claim("r1", SHOP, cpu=2.0, gib=8.0), claim("r2", SHOP, cpu=2.0, gib=8.0))
    three = find("ml.m5.large at 3000 millicpu")
    assert three is not None
    assert not room(book, three, instead=("r1",)).granted
    assert room(book, three, instead=("r1", "r2")).granted


def test_other_accounts_are_not_named() -> None:
    book = strict(claim("r1", Owner("endpoint", "secret", "111111111111"), cpu=4.0))
    assert "secret" not in room(book, SMALL, account=ME).why
    assert room(book, SMALL, account=ME).why.endswith("held by another account's endpoint (4 vCPU)")


def test_many_holders_are_counted() -> None:
    book = strict(*(claim(f"r{n}", Owner("endpoint", f"e{n}", ME), cpu=0.8) for n in range(5)))
    assert room(book, SMALL, account=ME).why.endswith("and 2 more")


def test_containers_of_one_instance_share_its_place() -> None:
    assert room(strict(claim("r1", SHOP, cpu=2.0)), SMALL, containers=2).granted


@pytest.mark.parametrize("size", ["ml.m5.24xlarge", "ml.m5.large at 5000 millicpu"])
def test_strict_never_has_room_for_more_than_the_machine(size: str) -> None:
    found = find(size)
    assert found is not None
    answer = room(strict(), found)
    assert (answer.granted, answer.most) == (False, 0)
    assert "vCPU are needed, and this machine has 4" in answer.why


def test_fit_clamps_a_type_but_not_a_size_that_was_asked_for() -> None:
    large, asked = find("ml.m5.24xlarge"), find("ml.m5.large at 5000 millicpu")
    assert large is not None
    assert asked is not None
    assert room(shared(), large).granted
    assert not room(shared(), asked).granted


def test_fit_shares_cpu_and_counts_the_memory_that_is_free() -> None:
    busy = tuple(claim(f"r{n}", SHOP, cpu=4.0) for n in range(10))
    assert room(shared(*busy), SMALL).granted
    short = room(shared(claim("r1", SHOP, used=3 * GIB), available=REPLICA_FLOOR - (1 << 20)), SMALL, account=ME)
    assert short.why == "128 MiB of memory are needed, 127 MiB are free, held by endpoint shop (3072 MiB)"


def test_what_one_of_a_kind_uses_is_what_the_next_will() -> None:
    book = shared(available=5 * GIB)
    assert room(book, SMALL, 4, like=2 * GIB).most == 2
    assert room(book, SMALL, 4, like=40 * GIB).most == 0  # but no more than its size has
    assert room(shared(available=8 * GIB), SMALL, 1, like=40 * GIB).granted


def test_those_that_just_started_will_take_more() -> None:
    young = claim("r1", SHOP, since=100.0 - YOUNG / 2)
    assert not room(shared(young, available=REPLICA_FLOOR + REPLICA_FLOOR // 2), SMALL).granted
    assert room(shared(replace(young, used=REPLICA_FLOOR), available=REPLICA_FLOOR + REPLICA_FLOOR // 2), SMALL).granted
    assert room(shared(replace(young, since=0.0), available=REPLICA_FLOOR + REPLICA_FLOOR // 2), SMALL).granted


def test_holders_are_summed_by_owner() -> None:
    found = holders([claim("r1", SHOP, used=5), claim("r2", SHOP, used=6), claim("j", JOB, cpu=4.0)], ME)
    assert found == (
        Holder("training job nightly", 4.0, 4 * GIB, 0, 0),
        Holder("endpoint shop", 2.0, 8 * GIB, 0, 11),
    )
