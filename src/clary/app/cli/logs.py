"""`clary logs`: a resource's lines through the Logs API, merged by time, and on as they arrive."""

from __future__ import annotations

import heapq
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from clary.app.cli.client import ApiFailure, Client
from clary.app.cli.output import NOT_FOUND, USAGE, CommandRefused, clock, drive, plain, say_json, words
from clary.app.cli.site import here

JOBS = {
    "training-job": "Training",
    "processing-job": "Processing",
}  # kinds of jobs, as operations and log groups name them
ENDPOINTS = "/aws/sagemaker/Endpoints/"
COMPONENTS = "/aws/sagemaker/InferenceComponents/"
TUNED = "hyper-parameter-tuning-job"
TUNING = "/aws/sagemaker/HyperParameterTuningJobs"
ENDED = ("Completed", "Failed", "Stopped")
POLL = 0.5  # seconds between looks
LATE_MS = 10_000  # a line may arrive this much after its time: looked at again, shown once
_SPAN = re.compile(r"(\d+)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_COLOURS = ("36", "33", "32", "35", "34", "31")


def logs(directory: str | None, resource: str, *, follow: bool, since: str, pattern: str, as_json: bool) -> None:
    start = begin_of(since, time.time())
    site = here(directory)
    client = site.client()
    found = places(client, resource, site.typed("ps --all"))
    show = _shower(as_json)
    asked = [_question(place, start, pattern) for place in found]
    seen = ShownEvents()
    ended = not follow
    while True:
        # Each place's events come in the order of time, page by page: a long log is neither kept nor waited for.
        looks = [_look(client, question) for question in asked]
        for event in heapq.merge(*looks, key=lambda event: event["timestamp"]):
            if seen.first(event["eventId"]):
                show(event)
        if ended:
            return
        # Asked before the last look, so that what was written until the end is shown.
        ended = all(place.job is not None and _ended(client, place.kind, place.job) for place in found)
        if not ended:
            time.sleep(POLL)


@dataclass(frozen=True, slots=True)
class LogPlace:
    """Where a resource's lines are: a log group, a prefix of its streams, and the job they belong to, if one, and its kind."""

    group: str
    prefix: str = ""
    job: str | None = None
    kind: str = "training-job"


def begin_of(since: str, now: float) -> int:
    """Epoch milliseconds of how far back to begin; 0 for 'all'."""
    found = _SPAN.fullmatch(since)
    if since != "all" and found is None:
        raise CommandRefused(f"--since takes a span such as 30s, 10m, 2h or 1d, or all, not {since!r}", USAGE)
    return int((now - int(found.group(1)) * _SECONDS[found.group(2)]) * 1000) if found else 0


def places(client: Client, resource: str, advice: str = "clary ps --all") -> list[LogPlace]:
    """Everything that goes by this name: a log group, an endpoint or inference component (a deleted one's log stays), a job.
    `advice`: the command that lists what there is."""
    if resource.startswith("/"):
        if not _has_group(client, resource):
            raise CommandRefused(f"there is no log group {resource!r}", NOT_FOUND)
        return [LogPlace(resource)]
    kind, _, name = resource.rpartition("/")
    kind = kind.rpartition(":")[2]
    found: list[LogPlace] = []
    if kind in ("", "endpoint") and (_has_group(client, ENDPOINTS + name) or _has_endpoint(client, name)):
        found.append(LogPlace(ENDPOINTS + name))
    if kind in ("", "inference-component") and _has_group(client, COMPONENTS + name):
        found.append(LogPlace(COMPONENTS + name))
    for each, noun in JOBS.items():
        job = _job(client, noun, name) if kind in ("", each) else None
        if job is not None:
            found.append(LogPlace(f"/aws/sagemaker/{noun}Jobs", f"{job}/", job, each))
    if kind in ("", TUNED) and _has_stream(client, TUNING, name):
        found.append(LogPlace(TUNING, name))
    if not found:
        raise CommandRefused(
            f"there is no job, endpoint or inference component {resource!r}: `{advice}` lists what there is",
            NOT_FOUND,
        )
    return found


def _question(place: LogPlace, start: int, pattern: str) -> dict[str, Any]:
    asked: dict[str, Any] = {"logGroupName": place.group, "startTime": start}
    if place.prefix:
        asked["logStreamNamePrefix"] = place.prefix
    return {**asked, "filterPattern": pattern} if pattern else asked


def _look(client: Client, question: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What is there by now, and maybe was shown; the next look begins a little before the end of this one."""
    start = question["startTime"]
    for event in _events(client, {**question}):
        start = max(start, event["timestamp"] - LATE_MS)
        yield event
    question["startTime"] = start


class ShownEvents:
    """Which events were shown, within the window that is looked at again."""

    def __init__(self, most: int = 100_000) -> None:
        self._ids: set[str] = set()
        self._order: deque[str] = deque()
        self._most = most

    def first(self, event: str) -> bool:
        if event in self._ids:
            return False
        self._ids.add(event)
        self._order.append(event)
        if len(self._order) > self._most:
            self._ids.discard(self._order.popleft())
        return True


def _has_stream(client: Client, group: str, stream: str) -> bool:
    asked = {"logGroupName": group, "logStreamNamePrefix": stream}
    found = client.pages("logs", "DescribeLogStreams", "logStreams", asked) if _has_group(client, group) else ()
    return any(one["logStreamName"] == stream for one in found)


def _has_group(client: Client, group: str) -> bool:
    found = client.pages("logs", "DescribeLogGroups", "logGroups", {"logGroupNamePrefix": group})
    return any(one["logGroupName"] == group for one in found)


def _has_endpoint(client: Client, name: str) -> bool:
    try:
        client.call("sagemaker", "DescribeEndpoint", {"EndpointName": name})
    except ApiFailure:
        return False
    return True


def _job(client: Client, noun: str, name: str) -> str | None:
    """Its name, which may be written in another case in an ARN."""
    try:
        return str(client.call("sagemaker", f"Describe{noun}Job", {f"{noun}JobName": name})[f"{noun}JobName"])
    except ApiFailure:
        return None


def _ended(client: Client, kind: str, job: str) -> bool:
    noun = JOBS[kind]
    try:
        found = client.call("sagemaker", f"Describe{noun}Job", {f"{noun}JobName": job})
        return found[f"{noun}JobStatus"] in ENDED
    except ApiFailure:
        return True


def _events(client: Client, asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
    try:
        yield from client.pages("logs", "FilterLogEvents", "events", asked)
    except ApiFailure as error:
        if error.aws_code != "ResourceNotFoundException":  # nothing was written yet
            raise


def _shower(as_json: bool) -> Callable[[dict[str, Any]], None]:
    """Prints an event: time, stream (in its own colour), message."""
    colours: dict[str, str] = {}

    def show(event: dict[str, Any]) -> None:
        if as_json:
            say_json(event)
            return
        stream = str(event["logStreamName"])
        label = plain(stream)
        if sys.stdout.isatty():
            colour = colours.setdefault(stream, _COLOURS[len(colours) % len(_COLOURS)])
            label = f"\x1b[{colour}m{label}\x1b[0m"
        drive(f"{clock(event['timestamp'], time.time())} {label} {words(str(event['message']))}")

    return show
