"""MetricDataQueries, of GetMetricData and of alarms on metric math: what they read, and their results. Pure.

Four steps for the owner of the datapoints: `Queries.searched` names the namespaces that searches look into; `seeing` looks through the
series of these; `reads` says what to read, and `line` what was read; `compute` makes the results. All of a call goes by one `Budget`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from clary.domain.errors import Invalid
from clary.domain.metrics.datapoints import Series, Summary
from clary.domain.metrics.functions import KEYWORDS, check, compute, search
from clary.domain.metrics.labels import PLAIN, Labels, Source, filled, is_dynamic
from clary.domain.metrics.math import Budget, CallOf, Frame, LabelledSeries, Name, Node, Value, parse, size, walk
from clary.domain.metrics.search import parse as parse_search
from clary.domain.metrics.statistics import KNOWN, needs_spread, statistic

MOST = 500
MOST_SEARCHES = 100  # CloudWatch's, of one graph
MOST_READS = 5_000
MOST_TEXT = 100_000  # characters of all expressions of a call: about a second to parse
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
class QueryResult:
    id: str
    label: str
    points: tuple[tuple[float, float], ...]  # in order of time


Sought = tuple[str, str, int]  # a SEARCH: its text, statistic and period (0: that of the request)


@dataclass(frozen=True, slots=True)
class Queries:
    """Queries that were checked. `found` are the series of each search, once they are known."""

    queries: tuple[Query, ...]
    searches: tuple[Sought, ...] = ()
    found: Mapping[Sought, tuple[Series, ...]] = field(default_factory=dict)

    @property
    def period(self) -> int:
        """Of what expressions are computed in."""
        periods = [query.read.period for query in self.queries if query.read is not None]
        periods += [query.period for query in self.queries if query.period]
        periods += [period for _, _, period in self.searches if period]
        return max(periods, default=60)

    @property
    def finest(self) -> int:
        """The shortest period of anything that is read or computed."""
        periods = [query.read.period for query in self.queries if query.read is not None]
        return min([self.period, *periods, *(period for _, _, period in self.searches if period)])

    @property
    def searched(self) -> set[str]:
        """Namespaces that searches look into; "" alone for every one."""
        names = {parse_search(text).namespace for text, _, _ in self.searches}
        return {""} if "" in names else names

    def seeing(self, known: Sequence[Series], budget: Budget) -> Queries:
        """These queries, their searches done among the series of the searched namespaces."""
        found: dict[Sought, tuple[Series, ...]] = {}
        for sought in self.searches:
            budget.spend(len(known))
            found[sought] = tuple(parse_search(sought[0]).found(known))
        return replace(self, found=found)

    def reads(self) -> list[Read]:
        """Everything that is to be read, each once. Invalid: too much."""
        wanted = [query.read for query in self.queries if query.read is not None]
        for (_, stat, period), found in self.found.items():
            wanted += [Read(series, stat, period or self.period) for series in found]
        each_once = list(dict.fromkeys(wanted))
        if len(each_once) > MOST_READS:
            raise Invalid(f"The searches find {len(each_once):,} metrics; one call reads {MOST_READS:,} at most.")
        return each_once

    def compute(
        self,
        lines: Mapping[Read, LabelledSeries],
        start: float,
        end: float,
        labels: Labels = PLAIN,
        budget: Budget | None = None,
    ) -> list[QueryResult]:
        """The results of those that return data, in the order asked. Invalid names the expression that is wrong."""
        budget = budget or Budget()
        period = self.period
        found = {
            sought: [lines[Read(series, sought[1], sought[2] or period)] for series in self.found.get(sought, ())]
            for sought in self.searches
        }
        times = tuple(start + period * count for count in range(math.ceil((end - start) / period)))
        results: dict[str, Value] = {query.id: lines[query.read] for query in self.queries if query.read is not None}
        metrics = tuple(results)
        periods = {query.id: query.read.period for query in self.queries if query.read is not None}
        for query in self._in_order():
            frame = Frame(results, metrics, found, times, period, periods, budget)
            assert query.node is not None
            results[query.id] = _named(query, lambda node=query.node, frame=frame: compute(node, frame))
        shown = [query for query in self.queries if query.returned]
        named = _default_labels([query for query in shown if query.read is not None])
        told: list[QueryResult] = []
        for query in shown:
            value = results[query.id]
            _named(query, lambda value=value: budget.spend(len(times) if isinstance(value, float) else size(value)))
            told += _results(query, value, times, period, labels, named.get(query.id, query.id))
        return told

    def _in_order(self) -> list[Query]:
        """Expressions, each after those that it names."""
        expressions = {query.id: query for query in self.queries if query.node is not None}
        waits = {id: _names(query) & expressions.keys() for id, query in expressions.items()}
        before: dict[str, list[str]] = {}
        for id, names in waits.items():
            for name in names:
                before.setdefault(name, []).append(id)
        order = [id for id, names in waits.items() if not names]
        for ready in order:  # grows as it goes
            for id in before.get(ready, ()):
                waits[id].remove(ready)
                if not waits[id]:
                    order.append(id)
        if len(order) < len(expressions):
            raise Invalid(f"Error in expression '{min(expressions.keys() - set(order))}': it depends on itself.")
        return [expressions[id] for id in order]


def _default_labels(queries: Sequence[Query]) -> dict[str, str]:
    """Of metrics by id: their name, then the statistic where those of the call differ, then the period where those do."""
    reads = {query.id: query.read for query in queries if query.read is not None}
    stats = len({read.stat for read in reads.values()}) > 1
    periods = len({read.period for read in reads.values()}) > 1
    return {
        id: read.series.metric + (f" {read.stat}" if stats else "") + (f" {read.period}" if periods else "")
        for id, read in reads.items()
    }


def _names(query: Query) -> set[str]:
    return {node.id for node in walk(query.node) if isinstance(node, Name)} if query.node is not None else set()


def parse_queries(rows: Sequence[Mapping[str, Any]], account: str = "") -> Queries:
    """Invalid says what is wrong with which. `account` is whose metrics there are; "" where that was checked."""
    _check_accounts(rows, account)
    _check_amount(rows)
    queries = tuple(_query(row) for row in rows)
    _check_ids(queries)
    return Queries(queries, tuple(dict.fromkeys(_searches(queries))))


def _check_accounts(rows: Sequence[Mapping[str, Any]], account: str) -> None:
    for row in rows:
        if account and row.get("AccountId", account) != account:
            raise Invalid(
                f"MetricDataQueries: AccountId of {row['Id']} is another account, and Clary links no accounts. Leave it out."
            )


def _check_amount(rows: Sequence[Mapping[str, Any]]) -> None:
    """Before anything is parsed."""
    if not 0 < len(rows) <= MOST:
        raise Invalid(f"MetricDataQueries must have 1 to {MOST} members; it has {len(rows)}.")
    length = sum(len(row.get("Expression") or "") for row in rows)
    if length > MOST_TEXT:
        raise Invalid(f"The expressions have {length:,} characters together; those of one call may have {MOST_TEXT:,}.")


def _check_ids(queries: Sequence[Query]) -> None:
    """Each id stands for one query, and each name in an expression for one that is there."""
    ids = Counter(query.id for query in queries)
    for id, count in ids.items():
        if count > 1:
            raise Invalid(f"MetricDataQueries: the id {id} is used more than once.")
    for query in queries:
        unknown = _names(query) - ids.keys() - KEYWORDS
        if unknown:
            raise Invalid(f"Error in expression '{query.id}': there is no query with the id {min(unknown)}.")


def _searches(queries: Sequence[Query]) -> list[Sought]:
    """Every SEARCH of the expressions, checked."""
    nodes = [node for query in queries if query.node is not None for node in walk(query.node)]
    searches = [search(node.arguments) for node in nodes if isinstance(node, CallOf) and node.function == "SEARCH"]
    if len(searches) > MOST_SEARCHES:
        raise Invalid(f"MetricDataQueries may have {MOST_SEARCHES} SEARCH expressions; they have {len(searches)}.")
    for text, stat, _ in searches:
        parse_search(text)
        _check_stat(stat, "SEARCH")
    return searches


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


def line(read: Read, windows: Sequence[tuple[float, Summary]], budget: Budget) -> LabelledSeries:
    """What was read: the statistic of each window."""
    budget.spend(len(windows) + 1)
    value = statistic(read.stat)
    assert value is not None
    computed = ((at, value(summary)) for at, summary in windows)
    where = " ".join(each for _, each in read.series.dimensions)
    points = {at: each for at, each in computed if each is not None}
    return LabelledSeries(points, f"{where} {read.series.metric}".strip(), read.series, read.stat)


def _results(
    query: Query, value: Value, times: Sequence[float], period: int, labels: Labels, default: str
) -> list[QueryResult]:
    if isinstance(value, float):  # a number is the same all the time
        value = LabelledSeries(dict.fromkeys(times, value))
    if isinstance(value, str):
        raise Invalid(f"Error in expression '{query.id}': its result is text.")
    if query.read is not None:
        assert isinstance(value, LabelledSeries)
        return [_result(query, value, default, query.read.period, labels)]
    if isinstance(value, LabelledSeries):
        return [_result(query, value, default, query.period or period, labels)]
    return [_result(query, line, line.label or default, query.period or period, labels, many=True) for line in value]


def _result(
    query: Query, line: LabelledSeries, default: str, period: int, labels: Labels, many: bool = False
) -> QueryResult:
    """With the label that was given, and the values in it; before those of each line of many that name none."""
    points = _finite(line)
    source = Source(default, period, line.stat, line.series)
    label = query.label or default
    if is_dynamic(label):
        label = filled(label, source, points, labels)
    elif many and query.label:
        label = f"{query.label} {default}"
    return QueryResult(query.id, label, points)


def _finite(line: LabelledSeries) -> tuple[tuple[float, float], ...]:
    """In order. What is no number, or too large for one, is no datapoint."""
    return tuple(sorted((at, value) for at, value in line.points.items() if math.isfinite(value)))
