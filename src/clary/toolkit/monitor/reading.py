"""Datasets -> profiles: CSV, JSON, Parquet and captured requests. Rows of each shape (columns) have a profile of their own."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple
from typing import Counter as Counts

from clary.toolkit.monitor import captured
from clary.toolkit.monitor.captured import CapturedRow, Field
from clary.toolkit.monitor.contract import Unusable
from clary.toolkit.monitor.profile import Profile

BATCH = 20_000  # rows that are held at a time
_BLOCK = 8 << 20  # bytes of a CSV file that are parsed at a time
_QUICK = ("int64", "double", "string", "null")  # types that a CSV file's columns may be read as
_SHAPES = 8  # kinds of rows that are told apart
Shape = Tuple[int, Tuple[str, ...]]  # number of the answer's fields, names of all of them


class Dataset:
    """What was read: a profile for each shape, the most frequent first, and what became of records that gave no rows."""

    def __init__(self) -> None:
        self.shapes: Dict[Shape, Profile] = {}
        self.counts: Counts[str] = Counter()

    @property
    def rows(self) -> int:
        return sum(profile.rows for profile in self.shapes.values())

    def main(self) -> Tuple[int, Profile]:
        """Of the shape that most rows have: how many of its columns are the answer's, and its profile."""
        shape = max(self.shapes, key=lambda each: self.shapes[each].rows)
        return shape[0], self.shapes[shape]

    def profile(self, outputs: int, names: Sequence[str]) -> Optional[Profile]:
        """The profile of that shape; None where there are too many shapes already."""
        shape = (outputs, tuple(names))
        if shape not in self.shapes:
            if len(self.shapes) >= _SHAPES:
                return None
            self.shapes[shape] = Profile(list(names))
        return self.shapes[shape]

    def merge(self, other: "Dataset") -> None:
        """Take what was read elsewhere in."""
        for shape, profile in other.shapes.items():
            own = self.profile(*shape)
            if own is None:
                self.counts["of other shapes"] += profile.rows
            else:
                own.merge(profile)
        self.counts.update(other.counts)

    def add(self, rows: Iterable[CapturedRow], pool: Any) -> None:
        """Rows of any shapes."""
        import pyarrow as pa

        by_shape: Dict[Shape, List[List[str]]] = {}
        for row in rows:
            fields = [*row.output, *row.input]
            by_shape.setdefault((len(row.output), named(fields)), []).append([value for _, value in fields])
        for (outputs, names), values in by_shape.items():
            profile = self.profile(outputs, names)
            if profile is None:
                self.counts["of other shapes"] += len(values)
                continue
            profile.update([pa.array(column, pa.string()) for column in zip(*values)], pool)


def records(kind: str, options: Mapping[str, Any], source: str) -> Iterator[List[Field]]:
    """The rows of CSV, JSON or Parquet files one by one, as fields with names."""
    for path in captured.files(source):
        if kind.lower() == "csv":
            yield from _csv_records(path, _option(options, "header", True))
        elif kind.lower() == "json":
            for value in _json_values(path, options, Counter()):
                yield captured.flat(value)
        elif kind.lower() == "parquet":
            from pyarrow import parquet

            for batch in parquet.ParquetFile(path).iter_batches(batch_size=BATCH):
                for row in batch.to_pylist():
                    yield captured.flat(row)
        else:
            raise Unusable(f"dataset_format {kind!r} is not known: it is csv, json, parquet or sagemakerCaptureJson.")


def _csv_records(path: str, header: bool) -> Iterator[List[Field]]:
    import csv

    with open(path, newline="", encoding="utf-8-sig", errors="replace") as file:
        rows = csv.reader(file)
        names = [name.strip() for name in next(rows, [])] if header else []
        for row in rows:
            if row:
                yield [(names[place] if place < len(names) else "", value) for place, value in enumerate(row)]


def named(fields: Sequence[Field]) -> Tuple[str, ...]:
    """Unique names: those that have none are `_c0`, `_c1` ... by their place, as AWS's."""
    names: List[str] = []
    for place, (name, _) in enumerate(fields):
        name = name or f"_c{place}"
        names.append(name if name not in names else f"{name}_{place}")
    return tuple(names)


def read(
    form: Mapping[str, Any],
    source: str,
    window: Tuple[str, str],
    handler: Optional[Callable[..., Any]] = None,
    logger: Any = None,
) -> Dataset:
    """The dataset of a folder. Unusable says which file cannot be read, and why."""
    kind, options = next(iter(form.items()))
    options = options if isinstance(options, dict) else {}
    readers = {"csv": _csv, "json": _json, "parquet": _parquet}
    dataset = Dataset()
    with ThreadPoolExecutor(max_workers=int(os.environ.get("CLARY_CPUS") or os.cpu_count() or 1)) as pool:
        if kind == "sagemakerCaptureJson":
            _captured(dataset, source, window, handler, logger, pool)
            return dataset
        if kind.lower() not in readers:
            raise Unusable(f"dataset_format {kind!r} is not known: it is csv, json, parquet or sagemakerCaptureJson.")
        paths = captured.files(source)
        for path in paths:
            if handler is not None:
                dataset.add(_handled(path, kind, options, handler, logger), pool)
            else:
                readers[kind.lower()](dataset, path, options, pool)
    dataset.counts["captured"] = dataset.rows
    return dataset


def _captured(dataset: Dataset, source: str, window: Tuple[str, str], handler: Any, logger: Any, pool: Any) -> None:
    lines = captured.Lines(source, *window)
    dataset.counts = lines.counts

    def rows() -> Iterator[CapturedRow]:
        for record in lines:
            if handler is not None:
                yield from captured.handled(handler, record, logger)
            else:
                yield from captured.rows(record, lines.counts)

    for batch in batches(rows()):
        dataset.add(batch, pool)


def batches(rows: Iterable[Any]) -> Iterator[List[Any]]:
    """So many at a time as are held."""
    found = iter(rows)
    while True:
        batch = list(itertools.islice(found, BATCH))
        if not batch:
            return
        yield batch


def _option(options: Mapping[str, Any], name: str, default: bool) -> bool:
    """Switches are `header` in the container's contract and `Header` in the API's."""
    value = options.get(name, options.get(name.capitalize(), default))
    return value if isinstance(value, bool) else str(value).lower() == "true"


def _csv(dataset: Dataset, path: str, options: Mapping[str, Any], pool: Any) -> None:
    """With the types that the first rows seem to have, which is quick; where a later value is of another type, once more as texts."""
    import pyarrow as pa

    if not os.path.getsize(path):
        return
    for typed in (True, False):
        found = Dataset()
        try:
            _csv_file(found, path, _option(options, "header", True), typed, pool)
        except pa.ArrowInvalid as error:
            if typed:
                continue
            raise Unusable(f"{os.path.basename(path)} cannot be read as CSV: {error}.") from None
        dataset.merge(found)
        return


def _csv_file(dataset: Dataset, path: str, header: bool, typed: bool, pool: Any) -> None:
    import pyarrow as pa
    from pyarrow import csv

    names = _csv_names(path)
    columns = list(named([(name.strip() if header else "", "") for name in names]))
    torn: Counts[str] = Counter()

    def other(row: Any) -> str:
        torn["torn"] += 1
        return "skip"

    texts = {} if typed else {name: pa.string() for name in columns}
    never = ["\0"]  # times and booleans are texts, as on AWS
    try:
        reader = csv.open_csv(
            path,
            read_options=csv.ReadOptions(block_size=_BLOCK, column_names=columns, skip_rows=1 if header else 0),
            parse_options=csv.ParseOptions(newlines_in_values=True, invalid_row_handler=other),
            convert_options=csv.ConvertOptions(
                column_types=texts,
                strings_can_be_null=True,
                null_values=[""],
                true_values=never,
                false_values=never,
                timestamp_parsers=["\0"],
            ),
        )
    except pa.ArrowInvalid as error:
        if "Empty CSV" not in str(error) and "no data" not in str(error).lower():
            raise
        dataset.profile(0, columns)
        return
    for batch in reader:
        if typed and any(kind not in _QUICK for kind in map(str, batch.schema.types)):
            raise pa.ArrowInvalid("a column of another type")
        profile = dataset.profile(0, columns)
        assert profile is not None  # a file has one shape
        profile.update(batch.columns, pool)
    dataset.counts["torn"] += torn["torn"]


def _csv_names(path: str) -> List[str]:
    import csv

    with open(path, newline="", encoding="utf-8-sig", errors="replace") as file:
        return next(csv.reader(file), [])


def _json(dataset: Dataset, path: str, options: Mapping[str, Any], pool: Any) -> None:
    for batch in batches(_json_rows(path, options, dataset.counts)):
        dataset.add(batch, pool)


def _json_rows(path: str, options: Mapping[str, Any], counts: Counts[str]) -> Iterator[CapturedRow]:
    for value in _json_values(path, options, counts):
        yield CapturedRow([], captured.flat(value))


def _json_values(path: str, options: Mapping[str, Any], counts: Counts[str]) -> Iterator[Any]:
    if not _option(options, "line", _option(options, "lines", True)):
        with open(path, encoding="utf-8") as file:
            try:
                value = json.load(file)
            except ValueError as error:
                raise Unusable(f"{os.path.basename(path)} cannot be read as JSON: {error}.") from None
        yield from value if isinstance(value, list) else [value]
        return
    with open(path, "rb") as file:
        for line in file:
            if not line.strip():
                continue
            try:
                yield json.loads(line)
            except (ValueError, RecursionError):
                counts["torn"] += 1


def _parquet(dataset: Dataset, path: str, options: Mapping[str, Any], pool: Any) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
        for batch in file.iter_batches(batch_size=1 << 16):
            profile = dataset.profile(0, batch.schema.names)
            if profile is None:
                dataset.counts["of other shapes"] += len(batch)
            else:
                profile.update(batch.columns, pool)
    except (pa.ArrowInvalid, OSError) as error:
        raise Unusable(f"{os.path.basename(path)} cannot be read as Parquet: {error}.") from None


def _handled(path: str, kind: str, options: Mapping[str, Any], handler: Any, logger: Any) -> Iterator[CapturedRow]:
    """Rows of other files by the user's handler: each line is given as the data of an input, as AWS gives batches."""
    encoding = {"csv": "CSV", "json": "JSON"}.get(kind.lower())
    if encoding is None:
        raise Unusable("A preprocessing script is for CSV, JSON and captured data, not for Parquet.")
    with open(path, encoding="utf-8", errors="replace") as file:
        if encoding == "CSV" and _option(options, "header", True):
            next(file, None)
        for line in file:
            line = re.sub(r"\r?\n$", "", line)
            if line:
                side = {"data": line, "encoding": encoding, "observedContentType": "", "mode": "INPUT"}
                yield from captured.handled(handler, {"captureData": {"endpointInput": side}}, logger)
