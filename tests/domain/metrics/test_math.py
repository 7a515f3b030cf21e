"""Metric math: expressions parsed and computed, queries in order, searches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from clary.domain.errors import Invalid
from clary.domain.metrics.datapoints import Series, Summary, single, weighed
from clary.domain.metrics.functions import compute
from clary.domain.metrics.math import Budget, Frame, LabelledSeries, parse
from clary.domain.metrics.queries import Queries, QueryResult, Read, line, parse_queries

A = LabelledSeries({0.0: 1.0, 60.0: 4.0, 180.0: 9.0}, "a")
B = LabelledSeries({0.0: 2.0, 60.0: 0.0, 120.0: 8.0}, "b")
FRAME = Frame({"a": A, "b": B, "slow": B, "zero": 0.0}, ("a", "b"), {}, (0.0, 60.0, 120.0, 180.0), 60, {"slow": 300})


def value(text: str) -> Any:
    found = compute(parse(text), FRAME)
    if isinstance(found, list):
        return [dict(line.points) for line in found]
    return dict(found.points) if isinstance(found, LabelledSeries) else found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3", 7.0),
        ("(1 + 2) * 3 - -1", 10.0),
        ("2 ^ 3 ^ 2", 512.0),
        ("10 / 4 - 1e1", -7.5),
        ("1 < 2 AND 2 <= 2 OR 0", 1.0),
        ("1 > 2 || 3 != 3", 0.0),
        ("a + 1", {0.0: 2.0, 60.0: 5.0, 180.0: 10.0}),
        ("a + b", {0.0: 3.0, 60.0: 4.0}),
        ("a / b", {0.0: 0.5}),
        ("100 * a / (a + b)", {0.0: 100 / 3, 60.0: 100.0}),
        ("a > 1", {0.0: 0.0, 60.0: 1.0, 180.0: 1.0}),
        ("SUM(a)", 14.0),
        ("SUM([a, b])", {0.0: 3.0, 60.0: 4.0, 120.0: 8.0, 180.0: 9.0}),
        ("SUM(METRICS())", {0.0: 3.0, 60.0: 4.0, 120.0: 8.0, 180.0: 9.0}),
        ('MAX(METRICS("b"))', {0.0: 2.0, 60.0: 0.0, 120.0: 8.0}),
        ("AVG(a) + MIN(a) + MAX(b) + DATAPOINT_COUNT(a)", 14 / 3 + 1 + 8 + 3),
        ("STDDEV(b)", pytest.approx(3.3993463)),
        ("[a, b] * 2", [{0.0: 2.0, 60.0: 8.0, 180.0: 18.0}, {0.0: 4.0, 60.0: 0.0, 120.0: 16.0}]),
        ("FILL(a, 0)", {0.0: 1.0, 60.0: 4.0, 120.0: 0.0, 180.0: 9.0}),
        ("FILL(a, b)", {0.0: 1.0, 60.0: 4.0, 120.0: 8.0, 180.0: 9.0}),
        ("FILL(a, REPEAT)", {0.0: 1.0, 60.0: 4.0, 120.0: 4.0, 180.0: 9.0}),
        ("FILL(a, LINEAR)", {0.0: 1.0, 60.0: 4.0, 120.0: 6.5, 180.0: 9.0}),
        ("IF(a > 1, a, b)", {0.0: 2.0, 60.0: 4.0, 180.0: 9.0}),
        ("IF(a > 1, 7)", {60.0: 7.0, 180.0: 7.0}),
        ("IF(zero, a, 5)", 5.0),
        ("RATE(a)", {60.0: 0.05, 180.0: 5 / 120}),
        ("DIFF(a)", {60.0: 3.0, 180.0: 5.0}),
        ("RUNNING_SUM(a)", {0.0: 1.0, 60.0: 5.0, 180.0: 14.0}),
        ("CEIL(a / 2) + FLOOR(a / 2) + ABS(0 - a)", {0.0: 2.0, 60.0: 8.0, 180.0: 18.0}),
        ("LOG10(b)", {0.0: pytest.approx(0.30103), 120.0: pytest.approx(0.90309)}),
        ("METRIC_COUNT(METRICS())", 2.0),
        ("a / PERIOD(a)", {0.0: 1 / 60, 60.0: 4 / 60, 180.0: 9 / 60}),
        ("PERIOD(slow) + PERIOD(a + b)", 360.0),
        ("TIME_SERIES(3)", {0.0: 3.0, 60.0: 3.0, 120.0: 3.0, 180.0: 3.0}),
        ("DIFF_TIME(a)", {60.0: 60.0, 180.0: 120.0}),
        ("MINUTE(a) + 100 * HOUR(a)", {0.0: 0.0, 60.0: 1.0, 180.0: 3.0}),
        (
            "DAY(a) + 10 * DATE(a) + 100 * MONTH(a) + 1000 * YEAR(a)",
            {0.0: 1970114.0, 60.0: 1970114.0, 180.0: 1970114.0},
        ),
        ("EPOCH(a)", {0.0: 0.0, 60.0: 60.0, 180.0: 180.0}),
        ("IF(DAY(a) < 6 AND MINUTE(a) >= 1, a)", {60.0: 4.0, 180.0: 9.0}),
        ("SORT([a, b], AVG, DESC)", [dict(A.points), dict(B.points)]),
        ("SORT(METRICS(), MIN, ASC)", [dict(B.points), dict(A.points)]),
        ("SORT(METRICS(), MAX, DESC, 1)", [dict(A.points)]),
        ("SLICE(METRICS(), 1)", [dict(B.points)]),
        ("SLICE(METRICS(), 0, 1)", [dict(A.points)]),
        ("FIRST(METRICS()) - LAST([b, a])", {0.0: 0.0, 60.0: 0.0, 180.0: 0.0}),
        ("REMOVE_EMPTY([a, IF(a > 99, a)])", [dict(A.points)]),
    ],
)
def test_expressions(text: str, expected: Any) -> None:
    assert value(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "1 +",
            "(a",
            "a b",
            "SUM(a",
            "NOSUCH(a)",
            "SUM()",
            "nobody",
            "'x' + 1",
            "1 / 0",
            "#",
            "(" * 60,
            "SUM('x')",
        ),
        *("SORT(a)", "SORT([a], AVG, UP)", "SORT([a], MEDIAN, ASC)", "SORT([a], AVG, ASC, 1.5)", "SLICE([a], 0 - 1)"),
        *("SERVICE_QUOTA(a)", "AVG", "PERIOD(nobody)"),
    ],
)
def test_expressions_that_are_refused(text: str) -> None:
    with pytest.raises(Invalid):
        value(text)


def computed(
    queries: Queries, windows: Mapping[Read, Sequence[tuple[float, Summary]]], end: float, budget: Budget | None = None
) -> list[QueryResult]:
    budget = budget or Budget()
    return queries.compute({read: line(read, windows[read], budget) for read in windows}, 0.0, end, budget=budget)


def stat(id: str, metric: str, **more: Any) -> dict[str, Any]:
    return {
        "Id": id,
        "MetricStat": {"Metric": {"Namespace": "N", "MetricName": metric}, "Period": 60, "Stat": "Sum"},
        **more,
    }


def test_expressions_are_computed_after_what_they_name() -> None:
    queries = parse_queries(
        [
            {"Id": "rate", "Expression": "100 * bad / all2", "Label": "rate"},
            {"Id": "bad", "Expression": "e4 + e5", "ReturnData": False},
            stat("e4", "m4", ReturnData=False),
            stat("e5", "m5", ReturnData=False),
            stat("all2", "all"),
        ]
    )
    reads = queries.reads()
    amounts = {"m4": 1.0, "m5": 2.0, "all": 12.0}
    results = computed(queries, {read: [(0.0, single(amounts[read.series.metric]))] for read in reads}, 60.0)
    assert [(r.id, r.label, r.points) for r in results] == [
        ("rate", "rate", ((0.0, 25.0),)),
        ("all2", "all", ((0.0, 12.0),)),
    ]


@pytest.mark.parametrize(
    "expression", ["m * m * m * m", "m * m * m * m - m * m * m * m", "SUM([m * m, 0 - m]) * 1e200", "m / 1e-300"]
)
def test_what_is_too_large_for_a_number_is_no_datapoint(expression: str) -> None:
    queries = parse_queries([stat("m", "m", ReturnData=False), {"Id": "e", "Expression": expression}])
    (read,) = queries.reads()
    (result,) = computed(queries, {read: [(0.0, single(2.0**360)), (60.0, single(1e-9))]}, 120.0)
    assert [at for at, _ in result.points] == [60.0]


def test_a_number_is_the_same_all_the_time() -> None:
    queries = parse_queries([stat("m", "m", ReturnData=False), {"Id": "e", "Expression": "MAX(m)"}])
    (read,) = queries.reads()
    (result,) = computed(queries, {read: [(0.0, single(1.0)), (120.0, single(5.0))]}, 180.0)
    assert result.points == ((0.0, 5.0), (60.0, 5.0), (120.0, 5.0))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "1 to 500"),
        ([{"Id": "Big", "Expression": "1"}], "lower-case letter"),
        ([{"Id": "e", "Expression": "1"}, {"Id": "e", "Expression": "2"}], "more than once"),
        ([{"Id": "e"}], "exactly one of"),
        ([{"Id": f"e{n}", "Expression": "1+" * 1000 + "1"} for n in range(50)], "100,050 characters together"),
        ([{"Id": "e", "Expression": "x + 1"}], "Error in expression 'e': there is no query with the id x"),
        ([{"Id": "e", "Expression": "1 +"}], "Error in expression 'e': it ends too early"),
        ([{"Id": "e", "Expression": "SEARCH('', 'Sum', 60)"}], "SEARCH needs a search term"),
        ([{"Id": "e", "Expression": "SEARCH('{N} a OR', 'Sum', 60)"}], "SEARCH ends where a term must follow"),
        ([{"Id": "e", "Expression": "SEARCH('{N} a', 'tm', 60)"}], "The statistic tm of SEARCH is not one of"),
        ([{"Id": "e", "Expression": "SORT(METRICS())"}], "SORT takes series"),
        (
            [{"Id": "e", "Expression": 'SELECT AVG(x) FROM "N"'}],
            "Metrics Insights .SELECT. is not available in Clary: use SEARCH",
        ),
    ],
)
def test_queries_that_are_refused(rows: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(Invalid, match=words.replace("+", r"\+")):
        parse_queries(rows)


def test_expressions_in_a_circle_are_refused() -> None:
    queries = parse_queries([{"Id": "e", "Expression": "f"}, {"Id": "f", "Expression": "e + 1"}])
    with pytest.raises(Invalid, match="depends on itself"):
        computed(queries, {}, 60.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{N,Host} Load", ["a Load", "b Load"]),
        ('{N,Host} MetricName="Load" Host="a"', ["a Load"]),
        ("{N,Host} idle", ["a Idle"]),
        ('{N,Host} "idle"', []),
        ("{N,Host}", ["a Idle", "a Load", "b Load"]),
        ("{N,Host,Port}", ["a 1 Load"]),
        ("{M,Host}", []),
        ("{N,Host} Load OR Idle", ["a Idle", "a Load", "b Load"]),
        ('{N,Host} MetricName=("Load" OR "Idle") AND NOT Host=b', ["a Idle", "a Load"]),
        ('Namespace="N" Load', ["a Load", "b Load", "a 1 Load"]),
    ],
)
def test_searches(text: str, expected: list[str]) -> None:
    known = (
        Series.of("N", "Idle", {"Host": "a"}),
        Series.of("N", "Load", {"Host": "a"}),
        Series.of("N", "Load", {"Host": "b"}),
        Series.of("N", "Load", {"Host": "a", "Port": "1"}),
    )
    queries = parse_queries([{"Id": "e", "Expression": f"SEARCH('{text}', 'p50', 60)"}])
    assert queries.searched == ({text[1]} if text[0] == "{" else {""})
    queries = queries.seeing(known, Budget())
    reads = queries.reads()
    assert all(read == Read(read.series, "p50", 60) and read.spread for read in reads)
    results = computed(queries, {read: [(0.0, weighed([(1.0, 1), (2.0, 1)]))] for read in reads}, 60.0)
    assert [result.label for result in results] == expected


def test_labels_of_results() -> None:
    metric = stat("m", "Load", Label="${PROP('Namespace')} ${LABEL} of ${PROP('Dim.Host')} [${LAST} ${NOSUCH}]")
    metric["MetricStat"]["Metric"]["Dimensions"] = [{"Name": "Host", "Value": "a"}]
    found = "SEARCH('{N,Host} Load', 'Maximum', 60)"
    queries = parse_queries(
        [
            metric,
            {"Id": "e", "Expression": "m * 2"},
            {"Id": "f", "Expression": "m * 2", "Label": "twice: ${SUM}"},
            {"Id": "s", "Expression": found, "Label": "hosts"},
            {"Id": "t", "Expression": found, "Label": "${PROP('Stat')} ${PROP('Dim.Host')}"},
        ]
    )
    queries = queries.seeing((Series.of("N", "Load", {"Host": "a"}),), Budget())
    read = {each: [(0.0, single(1.0)), (60.0, single(2.5))] for each in queries.reads()}
    assert [(each.id, each.label) for each in computed(queries, read, 120.0)] == [
        ("m", "N Load of a [2.5 ${NOSUCH}]"),
        ("e", "e"),
        ("f", "twice: 7"),
        ("s", "hosts a Load"),
        ("t", "Maximum a"),
    ]


@pytest.mark.parametrize(
    ("first", "second", "labels"),
    [
        ({}, {}, ["Load", "Load"]),
        ({"Stat": "Average"}, {}, ["Load Average", "Load Sum"]),
        ({"Period": 300}, {}, ["Load 300", "Load 60"]),
        ({"Stat": "p50", "Period": 300}, {}, ["Load p50 300", "Load Sum 60"]),
    ],
)
def test_labels_of_metrics_tell_statistics_and_periods_where_they_differ(
    first: dict[str, Any], second: dict[str, Any], labels: list[str]
) -> None:
    rows = [stat("a", "Load"), stat("b", "Load"), {"Id": "e", "Expression": "a + b"}]
    rows[0]["MetricStat"] |= first
    rows[1]["MetricStat"] |= second
    queries = parse_queries(rows)
    assert [each.label for each in computed(queries, {read: [] for read in queries.reads()}, 60.0)] == [*labels, "e"]


# -- bounds ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["+".join("1" * 1000), "<".join("1" * 1000), "SUM(" + "+".join("a" * 1000) + ")"])
def test_long_chains_are_computed(text: str) -> None:
    assert value(text) in (1000.0, 0.0, 14_000.0)


@pytest.mark.parametrize(
    "text", ["(" * 1000, "[" * 1000, "-" * 1000 + "1", "2^" * 1000 + "2", "SUM(" * 400, "1+" * 1100 + "1"]
)
def test_what_is_too_deep_or_too_long_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match=r"deep|2,048"):
        parse(text)


def test_lists_that_double_are_refused_before_they_grow() -> None:
    doubling = [{"Id": f"q{n}", "Expression": f"[q{n - 1}, q{n - 1}]"} for n in range(1, 21)]
    queries = parse_queries([stat("q0", "m"), *doubling])
    with pytest.raises(Invalid, match="Error in expression 'q9': a list has more than 500 series"):
        computed(queries, {read: [(0.0, single(1.0))] for read in queries.reads()}, 60.0)


@pytest.mark.parametrize(
    "expression",
    [
        "a + a",
        "SUM(METRICS())",
        "TIME_SERIES(1)",
        "FILL(a, 0)",
        "FILL(a, REPEAT)",
        "FILL([a, a], LINEAR)",
        "RUNNING_SUM(a)",
        "SORT(METRICS(), AVG, ASC)",
        "7",
        "a",
    ],
)
def test_a_call_makes_no_more_datapoints_than_its_budget(expression: str) -> None:
    queries = parse_queries([stat("a", "m", ReturnData=False), {"Id": "e", "Expression": expression}])
    (read,) = queries.reads()
    windows = {read: [(60.0 * n, single(1.0)) for n in range(1000)]}
    assert computed(queries, windows, 60_000.0, Budget(10_000))
    with pytest.raises(Invalid, match="more than 1,500 datapoints together"):
        computed(queries, windows, 60_000.0, Budget(1_500))


def test_more_than_the_budget_is_not_read() -> None:
    (read,) = parse_queries([stat("a", "m")]).reads()
    with pytest.raises(Invalid, match="more than 10 datapoints"):
        line(read, [(60.0 * n, single(1.0)) for n in range(11)], Budget(10))


def test_a_chain_of_five_hundred_queries_is_put_in_order() -> None:
    rows = [{"Id": f"q{n}", "Expression": f"q{n + 1} + 1"} for n in range(499)]
    queries = parse_queries([*rows, {"Id": "q499", "Expression": "1"}])
    assert computed(queries, {}, 60.0)[0].points == ((0.0, 500.0),)


def test_searches_are_bounded() -> None:
    rows = [{"Id": f"e{n}", "Expression": f"SEARCH('{{N}} a{n}', 'Sum', 60)"} for n in range(101)]
    with pytest.raises(Invalid, match="may have 100 SEARCH expressions"):
        parse_queries(rows)
    with pytest.raises(Invalid, match="1,025 characters"):
        parse_queries([{"Id": "e", "Expression": f"SEARCH('{'a' * 1025}', 'Sum', 60)"}])
    with pytest.raises(Invalid, match="more than 9 datapoints"):
        parse_queries(rows[:1]).seeing([Series.of("N", "a", {})] * 10, Budget(9))
