"""What scaling is seen by: load, capacity, latency, and what is wanted."""

from __future__ import annotations

from dataclasses import replace

from tests.domain.endpoints.test_life import fleet

from clary.domain.endpoints.routes import Boost
from clary.domain.endpoints.scaling_metrics import NAMESPACE
from clary.domain.endpoints.serving_metrics import datapoints, wanted
from clary.domain.metrics.counts import Signals, VariantCounts
from clary.domain.metrics.datapoints import Datapoint, bucket

BASE = VariantCounts("0", "r", "e", "v", "v", "c1", "born", serving=2, concurrent=(1.0, 3.0), in_flight=4, queued=3)
WHERE = (("EndpointName", "e"), ("VariantName", "v"))


def told(points: list[Datapoint]) -> dict[str, float]:
    ours = [point for point in points if point.series.namespace == NAMESPACE]
    assert all(point.fine for point in ours)
    assert {point.series.dimensions for point in ours} <= {WHERE}
    return {point.series.metric: point.summary.total for point in ours}


def seen(*rows: VariantCounts) -> dict[str, float]:
    ((_, points),) = datapoints(rows, 7.0)
    return told(points)


def test_load_and_capacity_of_one_second() -> None:
    gauges = {"RequestsInFlight": 4.0, "RequestsQueued": 3.0, "Replicas": 2.0}
    assert seen(replace(BASE, allowed=5)) == {**gauges, "WorkersActive": 5.0, "WorkersAllowed": 5.0}
    parked = replace(BASE, allowed=16, signals=Signals(0, 0.01, 0.1, working=3, ceiling=16))
    assert seen(parked) == {**gauges, "WorkersActive": 3.0, "WorkersAllowed": 16.0}


def test_fleets_of_an_update_are_one_variant() -> None:
    green = replace(BASE, fleet="c2", born="b2", serving=1, in_flight=1, queued=0, allowed=2)
    found = seen(replace(BASE, allowed=4), green)
    assert (found["Replicas"], found["RequestsInFlight"], found["WorkersAllowed"]) == (3.0, 5.0, 6.0)


def test_latency_is_from_arrival_to_answer_and_late_is_a_share() -> None:
    rows = replace(
        BASE,
        completed=4,
        model_seconds=0.3,
        overhead_seconds=0.1,
        latency_buckets=((bucket(100_000.0), 4.0),),
        signals=Signals(late=1),
    )
    ((_, points),) = datapoints([rows], 7.0)
    by_name = {point.series.metric: point for point in points if point.series.namespace == NAMESPACE}
    latency, late = by_name["Latency"], by_name["LateRequests"]
    assert (latency.summary.count, latency.summary.total, latency.series.unit) == (4.0, 400_000.0, "Microseconds")
    assert (late.summary.count, late.summary.total) == (4.0, 1.0)
    assert "LateRequests" not in seen(replace(rows, signals=None))


def test_a_variant_that_does_not_serve_says_nothing() -> None:
    assert seen(replace(BASE, serving=0, concurrent=(), in_flight=0, queued=0)) == {}


def test_what_is_wanted() -> None:
    (variant,) = fleet(count=2).variants
    assert told(wanted("e", replace(fleet(), variants=(replace(variant, name="v"),)), 7.0)) == {
        "DesiredReplicas": 2.0,
        "MillicpuPerReplica": 2000.0,
    }
    none = replace(variant, name="v", count=0)
    assert told(wanted("e", replace(fleet(), variants=(none,)), 7.0)) == {
        "DesiredReplicas": 0.0,
        "Replicas": 0.0,
        "MillicpuPerReplica": 2000.0,
    }, "no front tells of a variant that has none"
    sized = replace(variant, name="v", millicpu=500, boost=Boost(0.25))
    shadow = replace(variant, name="w", shadow=True)
    assert told(wanted("e", replace(fleet(), variants=(sized, shadow)), 7.0)) == {
        "DesiredReplicas": 2.0,
        "MillicpuPerReplica": 500.0,
        "LatencyObjective": 250_000.0,
    }
