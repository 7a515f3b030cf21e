"""The watch over one variant of an endpoint: takes captured rows, keeps bounded counts, and says which columns drift since when. Pure.

First rows fix the bins (`columns.py`), the next `reference` rows are the reference, all later ones fill windows. A value: `document` and
`read` carry it over a restart; it has at most `BYTES`, whatever comes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from clary.domain.monitoring.captured import Row
from clary.domain.monitoring.columns import Counts, Layout, together
from clary.domain.monitoring.drift import SIZES, Compared, DriftRule, DriftSide, compare, judge

BYTES = 1 << 20
COLUMNS = 200  # that are watched, those of the answer first
_CELLS = 8000  # values of first rows that are kept until the bins are fixed
_FIRST = 1000  # rows for the bins, where the columns are few
_SHORTEST = 40


class Slot(NamedTuple):
    """Counts by column over some rows that came between two moments."""

    counts: dict[str, Counts]
    rows: int
    start: float
    end: float


class Judged(NamedTuple):
    """A window that is full: its size's number (0: `window` rows, 1: twice as many), all columns compared, those found in it, and those
    that drift with it."""

    size: int
    rows: int
    start: float
    end: float
    columns: Mapping[str, Compared]
    found: frozenset[str]
    drifting: frozenset[str]


@dataclass
class Watch:
    """`since`: when a column's drift began, for those that drift now; `sizes` is that of the window that said so. `seen` counts all
    rows."""

    rule: DriftRule
    names: dict[str, None] = field(default_factory=dict)
    first: list[Row] = field(default_factory=list)
    layouts: dict[str, Layout] = field(default_factory=dict)
    reference: Slot | None = None
    open: Slot | None = None
    last: Slot | None = None
    halves: list[Slot | None] = field(default_factory=lambda: [None] * SIZES)
    found: list[tuple[float, frozenset[str]]] = field(default_factory=lambda: [(0.0, frozenset())] * SIZES)
    since: dict[str, float] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    seen: int = 0
    unwatched: int = 0

    # -- taking rows in ---------------------------------------------------------------------------------------------------------------

    def take(self, rows: Sequence[Row], at: float) -> list[Judged]:
        """Rows that came at one time; answers the windows that they filled."""
        self.seen += len(rows)
        judged: list[Judged] = []
        if not self.layouts:
            self.first += map(self._chosen, rows)
            self._lay_out()
            return judged
        while rows:
            into = self._filling(at)
            room = (self.rule.reference if into is self.reference else self.rule.window) - into.rows
            part, rows = rows[:room], rows[room:]
            for name, layout in self.layouts.items():
                layout.count(into.counts[name], [row.get(name) for row in part])
            into = into._replace(rows=into.rows + len(part), end=max(at, into.end))
            if self.reference is None or self.reference.counts is into.counts:
                self.reference = into
            else:
                self.open = into
                if into.rows >= self.rule.window:
                    judged += self._close(into)
        return judged

    def _lay_out(self) -> None:
        """Fix the bins once there are rows enough, of as many columns as they have."""
        most = max(_SHORTEST, min(_FIRST, _CELLS // max(1, len(self.names))))
        if len(self.first) < most:
            return
        self.layouts = {name: Layout.of([row.get(name) for row in self.first]) for name in self.names}
        self.first = []

    def _chosen(self, row: Row) -> Row:
        """The columns that are watched; those of the answer take their places first."""
        for name in sorted(row.keys() - self.names.keys(), key=lambda name: (not name.startswith("output."), name)):
            if len(self.names) < COLUMNS:
                self.names[name] = None
        self.unwatched = max(self.unwatched, len(row.keys() - self.names.keys()))
        return {name: value for name, value in row.items() if name in self.names}

    def _empty(self, at: float) -> Slot:
        return Slot({name: layout.empty() for name, layout in self.layouts.items()}, 0, at, at)

    def _filling(self, at: float) -> Slot:
        if self.reference is None:
            self.reference = self._empty(at)
        if self.reference.rows < self.rule.reference:
            return self.reference
        if self.open is None:
            self.open = self._empty(at)
        return self.open

    def _close(self, slot: Slot) -> list[Judged]:
        """Judge a full window, and each larger one that it completes."""
        self.open, self.last = None, slot
        judged = [self._judge(slot, 0)]
        for size in range(1, SIZES):
            half = self.halves[size]
            if half is None:
                self.halves[size] = slot
                break
            self.halves[size] = None
            slot = merged(half, slot)
            judged.append(self._judge(slot, size))
        return judged

    def _judge(self, slot: Slot, size: int) -> Judged:
        assert self.reference is not None
        compared = self.compared(slot)
        found = frozenset(judge(self.rule, compared, slot.rows, self.reference.rows))
        start, before = self.found[size]
        self.found[size] = slot.start, found
        for name in found & before:
            self.since[name] = min(start, self.since.get(name, start))
            self.sizes[name] = min(size, self.sizes.get(name, size))
        for name in [name for name, of in self.sizes.items() if of == size and name not in found | before]:
            del self.since[name], self.sizes[name]
        return Judged(size, slot.rows, slot.start, slot.end, compared, found, frozenset(self.since))

    # -- telling ----------------------------------------------------------------------------------------------------------------------

    def compared(self, slot: Slot) -> dict[str, Compared]:
        assert self.reference is not None
        reference = self.reference.counts
        return {
            name: compare(DriftSide(layout, reference[name], slot.counts[name]))
            for name, layout in self.layouts.items()
        }

    def now(self) -> Slot | None:
        """The newest rows: the window that fills, with the one before it."""
        if self.open is None or self.last is None:
            return self.open or self.last
        return merged(self.last, self.open)

    def phase(self) -> str:
        """What it waits for, in words; "" while it watches."""
        if not self.layouts:
            return f"waits for its first rows: {len(self.first)} so far"
        have = self.reference.rows if self.reference else 0
        if have < self.rule.reference:
            return f"takes its reference: {have} of {self.rule.reference} rows"
        return ""

    def told(self) -> dict[str, Any]:
        """All that `clary drift` shows, as JSON takes it."""
        slot = self.now()
        compared = self.compared(slot) if slot and not self.phase() else {}
        columns = []
        for name, layout in self.layouts.items():
            each = compared.get(name)
            columns.append(
                {
                    "name": name,
                    "numeric": layout.numeric,
                    "labels": layout.labels,
                    "reference": self.reference.counts[name] if self.reference else [],
                    "current": slot.counts[name] if slot else [],
                    "since": self.since.get(name),
                    **(each._asdict() if each else {}),
                }
            )
        return {
            "rule": self.rule.text(),
            "expected": self.rule.expected(),
            "phase": self.phase(),
            "seen": self.seen,
            "unwatched": self.unwatched,
            "reference": _span(self.reference),
            "current": _span(slot),
            "columns": columns,
        }

    # -- over a restart ---------------------------------------------------------------------------------------------------------------

    def document(self) -> dict[str, Any]:
        return {
            "rule": self.rule.text(),
            "names": list(self.names),
            "first": [[row.get(name) for name in self.names] for row in self.first],
            "layouts": [layout.document() for layout in self.layouts.values()],
            "slots": [
                slot and [list(slot.counts.values()), *slot[1:]]
                for slot in (self.reference, self.open, self.last, *self.halves)
            ],
            "found": [[at, sorted(names)] for at, names in self.found],
            "since": self.since,
            "sizes": self.sizes,
            "seen": self.seen,
            "unwatched": self.unwatched,
        }

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Watch:
        """What `document` wrote, as JSON gives it back."""
        names = document["names"]
        slots = [
            None if each is None else Slot(dict(zip(names, each[0], strict=True)), *each[1:])
            for each in document["slots"]
        ]
        return cls(
            DriftRule.read(document["rule"]),
            dict.fromkeys(names),
            [dict(zip(names, row, strict=True)) for row in document["first"]],
            dict(zip(names, map(Layout.read, document["layouts"]), strict=False)),
            slots[0],
            slots[1],
            slots[2],
            slots[3:],
            [(at, frozenset(names)) for at, names in document["found"]],
            document["since"],
            document["sizes"],
            document["seen"],
            document["unwatched"],
        )


def _span(slot: Slot | None) -> dict[str, Any] | None:
    return None if slot is None else {"rows": slot.rows, "start": slot.start, "end": slot.end}


def merged(one: Slot, other: Slot) -> Slot:
    """Both, one after the other."""
    counts = {name: together(counted, other.counts[name]) for name, counted in one.counts.items()}
    return Slot(counts, one.rows + other.rows, one.start, other.end)
