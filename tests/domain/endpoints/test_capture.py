"""Which requests and answers are kept, where, and in which words."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from clary.domain.endpoints import capture
from clary.domain.endpoints.capture import Exchange, Side
from clary.domain.endpoints.fleets import Fleet
from clary.domain.endpoints.life import only_sizes_differ, retained
from clary.domain.errors import Invalid

CONFIG: Mapping[str, Any] = {
    "InitialSamplingPercentage": 100,
    "DestinationS3Uri": "s3://kept/all/",
    "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
    "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"], "JsonContentTypes": ["application/json"]},
}
EXCHANGE = Exchange(
    "1b8c",
    1_700_000_000.25,
    Side("text/csv", b"1,2"),
    Side("application/json; charset=utf-8", b"[3]"),
    "mine",
    ("a", "b"),
)


def written(exchange: Exchange = EXCHANGE, **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capture.line({**CONFIG, **changes}, exchange))
    return found


def test_a_record_is_as_aws_writes_it() -> None:
    assert written() == {
        "captureData": {
            "endpointInput": {"observedContentType": "text/csv", "mode": "INPUT", "data": "1,2", "encoding": "CSV"},
            "endpointOutput": {
                "observedContentType": "application/json; charset=utf-8",
                "mode": "OUTPUT",
                "data": "[3]",
                "encoding": "JSON",
            },
        },
        "eventMetadata": {
            "eventId": "1b8c",
            "inferenceId": "mine",
            "customAttributes": ["a", "b"],
            "inferenceTime": "2023-11-14T22:13:20Z",
        },
        "eventVersion": "0",
    }


def test_what_nobody_named_and_what_is_no_text_is_base64() -> None:
    plain = written(CaptureContentTypeHeader={})["captureData"]
    assert (plain["endpointInput"]["data"], plain["endpointInput"]["encoding"]) == ("MSwy", "BASE64")
    binary = written(replace(EXCHANGE, request=Side("text/csv", b"\xff")))["captureData"]["endpointInput"]
    assert (binary["data"], binary["encoding"]) == ("/w==", "BASE64")


@pytest.mark.parametrize(
    ("modes", "kept"),
    [
        (["Input"], {"endpointInput"}),
        (["Output"], {"endpointOutput"}),
        (["InputAndOutput"], {"endpointInput", "endpointOutput"}),
    ],
)
def test_the_sides_that_are_asked_for(modes: list[str], kept: set[str]) -> None:
    assert set(written(CaptureOptions=[{"CaptureMode": mode} for mode in modes])["captureData"]) == kept


def test_a_file_lies_under_its_hour() -> None:
    place = capture.place(CONFIG, "iris", "main", EXCHANGE.at, "ID")
    assert str(place) == "s3://kept/all/iris/main/2023/11/14/22/13-20-250-ID.jsonl"


def test_switched_off_or_of_no_percent_nothing_is_captured() -> None:
    assert capture.in_force(CONFIG) == CONFIG
    assert capture.in_force({}) == {}
    assert capture.in_force({**CONFIG, "EnableCapture": False}) == {}
    assert capture.in_force({**CONFIG, "InitialSamplingPercentage": 0}) == {}


def test_the_summary() -> None:
    assert capture.summary(CONFIG, True) == {
        "EnableCapture": True,
        "CaptureStatus": "Started",
        "CurrentSamplingPercentage": 100,
        "DestinationS3Uri": "s3://kept/all/",
        "KmsKeyId": "",
    }
    assert capture.summary(CONFIG, False)["CaptureStatus"] == "Stopped"
    assert capture.summary({**CONFIG, "EnableCapture": False}, True)["CaptureStatus"] == "Stopped"


def test_what_could_not_be_carried_out_is_refused() -> None:
    capture.check_config(CONFIG, [{"ModelName": "m"}])
    with pytest.raises(Invalid, match="s3://bucket/key"):
        capture.check_config({**CONFIG, "DestinationS3Uri": "/tmp/here"}, [{"ModelName": "m"}])
    with pytest.raises(Invalid, match="ModelName"):
        capture.check_config(CONFIG, [{"InstanceType": "ml.m5.large"}])


def test_an_update_retains_it_unless_it_is_excluded_and_never_happens_in_place() -> None:
    old, new = Fleet("1", "a", (), 0.0, capture=CONFIG), Fleet("2", "b", (), 0.0)
    assert retained(new, old, set()).capture == CONFIG
    assert retained(new, old, {"DataCaptureConfig"}).capture == {}
    assert not only_sizes_differ(old, new)


@pytest.mark.parametrize("size", [0, 1, (3 << 14) - 1, 3 << 14, (3 << 14) + 1, 200_000])
@pytest.mark.parametrize("text", ["é,ü\n", '"\\\0', "\U0001f600"])
def test_large_bodies_are_written_in_pieces_and_are_the_same(size: int, text: str) -> None:
    said = (text * (size // len(text) + 1))[:size]
    exchange = replace(EXCHANGE, request=Side("text/csv", said.encode()), answer=Side("x/y", bytes(size)))
    data = written(exchange)["captureData"]
    assert (data["endpointInput"]["encoding"], data["endpointInput"]["data"]) == ("CSV", said)
    assert base64.b64decode(data["endpointOutput"]["data"], validate=True) == bytes(size)
    assert max(len(piece) for piece in capture.pieces(CONFIG, exchange)) < 400_000


def test_a_large_body_that_is_no_text_at_its_end_is_base64() -> None:
    body = b"x" * 100_000 + b"\xff"
    data = written(replace(EXCHANGE, request=Side("text/csv", body)))["captureData"]["endpointInput"]
    assert (data["encoding"], base64.b64decode(data["data"])) == ("BASE64", body)
