"""RecordIO and protobuf records, by hand-made bytes and round trips."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clary.toolkit import recordio

FLOATS = st.lists(st.floats(width=32, allow_nan=False), max_size=20)


@given(st.lists(st.tuples(FLOATS, FLOATS), max_size=5))
def test_what_is_written_is_read(rows: list[tuple[list[float], list[float]]]) -> None:
    data = recordio.write(recordio.build({"values": f}, {"values": v}) for f, v in rows)
    found = [recordio.parse(part) for part in recordio.split(data)]
    assert [(list(r.features["values"].values), list(r.label["values"].values)) for r in found] == rows


def test_sparse_float64_and_int32_tensors() -> None:
    def sized(field: int, body: bytes) -> bytes:
        return bytes([field << 3 | 2, len(body)]) + body

    double = sized(3, sized(1, struct.pack("<2d", 1.5, -2)) + sized(2, b"\x00\x05") + sized(3, b"\x0a"))
    integers = sized(7, sized(1, b"\x03" + b"\xff" * 9 + b"\x01"))  # 3 and -1
    record = sized(1, sized(1, b"values") + sized(2, double)) + sized(2, sized(1, b"values") + sized(2, integers))
    parsed = recordio.parse(record + sized(4, b"metadata") + b"\x28\x07")
    tensor = parsed.features["values"]
    assert (list(tensor.values), tensor.keys, tensor.shape) == ([1.5, -2.0], [0, 5], [10])
    assert list(parsed.label["values"].values) == [3, -1]


def test_unpacked_values() -> None:
    tensor = b"\x0d" + struct.pack("<f", 2.5) + b"\x0d" + struct.pack("<f", 3.5)
    value = bytes([2 << 3 | 2, len(tensor)]) + tensor
    entry = b"\x0a\x06values" + bytes([2 << 3 | 2, len(value)]) + value
    assert list(recordio.parse(bytes([0x0A, len(entry)]) + entry).features["values"].values) == [2.5, 3.5]


def test_parts_are_joined_by_the_magic() -> None:
    magic = struct.pack("<I", recordio.MAGIC)

    def part(flag: int, body: bytes) -> bytes:
        return magic + struct.pack("<I", flag << 29 | len(body)) + body + b"\0" * (-len(body) % 4)

    data = part(1, b"abc") + part(2, b"de") + part(3, b"f") + part(0, b"whole")
    assert list(recordio.split(data)) == [b"abc" + magic + b"de" + magic + b"f", b"whole"]


@pytest.mark.parametrize(
    "data", [b"1,2,3", b"\x0a\x23\xd7\xce", recordio.frame(b"abcdef")[:-3], recordio.frame(b"x")[:6]]
)
def test_what_is_not_recordio(data: bytes) -> None:
    with pytest.raises(recordio.RecordError):
        list(recordio.split(data))


@given(st.binary(max_size=60))
def test_any_bytes_are_a_record_or_an_error(data: bytes) -> None:
    try:
        recordio.parse(data)
    except recordio.RecordError:
        pass
