"""Points that BatchPutMetrics puts into trial components: one record a put, and their summary in the component's record.

A put adds its points first, then folds them into the summary; a process that is killed in between leaves a summary of fewer puts than there
are, which the next one, or who describes the component, makes again from all of them.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from clary.api import records
from clary.api.call import Call
from clary.domain.conditions import Term
from clary.domain.errors import Stale
from clary.domain.experiments import metrics
from clary.domain.experiments.components import KIND
from clary.domain.experiments.metrics import BATCH, Point
from clary.domain.resources import Query, Record
from clary.guarded import until_first
from clary.pages import pages

_PUTS = itertools.count()
_READ = 200  # records of a read, between which others get the event loop


async def put(call: Call, component: Record, points: Sequence[Point]) -> None:
    """Durable once answered."""
    id_ = str(component.document.get("id") or component.arn)
    document = {"points": metrics.stored(points), "terms": {"MetricsOf": [id_]}}
    await call.store.add(records.new(call, BATCH, f"{component.name}/{_turn(call)}", document))

    known: Record | None = component  # the first try goes by what the caller read

    async def attempt() -> Record:
        nonlocal known
        current, known = known or await records.find(call, KIND, component.name), None
        before = int(current.document.get("batches", 0))
        if before + 1 == await call.store.count(_of(current)):
            summaries = metrics.fold(current.document.get("summaries", {}), points)
            document = {**current.document, "summaries": summaries, "batches": before + 1}
            return await call.store.save(replace(current, modified=call.now, document=document))
        return await call.store.save(replace(await whole(call, current), modified=call.now))

    try:
        await until_first(attempt, "The trial component")
    except Stale:  # many put into it at once: the points are there, and one of the others makes the summary
        return


def _turn(call: Call) -> str:
    """Names in the order of puts: by time, and in this process by their number."""
    return f"{int(call.now * 1e6):020d}-{next(_PUTS):012d}-{call.new_code(8)}"


def _of(component: Record) -> Query:
    id_ = str(component.document.get("id") or component.arn)
    return Query(
        BATCH, component.scope, condition=Term("MetricsOf", id_), sort_by="name", descending=False, limit=_READ
    )


async def batches(call: Call, component: Record) -> AsyncIterator[Record]:
    """Every put, in the order of their times."""
    async for page in pages(call.store, _of(component)):
        for each in page:
            yield each
        await asyncio.sleep(0)


async def points(call: Call, component: Record, names: Sequence[str] = ()) -> list[Point]:
    """All points of the metrics of these names, in the order in which they were put."""
    found: list[Point] = []
    async for batch in batches(call, component):
        found += [each for each in metrics.read(batch.document["points"]) if not names or each.metric in names]
    return found


async def whole(call: Call, component: Record) -> Record:
    """The component with a summary of every put."""
    held = int(component.document.get("batches", 0))
    count = await call.store.count(_of(component))
    if held == count:
        return component
    summaries: dict[str, dict[str, object]] = {}
    count = 0
    async for batch in batches(call, component):
        summaries = metrics.fold(summaries, metrics.read(batch.document["points"]))
        count += 1
    return replace(component, document={**component.document, "summaries": summaries, "batches": count})


async def drop(call: Call, component: Record) -> None:
    """Forget all of them."""
    while found := await call.store.page(_of(component)):
        for each in found:
            await call.store.remove(each)
