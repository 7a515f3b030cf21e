"""A variant's counters as datapoints are made of them. Does not know who reads them."""

from __future__ import annotations

from time import perf_counter

from clary.domain.metrics.counts import VariantCounts
from clary.serving.copies import MultiReplica
from clary.serving.parking import signals
from clary.serving.queue import Variant


def counts(variant: Variant, account: str, region: str, endpoint: str, asynchronous: bool = False) -> VariantCounts:
    """What the variant counted so far, and how many requests its replicas have at the moment."""
    counters, route = variant.counters, variant.route
    counters.tally()
    serving = [replica for replica in variant.replicas.values() if replica.state() == "ready" and not replica.draining]
    waiting = variant.waiting() / max(1, len(serving))
    return VariantCounts(
        account,
        region,
        endpoint,
        route.name,
        route.key,
        route.fleet,
        counters.born,
        len(serving),
        tuple(waiting + replica.in_flight() for replica in serving),
        counters.arrivals,
        counters.refused,
        counters.completed,
        counters.unanswered,
        counters.errors_4xx,
        counters.errors_5xx,
        counters.model_errors,
        counters.model_seconds,
        counters.overhead_seconds,
        tuple(counters.model_buckets.items()),
        tuple(counters.overhead_buckets.items()),
        variant.model_counts(),
        tuple(float(replica.loaded_models()) for replica in serving if isinstance(replica, MultiReplica)),
        asynchronous,
        variant.waiting(),
        sum(replica.in_flight() for replica in variant.replicas.values()),
        signals(variant.parking, counters.late, perf_counter()),
        route.warm,
        tuple(counters.latency_buckets.items()),
        sum(replica.allowed for replica in serving),
        route.concurrency,
    )
