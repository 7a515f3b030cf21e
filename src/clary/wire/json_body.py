"""JSON values to and from a shape: the body of json 1.0, json 1.1 and rest-json.

Owns: the types (AWS answers SerializationException when a value is of another type), the caps on hostile JSON.
Does not know: headers, operations, files. Unknown members are ignored in requests, as AWS ignores them, and left out
of answers, so that a handler may return a stored document whole.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import orjson

from clary.wire.errors import SerializationError
from clary.wire.scalars import (
    INTEGER_LIMIT,
    LONG_LIMIT,
    bounded,
    decode_blob,
    encode_blob,
    format_timestamp,
    from_epoch,
    parse_float,
    parse_timestamp,
    special_float,
)
from clary.wire.shapes import member_table, members

MAX_DEPTH = 64


def load(body: bytes) -> Any:
    """Python values of a JSON text; malformed, too deep, repeated keys, NaN and overflowing numbers are refused."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise SerializationError(f"Could not parse the request body as JSON: {error}") from error
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and _deeper_than(value, MAX_DEPTH):
        raise SerializationError(f"JSON is nested deeper than {MAX_DEPTH} levels")
    # A repeated key is dropped by the parser, and its colon with it. Escapes could hide a colon, so they take the slow
    # way too; both are rare, and comparing counts is far cheaper than a hook per object.
    if b"\\u003" in body or body.count(b":") != orjson.dumps(value).count(b":"):
        json.loads(body, object_pairs_hook=_refuse_repeated)
    return value


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise SerializationError("A JSON object repeats a key")
    return found


def _deeper_than(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return True


def dump(value: Any) -> bytes:
    """Compact JSON text. Integers beyond 64 bits, which only a document can hold, are printed by the standard library."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _kind(value: Any) -> str:
    if value is None:
        return "NULL_VALUE"
    if isinstance(value, bool):
        return "TRUE_VALUE" if value else "FALSE_VALUE"
    if isinstance(value, (int, float)):
        return "NUMBER_VALUE"
    if isinstance(value, str):
        return "STRING_VALUE"
    return "START_OBJECT" if isinstance(value, dict) else "START_ARRAY"


def _wrong(value: Any, wanted: str) -> SerializationError:
    return SerializationError(f"{_kind(value)} can not be converted to {wanted}")


# -- in ---------------------------------------------------------------------------------------------------------------


def parse(shape: Any, value: Any) -> Any:
    """The parameter that a JSON value means."""
    if value is None:
        return None
    reader = _READERS.get(shape.type_name)
    return value if reader is None else reader(shape, value)


def parse_members(shape: Any, value: Any, wanted: Any = None) -> dict[str, Any]:
    """The members of a structure (or only ``wanted``) that a JSON object holds; null means absent."""
    if not isinstance(value, dict):
        raise _wrong(value, "a structure")
    found: dict[str, Any] = {}
    for name, wire, member in members(shape) if wanted is None else wanted:
        item = value.get(wire)
        if item is not None:
            found[name] = parse(member, item)
    return found


def _read_structure(shape: Any, value: Any) -> Any:
    return value if shape.is_document_type else parse_members(shape, value)


def _read_list(shape: Any, value: Any) -> Any:
    if not isinstance(value, list):
        raise _wrong(value, "a list")
    member = shape.member
    return [parse(member, item) for item in value]


def _read_map(shape: Any, value: Any) -> Any:
    if not isinstance(value, dict):
        raise _wrong(value, "a map")
    inner = shape.value
    return {key: parse(inner, item) for key, item in value.items()}


def _read_string(shape: Any, value: Any) -> Any:
    if not isinstance(value, str):
        raise _wrong(value, "a String")
    return value


def _read_boolean(shape: Any, value: Any) -> Any:
    if not isinstance(value, bool):
        raise _wrong(value, "a Boolean")
    return value


def _whole(value: Any, limit: int, wanted: str) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wrong(value, wanted)
    if isinstance(value, float) and not value.is_integer():
        raise _wrong(value, wanted)
    return bounded(int(value), limit)


def _read_integer(shape: Any, value: Any) -> Any:
    return _whole(value, INTEGER_LIMIT, "an Integer")


def _read_long(shape: Any, value: Any) -> Any:
    return _whole(value, LONG_LIMIT, "a Long")


def _read_float(shape: Any, value: Any) -> Any:
    if isinstance(value, str):
        return parse_float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wrong(value, "a Double")
    return float(value)


def _read_timestamp(shape: Any, value: Any) -> Any:
    if isinstance(value, str):
        return parse_timestamp(value, shape.serialization.get("timestampFormat"))
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wrong(value, "a Timestamp")
    return from_epoch(value)


def _read_blob(shape: Any, value: Any) -> Any:
    if not isinstance(value, str):
        raise _wrong(value, "a Blob")
    return decode_blob(value)


_READERS: dict[str, Callable[[Any, Any], Any]] = {
    "structure": _read_structure,
    "list": _read_list,
    "map": _read_map,
    "string": _read_string,
    "character": _read_string,
    "boolean": _read_boolean,
    "integer": _read_integer,
    "long": _read_long,
    "float": _read_float,
    "double": _read_float,
    "timestamp": _read_timestamp,
    "blob": _read_blob,
}


# -- out --------------------------------------------------------------------------------------------------------------


def serialize(shape: Any, value: Any) -> Any:
    """The JSON value of a result; members that are None, or that the shape lacks, are left out."""
    if value is None:
        return None
    writer = _WRITERS.get(shape.type_name)
    return value if writer is None else writer(shape, value)


def serialize_members(shape: Any, value: Any, wanted: Any = None) -> dict[str, Any]:
    """The JSON object of a structure, or of only its ``wanted`` members."""
    table = member_table(shape) if wanted is None else {member.name: member for member in wanted}
    written: dict[str, Any] = {}
    for name, item in value.items():
        if item is not None and name in table:
            _, wire, member = table[name]
            written[wire] = serialize(member, item)
    return written


def _write_structure(shape: Any, value: Any) -> Any:
    return value if shape.is_document_type else serialize_members(shape, value)


def _write_list(shape: Any, value: Any) -> Any:
    member = shape.member
    return [serialize(member, item) for item in value]


def _write_map(shape: Any, value: Any) -> Any:
    inner = shape.value
    return {str(key): serialize(inner, item) for key, item in value.items()}


_WRITERS: dict[str, Callable[[Any, Any], Any]] = {
    "structure": _write_structure,
    "list": _write_list,
    "map": _write_map,
    "string": lambda shape, value: str(value),
    "boolean": lambda shape, value: bool(value),
    "integer": lambda shape, value: int(value),
    "long": lambda shape, value: int(value),
    "float": lambda shape, value: special_float(value),
    "double": lambda shape, value: special_float(value),
    "timestamp": lambda shape, value: format_timestamp(
        value, shape.serialization.get("timestampFormat", "unixTimestamp")
    ),
    "blob": lambda shape, value: encode_blob(value),
}
