"""`clary scaling`: load, capacity, latency and decisions of an endpoint over time, in the terminal or as a picture.

A client of the public API only: CloudWatch's metrics, the decisions in the log group `/clary/Scaling/ENDPOINT`, else the activities of
Application Auto Scaling.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clary.app import plots
from clary.app.cli import charts
from clary.app.cli import what_if as playing
from clary.app.cli.client import ApiFailure, Client
from clary.app.cli.logs import begin_of
from clary.app.cli.output import NOT_FOUND, USAGE, CommandRefused, say, say_json
from clary.app.cli.scaling_figure import (
    MOST_POINTS,
    Story,
    component_of,
    document,
    figure,
    period_of,
    points,
    queries,
    title,
)
from clary.app.cli.site import endpoint_name, here
from clary.app.plots import Figure
from clary.domain.scaling import decisions
from clary.domain.scaling.decisions import Event

LEAST = 30.0  # seconds that a picture shows
KINDS = (".svg", ".png")


def scaling(
    directory: str | None, endpoint: str, variant: str, since: str, out: str, what_if: str = "", *, as_json: bool
) -> None:
    now, since = time.time(), since or ("1d" if what_if else "1h")
    start = begin_of(since, now) / 1000
    if not start or now - start < LEAST:
        raise CommandRefused(f"--since takes a span from 30s on, such as 10m, 2h or 7d, not {since!r}", USAGE)
    target = Path(out) if out else None
    if target is not None and target.suffix.lower() not in KINDS:
        raise CommandRefused(f"--out takes a file that ends in .svg or .png, not {out!r}", USAGE)
    asked = playing.read_file(what_if) if what_if else None
    site, endpoint = here(directory), endpoint_name(endpoint)
    if asked is not None and component_of(endpoint):
        raise CommandRefused(
            "--what-if is for variants of endpoints: the copies of an inference component are not played", USAGE
        )
    client = site.client()
    try:
        names = variants_of(client, endpoint, variant)
    except ApiFailure as error:
        known = error.code != NOT_FOUND or component_of(endpoint)
        raise (error if known else site.no_endpoint(endpoint)) from error
    if (target is not None or asked is not None) and len(names) > 1:
        which = "is played" if asked is not None else f"goes into {out}"
        raise CommandRefused(f"{endpoint} has the variants {', '.join(names)}: --variant says which {which}", USAGE)
    if asked is not None:
        asked = playing.within(client, endpoint, names[0], asked, what_if)
        load = playing.load_of(client, endpoint, names[0], start, now)
        events = [event for event in events_of(client, endpoint, names[0], start) if event.at >= start]
        drawn = playing.show(
            client, load, events, asked, site.settings.scaling_timing, since, out != "", as_json=as_json
        )
        _draw(drawn, target, as_json)
        return
    most = MOST_POINTS if target is not None or as_json else charts.MOST_POINTS
    stories = [read(client, endpoint, name, start, now, most) for name in names]
    if target is not None:
        save(figure(stories[0]), target)
        if not as_json:
            say(f"{target}: {title(stories[0])}, the last {since}")
    if as_json:
        say_json([document(story) for story in stories])
    elif target is None:
        charts.show([figure(story) for story in stories])


def _draw(drawn: Figure, target: Path | None, as_json: bool) -> None:
    if target is not None:
        save(drawn, target)
    elif not as_json:
        charts.show([drawn])


def variants_of(client: Client, endpoint: str, variant: str) -> list[str]:
    """The variant that is asked for, or all of the endpoint. What a deleted endpoint told stays:
    then all of which there are decisions; one without any must be named.
    Of an inference component, the stream of its decisions."""
    component = component_of(endpoint)
    if component:
        found = client.call("sagemaker", "DescribeInferenceComponent", {"InferenceComponentName": component})
        if variant or found["EndpointName"] != endpoint.partition("/")[0]:
            where = f"{component} is a component of endpoint {found['EndpointName']} and has no variants of its own"
            raise CommandRefused(f"{where}: `clary scaling {found['EndpointName']}/{component}`", NOT_FOUND)
        return [decisions.COPIES_STREAM]
    try:
        described = client.call("sagemaker", "DescribeEndpoint", {"EndpointName": endpoint})
    except ApiFailure as error:
        told = [variant] if variant else streams_of(client, endpoint)
        if error.code == NOT_FOUND and told:
            return told
        raise
    found = described.get("ProductionVariants") or described.get("PendingDeploymentSummary", {}).get(
        "ProductionVariants", []
    )
    names = [row["VariantName"] for row in found]
    if variant and variant not in names:
        raise CommandRefused(
            f"{endpoint} has no variant {variant!r}: there is {', '.join(names) or 'none yet'}", NOT_FOUND
        )
    if not names:
        raise CommandRefused(
            f"{endpoint} has no variant yet: `clary rollout {endpoint}` shows how far it is", NOT_FOUND
        )
    return [variant] if variant else names


def read(client: Client, endpoint: str, variant: str, start: float, now: float, most: int = MOST_POINTS) -> Story:
    period = period_of(start, now, now, most)
    begin = start // period * period
    asked = {
        "StartTime": begin,
        "EndTime": now,
        "ScanBy": "TimestampAscending",
        "MetricDataQueries": queries(endpoint, variant, period),
    }
    found: dict[str, list[tuple[float, float]]] = {}
    for row in client.pages("monitoring", "GetMetricData", "MetricDataResults", asked):
        found.setdefault(row["Id"], []).extend(zip(map(float, row["Timestamps"]), row["Values"], strict=True))
    events = [
        event for event in events_of(client, component_of(endpoint) or endpoint, variant, start) if event.at >= start
    ]
    activities = [] if events else activities_of(client, endpoint, variant, start)
    return Story(endpoint, variant, begin, now, period, points(found, period), events, activities)


def events_of(client: Client, endpoint: str, variant: str, start: float) -> Iterator[Event]:
    """Decisions that are written down, oldest first; none where scaling never decided anything."""
    for row in client.stream(decisions.group_of(endpoint), variant, int(start * 1000)):
        event = decisions.parse(row["message"])
        if event is not None:
            yield event


def streams_of(client: Client, endpoint: str) -> list[str]:
    """The variants of which there are decisions."""
    try:
        rows = client.pages("logs", "DescribeLogStreams", "logStreams", {"logGroupName": decisions.group_of(endpoint)})
        return sorted(row["logStreamName"] for row in rows)
    except ApiFailure as error:
        if error.aws_code == "ResourceNotFoundException":
            return []
        raise


def activities_of(client: Client, endpoint: str, variant: str, start: float) -> list[dict[str, Any]]:
    component = component_of(endpoint)
    asked = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"inference-component/{component}" if component else f"endpoint/{endpoint}/variant/{variant}",
        "IncludeNotScaledActivities": True,
    }
    rows = client.pages("application-autoscaling", "DescribeScalingActivities", "ScalingActivities", asked)
    return sorted((row for row in rows if row["StartTime"] >= start), key=lambda row: float(row["StartTime"]))


def save(shown: Figure, target: Path) -> None:
    drawn = plots.svg(shown)
    if target.suffix.lower() == ".svg":
        target.write_text(drawn, encoding="utf-8")
        return
    target.write_bytes(png(drawn))


def png(drawn: str) -> bytes:
    """The picture in pixels, twice as fine as its size. Refused without the extra, or without any font."""
    try:
        import resvg_py
    except ImportError:
        advice = "`pip install 'clary[plots]'` brings what draws PNG; .svg needs nothing"
        raise CommandRefused(f"PNG cannot be drawn: resvg-py is not installed. {advice}") from None
    probe = f'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9" font-family="{plots.FONT}"><text y="9">%s</text></svg>'
    if resvg_py.svg_to_bytes(svg_string=probe % "W") == resvg_py.svg_to_bytes(svg_string=probe % " "):
        raise CommandRefused(
            "PNG cannot be drawn: this machine has none of the fonts (Debian: apt install fonts-dejavu-core); .svg needs none"
        )
    return bytes(resvg_py.svg_to_bytes(svg_string=drawn, zoom=2))
