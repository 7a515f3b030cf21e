"""Which rows are meant: COLUMN=VALUE, as it is compared in text, JSON and Parquet. Pure."""

from __future__ import annotations

import base64
import binascii
import csv
import io
import json
import re
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Iterator, List, Mapping, Optional, Sequence, Tuple

_PLAIN = re.compile(r"[+-]?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
PAYLOADS = ("endpointInput", "endpointOutput", "batchTransformInput", "batchTransformOutput")


@dataclass(frozen=True)
class PersonCondition:
    """Rows in which `column` is `value`, which is not in its repr: it names a person. `names`: the columns of CSV without a header line."""

    column: str
    value: str = field(repr=False)
    names: Tuple[str, ...] = ()

    def holds(self, row: Mapping[str, Any]) -> bool:
        return same(row.get(self.column), self.value)

    def hint(self) -> Optional[bytes]:
        """Every line of text with such a row has this in it; None: that cannot be told (a number has several spellings, and a quoted or
        escaped letter another one)."""
        value = self.value.strip()
        if not value or number(value) is not None or not value.isascii() or set(value) & set('"\\/\n\r'):
            return None
        return None if value.lower() in ("true", "false") else value.encode()


def same(held: Any, value: str) -> bool:
    """Whether a value that is held is the one that is meant: the same text but for white space around it, or the same number (7, 7.0 and
    7e0 are; 007 is a text)."""
    if held is None:
        return False
    if isinstance(held, bool):
        return value.strip().lower() == str(held).lower()
    if isinstance(held, bytes):
        held = held.decode("utf-8", "replace")
    text = held if isinstance(held, str) else str(held)
    if text.strip() == value.strip():
        return True
    wanted = number(value)
    return wanted is not None and number(text) == wanted


def number(text: str) -> Optional[Decimal]:
    text = text.strip()
    if _PLAIN.fullmatch(text) is None:
        return None
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def reached(document: Any, column: str) -> Any:
    """The value of a column in a JSON row: a member, or one inside others by a path with dots."""
    if not isinstance(document, Mapping):
        return None
    if column in document:
        return document[column]
    for name in column.split("."):
        if not isinstance(document, Mapping) or name not in document:
            return None
        document = document[name]
    return document


def meant(document: Any, where: PersonCondition) -> bool:
    """Whether a line of JSON is such a row: itself, or as a capture of data of which a row is one."""
    if isinstance(document, Mapping) and isinstance(document.get("captureData"), Mapping):
        return any(where.holds(row) for row in captured(document["captureData"], where.names))
    return same(reached(document, where.column), where.value)


def captured(data: Mapping[str, Any], names: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """The rows in a line of captured data: every JSON object at any depth, every row of CSV by its header line or by `names`."""
    for payload in PAYLOADS:
        part = data.get(payload)
        if not isinstance(part, Mapping) or not isinstance(part.get("data"), str):
            continue
        text = part["data"]
        if part.get("encoding") == "BASE64":
            try:
                text = base64.b64decode(text, validate=True).decode("utf-8", "replace")
            except (binascii.Error, ValueError):
                continue
        documents = _documents(text)
        if documents is None:
            yield from _table(text, names)
        for document in documents or ():
            yield from _objects(document)


def _documents(text: str) -> Optional[List[Any]]:
    """One JSON document, or one a line; None for what is not JSON."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return [json.loads(text)]
    except ValueError:
        pass
    try:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except ValueError:
        return None


def _objects(document: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(document, Mapping):
        yield document
        for each in document.values():
            yield from _objects(each)
    elif isinstance(document, list):
        for each in document:
            yield from _objects(each)


def _table(text: str, names: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    rows = [row for row in csv.reader(io.StringIO(text)) if row]
    for row in rows:
        yield dict(zip(names, row))
    for row in rows[1:]:
        yield dict(zip(rows[0], row))
