"""What rest-json and rest-xml share: members by location, one payload member or a body of the rest.

Owns: the assembly of requests and answers from locations; raw payloads (blob, string). Does not know: JSON and XML,
which come in as a Body.

A raw blob payload is the request's body when there are bytes; with an empty body the member is absent, and a caller that
streams bodies itself (the object store) puts it there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from clary.wire import eventstream
from clary.wire.bindings import label_members, parse_headers, parse_query, write_headers
from clary.wire.errors import SerializationError
from clary.wire.http import Request, Response
from clary.wire.scalars import as_bytes
from clary.wire.shapes import Member, Places, answer_places, places

if TYPE_CHECKING:
    from botocore.model import OperationModel


class BodyFormat(Protocol):
    """One body format."""

    content_type: str

    def parse_members(self, shape: Any, body: bytes, wanted: tuple[Member, ...]) -> dict[str, Any]:
        """The members of a structure spread over the body."""

    def parse_payload(self, member: Member, body: bytes) -> Any:
        """The one member that is the whole body."""

    def write_members(self, operation: OperationModel, shape: Any, result: Mapping[str, Any], found: Places) -> bytes:
        """The body of an answer without a payload member; empty where the format needs none."""

    def write_payload(self, member: Member, value: Any) -> bytes:
        """The body that is one member."""

    def empty_payload(self, member: Member) -> bytes:
        """The body when the payload member is absent."""


def parse(operation: OperationModel, request: Request, labels: Mapping[str, str], body: BodyFormat) -> dict[str, Any]:
    """The parameters of a request."""
    shape = operation.input_shape
    if shape is None:
        return {}
    found: dict[str, Any] = {}
    where = places(shape)
    if labels:
        label_members(where, labels, found)
    if where.query or where.query_map is not None:
        parse_query(where, request.query, found)
    if where.header or where.header_maps:
        parse_headers(where, request.headers, found)
    if where.payload is not None:
        _parse_payload(where.payload, request, body, found)
    elif where.body and request.body:
        found.update(body.parse_members(shape, request.body, where.body))
    return found


def _parse_payload(payload: Member, request: Request, body: BodyFormat, found: dict[str, Any]) -> None:
    if not request.body:
        return
    kind = payload.shape.type_name
    if payload.shape.serialization.get("eventstream") or kind == "blob":
        found[payload.name] = request.body
    elif kind == "string":
        try:
            found[payload.name] = request.body.decode()
        except UnicodeDecodeError as error:
            raise SerializationError("The body is not UTF-8") from error
    else:
        value = body.parse_payload(payload, request.body)
        if value is not None:
            found[payload.name] = value


def respond(operation: OperationModel, result: Mapping[str, Any], body: BodyFormat) -> Response:
    """The answer of an operation that succeeded."""
    shape = operation.output_shape
    status = int(operation.http.get("responseCode", 200))
    if shape is None:
        return Response(status, [], b"")
    where = answer_places(shape)
    if where.status is not None and result.get(where.status.name) is not None:
        status = int(result[where.status.name])
    headers = write_headers(where, result)
    if where.payload is not None and where.payload.shape.serialization.get("eventstream"):
        return eventstream.respond(operation, result, headers)
    content, kind = _content(operation, shape, where, result, body)
    if kind and content and not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", kind))
    return Response(status, headers, content)


def _content(
    operation: OperationModel, shape: Any, where: Places, result: Mapping[str, Any], body: BodyFormat
) -> tuple[bytes, str]:
    payload = where.payload
    if payload is None:
        return body.write_members(operation, shape, result, where), body.content_type
    value = result.get(payload.name)
    kind = payload.shape.type_name
    if kind == "blob":
        return (b"" if value is None else as_bytes(value)), "application/octet-stream"
    if kind == "string":
        return (b"" if value is None else as_bytes(value)), "text/plain"
    if value is None:
        return body.empty_payload(payload), body.content_type
    return body.write_payload(payload, value), body.content_type
