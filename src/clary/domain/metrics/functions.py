"""The functions of metric math, and the computing of a parsed expression. Pure. Semantics: CloudWatch's user guide, "Using metric math"."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from clary.domain.errors import Invalid
from clary.domain.metrics.math import (
    MOST_SERIES,
    Array,
    Binary,
    CallOf,
    Frame,
    LabelledSeries,
    Literal,
    Name,
    Node,
    Points,
    Value,
    combine,
    size,
    walk,
)

_ORDERS = ("ASC", "DESC")
_FILLS = ("REPEAT", "LINEAR")
_LACKING = {
    "ANOMALY_DETECTION_BAND": "anomaly detection",
    "DB_PERF_INSIGHTS": "Performance Insights",
    "INSIGHT_RULE_METRIC": "Contributor Insights",
    "LAMBDA": "AWS Lambda",
    "SERVICE_QUOTA": "Service Quotas",
}


def compute(node: Node, frame: Frame) -> Value:
    """Invalid says which name or function is not known, is given what it does not take, or needs more than may be spent."""
    chain: list[Binary] = []
    while isinstance(node, Binary):  # `1 + 1 + ...` leans to the left, and may be long
        chain.append(node)
        node = node.left
    value = _one(node, frame)
    for each in reversed(chain):
        right = compute(each.right, frame)
        frame.budget.spend(size(value) + size(right))
        value = combine(each.symbol, value, right)
    return value


def _one(node: Node, frame: Frame) -> Value:
    """What is no operator."""
    match node:
        case Literal(value):
            return value
        case Name(id):
            if id not in frame.results:
                raise Invalid(f"there is no query with the id {id}")
            return frame.results[id]
        case Array(items):
            return _array(items, frame)
        case CallOf(function, arguments):
            return _call(function, arguments, frame)
        case Binary():
            return compute(node, frame)


def _array(items: Sequence[Node], frame: Frame) -> list[LabelledSeries]:
    lines: list[LabelledSeries] = []
    for item in items:
        more = _lines(compute(item, frame))
        if len(lines) + len(more) > MOST_SERIES:
            raise Invalid(f"a list has more than {MOST_SERIES} series")
        lines += more
    frame.budget.spend(len(lines))
    return lines


def _call(function: str, nodes: Sequence[Node], frame: Frame) -> Value:
    if function == "SEARCH":
        text, stat, period = search(nodes)
        return frame.found.get((text, stat, period or frame.period), [])
    if function == "FILL" and len(nodes) == 2 and _keyword(nodes[1]) in _FILLS:
        value = compute(nodes[0], frame)
        frame.budget.spend(_made(function, [value], frame))
        return _each(value, lambda points: _filled(points, frame, _keyword(nodes[1])))
    if function == "SORT":
        return _sorted(nodes, frame)
    if function == "PERIOD" and len(nodes) == 1 and isinstance(nodes[0], Name):
        compute(nodes[0], frame)
        return float(frame.periods.get(nodes[0].id, frame.period))
    run = _found(function, len(nodes))
    values = [compute(node, frame) for node in nodes]
    frame.budget.spend(_made(function, values, frame))
    return run(values, frame)


def _made(function: str, values: Sequence[Value], frame: Frame) -> int:
    """What a function goes through or makes at most: FILL and TIME_SERIES give a value to every time."""
    if function == "TIME_SERIES":
        return len(frame.times)
    if function == "FILL":
        return len(values[0]) * len(frame.times) if isinstance(values[0], list) else len(frame.times)
    return sum(size(value) for value in values)


def check(node: Node) -> None:
    """Invalid for functions that are not known, or have too many or too few arguments: an alarm is told when it is made."""
    for each in walk(node):
        if isinstance(each, CallOf) and each.function not in ("SEARCH", "SORT"):
            _found(each.function, len(each.arguments))
        elif isinstance(each, CallOf) and each.function == "SORT":
            _order(each.arguments)


def _keyword(node: Node) -> str:
    return node.id if isinstance(node, Name) else ""


def _order(nodes: Sequence[Node]) -> tuple[Callable[[Sequence[float]], float], bool]:
    """What SORT goes by, and whether the largest comes first."""
    by, order = (_keyword(nodes[1]), _keyword(nodes[2])) if 3 <= len(nodes) <= 4 else ("", "")
    if by not in _SORTED_BY or order not in _ORDERS:
        raise Invalid(
            f"SORT takes series, one of {', '.join(_SORTED_BY)}, ASC or DESC, and how many: SORT(METRICS(), AVG, DESC, 5)"
        )
    return _SORTED_BY[by], order == "DESC"


def _sorted(nodes: Sequence[Node], frame: Frame) -> Value:
    """SORT: the series in order of what they have; those without datapoints last."""
    reduce, largest_first = _order(nodes)
    lines = _lines(compute(nodes[0], frame))
    frame.budget.spend(size(lines))
    held = sorted(
        (line for line in lines if line.points),
        key=lambda line: reduce(list(line.points.values())),
        reverse=largest_first,
    )
    found = [*held, *(line for line in lines if not line.points)]
    return found if len(nodes) == 3 else found[: _whole(compute(nodes[3], frame), "SORT")]


def _slice(values: list[Value], frame: Frame) -> Value:
    """SLICE: the series from one place to before another, or to the end."""
    start, *end = (_whole(value, "SLICE") for value in values[1:])
    return _lines(values[0])[start : end[0] if end else None]


def _whole(value: Value, function: str) -> int:
    if not isinstance(value, float) or value < 0 or not value.is_integer():
        raise Invalid(f"{function} takes whole numbers that are not negative")
    return int(value)


def _found(function: str, given: int) -> Callable[[list[Value], Frame], Value]:
    known = _FUNCTIONS.get(function)
    if function in _LACKING:
        raise Invalid(f"the function {function} is not available in Clary, which has no {_LACKING[function]}")
    if known is None:
        names = ", ".join(sorted([*_FUNCTIONS, "SEARCH", "SORT"]))
        raise Invalid(f"the function {function} is not available in Clary: it has {names}")
    least, most, run = known
    if not least <= given <= most:
        counts = f"{least if least == most else f'{least} to {most}'} argument{'' if most == 1 else 's'}"
        raise Invalid(f"{function} takes {counts}, not {given}")
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


def _lines(value: Value) -> list[LabelledSeries]:
    if isinstance(value, LabelledSeries):
        return [value]
    if isinstance(value, list):
        return value
    raise Invalid("a series is needed, not a number or text")


def _each(value: Value, change: Callable[[Points], Points]) -> Value:
    """A function of one series, on each of a list."""
    if isinstance(value, LabelledSeries):
        return LabelledSeries(change(value.points), value.label)
    return [LabelledSeries(change(line.points), line.label) for line in _lines(value)]


def _gathered(reduce: Callable[[Sequence[float]], float]) -> Callable[[list[Value], Frame], Value]:
    """SUM and its like: of a series one number; of several a series of what they have at each time."""

    def run(values: list[Value], frame: Frame) -> Value:
        (value,) = values
        if isinstance(value, float):
            return value
        if isinstance(value, LabelledSeries):
            return float(reduce(list(value.points.values()))) if value.points else math.nan
        lines = _lines(value)
        held: dict[float, list[float]] = {}
        for line in lines:
            for at, each in line.points.items():
                held.setdefault(at, []).append(each)
        return LabelledSeries({at: float(reduce(each)) for at, each in sorted(held.items())})

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


def _filled(points: Points, frame: Frame, how: str | float | LabelledSeries) -> Points:
    """FILL: a number, the values of another series, the last value (REPEAT), or a line between neighbours (LINEAR)."""
    found: dict[float, float] = {}
    known = sorted(points)
    for at in frame.times:
        if at in points:
            found[at] = points[at]
        elif isinstance(how, float):
            found[at] = how
        elif isinstance(how, LabelledSeries):
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
    otherwise: Value = values[2] if len(values) == 3 else LabelledSeries({})
    if isinstance(condition, float):
        return then if condition else otherwise
    if not isinstance(condition, LabelledSeries):
        raise Invalid("IF takes a number or a series as its condition")
    found: dict[float, float] = {}
    for at, holds in condition.points.items():
        taken = then if holds else otherwise
        if isinstance(taken, float):
            found[at] = taken
        elif isinstance(taken, LabelledSeries):
            if at in taken.points:
                found[at] = taken.points[at]
        else:
            raise Invalid("IF takes numbers and series, not lists or text")
    label = next((each.label for each in (then, otherwise) if isinstance(each, LabelledSeries)), condition.label)
    return LabelledSeries(found, label)


def _differences(points: Points, seconds: bool) -> Points:
    pairs = itertools.pairwise(sorted(points))
    return {at: (points[at] - points[before]) / ((at - before) if seconds else 1) for before, at in pairs}


def _since_last(points: Points) -> Points:
    return {at: at - before for before, at in itertools.pairwise(sorted(points))}


def _at(tell: Callable[[datetime], float]) -> Callable[[list[Value], Frame], Value]:
    """What its time tells of each datapoint, in UTC."""
    return lambda values, frame: _each(
        values[0], lambda points: {at: float(tell(datetime.fromtimestamp(at, UTC))) for at in points}
    )


def _end(place: int) -> Callable[[list[Value], Frame], Value]:
    def run(values: list[Value], frame: Frame) -> Value:
        lines = _lines(values[0])
        return lines[place] if lines else LabelledSeries({})

    return run


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


def _constant(values: list[Value], frame: Frame) -> Value:
    (value,) = values
    if not isinstance(value, float):
        raise Invalid("TIME_SERIES takes a number")
    return LabelledSeries(dict.fromkeys(frame.times, value))


Run = Callable[[list[Value], Frame], Value]
_FUNCTIONS: Mapping[str, tuple[int, int, Run]] = {
    "ABS": (1, 1, _mapped(abs)),
    "AVG": (1, 1, _gathered(lambda values: sum(values) / len(values))),
    "CEIL": (1, 1, _mapped(lambda value: float(math.ceil(value)))),
    "DATAPOINT_COUNT": (1, 1, _gathered(len)),
    "DATE": (1, 1, _at(lambda at: at.day)),
    "DAY": (1, 1, _at(lambda at: at.isoweekday())),
    "DIFF": (1, 1, lambda values, frame: _each(values[0], lambda points: _differences(points, False))),
    "DIFF_TIME": (1, 1, lambda values, frame: _each(values[0], _since_last)),
    "EPOCH": (1, 1, _at(lambda at: at.timestamp())),
    "FILL": (2, 2, _fill),
    "FIRST": (1, 1, _end(0)),
    "FLOOR": (1, 1, _mapped(lambda value: float(math.floor(value)))),
    "HOUR": (1, 1, _at(lambda at: at.hour)),
    "IF": (2, 3, _if),
    "LAST": (1, 1, _end(-1)),
    "LOG": (1, 1, _mapped(_log(math.e))),
    "LOG10": (1, 1, _mapped(_log(10.0))),
    "MAX": (1, 1, _gathered(max)),
    "METRICS": (0, 1, _metrics),
    "METRIC_COUNT": (1, 1, lambda values, frame: float(len(_lines(values[0])))),
    "MIN": (1, 1, _gathered(min)),
    "MINUTE": (1, 1, _at(lambda at: at.minute)),
    "MONTH": (1, 1, _at(lambda at: at.month)),
    "PERIOD": (1, 1, lambda values, frame: float(frame.period)),
    "RATE": (1, 1, lambda values, frame: _each(values[0], lambda points: _differences(points, True))),
    "REMOVE_EMPTY": (1, 1, lambda values, frame: [line for line in _lines(values[0]) if line.points]),
    "RUNNING_SUM": (1, 1, lambda values, frame: _each(values[0], _running)),
    "SLICE": (2, 3, _slice),
    "STDDEV": (1, 1, _gathered(_spread)),
    "SUM": (1, 1, _gathered(sum)),
    "TIME_SERIES": (1, 1, _constant),
    "YEAR": (1, 1, _at(lambda at: at.year)),
}
_SORTED_BY: Mapping[str, Callable[[Sequence[float]], float]] = {
    "AVG": lambda values: sum(values) / len(values),
    "MAX": max,
    "MIN": min,
    "SUM": sum,
}
KEYWORDS = frozenset({*_FILLS, *_ORDERS, *_SORTED_BY})  # words of expressions that are no ids
