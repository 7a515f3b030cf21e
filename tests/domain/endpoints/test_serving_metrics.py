"""What fronts count becomes AWS's metrics: names, units, dimensions, sums."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from clary.domain.endpoints.serving_metrics import INSTANCES, NAMESPACE, datapoints, growth, usage
from clary.domain.machine.usage import Usage
from clary.domain.metrics.counts import Signals, VariantCounts
from clary.domain.metrics.datapoints import Datapoint, Series, Summary, bucket, nothing

BASE = VariantCounts("0", "r", "e", "v", "v", "c1", "born", serving=2, concurrent=(1.0, 3.0))


def made(*counts: VariantCounts, **dimensions: str) -> dict[str, Summary]:
    where = {"EndpointName": "e", "VariantName": "v", **dimensions}
    ((_, points),) = datapoints(counts, 7.0)
    points = [point for point in points if point.series.namespace != "clary/Endpoints"]  # test_scaling_metrics
    assert all((point.at, point.fine, point.series.namespace) == (7.0, True, NAMESPACE) for point in points)
    return {
        p.series.metric: p.summary
        for p in points
        if p.series == Series.of(NAMESPACE, p.series.metric, where, p.series.unit)
    }


def test_one_second_of_a_variant() -> None:
    gained = replace(
        BASE,
        arrivals=10,
        refused=2,
        completed=7,
        unanswered=1,
        errors_4xx=1,
        errors_5xx=4,
        model_errors=3,
        model_seconds=0.7,
        overhead_seconds=0.07,
        model_buckets=((bucket(100_000.0), 7.0),),
        overhead_buckets=((bucket(10_000.0), 7.0),),
    )
    found = made(gained)
    shown = {
        name: (summary.count, round(summary.total, 6), summary.low, summary.high) for name, summary in found.items()
    }
    latency = shown.pop("ModelLatency"), shown.pop("OverheadLatency")
    assert shown == {
        "Invocations": (12, 12, 1, 1),
        "InvocationsPerInstance": (12, 6, 0.5, 0.5),
        "Invocation4XXErrors": (10, 1, 0, 1),
        "Invocation5XXErrors": (10, 4, 0, 1),
        "InvocationModelErrors": (10, 3, 0, 1),
        "ConcurrentRequestsPerModel": (2, 4, 1, 3),
    }
    assert [row[:2] for row in latency] == [(7, 700_000.0), (7, 70_000.0)]


def test_how_much_of_a_provisioned_concurrency_is_used() -> None:
    for busy, wanted in ((0, 0.0), (3, 0.75), (9, 1.0)):
        found = made(replace(BASE, warm=4, in_flight=busy))
        assert found["ServerlessProvisionedConcurrencyUtilization"].total == wanted
        assert found["ServerlessProvisionedConcurrencyExecutions"].total == busy
        assert {found[f"ServerlessProvisionedConcurrency{name}"].count for name in ("Utilization", "Executions")} == {1}
    assert not any("Provisioned" in name for name in made(replace(BASE, in_flight=3, concurrency=4)))


def test_who_found_a_provisioned_worker_and_who_did_not() -> None:
    busy = replace(BASE, warm=2, concurrency=8, arrivals=10, models=(("spilled", 4.0), ("setups", 0.0), ("setup", 0.0)))
    found = made(growth(busy, replace(BASE, arrivals=3, models=(("spilled", 1.0),))))
    assert found["Invocations"].total == 7
    assert found["ServerlessProvisionedConcurrencyInvocations"].total == 4
    assert found["ServerlessProvisionedConcurrencySpilloverInvocations"].total == 3
    idle = made(replace(BASE, warm=2, models=(("spilled", 0.0),)))
    for name in ("Invocations", "SpilloverInvocations"):
        assert idle[f"ServerlessProvisionedConcurrency{name}"] == nothing()


def test_how_much_of_a_serverless_variants_concurrency_is_used() -> None:
    found = made(replace(BASE, concurrency=8, in_flight=2))["ServerlessConcurrentExecutionsUtilization"]
    assert (found.count, found.total) == (1, 0.25)
    assert "ServerlessConcurrentExecutionsUtilization" not in made(replace(BASE, in_flight=2))


def test_what_an_asynchronous_variant_does_not_report() -> None:
    gained = replace(BASE, arrivals=1, completed=1, model_seconds=0.1, model_buckets=((bucket(100_000.0), 1.0),))
    slow = replace(gained, overhead_seconds=0.1, overhead_buckets=((bucket(100_000.0), 1.0),), asynchronous=True)
    found = set(made(slow))
    assert not found & {"Invocations", "InvocationsPerInstance", "OverheadLatency"}
    assert {"ModelLatency", "Invocation5XXErrors", "ConcurrentRequestsPerModel"} <= found
    assert VariantCounts.from_json(slow.to_json()).asynchronous


def test_an_idle_variant_has_zero_invocations_and_no_error_rates() -> None:
    found = made(replace(BASE, concurrent=(0.0, 0.0)))
    assert {name: summary.total for name, summary in found.items()} == {
        "Invocations": 0.0,
        "InvocationsPerInstance": 0.0,
        "ConcurrentRequestsPerModel": 0.0,
    }
    assert found["Invocations"] == nothing()


def test_a_variant_that_does_not_serve_says_nothing() -> None:
    assert datapoints([replace(BASE, serving=0, concurrent=())], 7.0)[0][1] == []


def test_fleets_are_summed_up_and_told_apart_while_there_are_two() -> None:
    blue = replace(BASE, arrivals=9, completed=9)
    green = replace(
        BASE, key="v@2", fleet="c2", born="b2", serving=1, concurrent=(0.0,), arrivals=1, unanswered=1, errors_5xx=1
    )
    both = made(blue, green)
    assert (both["Invocations"].total, both["Invocation5XXErrors"].total) == (10.0, 1.0)
    assert both["InvocationsPerInstance"].total == pytest.approx(10 / 3)
    only = made(blue, green, EndpointConfigName="c2")
    assert (only["Invocations"].total, only["Invocation5XXErrors"].total) == (1.0, 1.0)
    assert made(blue, EndpointConfigName="c1") == {}


def test_growth_is_what_came_since() -> None:
    before = replace(BASE, arrivals=5, completed=5, model_seconds=1.0, model_buckets=((3, 4.0), (4, 1.0)))
    now = replace(
        before, arrivals=8, completed=7, model_seconds=1.5, model_buckets=((3, 5.0), (4, 1.0), (9, 1.0)), serving=3
    )
    gained = growth(now, before)
    assert (gained.arrivals, gained.completed, gained.model_seconds, gained.serving) == (3, 2, 0.5, 3)
    assert gained.model_buckets == ((3, 1.0), (9, 1.0))
    assert growth(now, None) == now


def test_late_answers_grow_and_workers_do_not() -> None:
    before = replace(BASE, signals=Signals(5, 0.01, 0.1, 2, 8), latency_buckets=((3, 4.0),))
    now = replace(before, signals=Signals(7, 0.02, 0.1, 3, 8), latency_buckets=((3, 4.0), (5, 1.0)))
    gained = growth(now, before)
    assert (gained.signals, gained.latency_buckets) == (Signals(2, 0.02, 0.1, 3, 8), ((5, 1.0),))
    assert growth(now, BASE).signals == now.signals


def test_counts_survive_json() -> None:
    counts = replace(BASE, model_buckets=((3, 4.0),), latency_buckets=((3, 4.0),), allowed=3)
    assert VariantCounts.from_json(counts.to_json()) == counts


def told(points: list[Datapoint]) -> dict[str, Any]:
    assert all((p.series.namespace, p.series.unit) == (INSTANCES, "Percent") for p in points)
    return {point.series.metric: point.summary.total for point in points}


def test_usage() -> None:
    before = Usage(started=1.0, at=10.0, cpu_seconds=5.0, memory=1, limit=100)
    now = Usage(started=1.0, at=12.0, cpu_seconds=8.0, memory=25, limit=100)
    assert told(usage("e", "v", before, now)) == {"CPUUtilization": 150.0, "MemoryUtilization": 25.0}
    assert told(usage("e", "v", None, now)) == {"MemoryUtilization": 25.0}
    assert told(usage("e", "v", replace(before, started=0.5), replace(now, limit=0))) == {}


def test_a_serverless_variant_tells_of_its_setups() -> None:
    found = made(replace(BASE, arrivals=4, completed=4, models=(("setups", 2.0), ("setup", 0.5))))
    assert (found["ModelSetupTime"].count, found["ModelSetupTime"].total) == (2, 500_000.0)
    assert "ModelSetupTime" not in made(
        replace(BASE, arrivals=4, completed=4, models=(("setups", 0.0), ("setup", 0.0)))
    )


def test_a_multi_model_variant_tells_of_its_loads() -> None:
    counted = {"hits": 3.0, "misses": 1.0, "loads": 2.0, "loading": 0.5, "waits": 4.0, "waiting": 2.0, "unloads": 0.0}
    gained = replace(BASE, arrivals=4, completed=4, models=tuple(counted.items()), loaded=(1.0, 3.0))
    where = {"EndpointName": "e", "VariantName": "v"}
    ((_, points),) = datapoints([gained], 7.0)
    found = {p.series.metric: (p.series.namespace, p.series.unit, p.summary) for p in points}
    hits = found["ModelCacheHit"][2]
    assert (hits.count, hits.total, hits.low, hits.high) == (4, 3, 0, 1)
    waited = found["ModelLoadingWaitTime"]
    assert (waited[1], waited[2].count, waited[2].total) == ("Microseconds", 4, 2_000_000)
    assert (found["ModelLoadingTime"][2].count, found["ModelLoadingTime"][2].total) == (2, 500_000)
    assert not {"ModelUnloadingTime", "ModelDownloadingTime"} & set(found)
    assert found["LoadedModelCount"][0] == INSTANCES
    assert (found["LoadedModelCount"][2].low, found["LoadedModelCount"][2].high) == (1, 3)
    assert Series.of(INSTANCES, "LoadedModelCount", where, "None") in [p.series for p in points]


def test_loads_grow_as_other_counts_do() -> None:
    before = replace(BASE, models=(("loads", 2.0),))
    now = replace(BASE, models=(("loads", 5.0), ("hits", 1.0)))
    assert growth(now, before).models == (("loads", 3.0), ("hits", 1.0))
    assert VariantCounts.from_json(now.to_json()) == now


def placed(counts: VariantCounts) -> dict[str, Summary]:
    ((_, points),) = datapoints([replace(counts, endpoint="e/c")], 7.0)
    where = {"InferenceComponentName": "c"}
    assert all(dict(point.series.dimensions) == where for point in points)
    return {p.series.metric: p.summary for p in points if p.series.namespace == NAMESPACE}


def test_an_inference_component_tells_by_its_own_name_and_per_copy() -> None:
    found = placed(replace(BASE, arrivals=4))
    assert (found["InvocationsPerCopy"].count, found["InvocationsPerCopy"].total) == (4, 2)
    assert found["ConcurrentRequestsPerCopy"].total == 4
    assert {"InvocationsPerInstance", "ConcurrentRequestsPerModel", "NoCapacityInvocationFailures"}.isdisjoint(found)
    [point] = usage("e/c", "v", None, Usage(1.0, 2.0, 0.0, 50, 100))
    where = {"InferenceComponentName": "c"}
    assert point.series == Series.of("/aws/sagemaker/InferenceComponents", "MemoryUtilization", where, "Percent")


def test_a_component_without_a_copy_tells_of_what_it_had_to_refuse() -> None:
    found = placed(replace(BASE, serving=0, concurrent=(), refused=3, errors_4xx=3))
    assert (found["NoCapacityInvocationFailures"].count, found["NoCapacityInvocationFailures"].total) == (3, 3)
    assert found["Invocation4XXErrors"].total == 3


def test_requests_in_replicas_of_which_none_takes_work_any_more() -> None:
    """The last ones are drained: their requests are counted, over nobody they are not divided."""
    found = made(replace(BASE, serving=0, concurrent=(1.0, 3.0), completed=1))
    assert found["ConcurrentRequestsPerModel"].total == 4
