"""Conditions of pipelines: their forms, and whether they hold. The conditions of a step are ANDed. Pure."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from clary.domain.errors import Invalid

_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "Equals": operator.eq,
    "NotEquals": operator.ne,
    "GreaterThan": operator.gt,
    "GreaterThanOrEqualTo": operator.ge,
    "LessThan": operator.lt,
    "LessThanOrEqualTo": operator.le,
}
_MEMBERS = ("In", "NotIn")
TYPES = (*_COMPARE, *_MEMBERS, "Not", "Or")
DEEPEST = 50


def check(conditions: Any, depth: int = 0) -> None:
    """Invalid for what is no list of conditions."""
    if not isinstance(conditions, list) or not conditions:
        raise Invalid("Conditions must be a list of at least one condition.")
    if depth > DEEPEST:
        raise Invalid(f"Conditions are nested more than {DEEPEST} levels deep.")
    for each in conditions:
        kind = each.get("Type") if isinstance(each, dict) else None
        if kind in _COMPARE:
            missing = [member for member in ("LeftValue", "RightValue") if member not in each]
            if missing:
                raise Invalid(f"A condition of type {kind} needs {' and '.join(missing)}.")
        elif kind in _MEMBERS:
            _of_in(each)
        elif kind == "Not":
            check([each.get("Condition")], depth + 1)
        elif kind == "Or":
            check(each.get("Conditions"), depth + 1)
        else:
            raise Invalid(f"A condition has the type {kind!r}; it must be one of {', '.join(TYPES)}.")


def _of_in(condition: Mapping[str, Any]) -> tuple[Any, list[Any]]:
    """The SDK writes QueryValue and Values, the published schema Value and In."""
    for value, values in (("QueryValue", "Values"), ("Value", "In")):
        if value in condition and isinstance(condition.get(values), list):
            return condition[value], condition[values]
    raise Invalid(f"A condition of type {condition['Type']} needs QueryValue and a list Values.")


def hold(conditions: Sequence[Mapping[str, Any]]) -> bool:
    """Whether all hold; their expressions were evaluated. Invalid for values that cannot be compared."""
    return all(_holds(each) for each in conditions)


def _holds(condition: Mapping[str, Any]) -> bool:
    kind = condition["Type"]
    if kind == "Not":
        return not _holds(condition["Condition"])
    if kind == "Or":
        return any(_holds(each) for each in condition["Conditions"])
    if kind in _MEMBERS:
        value, values = _of_in(condition)
        return any(_alike(value, each) and bool(value == each) for each in values) is (kind == "In")
    left, right = condition["LeftValue"], condition["RightValue"]
    if not _alike(left, right) or _named(left) not in ("number", "text", "boolean"):
        raise Invalid(
            f"A condition of type {kind} cannot compare {left!r} ({_named(left)}) with {right!r} ({_named(right)}): both must be numbers, "
            "texts or booleans."
        )
    try:
        return bool(_COMPARE[kind](left, right))
    except TypeError:
        raise Invalid(f"A condition of type {kind} cannot compare {left!r} with {right!r}.") from None


def _named(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else "text" if isinstance(value, str) else type(value).__name__


def _alike(left: Any, right: Any) -> bool:
    return _named(left) == _named(right)
