"""Records of objects: the same ones however the bytes arrive, and none too large."""

from __future__ import annotations

import io
import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clary.toolkit.transform.splitting import (
    LINE,
    MULTI,
    NONE,
    RECORD_IO,
    SINGLE,
    TF_RECORD,
    BadRecord,
    Splitter,
    batches,
    blocks,
)


def record_io(body: bytes) -> bytes:
    """Amazon's RecordIO: magic word, length, the body padded to four bytes."""
    return struct.pack("<II", 0xCED7230A, len(body)) + body + b"\0" * (-len(body) % 4)


def tf_record(body: bytes) -> bytes:
    return struct.pack("<QI", len(body), 1) + body + struct.pack("<I", 2)


def split(kind: str, pieces: list[bytes], most: int = 0) -> list[bytes]:
    splitter = Splitter(kind, most)
    return [record for piece in pieces for record in splitter.feed(piece)] + splitter.finish()


def cut(content: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(content), *(place % (len(content) + 1) for place in places)})
    return [content[a:b] for a, b in pairwise(edges)]


@given(st.binary(max_size=60).map(lambda body: body.replace(b"b", b"\n")), st.lists(st.integers(0, 100), max_size=6))
def test_lines_keep_their_newline_however_the_bytes_arrive(content: bytes, places: list[int]) -> None:
    records = split(LINE, cut(content, places))
    assert b"".join(records) == content
    assert all(record.count(b"\n") == 1 and record.endswith(b"\n") for record in records[:-1])
    assert not records or records[-1].count(b"\n") <= 1


@pytest.mark.parametrize(("kind", "framed"), [(RECORD_IO, record_io), (TF_RECORD, tf_record)])
@given(bodies=st.lists(st.binary(max_size=20), max_size=5), places=st.lists(st.integers(0, 200), max_size=6))
def test_framed_records_keep_their_frame(kind: str, framed: object, bodies: list[bytes], places: list[int]) -> None:
    made = [framed(body) for body in bodies]  # type: ignore[operator]
    assert split(kind, cut(b"".join(made), places)) == made


def test_without_a_split_the_object_is_one_record() -> None:
    assert split(NONE, [b"a\n", b"b\n"]) == [b"a\nb\n"]
    assert split(NONE, []) == []


def test_a_record_that_is_cut_is_named() -> None:
    with pytest.raises(BadRecord, match=r"Record 2 is not whole: .* not RecordIO, or was cut"):
        split(RECORD_IO, [record_io(b"one"), record_io(b"two")[:-1]])


def test_what_is_no_record_io_is_found_at_its_first_bytes() -> None:
    with pytest.raises(BadRecord, match="Record 1 does not begin as RecordIO does"):
        Splitter(RECORD_IO).feed(b"1,2,3\n")


@pytest.mark.parametrize(
    ("kind", "content"),
    [(LINE, b"12345678\n"), (NONE, b"123456789"), (RECORD_IO, record_io(b"x" * 4)), (TF_RECORD, tf_record(b""))],
)
def test_a_record_above_the_largest_is_refused_before_it_is_whole(kind: str, content: bytes) -> None:
    with pytest.raises(BadRecord, match="is larger than MaxPayloadInMB"):
        Splitter(kind, 8).feed(content)


def test_a_long_line_is_searched_once() -> None:
    """Pieces of a line without end: work that grows with each piece's size, not with what is held."""
    splitter = Splitter(LINE)
    for _ in range(3):
        splitter.feed(b"x" * 10)
    assert splitter._seen == 30
    assert splitter.feed(b"\ny") == [b"x" * 30 + b"\n"]
    assert splitter.finish() == [b"y"]


@given(st.lists(st.binary(min_size=1, max_size=9), max_size=20), st.integers(9, 30))
def test_batches_keep_order_and_size(records: list[bytes], most: int) -> None:
    made = list(batches(records, MULTI, most))
    assert [record for batch in made for record in batch] == records
    assert all(sum(map(len, batch)) <= most for batch in made)
    for one, next_one in pairwise(made):  # none could have taken the next record as well
        assert sum(map(len, one)) + len(next_one[0]) > most


def test_single_records_go_alone_and_without_a_bound_all_go_together() -> None:
    assert list(batches([b"a", b"b"], SINGLE, 100)) == [[b"a"], [b"b"]]
    assert list(batches([b"a", b"b"], MULTI, 0)) == [[b"a", b"b"]]
    assert list(batches([], MULTI, 0)) == []


@given(st.lists(st.binary(max_size=30).filter(lambda line: b"\n" not in line), max_size=30), st.integers(31, 90))
def test_blocks_are_whole_lines_as_many_as_fit(lines: list[bytes], most: int) -> None:
    data = b"\n".join(lines)
    found = list(blocks(io.BytesIO(data).read, most))
    assert b"".join(found) == data
    assert all(len(block) <= most for block in found)
    assert all(block.endswith(b"\n") for block in found[:-1])
    for one, other in pairwise(found):
        line = other[: other.find(b"\n") + 1]
        assert not line or len(one) + len(line) > most, "another line would have fitted"


def test_a_line_that_no_block_holds() -> None:
    assert list(blocks(io.BytesIO(b"a\n" + b"b" * 10).read, 10)) == [b"a\n", b"b" * 10]
    with pytest.raises(BadRecord, match="Record 2 is larger than MaxPayloadInMB"):
        list(blocks(io.BytesIO(b"a\n" + b"b" * 11 + b"\nc\n").read, 10))


def test_blocks_may_be_smaller_than_a_line_may_be() -> None:
    data = b"a\n" * 9 + b"b" * 30 + b"\n" + b"c\n"
    found = list(blocks(io.BytesIO(data).read, 40, 8))
    assert b"".join(found) == data
    assert found[:2] == [b"a\n" * 4, b"a\n" * 4]
    assert b"b" * 30 in found[-2] + found[-1]
    with pytest.raises(BadRecord, match="Record 10 is larger"):
        list(blocks(io.BytesIO(data).read, 20, 8))


def test_a_record_of_several_parts_is_one() -> None:
    def part(flag: int, body: bytes) -> bytes:
        return struct.pack("<II", 0xCED7230A, flag << 29 | len(body)) + body + b"\0" * (-len(body) % 4)

    whole = part(1, b"abc") + part(2, b"") + part(3, b"defgh")
    splitter = Splitter(RECORD_IO)
    pieces = [record for byte in whole + part(0, b"x") for record in splitter.feed(bytes([byte]))]
    assert pieces == [whole, part(0, b"x")]
