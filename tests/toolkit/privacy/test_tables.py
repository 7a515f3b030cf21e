"""Files without a person's rows: what is kept stays as it was, byte for byte."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from clary.toolkit.privacy import tables
from clary.toolkit.privacy.tables import RowsFound, UnreadableTable
from clary.toolkit.privacy.where import PersonCondition

ADA = PersonCondition("id", "ada")


def without(folder: Path, content: bytes, where: PersonCondition = ADA) -> tuple[RowsFound, bytes]:
    source, target = folder / "source", folder / "target"
    source.write_bytes(content)
    found = tables.rewrite(str(source), where, str(target))
    assert tables.search(str(source), where) == found
    assert tables.search(str(target), where).matched == 0
    return found, target.read_bytes()


@pytest.mark.parametrize(
    ("content", "kept", "matched"),
    [
        (b"id,x\nada,1\nbob,2\n", b"id,x\nbob,2\n", 1),
        (
            b'id,note\r\n"ada","two\r\nlines"\r\nbob,"say ""hi""\r\nada,no row"\r\n',
            b'id,note\r\nbob,"say ""hi""\r\nada,no row"\r\n',
            1,
        ),
        (b"\xef\xbb\xbfid;x\nada;1\nbob;2", b"\xef\xbb\xbfid;x\nbob;2", 1),
        (b"x\tid\n1\tada\n2\tb\xe4d\n", b"x\tid\n2\tb\xe4d\n", 1),
        (b"id,x\nada,1\nada,2\n", b"id,x\n", 2),
        (b"id,x\nadam,ada\n", b"id,x\nadam,ada\n", 0),
        (b"id,x\nbob,1", b"id,x\nbob,1", 0),
        (b'{"id": "ada"}\n{"id":  "bob"}\n', b'{"id":  "bob"}\n', 1),
        (b'{"id": "\\u0061da"}\n{"id": "bob"}\n', b'{"id": "bob"}\n', 1),
        (b'[{"id": "ada"}, {"id": "bob"}]', b'[{"id": "bob"}]', 1),
    ],
)
def test_text(tmp_path: Path, content: bytes, kept: bytes, matched: int) -> None:
    found, written = without(tmp_path, content)
    assert (found.matched, found.there, written) == (matched, True, kept)
    _, packed = without(tmp_path, gzip.compress(content))
    assert gzip.decompress(packed) == kept


def test_csv_without_a_header_line_needs_names(tmp_path: Path) -> None:
    assert without(tmp_path, b"1,ada\n2,bob\n")[0] == RowsFound(2, 0, there=False)
    named = PersonCondition("id", "ada", ("x", "id"))
    assert without(tmp_path, b"1,ada\n2,bob\n", named) == (RowsFound(2, 1, there=True), b"2,bob\n")


def test_numbers_have_several_spellings(tmp_path: Path) -> None:
    found, kept = without(tmp_path, b"id,x\n7,1\n7.0,2\n007,3\n70,4\n", PersonCondition("id", "7"))
    assert (found.matched, kept) == (2, b"id,x\n007,3\n70,4\n")


@pytest.mark.parametrize("codec", ["zstd", "snappy", "none"])
def test_parquet_keeps_schema_codec_and_metadata(tmp_path: Path, codec: str) -> None:
    ids = pyarrow.array(["ada", "bob", None] * 20_000).dictionary_encode()
    table = pyarrow.table({"id": ids, "n": pyarrow.array(range(60_000), pyarrow.int32())}).replace_schema_metadata(
        {"a": "b"}
    )
    source, target = tmp_path / "source", tmp_path / "target"
    pyarrow.parquet.write_table(table, source, compression=codec, row_group_size=7_000)
    assert tables.search(str(source), ADA) == RowsFound(60_000, 20_000, there=True)
    tables.rewrite(str(source), ADA, str(target))
    written = pyarrow.parquet.read_table(target)
    assert written.schema.equals(table.schema, check_metadata=True)
    assert written.column("n").to_pylist() == [n for n in range(60_000) if n % 3]
    packed = pyarrow.parquet.ParquetFile(target).metadata.row_group(0).column(1).compression
    assert packed == {"none": "UNCOMPRESSED"}.get(codec, codec.upper())
    assert tables.search(str(source), PersonCondition("n", "7")).matched == 1
    assert tables.search(str(source), PersonCondition("other", "7")) == RowsFound(60_000, 0, there=False)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\x00\x01\x02\x03 something", "neither text nor Parquet"),
        (b'id,x\nada,"1\nbob,2\n', "a quote is not closed"),
        (b'{"id": "ada"}\nnot JSON, ada\n', "line 2 is not JSON"),
        (b"[1, 2", "not JSON"),
        (b"PAR1 and no more", "not whole Parquet"),
        (gzip.compress(b"id,x\n" + b"ada,1\n" * 100_000)[:-20], "cannot be"),
    ],
)
def test_what_cannot_be_searched_says_why_and_not_what_is_in_it(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "source").write_bytes(content)
    with pytest.raises(UnreadableTable, match=why) as caught:
        tables.search(str(tmp_path / "source"), ADA)
    assert "ada" not in str(caught.value)


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    assert without(tmp_path, b"")[0] == RowsFound()


def test_samples(tmp_path: Path) -> None:
    path = tmp_path / "source"
    path.write_bytes(b"a,b\n1,2\n3,4\n5,6\n")
    assert tables.sample(str(path), 2, ()) == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]
    path.write_bytes(b"1,x@example.org\n")
    assert tables.sample(str(path), 2, ()) == [{"_c0": "1", "_c1": "x@example.org"}]
    path.write_text(json.dumps({"user": {"id": 1}}) + "\n")
    assert tables.sample(str(path), 2, ()) == [{"user.id": 1}]
