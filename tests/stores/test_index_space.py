"""The room that is held within the index's files."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest

from clary.domain.objects.items import Item
from clary.stores.index import SqlIndex
from clary.stores.index_journal import IndexUnusable
from clary.stores.index_space import LOG, ROOMY, SCARCE, SIZE

FREE_PAGES = SIZE // 4096 - 10


class Held:
    """An index whose disk has `free` bytes, as somebody says."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "index.db"
        self.free = ROOMY
        self.relieved = 0
        self.index = SqlIndex(f"sqlite:///{self.path}", relieve=self.relieve, free=lambda: self.free)

    def relieve(self) -> bool:
        self.relieved += 1
        return False

    def pages(self, pragma: str) -> int:
        with closing(sqlite3.connect(self.path)) as other:
            return int(other.execute(f"PRAGMA {pragma}").fetchone()[0])

    @property
    def log(self) -> int:
        return os.stat(f"{self.path}-wal").st_blocks * 512


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Callable[[], Held]]:
    made: list[Held] = []

    def open_() -> Held:
        made.append(Held(tmp_path))
        return made[-1]

    yield open_
    for held in made:
        await held.index.close()


async def test_it_is_held_where_there_is_room_and_given_up_before_a_deletion_where_there_is_none(
    opened: Callable[[], Held],
) -> None:
    held = opened()
    held.free = ROOMY - 1
    await held.index.keep()
    assert held.pages("page_count") < FREE_PAGES
    held.free = ROOMY
    await held.index.keep()
    bucket = await held.index.add_bucket("b", "000000000000", "us-east-1", 0.0)
    pages = held.pages("page_count")
    assert pages > FREE_PAGES
    assert held.pages("freelist_count") < 10
    assert held.log >= LOG
    held.free = SCARCE
    await held.index.remove(bucket.id, [("k", "")], 0.0)
    assert (held.relieved, held.pages("freelist_count") < 10) == (0, True)
    held.free = SCARCE - 1
    for _ in range(3):
        await held.index.remove(bucket.id, [("k", "")], 0.0)
    assert held.relieved > 0
    assert held.pages("freelist_count") > FREE_PAGES
    await held.index.keep()
    assert held.pages("freelist_count") > FREE_PAGES, "there is no room yet"
    held.free = ROOMY
    await held.index.keep()
    assert (held.pages("freelist_count") < 20, held.pages("page_count")) == (True, pages)


async def test_rows_of_deletions_take_the_pages_that_were_held(opened: Callable[[], Held]) -> None:
    held = opened()
    await held.index.keep()
    bucket = await held.index.add_bucket("b", "000000000000", "us-east-1", 0.0)
    await held.index.save_bucket("b", versioning="Enabled")
    items = [Item(f"k{n:04}", "", 0, "e", 0.0, f"{n:010x}") for n in range(150)]
    await asyncio.gather(*(held.index.put(bucket.id, each) for each in items))
    pages, log = held.pages("page_count"), held.log
    held.free = 0
    for each in items:
        await held.index.remove(bucket.id, [(each.key, "")], 0.0)
    assert (held.pages("page_count"), held.log) == (pages, log), "neither file has grown"


async def test_what_a_predecessor_held_is_given_up_too(opened: Callable[[], Held]) -> None:
    held = opened()
    await held.index.keep()
    bucket = await held.index.add_bucket("b", "000000000000", "us-east-1", 0.0)
    successor = opened()
    successor.free = 0
    await successor.index.remove(bucket.id, [("k", "")], 0.0)
    assert successor.pages("freelist_count") > FREE_PAGES


def test_what_cannot_be_opened_on_a_full_disk_is_not_to_be_made_again(tmp_path: Path) -> None:
    (tmp_path / "index.db").mkdir()
    for free, advice in (
        (0, "Its disk is full: free some space, and start again.$"),
        (SCARCE, "clary objects rebuild"),
    ):
        with pytest.raises(IndexUnusable, match=advice):
            SqlIndex(f"sqlite:///{tmp_path / 'index.db'}", free=lambda free=free: free)  # type: ignore[misc]
