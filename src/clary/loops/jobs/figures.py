"""Takes over the metrics that the container of a monitoring job left behind, once."""

from __future__ import annotations

import asyncio
from typing import Any

from clary.domain.monitoring import figures
from clary.domain.resources import Record
from clary.ports import Backend, Datapoints

_MOST = 50  # files of a host
_SCHEDULE = "monitoring-schedule"


def is_monitoring(record: Record) -> bool:
    """Whether a monitoring schedule made the job."""
    return f":{_SCHEDULE}/" in str(record.document.get("parent") or "")


async def take(
    record: Record, schedule: Record, backend: Backend[Any], datapoints: Datapoints, now: float
) -> list[str]:
    """Store the metrics of all hosts in one write, with a mark: a second call stores nothing. Answers lines for the job's log."""
    if mark(record) in await asyncio.to_thread(datapoints.marks, mark(record)):
        return []
    found, said = [], []
    for host, handle in sorted(record.document["handles"].items()):
        names = await backend.names(handle, "ml", figures.FOLDER)
        for path in [name for name in names if name.endswith(".jsonl")][:_MOST]:
            text = await backend.read(handle, "ml", path, figures.LIMIT)
            made, wrong = figures.datapoints(text, schedule.document["type"], schedule.document["endpoint"], now)
            found += made
            if wrong:
                said.append(f"{host}: {wrong} lines of {path} are no metrics and are left out.")
    if found:
        await asyncio.to_thread(datapoints.put, record.scope, found, {mark(record): "taken"})
    return said


def mark(record: Record) -> str:
    """The name of the mark, which is removed with the job's folders."""
    return f"monitoring {record.arn} {record.document['id']}"
