"""Which series Prometheus gets of endpoints and of CloudWatch's metrics."""

from __future__ import annotations

from dataclasses import replace

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read

from clary.domain.endpoints.exposition import of_fronts, of_metrics, told_by_fronts
from clary.domain.endpoints.serving_metrics import NAMESPACE
from clary.domain.metrics.counts import VariantCounts
from clary.domain.metrics.datapoints import Series, bucket, nothing, weighed
from clary.domain.metrics.openmetrics import Family, render

ROW = VariantCounts(
    "0", "us-east-1", "iris", "v1", "v1@f1", "c1", "born", 2, (1.0, 3.0), 10, 2, 7, 1, 1, 4, 3, 0.7, 0.07,
    ((bucket(4_000.0), 3.0), (bucket(400_000_000.0), 4.0)), ((bucket(700.0), 7.0),),
    latency_buckets=((bucket(4_700.0), 3.0), (bucket(400_000_700.0), 4.0)),
)  # fmt: skip
V1 = {"region": "us-east-1", "endpoint": "iris", "variant": "v1", "config": "c1"}


def values(families: list[Family], **wanted: str) -> dict[str, float]:
    """Samples of these labels, by name and by what else they are told apart by."""
    found = {}
    for family in read(render(families)):
        for sample in family.samples:
            if wanted.items() <= sample.labels.items():
                more = "".join(f" {value}" for name, value in sample.labels.items() if name not in wanted)
                found[sample.name + more] = sample.value
    return found


def test_counters_and_histograms_of_a_variant() -> None:
    found = values(of_fronts([ROW]), **V1)
    buckets = {name: found.pop(name) for name in list(found) if "_bucket" in name}
    assert found == {
        "clary_invocations_total": 12,
        "clary_invocations_refused_total": 2,
        "clary_invocation_errors_total 4XX": 1,
        "clary_invocation_errors_total 5XX": 4,
        "clary_invocation_model_errors_total": 3,
        "clary_model_latency_seconds_count": 7,
        "clary_model_latency_seconds_sum": 0.7,
        "clary_overhead_latency_seconds_count": 7,
        "clary_overhead_latency_seconds_sum": 0.07,
        "clary_latency_seconds_count": 7,
        "clary_latency_seconds_sum": pytest.approx(0.77),
        "clary_concurrent_requests": 4,
        "clary_replicas": 2,
    }
    latency = {name.rpartition(" ")[2]: value for name, value in buckets.items() if "model" in name}
    assert (latency["0.0025"], latency["0.005"], latency["300.0"], latency["+Inf"]) == (0, 3, 3, 7)


def test_fleets_containers_and_components_have_their_own() -> None:
    rows = [
        ROW,
        replace(ROW, key="v1@f2", fleet="c2", arrivals=50),
        replace(ROW, key="v1/second@f1", arrivals=0, refused=0),
        replace(ROW, endpoint="iris/part", fleet="", arrivals=1, refused=0),
        replace(ROW, arrivals=5, refused=0, born="again"),
    ]
    families = of_fronts(rows)
    assert values(families, endpoint="iris", config="c2")["clary_invocations_total us-east-1 v1"] == 52
    second = values(families, **V1, container="second")
    assert second["clary_invocations_total"] == 0
    assert "clary_latency_seconds_count" not in second
    assert values(families, component="part", endpoint="iris", region="us-east-1")["clary_invocations_total"] == 1
    assert values(families, **V1)["clary_invocations_total"] == 17, "rows of one name are one series"


def test_who_was_never_asked_and_serves_nobody_is_not_there() -> None:
    assert values(of_fronts([VariantCounts("0", "r", "e", "v", "v@f")])) == {}
    idle = values(of_fronts([VariantCounts("0", "r", "e", "v", "v@f", serving=1)]))
    assert idle["clary_invocations_total r e v"] == 0


def test_an_asynchronous_variant_is_asked_by_its_queue() -> None:
    found = values(of_fronts([replace(ROW, asynchronous=True)]), **V1)
    assert found["clary_model_latency_seconds_count"] == 7
    assert not any(name.startswith(("clary_invocations", "clary_overhead", "clary_latency")) for name in found)


def test_models_of_a_multi_model_variant() -> None:
    assert values(of_fronts([replace(ROW, loaded=(2.0, 1.0))]), **V1)["clary_models_loaded"] == 3


def test_other_metrics_are_gauges_of_their_statistics() -> None:
    series = Series.of("Shop", "Orders", {"Host": "a", "region": "mine"}, "Count")
    summary = weighed([(1.0, 1.0), (5.0, 2.0)])
    found = values(of_metrics([("eu-west-1", series, summary)]), dimension_Host="a", dimension_region="mine")
    assert found == {
        f"clary_metric_{name} eu-west-1 Shop Orders Count": value
        for name, value in {"sum": 11, "average": 11 / 3, "minimum": 1, "maximum": 5, "samples": 3}.items()
    }


def test_idle_is_zero() -> None:
    found = values(of_metrics([("r", Series.of("N", "m", {}), nothing())]))
    assert set(found.values()) == {0.0}


@pytest.mark.parametrize(
    ("namespace", "metric", "told"),
    [
        (NAMESPACE, "Invocations", True),
        ("clary/Endpoints", "Replicas", True),
        ("clary/Endpoints", "WorkersActive", False),
        ("Mine", "Invocations", False),
        (NAMESPACE, "ApproximateBacklogSize", False),
    ],
)
def test_nothing_is_told_twice(namespace: str, metric: str, told: bool) -> None:
    assert told_by_fronts(Series.of(namespace, metric, {})) is told
