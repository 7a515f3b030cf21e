"""`clary replay ENDPOINT --against CONFIG`: asks captured requests again, of the endpoint's own config and of another, and compares.

Both configs get an endpoint of their own, without capture and shadows, that is deleted at the end: the live endpoint's queue sees nothing
of it. A client of the public API. Each request goes to both, one after the other, by turns first; at most `rate` a second.
"""

from __future__ import annotations

import heapq
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clary.app.cli import recreate
from clary.app.cli.client import ApiFailure, Client
from clary.app.cli.cost import asked as costs
from clary.app.cli.history import one_line
from clary.app.cli.logs import begin_of
from clary.app.cli.output import FAILED, NOT_FOUND, USAGE, CommandRefused, counted, say, say_json, table, warn
from clary.app.cli.site import Site, endpoint_name, here
from clary.domain.endpoints import redaction
from clary.domain.errors import Invalid
from clary.domain.monitoring import replaying
from clary.domain.monitoring.replaying import RecordedRequest, ReplayedAnswer
from clary.domain.s3 import Location, parse_uri

OWN, OTHER = "own", "against"
PATIENCE = 900.0  # seconds for an endpoint to come into service, to be gone, or to answer
COUNTED = 20.0  # seconds until what replicas have is counted
LOOK = 0.5
_LEFT_OUT = ("DataCaptureConfig", "ShadowProductionVariants")
_SAMPLES, _SAMPLE = 3, 120  # answers that are shown, and their characters
_LEVELS = 4  # yyyy/mm/dd/hh below a variant


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """The command's options. `rate`: requests a second; `since`: as `clary logs` takes it."""

    against: str
    limit: int = 200
    rate: float = 10.0
    since: str = "all"
    tolerance: float = replaying.TOLERANCE


def replay(directory: str | None, endpoint: str, asked: ReplayRequest, *, as_json: bool) -> None:
    if not asked.against:
        raise CommandRefused("--against takes the endpoint config that the captured requests are asked of", USAGE)
    if asked.limit < 1 or asked.rate <= 0 or asked.tolerance < 0:
        raise CommandRefused("--limit is 1 or more, --rate more than 0, --tolerance 0 or more", USAGE)
    site, name = here(directory), endpoint_name(endpoint)
    client = site.client()
    try:
        shown = _replayed(site, client, name, asked)
    finally:
        client.close()
    if as_json:
        say_json(shown)
    else:
        say(text(shown))


def _replayed(site: Site, client: Client, name: str, asked: ReplayRequest) -> dict[str, Any]:
    told = client.call("sagemaker", "DescribeEndpoint", {"EndpointName": name})
    configs = {OWN: str(told["EndpointConfigName"]), OTHER: asked.against}
    requests = {which: config_request(client, config) for which, config in configs.items()}
    chosen, skipped = captured(site, client, told, asked)
    made: list[tuple[str, str]] = []
    try:
        for which, request in requests.items():
            made.append((which, _make(client, name, which, request)))
        for _, each in made:
            _in_service(client, each)
        answers = ask(_runtime(site), dict(made), chosen, asked.rate)
        hours = _hours(site, dict(made), requests)
    finally:
        for _, each in made:
            _gone(client, each)
    return report(name, configs, chosen, skipped, answers, hours, asked)


# -- what was captured ------------------------------------------------------------------------------------------------------------


def captured(
    site: Site, client: Client, told: Mapping[str, Any], asked: ReplayRequest
) -> tuple[list[RecordedRequest], Counter[str]]:
    """The newest captured requests, the oldest of them first, and how many lines cannot be asked again, by reason. Refused without any."""
    name = told["EndpointName"]
    capture = told.get("DataCaptureConfig")
    if not capture:
        raise CommandRefused(
            f"endpoint {name!r} captures nothing: its config needs a DataCaptureConfig (docs/drift.md)"
        )
    arn = client.call("sagemaker", "DescribeEndpointConfig", {"EndpointConfigName": told["EndpointConfigName"]})
    tags = client.pages("sagemaker", "ListTags", "Tags", {"ResourceArn": arn["EndpointConfigArn"]})
    if any(tag["Key"] == redaction.TAG for tag in tags):
        raise CommandRefused(
            f"endpoint {name!r} takes columns out of what it captures ({redaction.TAG}): the same requests cannot be asked again"
        )
    s3, folder = _s3(site), parse_uri(str(capture["DestinationS3Uri"])).below(str(name))
    begin = begin_of(asked.since, time.time()) / 1000
    variants = [str(variant["VariantName"]) for variant in told.get("ProductionVariants", ())]
    lines = newest(s3, folder, variants, begin)
    chosen, skipped = picked(lines, asked.limit)
    chosen_or_refused(str(name), str(folder), chosen, skipped)
    return chosen, skipped


def chosen_or_refused(name: str, folder: str, chosen: Sequence[RecordedRequest], skipped: Mapping[str, int]) -> None:
    """Refused, with the reason, where there is no request to ask again."""
    if not chosen and skipped:
        raise CommandRefused(f"nothing that {name!r} captured can be asked again: {_reasons(skipped)}")
    if not chosen:
        raise CommandRefused(
            f"no captured requests of {name!r} lie below {folder}: requests appear there some seconds after they were answered",
            NOT_FOUND,
        )


def picked(lines: Iterator[str], limit: int) -> tuple[list[RecordedRequest], Counter[str]]:
    """Of lines, newest first, so many requests; the oldest first."""
    chosen: list[RecordedRequest] = []
    skipped: Counter[str] = Counter()
    for line in lines:
        try:
            chosen.append(replaying.recorded(line))
        except Invalid as error:
            skipped[error.message] += 1
        if len(chosen) == limit:
            break
    return chosen[::-1], skipped


def newest(s3: Any, folder: Location, variants: Sequence[str], begin: float) -> Iterator[str]:
    """Captured lines of all variants, the newest files first; files from before `begin` (epoch seconds) are left out."""
    below = (_files(s3, folder.bucket, f"{folder.below(variant).key.rstrip('/')}/", _LEVELS) for variant in variants)
    for entry in heapq.merge(*below, key=lambda entry: float(entry["LastModified"].timestamp()), reverse=True):
        if entry["LastModified"].timestamp() < begin:
            return
        body = s3.get_object(Bucket=folder.bucket, Key=entry["Key"])["Body"].read()
        yield from reversed([line for line in body.decode("utf-8", "replace").split("\n") if line.strip()])


def _files(s3: Any, bucket: str, prefix: str, levels: int) -> Iterator[Any]:
    """Files below a variant's folder, newest first, hour by hour, so that a year of them need not be listed."""
    pages = s3.get_paginator("list_objects_v2")
    if not levels:
        found = [entry for page in pages.paginate(Bucket=bucket, Prefix=prefix) for entry in page.get("Contents", ())]
        yield from sorted(found, key=lambda entry: str(entry["Key"]), reverse=True)
        return
    listed = pages.paginate(Bucket=bucket, Prefix=prefix, Delimiter="/")
    for below in sorted((each["Prefix"] for page in listed for each in page.get("CommonPrefixes", ())), reverse=True):
        yield from _files(s3, bucket, below, levels - 1)


# -- endpoints for it -------------------------------------------------------------------------------------------------------------


def config_request(client: Client, name: str) -> dict[str, Any]:
    """The request that makes the same endpoint config, without capture and shadows. Refused where its answers come some other way."""
    kind, _, seen = recreate.find(client, f"endpoint-config/{name}")
    shape = recreate.members_of()("CreateEndpointConfig")
    request = {**recreate.request_of(kind, seen, shape), **recreate.tags_of(client, kind, seen)}
    if "AsyncInferenceConfig" in request:
        raise CommandRefused(
            f"endpoint config {name!r} answers asynchronously: nothing it answers can be compared", USAGE
        )
    if not all(variant.get("ModelName") for variant in request["ProductionVariants"]):
        raise CommandRefused(
            f"endpoint config {name!r} has a variant without a model: inference components are not replayed", USAGE
        )
    return {member: value for member, value in request.items() if member not in _LEFT_OUT}


def _make(client: Client, endpoint: str, which: str, request: Mapping[str, Any]) -> str:
    """An endpoint and its config of one name."""
    name = f"replay-{which}-{uuid.uuid4().hex[:8]}"
    tags = [*request.get("Tags", ()), {"Key": "clary:replay-of", "Value": endpoint}]
    client.call("sagemaker", "CreateEndpointConfig", {**request, "EndpointConfigName": name, "Tags": tags})
    try:
        client.call(
            "sagemaker", "CreateEndpoint", {"EndpointName": name, "EndpointConfigName": name, "Tags": tags[-1:]}
        )
    except CommandRefused:
        client.call("sagemaker", "DeleteEndpointConfig", {"EndpointConfigName": name})
        raise
    return name


def _in_service(client: Client, name: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        told = client.call("sagemaker", "DescribeEndpoint", {"EndpointName": name})
        if told["EndpointStatus"] == "InService":
            return
        if told["EndpointStatus"] == "Failed":
            why = one_line(told.get("FailureReason", ""), 1024)
            raise CommandRefused(f"the endpoint {name} for the replay failed: {why}", FAILED)
        time.sleep(LOOK)
    raise CommandRefused(f"the endpoint {name} for the replay is not in service after {PATIENCE:.0f} s", FAILED)


def _gone(client: Client, name: str) -> None:
    """Delete an endpoint of a replay, whatever state it is in, and its config. Says so where that does not succeed."""
    deadline, asked = time.monotonic() + PATIENCE, False
    try:
        while time.monotonic() < deadline:
            try:
                told = client.call("sagemaker", "DescribeEndpoint", {"EndpointName": name})
            except ApiFailure as error:
                if error.code != NOT_FOUND:
                    raise
                client.call("sagemaker", "DeleteEndpointConfig", {"EndpointConfigName": name})
                return
            if not asked and told["EndpointStatus"] in ("InService", "Failed", "OutOfService"):
                client.call("sagemaker", "DeleteEndpoint", {"EndpointName": name})
                asked = True
            time.sleep(LOOK)
        raise CommandRefused("it is still there")
    except CommandRefused as error:
        warn(
            f"the endpoint {name} of the replay could not be deleted: {error.message}; delete it and its config of that name"
        )


# -- asking -----------------------------------------------------------------------------------------------------------------------


Answers = dict[str, list[ReplayedAnswer]]


def ask(
    runtime: Any,
    endpoints: Mapping[str, str],
    chosen: Sequence[RecordedRequest],
    rate: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Answers:
    """Ask each request of each endpoint, at most `rate` requests a second. Each endpoint is first by turns: what the first one warms up
    in the machine helps neither more."""
    found: Answers = {which: [] for which in endpoints}
    for name in endpoints.values():  # the first answer of a fresh replica is no measure
        _asked(runtime, name, chosen[0], clock)
    due = clock()
    for number, request in enumerate(chosen):
        for which in sorted(endpoints, reverse=bool(number % 2)):
            sleep(max(0.0, due - clock()))
            due = max(due, clock()) + 1 / rate
            found[which].append(_asked(runtime, endpoints[which], request, clock))
    return found


def _asked(runtime: Any, name: str, request: RecordedRequest, clock: Callable[[], float]) -> ReplayedAnswer:
    from botocore.exceptions import BotoCoreError, ClientError

    begin = clock()
    try:
        answer = runtime.invoke_endpoint(
            EndpointName=name, ContentType=request.content_type, Accept=request.accept, Body=request.body
        )
        body = answer["Body"].read()
    except ClientError as error:
        told = error.response["Error"]
        return ReplayedAnswer(clock() - begin, error=f"{told.get('Code')}: {one_line(told.get('Message', ''))}")
    except BotoCoreError as error:
        return ReplayedAnswer(clock() - begin, error=one_line(str(error)))
    return ReplayedAnswer(clock() - begin, body)


def _hours(site: Site, endpoints: Mapping[str, str], requests: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What an hour of each config has of the machine; waits until what the replicas have was counted."""
    deadline = time.monotonic() + COUNTED
    while True:
        groups = {group["name"]: group for group in costs(site, "name", 0.0)["groups"]}
        found = {
            which: replaying.hour_told(groups.get(name), replicas(requests[which])) for which, name in endpoints.items()
        }
        if all(found.values()) or time.monotonic() > deadline:
            return found
        time.sleep(LOOK)


def replicas(request: Mapping[str, Any]) -> int:
    """How many a config begins with."""
    return sum(int(variant.get("InitialInstanceCount") or 1) for variant in request["ProductionVariants"])


def _session(site: Site) -> Any:
    import boto3

    credential = site.credential()
    return boto3.Session(credential.access_key_id, credential.secret, region_name=site.settings.region)


def _s3(site: Site) -> Any:
    return _session(site).client("s3", endpoint_url=site.settings.endpoint, verify=site.settings.tls_cert or None)


def _runtime(site: Site) -> Any:
    from botocore.config import Config

    once = Config(retries={"total_max_attempts": 1}, read_timeout=PATIENCE)
    url, verify = site.settings.endpoint, site.settings.tls_cert or None
    return _session(site).client("sagemaker-runtime", endpoint_url=url, verify=verify, config=once)


# -- what is told -----------------------------------------------------------------------------------------------------------------


def report(
    endpoint: str,
    configs: Mapping[str, str],
    chosen: Sequence[RecordedRequest],
    skipped: Mapping[str, int],
    answers: Answers,
    hours: Mapping[str, Any],
    asked: ReplayRequest,
) -> dict[str, Any]:
    """Refused where the other config answered nothing."""
    came = {which: list(zip(chosen, found, strict=True)) for which, found in answers.items()}
    if all(each.error for each in answers[OTHER]):
        raise CommandRefused(
            f"{configs[OTHER]} answered none of {counted(len(chosen), 'captured request')}: {answers[OTHER][0].error}"
        )
    samples = [
        {
            "event": request.event,
            "captured": _shown(request.answer),
            "answered": answer.error or _shown(answer.body),
        }
        for request, answer in came[OTHER]
        if answer.error or not replaying.compared(request.answer, answer.body, asked.tolerance).same
    ]
    return {
        "endpoint": endpoint,
        "requests": len(chosen),
        "not_asked": dict(skipped),
        "configs": {
            which: {
                "config": config,
                "answers": replaying.answers_told(came[which], asked.tolerance),
                "latency_ms": replaying.latency_told(answers[which]),
                "hour": hours.get(which),
            }
            for which, config in configs.items()
        },
        "samples": samples[:_SAMPLES],
    }


def _shown(body: bytes) -> str:
    return one_line(body.decode("utf-8", "replace"), _SAMPLE)


def _reasons(skipped: Mapping[str, int]) -> str:
    return "; ".join(f"{counted(count, 'line')} {why}" for why, count in skipped.items())


def text(shown: Mapping[str, Any]) -> str:
    """For a terminal."""
    parts = [f"{counted(shown['requests'], 'captured request')} of {shown['endpoint']}, asked again"]
    if shown["not_asked"]:
        parts[0] += f" (not asked: {_reasons(shown['not_asked'])})"
    heads: list[str] = ["config", "same", "differed", "failed", "largest difference", "p50 ms", "p99 ms", "vcpu", "gb"]
    priced = any("cost" in (each["hour"] or {}) for each in shown["configs"].values())
    heads += ["cost an hour"] if priced else []
    parts.append(table(heads, [_row(which, each, priced) for which, each in shown["configs"].items()]))
    for each in shown["samples"]:
        parts.append(f"{each['event']}\n  captured {each['captured']!r}\n  answered {each['answered']!r}")
    return "\n\n".join(parts)


def _row(which: str, each: Mapping[str, Any], priced: bool) -> list[object]:
    answers, latency, hour = each["answers"], each["latency_ms"], each["hour"] or {}
    largest = answers["largest_difference"]
    cells: list[object] = [
        f"{each['config']} (now)" if which == OWN else each["config"],
        *(answers[name] for name in ("same", "differed", "failed")),
        "-" if largest is None else f"{largest:.4g}",
        *("-" if latency[name] is None else f"{latency[name]:.1f}" for name in ("p50", "p99")),
        *(f"{hour[name]:g}" if name in hour else "-" for name in ("vcpu_hours", "gb_hours")),
    ]
    return [*cells, f"{hour['cost']:.4f}" if "cost" in hour else "-"] if priced else cells
