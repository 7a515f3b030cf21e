"""CSV, JSON lines and Parquet of any size as a stream of batches: DuckDB reads, in bounded memory and in the data's own order.

Owns what is read as what: numbers by TRY_CAST, all else as text; the empty text and those that the recipe names are missing. What is no
number in a column of numbers is an error that names column, value and row, unless the recipe takes it for missing.
"""

from __future__ import annotations

import os
import warnings
from typing import Any, Dict, Iterator, List, Mapping, Sequence, Tuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clary.toolkit.preparation import scanning
from clary.toolkit.preparation.passes import RowBatch
from clary.toolkit.preparation.recipe import CATEGORY, DATE, NUMBER, Recipe
from clary.toolkit.preparation.scanning import Scan
from clary.toolkit.preparation.values import BadValue, Coded, Values, finite, number

BATCH = 61_440  # rows: half of one of DuckDB's row groups
SAMPLE = 20_480  # rows whose types are looked at
VECTOR = 2048  # rows that DuckDB handles at once
_LEAST = 64 << 20  # bytes of memory
_ENDINGS = {
    "csv": ("csv", "csv.gz", "csv.zst", "tsv", "txt"),
    "jsonlines": ("jsonl", "jsonlines", "ndjson", "json", "jsonl.gz"),
    "parquet": ("parquet", "pq"),
}
_WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
_NUMBERS = (*_WHOLE, *("U" + each for each in _WHOLE), "FLOAT", "DOUBLE", "DECIMAL")
_MARK = "\x1f"


class SourceError(Exception):
    """The data cannot be read as asked; the text stands alone."""


class TableSource:
    """The files below a folder."""

    def __init__(self, folder: str, options: Mapping[str, Any], memory: int, threads: int, scratch: str = "") -> None:
        self._files, self.format = _files(folder, options.get("format", ""))
        self._options = options
        self._memory, self._threads = max(_LEAST, memory), max(1, threads)
        self._scan, self._sample = Scan(1, scanning.SMALLEST_BUFFER), SAMPLE
        self.sql = duckdb.connect(config={"memory_limit": "{}MiB".format(self._memory >> 20), "threads": 1})
        self.sql.execute("SET disable_parquet_prefetching = true")  # it reads whole groups of rows, whatever the memory
        if scratch:
            self.sql.execute("SET temp_directory = {}".format(text(scratch)))
        self.bytes = sum(os.path.getsize(path) for path in self._files)
        self.passes = 0

    def kinds(self) -> Dict[str, str]:
        """The columns in order, with the kind that their types (of the first rows, for text formats) say. SourceError."""
        found = self._described()
        if not found:
            raise SourceError("The data has no columns.")
        lower: Dict[str, str] = {}
        for name in found:
            if lower.setdefault(name.lower(), name) != name:
                raise SourceError(
                    "Columns {!r} and {!r} differ only by the case of their letters.".format(lower[name.lower()], name)
                )
        return {name: _kind(kind) for name, kind in found.items()}

    def _described(self) -> Dict[str, str]:
        while True:
            try:
                rows = self.sql.execute("DESCRIBE SELECT * FROM {}".format(self._table())).fetchall()
                return {row[0]: row[1] for row in rows}
            except duckdb.Error as error:
                if not out_of_memory(error):
                    raise SourceError("The data cannot be read as {}: {}".format(self.format, words(error))) from None
                if self._sample <= VECTOR:
                    raise self._too_large(0) from None
                self._sample = max(VECTOR, self._sample // 4)

    def _too_large(self, row: int) -> SourceError:
        return SourceError(
            "The data has rows so large that {:,} of them do not fit the {:,} MiB of memory that they are read in (after row {:,}): "
            "leave out the columns of long texts.".format(VECTOR, self._memory >> 20, row)
        )

    def _reads(self, scan: Scan) -> None:
        self._scan = scan
        self.sql.execute("SET threads = {}".format(scan.threads))

    def _table(self, names: Sequence[str] = ()) -> str:
        files = "[{}]".format(", ".join(text(path) for path in self._files))
        if self.format == "parquet":
            return "read_parquet({}, union_by_name = true)".format(files)
        if self.format == "jsonlines":
            types = (
                ", columns = {{{}}}".format(", ".join("{}: 'VARCHAR'".format(text(name)) for name in names))
                if names
                else ""
            )
            sample = "" if names else ", sample_size = {}".format(self._sample)
            return "read_json({}, format = 'newline_delimited'{}{})".format(files, types, sample)
        options = [
            "header = {}".format("true" if self._options.get("header", True) else "false"),
            "quote = '\"'",
            "escape = '\"'",
        ]
        options.append("delim = {}".format(text(self._options.get("delimiter") or ",")))
        options.append("buffer_size = {}".format(self._scan.buffer))
        options.append("sample_size = {}".format(self._sample))
        options += ["all_varchar = true", "auto_detect = true"] if names else []
        given = self._options.get("names")
        if given:
            options.append("names = [{}]".format(", ".join(text(name) for name in given)))
        return "read_csv({}, {})".format(files, ", ".join(options))

    def view(self, name: str, names: Sequence[str]) -> None:
        """Let SQL see the data under a name, as texts whose empty ones are NULL."""
        self._reads(scanning.scan(self.format, self._memory, self._threads, len(names)))
        self._view(name, names)

    def view_by_fewer(self, name: str, names: Sequence[str]) -> bool:
        """The same after memory ran out, read by half the threads; false if no fewer can read it."""
        if self._scan == self._scan.halved():
            return False
        self._reads(self._scan.halved())
        self._view(name, names)
        return True

    def _view(self, name: str, names: Sequence[str]) -> None:
        listed = ", ".join("nullif(CAST({0} AS VARCHAR), '') AS {0}".format(quoted(each)) for each in names)
        self.sql.execute(
            "CREATE OR REPLACE VIEW {} AS SELECT {} FROM {}".format(quoted(name), listed, self._table(names))
        )

    def batches(self, recipe: Recipe, names: Sequence[str] = ()) -> Iterator[RowBatch]:
        """All rows in order. BadValue for a value that is none of its column's kind, SourceError for files that cannot be read."""
        self.passes += 1
        inputs = {name: kind for name, kind in recipe.inputs.items() if not names or name in names}
        strict = [name for name, kind in inputs.items() if kind == NUMBER and _strict(recipe, name)]
        every = self._described()
        self._reads(scanning.scan(self.format, self._memory, self._threads, len(every)))
        read, searching = 0, False
        while True:
            try:
                for batch in self._read(recipe, inputs, strict, every, read, searching):
                    read += batch.size
                    yield batch
                return
            except (duckdb.Error, OSError, pa.ArrowException) as error:  # the latter two while rows are read
                if _no_number(error) and not searching:
                    searching = True
                    continue
                if not out_of_memory(error):
                    raise SourceError("The data cannot be read as {}: {}".format(self.format, words(error))) from None
                if self._scan == self._scan.halved():
                    raise self._too_large(read) from None
                self._reads(self._scan.halved())

    def _read(
        self,
        recipe: Recipe,
        inputs: Mapping[str, str],
        strict: Sequence[str],
        every: Mapping[str, str],
        begin: int,
        searching: bool,
    ) -> Iterator[RowBatch]:
        """From row `begin` on. A value that is no number stops DuckDB; `searching` finds it, which takes twice the time."""
        wanted = {**inputs, recipe.split.column: recipe.split.kind} if recipe.split.column else inputs
        nothing = [] if self.format == "csv" else [""]  # its reader takes the empty text for NULL
        nothing += [each for each in recipe.missing if each]
        types = {name: every[name] if self.format == "parquet" else "" for name in wanted}
        picked = [
            _picked(name, wanted[name], nothing, types[name], name in strict and not searching)
            for name in (*inputs, *([recipe.split.column] if recipe.split.column else []))
        ]
        strict = [name for name in strict if searching and not _numeric(types[name])]
        if strict:
            picked.append("CASE {} END".format(" ".join(_broken(*each, nothing) for each in enumerate(strict))))
        listed = ", ".join("{} AS c{}".format(each, place) for place, each in enumerate(picked))
        sql = "SELECT {} FROM {}".format(listed or "1", self._table(list(every)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader = self.sql.sql(sql).to_arrow_reader(BATCH)
        first = 0
        for whole in reader:
            table = whole.slice(max(0, begin - first))
            first += whole.num_rows - table.num_rows
            if not table.num_rows:
                continue
            if strict:
                _check(table.columns[-1], first, strict)
            rows = {name: _values(column, kind) for (name, kind), column in zip(inputs.items(), table.columns)}
            split = _values(table.columns[len(inputs)], recipe.split.kind) if recipe.split.column else None
            yield RowBatch(rows, split, table.num_rows, first)
            first += table.num_rows


def out_of_memory(error: Exception) -> bool:
    return isinstance(error, (duckdb.OutOfMemoryException, MemoryError)) or "Out of Memory Error" in str(error)


def _strict(recipe: Recipe, name: str) -> bool:
    return next((column.invalid for column in recipe.columns if column.name == name), "error") != "missing"


def _no_number(error: Exception) -> bool:
    return isinstance(error, duckdb.ConversionException) or "Conversion Error" in str(error)


def _numeric(type_name: str) -> bool:
    return type_name.partition("(")[0] in _NUMBERS


def _picked(name: str, kind: str, nothing: Sequence[str], type_name: str, must: bool) -> str:
    """SQL of a column's values. `type_name`: of a typed format; `must`: what is no number is an error."""
    plain = quoted(name)
    as_text = "CAST({} AS VARCHAR)".format(plain) if type_name else plain
    if kind != NUMBER:
        return _there(as_text, as_text, nothing)
    if _numeric(type_name):  # no text of it is missing but one that is a number
        nothing = [each for each in nothing if number(each) is not None]
    made = _there(plain if _numeric(type_name) else as_text, as_text, nothing)
    return "{}({} AS DOUBLE)".format("CAST" if must else "TRY_CAST", made)


def _there(value: str, as_text: str, nothing: Sequence[str]) -> str:
    if not nothing:
        return value
    return "CASE WHEN {} IN ({}) THEN NULL ELSE {} END".format(
        as_text, ", ".join(text(each) for each in nothing), value
    )


def _broken(place: int, name: str, nothing: Sequence[str]) -> str:
    as_text = "CAST({} AS VARCHAR)".format(quoted(name))
    wrong = "{0} IS NOT NULL AND TRY_CAST({0} AS DOUBLE) IS NULL".format(as_text)
    if nothing:
        wrong += " AND {} NOT IN ({})".format(as_text, ", ".join(text(each) for each in nothing))
    return "WHEN {} THEN '{}' || chr(31) || {}".format(wrong, place, as_text)


def _check(column: Any, first: int, strict: Sequence[str]) -> None:
    if column.null_count == len(column):
        return
    row = pc.index(pc.is_valid(column), True).as_py()
    place, _, value = column[row].as_py().partition(_MARK)
    name = strict[int(place)]
    raise BadValue(
        "Column {!r} holds numbers, but row {:,} has {!r}. Say `kind: category` in columns.{} of the recipe if it is none, or `invalid: "
        "missing` to take such values for missing.".format(name, first + row + 1, value[:80], name)
    )


def _values(column: Any, kind: str) -> Values:
    if kind == NUMBER:
        return finite(column.to_numpy(zero_copy_only=False).astype(np.float64, copy=False))
    found = pc.dictionary_encode(column, null_encoding="encode")
    return Coded(found.indices.to_numpy(zero_copy_only=False).astype(np.int64), found.dictionary.to_pylist())


def _kind(kind: str) -> str:
    if _numeric(kind):
        return NUMBER
    return DATE if kind == "DATE" or kind.startswith("TIMESTAMP") else CATEGORY


def _files(folder: str, form: str) -> Tuple[List[str], str]:
    """The files below a folder (or the file itself) and their format."""
    if os.path.isfile(folder):
        found = [folder]
    else:
        found = sorted(
            os.path.join(top, name)
            for top, _, names in os.walk(folder)
            for name in names
            if not name.startswith((".", "_"))
        )
    found = [path for path in found if os.path.getsize(path)]
    if not found:
        raise SourceError("There is no data: {} has no files with content.".format(folder))
    forms = {
        form
        or next(
            (name for name, endings in _ENDINGS.items() if path.lower().endswith(tuple("." + e for e in endings))),
            "csv",
        )
        for path in found
    }
    if len(forms) > 1:
        raise SourceError(
            "The data has files of several formats ({}); give them in separate inputs, or name one in input.format.".format(
                ", ".join(sorted(forms))
            )
        )
    return found, forms.pop()


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def words(error: Exception) -> str:
    """What DuckDB says, in one line, without its advice about its own options."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:3])[:600]
