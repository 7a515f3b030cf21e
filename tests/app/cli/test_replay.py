"""`clary replay` over a fake S3, a fake runtime and a fake API: what it takes, asks, makes, deletes and says."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from clary.app.cli import replay
from clary.app.cli.client import ApiFailure
from clary.app.cli.output import NOT_FOUND, CommandRefused
from clary.app.cli.replay import OTHER, OWN, ReplayRequest
from clary.domain.monitoring.replaying import RecordedRequest, ReplayedAnswer
from clary.domain.s3 import parse_uri

BEGIN = datetime(2026, 12, 1, 22, 59, tzinfo=UTC)


def line(number: int) -> str:
    side = {"observedContentType": "text/csv", "encoding": "CSV", "mode": "INPUT"}
    data = {"endpointInput": {**side, "data": str(number)}, "endpointOutput": {**side, "data": str(2 * number)}}
    return json.dumps({"captureData": data, "eventMetadata": {"eventId": f"e{number}"}, "eventVersion": "0"})


class Bucket:
    """Objects and when they were written, listed a key or prefix a page."""

    def __init__(self, objects: Mapping[str, tuple[datetime, str]]) -> None:
        self.objects, self.read = objects, list[str]()

    def get_paginator(self, _: str) -> Bucket:
        return self

    def paginate(self, Bucket: str, Prefix: str, Delimiter: str = "") -> Any:
        below: dict[str, None] = {}
        for key in sorted(self.objects):
            rest = key.removeprefix(Prefix)
            if rest != key and Delimiter and Delimiter in rest:
                below[Prefix + rest.partition(Delimiter)[0] + Delimiter] = None
            elif rest != key:
                yield {"Contents": [{"Key": key, "LastModified": self.objects[key][0]}]}
        for prefix in below:
            yield {"CommonPrefixes": [{"Prefix": prefix}]}

    def get_object(self, Bucket: str, Key: str) -> Any:
        self.read.append(Key)
        return {"Body": io.BytesIO(self.objects[Key][1].encode())}


def written(variant: str, minutes: int, text: str) -> tuple[str, tuple[datetime, str]]:
    at = BEGIN + timedelta(minutes=minutes)
    return f"c/shop/{variant}/{at:%Y/%m/%d/%H/%M-%S}-000-x.jsonl", (at, text)


def test_the_newest_requests_of_all_variants_are_taken_and_asked_in_their_order() -> None:
    files = [
        written("a", 0, line(1)),
        written("b", 1, f"{line(2)}\n{line(3)}\n"),
        written("a", 70, f"{line(4)[:40]}\n{line(5)}\n"),  # its first line is torn
        written("other", 80, line(9)),
    ]
    bucket = Bucket(dict(files))
    lines = replay.newest(bucket, parse_uri("s3://x/c/shop"), ["a", "b"], 0.0)
    chosen, skipped = replay.picked(lines, 3)
    assert [each.body for each in chosen] == [b"2", b"3", b"5"]
    assert skipped == {"torn or of another format": 1}
    assert bucket.read == [files[2][0], files[1][0]]  # the oldest file is not needed
    since = (BEGIN + timedelta(minutes=30)).timestamp()
    assert replay.picked(replay.newest(bucket, parse_uri("s3://x/c/shop"), ["a", "b"], since), 9)[0] == chosen[2:]


class Clock:
    def __init__(self) -> None:
        self.now, self.slept = 100.0, list[float]()

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.now += seconds


class Runtime:
    """Endpoint `two` doubles, `three` triples, each in its own time; a body `bad` is an error."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.asked = clock, list[tuple[str, bytes]]()

    def invoke_endpoint(self, EndpointName: str, ContentType: str, Accept: str, Body: bytes) -> Any:
        assert (ContentType, Accept) == ("text/csv", "application/json")
        self.asked.append((EndpointName, Body))
        self.clock.now += {"two": 0.01, "three": 0.05}[EndpointName]
        if Body == b"bad":
            raise ClientError({"Error": {"Code": "ModelError", "Message": "no number"}}, "InvokeEndpoint")
        return {"Body": io.BytesIO(str({"two": 2, "three": 3}[EndpointName] * int(Body)).encode())}


def requests(*bodies: bytes) -> list[RecordedRequest]:
    return [RecordedRequest("e", "text/csv", body, "application/json", b"2") for body in bodies]


def test_requests_go_to_both_by_turns_first_and_not_faster_than_asked() -> None:
    clock = Clock()
    runtime = Runtime(clock)
    found = replay.ask(
        runtime, {OWN: "two", OTHER: "three"}, requests(b"1", b"bad"), 10.0, clock=clock, sleep=clock.sleep
    )
    asked = [("three", b"1"), ("two", b"1"), ("two", b"bad"), ("three", b"bad")]
    assert runtime.asked == [("two", b"1"), ("three", b"1"), *asked]  # the first two warm up
    assert clock.slept == [0.0, 0.05, 0.09, 0.09]
    assert [each.body for each in found[OTHER]] == [b"3", b""]
    assert found[OWN][1].error == "ModelError: no number"
    assert found[OTHER][0].seconds == pytest.approx(0.05)


class Api:
    """An endpoint `shop` of config `now`, another config, and what is made and deleted."""

    def __init__(self, endpoint: Mapping[str, Any], config: Mapping[str, Any], tags: Any = ()) -> None:
        self.endpoint, self.config, self.tags = endpoint, config, list(tags)
        self.made: dict[str, str] = {}  # endpoint -> status
        self.configs: dict[str, Any] = {}

    def call(self, service: str, operation: str, params: Mapping[str, Any]) -> Any:
        name = params.get("EndpointName") or params.get("EndpointConfigName")
        match operation:
            case "DescribeEndpoint" if name == "shop":
                return self.endpoint
            case "DescribeEndpoint" if name in self.made:
                return {"EndpointStatus": self.made[name], "FailureReason": "no room"}
            case "DescribeEndpoint":
                raise ApiFailure(operation, "ValidationException", "Could not find it")
            case "DescribeEndpointConfig":
                return {"EndpointConfigName": name, "EndpointConfigArn": "arn:c", **self.config}
            case "ListTags":
                return {"Tags": self.tags}
            case "CreateEndpointConfig":
                self.configs[name] = params
            case "CreateEndpoint":
                self.made[name] = "Failed" if "against" in name else "InService"
            case "DeleteEndpoint":
                del self.made[name]
            case "DeleteEndpointConfig":
                del self.configs[name]
        return {}

    def pages(self, service: str, operation: str, key: str, params: Mapping[str, Any]) -> Any:
        return iter(self.call(service, operation, params)[key])


CONFIG = {
    "ProductionVariants": [{"VariantName": "a", "ModelName": "m", "InitialInstanceCount": 2}],
    "DataCaptureConfig": {"DestinationS3Uri": "s3://x/c"},
    "ShadowProductionVariants": [{"VariantName": "s", "ModelName": "m"}],
    "CreationTime": 1.0,
}
ENDPOINT = {"EndpointName": "shop", "EndpointConfigName": "now", "ProductionVariants": [{"VariantName": "a"}]}


def test_an_endpoint_of_a_replay_neither_captures_nor_shadows() -> None:
    api = Api(ENDPOINT, CONFIG, [{"Key": "clary:x", "Value": "1"}, {"Key": "aws:y", "Value": "2"}])
    request = replay.config_request(api, "next")  # type: ignore[arg-type]
    assert request == {
        "EndpointConfigName": "next",
        "ProductionVariants": CONFIG["ProductionVariants"],
        "Tags": [{"Key": "clary:x", "Value": "1"}],
    }
    assert replay.replicas(request) == 2
    name = replay._make(api, "shop", OWN, request)  # type: ignore[arg-type]
    assert api.configs[name]["Tags"][-1] == {"Key": "clary:replay-of", "Value": "shop"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"AsyncInferenceConfig": {"OutputConfig": {}}}, "answers asynchronously"),
        ({"ProductionVariants": [{"VariantName": "a"}]}, "inference components are not replayed"),
    ],
)
def test_configs_that_cannot_be_compared_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(CommandRefused, match=words):
        replay.config_request(Api(ENDPOINT, {**CONFIG, **change}), "next")  # type: ignore[arg-type]


def test_an_endpoint_that_fails_says_why_and_both_are_deleted() -> None:
    api = Api(ENDPOINT, CONFIG)
    request = replay.config_request(api, "next")  # type: ignore[arg-type]
    names = [replay._make(api, "shop", which, request) for which in (OWN, OTHER)]  # type: ignore[arg-type]
    replay._in_service(api, names[0])  # type: ignore[arg-type]
    with pytest.raises(CommandRefused, match="no room"):
        replay._in_service(api, names[1])  # type: ignore[arg-type]
    for name in names:
        replay._gone(api, name)  # type: ignore[arg-type]
    assert (api.made, api.configs) == ({}, {})


def test_without_capture_or_with_columns_taken_out_nothing_is_asked_again() -> None:
    with pytest.raises(CommandRefused, match="captures nothing"):
        replay.captured(None, Api(ENDPOINT, CONFIG), ENDPOINT, ReplayRequest("next"))  # type: ignore[arg-type]
    told = {**ENDPOINT, "DataCaptureConfig": {"DestinationS3Uri": "s3://x/c"}}
    api = Api(told, CONFIG, [{"Key": "clary:capture-redact", "Value": "input.0"}])
    with pytest.raises(CommandRefused, match="takes columns out"):
        replay.captured(None, api, told, ReplayRequest("next"))  # type: ignore[arg-type]


def test_what_is_chosen_says_why_there_is_nothing() -> None:
    with pytest.raises(CommandRefused, match="no captured requests of 'shop'") as caught:
        replay.chosen_or_refused("shop", "s3://x/c/shop", [], {})
    assert caught.value.code == NOT_FOUND
    with pytest.raises(CommandRefused, match="2 lines in another encoding; 1 line torn"):
        replay.chosen_or_refused("shop", "s3://x/c/shop", [], {"in another encoding": 2, "torn": 1})


def test_the_report_compares_answers_latency_and_cost() -> None:
    answers = {
        OWN: [ReplayedAnswer(0.010, b"2"), ReplayedAnswer(0.012, b"2")],
        OTHER: [ReplayedAnswer(0.020, b"2"), ReplayedAnswer(0.024, b"5\x1b")],
    }
    hours = {OWN: {"vcpu_hours": 2.0, "gb_hours": 8.0, "gpu_hours": 0.0, "cost": 0.5}, OTHER: None}
    configs = {OWN: "now", OTHER: "next"}
    shown = replay.report("shop", configs, requests(b"1", b"2"), {"torn": 1}, answers, hours, ReplayRequest("next"))
    assert json.loads(json.dumps(shown)) == shown
    assert shown["configs"][OTHER]["answers"]["differed"] == 1
    assert [each["captured"] for each in shown["samples"]] == ["2"]
    text = replay.text(shown)
    assert text.startswith("2 captured requests of shop, asked again (not asked: 1 line torn)")
    assert "now (now)" in text
    assert "0.5000" in text
    assert "\x1b" not in text


def test_a_config_that_answers_nothing_is_no_comparison() -> None:
    answers = {OWN: [ReplayedAnswer(0.1, b"2")], OTHER: [ReplayedAnswer(0.1, error="ModelError: no")]}
    with pytest.raises(CommandRefused, match="next answered none of 1 captured request: ModelError: no"):
        replay.report("shop", {OWN: "now", OTHER: "next"}, requests(b"1"), {}, answers, {}, ReplayRequest("next"))
