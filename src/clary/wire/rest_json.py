"""The rest-json protocol: its body format and its errors.

Does not know: locations (``rest``, ``bindings``) and JSON values (``json_body``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from clary.wire import json_body, rest
from clary.wire.bindings import write_headers
from clary.wire.errors import SerializationError
from clary.wire.http import Request, Response
from clary.wire.json_rpc import error_members
from clary.wire.shapes import Member, Places, answer_places

if TYPE_CHECKING:
    from botocore.model import OperationModel, ServiceModel


class _Json:
    content_type = "application/json"

    def parse_members(self, shape: Any, body: bytes, wanted: tuple[Member, ...]) -> dict[str, Any]:
        value = json_body.load(body)
        if not isinstance(value, dict):
            raise SerializationError("The request body must be a JSON object")
        return json_body.parse_members(shape, value, wanted)

    def parse_payload(self, member: Member, body: bytes) -> Any:
        value = json_body.parse(member.shape, json_body.load(body))
        # "{}" is what clients send for an unset structure.
        return None if value == {} and not member.shape.metadata.get("document") else value

    def write_members(self, operation: OperationModel, shape: Any, result: Mapping[str, Any], found: Places) -> bytes:
        return json_body.dump(json_body.serialize_members(shape, result, found.body)) if found.body else b""

    def write_payload(self, member: Member, value: Any) -> bytes:
        return json_body.dump(json_body.serialize(member.shape, value))

    def empty_payload(self, member: Member) -> bytes:
        return b"" if member.shape.metadata.get("document") else b"{}"


_BODY = _Json()


def parse(operation: OperationModel, request: Request, labels: Mapping[str, str]) -> dict[str, Any]:
    """The parameters of a request."""
    return rest.parse(operation, request, labels, _BODY)


def respond(operation: OperationModel, result: Mapping[str, Any]) -> Response:
    """The answer of an operation that succeeded."""
    return rest.respond(operation, result, _BODY)


def fail(
    service_model: ServiceModel,
    shape: Any | None,
    code: str,
    message: str,
    members: Mapping[str, Any],
    status: int,
) -> Response:
    """An error: its name in ``x-amzn-errortype``, its members in the body or where the shape puts them."""
    headers = [("Content-Type", "application/json"), ("x-amzn-errortype", shape.name if shape is not None else code)]
    inside = dict(members)
    if shape is not None:
        where = answer_places(shape)
        headers += write_headers(where, members)
        for member in where.header:
            inside.pop(member.name, None)
    return Response(status, headers, json_body.dump(error_members(shape, message, inside)))
