"""RecordIO framing and SageMaker's protobuf `Record`, read and written by hand.

Owns the bytes of `application/x-recordio-protobuf`: MXNet's RecordIO (magic, length, 4 byte padding) around a message
`Record{map<string, Value> features = 1, label = 2}`, whose Value is a float32, float64 or int32 tensor
(`values`, sparse `keys`, `shape`). Knows no numpy and no model; a protobuf library would cost import time and memory.
"""

from __future__ import annotations

import struct
import sys
from array import array
from typing import Dict, Iterable, Iterator, List, NamedTuple, Sequence, Tuple, Union

MAGIC = 0xCED7230A
_HEAD = struct.Struct("<II")
_FLAG_SHIFT, _LENGTH_MASK = 29, (1 << 29) - 1
_CODES = {2: "f", 3: "d", 7: "i"}  # Value's oneof: float32_tensor, float64_tensor, int32_tensor


class RecordError(ValueError):
    """The bytes are not RecordIO with protobuf records."""


class Tensor(NamedTuple):
    """One feature or label: `values`, and for a sparse one the index of each in `keys` and the full length in `shape`."""

    values: Sequence[float]
    keys: Sequence[int]
    shape: Sequence[int]


class Record(NamedTuple):
    features: Dict[str, Tensor]
    label: Dict[str, Tensor]


def split(data: bytes) -> Iterator[bytes]:
    """The records' bytes in order; multi-part records are joined (their parts are separated by the magic they could not hold)."""
    at, end = 0, len(data)
    parts: List[bytes] = []
    while at < end:
        if end - at < 8:
            raise RecordError("RecordIO data is truncated")
        magic, word = _HEAD.unpack_from(data, at)
        if magic != MAGIC:
            raise RecordError("data is not RecordIO")
        flag, size = word >> _FLAG_SHIFT, word & _LENGTH_MASK
        start = at + 8
        at = start + size + (-size % 4)
        if start + size > end:
            raise RecordError("RecordIO data is truncated")
        part = data[start : start + size]
        if flag == 0:
            yield part
            continue
        parts = [part] if flag == 1 else [*parts, part]
        if flag == 3:
            yield _HEAD.pack(MAGIC, 0)[:4].join(parts)
            parts = []
    if parts:
        raise RecordError("RecordIO data is truncated")


def frame(record: bytes) -> bytes:
    """One record in RecordIO framing."""
    return _HEAD.pack(MAGIC, len(record)) + record + b"\0" * (-len(record) % 4)


def parse(data: bytes) -> Record:
    """A protobuf `Record`; unknown fields are skipped, as protobuf asks."""
    features: Dict[str, Tensor] = {}
    label: Dict[str, Tensor] = {}
    for field, _, value in _fields(data):
        if field in (1, 2) and isinstance(value, bytes):
            key, tensor = _entry(value)
            (features if field == 1 else label)[key] = tensor
    return Record(features, label)


def _entry(data: bytes) -> Tuple[str, Tensor]:
    key, tensor = "", Tensor((), (), ())
    for field, _, value in _fields(data):
        if field == 1 and isinstance(value, bytes):
            key = value.decode("utf-8", "replace")
        elif field == 2 and isinstance(value, bytes):
            for kind, _, body in _fields(value):
                if kind in _CODES and isinstance(body, bytes):
                    tensor = _tensor(body, _CODES[kind])
    return key, tensor


def _tensor(data: bytes, code: str) -> Tensor:
    values: array[float] = array(code)
    keys: List[int] = []
    shape: List[int] = []
    for field, wire, value in _fields(data):
        if field == 1:
            _add_values(values, code, wire, value)
        elif field in (2, 3):
            into = keys if field == 2 else shape
            if isinstance(value, bytes):
                at = 0
                while at < len(value):
                    number, at = _varint(value, at)
                    into.append(number)
            else:
                into.append(value)
    return Tensor(values, keys, shape)


def _add_values(values: array[float], code: str, wire: int, value: Union[int, bytes]) -> None:
    """Packed and unpacked forms of the three element types."""
    if code == "i":
        numbers = [value] if isinstance(value, int) else []
        at = 0
        while isinstance(value, bytes) and at < len(value):
            number, at = _varint(value, at)
            numbers.append(number)
        values.extend(((n & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000 for n in numbers)
        return
    if not isinstance(value, bytes) or len(value) % values.itemsize:
        raise RecordError("a tensor's values are malformed")
    more: array[float] = array(code)
    more.frombytes(value)
    if sys.byteorder == "big":
        more.byteswap()
    values.extend(more)


def _fields(data: bytes) -> Iterator[Tuple[int, int, Union[int, bytes]]]:
    """`(field number, wire type, value)`; fixed32 and fixed64 stay bytes."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        wire = tag & 7
        if wire == 0:
            number, at = _varint(data, at)
            yield tag >> 3, wire, number
            continue
        if wire == 2:
            size, at = _varint(data, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise RecordError("data is not a protobuf record")
        if at + size > end:
            raise RecordError("a protobuf record is truncated")
        yield tag >> 3, wire, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> Tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise RecordError("a protobuf record is truncated")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def build(features: Dict[str, Sequence[float]], label: Dict[str, Sequence[float]]) -> bytes:
    """A protobuf `Record` of dense float32 tensors."""
    return b"".join(_pack_entry(1, k, v) for k, v in features.items()) + b"".join(
        _pack_entry(2, k, v) for k, v in label.items()
    )


def write(records: Iterable[bytes]) -> bytes:
    """RecordIO of protobuf records made by `build`."""
    return b"".join(frame(r) for r in records)


def _pack_entry(field: int, key: str, values: Sequence[float]) -> bytes:
    numbers = array("f", values)
    if sys.byteorder == "big":
        numbers.byteswap()
    tensor = _sized(1, numbers.tobytes())
    return _sized(field, _sized(1, key.encode()) + _sized(2, _sized(2, tensor)))


def _sized(field: int, body: bytes) -> bytes:
    return _encode(field << 3 | 2) + _encode(len(body)) + body


def _encode(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
