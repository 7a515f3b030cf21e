"""A SearchExpression as a value, and whether a document matches it (AWS's Filter, NestedFilters and SearchExpression).

A document is what a Describe answers, by AWS's names, with Tags and Parents; times are epoch seconds. A property is the way to its values:
members, elements of lists, keys of maps. Comparisons are made as the property's type wants: numbers as numbers, times as times; what is
text in the document (a hyperparameter) is compared as a number by an ordering operator when it is one.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from clary.domain.conditions import number
from clary.domain.errors import Invalid

MOST = 50  # conditions of one expression
DEEPEST = 10  # expressions inside each other
ORDERED = ("GreaterThan", "GreaterThanOrEqualTo", "LessThan", "LessThanOrEqualTo")
OPERATORS = ("Equals", "NotEquals", *ORDERED, "Contains", "Exists", "NotExists", "In")
_NEGATED = ("NotEquals", "NotExists")


@dataclass(frozen=True, slots=True)
class Property:
    """The way to a value of a resource. A step is the name of a member or key, or a look into a list (`Named`). `type`: text | number |
    time | flag, or any: what the value is tells."""

    name: str  # in AWS's spelling
    steps: tuple[str | Named, ...]
    type: str = "text"
    flat: bool = True  # no list is on the way


@dataclass(frozen=True, slots=True)
class Named:
    """The element of a list whose `member` is `value`: a tag by its key, a metric by its name."""

    member: str
    value: str


@dataclass(frozen=True, slots=True)
class Filter:
    of: Property
    operator: str
    value: str

    @property
    def values(self) -> tuple[str, ...]:
        """What the values of the property are compared with."""
        return tuple(each.strip() for each in self.value.split(",")) if self.operator == "In" else (self.value,)


@dataclass(frozen=True, slots=True)
class Nested:
    """All of the filters hold for one element of the list."""

    of: Property
    filters: tuple[Filter, ...]  # of the element: their steps begin there


@dataclass(frozen=True, slots=True)
class Expression:
    parts: tuple[Filter | Nested | Expression, ...]
    any_of: bool = False


Part: TypeAlias = Filter | Nested | Expression
Resolve: TypeAlias = Callable[[str, str], Property]
"""(name, "") -> the property of that name. (name, list's name) -> a property of the list's elements, from there. Invalid: there is none."""


def parse(given: Mapping[str, Any], resolve: Resolve, deep: int = 0) -> Expression:
    """The expression. Invalid: too large, a property that the resource does not have, a value that its type cannot have."""
    if deep > DEEPEST:
        raise Invalid(f"SearchExpression: at most {DEEPEST} SubExpressions can be nested.")
    parts: list[Part] = [_filter(each, resolve) for each in given.get("Filters") or ()]
    parts += [_nested(each, resolve) for each in given.get("NestedFilters") or ()]
    parts += [parse(each, resolve, deep + 1) for each in given.get("SubExpressions") or ()]
    found = Expression(tuple(parts), given.get("Operator") == "Or")
    if not deep and (count := _count(found)) > MOST:
        raise Invalid(f"SearchExpression: at most {MOST} conditions are supported, this one has {count}.")
    return found


def _count(part: Part) -> int:
    if isinstance(part, Expression):
        return sum(map(_count, part.parts))
    return len(part.filters) if isinstance(part, Nested) else 1


def _filter(given: Mapping[str, Any], resolve: Resolve, within: str = "") -> Filter:
    asked = resolve(given["Name"], within)
    operator = given.get("Operator") or "Equals"
    if operator in ("Exists", "NotExists"):
        if given.get("Value"):
            raise Invalid(f"The operator {operator} of the filter on {asked.name} takes no Value.")
        return Filter(asked, operator, "")
    if given.get("Value") is None:
        raise Invalid(f"The filter on {asked.name} needs a Value: only Exists and NotExists take none.")
    found = Filter(asked, operator, given["Value"])
    for value in found.values:
        typed(asked, value)
    return found


def _nested(given: Mapping[str, Any], resolve: Resolve) -> Nested:
    prefix = given["NestedPropertyName"]
    return Nested(resolve(prefix, ""), tuple(_filter(each, resolve, prefix) for each in given["Filters"]))


def typed(asked: Property, value: str) -> str | float | bool:
    """The value as the property's type has it. Invalid when it is not one."""
    if asked.type == "number":
        found = number(value)
        if found is None:
            raise Invalid(f"The value '{value}' for {asked.name} is not a number.")
        return found
    if asked.type == "time":
        return _moment(asked, value)
    if asked.type == "flag":
        if value.lower() not in ("true", "false"):
            raise Invalid(f"The value '{value}' for {asked.name} is neither true nor false.")
        return value.lower() == "true"
    return value


def _moment(asked: Property, value: str) -> float:
    try:
        found = datetime.datetime.fromisoformat(value.strip())
    except ValueError:
        seconds = number(value)
        if seconds is None:
            raise Invalid(
                f"The value '{value}' for {asked.name} is not a time; write it as 2026-01-31T12:00:00Z."
            ) from None
        return seconds
    return (found if found.tzinfo else found.replace(tzinfo=datetime.UTC)).timestamp()


# -- matching -----------------------------------------------------------------------------------------------------------------


def matches(part: Part, document: Mapping[str, Any]) -> bool:
    """Whether the document fulfils it. An expression of nothing is fulfilled by all."""
    match part:
        case Expression(parts, any_of):
            if not parts:
                return True
            return (
                any(matches(each, document) for each in parts) if any_of else all(matches(p, document) for p in parts)
            )
        case Nested(of, filters):
            elements = values(document, of.steps)
            return any(isinstance(e, Mapping) and all(matches(each, e) for each in filters) for e in elements)
        case Filter(asked, operator, _):
            found = list(values(document, asked.steps))
            if operator == "Exists":
                return bool(found)
            if operator in _NEGATED:
                return not found if operator == "NotExists" else not any(_holds(part, value) for value in found)
            return any(_holds(part, value) for value in found)


def values(found: Any, steps: Sequence[str | Named]) -> Iterator[Any]:
    """What is at the end of the way; lists on it are gone through."""
    if isinstance(found, list | tuple):
        head = steps[0] if steps else None
        if isinstance(head, Named):
            chosen = [e for e in found if isinstance(e, Mapping) and str(e.get(head.member)) == head.value]
            for element in chosen:
                yield from values(element, steps[1:])
        else:
            for element in found:
                yield from values(element, steps)
    elif not steps:
        if found is not None:
            yield found
    elif isinstance(found, Mapping):
        head = steps[0]
        if isinstance(head, str) and head in found:
            yield from values(found[head], steps[1:])


def leaf(found: Any) -> Any:
    """What is compared of a value: of `{"NumberValue": 1.0}` and `{"Value": "s3://..."}` the value in it."""
    if isinstance(found, Mapping):
        return next((found[name] for name in ("NumberValue", "StringValue", "Value") if name in found), None)
    return found


def _holds(asked: Filter, found: Any) -> bool:
    """For one value; NotEquals is asked as Equals."""
    found = leaf(found)
    if found is None:
        return False
    if asked.operator in ORDERED:
        return _ordered(asked, found)
    if asked.operator == "Contains":
        return asked.value in _text(found)
    return any(_equal(asked.of, found, value) for value in asked.values)


def _equal(of: Property, found: Any, value: str) -> bool:
    if isinstance(found, bool):
        return _text(found) == value.lower()
    if isinstance(found, int | float):
        wanted = typed(of, value) if of.type == "time" else number(value)
        return found == wanted
    return _text(found) == value


def _ordered(asked: Filter, found: Any) -> bool:
    wanted: Any = typed(asked.of, asked.value)
    if isinstance(found, str) and asked.of.type != "time" and (right := number(asked.value)) is not None:
        left = number(found)
        if left is None:  # numbers are compared with numbers alone
            return False
        found, wanted = left, right
    elif isinstance(wanted, str) and not isinstance(found, str):
        wanted = number(wanted)
    if wanted is None or isinstance(found, str) is not isinstance(wanted, str):
        return False
    match asked.operator:
        case "GreaterThan":
            return bool(found > wanted)
        case "GreaterThanOrEqualTo":
            return bool(found >= wanted)
        case "LessThan":
            return bool(found < wanted)
        case _:
            return bool(found <= wanted)


def _text(found: Any) -> str:
    return str(found).lower() if isinstance(found, bool) else str(found)


def sortable(found: Any) -> tuple[int, float, str]:
    """A key that orders values of one property: numbers (also as text) before text; what has no value comes first."""
    found = leaf(found)
    if found is None or isinstance(found, Mapping):
        return 0, 0.0, ""
    as_number = number(found) if isinstance(found, str) else float(found)
    return (1, as_number, "") if as_number is not None else (2, 0.0, str(found))
