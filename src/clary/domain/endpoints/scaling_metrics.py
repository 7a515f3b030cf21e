"""What scaling is seen by, as datapoints of Clary's own namespace (docs/metrics.md): load, capacity, and latency against its objective.

`of_variant` is one second of what the fronts counted, `of_wanted` what its record asks for. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from clary.domain.endpoints.fleets import Variant
from clary.domain.machine import instances
from clary.domain.metrics.counts import VariantCounts
from clary.domain.metrics.datapoints import Datapoint, Series, counted, single, weighed

NAMESPACE = "clary/Endpoints"


def of_variant(rows: Sequence[VariantCounts], where: Mapping[str, str], at: float, serving: int) -> list[Datapoint]:
    """Of all fleets and containers of a variant together. `serving`: replicas that take work."""
    made = [
        _gauge("RequestsInFlight", where, at, sum(row.in_flight for row in rows)),
        _gauge("RequestsQueued", where, at, sum(row.queued for row in rows)),
        _gauge("Replicas", where, at, serving),
        _gauge("WorkersActive", where, at, sum(row.signals.working if row.signals else row.allowed for row in rows)),
        _gauge("WorkersAllowed", where, at, sum(row.allowed for row in rows)),
    ]
    spread: dict[int, float] = {}
    for row in rows:
        for number, count in row.latency_buckets:
            spread[number] = spread.get(number, 0.0) + count
    if spread:
        # each request counts at the container that answered it: its time in all of them
        total = sum(row.model_seconds + row.overhead_seconds for row in rows) * 1e6
        made.append(
            Datapoint(Series.of(NAMESPACE, "Latency", where, "Microseconds"), at, counted(spread, round(total)), True)
        )
    answered = sum(row.answered for row in rows if row.signals is not None)
    if answered:
        late = min(answered, sum(row.signals.late for row in rows if row.signals is not None))
        pairs = [(value, count) for value, count in ((0.0, answered - late), (1.0, late)) if count]
        made.append(Datapoint(Series.of(NAMESPACE, "LateRequests", where), at, weighed(pairs), True))
    return made


def of_wanted(group: Sequence[Variant], where: Mapping[str, str], at: float) -> list[Datapoint]:
    """What a variant (its containers, each a `fleets.Variant`) shall have; a replica has the CPU of all of them."""
    made = [_gauge("DesiredReplicas", where, at, max(variant.count for variant in group))]
    if not any(variant.count or variant.live for variant in group):  # then no front tells it
        made.append(_gauge("Replicas", where, at, 0))
    millicpu = sum(_millicpu(variant.size) for variant in group)
    if millicpu:
        made.append(_gauge("MillicpuPerReplica", where, at, millicpu))
    objective = next((variant.boost.objective for variant in group if variant.boost is not None), 0.0)
    if objective:
        made.append(_gauge("LatencyObjective", where, at, round(objective * 1e6), "Microseconds"))
    return made


def _millicpu(size: str) -> int:
    found = instances.find(size)
    return round(1000 * (found.cores or found.vcpu)) if found is not None else 0


def _gauge(metric: str, where: Mapping[str, str], at: float, value: float, unit: str = "Count") -> Datapoint:
    return Datapoint(Series.of(NAMESPACE, metric, where, unit), at, single(float(value)), True)
