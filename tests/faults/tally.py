"""What faults cost: a row for each kind, counted from a history. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from tests.faults.history import DEFAULT, RAW, Failed, Fault, History

LATER = 1.0  # seconds after everything answers again in which a failure still counts as the fault's
NONE = "none of these"


@dataclass(frozen=True)
class Row:
    """Of one kind of fault: how many, requests that failed because of them by each client, and seconds until every door answered."""

    kind: str
    times: int
    raw: int
    default: int
    middle: float
    longest: float


def rows(history: History) -> list[Row]:
    """By kind; failures that no fault was near come last."""
    faults = sorted(history.of(Fault), key=lambda fault: fault.at)
    failed: Counter[tuple[str, str]] = Counter()
    for failure in history.of(Failed):
        failed[_cause(faults, failure), failure.client] += 1
    found = []
    for kind in sorted({fault.kind for fault in faults}):
        took = [
            fault.back - fault.at - fault.lasted for fault in faults if fault.kind == kind and fault.back is not None
        ]
        times = sum(fault.kind == kind for fault in faults)
        spent = (median(took), max(took)) if took else (float("nan"), float("nan"))
        found.append(Row(kind, times, failed[kind, RAW], failed[kind, DEFAULT], *spent))
    if failed[NONE, RAW] or failed[NONE, DEFAULT]:
        found.append(Row(NONE, 0, failed[NONE, RAW], failed[NONE, DEFAULT], 0.0, 0.0))
    return found


def _cause(faults: Sequence[Fault], failure: Failed) -> str:
    """The latest fault that began before the failure was told, if that request was under way before the fault was over."""
    place = bisect_right([fault.at for fault in faults], failure.ended)
    if not place:
        return NONE
    fault = faults[place - 1]
    over = fault.back if fault.back is not None else failure.ended
    return fault.kind if failure.began <= over + LATER else NONE


def table(found: Sequence[Row]) -> str:
    """As Markdown."""
    lines = [
        "| fault | times | failed requests, raw client | failed requests, default boto3 | recovery: median | longest |",
        "|---|---|---|---|---|---|",
    ]
    for row in found:
        spent = f"{row.middle:.2f} s | {row.longest:.2f} s" if row.times else " | "
        lines.append(f"| {row.kind} | {row.times} | {row.raw} | {row.default} | {spent} |")
    return "\n".join(lines)
