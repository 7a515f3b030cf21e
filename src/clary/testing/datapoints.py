"""The conformance class of the `Datapoints` port, and the fake in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from clary.domain.metrics.datapoints import Datapoint, Series, Summary, single, weighed
from clary.domain.metrics.statistics import statistic
from clary.domain.resources import Scope
from clary.ports import Datapoints

SCOPE = Scope("000000000000", "us-east-1")
SERIES = Series.of("n", "m", {"a": "b"})
NOON = 1_800_000_000 // 3600 * 3600


class MemoryDatapoints:
    """`ports.Datapoints` in lists."""

    def __init__(self) -> None:
        self._held: list[tuple[Scope, Datapoint]] = []
        self._marks: dict[str, str] = {}

    def put(
        self, scope: Scope, datapoints: Sequence[Datapoint], marks: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self._held += [(scope, datapoint) for datapoint in datapoints]
        self._marks |= marks

    def marks(self, prefix: str = "") -> dict[str, str]:
        return {name: value for name, value in self._marks.items() if name.startswith(prefix)}

    def unmark(self, names: Sequence[str]) -> None:
        for name in names:
            self._marks.pop(name, None)

    def get(
        self, scope: Scope, series: Series, start: float, end: float, period: int, spread: bool = False
    ) -> list[tuple[float, Summary]]:
        windows: dict[float, Summary] = {}
        for owner, datapoint in self._held:
            known = datapoint.series
            if (owner, known.namespace, known.metric, known.dimensions) != (
                scope,
                series.namespace,
                series.metric,
                series.dimensions,
            ) or series.unit not in ("", known.unit):
                continue
            at = datapoint.at // 1 if datapoint.fine else datapoint.at // 60 * 60
            if start <= at < end:
                window = start + (at - start) // period * period
                windows.setdefault(window, Summary()).merge(datapoint.summary)
        return sorted(windows.items())

    def regions(self, account: str) -> list[str]:
        return sorted({scope.region for scope, _ in self._held if scope.account == account})

    def find(self, scope: Scope, namespace: str = "", metric: str = "", since: float = 0.0) -> list[Series]:
        found = {
            datapoint.series
            for owner, datapoint in self._held
            if owner == scope
            and namespace in ("", datapoint.series.namespace)
            and metric in ("", datapoint.series.metric)
            and datapoint.at >= since
        }
        return sorted(found, key=lambda series: (series.namespace, series.metric, series.dimensions, series.unit))

    def sweep(self, now: float) -> None: ...
    def close(self) -> None: ...


def at(moment: float, value: float, series: Series = SERIES, fine: bool = True) -> Datapoint:
    """One sample."""
    return Datapoint(series, moment, single(value), fine)


def sums(windows: list[tuple[float, Summary]]) -> list[tuple[float, float]]:
    return [(begin, summary.total) for begin, summary in windows]


class DatapointsConformance:
    """Inherit, and answer an empty implementation from `datapoints`."""

    def datapoints(self) -> Datapoints:
        raise NotImplementedError

    def test_nothing_is_known_of_an_unknown_series(self) -> None:
        assert self.datapoints().get(SCOPE, SERIES, 0, 10, 1) == []
        assert self.datapoints().find(SCOPE) == []

    def test_windows_begin_at_the_start_and_come_in_order_of_time(self) -> None:
        datapoints = self.datapoints()
        for value, moment in ((3.0, 30.0), (1.0, 10.0), (2.0, 20.0), (4.0, 40.0), (0.5, 20.5)):
            datapoints.put(SCOPE, [at(NOON + moment, value)])
        assert sums(datapoints.get(SCOPE, SERIES, NOON + 10, NOON + 40, 1)) == [
            (NOON + 10, 1.0),
            (NOON + 20, 2.5),
            (NOON + 30, 3.0),
        ]
        assert sums(datapoints.get(SCOPE, SERIES, NOON + 5, NOON + 60, 20)) == [(NOON + 5, 3.5), (NOON + 25, 7.0)]

    def test_seconds_add_up_to_minutes_and_hours(self) -> None:
        datapoints = self.datapoints()
        datapoints.put(SCOPE, [at(NOON + second, float(second % 7)) for second in range(0, 7200, 5)])
        minutes = datapoints.get(SCOPE, SERIES, NOON, NOON + 7200, 60)
        assert len(minutes) == 120
        hours = datapoints.get(SCOPE, SERIES, NOON, NOON + 7200, 3600, spread=True)
        assert [summary.count for _, summary in hours] == [720.0, 720.0]
        assert sum(s.total for _, s in minutes) == sum(s.total for _, s in hours)
        assert {(s.low, s.high) for _, s in hours} == {(0.0, 6.0)}
        median = statistic("p50")
        assert median is not None
        assert [median(summary) for _, summary in hours] == [Nearly(3.0)] * 2

    def test_coarse_datapoints_are_of_their_minute(self) -> None:
        datapoints = self.datapoints()
        datapoints.put(SCOPE, [at(NOON + 75, 1.0, fine=False), at(NOON + 119, 2.0, fine=False)])
        assert sums(datapoints.get(SCOPE, SERIES, NOON, NOON + 180, 60)) == [(NOON + 60, 3.0)]

    def test_a_distribution_and_a_statistic_set_survive(self) -> None:
        datapoints = self.datapoints()
        spread = weighed([(0.0, 10), (5.0, 80), (-2.0, 10)])
        known = Summary(4.0, 10.0, 1.0, 4.0, None)
        datapoints.put(SCOPE, [Datapoint(SERIES, NOON, spread, True), Datapoint(SERIES, NOON + 1, known, True)])
        (_, first), (_, second) = datapoints.get(SCOPE, SERIES, NOON, NOON + 2, 1, spread=True)
        assert (first, second) == (spread, known)
        assert (first.percentile(0.05), first.percentile(0.15), second.percentile(0.5)) == (-2.0, 0.0, None)
        ((_, both),) = datapoints.get(SCOPE, SERIES, NOON, NOON + 2, 2, spread=True)
        assert (both.count, both.total, both.low, both.high, both.buckets) == (104.0, 390.0, -2.0, 5.0, None)

    def test_nothing_happened_is_not_the_same_as_no_datapoint(self) -> None:
        datapoints = self.datapoints()
        datapoints.put(SCOPE, [Datapoint(SERIES, NOON, Summary(), True)])
        assert datapoints.get(SCOPE, SERIES, NOON, NOON + 60, 60, spread=True) == [(NOON, Summary())]
        datapoints.put(SCOPE, [at(NOON + 1, 5.0)])
        ((_, summary),) = datapoints.get(SCOPE, SERIES, NOON, NOON + 60, 60)
        assert (summary.count, summary.low) == (1.0, 5.0)

    def test_series_differ_by_everything_that_names_them(self) -> None:
        datapoints = self.datapoints()
        named = Series.of("n", "m", {"c": "d", "a": "b"}, "Percent")
        datapoints.put(SCOPE, [at(NOON, 1.0, named)])
        assert sums(datapoints.get(SCOPE, Series.of("n", "m", {"a": "b", "c": "d"}, "Percent"), NOON, NOON + 1, 1)) == [
            (NOON, 1.0)
        ]
        assert sums(datapoints.get(SCOPE, Series.of("n", "m", {"a": "b", "c": "d"}, ""), NOON, NOON + 1, 1)) == [
            (NOON, 1.0)
        ]
        others = [
            Series.of("n", "m", {"a": "b"}, "Percent"),
            Series.of("n", "x", {"a": "b", "c": "d"}, "Percent"),
            Series.of("x", "m", {"a": "b", "c": "d"}, "Percent"),
            Series.of("n", "m", {"a": "b", "c": "d"}, "None"),
        ]
        assert [datapoints.get(SCOPE, other, NOON, NOON + 1, 1) for other in others] == [[], [], [], []]
        assert datapoints.get(Scope("111111111111", "us-east-1"), named, NOON, NOON + 1, 1) == []

    def test_series_are_found_by_their_names_and_how_recent_they_are(self) -> None:
        datapoints = self.datapoints()
        one, two, three = Series.of("a", "x", {}), Series.of("a", "y", {"k": "v"}), Series.of("b", "x", {})
        datapoints.put(SCOPE, [at(NOON, 1.0, three), at(NOON + 10, 1.0, one), at(NOON + 20, 1.0, two)])
        assert datapoints.find(SCOPE) == [one, two, three]
        assert datapoints.find(SCOPE, "a") == [one, two]
        assert datapoints.find(SCOPE, metric="x") == [one, three]
        assert datapoints.find(SCOPE, since=NOON + 15) == [two]
        assert datapoints.find(Scope("111111111111", "us-east-1")) == []

    def test_regions_are_those_of_the_account(self) -> None:
        datapoints = self.datapoints()
        for account, region in (("1", "us-east-1"), ("1", "eu-west-1"), ("2", "ap-south-1")):
            datapoints.put(Scope(account, region), [at(NOON, 1.0)])
        assert datapoints.regions("1") == ["eu-west-1", "us-east-1"]
        assert datapoints.regions("3") == []

    def test_marks_are_kept_with_datapoints(self) -> None:
        datapoints = self.datapoints()
        datapoints.put(SCOPE, [at(NOON, 1.0)], {"t/one": "1", "t/two": "2", "u": "3"})
        datapoints.put(SCOPE, [], {"t/one": "4"})
        assert datapoints.marks("t/") == {"t/one": "4", "t/two": "2"}
        datapoints.unmark(["t/one", "t/none"])
        assert datapoints.marks("t/") == {"t/two": "2"}

    def test_a_distribution_survives_a_sweep(self) -> None:
        datapoints = self.datapoints()
        datapoints.put(SCOPE, [Datapoint(SERIES, NOON, weighed([(1.0, 90), (100.0, 10)]), True)])
        datapoints.sweep(NOON)
        datapoints.put(SCOPE, [Datapoint(SERIES, NOON + 1, weighed([(1.0, 60), (100.0, 40)]), True)])
        ((_, summary),) = datapoints.get(SCOPE, SERIES, NOON, NOON + 60, 60, spread=True)
        assert [summary.percentile(0.74), summary.percentile(0.76)] == [Nearly(1.0), Nearly(100.0)]
        ((_, plain),) = datapoints.get(SCOPE, SERIES, NOON, NOON + 60, 60)
        assert (plain.count, plain.total, plain.low, plain.high) == (200.0, 5150.0, 1.0, 100.0)

    def test_a_sweep_changes_no_answer(self) -> None:
        datapoints = self.datapoints()
        for round in range(3):
            points = [at(NOON + second, float(second)) for second in range(round, 900, 3)]
            datapoints.put(SCOPE, [*points, at(NOON + round, 1.0, Series.of("n", "other", {}), fine=False)])
            datapoints.sweep(NOON + 900)
        assert sums(datapoints.get(SCOPE, SERIES, NOON, NOON + 900, 1)) == [(NOON + s, float(s)) for s in range(900)]
        ((_, other),) = datapoints.get(SCOPE, Series.of("n", "other", {}), NOON, NOON + 60, 60)
        assert other.count == 3.0


class Nearly:
    """Equal within the width of a bucket."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, float) and abs(other - self.value) <= 0.01 * abs(self.value)

    __hash__ = None  # type: ignore[assignment]
