"""A model card as a PDF: its sections in the order of the schema, metrics as text, graphs and tables. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clary.domain.registry.card_content import CARD
from clary.domain.registry.pdf import MARGIN, WIDTH, Writer

_HIGH, _WIDE = 120.0, WIDTH - 2.0 * MARGIN
_NOTE = "Characters that the fonts of this document do not have are written as their code, such as \\u4e2d."
_INDENT, _DEEPEST = 12, 10


def pages(name: str, version: int, status: str, content: Mapping[str, Any]) -> bytes:
    """The PDF file of a card whose content matches the schema."""
    writer = Writer(f"{name}, version {version}")
    writer.text(name, 20, bold=True)
    writer.text(f"Model card, version {version}: {status}", 10)
    for section in CARD.of:
        if content.get(section):
            writer.need(60)
            writer.text(_title(section), 14, bold=True, before=16)
            _value(writer, content[section], 0)
    if writer.replaced:
        writer.text(_NOTE, 8, before=16)
    return writer.document()


def _title(member: str) -> str:
    return member.replace("_", " ").capitalize()


def _value(writer: Writer, value: Any, depth: int) -> None:
    if isinstance(value, Mapping):
        if "metric_data" in value:
            _group(writer, value, depth)
            return
        for name, member in value.items():
            _member(writer, name, member, depth)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for at, each in enumerate(value):
            if isinstance(each, Mapping | list):
                if at:
                    writer.y -= 6
                _value(writer, each, depth)
            else:
                writer.text(f"- {each}", left=_left(depth))
    else:
        writer.text(str(value), left=_left(depth))


def _left(depth: int) -> float:
    return MARGIN + _INDENT * min(depth, _DEEPEST)


def _member(writer: Writer, name: str, member: Any, depth: int) -> None:
    if isinstance(member, Mapping | list):
        if member:
            writer.text(_title(name), 10, bold=True, left=_left(depth), before=4)
            _value(writer, member, depth + 1)
    else:
        writer.text(f"{_title(name)}: {member}", left=_left(depth))


def _group(writer: Writer, group: Mapping[str, Any], depth: int) -> None:
    writer.text(str(group["name"]), 10, bold=True, left=_left(depth), before=4)
    for metric in group["metric_data"]:
        kind, value = metric["type"], metric["value"]
        notes = f" ({metric['notes']})" if metric.get("notes") else ""
        if kind == "linear_graph" and _drawable(value):
            writer.text(f"{metric['name']}{notes}", left=_left(depth), before=4)
            _graph(writer, value, str(metric.get("x_axis_name", "")), str(metric.get("y_axis_name", "")))
        elif kind == "bar_chart" and value:
            writer.text(f"{metric['name']}{notes}", left=_left(depth), before=4)
            _bars(writer, value, list(metric.get("x_axis_name") or ()))
        elif kind == "matrix" and value:
            writer.text(f"{metric['name']}{notes}", left=_left(depth), before=4)
            _table(writer, value, list(metric.get("x_axis_name") or ()), list(metric.get("y_axis_name") or ()))
        else:
            writer.text(f"{metric['name']}: {value}{notes}", left=_left(depth))


def _drawable(points: Sequence[Sequence[float]]) -> bool:
    return len(points) > 1 and all(len(point) == 2 for point in points)


def _scaled(value: float, least: float, most: float) -> float:
    return 0.5 if most <= least else (value - least) / (most - least)


def _frame(writer: Writer) -> tuple[float, float]:
    """Room for a figure: its lower left corner."""
    writer.need(_HIGH + 40)
    writer.y -= _HIGH + 30
    x, y = MARGIN + 50.0, writer.y + 15
    writer.line([(x, y + _HIGH), (x, y), (x + _WIDE - 60, y)])
    return x, y


def _graph(writer: Writer, points: Sequence[Sequence[float]], across: str, up: str) -> None:
    x, y = _frame(writer)
    xs, ys = [point[0] for point in points], [point[1] for point in points]
    way = [
        (x + _scaled(a, min(xs), max(xs)) * (_WIDE - 60), y + _scaled(b, min(ys), max(ys)) * _HIGH) for a, b in points
    ]
    writer.line(way)
    writer.put(f"{min(ys):.4g}", MARGIN, y)
    writer.put(f"{max(ys):.4g} {up}", MARGIN, y + _HIGH)
    writer.put(f"{min(xs):.4g}", x, y - 12)
    writer.put(f"{max(xs):.4g} {across}", x + _WIDE - 110, y - 12)


def _bars(writer: Writer, values: Sequence[float], names: Sequence[str]) -> None:
    x, y = _frame(writer)
    least, most = min(0.0, *values), max(0.0, *values)
    zero = _scaled(0.0, least, most) * _HIGH
    room = (_WIDE - 60) / len(values)
    for at, value in enumerate(values):
        high = _scaled(value, least, most) * _HIGH - zero
        writer.box(x + at * room + room * 0.1, y + zero, room * 0.8, high)
        if room >= 20:
            label = names[at] if at < len(names) else ""
            writer.put(label[: int(room / 5)], x + at * room + room * 0.1, y - 12, 7)
    writer.put(f"{least:.4g}", MARGIN, y)
    writer.put(f"{most:.4g}", MARGIN, y + _HIGH)


def _table(writer: Writer, rows: Sequence[Sequence[float]], across: Sequence[str], down: Sequence[str]) -> None:
    columns = max(len(row) for row in rows)
    room = min(_WIDE / (columns + 1), 90.0)
    lines = [["", *across]] if across else []
    lines += [[down[at] if at < len(down) else "", *(f"{value:.4g}" for value in row)] for at, row in enumerate(rows)]
    for line in lines:
        writer.need(13)
        writer.y -= 13
        for at, cell in enumerate(line):
            if MARGIN + at * room < WIDTH - MARGIN:
                writer.put(str(cell)[: max(3, int(room / 5))], MARGIN + at * room, writer.y)
