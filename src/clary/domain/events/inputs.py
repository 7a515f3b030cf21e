"""What a target is given of an event: all of it, a constant, a part, or a template with parts of it put in. Pure. Source: EventBridge
user guide, "Amazon EventBridge input transformation".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from clary.domain.errors import InvalidValue

_STEP = re.compile(r"\.([A-Za-z0-9_$@:-]+)|\[(\d{1,6}|\*)\]|\['([^']+)'\]")
_PLACE = re.compile(r"<([A-Za-z0-9_.-]+)>")
LONGEST = 8192  # characters of a constant or template


def check(target: Mapping[str, Any]) -> None:
    """InvalidValue unless the target's input is one that can be made."""
    given = [name for name in ("Input", "InputPath", "InputTransformer") if target.get(name)]
    if len(given) > 1:
        raise InvalidValue(
            f"Only one of Input, InputPath, or InputTransformer must be provided for target {target['Id']}."
        )
    if "Input" in given:
        if len(target["Input"]) > LONGEST:
            raise InvalidValue(f"Input of target {target['Id']} has more than {LONGEST} characters.")
        try:
            json.loads(target["Input"])
        except (ValueError, RecursionError):
            raise InvalidValue(f"JSON syntax error in input for target {target['Id']}.") from None
    paths = [target["InputPath"]] if "InputPath" in given else []
    transformer = target.get("InputTransformer") or {}
    known = transformer.get("InputPathsMap") or {}
    for path in (*paths, *known.values()):
        _steps(path)
    for name in _PLACE.findall(transformer.get("InputTemplate") or ""):
        if name not in known and not name.startswith("aws.events."):
            raise InvalidValue(
                f"InputTemplate for target {target['Id']} contains placeholder <{name}> that is not in InputPathsMap."
            )


def text_of(target: Mapping[str, Any], event: Mapping[str, Any], rule: str, now: str) -> str:
    """What the target of that rule (its ARN) is sent."""
    if target.get("Input"):
        return str(target["Input"])
    if target.get("InputPath"):
        return _dump(find(event, target["InputPath"]))
    transformer = target.get("InputTransformer")
    if not transformer:
        return _dump(event)
    values = {name: find(event, path) for name, path in (transformer.get("InputPathsMap") or {}).items()}
    values |= {
        "aws.events.rule-arn": rule,
        "aws.events.rule-name": rule.rpartition("/")[2],
        "aws.events.event.ingestion-time": now,
        "aws.events.event": {key: value for key, value in event.items() if key != "detail"},
        "aws.events.event.json": dict(event),
    }
    return fill(transformer["InputTemplate"], values)


def find(event: Any, path: str) -> Any:
    """The value at a path such as `$.detail.names[0]`; None where there is none."""
    value = event
    for step in _steps(path):
        if isinstance(step, int):
            value = value[step] if isinstance(value, list) and step < len(value) else None
        elif step != "*":
            value = value.get(step) if isinstance(value, dict) else None
    return value


def _steps(path: str) -> list[str | int]:
    found: list[str | int] = []
    at = 1
    if not path.startswith("$"):
        raise InvalidValue(f"InputPath '{path[:200]}' must begin with $")
    while at < len(path):
        match = _STEP.match(path, at)
        if match is None:
            raise InvalidValue(f"InputPath '{path[:200]}' is not understood from '{path[at : at + 50]}' on")
        name, number, quoted = match.groups()
        found.append(int(number) if number and number != "*" else name or quoted or "*")
        at = match.end()
    return found


def fill(template: str, values: Mapping[str, Any]) -> str:
    """The template with its places filled: as JSON, or inside a JSON text as that text."""
    parts: list[str] = []
    at, inside = 0, False
    while at < len(template):
        character = template[at]
        if inside and character == "\\":
            parts.append(template[at : at + 2])
            at += 2
            continue
        match = _PLACE.match(template, at) if character == "<" else None
        if match is not None and match[1] in values:
            parts.append(_inside(values[match[1]]) if inside else _dump(values[match[1]]))
            at = match.end()
            continue
        inside = inside != (character == '"')
        parts.append(character)
        at += 1
    return "".join(parts)


def _inside(value: Any) -> str:
    """A value as it stands in a JSON text."""
    if value is None:
        return ""
    return json.dumps(value if isinstance(value, str) else _dump(value))[1:-1]


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
