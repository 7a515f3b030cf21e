"""Every record that a query finds, page by page: the one place that knows where a page ends and the next one begins."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from clary.domain.resources import Query, Record
from clary.ports import Store


async def pages(store: Store, query: Query) -> AsyncIterator[list[Record]]:
    """Pages of `query.limit` records, in the query's order. What is written meanwhile is seen when it sorts behind what was read."""
    while page := await store.page(query):
        yield page
        if len(page) < query.limit:
            return
        query = replace(query, after=(getattr(page[-1], query.sort_by), page[-1].name))


async def everything(store: Store, query: Query) -> list[Record]:
    """The records of all pages."""
    return [record async for page in pages(store, query) for record in page]
