"""The smithy-rpc-v2-cbor protocol: one CBOR map each way.

Owns: CBOR values to and from a shape, the protocol's headers and errors. Refuses to know: routing by path (``route``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import cbor2

from clary.wire import eventstream
from clary.wire.errors import SerializationError
from clary.wire.http import Request, Response
from clary.wire.json_rpc import query_error
from clary.wire.scalars import INTEGER_LIMIT, LONG_LIMIT, as_bytes, aware, bounded, epoch
from clary.wire.shapes import member_table, members, message_member

if TYPE_CHECKING:
    from botocore.model import OperationModel, ServiceModel

_PROTOCOL = ("smithy-protocol", "rpc-v2-cbor")
_TYPES = (str, bytes, bool, int, float, list, dict)


def load(body: bytes) -> Any:
    """Python values of the first CBOR item; anything malformed is refused."""
    try:
        return cbor2.loads(body)
    except (cbor2.CBORDecodeError, ValueError, TypeError, OverflowError, MemoryError, ArithmeticError) as error:
        raise SerializationError(f"Could not parse the request body as CBOR: {error!s:.200}") from error


def parse(operation: OperationModel, request: Request, labels: Mapping[str, str]) -> dict[str, Any]:
    """The parameters of a request; an empty body is an empty map."""
    shape = operation.input_shape
    value = load(request.body) if request.body else {}
    if shape is None:
        return {}
    found: dict[str, Any] = read_structure(shape, value)
    return found


# -- in ---------------------------------------------------------------------------------------------------------------


def read(shape: Any, value: Any) -> Any:
    """The parameter that a CBOR value means; null and undefined mean absent."""
    if value is None or value is cbor2.undefined:
        return None
    return _READERS[shape.type_name](shape, value)


def _expect(value: Any, kind: type | tuple[type, ...], wanted: str) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise SerializationError(f"A {type(value).__name__} can not be converted to {wanted}")
    return value


def read_structure(shape: Any, value: Any) -> Any:
    """The members of a structure that a map holds."""
    _expect(value, Mapping, "a structure")
    found: dict[str, Any] = {}
    for name, _, member in members(shape):
        item = read(member, value.get(name))
        if item is not None:
            found[name] = item
    return found


def _read_timestamp(shape: Any, value: Any) -> Any:
    # Tag 1 is decoded by cbor2; a bare number is taken for epoch seconds all the same.
    try:
        return aware(_expect(value, (int, float, _datetime), "a Timestamp"))
    except (ValueError, OverflowError) as error:
        raise SerializationError("Timestamp out of range") from error


def _whole(value: Any, limit: int, wanted: str) -> int:
    _expect(value, (int, float), wanted)
    if isinstance(value, float) and not value.is_integer():
        raise SerializationError(f"A float can not be converted to {wanted}")
    return bounded(int(value), limit)


_datetime = type(aware(0))

_READERS: dict[str, Callable[[Any, Any], Any]] = {
    "structure": read_structure,
    "list": lambda shape, value: [read(shape.member, item) for item in _expect(value, (list, tuple), "a list")],
    "map": lambda shape, value: {
        _expect(key, str, "a String"): read(shape.value, item) for key, item in _expect(value, Mapping, "a map").items()
    },
    "string": lambda shape, value: _expect(value, str, "a String"),
    "character": lambda shape, value: _expect(value, str, "a String"),
    "boolean": lambda shape, value: _expect(value, bool, "a Boolean"),
    "integer": lambda shape, value: _whole(value, INTEGER_LIMIT, "an Integer"),
    "long": lambda shape, value: _whole(value, LONG_LIMIT, "a Long"),
    "float": lambda shape, value: float(_expect(value, (int, float), "a Float")),
    "double": lambda shape, value: float(_expect(value, (int, float), "a Double")),
    "blob": lambda shape, value: _expect(value, bytes, "a Blob"),
    "timestamp": _read_timestamp,
}


# -- out --------------------------------------------------------------------------------------------------------------


def write(shape: Any, value: Any) -> Any:
    """The CBOR value of a result; members that are None, or that the shape lacks, are left out of structures."""
    return None if value is None else _WRITERS[shape.type_name](shape, value)


def _write_structure(shape: Any, value: Any) -> Any:
    table = member_table(shape)
    return {name: write(table[name].shape, item) for name, item in value.items() if item is not None and name in table}


_WRITERS: dict[str, Callable[[Any, Any], Any]] = {
    "structure": _write_structure,
    "list": lambda shape, value: [write(shape.member, item) for item in value],
    "map": lambda shape, value: {str(key): write(shape.value, item) for key, item in value.items()},
    "string": lambda shape, value: str(value),
    "character": lambda shape, value: str(value),
    "boolean": lambda shape, value: bool(value),
    "integer": lambda shape, value: int(value),
    "long": lambda shape, value: int(value),
    "float": lambda shape, value: float(value),
    "double": lambda shape, value: float(value),
    "blob": lambda shape, value: as_bytes(value),
    "timestamp": lambda shape, value: cbor2.CBORTag(1, epoch(value)),
}


def respond(operation: OperationModel, result: Mapping[str, Any]) -> Response:
    """The answer of an operation that succeeded; one without an output has no body."""
    shape = operation.output_shape
    if shape is None:
        return Response(200, [_PROTOCOL], b"")
    if shape.event_stream_name:
        return eventstream.respond(operation, result, [_PROTOCOL])
    content = cbor2.dumps(_write_structure(shape, result))
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
        content.update(_write_structure(shape, members))
    headers = [_PROTOCOL, ("Content-Type", "application/cbor")]
    if service_model.is_query_compatible:
        headers.append(("x-amzn-query-error", query_error(shape, code, status)))
    return Response(status, headers, cbor2.dumps(content))
