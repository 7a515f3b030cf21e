"""The rows that are evaluated: CSV, JSON lines or Parquet, as one frame; the target as numbers; the slices.

Owns what a class is called (`words`: 1, 1.0 and "1" are the same class), which problem a target poses, and which rows have none.
Knows no models.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
import pandas as pd

from clary.toolkit.documents import meant
from clary.toolkit.evaluation.settings import Evaluation
from clary.toolkit.failure import UserError

Array = Any  # numpy.ndarray
Frame = Any  # pandas.DataFrame

BINARY, MULTICLASS, REGRESSION = "binary", "multiclass", "regression"
CLASSES = 20  # a numeric target with more values than that, or with fractions, is a quantity
MOST_CLASSES = 1000
MOST_SLICES = 50  # values of one column that are looked at, the most frequent ones first
QUARTERS = 4  # parts of a column of numbers
MISSING = "(missing)"


@dataclass(frozen=True)
class Data:
    """The rows with a target. `truth`: numbers of a regression, else indexes into `classes`; with two classes the last is the positive
    one. `groups`: an index per row of what is drawn together, None: each row by itself. `dropped`: rows without a target."""

    frame: Frame
    truth: Array
    problem: str
    classes: Tuple[str, ...] = ()
    groups: Optional[Array] = None
    dropped: int = 0

    @property
    def rows(self) -> int:
        return len(self.frame)

    def only(self, rows: Array) -> Data:
        """Some of the rows, in that order."""
        groups = None if self.groups is None else np.unique(self.groups[rows], return_inverse=True)[1]
        return replace(self, frame=self.frame.iloc[rows].reset_index(drop=True), truth=self.truth[rows], groups=groups)


def read(folder: str, headers: Sequence[str] = ()) -> Frame:
    """All files below the folder, by name, as one frame. UserError for what cannot be read, with the file's name."""
    paths = files(folder)
    if not paths:
        raise UserError("The input dataset has no files: {} is empty.".format(folder))
    frames = [_file(path, os.path.relpath(path, folder), headers) for path in paths]
    for path, frame in zip(paths, frames):
        if list(frame.columns) != list(frames[0].columns):
            raise UserError(
                "{} has other columns than {}: {} and {}.".format(
                    os.path.basename(path), os.path.basename(paths[0]), list(frame.columns), list(frames[0].columns)
                )
            )
    whole = frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
    if not len(whole):
        raise UserError("The input dataset has no rows.")
    return whole


def files(folder: str) -> List[str]:
    """The files below a folder, or the file itself, by name; those whose names begin with a dot or an underscore are none."""
    if os.path.isfile(folder):
        return [folder]
    found = []
    for top, folders, names in os.walk(folder):
        folders.sort()
        found += [os.path.join(top, name) for name in sorted(names) if not name.startswith((".", "_"))]
    return found


def _file(path: str, name: str, headers: Sequence[str]) -> Frame:
    ending = name.lower().removesuffix(".gz").rpartition(".")[2]
    try:
        if ending in ("parquet", "pq"):
            return pd.read_parquet(path)
        if ending in ("jsonl", "json", "ndjson", "jsonlines"):
            return pd.read_json(path, lines=True, compression="infer", dtype=False)
        if headers:
            frame = pd.read_csv(path, header=None, compression="infer", low_memory=False)
            if len(frame.columns) != len(headers):
                raise UserError(
                    "{} has {} columns, and `headers` names {}.".format(name, len(frame.columns), len(headers))
                )
            return frame.set_axis(list(headers), axis=1)
        return pd.read_csv(path, compression="infer", low_memory=False)
    except (ValueError, OSError, UnicodeError) as error:  # pandas' parsers raise kinds of ValueError
        raise UserError("{} cannot be read: {}".format(name, str(error).splitlines()[0])) from None


def prepared(frame: Frame, asked: Evaluation) -> Data:
    """The rows that have a target, and the target as numbers. UserError for a target that cannot be judged by."""
    column(frame, asked.target, "target")
    for name in asked.slices:
        column(frame, name, "slices")
    known = frame[asked.target].notna().to_numpy()
    if not known.any():
        raise UserError("The target {!r} is missing in all {:,} rows.".format(asked.target, len(frame)))
    kept = frame[known].reset_index(drop=True)
    values = kept[asked.target]
    problem = asked.problem or _problem(values)
    classes: Tuple[str, ...] = ()
    if problem == REGRESSION:
        truth = _numbers(values, asked.target)
    else:
        named = words(values)
        classes = _classes(values, named, asked, problem)
        truth = np.searchsorted(np.sort(classes), named)
        truth = np.argsort(classes)[truth]
    groups = None
    if asked.group:
        groups = pd.factorize(words(column(kept, asked.group, "group")))[0]
    return Data(kept, truth, problem, classes, groups, int((~known).sum()))


def column(frame: Frame, name: str, why: str) -> Any:
    """A column of the data. UserError, with what was meant, where there is none."""
    if name not in frame.columns:
        known = [str(each) for each in frame.columns]
        shown = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
        raise UserError("{}: the data has no column {!r}{}. It has {}.".format(why, name, meant(name, known), shown))
    return frame[name]


def _problem(values: Any) -> str:
    distinct = values.nunique()
    if pd.api.types.is_bool_dtype(values) or not pd.api.types.is_numeric_dtype(values):
        return BINARY if distinct <= 2 else MULTICLASS
    numbers = values.to_numpy(dtype=float)
    if distinct > CLASSES or not np.all(np.isfinite(numbers) & (numbers == np.floor(numbers))):
        return REGRESSION
    return BINARY if distinct <= 2 else MULTICLASS


def _numbers(values: Any, name: str) -> Array:
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=float)
    if not np.isfinite(numbers).all():
        wrong = int(np.flatnonzero(~np.isfinite(numbers))[0])
        raise UserError(
            "The target {!r} of a regression must be finite numbers; row {} has {!r}.".format(
                name, wrong + 1, values.iloc[wrong]
            )
        )
    return numbers


def _classes(values: Any, named: Array, asked: Evaluation, problem: str) -> Tuple[str, ...]:
    """The classes in order: numbers as such, texts as texts, of two the positive one last."""
    found = [str(each) for each in np.unique(named)]
    if len(found) < 2:
        raise UserError(
            "The target {!r} has one class only, {!r}, in {:,} rows: nothing can be told apart.".format(
                asked.target, found[0], len(named)
            )
        )
    if len(found) > MOST_CLASSES:
        raise UserError(
            "The target {!r} has {:,} classes, more than {:,}.".format(asked.target, len(found), MOST_CLASSES)
        )
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        found.sort(key=float)
    if problem == BINARY:
        if len(found) > 2:
            raise UserError(
                "The target {!r} has {} classes ({}), and a binary problem two.".format(
                    asked.target, len(found), ", ".join(found[:5])
                )
            )
        if asked.positive is not None:
            positive = word(asked.positive)
            if positive not in found:
                raise UserError(
                    "The positive class {!r} is none of the target's: {}.".format(positive, ", ".join(found))
                )
            found.sort(key=lambda each: each == positive)
    return tuple(found)


def word(value: Any) -> str:
    """What a class is called: 1, 1.0 and "1" are one class, and so are true, "True" and "true"."""
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value)).lower()
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if isinstance(value, (float, np.floating)):
        return str(int(value)) if float(value).is_integer() else repr(float(value))
    text = str(value).strip()
    if text.lower() in ("true", "false"):
        return text.lower()
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() and "e" not in text.lower() else text


def words(values: Any) -> Array:
    """`word` of each value, as an array of text; of a missing one MISSING."""
    codes, distinct = pd.factorize(values, use_na_sentinel=True)
    names = np.array([*(word(each) for each in distinct), MISSING], dtype=object)
    return names[codes].astype(str)


def slices(data: Data, names: Sequence[str]) -> Dict[str, List[Tuple[str, Array]]]:
    """Column -> (value, rows of it as a mask): the values of a column, or the quarters of one of many numbers."""
    made: Dict[str, List[Tuple[str, Array]]] = {}
    for name in names:
        values = data.frame[name]
        numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
        if numeric and values.nunique() > CLASSES:
            made[name] = _quarters(values.to_numpy(dtype=float))
            continue
        named = words(values)
        found, counts = np.unique(named, return_counts=True)
        order = np.argsort(-counts, kind="stable")[:MOST_SLICES]
        made[name] = [(str(found[each]), named == found[each]) for each in sorted(order)]
    return made


def _quarters(numbers: Array) -> List[Tuple[str, Array]]:
    bounds = np.unique(np.nanquantile(numbers, np.linspace(0, 1, QUARTERS + 1)))
    made = []
    for low, high in zip(bounds, bounds[1:]):  # noqa: RUF007  (itertools.pairwise came with Python 3.10)
        inside = (numbers >= low) & ((numbers <= high) if high == bounds[-1] else (numbers < high))
        made.append(("{:g} to {:g}".format(low, high), inside))
    if np.isnan(numbers).any():
        made.append((MISSING, np.isnan(numbers)))
    return made
