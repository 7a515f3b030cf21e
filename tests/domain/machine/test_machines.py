"""The book of machines: its rows, and which machine a workload goes to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clary.domain.errors import Invalid, LimitExceeded
from clary.domain.machine import admission, machines, rooms
from clary.domain.machine.capacity import DRAINING, READY, Book, Claim, Fit, Machine
from clary.domain.machine.instances import GIB
from clary.domain.machine.machines import EVERY, GONE, SILENT, choose, heard_of, new_record, parse_labels, row_of

HERE = Machine(4, 16 * GIB, 8 * GIB, gpus=1, slots=2, name="here", zone="a", labels=(("disk", "fast"),))
ONE = (Fit(1.0, GIB, 0),)


def offer(name: str, zone: str = "a", free: int = 8, taken: float = 0.0, state: str = READY, **labels: str) -> Book:
    machine = replace(HERE, name=name, zone=zone, available=free * GIB, state=state, labels=tuple(labels.items()))
    jobs = (Claim("held", (Fit(taken, GIB, 0),), 0.0),) if taken else ()
    return Book(machine, "strict", 100.0, jobs)


def test_a_row_is_the_machine_without_what_is_measured() -> None:
    row = row_of(new_record(HERE, 5.0))
    assert row.machine == replace(HERE, available=0)
    assert row.heard == 5.0


def test_a_machine_that_says_nothing_new_is_written_now_and_then() -> None:
    record = new_record(HERE, 0.0)
    busier = replace(HERE, available=1)
    assert heard_of(record, busier, EVERY - 1) is None
    later = heard_of(record, busier, EVERY)
    assert later is not None
    assert row_of(later).heard == EVERY
    grown = heard_of(later, replace(HERE, cpus=8), EVERY + 1)
    assert grown is not None
    assert row_of(grown).machine.cpus == 8


def test_what_an_operator_said_of_a_machine_stays_and_a_silent_one_is_gone() -> None:
    draining = replace(new_record(HERE, 0.0), status=DRAINING)
    later = heard_of(draining, HERE, EVERY)
    assert later is not None
    assert row_of(later).state(EVERY) == DRAINING
    assert row_of(later).state(EVERY + SILENT) == DRAINING
    assert row_of(later).state(EVERY + SILENT + 1) == GONE


def test_a_machine_that_is_draining_takes_nothing_more_and_says_so() -> None:
    book = offer("here", state=DRAINING)
    told = "the machine here is draining: it takes nothing more"
    assert rooms.room_of(book, ONE).why == told
    assert admission.admit(ONE, book, 0).reason == f"Waiting for capacity: {told}"
    assert admission.admit(ONE, replace(book, policy="fit"), 0).granted is False


def test_of_one_machine_that_one_is_chosen_with_room_or_without() -> None:
    for book in (offer("here"), offer("here", taken=4.0), offer("here", state=DRAINING)):
        assert choose((book,), lambda _: ONE) is book


@pytest.mark.parametrize(
    ("offers", "chosen"),
    [
        ([offer("full", free=15, taken=3.5), offer("b", free=1)], "b"),
        ([offer("closing", free=15, state=DRAINING), offer("b", free=1)], "b"),
        ([offer("a", free=4), offer("b", free=5)], "b"),
        ([offer("b"), offer("a")], "a"),
        ([offer("a", zone="x", free=9), offer("b", zone="y", free=1)], "b"),
        ([offer("full", taken=4.0), offer("closing", state=DRAINING)], "full"),
    ],
)
def test_room_then_zones_then_memory_then_the_name_decide(offers: list[Book], chosen: str) -> None:
    found = choose(offers, lambda _: ONE, beside={"x": 1})
    assert found is not None
    assert found.machine.name == chosen


def test_only_machines_with_the_labels_are_chosen() -> None:
    offers = (offer("a", free=9), offer("b", disk="slow"), offer("c", disk="fast", gpu="big"))
    found = choose(offers, lambda _: ONE, labels={"disk": "fast"})
    assert found is offers[2]
    assert choose(offers, lambda _: ONE, labels={"disk": "none"}) is None


def test_one_that_is_too_small_comes_last() -> None:
    def each(machine: Machine) -> tuple[Fit, ...]:
        if machine.name == "small":
            raise LimitExceeded("never")
        return ONE

    found = choose((offer("small", free=15), offer("b", free=1)), each)
    assert found is not None
    assert found.machine.name == "b"


def test_who_gives_its_place_back_has_room() -> None:
    offers = (offer("a", free=1, taken=4.0), offer("b", free=1, taken=4.0))
    mine = replace(offers[1], jobs=(replace(offers[1].jobs[0], key="mine"),))
    assert choose((offers[0], mine), lambda _: ONE, instead=("mine",)) is mine


def test_labels_are_words_with_a_value() -> None:
    assert parse_labels(["disk=fast", "a/b.c="]) == (("a/b.c", ""), ("disk", "fast"))
    for wrong in (["disk"], ["=x"], ["a=1", "a=2"], ["a=x y"]):
        with pytest.raises(Invalid, match="machine_labels"):
            parse_labels(wrong)


def test_machines_are_nobodys() -> None:
    record = new_record(HERE, 0.0)
    assert (record.kind, record.scope.account, record.arn) == (machines.KIND, "", "arn:aws:clary:::machine/here")
