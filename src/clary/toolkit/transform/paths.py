"""JSON paths of InputFilter, OutputFilter and the like: which parts of a record are taken. Pure.

Source: the developer guide's "Associate prediction results with input records": `$`, `.name`, `*`, `['a','b']`, `[0,2,-1]`, `[a:b]` (the
end is exclusive). Nothing recursive, no `?()`, and nothing nested in brackets. Does not know formats: `joining.py` does. Standard library
only, Python 3.9 or newer; the API checks filters with the same parser.
"""

from __future__ import annotations

import re
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

_NAME = re.compile(r"\.([A-Za-z_][A-Za-z0-9_-]*)")
_ANY = re.compile(r"\.\*|\[\s*\*\s*\]")
_QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_NAMES = re.compile(rf"\[\s*((?:{_QUOTED})(?:\s*,\s*(?:{_QUOTED}))*)\s*\]")
_PLACES = re.compile(r"\[\s*(-?\d+(?:\s*,\s*-?\d+)*)\s*\]")
_RANGE = re.compile(r"\[\s*(-?\d*)\s*:\s*(-?\d*)\s*\]")
_ONE_QUOTED = re.compile(_QUOTED)


class BadPath(ValueError):
    """A path that is not supported; its message says from where on, and what is."""


class Names(NamedTuple):
    names: Tuple[str, ...]


class Indexes(NamedTuple):
    indexes: Tuple[int, ...]


class IndexRange(NamedTuple):
    """From `first` up to, not including, `end`; None: from the start, to the end."""

    first: Optional[int]
    end: Optional[int]


class Every(NamedTuple):
    """Every element, or every member's value."""


Part = Union[Names, Indexes, IndexRange, Every]


class JsonPath(NamedTuple):
    text: str
    parts: Tuple[Part, ...]

    @property
    def whole(self) -> bool:
        """It takes the record as it is."""
        return not self.parts

    @property
    def single(self) -> bool:
        """It names one value at most; anything else selects a list."""
        return all(
            (isinstance(part, Names) and len(part.names) == 1) or (isinstance(part, Indexes) and len(part.indexes) == 1)
            for part in self.parts
        )

    def select(self, value: Any) -> List[Any]:
        """What it takes of a value, in the order in which it names it. What is not there is left out."""
        found = [value]
        for part in self.parts:
            found = [inner for outer in found for inner in _step(part, outer)]
        return found


def parse(text: str, member: str = "path") -> JsonPath:
    """BadPath for what AWS does not have; `member` names the request's member in the message."""
    if not text.startswith("$"):
        raise BadPath(f"{member}: '{text}' is not a JSON path that is supported: it must begin with '$'.")
    parts: List[Part] = []
    at = 1
    while at < len(text):
        part, end = _part(text, at)
        if part is None:
            raise BadPath(
                f"{member}: '{text}' is not a JSON path that is supported, from '{text[at:]}' on. Use .name, .*, ['a','b'], [0,2,-1], "
                "[0:3] or [*]; recursion (..), filters (?) and scripts are not supported."
            )
        parts.append(part)
        at = end
    return JsonPath(text, tuple(parts))


def _part(text: str, at: int) -> Tuple[Optional[Part], int]:
    if found := _ANY.match(text, at):
        return Every(), found.end()
    if found := _NAME.match(text, at):
        return Names((found[1],)), found.end()
    if found := _NAMES.match(text, at):
        return Names(tuple(_unquoted(quoted) for quoted in _ONE_QUOTED.findall(found[1]))), found.end()
    if found := _PLACES.match(text, at):
        return Indexes(tuple(int(number) for number in found[1].split(","))), found.end()
    if found := _RANGE.match(text, at):
        return IndexRange(int(found[1]) if found[1] else None, int(found[2]) if found[2] else None), found.end()
    return None, at


def _unquoted(quoted: str) -> str:
    return re.sub(r"\\(.)", r"\1", quoted[1:-1])


def _step(part: Part, value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from _of_object(part, value)
    elif isinstance(value, (list, tuple)):
        yield from _of_array(part, value)


def _of_object(part: Part, value: Dict[str, Any]) -> Iterator[Any]:
    if isinstance(part, Every):
        yield from value.values()
    elif isinstance(part, Names):
        yield from (value[name] for name in part.names if name in value)


def _of_array(part: Part, value: Sequence[Any]) -> Iterator[Any]:
    if isinstance(part, Every):
        yield from value
    elif isinstance(part, IndexRange):
        yield from value[part.first : part.end]
    elif isinstance(part, Indexes):
        yield from (value[index] for index in part.indexes if -len(value) <= index < len(value))
