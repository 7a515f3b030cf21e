"""Captured records and the labels that came for them: joined by inference id, else by event id. What the merger's image runs.

Two passes over the capture and one over the labels: held are the ids of the window and their labels, no rows. A label twice is taken
once; of labels that contradict each other the last one counts, and their number is told. Labels may be late: all that is below the labels'
prefix is read.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Set
from typing import Counter as Counts

from clary.toolkit.monitor import captured
from clary.toolkit.monitor.contract import Contract, NoData

FEWEST = 10  # joined rows below which a run judges nothing, unless most rows were joined


def merge(contract: Contract) -> Dict[str, int]:
    """Write the joined lines below `output_path`; answers the coverage. NoData without rows, without labels, with few joined."""
    lines = captured.Lines(contract.source, contract.start, contract.end)
    ids: Set[str] = {found for record in lines if (found := identity(record))}
    counts: Counts[str] = Counter()
    labels = _labels(contract.variables.get("ground_truth_source", ""), ids, counts)
    coverage = {"captured": lines.counts["captured"], "labels": counts["labels"], "joined": 0}
    if not lines.counts["captured"]:
        raise NoData("nothing was captured in the window", {**coverage, "used": 0})
    joined = _write(contract, labels)
    coverage = {
        **coverage,
        "joined": joined,
        **{name: counts[name] for name in ("unknown", "twice", "conflicting") if counts[name]},
    }
    require_joined(coverage, contract.variables)
    return coverage


def require_joined(coverage: Mapping[str, int], variables: Mapping[str, str]) -> None:
    """NoData where too few rows have labels. The variable `minimum_joined_rows` sets another least number than 10."""
    least = int(variables.get("minimum_joined_rows") or FEWEST)
    joined, rows = coverage["joined"], coverage["captured"]
    if joined and (joined >= least or 2 * joined >= rows):
        return
    words = (
        "no labels have come for the captured rows"
        if not joined
        else f"only {joined} rows have labels, of {least} that are needed"
    )
    raise NoData(words, {**coverage, "used": 0})


def identity(record: Mapping[str, Any]) -> str:
    """The client's inference id, else the event's own."""
    metadata = record.get("eventMetadata")
    if not isinstance(metadata, dict):
        return ""
    return str(metadata.get("inferenceId") or metadata.get("eventId") or "")


def _labels(folder: str, ids: Set[str], counts: Counts[str]) -> Dict[str, Any]:
    found: Dict[str, Any] = {}
    for path in captured.files(folder) if folder else []:
        with open(path, "rb") as file:
            for line in file:
                label = _label(line)
                if label is None:
                    counts["torn"] += bool(line.strip())
                    continue
                counts["labels"] += 1
                name = identity(label)
                if name not in ids:
                    counts["unknown"] += 1
                    continue
                given = label["groundTruthData"]
                if name in found:
                    counts["twice" if found[name] == given else "conflicting"] += 1
                found[name] = given
    return found


def _label(line: bytes) -> Optional[Dict[str, Any]]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and isinstance(value.get("groundTruthData"), dict) else None


def _write(contract: Contract, labels: Mapping[str, Any]) -> int:
    """The captured lines that have labels, in a file that is complete or not there."""
    os.makedirs(contract.output, exist_ok=True)
    target = Path(contract.output) / "merged.jsonl"
    part = target.with_name(".merged.part")
    joined = 0
    with open(part, "w", encoding="utf-8") as file:
        for record in captured.Lines(contract.source, contract.start, contract.end):
            label = labels.get(identity(record))
            if label is not None:
                file.write(json.dumps({**record, "groundTruthData": label}) + "\n")
                joined += 1
    part.replace(target)
    return joined
