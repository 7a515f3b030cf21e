"""CBOR values to and from a shape. Does not know: headers, errors, event streams."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import cbor2

from clary.wire.errors import SerializationError
from clary.wire.scalars import INTEGER_LIMIT, LONG_LIMIT, as_bytes, aware, bounded, epoch
from clary.wire.shapes import member_table, members


def load(body: bytes) -> Any:
    """Python values of the first CBOR item; anything malformed is refused."""
    try:
        return cbor2.loads(body)
    except (cbor2.CBORDecodeError, ValueError, TypeError, OverflowError, MemoryError, ArithmeticError) as error:
        raise SerializationError(f"Could not parse the request body as CBOR: {error!s:.200}") from error


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
