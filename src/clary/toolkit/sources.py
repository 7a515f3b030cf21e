"""`python -m clary.toolkit.sources SPEC`: one SELECT over an SQL database, streamed into files, inside a sandbox of its own.

SPEC is a JSON file: `{"url": of the database, "sql", "form": "PARQUET" | "CSV", "compression": "NONE" | "GZIP" | "ZSTD" | "SNAPPY" |
"BZIP2", "folder": where the files go, "report": path}`. The report is `{"files": [name, ...], "rows", "columns": [[name, type of Arrow],
...]}`, or `{"error": words}` for what is wrong with query or database; the exit code is 0 in both cases.

ADBC gives Arrow batches as they arrive, and no more than one is kept: memory does not grow with the rows. SQLite is opened read-only, and
PostgreSQL is asked in a read-only transaction. SPEC is removed once it is read: nothing in the sandbox has a password longer than needed.
"""

from __future__ import annotations

import json
import os
import re
import sys
from typing import Any, Dict, Iterator, List, Tuple
from urllib.parse import urlsplit

ROWS = 16384  # of a batch that SQLite gives
BYTES = 16 << 20  # of a batch that PostgreSQL gives
FILE = 512 << 20  # bytes of Arrow in one file: hosts share files
_PASSWORD = re.compile(r"(?<=://)([^/@\s]*):[^/@\s]*@|(?<=password=)[^\s&]+")


class Wrong(Exception):
    """What the database says, or cannot be done; its text is for the user."""


def main(argv: List[str]) -> int:
    with open(argv[1], encoding="utf-8") as file:
        spec = json.load(file)
    os.unlink(argv[1])
    try:
        report: Dict[str, Any] = answer(spec)
    except Wrong as error:
        report = {"error": _PASSWORD.sub(lambda found: (found[1] or "") + "***", str(error))}
    with open(spec["report"], "w", encoding="utf-8") as file:
        json.dump(report, file)
    return 0


def answer(spec: Dict[str, Any]) -> Dict[str, Any]:
    """Write the files; answers the report."""
    from adbc_driver_manager import Error
    from pyarrow.lib import ArrowException

    try:
        connection = connect(spec["url"])
    except Error as error:
        raise Wrong("the database cannot be reached: {}".format(error)) from error
    try:
        with connection, connection.cursor() as cursor:
            if urlsplit(spec["url"]).scheme == "sqlite":
                cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(ROWS)})
            else:
                cursor.execute("SET TRANSACTION READ ONLY")
                cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(BYTES)})
            cursor.execute(spec["sql"])
            with cursor.fetch_record_batch() as reader:
                return write(reader, spec)
    except Error as error:
        raise Wrong(str(error)) from error
    except (ArrowException, OSError) as error:  # a stream that broke off; what a form has no place for
        raise Wrong(str(error)) from error


def connect(url: str) -> Any:
    """A connection that cannot change anything."""
    if urlsplit(url).scheme == "sqlite":
        import adbc_driver_sqlite.dbapi

        path = url[len("sqlite://") :]
        # Beside a database in WAL mode that nobody has open there is no log, and none can be made here: nobody writes it meanwhile.
        mode = "mode=ro" if os.path.exists(path + "-wal") or not _logged(path) else "immutable=1"
        return adbc_driver_sqlite.dbapi.connect("file:{}?{}".format(_quoted(path), mode))
    import adbc_driver_postgresql.dbapi

    return adbc_driver_postgresql.dbapi.connect(url)


def _logged(path: str) -> bool:
    """Whether the file says that it is in WAL mode. Source: SQLite's file format, offset 18."""
    try:
        with open(path, "rb") as file:
            return file.read(20)[18:20] == b"\2\2"
    except OSError as error:
        raise Wrong("the database cannot be opened: {}".format(error.strerror)) from error


def _quoted(path: str) -> str:
    from urllib.parse import quote

    return quote(path)


def write(reader: Any, spec: Dict[str, Any]) -> Dict[str, Any]:
    """The batches as files, each of about FILE bytes; at least one, so that the columns are there."""
    files: List[str] = []
    rows, open_file, held = 0, None, 0
    try:
        for batch in batches(reader, spec["form"]):
            if open_file is None:
                files.append(name(len(files), spec))
                open_file, held = Out(os.path.join(spec["folder"], files[-1]), batch.schema, spec), 0
            open_file.write(batch)
            rows, held = rows + batch.num_rows, held + batch.nbytes
            if held >= FILE:
                open_file.close()
                open_file = None
    finally:
        if open_file is not None:
            open_file.close()
    return {"files": files, "rows": rows, "columns": [[field.name, str(field.type)] for field in reader.schema]}


def batches(reader: Any, form: str) -> Iterator[Any]:
    """Those of the reader; an empty one where there is none."""
    import pyarrow

    first = True
    for batch in reader:
        first = False
        yield plain(batch, form)
    if first:
        empty = [pyarrow.array([], type=field.type) for field in reader.schema]
        yield plain(pyarrow.RecordBatch.from_arrays(empty, schema=reader.schema), form)


def plain(batch: Any, form: str) -> Any:
    """Without types of the database's own (numeric, JSON, UUID), which neither form has: they are told as text. CSV has no bytes either:
    they are written as hexadecimal digits."""
    import pyarrow

    def told(column: Any) -> Any:
        if isinstance(column, pyarrow.ExtensionArray):
            if isinstance(column.type, pyarrow.UuidType):
                return pyarrow.array([value and str(value) for value in column.to_pylist()], pyarrow.string())
            column = column.storage
        if form == "CSV" and (pyarrow.types.is_binary(column.type) or pyarrow.types.is_large_binary(column.type)):
            return pyarrow.array([value and value.hex() for value in column.to_pylist()], pyarrow.string())
        return column

    return pyarrow.RecordBatch.from_arrays([told(column) for column in batch.columns], names=batch.schema.names)


def name(number: int, spec: Dict[str, Any]) -> str:
    """As Redshift's UNLOAD names a part."""
    if spec["form"] == "PARQUET":
        return "{:04d}_part_00.parquet".format(number)
    return "{:04d}_part_00.csv".format(number) + {"GZIP": ".gz", "ZSTD": ".zst", "BZIP2": ".bz2"}.get(
        spec["compression"], ""
    )


class Out:
    """One file that is written."""

    def __init__(self, path: str, schema: Any, spec: Dict[str, Any]) -> None:
        import pyarrow
        import pyarrow.csv
        import pyarrow.parquet

        codec = spec["compression"].lower()
        self._sink: Any = None
        self._file: Any
        if spec["form"] == "PARQUET":
            self._file = pyarrow.parquet.ParquetWriter(path, schema, compression=codec)
        else:
            kind = {"bzip2": "bz2", "none": None}.get(codec, codec)
            self._sink = pyarrow.output_stream(path, compression=kind)
            self._file = pyarrow.csv.CSVWriter(self._sink, schema)

    def write(self, batch: Any) -> None:
        self._file.write_batch(batch)

    def close(self) -> None:
        self._file.close()
        if self._sink is not None:
            self._sink.close()


FORMS: Dict[str, Tuple[str, ...]] = {
    "PARQUET": ("NONE", "GZIP", "ZSTD", "SNAPPY"),
    "CSV": ("NONE", "GZIP", "ZSTD", "BZIP2"),
}

if __name__ == "__main__":
    sys.exit(main(sys.argv))
