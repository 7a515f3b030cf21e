"""The json 1.0 and json 1.1 protocols: ``X-Amz-Target`` and one JSON object each way.

Owns: their requests, answers and errors, the query-compatible error header, event streams opened by an initial-response.
Does not know: how a JSON value becomes a parameter (``json_body``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from clary.wire import eventstream, json_body
from clary.wire.errors import SerializationError
from clary.wire.http import Request, Response
from clary.wire.shapes import message_member

if TYPE_CHECKING:
    from botocore.model import OperationModel, ServiceModel


def parse(operation: OperationModel, request: Request, labels: Mapping[str, str]) -> dict[str, Any]:
    """The parameters of a request; an empty body is an empty object."""
    shape = operation.input_shape
    value = json_body.load(request.body) if request.body else {}
    if not isinstance(value, dict):
        raise SerializationError("The request body must be a JSON object")
    return {} if shape is None else json_body.parse_members(shape, value)


def respond(operation: OperationModel, result: Mapping[str, Any]) -> Response:
    """The answer of an operation that succeeded."""
    shape = operation.output_shape
    if shape is not None and shape.event_stream_name:
        return eventstream.respond(operation, result)
    content = json_body.serialize_members(shape, result) if shape is not None else {}
    return Response(200, [("Content-Type", content_type(operation.service_model))], json_body.dump(content))


def content_type(service_model: ServiceModel) -> str:
    """``application/x-amz-json-1.0`` or ``-1.1``, as the model says."""
    return f"application/x-amz-json-{service_model.metadata.get('jsonVersion', '1.1')}"


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
    headers = [("Content-Type", content_type(service_model))]
    content.update(error_members(shape, message, members))
    if service_model.is_query_compatible:
        headers.append(("x-amzn-query-error", query_error(shape, code, status)))
    return Response(status, headers, json_body.dump(content))


def error_members(shape: Any | None, message: str, members: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON members of an error, the message under the name its shape gives it."""
    values: dict[str, Any] = {}
    if message or (shape is not None and message_member(shape) in shape.members) or shape is None:
        values[message_member(shape)] = message
    values.update(members)
    if shape is None:
        return values
    known = json_body.serialize_members(shape, values)
    return known if message_member(shape) in known or not message else {**known, message_member(shape): message}


# Codes of the query protocol that a query-compatible model no longer has: SQS's, before it spoke JSON. Others are the shapes' names.
_OLD_CODES: Mapping[str, str] = {
    "QueueDoesNotExist": "AWS.SimpleQueueService.NonExistentQueue",
    "QueueNameExists": "QueueAlreadyExists",
    **{
        name: f"AWS.SimpleQueueService.{name}"
        for name in (
            "QueueDeletedRecently",
            "PurgeQueueInProgress",
            "MessageNotInflight",
            "UnsupportedOperation",
            "TooManyEntriesInBatchRequest",
            "BatchRequestTooLong",
            "EmptyBatchRequest",
            "BatchEntryIdsNotDistinct",
            "InvalidBatchEntryId",
        )
    },
}


def query_error(shape: Any | None, code: str, status: int) -> str:
    """The value of ``x-amzn-query-error``: the code of the query protocol and whose fault it was."""
    name = shape.error_code if shape is not None else code
    return f"{_OLD_CODES.get(name, name)};{fault(shape, status)}"


def fault(shape: Any | None, status: int) -> str:
    """``Sender`` or ``Receiver``, by the model or else by the status."""
    if shape is not None and "senderFault" in shape.metadata.get("error", {}):
        return "Sender" if shape.metadata["error"]["senderFault"] else "Receiver"
    return "Sender" if status < 500 else "Receiver"
