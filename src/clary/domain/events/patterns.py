"""EventBridge's patterns: which events a rule is for. Pure. Source: EventBridge user guide, "Creating Amazon EventBridge event patterns".

A pattern is an object in the form of an event; each leaf is a list of what its value may be. A value that is a list matches when any of its
elements does. Nothing here is a regular expression: a wildcard costs the product of both lengths at most.
"""

from __future__ import annotations

import ipaddress
import json
import operator
from collections.abc import Callable, Mapping
from typing import Any

from clary.domain.errors import Invalid

LONGEST = 4096  # characters of a pattern
DEEPEST = 32
_MISSING = object()
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class InvalidPattern(Invalid): ...


def parse(text: str) -> dict[str, Any]:
    """The pattern. InvalidPattern says what is wrong."""
    if len(text) > LONGEST:
        raise _wrong(f"it has {len(text)} characters; at most {LONGEST} are taken")
    try:
        pattern = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _wrong(f"it is no JSON: {str(error)[:100]}") from None
    _check_object(pattern, "", 0)
    return dict(pattern)


def matches(pattern: Mapping[str, Any], event: Any) -> bool:
    """Whether a checked pattern matches the event, or the part of it that it stands for."""
    if isinstance(event, list):
        return any(matches(pattern, each) for each in event)
    given = event if isinstance(event, dict) else {}
    for name, wanted in pattern.items():
        if name == "$or" and _is_or(wanted):
            if not any(matches(each, given) for each in wanted):
                return False
        elif isinstance(wanted, dict):
            if not matches(wanted, given.get(name, {})):
                return False
        elif not any(_fits(each, given.get(name, _MISSING)) for each in wanted):
            return False
    return True


def _fits(wanted: Any, value: Any) -> bool:
    """Whether one alternative of a leaf fits the value there."""
    if isinstance(wanted, dict) and "exists" in wanted:
        present = value is not _MISSING and not isinstance(value, dict)
        return present is wanted["exists"]
    if value is _MISSING or isinstance(value, dict):
        return False
    if isinstance(value, list):
        if isinstance(wanted, dict) and "anything-but" in wanted:
            return any(_fits(wanted, each) for each in value)
        return any(_fits(wanted, each) for each in value)
    if not isinstance(wanted, dict):
        return _same(wanted, value)
    ((kind, operand),) = wanted.items()
    return _KINDS[kind][1](operand, value)


def _same(wanted: Any, value: Any) -> bool:
    if isinstance(wanted, bool) or isinstance(value, bool):
        return wanted is value
    return bool(wanted == value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _affix(test: Callable[[str, str], bool]) -> Callable[[Any, Any], bool]:
    def fits(operand: Any, value: Any) -> bool:
        if not isinstance(value, str):
            return False
        if isinstance(operand, dict):
            return test(value.casefold(), operand["equals-ignore-case"].casefold())
        return test(value, operand)

    return fits


_prefix, _suffix = _affix(str.startswith), _affix(str.endswith)


def _ignoring_case(operand: Any, value: Any) -> bool:
    return isinstance(value, str) and value.casefold() == operand.casefold()


def _wildcard(operand: Any, value: Any) -> bool:
    """`*` stands for any characters; `\\*` and `\\\\` for themselves."""
    if not isinstance(value, str):
        return False
    parts = _parts(operand)
    if len(parts) == 1:
        return bool(value == parts[0])
    if not value.startswith(parts[0]) or not value.endswith(parts[-1]):
        return False
    at, end = len(parts[0]), len(value) - len(parts[-1])
    for part in parts[1:-1]:
        found = value.find(part, at, max(at, end))
        if found < 0:
            return False
        at = found + len(part)
    return at <= end


def _parts(text: str) -> list[str]:
    """What stands between the stars."""
    parts, escaped = [""], False
    for character in text:
        if escaped or character not in "*\\":
            parts[-1] += character
            escaped = False
        elif character == "\\":
            escaped = True
        else:
            parts.append("")
    return parts


def _anything_but(operand: Any, value: Any) -> bool:
    if isinstance(operand, dict):
        ((kind, inner),) = operand.items()
        each = inner if isinstance(inner, list) else [inner]
        return not any(_KINDS[kind][1](one, value) for one in each)
    return not any(_same(each, value) for each in (operand if isinstance(operand, list) else [operand]))


def _numeric(operand: Any, value: Any) -> bool:
    if not _is_number(value):
        return False
    return all(_COMPARE[sign](value, bound) for sign, bound in zip(operand[::2], operand[1::2], strict=True))


def _cidr(operand: Any, value: Any) -> bool:
    try:
        return ipaddress.ip_address(value) in ipaddress.ip_network(operand, strict=False)
    except (ValueError, TypeError):
        return False


# -- checks -------------------------------------------------------------------------------------------------------------------------


def _wrong(why: str) -> InvalidPattern:
    return InvalidPattern(f"Event pattern is not valid. Reason: {why}.")


def _check_object(pattern: Any, where: str, depth: int) -> None:
    if not isinstance(pattern, dict) or not pattern:
        raise _wrong(f"{where or 'it'} must be an object with at least one member")
    if depth > DEEPEST:
        raise _wrong(f"{where} is deeper than {DEEPEST} objects")
    for name, wanted in pattern.items():
        below = f"{where}.{name}" if where else name
        if name == "$or" and _is_or(wanted):
            for each in wanted:
                _check_object(each, below, depth + 1)
        elif isinstance(wanted, dict):
            _check_object(wanted, below, depth + 1)
        elif isinstance(wanted, list):
            if not wanted:
                raise _wrong(f"{below} is an empty list: nothing could match")
            for each in wanted:
                _check_leaf(each, below)
        else:
            raise _wrong(f"{below} must be an object or a list: write [{json.dumps(wanted)[:50]}]")


def _is_or(wanted: Any) -> bool:
    return (
        isinstance(wanted, list)
        and len(wanted) >= 2
        and all(isinstance(each, dict) and not _operation(each) for each in wanted)
    )


def _operation(wanted: Mapping[str, Any]) -> bool:
    return len(wanted) == 1 and next(iter(wanted)) in _KINDS


def _check_leaf(wanted: Any, where: str) -> None:
    if not isinstance(wanted, dict):
        if isinstance(wanted, list):
            raise _wrong(f"{where}: a list inside a list")
        return
    if len(wanted) != 1:
        raise _wrong(f"{where}: an object in a list has one member, which says how to compare")
    ((kind, operand),) = wanted.items()
    known = _KINDS.get(kind)
    if known is None:
        raise _wrong(f"{where}: unrecognized match type {kind[:100]}; there are {', '.join(_KINDS)}")
    why = known[0](operand)
    if why:
        raise _wrong(f"{where}: {kind} {why}")


def _text(operand: Any) -> str:
    return "" if isinstance(operand, str) and operand else "takes a text that is not empty"


def _affix_text(operand: Any) -> str:
    if isinstance(operand, dict):
        fine = set(operand) == {"equals-ignore-case"} and not _text(operand["equals-ignore-case"])
        return "" if fine else 'takes a text, or {"equals-ignore-case": text}'
    return _text(operand)


def _wildcard_text(operand: Any) -> str:
    if _text(operand):
        return _text(operand)
    bare = operand.replace("\\\\", "").replace("\\*", "")
    if "**" in bare:
        return "has two stars in a row"
    return "has a \\ before neither * nor \\" if "\\" in bare else ""


def _but(operand: Any) -> str:
    if isinstance(operand, dict):
        if len(operand) != 1 or next(iter(operand)) not in ("prefix", "suffix", "equals-ignore-case", "wildcard"):
            return "takes values, or one of prefix, suffix, equals-ignore-case and wildcard"
        ((kind, inner),) = operand.items()
        each = inner if isinstance(inner, list) else [inner]
        return next((why for one in each if (why := _KINDS[kind][0](one))), "") if each else "takes at least one value"
    each = operand if isinstance(operand, list) else [operand]
    fine = each and all(isinstance(one, str) or _is_number(one) or one is None or isinstance(one, bool) for one in each)
    return "" if fine else "takes a text or number, or a list of them"


def _bounds(operand: Any) -> str:
    fine = (
        isinstance(operand, list)
        and len(operand) in (2, 4)
        and all(isinstance(sign, str) and sign in _COMPARE for sign in operand[::2])
        and all(_is_number(bound) for bound in operand[1::2])
    )
    return "" if fine else 'takes a comparison or two, such as [">", 0, "<=", 5]'


def _network(operand: Any) -> str:
    try:
        ipaddress.ip_network(operand, strict=False)
    except (ValueError, TypeError):
        return "takes a network, such as 10.0.0.0/24"
    return ""


# How to compare -> (what is wrong with its operand, whether a value fits).
_KINDS: Mapping[str, tuple[Callable[[Any], str], Callable[[Any, Any], bool]]] = {
    "prefix": (_affix_text, _prefix),
    "suffix": (_affix_text, _suffix),
    "anything-but": (_but, _anything_but),
    "numeric": (_bounds, _numeric),
    "exists": (lambda operand: "" if isinstance(operand, bool) else "takes true or false", lambda operand, value: True),
    "cidr": (_network, _cidr),
    "equals-ignore-case": (_text, _ignoring_case),
    "wildcard": (_wildcard_text, _wildcard),
}
