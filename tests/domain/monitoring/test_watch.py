"""The watch over a variant: phases, windows, alarms and their chance, bounds, restarts."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest

from clary.domain.monitoring.captured import Row
from clary.domain.monitoring.drift import DriftRule
from clary.domain.monitoring.metrics import datapoints_of
from clary.domain.monitoring.watch import BYTES, Judged, Watch

SMALL = DriftRule(reference=1000, window=200)


def normal(draw: np.random.Generator, rows: int, columns: int, shift: float = 0.0) -> list[Row]:
    return [
        {f"input.{at}": value for at, value in enumerate(row)}
        for row in draw.normal(shift, 1, (rows, columns)).tolist()
    ]


def heavy(draw: np.random.Generator, rows: int, columns: int, shift: float = 0.0) -> list[Row]:
    drawn = np.exp(draw.normal(shift, 2, (rows, columns)))
    return [{f"input.{at}": value for at, value in enumerate(row)} for row in drawn.tolist()]


def categories(draw: np.random.Generator, rows: int, columns: int, shift: float = 0.0) -> list[Row]:
    drawn = draw.zipf(1.3, (rows, columns)).clip(max=1000)
    return [{f"input.{at}": f"c{value}" for at, value in enumerate(row)} for row in drawn.tolist()]


def fed(watch: Watch, rows: list[Row], start: float = 0.0) -> Iterator[Judged]:
    """Row by hundred rows, a second each."""
    for at in range(0, len(rows), 100):
        yield from watch.take(rows[at : at + 100], start + at / 100)


def begun(draw: np.random.Generator, columns: int = 3, rule: DriftRule = SMALL, make: object = normal) -> Watch:
    watch = Watch(rule)
    assert not list(fed(watch, make(draw, 1000 + rule.reference, columns)))  # type: ignore[operator]
    assert watch.phase() == ""
    return watch


def test_first_the_bins_then_the_reference_then_windows() -> None:
    draw = np.random.default_rng(1)
    watch = Watch(SMALL)
    watch.take(normal(draw, 300, 3), 0.0)
    assert watch.phase() == "waits for its first rows: 300 so far"
    watch.take(normal(draw, 700, 3), 0.0)
    watch.take(normal(draw, 400, 3), 0.0)
    assert watch.phase() == "takes its reference: 400 of 1000 rows"
    judged = watch.take(normal(draw, 1500, 3), 5.0)
    assert [(each.size, each.rows) for each in judged] == [
        (0, 200),
        (0, 200),
        (1, 400),
        (0, 200),
        (0, 200),
        (1, 400),
        (2, 800),
    ]
    assert watch.open is not None
    assert (watch.open.rows, watch.seen) == (100, 2900)


def test_a_shift_is_an_alarm_in_the_second_window_and_says_since_when() -> None:
    draw = np.random.default_rng(2)
    watch = begun(draw)
    list(fed(watch, normal(draw, 2000, 3), 100.0))
    shifted = [{**row, "input.1": float(row["input.1"]) + 0.8} for row in normal(draw, 400, 3)]  # type: ignore[arg-type]
    first, second, *_ = [each for each in fed(watch, shifted, 500.0) if not each.size]
    assert (first.found, first.drifting) == ({"input.1"}, frozenset())
    assert (second.found, second.drifting) == ({"input.1"}, {"input.1"})
    assert watch.since == {"input.1": 500.0}


def test_a_drift_ends_when_two_windows_are_without_it() -> None:
    draw = np.random.default_rng(2)
    watch = begun(draw)
    list(fed(watch, normal(draw, 400, 3, 1.0)))
    assert set(watch.since) == {"input.0", "input.1", "input.2"}
    list(fed(watch, normal(draw, 400, 3)))
    assert watch.since == {}


@pytest.mark.parametrize("make", [normal, heavy, categories])
def test_without_drift_there_is_hardly_an_alarm(make: object) -> None:
    """20 references, 32 windows each: 0.64 alarms are allowed. And single windows are found as seldom as the rule says."""
    draw, alarms, windows, found = np.random.default_rng(11), 0, 0, 0
    for _ in range(20):
        watch = begun(draw, 4, make=make)
        for each in fed(watch, make(draw, 32 * SMALL.window, 4)):  # type: ignore[operator]
            alarms += bool(each.drifting)
            windows += not each.size
            found += not each.size and bool(each.found)
    assert alarms <= 2
    assert found / windows <= 2 * SMALL.rate(SMALL.window, SMALL.reference)


def test_a_small_drift_is_found_by_a_larger_window() -> None:
    draw = np.random.default_rng(4)
    watch = begun(draw, 2, DriftRule(reference=5000, window=200))
    judged = list(fed(watch, normal(draw, 10_000, 2, 0.12)))
    assert set(watch.since) == {"input.0", "input.1"}
    assert next(each.size for each in judged if each.drifting) > 0


def test_one_column_of_many_is_found() -> None:
    draw = np.random.default_rng(6)
    watch = Watch(SMALL)
    list(fed(watch, normal(draw, 1200, 200)))
    shifted = [{**row, "input.77": float(row["input.77"]) + 0.8} for row in normal(draw, 600, 200)]  # type: ignore[arg-type]
    list(fed(watch, shifted))
    assert set(watch.since) == {"input.77"}


def test_a_restart_changes_nothing() -> None:
    draw = np.random.default_rng(8)
    rows = normal(draw, 3700, 3) + normal(draw, 700, 3, 0.5)
    whole, watch = Watch(SMALL), Watch(SMALL)
    wanted = list(fed(whole, rows))
    judged: list[Judged] = []
    for at in range(0, len(rows), 100):
        watch = Watch.read(json.loads(json.dumps(watch.document())))
        judged += watch.take(rows[at : at + 100], at / 100)
    assert judged == wanted
    assert watch.told() == whole.told()


def size_of(watch: Watch) -> int:
    return len(json.dumps(watch.document(), separators=(",", ":"), ensure_ascii=False).encode())


@pytest.mark.parametrize("value", ["wide", "long"])
def test_what_is_kept_is_bounded_whatever_comes(value: str) -> None:
    draw = np.random.default_rng(9)
    watch = Watch(DriftRule(reference=100, window=50))
    for at in range(50):
        rows = normal(draw, 39 if not at else 50, 600)
        if value == "long":
            rows = [{name: f"{number:.6f}".ljust(24, "\U0001f600") for name, number in row.items()} for row in rows]  # type: ignore[misc]
        watch.take(rows, float(at))
        if at in (0, 1, 30, 49):
            assert size_of(watch) <= BYTES
    assert (len(watch.layouts), watch.unwatched) == (200, 400)


def test_columns_that_come_and_go() -> None:
    watch = Watch(SMALL)
    rows: list[Row] = [{"output.0": float(n % 97), "input.a": "x"} for n in range(2000)]
    list(fed(watch, rows))
    list(fed(watch, [{"output.0": float(n % 97), "input.b": 1.0} for n in range(400)]))
    assert list(watch.layouts) == ["output.0", "input.a"]
    assert set(watch.since) == {"input.a"}
    [column] = [each for each in watch.told()["columns"] if each["name"] == "input.a"]
    assert (column["missing"], column["test"]) == (1.0, "missing")


def test_metrics_before_and_after_there_is_a_reference() -> None:
    draw = np.random.default_rng(1)
    watch = Watch(SMALL)
    watch.take(normal(draw, 100, 1), 0.0)
    points = datapoints_of("e", "v", 5.0, watch.told())
    assert {each.series.metric: each.summary.total for each in points} == {"RowsWatched": 100, "RecordsNotRead": 0}
    watch = begun(draw, 1)
    list(fed(watch, normal(draw, 400, 1, 2.0)))
    points = datapoints_of("e", "v", 5.0, watch.told())
    told = {each.series.metric: each.summary.total for each in points}
    assert told["ColumnsDrifting"] == told["Drifting"] == 1.0
    assert told["Distance"] > 0.5
    assert dict(points[-1].series.dimensions) == {"EndpointName": "e", "VariantName": "v", "Column": "input.0"}
