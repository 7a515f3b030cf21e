"""Caching of steps: whether an earlier success of a step stands for this one, and if not, why not. Pure.

The members of the arguments that count are AWS's (`steps.ChildType.key`); they are compared after their expressions were evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clary.domain.errors import Invalid
from clary.domain.pipelines import paths

_UNITS = (("y", 365 * 86400.0), ("mo", 30 * 86400.0), ("w", 7 * 86400.0), ("d", 86400.0))
_TIMES = (("h", 3600.0), ("m", 60.0), ("s", 1.0))
_DURATION = re.compile(
    r"p?(?:(?P<y>\d{1,4})y)?(?:(?P<mo>\d{1,4})m)?(?:(?P<w>\d{1,4})w)?(?:(?P<d>\d{1,6})d)?"
    r"(?:t(?:(?P<h>\d{1,6})h)?(?:(?P<m>\d{1,8})m)?(?:(?P<s>\d{1,9})s)?)?",
    re.IGNORECASE,
)
_LONGEST = 60  # characters of a value in a reason
_ABSENT = object()


def seconds(text: Any) -> float:
    """ExpireAfter: ISO 8601's durations, and AWS's looser forms (`30d`, `30dT5h`). Invalid for anything else."""
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    found = {name: value for name, value in match.groupdict().items() if value} if match else {}
    if not found:
        raise Invalid(f"ExpireAfter is {text!r}; it must be a duration such as PT1H, P30D or 30dT5h.")
    units = {"y": _UNITS[0][1], "mo": _UNITS[1][1], "w": _UNITS[2][1], "d": _UNITS[3][1], **dict(_TIMES)}
    return sum(int(value) * units[name] for name, value in found.items())


@dataclass(frozen=True, slots=True)
class Former:
    """An earlier success of the same step of the same pipeline: its execution, when it ended, and what was compared then."""

    execution: str
    ended: float
    key: Mapping[str, Any]
    state: Mapping[str, Any]


def key_of(arguments: Mapping[str, Any], members: Sequence[str]) -> dict[str, Any]:
    """What a cache compares: member -> value, of those that are given."""
    found: dict[str, Any] = {}
    for member in members:
        try:
            found[member] = paths.find(arguments, member)
        except paths.Undefined:
            continue
    return found


def match(
    key: Mapping[str, Any], formers: Sequence[Former], lifetime: float | None, now: float
) -> tuple[Former | None, str]:
    """The newest success with an equal key, and "" - or None, and why the newest success of all does not stand for this one. `formers` are
    newest first; `lifetime` in seconds, None: for ever."""
    young = [each for each in formers if lifetime is None or now - each.ended < lifetime]
    for each in young:
        if each.key == key:
            return each, ""
    if young:
        return None, "; ".join(differences(young[0].key, key)[:5])
    if formers:
        return (
            None,
            f"its last success ended {round(now - formers[0].ended)} s ago, and expires after {round(lifetime or 0)} s",
        )
    return None, "no earlier execution of this step succeeded with caching on"


def differences(before: Any, after: Any, path: str = "") -> list[str]:
    """Where two values differ, in words: `HyperParameters.eta was 0.1, is 0.2`."""
    return list(_differences(before, after, path))


def _differences(before: Any, after: Any, path: str) -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in sorted({*before, *after}):
            below = f"{path}.{name}" if path else name
            yield from _differences(before.get(name, _ABSENT), after.get(name, _ABSENT), below)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for at, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _differences(one, other, f"{path}[{at}]")
    elif before is _ABSENT:
        yield f"{path} was absent, is {_short(after)}"
    elif after is _ABSENT:
        yield f"{path} was {_short(before)}, is absent"
    elif before != after:
        yield f"{path} was {_short(before)}, is {_short(after)}"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
