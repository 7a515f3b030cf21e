"""Event streams: what we encode botocore's own buffer decodes, and what is broken is refused."""

import datetime
import uuid
from typing import Any

import pytest
from botocore.awsrequest import HeadersDict
from botocore.eventstream import EventStream, EventStreamBuffer
from botocore.parsers import create_parser
from hypothesis import given
from hypothesis import strategies as st

from clary.wire.errors import SerializationError
from clary.wire.eventstream import FrameReader, decode_frames, encode_event, encode_exception, encode_frame
from clary.wire.models import load
from clary.wire.protocol import serialize_response

HEADERS = st.dictionaries(
    st.text("abc-:", min_size=1, max_size=8),
    st.one_of(
        st.booleans(), st.integers(-(2**63), 2**63 - 1), st.binary(max_size=20), st.text(max_size=20), st.uuids()
    ),
    max_size=5,
)


@given(HEADERS, st.binary(max_size=200), st.integers(1, 64))
def test_round_trip_and_botocore_agrees(headers: dict[str, Any], payload: bytes, step: int) -> None:
    data = encode_frame(headers, payload) * 2
    reader = FrameReader()
    frames = [frame for at in range(0, len(data), step) for frame in reader.feed(data[at : at + step])]
    assert frames == [(headers, payload)] * 2
    assert reader.pending == 0
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    for event in buffer:
        decoded = {
            key: uuid.UUID(bytes=v) if isinstance(headers[key], uuid.UUID) else v for key, v in event.headers.items()
        }
        assert (decoded, event.payload) == (headers, payload)


def test_timestamps_have_milliseconds() -> None:
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=datetime.UTC)
    ((headers, _),) = decode_frames(encode_frame({"at": moment}, b""))
    assert headers == {"at": moment}


class _Raw:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def stream(self) -> Any:
        yield self._data


def events(service: str, operation: str, result: dict[str, Any], tail: bytes = b"") -> Any:
    model = load(service)
    found = model.operation_model(operation)
    response = serialize_response(model, found, result)
    assert response.header("content-type") == "application/vnd.amazon.eventstream"
    stream = found.get_event_stream_output()
    answer = {
        "status_code": 200,
        "headers": HeadersDict(dict(response.headers)),
        "body": _Raw(response.body + tail),
        "context": {"operation_name": operation},
    }
    parsed = create_parser(model.resolved_protocol).parse(answer, found.output_shape)
    found_stream = parsed[found.output_shape.event_stream_name]
    assert isinstance(found_stream, EventStream)
    assert stream is not None
    return found_stream, parsed


def test_invocations_stream_as_botocore_reads_them() -> None:
    parts = [{"PayloadPart": {"Bytes": b"one"}}, {"PayloadPart": {"Bytes": b"two"}}]
    stream, parsed = events(
        "sagemaker-runtime", "InvokeEndpointWithResponseStream", {"ContentType": "text/plain", "Body": parts}
    )
    assert list(stream) == parts
    assert parsed["ContentType"] == "text/plain"


@pytest.mark.parametrize("code", ["ModelStreamError", "InternalStreamFailure", "Unmodelled"])
def test_errors_in_a_stream_are_raised_by_the_client(code: str) -> None:
    operation = load("sagemaker-runtime").operation_model("InvokeEndpointWithResponseStream")
    tail = encode_exception(operation, code, "broken off", {"ErrorCode": "StreamBroken"})
    stream, _ = events("sagemaker-runtime", operation.name, {"Body": []}, tail)
    with pytest.raises(Exception, match=f"{code}.*broken off"):
        list(stream)


def test_rpc_streams_open_with_an_initial_response() -> None:
    stream, _ = events("logs", "StartLiveTail", {"responseStream": [{"sessionStart": {"requestId": "r"}}]})
    assert list(stream) == [{"sessionStart": {"requestId": "r"}}]


def test_an_exception_given_as_an_event_is_one() -> None:
    operation = load("sagemaker-runtime").operation_model("InvokeEndpointWithResponseStream")
    ((headers, _),) = decode_frames(encode_event(operation, {"InternalStreamFailure": {"Message": "m"}}))
    assert headers[":message-type"] == "exception"


@pytest.mark.parametrize("at", [0, 5, 9, 14, 20, -1])
def test_a_changed_byte_is_noticed(at: int) -> None:
    data = bytearray(encode_frame({"a": "b"}, b"payload"))
    data[at] ^= 1
    with pytest.raises(SerializationError):
        list(decode_frames(bytes(data)))


def test_a_frame_that_stops_early_is_noticed() -> None:
    with pytest.raises(SerializationError):
        list(decode_frames(encode_frame({}, b"payload")[:-1]))


@given(st.binary(max_size=200))
def test_noise_only_raises_serialization_errors(data: bytes) -> None:
    try:
        list(decode_frames(data))
    except SerializationError:
        pass
