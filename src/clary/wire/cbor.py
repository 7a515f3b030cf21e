"""The smithy-rpc-v2-cbor protocol: one CBOR map each way.

Owns: the protocol's headers and errors. Does not know: CBOR values of a shape (`cbor_body`), routing by path (``route``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import cbor2

from clary.wire import cbor_body, eventstream
from clary.wire.http import Request, Response
from clary.wire.json_rpc import query_error
from clary.wire.shapes import message_member

if TYPE_CHECKING:
    from botocore.model import OperationModel, ServiceModel

_PROTOCOL = ("smithy-protocol", "rpc-v2-cbor")
_TYPES = (str, bytes, bool, int, float, list, dict)


def parse(operation: OperationModel, request: Request, labels: Mapping[str, str]) -> dict[str, Any]:
    """The parameters of a request; an empty body is an empty map."""
    shape = operation.input_shape
    value = cbor_body.load(request.body) if request.body else {}
    if shape is None:
        return {}
    found: dict[str, Any] = cbor_body.read_structure(shape, value)
    return found


def respond(operation: OperationModel, result: Mapping[str, Any]) -> Response:
    """The answer of an operation that succeeded; one without an output has no body."""
    shape = operation.output_shape
    if shape is None:
        return Response(200, [_PROTOCOL], b"")
    if shape.event_stream_name:
        return eventstream.respond(operation, result, [_PROTOCOL])
    content = cbor2.dumps(cbor_body.write(shape, result))
    return Response(200, [_PROTOCOL, ("Content-Type", "application/cbor")], content)


def fail(
    service_model: ServiceModel,
    shape: Any | None,
    code: str,
    message: str,
    members: Mapping[str, Any],
    status: int,
) -> Response:
    """An error; query-compatible services name it by shape in the body and by its old code in a header."""
    content: dict[str, Any] = {"__type": shape.name if shape is not None else code}
    if message or shape is None or message_member(shape) in shape.members:
        content[message_member(shape)] = message
    if shape is None:
        content.update({name: value for name, value in members.items() if isinstance(value, _TYPES)})
    else:
        content.update(cbor_body.write(shape, members))
    headers = [_PROTOCOL, ("Content-Type", "application/cbor")]
    if service_model.is_query_compatible:
        headers.append(("x-amzn-query-error", query_error(shape, code, status)))
    return Response(status, headers, cbor2.dumps(content))
