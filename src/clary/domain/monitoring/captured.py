"""What a line of captured data says: rows of named columns, of the request and of the answer. Pure.

Columns are `input.NAME` and `output.NAME`, by the keys of JSON or by position (`input.0`). A value is a number, a text or None (missing).
Understands CSV, JSON (records, lists, `instances`, `predictions`, `features`) and JSON lines, also where the line has them in Base64.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest
from typing import Any

from clary.domain.errors import Invalid

Value = float | str | None
Row = dict[str, Value]

MOST_COLUMNS = 500  # of one side; what a record has beyond is not watched
MOST_ROWS = 10_000  # of one request
_MISSING = frozenset(("", "nan", "null", "none", "na", "n/a"))
_LONGEST = 24  # characters of a text; of a longer one the begin and a digest stand for it
_NAME = 64  # characters of a key
_LISTS = ("instances", "predictions", "inputs", "outputs", "data")
_DEPTH = 3


@dataclass(frozen=True, slots=True)
class CapturedRows:
    """One request with its answer. `at` in epoch seconds."""

    event: str
    inference: str
    at: float
    rows: tuple[Row, ...]


def rows_of(line: str) -> CapturedRows:
    """The rows of a line. Invalid: it is torn, of another format, or of content that has no columns."""
    try:
        record = json.loads(line)
        metadata, data = record["eventMetadata"], record["captureData"]
        at = datetime.fromisoformat(metadata["inferenceTime"].replace("Z", "+00:00")).timestamp()
        sides = [
            list(_side(data[name], prefix))
            for name, prefix in (("endpointInput", "input"), ("endpointOutput", "output"))
            if name in data
        ]
        event, inference = str(metadata["eventId"]), str(metadata.get("inferenceId") or "")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, csv.Error) as error:
        raise Invalid(f"a captured line cannot be read: {type(error).__name__}: {error}") from None
    if len(sides) == 2 and len(sides[1]) == 1 < len(sides[0]) == len(
        sides[1][0]
    ):  # one line with an answer for each row
        sides[1] = [{"output.0": value} for value in sides[1][0].values()]
    merged = zip_longest(*sides, fillvalue={})
    rows = tuple({name: value for side in row for name, value in side.items()} for row in merged)
    return CapturedRows(event, inference, at, rows)


def _side(side: Mapping[str, Any], prefix: str) -> Iterator[Row]:
    text, kind = side["data"], str(side.get("observedContentType") or "").partition(";")[0].strip().lower()
    encoding = side["encoding"]
    if encoding == "BASE64":
        text = base64.b64decode(text, validate=True).decode()
        encoding = "CSV" if kind == "text/csv" else "JSON" if "json" in kind else encoding
    if encoding == "CSV":
        yield from _csv(text, prefix)
    elif encoding == "JSON":
        for number, record in enumerate(_records(text, "lines" in kind)):
            if number >= MOST_ROWS:
                return
            yield _flat(record, prefix)
    else:
        raise ValueError(f"content of type {kind or 'unknown'} has no columns")


def _csv(text: str, prefix: str) -> Iterator[Row]:
    for number, fields in enumerate(csv.reader(io.StringIO(text))):
        if number >= MOST_ROWS:
            return
        if fields:
            yield {f"{prefix}.{place}": value_of(field) for place, field in enumerate(fields[:MOST_COLUMNS])}


def _records(text: str, lines: bool) -> Iterator[Any]:
    documents = [json.loads(line) for line in text.splitlines() if line.strip()] if lines else [json.loads(text)]
    for document in documents:
        if isinstance(document, dict):
            listed = next((document[name] for name in _LISTS if isinstance(document.get(name), list)), None)
            yield from [document] if listed is None else listed
        elif isinstance(document, list) and document and all(isinstance(each, (list, dict)) for each in document):
            yield from document
        else:
            yield document


def _flat(record: Any, prefix: str) -> Row:
    found: Row = {}
    if isinstance(record, dict) and set(record) == {"features"}:
        record = record["features"]
    _gather(record if isinstance(record, (list, dict)) else [record], prefix, 0, found)
    return found


def _gather(record: list[Any] | dict[str, Any], name: str, depth: int, found: Row) -> None:
    pairs = record.items() if isinstance(record, dict) else enumerate(record)
    for key, value in pairs:
        if len(found) >= MOST_COLUMNS:
            return
        below = f"{name}.{short(str(key)[:_NAME])}"
        if not isinstance(value, (list, dict)):
            found[below] = value_of(value)
        elif depth < _DEPTH:
            _gather(value, below, depth + 1, found)


def value_of(given: Any) -> Value:
    """A number where it reads as one; None where it is missing; else a text."""
    if given is None or isinstance(given, bool):
        return None if given is None else str(given).lower()
    if isinstance(given, (int, float)):
        try:
            number = float(given)
        except OverflowError:
            number = math.inf if given > 0 else -math.inf
        return None if math.isnan(number) else number
    text = str(given).strip()
    if text.lower() in _MISSING:
        return None
    try:
        return float(text) if text[-1] not in "yfYF" and "_" not in text else short(text)
    except ValueError:
        return short(text)


def short(text: str) -> str:
    """The text, or what stands for it where it is long. Without halves of characters, which JSON may have and nothing else stores."""
    whole = text.encode("utf-8", "replace")
    if len(text) <= _LONGEST:
        return whole.decode()
    return f"{text[: _LONGEST - 7].encode('utf-8', 'replace').decode()}~{hashlib.sha1(whole, usedforsecurity=False).hexdigest()[:6]}"
