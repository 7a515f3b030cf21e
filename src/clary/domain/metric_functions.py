"""The functions of metric math, and the computing of a parsed expression. Pure. Semantics: CloudWatch's user guide, "Using metric math"."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Callable, Mapping, Sequence

from clary.domain.errors import Invalid
from clary.domain.metric_math import (
    Array,
    Binary,
    CallOf,
    Frame,
    Line,
    Literal,
    Name,
    Node,
    Points,
    Value,
    combine,
    walk,
)


def compute(node: Node, frame: Frame) -> Value:
    """Invalid says which name or function is not known, or is given what it does not take."""
    match node:
        case Literal(value):
            return value
        case Name(id):
            if id not in frame.results:
                raise Invalid(f"there is no query with the id {id}")
            return frame.results[id]
        case Array(items):
            return [line for item in items for line in _lines(compute(item, frame))]
        case Binary(symbol, left, right):
            return combine(symbol, compute(left, frame), compute(right, frame))
        case CallOf(function, arguments):
            return _call(function, arguments, frame)


def _call(function: str, nodes: Sequence[Node], frame: Frame) -> Value:
    if function == "SEARCH":
        text, stat, period = search(nodes)
        return frame.found.get((text, stat, period or frame.period), [])
    if function == "FILL" and len(nodes) == 2 and isinstance(nodes[1], Name) and nodes[1].id in ("REPEAT", "LINEAR"):
        return _each(compute(nodes[0], frame), lambda points: _filled(points, frame, str(getattr(nodes[1], "id", ""))))
    return _found(function, len(nodes))([compute(node, frame) for node in nodes], frame)


def check(node: Node) -> None:
    """Invalid for functions that are not known, or have too many or too few arguments: an alarm is told when it is made."""
    for each in walk(node):
        if isinstance(each, CallOf) and each.function != "SEARCH":
            _found(each.function, len(each.arguments))


def _found(function: str, given: int) -> Callable[[list[Value], Frame], Value]:
    known = _FUNCTIONS.get(function)
    if known is None:
        names = ", ".join(sorted([*_FUNCTIONS, "SEARCH"]))
        raise Invalid(f"the function {function} is not available in Clary: it has {names}")
    least, most, run = known
    if not least <= given <= most:
        raise Invalid(f"{function} takes {least if least == most else f'{least} to {most}'} arguments, not {given}")
    return run


def search(nodes: Sequence[Node]) -> tuple[str, str, int]:
    """SEARCH's text, statistic and period (0: that of the request)."""
    values = [node.value if isinstance(node, Literal) else None for node in nodes]
    if not 2 <= len(values) <= 3 or not isinstance(values[0], str) or not isinstance(values[1], str):
        raise Invalid(
            "SEARCH takes a text, a statistic and a period: SEARCH('{AWS/SageMaker,EndpointName} x', 'Sum', 60)"
        )
    period = values[2] if len(values) == 3 else 0.0
    if not isinstance(period, float):
        raise Invalid("SEARCH takes a number of seconds as its period")
    return values[0], values[1], int(period)


def _lines(value: Value) -> list[Line]:
    if isinstance(value, Line):
        return [value]
    if isinstance(value, list):
        return value
    raise Invalid("a series is needed, not a number or text")


def _each(value: Value, change: Callable[[Points], Points]) -> Value:
    """A function of one series, on each of a list."""
    if isinstance(value, Line):
        return Line(change(value.points), value.label)
    return [Line(change(line.points), line.label) for line in _lines(value)]


def _gathered(reduce: Callable[[Sequence[float]], float]) -> Callable[[list[Value], Frame], Value]:
    """SUM and its like: of a series one number; of several a series of what they have at each time."""

    def run(values: list[Value], frame: Frame) -> Value:
        (value,) = values
        if isinstance(value, float):
            return value
        if isinstance(value, Line):
            return float(reduce(list(value.points.values()))) if value.points else math.nan
        lines = _lines(value)
        held: dict[float, list[float]] = {}
        for line in lines:
            for at, each in line.points.items():
                held.setdefault(at, []).append(each)
        return Line({at: float(reduce(each)) for at, each in sorted(held.items())})

    return run


def _mapped(change: Callable[[float], float | None]) -> Callable[[list[Value], Frame], Value]:
    def points(held: Points) -> Points:
        changed = ((at, change(value)) for at, value in held.items())
        return {at: value for at, value in changed if value is not None}

    def run(values: list[Value], frame: Frame) -> Value:
        (value,) = values
        if isinstance(value, float):
            result = change(value)
            if result is None:
                raise Invalid(f"the function has no result for {value:g}")
            return result
        return _each(value, points)

    return run


def _log(base: float) -> Callable[[float], float | None]:
    return lambda value: math.log(value) / math.log(base) if value > 0 else None


def _spread(values: Sequence[float]) -> float:
    middle = sum(values) / len(values)
    return math.sqrt(sum((value - middle) ** 2 for value in values) / len(values))


def _filled(points: Points, frame: Frame, how: str | float | Line) -> Points:
    """FILL: a number, the values of another series, the last value (REPEAT), or a line between neighbours (LINEAR)."""
    found: dict[float, float] = {}
    known = sorted(points)
    for at in frame.times:
        if at in points:
            found[at] = points[at]
        elif isinstance(how, float):
            found[at] = how
        elif isinstance(how, Line):
            if at in how.points:
                found[at] = how.points[at]
        else:
            place = bisect.bisect(known, at)
            before = known[place - 1] if place else None
            after = known[place] if place < len(known) else None
            if how == "REPEAT" and before is not None:
                found[at] = points[before]
            elif how == "LINEAR" and before is not None and after is not None:
                share = (at - before) / (after - before)
                found[at] = points[before] + share * (points[after] - points[before])
    return found


def _fill(values: list[Value], frame: Frame) -> Value:
    value, how = values
    if isinstance(how, list | str):
        raise Invalid("FILL takes a number, a series, REPEAT or LINEAR")
    return _each(value, lambda points: _filled(points, frame, how))


def _if(values: list[Value], frame: Frame) -> Value:
    """IF(condition, then, else): at each time, what the condition picks; nothing where that has nothing."""
    condition, then = values[0], values[1]
    otherwise: Value = values[2] if len(values) == 3 else Line({})
    if isinstance(condition, float):
        return then if condition else otherwise
    if not isinstance(condition, Line):
        raise Invalid("IF takes a number or a series as its condition")
    found: dict[float, float] = {}
    for at, holds in condition.points.items():
        taken = then if holds else otherwise
        if isinstance(taken, float):
            found[at] = taken
        elif isinstance(taken, Line):
            if at in taken.points:
                found[at] = taken.points[at]
        else:
            raise Invalid("IF takes numbers and series, not lists or text")
    label = next((each.label for each in (then, otherwise) if isinstance(each, Line)), condition.label)
    return Line(found, label)


def _differences(points: Points, seconds: bool) -> Points:
    pairs = itertools.pairwise(sorted(points))
    return {at: (points[at] - points[before]) / ((at - before) if seconds else 1) for before, at in pairs}


def _running(points: Points) -> Points:
    total, found = 0.0, {}
    for at in sorted(points):
        total += points[at]
        found[at] = total
    return found


def _metrics(values: list[Value], frame: Frame) -> Value:
    """METRICS(): the series of all metrics asked for; METRICS("text"): of those whose id has the text."""
    wanted = values[0] if values else ""
    if not isinstance(wanted, str):
        raise Invalid("METRICS takes a text that ids contain")
    return [line for id in frame.metrics if wanted in id for line in _lines(frame.results[id])]


def _period(values: list[Value], frame: Frame) -> Value:
    return Line({at: float(frame.period) for line in _lines(values[0]) for at in line.points})


def _constant(values: list[Value], frame: Frame) -> Value:
    (value,) = values
    if not isinstance(value, float):
        raise Invalid("TIME_SERIES takes a number")
    return Line(dict.fromkeys(frame.times, value))


Run = Callable[[list[Value], Frame], Value]
_FUNCTIONS: Mapping[str, tuple[int, int, Run]] = {
    "ABS": (1, 1, _mapped(abs)),
    "AVG": (1, 1, _gathered(lambda values: sum(values) / len(values))),
    "CEIL": (1, 1, _mapped(lambda value: float(math.ceil(value)))),
    "DATAPOINT_COUNT": (1, 1, _gathered(len)),
    "DIFF": (1, 1, lambda values, frame: _each(values[0], lambda points: _differences(points, False))),
    "FILL": (2, 2, _fill),
    "FLOOR": (1, 1, _mapped(lambda value: float(math.floor(value)))),
    "IF": (2, 3, _if),
    "LOG": (1, 1, _mapped(_log(math.e))),
    "LOG10": (1, 1, _mapped(_log(10.0))),
    "MAX": (1, 1, _gathered(max)),
    "METRICS": (0, 1, _metrics),
    "METRIC_COUNT": (1, 1, lambda values, frame: float(len(_lines(values[0])))),
    "MIN": (1, 1, _gathered(min)),
    "PERIOD": (1, 1, _period),
    "RATE": (1, 1, lambda values, frame: _each(values[0], lambda points: _differences(points, True))),
    "RUNNING_SUM": (1, 1, lambda values, frame: _each(values[0], _running)),
    "STDDEV": (1, 1, _gathered(_spread)),
    "SUM": (1, 1, _gathered(sum)),
    "TIME_SERIES": (1, 1, _constant),
}
