"""Paths into JSON values, as pipelines write them: `a.b`, `a[0].b`, `Outputs['train']`, `['a b'].c`, with or without a leading `$.`. Pure.

A name in brackets picks the member of an object, or the element of a list that has this name (reference/lifecycle.md 8.2).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from clary.domain.errors import Invalid

DEEPEST = 64
_NAMING = ("OutputName", "InputName", "ChannelName", "MetricName", "Name", "Key")  # members that name elements of lists
_PART = re.compile(
    r"""\.?(?P<word>[^.\[\]'"]+)|\[(?P<index>-?\d{1,9})\]|\['(?P<single>[^']*)'\]|\["(?P<double>[^"]*)"\]"""
)

Part = str | int


class Undefined(Exception):
    """The value has nothing at this path."""


@lru_cache(maxsize=4096)
def parse(path: str) -> tuple[Part, ...]:
    """The parts of a path: numbers for places in lists, text for names. Invalid for one that cannot be read."""
    text = path.removeprefix("$")
    found: list[Part] = []
    at = 0
    while at < len(text):
        match = _PART.match(text, at)
        if match is None or match.end() == at or (at == 0 and text[0] == "." and len(text) == len(path)):
            raise Invalid(f"The path {path!r} cannot be read at character {at + 1}: write a.b, a[0].b or a['b'].")
        if match["index"] is not None:
            found.append(int(match["index"]))
        else:
            found.append(next(each for each in (match["word"], match["single"], match["double"]) if each is not None))
        at = match.end()
    if not found:
        raise Invalid(f"The path {path!r} names nothing: write a.b, a[0].b or a['b'].")
    if len(found) > DEEPEST:
        raise Invalid(f"The path {path[:80]!r}... has {len(found)} parts; {DEEPEST} are allowed.")
    return tuple(found)


def find(value: Any, path: str) -> Any:
    """What stands at the path. Undefined when nothing does."""
    for part in parse(path):
        value = _below(value, part)
    return value


def _below(value: Any, part: Part) -> Any:
    if isinstance(part, int):
        if isinstance(value, list) and 0 <= part < len(value):
            return value[part]
    elif isinstance(value, dict):
        if part in value:
            return value[part]
    elif isinstance(value, list):
        for each in value:
            if isinstance(each, dict) and any(each.get(naming) == part for naming in _NAMING):
                return each
    raise Undefined
