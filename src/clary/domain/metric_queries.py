"""MetricDataQueries, of GetMetricData and of alarms on metric math: what they read, and their results. Pure.

Three steps for whoever has the datapoints: `Queries.searched` names the namespaces that searches look into; `reads` says what to read,
once it is known which series these have; `compute` makes the results of what was read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from clary.domain.datapoints import Series, Summary
from clary.domain.errors import Invalid
from clary.domain.metric_functions import KEYWORDS, check, compute, search
from clary.domain.metric_labels import PLAIN, Labels, Source, filled, is_dynamic
from clary.domain.metric_math import CallOf, Frame, Line, Name, Node, Value, parse, walk
from clary.domain.metric_search import parse as parse_search
from clary.domain.statistics import KNOWN, needs_spread, statistic

MOST = 500
_INSIGHTS = re.compile(r"\s*SELECT\s", re.IGNORECASE)
_ID = re.compile(r"[a-z][a-zA-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class Read:
    """One series to be read, in windows of `period` seconds."""

    series: Series
    stat: str
    period: int

    @property
    def spread(self) -> bool:
        """Whether its distribution is needed."""
        return needs_spread(self.stat)


@dataclass(frozen=True, slots=True)
class Query:
    """`label` is "" where none was given."""

    id: str
    label: str
    returned: bool
    read: Read | None = None
    node: Node | None = None
    period: int = 0  # of an expression, where it names one


@dataclass(frozen=True, slots=True)
class Result:
    id: str
    label: str
    points: tuple[tuple[float, float], ...]  # in order of time


Found = Mapping[Read, Sequence[tuple[float, Summary]]]


@dataclass(frozen=True, slots=True)
class Queries:
    """Queries that were checked. `known` are the series of searched namespaces, once they are known."""

    queries: tuple[Query, ...]
    known: tuple[Series, ...] = field(default=())

    @property
    def period(self) -> int:
        """Of what expressions are computed in."""
        periods = [query.read.period for query in self.queries if query.read is not None]
        periods += [query.period for query in self.queries if query.period]
        periods += [period for _, _, period in self.searches if period]
        return max(periods, default=60)

    @property
    def searches(self) -> list[tuple[str, str, int]]:
        nodes = [node for query in self.queries if query.node is not None for node in walk(query.node)]
        return [search(node.arguments) for node in nodes if isinstance(node, CallOf) and node.function == "SEARCH"]

    @property
    def searched(self) -> set[str]:
        """Namespaces that searches look into; "" alone for every one."""
        names = {parse_search(text).namespace for text, _, _ in self.searches}
        return {""} if "" in names else names

    def reads(self) -> list[Read]:
        """Everything that is to be read, each once."""
        wanted = [query.read for query in self.queries if query.read is not None]
        for text, stat, period in self.searches:
            wanted += [Read(series, stat, period or self.period) for series in parse_search(text).found(self.known)]
        return list(dict.fromkeys(wanted))

    def compute(self, read: Found, start: float, end: float, labels: Labels = PLAIN) -> list[Result]:
        """The results of those that return data, in the order asked. Invalid names the expression that is wrong."""
        period = self.period
        lines = {each: _line(each, windows) for each, windows in read.items()}
        found = {
            (text, stat, every or period): [
                lines[Read(series, stat, every or period)] for series in parse_search(text).found(self.known)
            ]
            for text, stat, every in self.searches
        }
        times = tuple(start + period * count for count in range(math.ceil((end - start) / period)))
        results: dict[str, Value] = {query.id: lines[query.read] for query in self.queries if query.read is not None}
        metrics = tuple(results)
        periods = {query.id: query.read.period for query in self.queries if query.read is not None}
        for query in self._in_order():
            frame = Frame(results, metrics, found, times, period, periods)
            assert query.node is not None
            results[query.id] = _named(query, lambda node=query.node, frame=frame: compute(node, frame))
        told = (_results(query, results[query.id], times, period, labels) for query in self.queries if query.returned)
        return [made for each in told for made in each]

    def _in_order(self) -> list[Query]:
        """Expressions, each after those that it names."""
        waiting = {query.id: query for query in self.queries if query.node is not None}
        order: list[Query] = []
        while waiting:
            ready = [query for query in waiting.values() if not _names(query) & waiting.keys()]
            if not ready:
                raise Invalid(f"Error in expression '{min(waiting)}': it depends on itself.")
            order += ready
            for query in ready:
                del waiting[query.id]
        return order


def _names(query: Query) -> set[str]:
    return {node.id for node in walk(query.node) if isinstance(node, Name)} if query.node is not None else set()


def parse_queries(rows: Sequence[Mapping[str, Any]]) -> Queries:
    """Invalid says what is wrong with which."""
    if not 0 < len(rows) <= MOST:
        raise Invalid(f"MetricDataQueries must have 1 to {MOST} members; it has {len(rows)}.")
    queries = tuple(_query(row) for row in rows)
    ids = [query.id for query in queries]
    for id in ids:
        if ids.count(id) > 1:
            raise Invalid(f"MetricDataQueries: the id {id} is used more than once.")
    for query in queries:
        unknown = _names(query) - set(ids) - KEYWORDS
        if unknown:
            raise Invalid(f"Error in expression '{query.id}': there is no query with the id {min(unknown)}.")
    checked = Queries(queries)
    for text, stat, _ in checked.searches:
        parse_search(text)
        _check_stat(stat, "SEARCH")
    return checked


def _query(row: Mapping[str, Any]) -> Query:
    id = row["Id"]
    if not _ID.fullmatch(id):
        raise Invalid(
            f"MetricDataQueries: the id {id!r} must begin with a lower-case letter, and have letters, digits and _."
        )
    stat, expression = row.get("MetricStat"), row.get("Expression")
    if (stat is None) == (expression is None):
        raise Invalid(f"MetricDataQueries: {id} must have exactly one of MetricStat and Expression.")
    returned = row.get("ReturnData", True)
    if expression is not None:
        if _INSIGHTS.match(expression):
            raise Invalid(
                f"Error in expression '{id}': Metrics Insights (SELECT) is not available in Clary: use SEARCH."
            )
        node = _named(Query(id, "", returned), lambda: parse(expression))
        _named(Query(id, "", returned), lambda: check(node))
        return Query(id, row.get("Label") or "", returned, None, node, int(row.get("Period") or 0))
    assert stat is not None
    metric = stat["Metric"]
    for member in ("Namespace", "MetricName"):
        if not metric.get(member):
            raise Invalid(f"MetricDataQueries: MetricStat.Metric.{member} of {id} is required.")
    _check_stat(stat["Stat"], id)
    dimensions = {each["Name"]: each["Value"] for each in metric.get("Dimensions", ())}
    series = Series.of(metric["Namespace"], metric["MetricName"], dimensions, stat.get("Unit") or "")
    read = Read(series, stat["Stat"], int(stat["Period"]))
    return Query(id, row.get("Label") or "", returned, read)


def _check_stat(name: str, where: str) -> None:
    if statistic(name) is None:
        raise Invalid(f"The statistic {name} of {where} is not one of {KNOWN}.")


def _named(query: Query, work: Any) -> Any:
    try:
        return work()
    except Invalid as error:
        raise Invalid(f"Error in expression '{query.id}': {error.message}.") from None


def _line(read: Read, windows: Sequence[tuple[float, Summary]]) -> Line:
    value = statistic(read.stat)
    assert value is not None
    computed = ((at, value(summary)) for at, summary in windows)
    where = " ".join(each for _, each in read.series.dimensions)
    points = {at: each for at, each in computed if each is not None}
    return Line(points, f"{where} {read.series.metric}".strip(), read.series, read.stat)


def _results(query: Query, value: Value, times: Sequence[float], period: int, labels: Labels) -> list[Result]:
    if isinstance(value, float):  # a number is the same all the time
        value = Line(dict.fromkeys(times, value))
    if isinstance(value, str):
        raise Invalid(f"Error in expression '{query.id}': its result is text.")
    if query.read is not None:
        assert isinstance(value, Line)
        return [_result(query, value, query.read.series.metric, query.read.period, labels)]
    if isinstance(value, Line):
        return [_result(query, value, query.id, query.period or period, labels)]
    return [_result(query, line, line.label or query.id, query.period or period, labels, many=True) for line in value]


def _result(query: Query, line: Line, default: str, period: int, labels: Labels, many: bool = False) -> Result:
    """With the label that was given, and the values in it; before those of each line of many that name none."""
    points = _finite(line)
    source = Source(default, period, line.stat, line.series)
    label = query.label or default
    if is_dynamic(label):
        label = filled(label, source, points, labels)
    elif many and query.label:
        label = f"{query.label} {default}"
    return Result(query.id, label, points)


def _finite(line: Line) -> tuple[tuple[float, float], ...]:
    """In order. What is no number, or too large for one, is no datapoint."""
    return tuple(sorted((at, value) for at, value in line.points.items() if math.isfinite(value)))
