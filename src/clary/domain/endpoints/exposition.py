"""The content of `/metrics`: counters and histograms of endpoints as the fronts count them, and every other metric of CloudWatch as gauges
of its last whole minute. Pure.

A front's counters start again with it, and so do these: that is what Prometheus expects of counters. Fleets and containers have series of
their own, so that none shrinks when another goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

from clary.domain.endpoints import scaling_metrics
from clary.domain.endpoints.serving_metrics import NAMESPACE
from clary.domain.metrics.counts import VariantCounts
from clary.domain.metrics.datapoints import Series, Summary, middle
from clary.domain.metrics.openmetrics import Family, Labels, labels
from clary.domain.metrics.statistics import statistic
from clary.domain.names import COMPONENT, resource_of

BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)

# Of the fronts' counters already, and better.
_COUNTED = {
    NAMESPACE: frozenset(
        {
            "Invocations",
            "InvocationsPerInstance",
            "InvocationsPerCopy",
            "Invocation4XXErrors",
            "Invocation5XXErrors",
            "InvocationModelErrors",
            "ModelLatency",
            "OverheadLatency",
            "ConcurrentRequestsPerModel",
            "ConcurrentRequestsPerCopy",
        }
    ),
    scaling_metrics.NAMESPACE: frozenset({"Replicas"}),
}
_STATISTICS: Mapping[str, str] = {
    "sum": "Sum",
    "average": "Average",
    "minimum": "Minimum",
    "maximum": "Maximum",
    "samples": "SampleCount",
}


def of_fronts(counts: Iterable[VariantCounts]) -> list[Family]:
    """Families of what fronts count, of one account."""
    by_labels: dict[Labels, list[VariantCounts]] = {}
    for row in counts:
        if row.invocations or row.answered or row.serving:
            by_labels.setdefault(_who(row), []).append(row)
    arrived = Family("clary_invocations", "counter", "Requests that came, those refused at once included.")
    refused = Family("clary_invocations_refused", "counter", "Requests that were turned away at once.")
    errors = Family("clary_invocation_errors", "counter", "Requests that were answered with 4XX or 5XX.")
    broken = Family("clary_invocation_model_errors", "counter", "Requests that the model did not answer with 2XX.")
    concurrent = Family("clary_concurrent_requests", "gauge", "Requests being predicted or waiting.")
    replicas = Family("clary_replicas", "gauge", "Replicas that take requests.")
    loaded = Family("clary_models_loaded", "gauge", "Models of a multi-model variant that are loaded.")
    for who, rows in by_labels.items():
        if not rows[0].asynchronous:
            arrived.add(who, sum(row.invocations for row in rows))
            refused.add(who, sum(row.refused for row in rows))
        errors.add((*who, ("status", "4XX")), sum(row.errors_4xx for row in rows))
        errors.add((*who, ("status", "5XX")), sum(row.errors_5xx for row in rows))
        broken.add(who, sum(row.model_errors for row in rows))
        concurrent.add(who, sum(value for row in rows for value in row.concurrent))
        replicas.add(who, sum(row.serving for row in rows))
        if any(row.loaded for row in rows):
            loaded.add(who, sum(value for row in rows for value in row.loaded))
    return [arrived, refused, errors, broken, *_latencies(by_labels), concurrent, replicas, loaded]


def _latencies(by_labels: Mapping[Labels, Sequence[VariantCounts]]) -> list[Family]:
    """Histograms of the time in the model, the rest, and both. An asynchronous invocation has only the first."""
    model = Family("clary_model_latency_seconds", "histogram", "Time in the worker, its batch included.", "seconds")
    overhead = Family("clary_overhead_latency_seconds", "histogram", "The rest of a request's time.", "seconds")
    whole = Family("clary_latency_seconds", "histogram", "From a request's arrival to its answer.", "seconds")
    for who, rows in by_labels.items():
        in_model, beside = sum(row.model_seconds for row in rows), sum(row.overhead_seconds for row in rows)
        _spread(model, who, [row.model_buckets for row in rows], in_model)
        if rows[0].asynchronous:
            continue
        _spread(overhead, who, [row.overhead_buckets for row in rows], beside)
        if "container" not in dict(
            who
        ):  # of several only the last one answers, and does not know what its part of the whole is
            _spread(whole, who, [row.latency_buckets for row in rows], in_model + beside)
    return [model, overhead, whole]


def _who(row: VariantCounts) -> Labels:
    kind, name = resource_of(row.endpoint)
    container = row.key.partition("@")[0].partition("/")[2]  # endpoint_routes.route_key
    if kind == COMPONENT:
        endpoint = row.endpoint.partition("/")[0]
        return labels({"region": row.region, "endpoint": endpoint, "component": name, "config": row.fleet})
    where = {"region": row.region, "endpoint": name, "variant": row.variant, "config": row.fleet}
    return labels({**where, "container": container})


def _spread(family: Family, who: Labels, buckets: Sequence[Sequence[tuple[int, float]]], total: float) -> None:
    counts = [0.0] * (len(BOUNDS) + 1)
    for number, count in (pair for each in buckets for pair in each):
        seconds = middle(number) / 1e6
        counts[next((place for place, bound in enumerate(BOUNDS) if seconds <= bound), len(BOUNDS))] += count
    family.spread(who, BOUNDS, list(accumulate(counts)), total)


def told_by_fronts(series: Series) -> bool:
    """Whether `of_fronts` has it already."""
    return series.metric in _COUNTED.get(series.namespace, ())


def of_metrics(rows: Iterable[tuple[str, Series, Summary]]) -> list[Family]:
    """Families of CloudWatch's metrics: (region, series, summary of a minute)."""
    families = {
        name: Family(f"clary_metric_{name}", "gauge", f"{full} of a CloudWatch metric over its last whole minute.")
        for name, full in _STATISTICS.items()
    }
    computes = {name: statistic(full) for name, full in _STATISTICS.items()}
    for region, series, summary in rows:
        own = {"region": region, "namespace": series.namespace, "metric": series.metric, "unit": series.unit}
        who = labels({**own, **{f"dimension_{name}": value for name, value in series.dimensions}})
        for name, family in families.items():
            compute = computes[name]
            value = None if compute is None else compute(summary)
            if value is not None:
                family.add(who, value)
    return list(families.values())
