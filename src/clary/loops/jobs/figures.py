"""Takes over the metrics that the container of a monitoring job left behind, once. Run it in a thread."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath

from clary import untrusted
from clary.domain.monitoring import figures
from clary.domain.resources import Record
from clary.ports import Datapoints

_MOST = 50  # files of a host
_SCHEDULE = "monitoring-schedule"


def is_monitoring(record: Record) -> bool:
    """Whether a monitoring schedule made the job."""
    return f":{_SCHEDULE}/" in str(record.document.get("parent") or "")


def take(
    record: Record, schedule: Record, folders: Mapping[str, PurePath], datapoints: Datapoints, now: float
) -> list[str]:
    """Store the metrics of all hosts in one write, with a mark: a second call stores nothing. Answers lines for the job's log."""
    if mark(record) in datapoints.marks(mark(record)):
        return []
    found, said = [], []
    for host, folder in sorted(folders.items()):
        paths = sorted(
            path
            for path, _ in untrusted.walk(str(folder))
            if path.startswith(f"{figures.FOLDER}/") and path.endswith(".jsonl")
        )
        for path in paths[:_MOST]:
            text = untrusted.read_text(str(folder), path, figures.LIMIT)
            made, wrong = figures.datapoints(text, schedule.document["type"], schedule.document["endpoint"], now)
            found += made
            if wrong:
                said.append(f"{host}: {wrong} lines of {path} are no metrics and are left out.")
    if found:
        datapoints.put(record.scope, found, {mark(record): "taken"})
    return said


def mark(record: Record) -> str:
    """The name of the mark, which is removed with the job's folders."""
    return f"monitoring {record.arn} {record.document['id']}"
