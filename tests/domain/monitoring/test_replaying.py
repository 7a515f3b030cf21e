"""Captured requests that are asked again: what can be, and how answers compare."""

from __future__ import annotations

import json
from typing import Any

import pytest

from clary.domain.endpoints import capture
from clary.domain.endpoints.capture import Exchange, Side
from clary.domain.errors import Invalid
from clary.domain.monitoring import replaying
from clary.domain.monitoring.replaying import ENCODED, ONE_SIDE, TORN, RecordedRequest, ReplayedAnswer

CONFIG = {
    "DestinationS3Uri": "s3://b/c",
    "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
    "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"]},
}


def line(request: Side, answer: Side, config: dict[str, Any] | None = None) -> str:
    return capture.line(config or CONFIG, Exchange("e-1", 0.0, request, answer))


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (Side("text/csv", "1,ä\n2,b\n".encode()), Side("text/csv", b"0.5\n")),
        (Side("application/x-npy", bytes(range(256))), Side("application/json", b'{"a": 1}')),
    ],
)
def test_what_was_captured_comes_back_byte_by_byte(request_: Side, answer: Side) -> None:
    found = replaying.recorded(line(request_, answer))
    assert (found.content_type, found.body) == (request_.content_type, request_.body)
    assert (found.accept, found.answer) == (answer.content_type, answer.body)
    assert found.event == "e-1"


def _changed(**side: Any) -> str:
    record = json.loads(line(Side("text/csv", b"1"), Side("text/csv", b"2")))
    record["captureData"]["endpointInput"] |= side
    return json.dumps(record)


WHOLE = line(Side("text/csv", b"1"), Side("text/csv", b"2"))
HALF = line(Side("text/csv", b"1"), Side("text/csv", b"2"), {**CONFIG, "CaptureOptions": [{"CaptureMode": "Input"}]})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (WHOLE[:50], TORN),
        ("[]", TORN),
        ("{}", TORN),
        ("null", TORN),
        ("[" * 100_000, TORN),
        (_changed(data=None), TORN),
        (HALF, ONE_SIDE),
        (_changed(encoding="PARQUET"), ENCODED),
        (_changed(encoding="BASE64", data="!"), ENCODED),
    ],
)
def test_a_line_that_cannot_be_asked_again_says_why(text: str, why: str) -> None:
    with pytest.raises(Invalid) as caught:
        replaying.recorded(text)
    assert caught.value.message == why


@pytest.mark.parametrize(
    ("one", "other", "same", "largest"),
    [
        (b"a", b"a", True, 0.0),
        (b"\xff", b"\xff", True, 0.0),
        (b"\xff", b"\xfe", False, None),
        (b"0.5,0.25", b"0.5\n0.25", False, None),
        (b"0.50\n", b"0.5", True, 0.0),
        (b"1\n2", b"1\n4", False, 2.0),
        (b"1000000", b"1000000.1", True, 0.1),
        (b"nan", b"nan", True, 0.0),
        (b"cat", b"dog", False, 0.0),
        (b'{"p": [0.1, 0.9], "l": "a"}', b'{"l": "a", "p": [0.1, 0.9000000001]}', True, 1e-10),
        (b'{"p": 1}', b'{"q": 1}', False, None),
        (b'{"p": "1.0"}', b'{"p": "1"}', False, 0.0),
        (b"true", b"false", False, 0.0),
    ],
)
def test_answers_compare_by_form_and_by_numbers(one: bytes, other: bytes, same: bool, largest: float | None) -> None:
    found = replaying.compared(one, other)
    assert found.same == same
    assert found.largest == (None if largest is None else pytest.approx(largest, abs=1e-9))


def test_a_tolerance_is_absolute_or_a_share() -> None:
    assert not replaying.compared(b"0.50", b"0.51").same
    assert replaying.compared(b"0.50", b"0.51", 0.02).same
    assert replaying.compared(b"100", b"101", 0.02).same


def test_what_is_told_of_answers_and_of_latency() -> None:
    asked = RecordedRequest("e", "text/csv", b"", "text/csv", b"1")
    came = [
        ReplayedAnswer(0.010, b"1"),
        ReplayedAnswer(0.030, b"3"),
        ReplayedAnswer(0.020, b"x,y"),
        ReplayedAnswer(9.0, error="ModelError: no"),
    ]
    assert replaying.answers_told([(asked, each) for each in came], 0.0) == {
        "same": 1,
        "differed": 2,
        "other_form": 1,
        "failed": 1,
        "largest_difference": 2.0,
        "mean_difference": 1.0,
    }
    assert replaying.latency_told(came) == {"mean": 20.0, "p50": 20.0, "p99": 30.0}
    assert replaying.latency_told(came[3:]) == {"mean": None, "p50": None, "p99": None}


def test_an_hour_is_of_all_replicas_of_the_config() -> None:
    group = {"seconds": 100.0, "vcpu_seconds": 200.0, "gb_seconds": 800.0, "gpu_seconds": 0.0}
    assert replaying.hour_told(group, 3) == {"vcpu_hours": 6.0, "gb_hours": 24.0, "gpu_hours": 0.0}
    assert replaying.hour_told({**group, "cost": 0.5}, 1) == {
        "vcpu_hours": 2.0,
        "gb_hours": 8.0,
        "gpu_hours": 0.0,
        "cost": 18.0,
    }
    assert replaying.hour_told(None, 1) is None
    assert replaying.hour_told({**group, "seconds": 0.0}, 1) is None
