"""botocore as the oracle: what its client sends we parse, what we answer it parses, for every operation."""

import io
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.awsrequest import HeadersDict, create_request_object, prepare_request_dict
from botocore.eventstream import EventStream
from botocore.model import OperationModel
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.wire.generated import OPERATIONS, SPOKEN, model_of, pruned, structures

from clary.wire.http import Headers, Request, Response
from clary.wire.models import load
from clary.wire.protocol import parse_request, serialize_error, serialize_response
from clary.wire.scalars import special_float

FEW = settings(
    max_examples=8,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
EXACT = ("json", "smithy-rpc-v2-cbor")


def sent(protocol: str, operation: OperationModel, params: dict[str, Any]) -> Request:
    """The request that botocore's client makes of these parameters."""
    serialized = create_serializer(protocol, include_validation=False).serialize_to_request(params, operation)
    prepare_request_dict(serialized, "http://localhost:4600", context={})
    prepared = create_request_object(serialized).prepare()
    parts = urlsplit(prepared.url)
    body = prepared.body or b""
    if hasattr(body, "read"):
        body = body.read()
    headers = [(name, v.decode() if isinstance(v, bytes) else v) for name, v in prepared.headers.items()]
    return Request(
        prepared.method, parts.path, parts.query, Headers(headers), body.encode() if isinstance(body, str) else body
    )


class _Stream:
    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self) -> Any:
        yield self._body


def received(protocol: str, operation: OperationModel, response: Response, shape: Any) -> dict[str, Any]:
    """What botocore's client makes of an answer."""
    body: Any = response.body
    if response.status < 300 and operation.has_event_stream_output:
        body = _Stream(body)
    elif response.status < 300 and operation.has_streaming_output:
        body = io.BytesIO(body)
    answer = {
        "status_code": response.status,
        "headers": HeadersDict({name.lower(): value for name, value in response.headers}),
        "body": body,
        "context": {"operation_name": operation.name},
    }
    parsed: dict[str, Any] = create_parser(protocol).parse(answer, shape)
    for name, item in parsed.items():
        if isinstance(item, EventStream):
            parsed[name] = list(item)
        elif isinstance(item, io.BytesIO):
            parsed[name] = item.read()
    return parsed


def named_floats(item: Any) -> Any:
    """botocore leaves the special floats of a JSON answer as the words they are."""
    if isinstance(item, dict):
        return {name: named_floats(inner) for name, inner in item.items()}
    if isinstance(item, list):
        return [named_floats(inner) for inner in item]
    return special_float(item) if isinstance(item, float) else item


@pytest.mark.parametrize(("service", "protocol", "name"), OPERATIONS)
def test_parses_what_botocore_sends(service: str, protocol: str, name: str) -> None:
    model, operation = model_of(service, protocol, name)
    shape = operation.input_shape

    @FEW
    @given(structures(shape) if shape is not None else st.just({}))
    def check(params: dict[str, Any]) -> None:
        if operation.has_event_stream_input:
            params.pop(shape.event_stream_name, None)
        found, got = parse_request(model, sent(protocol, operation, params))
        assert found.name == name
        if protocol in EXACT:
            assert got == params
        else:
            if "ContentLength" not in params:
                got.pop("ContentLength", None)  # HTTP's own
            assert pruned(got) == pruned(params)

    check()


@pytest.mark.parametrize(("service", "protocol", "name"), OPERATIONS)
def test_botocore_parses_what_we_answer(service: str, protocol: str, name: str) -> None:
    model, operation = model_of(service, protocol, name)
    shape = operation.output_shape
    if name == "GetBucketLocation":
        pytest.skip("botocore reads this answer in a handler of its own")

    @FEW
    @given(structures(shape) if shape is not None else st.just({}))
    def check(result: dict[str, Any]) -> None:
        if operation.has_event_stream_output:
            result[shape.event_stream_name] = []
        answer = received(protocol, operation, serialize_response(model, operation, result, "an-id"), shape)
        assert answer.pop("ResponseMetadata", {}).get("RequestId", "an-id") == "an-id"
        payload = shape.serialization.get("payload") if shape is not None else None
        if payload not in result and answer.get(payload) == "":
            del answer[payload]  # an empty body is no body
        if "ContentType" not in result:
            answer.pop("ContentType", None)  # a body has a type all the same
        assert pruned(answer) == pruned(named_floats(result) if protocol == "json" else result)

    check()


ERRORS = [(service, protocol, shape.name) for service, protocol in SPOKEN for shape in load(service).error_shapes]


@pytest.mark.parametrize(("service", "protocol", "name"), ERRORS)
def test_botocore_parses_every_modelled_error(service: str, protocol: str, name: str) -> None:
    model, operation = model_of(service, protocol, load(service).operation_names[0])
    shape = model.shape_for(name)

    @FEW
    @given(structures(shape))
    def check(members: dict[str, Any]) -> None:
        members = {key: item for key, item in members.items() if key.lower() != "message"}
        response = serialize_error(model, operation, name, "what went wrong", members)
        error = received(protocol, operation, response, operation.output_shape)["Error"]
        assert error["Message"] == "what went wrong"
        found = model.shape_for_error_code(error["Code"])
        assert found is not None
        if found.name == name:
            assert pruned(members).items() <= pruned(received(protocol, operation, response, found)).items()

    check()
