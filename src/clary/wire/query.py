"""The query protocol: a form of dotted names in, XML out.

Owns: the dotted names (lists ``.member.N``, maps ``.entry.N.key``, flattened or not), wrappers of answers and errors.
Does not know: XML values (``xml_body``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from clary.wire import xml_body
from clary.wire.bindings import parse_scalar, query_pairs
from clary.wire.errors import SerializationError
from clary.wire.http import Request, Response
from clary.wire.json_rpc import fault
from clary.wire.rest_xml import write_error_members
from clary.wire.shapes import is_flattened, members

if TYPE_CHECKING:
    from botocore.model import OperationModel, ServiceModel

_MAX_FIELDS = 10_000
_MAX_DEPTH = 32


class _Node:
    """One dotted name: its own value, and what follows after the next dot."""

    __slots__ = ("children", "value")

    def __init__(self) -> None:
        self.value: str | None = None
        self.children: dict[str, _Node] = {}


def parse(operation: OperationModel, request: Request, labels: Mapping[str, str]) -> dict[str, Any]:
    """The parameters of a request, from its form or, for GET, its query."""
    root = _tree(request)
    shape = operation.input_shape
    if shape is None:
        return {}
    found = _read_structure(shape, root)
    return found if isinstance(found, dict) else {}


def _tree(request: Request) -> _Node:
    try:
        text = request.body.decode()
    except UnicodeDecodeError as error:
        raise SerializationError("The form is not UTF-8") from error
    pairs = query_pairs(request.query) + query_pairs(text.strip())
    if len(pairs) > _MAX_FIELDS:
        raise SerializationError(f"A form of more than {_MAX_FIELDS} fields")
    root = _Node()
    for name, value in pairs:
        parts = name.split(".")
        if len(parts) > _MAX_DEPTH * 2:
            raise SerializationError("A form field is nested too deep")
        node = root
        for part in parts:
            node = node.children.setdefault(part, _Node())
        node.value = value
    return root


# -- in ---------------------------------------------------------------------------------------------------------------


def _read(shape: Any, node: _Node) -> Any:
    kind = shape.type_name
    if kind == "structure":
        return _read_structure(shape, node)
    if kind == "list":
        return _read_list(shape, node)
    if kind == "map":
        return _read_map(shape, node)
    if node.value is None:
        raise SerializationError("A form field has members where a value is due")
    return parse_scalar(shape, node.value, "iso8601")


def _read_structure(shape: Any, node: _Node) -> Any:
    found: dict[str, Any] = {}
    for name, wire, member in members(shape):
        child = node.children.get(wire)
        if child is None and member.type_name == "list" and is_flattened(member):
            # A flattened list is named by its member, where that has a name of its own.
            child = node.children.get(str(member.member.serialization.get("name")))
        if child is not None:
            found[name] = _read(member, child)
    return found


def _read_list(shape: Any, node: _Node) -> list[Any]:
    if not is_flattened(shape):
        inner = node.children.get(str(shape.member.serialization.get("name", "member")))
        node = inner or node.children.get("member") or _Node()
    return [_read(shape.member, child) for child in _numbered(node)]


def _read_map(shape: Any, node: _Node) -> dict[str, Any]:
    if not is_flattened(shape):
        node = node.children.get("entry") or _Node()
    key_name = str(shape.key.serialization.get("name", "key"))
    value_name = str(shape.value.serialization.get("name", "value"))
    found: dict[str, Any] = {}
    for entry in _numbered(node):
        key, value = entry.children.get(key_name), entry.children.get(value_name)
        if key is None or key.value is None:
            raise SerializationError(f"A map entry of the form lacks its {key_name}")
        found[key.value] = None if value is None else _read(shape.value, value)
    return found


def _numbered(node: _Node) -> list[_Node]:
    numbers = []
    for name in node.children:
        if not (name.isascii() and name.isdecimal()) or len(name) > 6:
            raise SerializationError(f"Not a list index in a form field: {name!r:.60}")
        numbers.append((int(name), name))
    return [node.children[name] for _, name in sorted(numbers)]


# -- out --------------------------------------------------------------------------------------------------------------


def respond(operation: OperationModel, result: Mapping[str, Any], request_id: str = "") -> Response:
    """The answer of an operation that succeeded: ``<OpResponse><OpResult>…</OpResult><ResponseMetadata>…``."""
    shape = operation.output_shape
    name = operation.wire_name or operation.name
    space = xml_body.namespace(operation.service_model.metadata.get("xmlNamespace"))
    out = [f"<{name}Response{space}>"]
    if shape is not None:
        wrapper = shape.serialization.get("resultWrapper") or f"{name}Result"
        out.append(f"<{wrapper}>")
        xml_body.write_members(out, shape, result)
        out.append(f"</{wrapper}>")
    out.append(f"<ResponseMetadata><RequestId>{xml_body.escape(request_id)}</RequestId></ResponseMetadata>")
    out.append(f"</{name}Response>")
    return Response(200, [("Content-Type", "text/xml")], "".join(out).encode())


def fail(
    service_model: ServiceModel,
    shape: Any | None,
    code: str,
    message: str,
    members: Mapping[str, Any],
    status: int,
) -> Response:
    """An error, under the code that the query protocol has for its shape."""
    rest = dict(members)
    request_id = str(rest.pop("RequestId", ""))
    wire_code = shape.error_code if shape is not None else code
    out = [
        f"<ErrorResponse{xml_body.namespace(service_model.metadata.get('xmlNamespace'))}><Error>",
        f"<Type>{fault(shape, status)}</Type><Code>{xml_body.escape(str(wire_code))}</Code>",
        f"<Message>{xml_body.escape(message)}</Message>",
    ]
    write_error_members(out, shape, rest)
    out.append(f"</Error><RequestId>{xml_body.escape(request_id)}</RequestId></ErrorResponse>")
    return Response(status, [("Content-Type", "text/xml")], "".join(out).encode())
