"""`clary scaling ENDPOINT --what-if FILE`: the endpoint's recorded load played again under another policy, beside the capacity that it had.

A client of the public API only. The replay runs in a process of its own (`app/replays.py`); what the file may say is in
`domain/objectives/what_if.py`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from clary.app import replays
from clary.app.cli import charts
from clary.app.cli.client import ApiFailure, Client
from clary.app.cli.output import NOT_FOUND, USAGE, CommandRefused, say, say_json, table
from clary.app.cli.scaling_figure import AWS, CLARY, HOSTS, IDLE_EVERY, MOST_POINTS
from clary.app.plots import BLUE, GREY, ORANGE, Curve, Figure, Panel, Point
from clary.domain.autoscaling.record import INSTANCES
from clary.domain.errors import Invalid
from clary.domain.machine.capacity_view import PATH
from clary.domain.objectives.sight import UNMEASURED_START
from clary.domain.objectives.what_if import Both, Known, WhatIf, late_of, parse
from clary.domain.scaling.decisions import Event
from clary.domain.scaling.recorded import Recorded, Service, starts
from clary.domain.scaling.replay import MINUTE, Played

FINE = 3 * 3600.0  # how long seconds are kept
LEAST_COST = 1 / 64  # vCPUs of a busy worker: what is less is not measured so exactly
# By minutes: a key, the metric, its statistic, and what makes it seconds or a count.
_MINUTES = (
    ("arrivals", AWS, "Invocations", "Sum", 1.0),
    ("service", AWS, "ModelLatency", "Average", 1e-6),
    ("median", AWS, "ModelLatency", "p50", 1e-6),
    ("p95", AWS, "ModelLatency", "p95", 1e-6),
    ("replicas", CLARY, "Replicas", "Average", 1.0),
    ("active", CLARY, "WorkersActive", "Average", 1.0),
    ("allowed", CLARY, "WorkersAllowed", "Average", 1.0),
    ("millicpu", CLARY, "MillicpuPerReplica", "Maximum", 1.0),
    ("objective", CLARY, "LatencyObjective", "Maximum", 1e-6),
    ("late", CLARY, "LateRequests", "Sum", 1.0),
    ("judged", CLARY, "LateRequests", "SampleCount", 1.0),
    ("cpu", HOSTS, "CPUUtilization", "Average", 1e-2),
)
_SECONDS = tuple(row for row in _MINUTES if row[0] in ("arrivals", "replicas", "active"))

Series = Mapping[str, Sequence[Point]]


@dataclass(frozen=True, slots=True)
class Load:
    """What is recorded of a variant between two moments, by minutes and (of the last hours) by seconds."""

    endpoint: str
    variant: str
    begin: float
    end: float
    minutes: Series
    seconds: Series

    def joined(self, key: str) -> list[Point]:
        """By seconds as far as these go back, by minutes before."""
        fine = self.seconds.get(key, ())
        first = fine[0][0] if fine else math.inf
        return [*((at, value) for at, value in self.minutes.get(key, ()) if at + MINUTE <= first), *fine]

    @property
    def services(self) -> list[Service]:
        medians, highs = dict(self.minutes["median"]), dict(self.minutes["p95"])
        means = self.minutes["service"]
        return [Service(at, mean, medians.get(at, mean), highs.get(at, mean)) for at, mean in means if mean > 0]


def read_file(path: str) -> WhatIf:
    """Refused, with the place in the file, when it holds no policy."""
    try:
        return parse(json.loads(Path(path).read_text(encoding="utf-8")))
    except json.JSONDecodeError as error:
        raise CommandRefused(
            f"{path} is not JSON: line {error.lineno}, column {error.colno}: {error.msg}", USAGE
        ) from error
    except UnicodeDecodeError as error:
        raise CommandRefused(f"{path} is not JSON: it is not in UTF-8", USAGE) from error
    except OSError as error:
        raise CommandRefused(
            f"--what-if takes a file with a policy as JSON: {path}: {error.strerror}", USAGE
        ) from error
    except Invalid as error:
        raise CommandRefused(f"{path}: {error.message} (docs/scaling.md has examples)", USAGE) from error


def load_of(client: Client, endpoint: str, variant: str, start: float, now: float) -> Load:
    begin = start // MINUTE * MINUTE
    minutes = _fetched(client, endpoint, variant, _MINUTES, MINUTE, begin, now)
    fine = max(begin, math.ceil((now - FINE) / MINUTE) * MINUTE)
    seconds = _fetched(client, endpoint, variant, _SECONDS, 1, fine, now)
    known = [row[0][0] for row in (minutes["arrivals"], seconds["arrivals"]) if row]
    return Load(endpoint, variant, max(begin, min(known, default=begin)), now, minutes, seconds)


def _fetched(
    client: Client, endpoint: str, variant: str, rows: Sequence[Any], period: int, begin: float, end: float
) -> dict[str, list[Point]]:
    where = [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": variant}]
    asked = [
        {
            "Id": key,
            "MetricStat": {
                "Metric": {"Namespace": namespace, "MetricName": name, "Dimensions": where},
                "Period": period,
                "Stat": statistic,
            },
        }
        for key, namespace, name, statistic, _ in rows
    ]
    params = {"StartTime": begin, "EndTime": end, "ScanBy": "TimestampAscending", "MetricDataQueries": asked}
    factors = {key: factor for key, *_, factor in rows}
    found: dict[str, list[Point]] = {key: [] for key in factors}
    for row in client.pages("monitoring", "GetMetricData", "MetricDataResults", params):
        pairs = zip(map(float, row["Timestamps"]), row["Values"], strict=True)
        found[row["Id"]] += [(at, value * factors[row["Id"]]) for at, value in pairs]
    return found


def known_of(load: Load, events: Sequence[Event], cpus: int, timing: str, asked: WhatIf) -> Known:
    """The variant, as its metrics and its decisions have it."""
    rows, replicas = load.minutes, load.joined("replicas")
    there = {at: value for at, value in rows["replicas"] if value >= 1.0}
    each = [value / there[at] for at, value in rows["allowed"] if at in there]
    objective = rows["objective"][-1][1] if rows["objective"] else 0.0
    services = {at: value for at, value in rows["service"] if value > 0}
    used = sum(value * there[at] * MINUTE for at, value in rows["cpu"] if at in there)
    work = sum(count * services.get(at, 0.0) for at, count in rows["arrivals"])
    cost = min(1.0, max(LEAST_COST, used / work)) if used > 0 and work > 0 else 1.0
    grown = [(e.at, e.after.count) for e in events if e.applied and e.after.count > e.before.count]
    measured = starts(grown, load.seconds.get("replicas", ()))
    return Known(
        workers=max(1, round(median(each))) if each else 1,
        objective=objective,
        millicpu=int(rows["millicpu"][-1][1]) if rows["millicpu"] else 1000,
        cost=cost,
        cpus=cpus,
        starts=measured,
        start=max(measured, default=UNMEASURED_START),
        replicas=tuple(replicas),
        late=late_of(asked, objective, list(services.values())),
        timing=timing,
    )


def cpus_of(client: Client) -> int:
    """Of the machine; 0 where nobody tells."""
    try:
        return int(client.page(PATH)["machine"]["cpus"])
    except (CommandRefused, KeyError, ValueError):
        return 0


def within(client: Client, endpoint: str, variant: str, asked: WhatIf, path: str) -> WhatIf:
    """With the range of its scalable target, where the file has none."""
    _refuse_serverless(client, endpoint, variant)
    if asked.most is not None:
        return asked
    resource = f"endpoint/{endpoint}/variant/{variant}"
    params = {"ServiceNamespace": "sagemaker", "ResourceIds": [resource], "ScalableDimension": INSTANCES}
    found = list(client.pages("application-autoscaling", "DescribeScalableTargets", "ScalableTargets", params))
    if not found:
        advice = "the variant has no scalable target, whose range it could be"
        raise CommandRefused(f"{path}: $.MinCapacity, $.MaxCapacity: missing, and {advice}: give both", USAGE)
    return replace(asked, least=int(found[0]["MinCapacity"]), most=int(found[0]["MaxCapacity"]))


def show(
    client: Client,
    load: Load,
    events: Sequence[Event],
    asked: WhatIf,
    timing: str,
    since: str,
    finely: bool,
    *,
    as_json: bool,
) -> Figure:
    """Play, and tell; answers the picture. Refused where nothing is recorded, or the replay failed."""
    name = f"{load.endpoint}, variant {load.variant}"
    if not load.services or not load.joined("replicas"):
        raise nothing(name, load.endpoint, since)
    known = known_of(load, events, cpus_of(client), timing, asked)
    width = width_of(load.end - load.begin, MOST_POINTS if finely or as_json else charts.MOST_POINTS)
    seconds, minutes = load.seconds["arrivals"], load.minutes["arrivals"]
    question = replays.Question(load.begin, load.end, seconds, minutes, load.services, known, asked, width)
    both = replays.ask(question)
    if both is None:
        raise nothing(name, load.endpoint, since)
    active = activity(load, both.was)
    if as_json:
        say_json(document(load, known, asked, both, active))
    else:
        for line in told(load, known, asked, both, active, since):
            say(line)
    return figure(load, asked, both, active, width)


def nothing(name: str, endpoint: str, since: str) -> CommandRefused:
    advice = f"send it requests, or name a longer --since; `clary scaling {endpoint}` shows what is recorded"
    return CommandRefused(
        f"there is no recorded load of {name} in the last {since}, so nothing can be played: {advice}", NOT_FOUND
    )


def width_of(seconds: float, most: int) -> int:
    """Of a bin: whole minutes, or so many seconds that a minute has a whole number of them."""
    least = max(1, math.ceil(seconds / most))
    return next((each for each in (1, 2, 3, 5, 6, 10, 15, 20, 30, 60) if each >= least), -(-least // MINUTE) * MINUTE)


def activity(load: Load, was: Played) -> list[float]:
    """Workers that were active, of each bin."""
    held = Recorded(load.joined("active") or ((load.begin, 0.0),))
    return [float(held.at(each.at + each.seconds / 2)) for each in was.bins]


# -- words ------------------------------------------------------------------------------------------------------------------------


def sums(played: Played, workers: float | None = None) -> dict[str, float]:
    """What it came to. `workers`: worker-seconds that are known otherwise."""
    busy = sum(each.workers for each in played.bins) if workers is None else workers
    return {
        "instance_hours": sum(each.replicas for each in played.bins) / 3600.0,
        "worker_seconds": busy,
        "replicas_most": played.most,
        "late": played.late,
    }


def _both_sums(both: Both, active: Sequence[float]) -> tuple[dict[str, float], dict[str, float]]:
    workers = sum(value * each.seconds for value, each in zip(active, both.was.bins, strict=True))
    return sums(both.was, workers), sums(both.what_if)


def told(load: Load, known: Known, asked: WhatIf, both: Both, active: Sequence[float], since: str) -> list[str]:
    was, what_if = _both_sums(both, active)
    requests = sum(each.requests for each in both.was.bins)
    rows = [
        ("instance-hours", *(f"{each['instance_hours']:,.3f}" for each in (was, what_if))),
        ("worker-seconds", *(f"{each['worker_seconds']:,.0f}" for each in (was, what_if))),
        ("replicas, most", *(f"{each['replicas_most']:.0f}" for each in (was, what_if))),
        ("late, %", *(f"{100 * each['late']:.3f}" for each in (was, what_if))),
    ]
    first = (
        f"{load.endpoint}, variant {load.variant}: {requests:,} requests of the last {since}, played again with {asked.words}, "
        f"{asked.least} to {asked.most} replicas"
    )
    return [first, "", table(("", "what was", "what-if"), rows), "", *left_out(load, known, both)]


def left_out(load: Load, known: Known, both: Both) -> list[str]:
    """What the figures are of, and what is not in them."""
    seconds = sum(each.seconds for each in both.was.bins)
    part = min(1.0, seconds / max(1.0, load.end - load.begin))
    made = [
        f"Late is a request that waits longer than {1000 * known.late:g} ms less the 95th percentile of what requests take. Both columns "
        "are replayed; the left one with the replicas that there were."
    ]
    judged = sum(count for _, count in load.minutes["judged"])
    if judged and known.objective:
        late = sum(count for _, count in load.minutes["late"]) / judged
        made.append(
            f"As counted then: {100 * late:.3f} % were later than the objective of {1000 * known.objective:g} ms."
        )
    if part < 0.99:
        made.append(f"{100 * (1 - part):.0f} % of the time have no datapoints and are left out.")
    older = load.end - load.begin > FINE
    spread = " (where it is older than three hours, each minute's requests come at random seconds)" if older else ""
    measured = f"as the last {len(known.starts)} did" if known.starts else "assumed, since no start was seen"
    made.append(
        f"Left out: the load is even within a second{spread}; a replica starts in {known.start:.2g} s ({measured}), and no start fails; "
        f"its size stays {known.millicpu} millicpu; requests are not batched; other endpoints need no CPU; there is no forecast."
    )
    return made


def document(load: Load, known: Known, asked: WhatIf, both: Both, active: Sequence[float]) -> dict[str, Any]:
    was, what_if = _both_sums(both, active)

    def bins(played: Played) -> list[dict[str, float]]:
        return [each._asdict() for each in played.bins]

    return {
        "endpoint": load.endpoint,
        "variant": load.variant,
        "start": load.begin,
        "end": load.end,
        "policy": asked.words,
        "range": [asked.least, asked.most],
        "late_ms": 1000 * known.late,
        "requests": sum(each.requests for each in both.was.bins),
        "was": {**was, "bins": bins(both.was), "workers_active": list(active)},
        "what_if": {**what_if, "bins": bins(both.what_if)},
        "left_out": left_out(load, known, both),
    }


def figure(load: Load, asked: WhatIf, both: Both, active: Sequence[float], width: int) -> Figure:
    def curve(name: str, colour: str, values: Sequence[tuple[float, float, int]], **how: bool) -> Curve:
        return Curve(name, [(at, value) for at, value, seconds in values if seconds], colour, **how)

    def each(played: Played, of: Any) -> list[tuple[float, float, int]]:
        return [(one.at, of(one) if one.seconds else 0.0, one.seconds) for one in played.bins]

    def late(one: Any) -> float:
        return 100.0 * min(1.0, one.late / one.requests) if one.requests else 0.0

    busy = [(one.at, value, one.seconds) for one, value in zip(both.was.bins, active, strict=True)]
    replicas, workers = (lambda one: one.replicas / one.seconds), (lambda one: one.workers / one.seconds)
    panels = (
        Panel(
            "Load",
            "requests/s",
            [curve("arrivals", BLUE, each(both.was, lambda one: one.requests / one.seconds), area=True)],
        ),
        Panel(
            "Replicas",
            "count",
            [
                curve("what was", GREY, each(both.was, replicas), step=True),
                curve("what-if", ORANGE, each(both.what_if, replicas), step=True),
            ],
        ),
        Panel(
            "Workers",
            "count",
            [
                curve("what was", GREY, busy, step=True),
                curve("what-if", ORANGE, each(both.what_if, workers), step=True),
            ],
        ),
        Panel(
            "Late",
            "% of requests",
            [curve("what was", GREY, each(both.was, late)), curve("what-if", ORANGE, each(both.what_if, late))],
        ),
    )
    title = f"{load.endpoint}, variant {load.variant}, with {asked.words}"
    gap = max(3.0 * width, 1.5 * IDLE_EVERY)
    return Figure(title, load.begin, load.end, panels, note=f"points of {width} s", gap=gap, decides=False)


def _refuse_serverless(client: Client, endpoint: str, variant: str) -> None:
    """A serverless variant has no replicas that a policy could count."""
    try:
        described = client.call("sagemaker", "DescribeEndpoint", {"EndpointName": endpoint})
    except ApiFailure:
        return  # it is gone: its metrics stay
    for row in described.get("ProductionVariants", ()):
        if row["VariantName"] == variant and row.get("CurrentServerlessConfig"):
            raise CommandRefused(
                f"{endpoint}, variant {variant}, is serverless: no policy decides how many replicas it has", USAGE
            )
