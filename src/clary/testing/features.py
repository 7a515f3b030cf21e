"""`FeatureRecords` in memory, and what every implementation must do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from clary.domain.errors import ClaryError, Invalid
from clary.domain.features.online import Change, History, Stored, alive, closed
from clary.feature_ports import Batch, Entry, FeatureRecords, Line, Waiting


class MemoryFeatures:
    """See `feature_ports.FeatureRecords`."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], Stored] = {}
        self._lines: list[tuple[str, Line]] = []
        self._batches: dict[str, Batch] = {}
        self._closed: set[str] = set()
        self._number = 0

    async def get(self, group: str, identifiers: Sequence[str]) -> dict[str, Stored]:
        return {i: self._rows[group, i] for i in identifiers if (group, i) in self._rows}

    async def change(self, entries: Sequence[Entry], now: float) -> list[Change | ClaryError]:
        return [closed() if entry.group in self._closed else self._write(entry, now) for entry in entries]

    def _write(self, entry: Entry, now: float) -> Change | ClaryError:
        key = entry.group, entry.identifier
        try:
            change = entry.decide(self._rows.get(key))
        except ClaryError as error:
            return error
        if not change.keeps:
            self._rows.pop(key, None)
            if change.row is not None:
                self._rows[key] = change.row
        if change.history is not None:
            self._number += 1
            self._lines.append((entry.group, Line(self._number, now, change.history)))
        return change

    async def identifiers(self, group: str, after: str, limit: int, deleted: bool, now: float) -> list[str]:
        rows = ((i, row) for (of, i), row in self._rows.items() if of == group and i > after and alive(row, now))
        return sorted(i for i, row in rows if deleted or not row.deleted)[:limit]

    async def size(self, group: str) -> int:
        return sum(len(str(dict(row.values))) for (of, _), row in self._rows.items() if of == group and not row.deleted)

    async def expire(self, now: float) -> int:
        gone = [key for key, row in self._rows.items() if alive(row, now) is None]
        for key in gone:
            del self._rows[key]
        return len(gone)

    async def waiting(self, group: str | None = None) -> dict[str, Waiting]:
        found: dict[str, Waiting] = {}
        for of, line in self._lines:
            if group in (None, of):
                before = found.get(of, Waiting(0, line.written))
                found[of] = replace(before, count=before.count + 1)
        return found

    async def batch(self, group: str, most: int) -> Batch | None:
        if group not in self._batches:
            lines = tuple(line for of, line in self._lines if of == group)[:most]
            if not lines:
                return None
            self._batches[group] = Batch(group, f"{lines[0].number}-{lines[-1].number}", lines)
        return self._batches[group]

    async def written(self, batch: Batch) -> None:
        self._batches.pop(batch.group, None)
        self._lines = [(of, line) for of, line in self._lines if of != batch.group or line not in batch.lines]

    async def close_group(self, group: str, now: float) -> None:
        self._closed.add(group)

    async def drop(self, group: str) -> None:
        self._batches.pop(group, None)
        self._lines = [(of, line) for of, line in self._lines if of != group]
        self._rows = {key: row for key, row in self._rows.items() if key[0] != group}


def _row(event: float = 1.0, expires: float | None = None, deleted: bool = False, **values: Any) -> Stored:
    return Stored(event, values, expires, deleted)


def puts(group: str, identifier: str, row: Stored | None, history: bool = True) -> Entry:
    """An entry that replaces whatever is there."""
    line = History(identifier, 1.0, {"id": identifier}, 2.0) if history else None
    return Entry(group, identifier, lambda _: Change(row, history=line))


class FeatureRecordsConformance:
    """Inherit it, and answer a fresh store by the fixture `features`."""

    @pytest.fixture
    def features(self) -> FeatureRecords:
        raise NotImplementedError

    async def test_what_is_put_is_read(self, features: FeatureRecords) -> None:
        row = _row(1.5, 9.25, name="ü", many=["1", "2"])
        await features.change([puts("g", "a", row)], 3.0)
        assert await features.get("g", ["a", "b", "a"]) == {"a": row}
        assert await features.get("h", ["a"]) == {}

    async def test_a_decision_sees_what_the_one_before_it_did(self, features: FeatureRecords) -> None:
        def more(stored: Stored | None) -> Change:
            return Change(_row(1.0, n=str(int(stored.values["n"]) + 1 if stored else 1)))

        await features.change([Entry("g", "a", more)] * 3, 1.0)
        assert (await features.get("g", ["a"]))["a"].values == {"n": "3"}

    async def test_one_that_says_no_changes_nothing_and_the_others_stand(self, features: FeatureRecords) -> None:
        def refuse(stored: Stored | None) -> Change:
            raise Invalid("no")

        answers = await features.change(
            [puts("g", "a", _row(n="1")), Entry("g", "a", refuse), puts("g", "b", _row())], 1.0
        )
        assert [type(each) for each in answers] == [Change, Invalid, Change]
        assert set(await features.get("g", ["a", "b"])) == {"a", "b"}

    async def test_a_row_may_be_kept_or_removed(self, features: FeatureRecords) -> None:
        await features.change([puts("g", "a", _row(n="1")), puts("g", "b", _row())], 1.0)
        await features.change([Entry("g", "a", lambda _: Change(keeps=True)), puts("g", "b", None)], 1.0)
        assert set(await features.get("g", ["a", "b"])) == {"a"}

    async def test_identifiers_come_in_byte_order_in_pages(self, features: FeatureRecords) -> None:
        rows = {"b": _row(), "a": _row(), "Z": _row(), "gone": _row(deleted=True), "old": _row(expires=5.0)}
        await features.change([puts("g", name, row) for name, row in rows.items()], 1.0)
        assert await features.identifiers("g", "", 10, False, 5.0) == ["Z", "a", "b"]
        assert await features.identifiers("g", "", 10, True, 4.9) == ["Z", "a", "b", "gone", "old"]
        assert await features.identifiers("g", "Z", 1, False, 5.0) == ["a"]

    async def test_rows_whose_time_is_over_are_removed(self, features: FeatureRecords) -> None:
        await features.change(
            [puts("g", "a", _row(expires=5.0)), puts("g", "b", _row(expires=6.0)), puts("g", "c", _row())], 1.0
        )
        assert await features.expire(5.0) == 1
        assert set(await features.get("g", ["a", "b", "c"])) == {"b", "c"}

    async def test_the_log_is_given_in_order_and_the_same_batch_until_it_is_written(
        self, features: FeatureRecords
    ) -> None:
        await features.change([puts("g", name, _row()) for name in "abc"], 7.0)
        await features.change([puts("h", "x", None)], 8.0)
        assert await features.waiting() == {"g": Waiting(3, 7.0), "h": Waiting(1, 8.0)}
        assert await features.waiting("h") == {"h": Waiting(1, 8.0)}
        assert await features.waiting("none") == {}
        first = await features.batch("g", 2)
        assert first is not None
        assert [line.history.identifier for line in first.lines] == ["a", "b"]
        await features.change([puts("g", "d", _row())], 9.0)
        assert await features.batch("g", 10) == first
        await features.written(first)
        second = await features.batch("g", 10)
        assert second is not None
        assert second.name != first.name
        assert [line.history.identifier for line in second.lines] == ["c", "d"]
        await features.written(second)
        assert await features.batch("g", 10) is None

    async def test_a_line_keeps_all_that_it_was_told(self, features: FeatureRecords) -> None:
        history = History("a", 1.25, {"id": "a", "many": ["1"]}, 2.5, deleted=True)
        await features.change([Entry("g", "a", lambda _: Change(keeps=True, history=history))], 4.0)
        batch = await features.batch("g", 1)
        assert batch is not None
        assert (batch.lines[0].written, batch.lines[0].history) == (4.0, history)

    async def test_a_closed_group_takes_nothing_and_keeps_what_it_has_until_it_is_dropped(
        self, features: FeatureRecords
    ) -> None:
        await features.change([puts("g", "a", _row())], 1.0)
        await features.close_group("g", 2.0)
        await features.close_group("g", 2.5)
        answers = await features.change([puts("g", "b", _row()), puts("h", "b", _row())], 3.0)
        assert [type(each) for each in answers] == [Invalid, Change]
        assert set(await features.get("g", ["a", "b"])) == {"a"}
        assert (await features.waiting())["g"] == Waiting(1, 1.0)
        await features.drop("g")
        await features.expire(2.0 + 3600.0)
        [late] = await features.change([puts("g", "c", _row())], 4.0)
        assert isinstance(late, Invalid)
        assert await features.waiting("g") == {}
        assert await features.get("g", ["a", "c"]) == {}

    async def test_a_dropped_group_is_gone(self, features: FeatureRecords) -> None:
        await features.change([puts("g", "a", _row()), puts("h", "a", _row(n="1"))], 1.0)
        await features.batch("g", 1)
        await features.drop("g")
        assert await features.get("g", ["a"]) == {}
        assert set(await features.waiting()) == {"h"}
        assert await features.batch("g", 1) is None
        assert await features.size("g") == 0 < await features.size("h")
