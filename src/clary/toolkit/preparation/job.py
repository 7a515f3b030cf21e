"""Preparation as a processing job: files in, parts of the data, a report and a model archive out.

input/data      CSV, JSON lines or Parquet           output/PART      part-NNNNN.parquet (or .csv), for each part of the split
input/recipe    one file, YAML or JSON               output/model     model.tar.gz: the first container of an inference pipeline
                                                     output/report    report.html, report.json
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, Dict, Mapping

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from clary.toolkit.preparation import packing, passes, recipe, report
from clary.toolkit.preparation.passes import Learnt, Made
from clary.toolkit.preparation.sources import SourceError, TableSource

GROUPS = 64  # batches in a file


def prepare(data: str, recipe_file: str, output: str, threads: int = 1, memory: int = 256 << 20) -> Dict[str, Any]:
    """Do it, and answer what report.json says. DocumentError, BadValue, SourceError for what the user can mend."""
    with open(the_file(recipe_file), encoding="utf-8") as file:
        given = recipe.parse(file.read())
    scratch = os.path.join(output, ".scratch")
    source = TableSource(data, given.get("input", {}), memory, threads, scratch)
    bound = recipe.bind(given, source.kinds())
    learnt = passes.learn(source, bound, threads)
    writers = Writers(output, learnt)
    with writers:
        passes.transform(source, learnt, writers.dealt, writers.write, threads)
    shutil.rmtree(scratch, ignore_errors=True)
    told = report.summary(learnt, writers.rows, source.format, source.bytes, source.passes)
    folder = Path(output, "report")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(told, indent=1, allow_nan=False), encoding="utf-8")
    (folder / "report.html").write_text(report.html(learnt, told), encoding="utf-8")
    packing.archive(learnt.state, Path(output, "model"))
    return told


def the_file(path: str) -> str:
    """The file, or the only one in a folder. SourceError."""
    if not os.path.isdir(path):
        if not os.path.exists(path):
            raise SourceError("There is no recipe: give an input at {}.".format(path))
        return path
    found = sorted(name for name in os.listdir(path) if not name.startswith("."))
    if len(found) != 1:
        raise SourceError("{} must hold one file; it holds {}.".format(path, ", ".join(found[:10]) or "none"))
    return os.path.join(path, found[0])


class Writers:
    """A file for each part, written batch by batch."""

    def __init__(self, output: str, learnt: Learnt) -> None:
        self._parts = list(learnt.recipe.split.parts)
        self._form, self._header = learnt.recipe.output, learnt.recipe.header
        self._output = output
        flags = [name for each in learnt.state["columns"] for name in each["names"] if each.get("encode") == "one_hot"]
        self._dictionary = flags
        self._open: Dict[str, Any] = {}
        self.rows = dict.fromkeys(self._parts, 0)
        self._groups = dict.fromkeys(self._parts, 0)
        for part in self._parts:
            os.makedirs(os.path.join(output, part), exist_ok=True)
            for name in os.listdir(os.path.join(output, part)):
                if name.startswith("part-"):  # of another recipe, which had another format
                    os.remove(os.path.join(output, part, name))

    def __enter__(self) -> Writers:
        return self

    def __exit__(self, *_: Any) -> None:
        for writer in self._open.values():
            writer.close()

    def dealt(self, made: Made) -> Dict[str, Any]:
        """The rows of each part that has any, as Arrow has them: may run beside others."""
        features = [*([made.target] if made.target else []), *made.features]
        empty = self._form == "csv"  # NaN is an empty field there
        table = pa.record_batch(
            [pa.array(array, from_pandas=empty) for _, array in features], names=[name for name, _ in features]
        )
        chosen = {}
        for number, part in enumerate(self._parts):
            mask = made.parts == number
            count = int(mask.sum())
            if count:
                chosen[part] = table if count == len(mask) else table.filter(pa.array(mask))
        return chosen

    def write(self, chosen: Mapping[str, Any]) -> None:
        """Batches in order."""
        for part, table in chosen.items():
            self._writer(part, table.schema).write(table)
            self.rows[part] += table.num_rows
            self._groups[part] += 1
            if (
                self._form == "parquet" and self._groups[part] % GROUPS == 0
            ):  # what a file holds is told at its end, and kept in memory until then
                self._open.pop(part).close()

    def _writer(self, part: str, schema: Any) -> Any:
        if part not in self._open:
            number = self._groups[part] // GROUPS if self._form == "parquet" else 0
            name = "part-{:05}.{}".format(number, self._form)
            path = os.path.join(self._output, part, name)
            if self._form == "csv":
                options = pyarrow.csv.WriteOptions(include_header=self._header)
                self._open[part] = pyarrow.csv.CSVWriter(path, schema, write_options=options)
            else:
                self._open[part] = pyarrow.parquet.ParquetWriter(
                    path, schema, use_dictionary=self._dictionary, write_statistics=False
                )
        return self._open[part]
