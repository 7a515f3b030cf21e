"""What of an expression a store can decide: a condition that every matching record fulfils, and few others. The rest is `matches`'s.

Columns and terms are indexed; members and words of the document are looked for in the database, without an index.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from clary.domain.conditions import All, Any_, Column, Condition, Member, Ordered, Term, Text, number
from clary.domain.search.expressions import ORDERED, Expression, Filter, Named, Nested, Part, typed

_COLUMN = {
    "Equals": "=",
    "NotEquals": "<>",
    "GreaterThan": ">",
    "GreaterThanOrEqualTo": ">=",
    "LessThan": "<",
    "LessThanOrEqualTo": "<=",
    "Contains": "contains",
}


@dataclass(frozen=True, slots=True)
class Kept:
    """How a kind's records keep what is shown of them. `columns`: property -> column. `terms`: properties that are terms of the record.
    `verbatim`: members, or paths below them, that are shown exactly as the document's `request` has them, and not shown when it has
    them not."""

    columns: Mapping[str, str] = field(default_factory=dict)
    terms: Collection[str] = ()
    verbatim: Collection[str] = ()


def condition(part: Part, kept: Kept) -> Condition | None:
    """None: nothing can be told."""
    match part:
        case Expression(parts, any_of):
            found = [condition(each, kept) for each in parts]
            known = tuple(each for each in found if each is not None)
            if any_of:
                return Any_(known) if parts and len(known) == len(parts) else None
            if not known:
                return None
            return known[0] if len(known) == 1 else All(known)
        case Nested(of, filters):
            # An element that fulfils all of them fulfils each.
            found = [
                _words(each)
                for each in filters
                if _verbatim(of.steps[0], f"{of.name}.{each.of.name}", kept) and each.operator in ("Equals", "Contains")
            ]
            known = tuple(each for each in found if each is not None)
            return All(known) if known else None
        case Filter():
            return _filter(part, kept)


def _filter(asked: Filter, kept: Kept) -> Condition | None:
    steps = asked.of.steps
    column = kept.columns.get(asked.of.name)
    if column is not None:
        return _column(asked, column)
    if asked.operator in ORDERED:
        return _ordered(asked, kept)
    if asked.operator not in ("Equals", "In", "Contains"):
        return None
    if asked.operator == "In":
        each = tuple(_filter(Filter(asked.of, "Equals", value), kept) for value in asked.values)
        known = tuple(one for one in each if one is not None)
        return Any_(known) if len(known) == len(each) else None
    if asked.operator == "Equals":
        if steps[0] == "Tags" and len(steps) > 1 and isinstance(steps[1], Named):
            return Term(f"Tags.{steps[1].value}", asked.value)
        if asked.of.name in kept.terms:
            return Term(asked.of.name, asked.value)
    if not _verbatim(steps[0], asked.of.name, kept):
        return None
    plain = _plain(asked)
    if asked.operator == "Equals" and plain is not None:
        return Member(("request", *plain), asked.value) if asked.of.type in ("text", "number", "flag") else None
    return _words(asked)


def _plain(asked: Filter) -> tuple[str, ...] | None:
    """The path in the request, where no list is on it."""
    plain = tuple(step for step in asked.of.steps if isinstance(step, str) and '"' not in step and "\\" not in step)
    return plain if asked.of.flat and len(plain) == len(asked.of.steps) else None


def _ordered(asked: Filter, kept: Kept) -> Condition | None:
    plain, value = _plain(asked), number(asked.value)
    told = plain is not None and value is not None and asked.of.type in ("text", "number")
    if not told or plain is None or value is None or not _verbatim(plain[0], asked.of.name, kept):
        return None
    return Ordered(("request", *plain), _COLUMN[asked.operator], value)


def _verbatim(member: str | Named, path: str, kept: Kept) -> bool:
    return member in kept.verbatim or path in kept.verbatim


def _column(asked: Filter, column: str) -> Condition | None:
    if asked.operator == "Exists":
        return None
    if asked.operator == "NotExists":
        return Any_(())  # each record has its columns
    if asked.operator == "In":
        return Any_(tuple(Column(column, "=", _typed(asked, value)) for value in asked.values))
    if asked.operator == "Contains" and asked.of.type == "time":
        return None
    return Column(column, _COLUMN[asked.operator], _typed(asked, asked.value))


def _typed(asked: Filter, value: str) -> str | float:
    found = typed(asked.of, value)
    return value if isinstance(found, bool) else found


def _words(asked: Filter) -> Condition | None:
    """Text stands in the document as it is shown; numbers, times and truth values may be written in other ways."""
    if asked.of.type != "text" or not asked.value:
        return None
    text = json.dumps(asked.value, ensure_ascii=False)
    return Text(text if asked.operator == "Equals" else text[1:-1])
