"""What `clary scaling` shows of a variant, or of an inference component (ENDPOINT/COMPONENT): which metrics, and the figure that they make
with the decisions. Pure."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clary.app.plots import BLUE, GREEN, GREY, ORANGE, PINK, SKY, Curve, Figure, Mark, Panel, Point
from clary.domain.scaling import decisions
from clary.domain.scaling.decisions import Event

MOST_MARKS = 12
MOST_POINTS = 400  # across a picture; more would not be seen
IDLE_EVERY = 10.0  # seconds between datapoints of an idle endpoint
_FINE = 3 * 3600.0  # how long seconds are kept
_PERIODS = (1, 5, 10, 30, 60, 300, 900, 3600, 21_600, 86_400)

CLARY, AWS, HOSTS = "clary/Endpoints", "AWS/SageMaker", "/aws/sagemaker/Endpoints"
COMPONENTS = "/aws/sagemaker/InferenceComponents"  # in place of HOSTS


@dataclass(frozen=True, slots=True)
class Metric:
    """One that is asked for, and by which factor it becomes `unit` (`per_second`: that over the period too)."""

    key: str
    namespace: str
    name: str
    statistic: str
    unit: str
    factor: float = 1.0
    per_second: bool = False


METRICS = (
    Metric("arrivals", AWS, "Invocations", "Sum", "1/s", per_second=True),
    Metric("in_flight", CLARY, "RequestsInFlight", "Average", "requests"),
    Metric("queued", CLARY, "RequestsQueued", "Maximum", "requests"),
    Metric("replicas", CLARY, "Replicas", "Average", "replicas"),
    Metric("desired", CLARY, "DesiredReplicas", "Maximum", "replicas"),
    Metric("active", CLARY, "WorkersActive", "Average", "workers"),
    Metric("allowed", CLARY, "WorkersAllowed", "Maximum", "workers"),
    Metric("each", CLARY, "MillicpuPerReplica", "Average", "vCPU", 1e-3),
    Metric("cpu", HOSTS, "CPUUtilization", "Average", "vCPU", 1e-2),
    Metric("p99", CLARY, "Latency", "p99", "ms", 1e-3),
    Metric("objective", CLARY, "LatencyObjective", "Maximum", "ms", 1e-3),
)


@dataclass(frozen=True, slots=True)
class Story:
    """What is known of a variant between two moments. `series`: points by a metric's key, in its unit, oldest first."""

    endpoint: str
    variant: str
    start: float
    end: float
    period: int
    series: Mapping[str, Sequence[Point]]
    events: Sequence[Event] = ()
    activities: Sequence[Mapping[str, Any]] = ()  # of Application Auto Scaling, where nothing else was written down


def period_of(start: float, end: float, now: float, most: int = MOST_POINTS) -> int:
    """Of the datapoints to ask for: fine enough to see something, and still kept."""
    least = 1 if now - start <= _FINE else 60
    return next((p for p in _PERIODS if p >= least and (end - start) / p <= most), _PERIODS[-1])


def component_of(endpoint: str) -> str:
    """The inference component's name; "" of an endpoint."""
    return endpoint.rpartition("/")[2] if "/" in endpoint else ""


def queries(endpoint: str, variant: str, period: int) -> list[dict[str, Any]]:
    """For GetMetricData."""
    component = component_of(endpoint)
    named = {"InferenceComponentName": component} if component else {"EndpointName": endpoint, "VariantName": variant}
    where = [{"Name": name, "Value": value} for name, value in named.items()]
    return [
        {
            "Id": metric.key,
            "MetricStat": {
                "Metric": {
                    "Namespace": COMPONENTS if component and metric.namespace == HOSTS else metric.namespace,
                    "MetricName": metric.name,
                    "Dimensions": where,
                },
                "Period": period,
                "Stat": metric.statistic,
            },
        }
        for metric in METRICS
    ]


def points(found: Mapping[str, Sequence[Point]], period: int) -> dict[str, list[Point]]:
    """What GetMetricData answered, in the units that are shown; CPU of all replicas together, used and given."""
    series = {
        metric.key: [
            (at, value * metric.factor / (period if metric.per_second else 1))
            for at, value in found.get(metric.key, ())
        ]
        for metric in METRICS
    }
    for key in ("cpu", "each"):
        series[key] = _times(series[key], series["replicas"])
    series["given"] = series.pop("each")
    return series


def _times(some: Sequence[Point], others: Sequence[Point]) -> list[Point]:
    """Each value times the last of the others by then; without one there was nothing to multiply."""
    moments = [at for at, _ in others]
    pairs = ((at, value, bisect_right(moments, at)) for at, value in some)
    return [(at, value * others[place - 1][1]) for at, value, place in pairs if place]


def figure(story: Story) -> Figure:
    series = {**story.series, "desired": _asked(story)}

    def curve(key: str, name: str, colour: str, **how: bool) -> Curve:
        return Curve(name, series.get(key, ()), colour, **how)

    panels = (
        Panel("Load", "requests/s", [curve("arrivals", "arrivals", BLUE, area=True)]),
        Panel(
            "Requests inside",
            "count",
            [curve("in_flight", "in flight", BLUE), curve("queued", "queued, most", ORANGE)],
        ),
        Panel(
            "Replicas",
            "count",
            [curve("replicas", "ready", GREEN, step=True), curve("desired", "desired", GREY, step=True, dashed=True)],
        ),
        Panel(
            "Workers",
            "count",
            [curve("active", "active", GREEN, step=True), curve("allowed", "allowed", GREY, step=True, dashed=True)],
        ),
        Panel(
            "CPU",
            "vCPU",
            [curve("cpu", "used", SKY, area=True), curve("given", "given", GREY, step=True, dashed=True)],
        ),
        Panel(
            "Latency p99",
            "ms",
            [curve("p99", "p99", PINK), curve("objective", "objective", GREY, step=True, dashed=True)],
            "no answers in this time",
        ),
    )
    shown, more = marks(story)
    return Figure(
        f"Scaling of {title(story)}",
        story.start,
        story.end,
        panels,
        shown,
        f"points of {story.period} s",
        gap=max(3.0 * story.period, 1.5 * IDLE_EVERY),
        more=more,
    )


def title(story: Story) -> str:
    endpoint, _, component = story.endpoint.partition("/")
    return f"{endpoint}, component {component}" if component else f"{endpoint}, variant {story.variant}"


def _asked(story: Story) -> list[Point]:
    """Replicas that were wanted: what is told each few seconds, and each decision at its moment."""
    changed = (event for event in story.events if event.applied and event.before.count != event.after.count)
    told = [(event.at, float(event.after.count)) for event in changed]
    return sorted([*story.series.get("desired", ()), *told])


def marks(story: Story) -> tuple[list[Mark], int]:
    """The decisions to be seen: those that changed something, were refused or held, replicas and sizes before workers, the last before the
    first; and how many others there are."""
    before = [None, *story.events]
    weighed = ((_weight(event, last), event) for last, event in zip(before, story.events, strict=False))
    found = [(weight, Mark(event.at, sentence(event), bool(event.refused))) for weight, event in weighed if weight]
    if not story.events:
        found = [(2, _activity(each)) for each in story.activities]
    kept = sorted(sorted(found, key=lambda pair: (pair[0], pair[1].at))[-MOST_MARKS:], key=lambda pair: pair[1].at)
    return [mark for _, mark in kept], len(found) - len(kept)


def _weight(event: Event, last: Event | None) -> int:
    """0: not worth a mark. What is refused or held is told again each minute, and marked once."""
    told = last is not None and event.outcome == last.outcome
    if event.refused:
        return 0 if told else 2
    if event.level == decisions.HOLD:
        return 0 if told else 1
    if not event.applied or event.before == event.after:
        return 0
    return 1 if event.level == decisions.STAFFING else 2


def sentence(event: Event) -> str:
    return f"{decisions.done(event)}. {event.why[:1].upper()}{event.why[1:]}"


def _activity(row: Mapping[str, Any]) -> Mark:
    why = "; ".join(str(reason.get("Code", "")) for reason in row.get("NotScaledReasons", ()))
    text = " ".join(part for part in (row.get("Description", ""), row.get("Cause", ""), why) if part)
    return Mark(float(row["StartTime"]), text, bool(why) or row.get("StatusCode") in ("Failed", "Unfulfilled"))


def document(story: Story) -> dict[str, Any]:
    """For programs: everything, not only what a picture has room for."""
    units = {metric.key: metric.unit for metric in METRICS} | {"given": "vCPU"}
    return {
        "endpoint": story.endpoint,
        "variant": story.variant,
        "start": story.start,
        "end": story.end,
        "period": story.period,
        "series": {
            key: {"unit": units[key], "points": [list(point) for point in row]} for key, row in story.series.items()
        },
        "decisions": [json.loads(decisions.line(event)) for event in story.events],
        "activities": list(story.activities),
    }
