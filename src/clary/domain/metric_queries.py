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

from clary.domain.datapoints import Series, Summary, statistic
from clary.domain.errors import Invalid
from clary.domain.metric_functions import check, compute, search
from clary.domain.metric_math import CallOf, Frame, Line, Name, Node, Value, parse, walk

MOST = 500
_ID = re.compile(r"[a-z][a-zA-Z0-9_]*")
_SCHEMA = re.compile(r"\s*\{([^}]*)\}\s*(.*)", re.S)
_TERM = re.compile(r'\s*(?:([A-Za-z][\w.-]*)\s*=\s*)?(?:"([^"]*)"|([^\s"()=]+))')


@dataclass(frozen=True, slots=True)
class Read:
    """One series to be read, in windows of `period` seconds."""

    series: Series
    stat: str
    period: int

    @property
    def spread(self) -> bool:
        """Whether its distribution is needed."""
        return self.stat.startswith("p")


@dataclass(frozen=True, slots=True)
class Query:
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
        """Namespaces that searches look into."""
        return {_schema(text)[0][0] for text, _, _ in self.searches}

    def reads(self) -> list[Read]:
        """Everything that is to be read, each once."""
        wanted = [query.read for query in self.queries if query.read is not None]
        for text, stat, period in self.searches:
            wanted += [Read(series, stat, period or self.period) for series in _matching(text, self.known)]
        return list(dict.fromkeys(wanted))

    def compute(self, read: Found, start: float, end: float) -> list[Result]:
        """The results of those that return data, in the order asked. Invalid names the expression that is wrong."""
        period = self.period
        lines = {each: _line(each, windows) for each, windows in read.items()}
        found = {
            (text, stat, every or period): [
                lines[Read(series, stat, every or period)] for series in _matching(text, self.known)
            ]
            for text, stat, every in self.searches
        }
        times = tuple(start + period * count for count in range(math.ceil((end - start) / period)))
        results: dict[str, Value] = {query.id: lines[query.read] for query in self.queries if query.read is not None}
        metrics = tuple(results)
        for query in self._in_order():
            frame = Frame(results, metrics, found, times, period)
            assert query.node is not None
            results[query.id] = _named(query, lambda node=query.node, frame=frame: compute(node, frame))
        return [made for query in self.queries if query.returned for made in _results(query, results[query.id], times)]

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
        unknown = _names(query) - set(ids) - {"REPEAT", "LINEAR"}
        if unknown:
            raise Invalid(f"Error in expression '{query.id}': there is no query with the id {min(unknown)}.")
    checked = Queries(queries)
    for text, stat, _ in checked.searches:
        _schema(text)
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
        node = _named(Query(id, "", returned), lambda: parse(expression))
        _named(Query(id, "", returned), lambda: check(node))
        return Query(id, row.get("Label") or id, returned, None, node, int(row.get("Period") or 0))
    assert stat is not None
    metric = stat["Metric"]
    for member in ("Namespace", "MetricName"):
        if not metric.get(member):
            raise Invalid(f"MetricDataQueries: MetricStat.Metric.{member} of {id} is required.")
    _check_stat(stat["Stat"], id)
    dimensions = {each["Name"]: each["Value"] for each in metric.get("Dimensions", ())}
    series = Series.of(metric["Namespace"], metric["MetricName"], dimensions, stat.get("Unit") or "")
    read = Read(series, stat["Stat"], int(stat["Period"]))
    return Query(id, row.get("Label") or metric["MetricName"], returned, read)


def _check_stat(name: str, where: str) -> None:
    if statistic(name) is None:
        raise Invalid(
            f"The statistic {name} of {where} is not supported: Clary has Average, Maximum, Minimum, SampleCount, Sum and percentiles."
        )


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
    return Line({at: each for at, each in computed if each is not None}, f"{where} {read.series.metric}".strip())


def _results(query: Query, value: Value, times: Sequence[float]) -> list[Result]:
    if isinstance(value, float):  # a number is the same all the time
        value = Line(dict.fromkeys(times, value))
    if isinstance(value, str):
        raise Invalid(f"Error in expression '{query.id}': its result is text.")
    if isinstance(value, Line):
        return [Result(query.id, query.label, _finite(value))]
    return [Result(query.id, line.label or query.label, _finite(line)) for line in value]


def _finite(line: Line) -> tuple[tuple[float, float], ...]:
    """In order. What is no number, or too large for one, is no datapoint."""
    return tuple(sorted((at, value) for at, value in line.points.items() if math.isfinite(value)))


# -- searches ----------------------------------------------------------------------------------------------------------------------


def _schema(text: str) -> tuple[list[str], str]:
    """`{Namespace,Dimension,...} terms`: the names in brackets, and the rest."""
    match = _SCHEMA.fullmatch(text)
    names = [name.strip().strip('"') for name in match.group(1).split(",")] if match is not None else []
    if match is None or not names[0]:
        raise Invalid(
            "SEARCH begins with a namespace and dimensions in brackets: {AWS/SageMaker,EndpointName,VariantName} ..."
        )
    if re.search(r"\b(OR|NOT)\b|[()]", re.sub(r'"[^"]*"', "", match.group(2))):
        raise Invalid("SEARCH with OR, NOT and brackets is not available in Clary: write terms that must all match")
    return names, match.group(2)


def _matching(text: str, known: Sequence[Series]) -> list[Series]:
    (namespace, *names), rest = _schema(text)
    terms = [(key, exact if exact is not None else word or "", exact is not None) for key, exact, word in _terms(rest)]
    return [
        series
        for series in known
        if series.namespace == namespace
        and {name for name, _ in series.dimensions} == set(names)
        and all(_fits(series, *term) for term in terms)
    ]


def _terms(text: str) -> list[tuple[str | None, str | None, str | None]]:
    return [match.groups() for match in _TERM.finditer(text) if match.group(3) != "AND"]  # type: ignore[misc]


def _fits(series: Series, key: str | None, wanted: str, exact: bool) -> bool:
    held = {"MetricName": series.metric, **dict(series.dimensions)}
    values = [*held.values(), *held] if key is None else [held[key]] if key in held else []
    if exact:
        return wanted in values
    return any(wanted.lower() in value.lower() for value in values)
