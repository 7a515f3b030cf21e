"""What becomes of blobs that no row names."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Any

import pytest

from clary.domain.objects.items import Fate
from clary.objects.blobs import Blobs
from clary.objects.context import Context
from clary.objects.sweeping import ALWAYS, Swept, report, sweep
from clary.testing.clock import FakeClock


class Rows:
    """An index of which the sweep sees the blobs that it names, and what its journal says."""

    def __init__(self) -> None:
        self.named: set[str] = set()
        self.journal: dict[str, Fate] = {}

    async def blobs_between(self, low: str, high: str) -> list[str]:
        return [blob for blob in self.named if low <= blob < high]

    async def fates(self, blobs: Set[str]) -> Mapping[str, Fate]:
        return {blob: fate for blob, fate in self.journal.items() if blob in blobs}


class Store:
    def __init__(self, root: Path) -> None:
        self.blobs, self.rows = Blobs(root), Rows()
        index: Any = self.rows
        nobody: Any = None
        self.context = Context(index, self.blobs, nobody, FakeClock(5000.0))

    def put(self, count: int) -> list[str]:
        names = [self.blobs.add(b"x")[0] for _ in range(count)]
        self.blobs.settle()
        self.blobs.inherited = 0xFFFFFF  # as if a process before this one had written them
        return names

    def there(self) -> set[str]:
        return {f"{path.parent.name}{path.name}" for path in (self.blobs.root / "blobs").glob("*/*")}

    def aside(self) -> set[str]:
        return {os.path.basename(path) for _, path in self.blobs.quarantine.held()}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path)
    yield made
    made.blobs.close()


async def test_what_the_journal_never_heard_of_goes_into_quarantine(store: Store) -> None:
    names = store.put(10)
    store.rows.named = set(names[3:])
    swept = await sweep(store.context)
    assert (swept.blobs, swept.removed, swept.quarantined, swept.stopped) == (10, 0, 3, "")
    assert store.there() == set(names[3:])
    assert store.aside() == set(names[:3])


async def test_what_was_deleted_goes_at_once_however_much_it_is(store: Store) -> None:
    names = store.put(ALWAYS * 3)
    store.rows.journal = dict.fromkeys(names, "freed")
    swept = await sweep(store.context)
    assert (swept.removed, swept.quarantined, swept.stopped) == (ALWAYS * 3, 0, "")
    assert store.there() == set()


async def test_an_index_that_lost_rows_stops_it(store: Store) -> None:
    names = store.put(5)
    store.rows.named = {names[0]}
    store.rows.journal = {names[0]: "named", names[1]: "named"}
    swept = await sweep(store.context)
    assert "lost 1 of 5 blobs" in swept.stopped
    assert "clary objects rebuild" in swept.stopped
    assert store.there() == set(names)


async def test_more_than_a_small_share_stops_it(store: Store) -> None:
    names = store.put(ALWAYS + 2)
    store.rows.named = {names[0]}
    swept = await sweep(store.context)
    assert f"{ALWAYS + 1} of {ALWAYS + 2}" in swept.stopped
    assert store.there() == set(names)
    assert store.aside() == set()


async def test_a_blob_that_is_named_again_comes_back(store: Store) -> None:
    names = store.put(3)
    store.rows.named = set(names[:2])
    await sweep(store.context)
    assert store.aside() == {names[2]}
    store.rows.named = set(names)
    swept = await sweep(store.context)
    assert (swept.missing, swept.quarantined) == ((), 0)
    assert store.there() == set(names)


async def test_what_is_missing_is_told(store: Store) -> None:
    [name] = store.put(1)
    store.rows.named = {name, "0000010fff"}
    assert (await sweep(store.context)).missing == ("0000010fff",)


def test_it_is_told_to_the_doctor(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    report(Swept(1.0, 5, 0, 2, ("0000010001",), "because"), tmp_path)
    told = json.loads((tmp_path / "sweep.json").read_text())
    assert told["stopped"] == "because"
    assert "the sweep stopped: because" in caplog.text
