"""The three public functions: request to parameters, result to response, error to response.

Owns: the table of protocols, the choice among those a service speaks, the outer guard against hostile nesting. Refuses
to know: any one protocol, HTTP servers, and whether an operation is implemented.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from clary.wire import cbor, json_rpc, query, rest_json, rest_xml
from clary.wire.errors import SerializationError
from clary.wire.http import Request, Response, as_request
from clary.wire.models import speaking
from clary.wire.route import RPC_V2, operation_of, spoken
from clary.wire.shapes import error_shape

if TYPE_CHECKING:
    from botocore.model import OperationModel, ServiceModel


class _Protocol(NamedTuple):
    parse: Callable[[OperationModel, Request, Mapping[str, str]], dict[str, Any]]
    respond: Callable[..., Response]
    fail: Callable[[ServiceModel, Any | None, str, str, Mapping[str, Any], int], Response]


_PROTOCOLS = {
    "json": _Protocol(json_rpc.parse, json_rpc.respond, json_rpc.fail),
    "rest-json": _Protocol(rest_json.parse, rest_json.respond, rest_json.fail),
    "rest-xml": _Protocol(rest_xml.parse, rest_xml.respond, rest_xml.fail),
    "query": _Protocol(query.parse, query.respond, query.fail),
    RPC_V2: _Protocol(cbor.parse, cbor.respond, cbor.fail),
}
_MAX_INFLATED = 16 * 1024 * 1024
_ID_IN_BODY = ("query", "rest-xml")


def parse_request(service_model: ServiceModel, request: Any) -> tuple[OperationModel, dict[str, Any]]:
    """The operation a request means and its parameters, as a boto3 user would have written them.

    ``request`` is a Request, any object with its attributes, or a mapping (see ``http.as_request``). Timestamps come
    as aware UTC datetimes, blobs as bytes; members that were not sent are absent. A raw blob payload (S3's and
    InvokeEndpoint's ``Body``) is the request's body when it has bytes, and absent otherwise: a caller that streams
    passes ``body=b""`` and keeps the stream to itself. No constraint of the model is checked here (``validate``).

    The operation model remembers which of its service's protocols was spoken, so the answer is given in the same.
    Raises SerializationError for bytes that do not fit the model, UnknownOperation for an operation that is not in it.
    """
    message = as_request(request)
    protocol = spoken(service_model, message)
    if protocol not in _PROTOCOLS:
        raise SerializationError(f"The protocol {protocol} is not supported")
    name, labels = operation_of(service_model, message, protocol)
    operation = speaking(service_model, protocol).operation_model(name)
    if operation.request_compression and "gzip" in message.headers.get("content-encoding", ""):
        message = replace(message, body=_inflate(message.body))
    try:
        return operation, _PROTOCOLS[protocol].parse(operation, message, labels)
    except RecursionError as error:
        raise SerializationError("The request is nested too deep") from error


def _inflate(body: bytes) -> bytes:
    """The body of an operation that its model lets clients compress (PutMetricData), within a cap."""
    if not body.startswith(b"\x1f\x8b"):
        return body
    unpacker = zlib.decompressobj(31)
    try:
        plain = unpacker.decompress(body, _MAX_INFLATED)
    except zlib.error as error:
        raise SerializationError("The body is not valid gzip") from error
    if not unpacker.eof or unpacker.unused_data:
        raise SerializationError(f"The body is not one gzip stream of at most {_MAX_INFLATED} bytes")
    return plain


def stand_in(service_model: ServiceModel, request: Request) -> OperationModel:
    """Some operation model that answers in the protocol of a request, for errors before the operation is known."""
    model = speaking(service_model, spoken(service_model, request))
    return model.operation_model(model.operation_names[0])


def serialize_response(
    service_model: ServiceModel, operation_model: OperationModel, result: Mapping[str, Any] | None, request_id: str = ""
) -> Response:
    """The answer of an operation that succeeded, in the protocol of ``operation_model``.

    ``result`` holds members by the model's names (None and unknown ones are left out); timestamps may be datetimes,
    epoch seconds or text; a raw payload is bytes, text or a file; an event stream is an iterable of
    ``{event name: members}``. With a ``request_id`` the answer carries it where AWS puts it.
    """
    protocol = operation_model.service_model.resolved_protocol
    members = {} if result is None else result
    if protocol == "query":
        response = query.respond(operation_model, members, request_id)
    else:
        response = _PROTOCOLS[protocol].respond(operation_model, members)
    return _with_id(response, service_model, request_id)


def serialize_error(
    service_model: ServiceModel,
    operation_model: OperationModel | None,
    code: str,
    message: str,
    members: Mapping[str, Any] | None = None,
    status: int | None = None,
    request_id: str = "",
) -> Response:
    """An error answer, in the protocol of ``operation_model`` (without one: the service's preferred one).

    ``code`` is an error shape's name or its wire code; ``members`` are its modelled members besides the message;
    ``status`` None means the model's own for that shape, else 400.
    """
    model = service_model if operation_model is None else operation_model.service_model
    protocol = model.resolved_protocol
    shape = error_shape(model, operation_model, code)
    if status is None:
        status = int((shape.metadata.get("error", {}) if shape is not None else {}).get("httpStatusCode", 400))
    extra = dict(members or {})
    if request_id and protocol in _ID_IN_BODY:
        extra["RequestId"] = request_id
    response = _PROTOCOLS[protocol].fail(model, shape, code, message, extra, status)
    return _with_id(response, service_model, request_id)


def _with_id(response: Response, service_model: ServiceModel, request_id: str) -> Response:
    if request_id:
        s3 = service_model.metadata.get("endpointPrefix") == "s3"
        response.headers.append(("x-amz-request-id" if s3 else "x-amzn-requestid", request_id))
    return response
