"""Pages of a query, in its order, to the last one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clary.domain.resources import Query
from clary.pages import everything, pages
from clary.testing.store import MemoryStore
from clary.testing.stores import HERE, record


@pytest.mark.parametrize("sort", ["name", "created"])
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("count", [0, 3, 4, 6, 7])
async def test_every_record_comes_once_in_order(sort: str, descending: bool, count: int) -> None:
    store = MemoryStore()
    for number in range(count):
        await store.add(record(f"r{number}", at=float(number // 2)))
    query = Query("endpoint", HERE, sort_by=sort, descending=descending, limit=3)
    whole = [each.name for each in await store.page(replace(query, limit=100))]
    assert [each.name for each in await everything(store, query)] == whole
    assert len(whole) == count
    assert [len(page) async for page in pages(store, query)] == [3] * (count // 3) + [count % 3] * bool(count % 3)
