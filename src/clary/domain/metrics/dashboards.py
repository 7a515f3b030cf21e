"""What the body of a CloudWatch dashboard must be: JSON with widgets, each with a type, a place and properties. Pure.

Only what a reader of dashboards relies on is checked; who draws them (Grafana, a console) decides about the rest. Refuses to draw.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

KIND = "dashboard"
NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")
WIDGETS = 500
BODY = 1 << 20  # bytes

# Widget types, with the properties that each must have, and of what JSON type.
_PROPERTIES: Mapping[str, Mapping[str, type]] = {
    "metric": {"region": str},
    "text": {"markdown": str},
    "log": {"region": str, "query": str},
    "alarm": {"alarms": list},
    "explorer": {"metrics": list},
    "custom": {"endpoint": str},
}
_BOUNDS = {"x": (0, 23), "y": (0, 1 << 31), "width": (1, 24), "height": (1, 1000)}
_WORDS = {str: "string", list: "array", int: "integer", dict: "object"}


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a body, and where: a JSON pointer."""

    path: str
    message: str


def problems(body: str) -> list[Problem]:
    """Everything that is wrong; empty for a body that can be kept."""
    if len(body.encode()) > BODY:
        return [Problem("/", f"Should be at most {BODY} bytes")]
    try:
        parsed = json.loads(body)
    except ValueError as error:
        return [Problem("/", f"The field DashboardBody must be a valid JSON object: {error}")]
    except RecursionError:
        return [Problem("/", "The field DashboardBody must be a valid JSON object: it is nested too deeply")]
    if not isinstance(parsed, dict):
        return [Problem("/", "The field DashboardBody must be a valid JSON object")]
    widgets = parsed.get("widgets")
    if not isinstance(widgets, list):
        missing = "widgets" not in parsed
        return [Problem("/", "Should have required property 'widgets'") if missing else _type("/widgets", list)]
    if len(widgets) > WIDGETS:
        return [Problem("/widgets", f"Should not have more than {WIDGETS} items")]
    return [problem for number, widget in enumerate(widgets) for problem in _widget(f"/widgets/{number}", widget)]


def _widget(path: str, widget: Any) -> Iterator[Problem]:
    if not isinstance(widget, dict):
        yield _type(path, dict)
        return
    for name, (low, high) in _BOUNDS.items():
        value = widget.get(name, low)
        if not isinstance(value, int) or isinstance(value, bool):
            yield _type(f"{path}/{name}", int)
        elif not low <= value <= high:
            yield Problem(f"{path}/{name}", f"Should be >= {low} and <= {high}")
    kind = widget.get("type")
    if kind is None:
        yield Problem(path, "Should have required property 'type'")
    elif not isinstance(kind, str) or kind not in _PROPERTIES:
        yield Problem(f"{path}/type", f"Should be equal to one of the allowed values: {', '.join(_PROPERTIES)}")
    properties = widget.get("properties")
    if not isinstance(properties, dict):
        yield (
            Problem(path, "Should have required property 'properties'")
            if properties is None
            else _type(f"{path}/properties", dict)
        )
    elif isinstance(kind, str) and kind in _PROPERTIES:
        yield from _properties(f"{path}/properties", kind, properties)


def _properties(path: str, kind: str, properties: Mapping[str, Any]) -> Iterator[Problem]:
    for name, wanted in _PROPERTIES[kind].items():
        if name not in properties:
            yield Problem(path, f"Should have required property '{name}'")
        elif not isinstance(properties[name], wanted):
            yield _type(f"{path}/{name}", wanted)
    if kind == "metric":
        metrics = properties.get("metrics")
        if metrics is None and "annotations" not in properties:
            yield Problem(path, "Should have required property 'metrics' or 'annotations'")
        elif metrics is not None and not (isinstance(metrics, list) and all(_is_metric(each) for each in metrics)):
            yield Problem(
                f"{path}/metrics", "Should be an array of arrays: namespace, metric, dimensions; or an object"
            )


def _is_metric(row: Any) -> bool:
    return isinstance(row, list) and bool(row) and all(isinstance(each, (str, dict)) for each in row)


def _type(path: str, wanted: type) -> Problem:
    return Problem(path, f"Should be {_WORDS[wanted]}")


def words(found: Sequence[Problem]) -> str:
    """The error's message, as AWS writes it."""
    rows = json.dumps([{"dataPath": problem.path, "message": problem.message} for problem in found])
    return f"The dashboard body is invalid, there are {len(found)} validation errors: {rows}"
