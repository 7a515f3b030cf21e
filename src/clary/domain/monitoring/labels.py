"""Ground truth: what was right, by the id of a request; as people give it, and as the files that AWS's merge reads. Pure.

Given: CSV lines `ID,LABEL`, or JSON lines `{"id": ..., "label": ...}`, where a list is a label for each row of the request. Written: JSON
lines of `{"groundTruthData": {"data", "encoding": "CSV"}, "eventMetadata": {"eventId"}, "eventVersion": "0"}` below `yyyy/mm/dd/hh/`; the
id is the inference id that the caller gave, else the event id of the captured record.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from clary.domain.errors import Invalid
from clary.domain.monitoring.captured import Value, value_of
from clary.domain.s3 import Location

Label = str | tuple[str, ...]  # of several rows: one for each
LONGEST = 256  # characters of an id


def read(text: str) -> dict[str, Label]:
    """Label by id. Invalid, with the line: neither form, an id twice with different labels, or no label at all."""
    found: dict[str, Label] = {}
    number = 1
    try:
        for number, row in _rows(text):
            if not row or (isinstance(row, str) and not row.strip()):
                continue
            id_, label = _json(row) if isinstance(row, str) else _fields(row)
            if not 0 < len(id_) <= LONGEST:
                raise Invalid(f"line {number}: an id has 1 to {LONGEST} characters, not {len(id_)}.")
            if found.setdefault(id_, label) != label:
                raise Invalid(f"line {number}: {id_} is labelled {label!r}, and before that {found[id_]!r}.")
    except (ValueError, csv.Error) as error:
        raise Invalid(f"line {number}: {error}") from None
    if not found:
        raise Invalid("there is no label: lines are ID,LABEL, or JSON with id and label.")
    return found


def _rows(text: str) -> Iterator[tuple[int, str | list[str]]]:
    """(line number, a line of JSON or the fields of CSV)."""
    if text.lstrip().startswith("{"):
        yield from enumerate(text.splitlines(), 1)
        return
    reader = csv.reader(io.StringIO(text))
    for row in reader:
        yield reader.line_num, row


def _fields(row: list[str]) -> tuple[str, str]:
    if len(row) != 2:
        raise ValueError(f"ID,LABEL has 2 fields, not {len(row)}")
    return row[0].strip(), row[1].strip()


def _json(line: str) -> tuple[str, Label]:
    given = json.loads(line)
    if not isinstance(given, dict) or not {"id", "label"} <= given.keys():
        raise ValueError("JSON needs id and label")
    label = given["label"]
    if isinstance(label, list) and label:
        return str(given["id"]), tuple(map(_scalar, label))
    return str(given["id"]), _scalar(label)


def _scalar(label: object) -> str:
    if label is None or isinstance(label, (list, dict)):
        raise ValueError("a label is a number or a text, or a list of them")
    return label if isinstance(label, str) else json.dumps(label)


def lines(labels: Mapping[str, Label]) -> str:
    """The content of a ground truth file."""
    made = io.StringIO()
    for id_, label in labels.items():
        cell = io.StringIO()
        csv.writer(cell, lineterminator="").writerow([label] if isinstance(label, str) else label)
        truth = {"data": cell.getvalue(), "encoding": "CSV"}
        made.write(
            json.dumps({"groundTruthData": truth, "eventMetadata": {"eventId": id_}, "eventVersion": "0"}) + "\n"
        )
    return made.getvalue()


def truths(text: str) -> tuple[dict[str, list[Value]], int]:
    """The labels of a ground truth file by id, one for each row of the request, and how many lines are none. Of an id that comes twice
    the last one counts, as AWS's merge has it."""
    found: dict[str, list[Value]] = {}
    torn = 0
    for line in text.splitlines():
        if line.strip():
            try:
                given = json.loads(line)
                metadata, truth = given["eventMetadata"], given["groundTruthData"]
                id_ = str(metadata.get("inferenceId") or metadata["eventId"])
                found[id_] = _values(truth["data"], truth.get("encoding", "CSV"))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError, csv.Error):
                torn += 1
    return found, torn


def _values(data: object, encoding: str) -> list[Value]:
    if encoding == "JSON":
        held = json.loads(data) if isinstance(data, str) else data
        return [value_of(each) for each in (held if isinstance(held, list) else [held])]
    return [value_of(field) for row in csv.reader(io.StringIO(str(data))) for field in row]


def hours(folder: Location, now: float) -> list[Location]:
    """Where labels of this hour, and of the one before, come."""
    return [folder.below(f"{datetime.fromtimestamp(at, UTC):%Y/%m/%d/%H}") for at in (now, now - 3600.0)]


def place(folder: Location, at: float, content: str) -> Location:
    """Where a file of that content goes: the same for the same labels of the same hour, so that giving them twice doubles nothing."""
    digest = hashlib.sha256(content.encode()).hexdigest()[:32]
    return folder.below(f"{datetime.fromtimestamp(at, UTC):%Y/%m/%d/%H}", f"{digest}.jsonl")
