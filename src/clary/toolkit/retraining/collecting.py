"""Data of captured requests with the labels that came for them: what a model is trained on, and what it is judged on.

Rows are those since the model became worse (`since`), where these are enough, else the newest `window` ones. Every third of the newest
`fresh` rows is kept for the judgement, by a hash of its id, so that a row is always on the same side. A row of age `half_life` counts
half. The pinned holdout is copied as it is: whatever comes, new models are judged on it too.

Written: `train/data.csv` (label, weight, features), `validation/data.csv` (label, features, of the rows to judge), and `judge/data.csv`,
with a header, of both the fresh rows and the holdout.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections import Counter
from dataclasses import dataclass, fields
from typing import Any, Dict, List, Mapping, NamedTuple, Tuple
from typing import Counter as Counts

from clary.toolkit.failure import UserError, log
from clary.toolkit.monitor import captured

PART, LABEL = "clary_part", "label"
FRESH, PINNED = "fresh", "pinned"
_JUDGED = 3  # one row in so many of the fresh ones


class LabelledRequest(NamedTuple):
    """One row of a request with its label."""

    id: str
    at: float
    label: str
    features: Tuple[str, ...]


@dataclass(frozen=True)
class Collection:
    """What is collected. `since` in epoch seconds, 0: not known. `least`: rows that must be there."""

    window: int = 5000
    least: int = 200
    fresh: int = 1000
    half_life: float = 0.0  # rows; 0: all count alike
    since: float = 0.0

    @classmethod
    def read(cls, given: Mapping[str, str]) -> Collection:
        known = {each.name: each.type for each in fields(cls)}
        made: Dict[str, Any] = {}
        for name, value in given.items():
            if name not in known:
                raise UserError("--{} is none of {}.".format(name, ", ".join("--" + each for each in known)))
            try:
                made[name] = float(value) if "float" in str(known[name]) else int(value)
            except ValueError:
                raise UserError("--{} is a number, not {!r}.".format(name, value)) from None
        return cls(**made)


def run(asked: Collection, folder: str) -> str:
    """Reads `input/capture`, `input/labels`, `input/pinned`; writes below `output`."""
    counts: Counts[str] = Counter()
    given = labels(os.path.join(folder, "input", "labels"), counts)
    rows = joined(os.path.join(folder, "input", "capture"), given, counts)
    chosen = window(rows, asked)
    if len(chosen) < asked.least:
        raise UserError(
            "NO_DATA: {:,} labelled rows were found, of {:,} that are needed (rows: captured {}, labels {}, joined {}).".format(
                len(chosen), asked.least, counts["captured"], counts["labels"], len(rows)
            )
        )
    train, judged = divided(chosen, asked)
    pinned = _pinned(os.path.join(folder, "input", "pinned"), len(train[0].features))
    output = os.path.join(folder, "output")
    _write(output, "train", [[row.label, _weight(place, asked), *row.features] for place, row in _aged(train)])
    _write(output, "validation", [[row.label, *row.features] for row in judged])
    names = ["f{}".format(place) for place in range(len(train[0].features))]
    both = [[row.label, *row.features, FRESH] for row in judged] + [[*row, PINNED] for row in pinned]
    _write(output, "judge", [[LABEL, *names, PART], *both])
    words = "{:,} rows to train on, {:,} fresh ones and {:,} pinned ones to judge on".format(
        len(train), len(judged), len(pinned)
    )
    if counts["conflicting"]:
        words += "; {:,} labels contradicted an earlier one".format(counts["conflicting"])
    return words


def labels(folder: str, counts: Counts[str]) -> Dict[str, List[str]]:
    """By id, a label for each row of the request. Of an id that comes twice the last one counts, as in AWS's merge."""
    found: Dict[str, List[str]] = {}
    for path in captured.files(folder) if os.path.isdir(folder) else []:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    record = json.loads(line)
                    metadata, truth = record["eventMetadata"], record["groundTruthData"]
                    id_ = str(metadata.get("inferenceId") or metadata["eventId"])
                    values = _values(truth["data"], str(truth.get("encoding", "CSV")))
                except (ValueError, KeyError, TypeError, AttributeError, csv.Error):
                    counts["torn"] += bool(line.strip())
                    continue
                counts["labels"] += 1
                counts["conflicting"] += id_ in found and found[id_] != values
                found[id_] = values
    return found


def _values(data: Any, encoding: str) -> List[str]:
    if encoding == "JSON":
        held = json.loads(data) if isinstance(data, str) else data
        return [captured.plain(each) for each in (held if isinstance(held, list) else [held])]
    return [value.strip() for row in csv.reader(io.StringIO(str(data))) for value in row]


def joined(folder: str, given: Mapping[str, List[str]], counts: Counts[str]) -> List[LabelledRequest]:
    """The captured rows that have labels, in order of time."""
    found: List[LabelledRequest] = []
    lines = captured.Lines(folder, "", "")
    width = 0
    for record in lines:
        metadata = record.get("eventMetadata") or {}
        id_ = str(metadata.get("inferenceId") or metadata.get("eventId") or "")
        values = given.get(id_)
        if values is None:
            continue
        rows = captured.rows(record, counts)
        if len(rows) != len(values):
            counts["uneven"] += 1
            continue
        at = captured.moment(str(metadata.get("inferenceTime") or "")) or 0.0
        for place, (row, label) in enumerate(zip(rows, values)):
            features = tuple(value for _, value in row.input)
            width = width or len(features)
            if not label or len(features) != width or not features:
                counts["other columns"] += 1
                continue
            found.append(LabelledRequest("{}/{}".format(id_, place), at, label, features))
    counts["captured"] = lines.counts["captured"]
    found.sort(key=lambda row: (row.at, row.id))
    return found


def window(rows: List[LabelledRequest], asked: Collection) -> List[LabelledRequest]:
    """Those since the model became worse, where these are enough; else the newest."""
    newest = rows[-asked.window :]
    since = [row for row in newest if asked.since and row.at >= asked.since]
    return since if len(since) >= asked.least else newest


def divided(rows: List[LabelledRequest], asked: Collection) -> Tuple[List[LabelledRequest], List[LabelledRequest]]:
    """Those to train on, those to judge on."""
    judged = {
        row.id for row in rows[-asked.fresh :] if int(hashlib.sha256(row.id.encode()).hexdigest(), 16) % _JUDGED == 0
    }
    return [row for row in rows if row.id not in judged], [row for row in rows if row.id in judged]


def _aged(rows: List[LabelledRequest]) -> List[Tuple[int, LabelledRequest]]:
    return [(len(rows) - 1 - place, row) for place, row in enumerate(rows)]


def _weight(age: int, asked: Collection) -> str:
    return "{:.6g}".format(0.5 ** (age / asked.half_life) if asked.half_life else 1.0)


def _pinned(folder: str, width: int) -> List[List[str]]:
    """The rows of the pinned holdout: CSV without a header, the label first."""
    found: List[List[str]] = []
    for path in captured.files(folder) if os.path.isdir(folder) else []:
        with open(path, encoding="utf-8", newline="") as file:
            for row in csv.reader(file):
                if row and len(row) != width + 1:
                    raise UserError(
                        "The pinned holdout has {} columns in {}, and requests have {} and the label.".format(
                            len(row), os.path.basename(path), width
                        )
                    )
                found += [row] if row else []
    return found


def _write(output: str, name: str, rows: List[List[str]]) -> None:
    folder = os.path.join(output, name)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "data.csv"), "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    log("{}: {:,} lines".format(name, len(rows)))
