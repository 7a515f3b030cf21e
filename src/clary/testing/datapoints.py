"""The conformance class of the `Datapoints` port, and the fake in memory."""

from __future__ import annotations

from collections.abc import Mapping

from clary.domain.resources import Scope
from clary.ports import Datapoints

SCOPE = Scope("000000000000", "us-east-1")


class MemoryDatapoints:
    """`ports.Datapoints` in a dict."""

    def __init__(self) -> None:
        self._series: dict[tuple[object, ...], list[tuple[float, float]]] = {}

    def put(
        self, scope: Scope, namespace: str, metric: str, dimensions: Mapping[str, str], value: float, at: float
    ) -> None:
        self._series.setdefault(_key(scope, namespace, metric, dimensions), []).append((at, value))

    def get(
        self, scope: Scope, namespace: str, metric: str, dimensions: Mapping[str, str], start: float, end: float
    ) -> list[tuple[float, float]]:
        samples = self._series.get(_key(scope, namespace, metric, dimensions), [])
        return sorted((at, value) for at, value in samples if start <= at < end)


def _key(scope: Scope, namespace: str, metric: str, dimensions: Mapping[str, str]) -> tuple[object, ...]:
    return scope, namespace, metric, tuple(sorted(dimensions.items()))


class DatapointsConformance:
    """Inherit, and answer an empty implementation from `datapoints`."""

    def datapoints(self) -> Datapoints:
        raise NotImplementedError

    def test_nothing_is_known_of_an_unknown_series(self) -> None:
        assert self.datapoints().get(SCOPE, "n", "m", {}, 0, 10) == []

    def test_samples_come_back_in_order_of_time_within_the_range(self) -> None:
        datapoints = self.datapoints()
        for value, at in ((3.0, 30.0), (1.0, 10.0), (2.0, 20.0), (4.0, 40.0)):
            datapoints.put(SCOPE, "n", "m", {"a": "b"}, value, at)
        assert datapoints.get(SCOPE, "n", "m", {"a": "b"}, 10, 40) == [(10.0, 1.0), (20.0, 2.0), (30.0, 3.0)]

    def test_series_differ_by_everything_that_names_them(self) -> None:
        datapoints = self.datapoints()
        datapoints.put(SCOPE, "n", "m", {"a": "b", "c": "d"}, 1.0, 1.0)
        assert datapoints.get(SCOPE, "n", "m", {"c": "d", "a": "b"}, 0, 2) == [(1.0, 1.0)]
        assert datapoints.get(SCOPE, "n", "m", {"a": "b"}, 0, 2) == []
        assert datapoints.get(SCOPE, "n", "x", {"a": "b", "c": "d"}, 0, 2) == []
        assert datapoints.get(SCOPE, "x", "m", {"a": "b", "c": "d"}, 0, 2) == []
        assert datapoints.get(Scope("111111111111", "us-east-1"), "n", "m", {"a": "b", "c": "d"}, 0, 2) == []
