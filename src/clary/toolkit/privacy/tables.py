"""Files of rows: CSV, JSON lines (or one JSON list), Parquet; text also within gzip. Search, rewrite, sample.

Text is read record by record and kept rows stay as they were, byte for byte; Parquet goes by batches into the same schema and codec.
Memory does not grow with the file, but for a JSON list, which is refused beyond LIST bytes.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import zlib
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from clary.toolkit.privacy.where import PersonCondition, captured, meant, reached, same

CSV, LINES, LIST, PARQUET = "CSV", "JSON lines", "JSON list", "Parquet"
RECORD = 64 << 20  # bytes of the longest record of text
LIST_BYTES = 64 << 20
BATCH = 16384  # rows of Parquet
_HEAD = 1 << 16
_DELIMITERS = (",", ";", "\t", "|")


class UnreadableTable(Exception):
    """Not a table that this module reads; its text says why, and repeats nothing of the content."""


@dataclass(frozen=True)
class RowsFound:
    """What is in a file: rows of all and rows that are meant; `there`: whether it has the column at all."""

    rows: int = 0
    matched: int = 0
    there: bool = False


@dataclass(frozen=True)
class TextLayout:
    """How a file of text is read: its form, and for CSV what stands between cells and whether a header line comes first."""

    form: str
    delimiter: str = ","
    names: Tuple[str, ...] = ()
    headed: bool = True


def form_of(path: str) -> str:
    """By its content, never by its name alone: an object may be called anything. "" for an empty file."""
    with open(path, "rb") as file:
        head = file.read(4)
    if head == b"PAR1":
        return PARQUET
    try:
        with opened(path) as stream:
            text = stream.read(_HEAD)
    except (OSError, EOFError, zlib.error) as error:
        raise UnreadableTable("it cannot be unpacked: {}".format(type(error).__name__)) from error
    stripped = text.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not stripped:
        return ""
    if b"\0" in text:
        raise UnreadableTable("it is neither text nor Parquet")
    return {b"{": LINES, b"[": LIST}.get(stripped[:1], CSV)


def opened(path: str) -> BinaryIO:
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if packed else open(path, "rb")  # type: ignore[return-value]


def search(path: str, where: PersonCondition) -> RowsFound:
    return _through(path, where, None)


def rewrite(path: str, where: PersonCondition, target: str) -> RowsFound:
    """`target` becomes the file without the rows that are meant."""
    return _through(path, where, target)


def _through(path: str, where: PersonCondition, target: Optional[str]) -> RowsFound:
    form = form_of(path)
    try:
        if form == PARQUET:
            return _parquet(path, where, target)
        with opened(path) as source, _written(path, target) as out:
            if form == CSV:
                return _csv(source, where, out)
            return _list(source, where, out) if form == LIST else _lines(source, where, out)
    except (OSError, EOFError, zlib.error) as error:
        raise UnreadableTable("it cannot be read to its end: {}".format(type(error).__name__)) from error


def _written(path: str, target: Optional[str]) -> BinaryIO:
    if target is None:
        return io.BytesIO()
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(target, "wb") if packed else open(target, "wb")  # type: ignore[return-value]


# -- text ---------------------------------------------------------------------------------------------------------------------


def records(source: BinaryIO) -> Iterator[bytes]:
    """The records of CSV with their line ends: a line break within quotes does not end one."""
    held: List[bytes] = []
    size, odd = 0, False
    for line in source:
        held.append(line)
        size += len(line)
        if size > RECORD:
            raise UnreadableTable("a record is longer than {} bytes: a quote may not be closed".format(RECORD))
        odd ^= line.count(b'"') % 2 == 1
        if not odd:
            yield b"".join(held)
            held, size = [], 0
    if held:
        raise UnreadableTable("a quote is not closed at its end")


def cells(record: bytes, delimiter: str = ",") -> List[str]:
    text = record.decode("utf-8-sig", "surrogateescape")
    return next(
        csv.reader(
            [text.rstrip("\r\n")] if "\n" not in text.rstrip("\r\n") else io.StringIO(text), delimiter=delimiter
        ),
        [],
    )


def layout(first: bytes, column: str, names: Sequence[str]) -> TextLayout:
    """Of the first record: its header line where the column stands in it; else `names`; else no columns are known."""
    for delimiter in _DELIMITERS:
        header = [each.strip() for each in cells(first, delimiter)]
        if column in header:
            return TextLayout(CSV, delimiter, tuple(header))
    delimiter = max(_DELIMITERS, key=lambda each: len(cells(first, each)))
    fits = bool(names) and len(names) == len(cells(first, delimiter))
    return TextLayout(CSV, delimiter, tuple(names) if fits else (), headed=False)


def _csv(source: BinaryIO, where: PersonCondition, out: BinaryIO) -> RowsFound:
    first, how, hint = True, TextLayout(CSV), where.hint()
    rows = matched = 0
    for record in records(source):
        if first:
            first = False
            how = layout(record, where.column, where.names)
            if how.headed:
                _keep(out, record)
                continue
        rows += 1
        near = where.column in how.names and (hint is None or hint in record)
        if near and where.holds(dict(zip(how.names, cells(record, how.delimiter)))):
            matched += 1
        else:
            _keep(out, record)
    return RowsFound(rows, matched, where.column in how.names)


def _lines(source: BinaryIO, where: PersonCondition, out: BinaryIO) -> RowsFound:
    found, hint, rows = RowsFound(), where.hint(), 0
    for rows, line in enumerate(source, 1):
        near = hint is None or rows == 1 or b'"BASE64"' in line or b"\\u" in line or hint in line
        if near and line.strip():
            try:
                document = json.loads(line.decode("utf-8-sig", "surrogateescape"))
            except ValueError:
                raise UnreadableTable("line {} is not JSON".format(rows)) from None
            there = found.there or _there(document, where)
            found = replace(found, there=there)
            if meant(document, where):
                found = replace(found, matched=found.matched + 1, there=True)
                continue
        _keep(out, line)
    return replace(found, rows=rows)


def _list(source: BinaryIO, where: PersonCondition, out: BinaryIO) -> RowsFound:
    text = source.read(LIST_BYTES + 1)
    if len(text) > LIST_BYTES:
        raise UnreadableTable("a JSON list of more than {} bytes; JSON lines have no limit".format(LIST_BYTES))
    try:
        documents = json.loads(text.decode("utf-8-sig", "surrogateescape"))
    except ValueError:
        raise UnreadableTable("it is not JSON") from None
    kept = [each for each in documents if not meant(each, where)]
    _keep(out, json.dumps(kept).encode())
    return RowsFound(len(documents), len(documents) - len(kept), any(_there(each, where) for each in documents[:100]))


def _there(document: Any, where: PersonCondition) -> bool:
    """Whether a line has the columns; a capture tells nothing of itself: its rows are looked for wherever they are."""
    if isinstance(document, Mapping) and "captureData" in document:
        return True
    return reached(document, where.column) is not None


def _keep(out: BinaryIO, record: bytes) -> None:
    if not isinstance(out, io.BytesIO):  # a search writes nothing
        out.write(record)


# -- Parquet ------------------------------------------------------------------------------------------------------------------


def _parquet(path: str, where: PersonCondition, target: Optional[str]) -> RowsFound:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            rows = file.metadata.num_rows
            if where.column not in file.schema_arrow.names:
                return RowsFound(rows, 0, there=False)
            if target is None:
                return RowsFound(rows, sum(mask.count(True) for mask in _masks(file, where)), there=True)
            return _without(file, where, target)
    except (pyarrow.ArrowException, OSError) as error:
        raise UnreadableTable("it is not whole Parquet: {}".format(type(error).__name__)) from error


def _masks(file: Any, where: PersonCondition) -> Iterator[List[bool]]:
    for batch in file.iter_batches(batch_size=BATCH, columns=[where.column]):
        yield _mask(batch, where)


def _mask(batch: Any, where: PersonCondition) -> List[bool]:
    values = batch.column(batch.schema.get_field_index(where.column)).to_pylist()
    return [same(each, where.value) for each in values]


def _without(file: Any, where: PersonCondition, target: str) -> RowsFound:
    import pyarrow
    import pyarrow.parquet

    codec = file.metadata.row_group(0).column(0).compression.lower() if file.metadata.num_row_groups else "snappy"
    rows = matched = 0
    with pyarrow.parquet.ParquetWriter(
        target, file.schema_arrow, compression="none" if codec == "uncompressed" else codec
    ) as writer:
        for batch in file.iter_batches(batch_size=BATCH):
            mask = _mask(batch, where)
            rows, matched = rows + len(mask), matched + mask.count(True)
            writer.write_batch(batch.filter(pyarrow.array([not each for each in mask], pyarrow.bool_())))
    return RowsFound(rows, matched, there=True)


# -- samples ------------------------------------------------------------------------------------------------------------------


def sample(path: str, rows: int, names: Sequence[str]) -> List[Dict[str, Any]]:
    """The first rows, by column. CSV has a header line unless `names` fits, or a cell of it is empty or begins with a digit: then columns
    are _c0, _c1 ..."""
    form = form_of(path)
    if form == PARQUET:
        import pyarrow.parquet

        with pyarrow.parquet.ParquetFile(path) as file:
            batch = next(file.iter_batches(batch_size=rows), None)
            return [] if batch is None else list(batch.to_pylist())
    with opened(path) as source:
        if form == CSV:
            return _sampled(list(itertools.islice(records(source), rows + 1)), names)
        if form == LIST:
            documents = json.loads(source.read(LIST_BYTES).decode("utf-8", "replace"))[:rows]
        else:
            documents = [json.loads(line) for line in itertools.islice(source, rows) if line.strip()]
    found: List[Dict[str, Any]] = []
    for each in documents:
        if isinstance(each, Mapping) and isinstance(each.get("captureData"), Mapping):
            found.extend(dict(row) for row in captured(each["captureData"], names))
        elif isinstance(each, Mapping):
            found.append(_flat(each))
    return found


def _sampled(taken: List[bytes], names: Sequence[str]) -> List[Dict[str, Any]]:
    if not taken:
        return []
    how = layout(taken[0], "", names)
    first = cells(taken[0], how.delimiter)
    headed = not how.names and all(each.strip() and not each.strip()[0].isdigit() and "@" not in each for each in first)
    columns = how.names or (first if headed else ["_c{}".format(at) for at in range(len(first))])
    return [dict(zip(columns, cells(each, how.delimiter))) for each in taken[1 if headed else 0 :]]


def _flat(document: Mapping[str, Any], before: str = "") -> Dict[str, Any]:
    flat: Dict[str, Any] = {}
    for name, value in document.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, before + name + "."))
        else:
            flat[before + name] = value
    return flat
