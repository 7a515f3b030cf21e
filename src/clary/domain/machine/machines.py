"""The book of machines: a record for each machine that Clary runs workloads on, and which of them a workload goes to. Pure.

A row is a machine's name, its size, its labels and zone, and its state. What of its memory is free now is measured by its node, and no part
of the row; what was given of it are grants, which name the machine (`grants.py`). No account has the machines: they are Clary's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from clary.domain.errors import Invalid, LimitExceeded
from clary.domain.machine.capacity import DRAINING, READY, Book, Fit, Machine
from clary.domain.machine.rooms import free_memory, room_of
from clary.domain.resources import Record, Scope

KIND = "machine"
SCOPE = Scope("", "")
LEFT = "Left"  # of a node that is none any more
GONE = "Gone"  # of a machine that was not heard of for a while: told, never stored
EVERY = 300.0  # seconds between two words of a machine that nothing changed of
SILENT = 3 * EVERY  # seconds after which a machine that says nothing is gone
_LABEL = re.compile(r"([A-Za-z0-9][A-Za-z0-9._/-]{0,62})=([A-Za-z0-9._-]{0,63})\Z")


@dataclass(frozen=True, slots=True)
class MachineRow:
    """A machine as the book has it: `machine` without what is measured, and when it was heard of last (epoch seconds)."""

    machine: Machine
    heard: float

    def state(self, now: float) -> str:
        return GONE if now - self.heard > SILENT else self.machine.state


def arn_of(name: str) -> str:
    return f"arn:aws:clary:::machine/{name}"


def new_record(machine: Machine, now: float) -> Record:
    """Of a machine that was never here."""
    return Record(KIND, SCOPE, machine.name, arn_of(machine.name), READY, now, now, _document(machine, now))


def heard_of(record: Record, machine: Machine, now: float) -> Record | None:
    """The record after a word of its machine, as this is now; None while that tells nothing new. What an operator said of it stays."""
    document = _document(machine, now)
    same = {**record.document, "heard": now} == {**record.document, **document}
    if same and now - float(record.document["heard"]) < EVERY:
        return None
    return replace(record, modified=now, document={**record.document, **document})


def row_of(record: Record) -> MachineRow:
    stored = record.document
    machine = Machine(
        int(stored["cpus"]),
        int(stored["memory"]),
        0,
        int(stored["gpus"]),
        int(stored["slots"]),
        record.name,
        str(stored["zone"]),
        tuple(sorted(dict(stored["labels"]).items())),
        record.status,
        bool(stored.get("node")),
    )
    return MachineRow(machine, float(stored["heard"]))


def joined(record: Record | None, machine: Machine, request: str, now: float) -> Record:
    """The record of a node that joins now, perhaps after it had left. `request`: digest of what it asked its certificate with."""
    fresh = new_record(machine, now)
    node = {**fresh.document, "node": {"request": request, "joined": now}}
    return replace(fresh, document=node, version=0 if record is None else record.version)


def _document(machine: Machine, now: float) -> Mapping[str, Any]:
    return {
        "cpus": machine.cpus,
        "memory": machine.memory,
        "gpus": machine.gpus,
        "slots": machine.slots,
        "zone": machine.zone,
        "labels": dict(machine.labels),
        "heard": now,
    }


def parse_labels(words: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """`NAME=VALUE` each. Invalid for anything else, and for a name that comes twice."""
    found: dict[str, str] = {}
    for word in words:
        parts = _LABEL.match(word)
        if parts is None or parts[1] in found:
            raise Invalid(
                f"machine_labels: {word!r} is not NAME=VALUE, or names a label again. Both are letters, digits, '.', '_', '-'"
            )
        found[parts[1]] = parts[2]
    return tuple(sorted(found.items()))


def choose(
    offers: Sequence[Book],
    each: Callable[[Machine], tuple[Fit, ...]],
    *,
    labels: Mapping[str, str] | None = None,
    beside: Mapping[str, int] | None = None,
    instead: Sequence[str] = (),
    admits: Callable[[Book], bool] | None = None,
) -> Book | None:
    """The account of the machine that a workload goes to, out of those that are offered; None where none has these labels. `each` is
    what is needed on a machine (a size is fitted to it), `instead` the keys of what gives its place back, `admits` what more than room
    there must be.

    One with room before one without; then one in the zone that has the fewest of its like (`beside`: zone -> how many); then the one with
    the most memory free; then the first by name. Where none has room the same order tells which of them says why."""
    wanted = dict(labels or {}).items()
    able = [book for book in offers if wanted <= dict(book.machine.labels).items()]

    def order(book: Book) -> tuple[bool, bool, int, int, str]:
        machine = book.machine
        try:
            room = room_of(book, each(machine), instead=instead).granted and (admits is None or admits(book))
        except LimitExceeded:  # it is too small for that at any time
            room = False
        return (
            not room,
            machine.state == DRAINING,
            (beside or {}).get(machine.zone, 0),
            -free_memory(book),
            machine.name,
        )

    return min(able, key=order, default=None)
