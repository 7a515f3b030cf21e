"""What a store can filter records by, beyond the columns of `Query`: values that a query carries and each store translates.

A record's *terms* are the pairs (key, value) that the store keeps an index of: its tags (`Tags.KEY`) and what its document lists under
`terms` (key -> values). Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

_NUMBER = re.compile(r"^ *[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)? *\Z")
LONGEST = 512  # characters of a value that are indexed; longer ones are found by their beginning
COLUMNS = ("name", "arn", "status", "created", "modified")


@dataclass(frozen=True, slots=True)
class Term:
    """The record has this term."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Column:
    """A column compares so with the value: `=`, `<`, `<=`, `>`, `>=`, `<>`, or `contains` (text, letters' case aside)."""

    column: str
    operator: str
    value: str | float


@dataclass(frozen=True, slots=True)
class Member:
    """What is at a path of the document (no lists on the way) is the value: as text, as a number, or as true or false."""

    path: tuple[str, ...]
    value: str


@dataclass(frozen=True, slots=True)
class Ordered:
    """What is at a path of the document is a number, also as text, that compares so with the value: `<`, `<=`, `>`, `>=`. A store may take
    what is none for one."""

    path: tuple[str, ...]
    operator: str
    value: float


@dataclass(frozen=True, slots=True)
class Text:
    """The document's JSON text contains this, letters' case aside."""

    text: str


@dataclass(frozen=True, slots=True)
class All:
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Any_:
    conditions: tuple[Condition, ...]


Condition: TypeAlias = Term | Column | Member | Ordered | Text | All | Any_


class Row(Protocol):
    """What of a record is filtered by."""

    @property
    def name(self) -> str: ...
    @property
    def arn(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def created(self) -> float: ...
    @property
    def modified(self) -> float: ...
    @property
    def document(self) -> Mapping[str, Any]: ...


def terms(record: Row) -> frozenset[tuple[str, str]]:
    """Every term of the record."""
    return frozenset(_terms(record.document))


def _terms(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for tag in document.get("tags") or ():
        if isinstance(tag, Mapping) and "Key" in tag:
            yield f"Tags.{tag['Key']}", str(tag.get("Value", ""))[:LONGEST]
    kept = document.get("terms")
    if isinstance(kept, Mapping):
        for key, values in kept.items():
            yield from ((key, str(value)[:LONGEST]) for value in values)


def at(document: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    """The value at a path; None where there is none."""
    found: Any = document
    for step in path:
        if not isinstance(found, Mapping) or step not in found:
            return None
        found = found[step]
    return found


def number(text: str) -> float | None:
    """The number that the text is, if it is one, as databases read it too: no infinities, no other digits than ASCII's."""
    if not _NUMBER.match(text):
        return None
    found = float(text)
    return found if abs(found) < float("inf") else None


def holds(condition: Condition, record: Row, text: str) -> bool:
    """Whether the record fulfils it; `text` is its document as JSON."""
    match condition:
        case Term(key, value):
            return (key, value[:LONGEST]) in terms(record)
        case Column(column, operator, value):
            return _compares(getattr(record, column), operator, value)
        case Member(path, value):
            found = at(record.document, path)
            if isinstance(found, bool):
                return str(found).lower() == value.lower()
            return found == value or (isinstance(found, int | float) and found == number(value))
        case Ordered(path, operator, value):
            found = at(record.document, path)
            known = number(found) if isinstance(found, str) else found
            return isinstance(known, int | float) and _compares(known, operator, value)
        case Text(part):
            return part.lower() in text.lower()
        case All(conditions):
            return all(holds(each, record, text) for each in conditions)
        case Any_(conditions):
            return any(holds(each, record, text) for each in conditions)


def _compares(found: Any, operator: str, value: Any) -> bool:
    match operator:
        case "=":
            return bool(found == value)
        case "<>":
            return bool(found != value)
        case "<":
            return bool(found < value)
        case "<=":
            return bool(found <= value)
        case ">":
            return bool(found > value)
        case ">=":
            return bool(found >= value)
        case "contains":
            return str(value).lower() in str(found).lower()
    raise ValueError(f"no operator: {operator}")
