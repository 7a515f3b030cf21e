"""From what fronts count to the datapoints of endpoints: AWS's names, units and dimensions (docs/metrics.md). Pure.

`growth` is what counters gained since they were last told of; `datapoints` turns the gains of a second into samples. Fleets of one variant
are summed up under EndpointName and VariantName; while two of them serve it, each also has its own with EndpointConfigName, so
that an alarm can watch the new one alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from clary.domain.endpoints import scaling_metrics
from clary.domain.endpoints.fleets import Fleet, Variant
from clary.domain.machine.usage import Usage
from clary.domain.metrics.counts import Signals, VariantCounts
from clary.domain.metrics.datapoints import Datapoint, Series, Summary, counted, nothing, single, weighed
from clary.domain.metrics.utilization import utilization
from clary.domain.names import COMPONENT, resource_of
from clary.domain.resources import Scope

NAMESPACE = "AWS/SageMaker"
INSTANCES = "/aws/sagemaker/Endpoints"
COMPONENTS = "/aws/sagemaker/InferenceComponents"
PLACED = "InferenceComponentName"
_PER = ("InvocationsPerInstance", "InvocationsPerCopy")  # of a variant, of an inference component
_CONCURRENT = ("ConcurrentRequestsPerModel", "ConcurrentRequestsPerCopy")

# Metrics by what is counted of them.
_ERRORS = (
    ("Invocation4XXErrors", "errors_4xx"),
    ("Invocation5XXErrors", "errors_5xx"),
    ("InvocationModelErrors", "model_errors"),
)
_LATENCIES = (
    ("ModelLatency", "model_seconds", "model_buckets"),
    ("OverheadLatency", "overhead_seconds", "overhead_buckets"),
)
_Named = tuple[str, str, Summary]  # a metric's name, its unit and its samples of a second

# What AWS does not report of asynchronous endpoints: their front is asked by the queue, not by clients.
_ONLY_CALLED = frozenset({"Invocations", "InvocationsPerInstance", "OverheadLatency"})

_GROWING = (
    "arrivals",
    "refused",
    "completed",
    "unanswered",
    "errors_4xx",
    "errors_5xx",
    "model_errors",
    "model_seconds",
    "overhead_seconds",
)


def growth(now: VariantCounts, before: VariantCounts | None) -> VariantCounts:
    """What was counted since `before`: all of it when that is None."""
    if before is None:
        return now
    gained = {name: getattr(now, name) - getattr(before, name) for name in _GROWING}
    return replace(
        now,
        **gained,
        model_buckets=_more(now.model_buckets, before.model_buckets),
        overhead_buckets=_more(now.overhead_buckets, before.overhead_buckets),
        latency_buckets=_more(now.latency_buckets, before.latency_buckets),
        signals=_since(now.signals, before.signals),
        models=tuple((name, count - dict(before.models).get(name, 0.0)) for name, count in now.models),
    )


def _since(now: Signals | None, before: Signals | None) -> Signals | None:
    """Late answers are counted; the rest is of this moment."""
    return replace(now, late=now.late - before.late) if now is not None and before is not None else now


def _more(now: Iterable[tuple[int, float]], before: Iterable[tuple[int, float]]) -> tuple[tuple[int, float], ...]:
    told = dict(before)
    return tuple((number, count - told.get(number, 0.0)) for number, count in now if count > told.get(number, 0.0))


def datapoints(gained: Sequence[VariantCounts], at: float) -> list[tuple[Scope, list[Datapoint]]]:
    """The samples of one second, by account and region."""
    variants: dict[tuple[str, str, str, str], list[VariantCounts]] = {}
    for counts in gained:
        variants.setdefault((counts.account, counts.region, counts.endpoint, counts.variant), []).append(counts)
    found: dict[Scope, list[Datapoint]] = {}
    for (account, region, endpoint, variant), rows in variants.items():
        where = _dimensions(endpoint, variant)
        made = found.setdefault(Scope(account, region), [])
        seen = _of_variant(rows, where, at)
        made += [*seen, *scaling_metrics.of_variant(rows, where, at, _serving(rows))] if seen else []
        names = dict.fromkeys(row.fleet for row in rows)
        if len(names) > 1 and PLACED not in where:
            for name in names:
                made += _of_variant([r for r in rows if r.fleet == name], {**where, "EndpointConfigName": name}, at)
    return list(found.items())


def _dimensions(route: str, variant: str) -> dict[str, str]:
    """An inference component's figures are by its own name alone."""
    kind, name = resource_of(route)
    return {PLACED: name} if kind == COMPONENT else {"EndpointName": name, "VariantName": variant}


def wanted(endpoint: str, fleet: Fleet, at: float) -> list[Datapoint]:
    """What each variant of the fleet that serves, or comes first, shall have."""
    groups: dict[str, list[Variant]] = {}
    for variant in fleet.variants:
        if not variant.shadow:
            groups.setdefault(variant.name, []).append(variant)
    made = (scaling_metrics.of_wanted(group, _dimensions(endpoint, name), at) for name, group in groups.items())
    return [datapoint for each in made for datapoint in each]


def _of_variant(rows: Sequence[VariantCounts], where: Mapping[str, str], at: float) -> list[Datapoint]:
    """A row is a container of a fleet: requests arrive at its first and are answered by its last, each on as many machines."""
    serving, placed = _serving(rows), PLACED in where
    if not serving and not sum(row.invocations for row in rows) and not any(row.answered for row in rows):
        return []  # it is not there yet, or any more: that is not the same as idle
    summaries = [
        *_of_arrivals(rows, serving, placed),
        *_of_errors(rows),
        *_of_latencies(rows),
        *_of_models(rows),
        *_of_concurrency(rows, serving, placed),
        *_of_serverless(rows),
    ]
    left_out = _ONLY_CALLED if any(row.asynchronous for row in rows) else frozenset()
    made = [
        Datapoint(Series.of(NAMESPACE, metric, where, unit), at, summary, fine=True)
        for metric, unit, summary in summaries
        if metric not in left_out
    ]
    loaded = [(value, 1.0) for row in rows for value in row.loaded]
    if loaded:
        series = Series.of(INSTANCES, "LoadedModelCount", where, "None")
        made.append(Datapoint(series, at, weighed(loaded), fine=True))
    return made


def _of_arrivals(rows: Sequence[VariantCounts], serving: int, placed: bool) -> list[_Named]:
    """What came, and what found no replica."""
    invocations = sum(row.invocations for row in rows)
    each = single(1 / max(1, serving), invocations) if invocations else nothing()
    found = [("Invocations", "None", _each(invocations)), (_PER[placed], "None", each)]
    refused = sum(row.refused for row in rows)
    if placed and refused and not serving:
        found.append(("NoCapacityInvocationFailures", "None", single(1.0, refused)))
    return found


def _of_errors(rows: Sequence[VariantCounts]) -> list[_Named]:
    """Of each answer 1 where it is an error of the kind, else 0."""
    answered = sum(row.answered for row in rows)
    found: list[_Named] = []
    for metric, name in _ERRORS if answered else ():
        errors = min(answered, sum(getattr(row, name) for row in rows))
        pairs = [(value, count) for value, count in ((0.0, answered - errors), (1.0, errors)) if count]
        found.append((metric, "None", weighed(pairs)))
    return found


def _of_latencies(rows: Sequence[VariantCounts]) -> list[_Named]:
    found: list[_Named] = []
    for metric, seconds, buckets in _LATENCIES:
        spread = _together(getattr(row, buckets) for row in rows)
        if spread:
            total = round(sum(getattr(row, seconds) for row in rows) * 1e6)  # whole ones, as on AWS
            found.append((metric, "Microseconds", counted(spread, float(total))))
    return found


def _of_concurrency(rows: Sequence[VariantCounts], serving: int, placed: bool) -> list[_Named]:
    concurrent = [value for row in rows for value in row.concurrent]
    if 0 < serving < len(concurrent):  # of several containers: their requests together
        concurrent = [sum(concurrent) / serving] * serving
    return [(_CONCURRENT[placed], "None", weighed((value, 1.0) for value in concurrent))] if concurrent else []


def _of_serverless(rows: Sequence[VariantCounts]) -> list[_Named]:
    """AWS, "Alarms and logs for tracking metrics from serverless endpoints". A request is handled by the provisioned concurrency when,
    as it came, fewer requests were there than are provisioned."""
    most, warm = sum(row.concurrency for row in rows), sum(row.warm for row in rows)
    busy = sum(row.in_flight for row in rows)
    found: list[_Named] = []
    if most:
        found.append(("ServerlessConcurrentExecutionsUtilization", "None", single(busy / most)))
    if warm:
        spilled = sum(count for row in rows for name, count in row.models if name == "spilled")
        handled = sum(row.arrivals for row in rows) - spilled
        found += [
            ("ServerlessProvisionedConcurrencyExecutions", "Count", single(float(busy))),
            ("ServerlessProvisionedConcurrencyUtilization", "None", single(min(1.0, busy / warm))),
            ("ServerlessProvisionedConcurrencyInvocations", "Count", _each(handled)),
            ("ServerlessProvisionedConcurrencySpilloverInvocations", "Count", _each(spilled)),
        ]
    return found


def _each(count: float) -> Summary:
    """1 for each."""
    return single(1.0, count) if count > 0 else nothing()


def _serving(rows: Sequence[VariantCounts]) -> int:
    """Replicas that take work; of a model of several containers, of the one that has the most."""
    return sum(max(row.serving for row in rows if row.fleet == name) for name in {row.fleet for row in rows})


def _of_models(rows: Sequence[VariantCounts]) -> list[_Named]:
    """Of a multi-model variant, and of a serverless one. Of the loads and setups of one second their number and their mean are known, not
    the shortest and the longest."""
    whole: dict[str, float] = {}
    for row in rows:
        for name, count in row.models:
            whole[name] = whole.get(name, 0.0) + count
    found: list[_Named] = []
    for metric, number, seconds in (
        ("ModelLoadingWaitTime", "waits", "waiting"),
        ("ModelDownloadingTime", "downloads", "downloading"),
        ("ModelLoadingTime", "loads", "loading"),
        ("ModelUnloadingTime", "unloads", "unloading"),
        ("ModelSetupTime", "setups", "setup"),
    ):
        count = whole.get(number, 0.0)
        if count > 0:
            found.append((metric, "Microseconds", weighed([(whole[seconds] / count * 1e6, count)])))
    pairs = [(value, whole.get(name, 0.0)) for value, name in ((0.0, "misses"), (1.0, "hits"))]
    if any(count for _, count in pairs):
        found.append(("ModelCacheHit", "None", weighed([pair for pair in pairs if pair[1]])))
    return found


def _together(spreads: Iterable[Iterable[tuple[int, float]]]) -> dict[int, float]:
    whole: dict[int, float] = {}
    for spread in spreads:
        for number, count in spread:
            whole[number] = whole.get(number, 0.0) + count
    return whole


def usage(endpoint: str, variant: str, before: Usage | None, now: Usage) -> list[Datapoint]:
    """What a replica used since `before`."""
    where = _dimensions(endpoint, variant)
    return utilization(COMPONENTS if PLACED in where else INSTANCES, where, now.at, *now.shares(before))
