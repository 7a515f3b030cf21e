"""`clary brief check` in its sandbox: counts what a brief wants to know of the data, and writes the judgement.

Counts are exact, by DuckDB over all rows. How well one column alone tells the target is measured on a sample of at most 100,000 rows: the
ROC AUC of two classes, the share of a blind guess's errors that it avoids (several classes), or of a number's variance that it
explains. Columns of texts are encoded by the other half's mean, so that many categories do not look like knowledge.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

import duckdb
import numpy as np

from clary.toolkit import brief as briefs
from clary.toolkit import documents
from clary.toolkit.brief import BINARY, REGRESSION, Brief
from clary.toolkit.preparation import judgement
from clary.toolkit.preparation.recipe import DATE, NUMBER
from clary.toolkit.preparation.sources import SourceError, TableSource, out_of_memory, quoted, text, words
from clary.toolkit.preparation.values import number

_SAMPLE = 100_000
_MOST_CLASSES = 1000
_MOST_SLICES = 200


def check(data: str, brief_file: str, output: str, threads: int, memory: int = 256 << 20) -> Dict[str, Any]:
    """Write brief.json (findings and facts) and card.json into `output`; the former. DocumentError, SourceError."""
    with open(brief_file, encoding="utf-8") as file:
        plain = documents.read(file.read(), "brief")
    brief = briefs.of(plain)
    source = TableSource(data, {}, memory, threads)
    found = facts(source, brief)
    findings = judgement.judge(brief, found)
    told = {
        "version": 1,
        "name": brief.name,
        "verdict": judgement.verdict(findings),
        "findings": [each._asdict() for each in findings],
        "facts": found,
    }
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "brief.json").write_text(json.dumps(told, indent=1, allow_nan=False), encoding="utf-8")
    (folder / "card.json").write_text(
        json.dumps(judgement.card(brief, plain, findings, found), allow_nan=False), encoding="utf-8"
    )
    return told


def facts(source: TableSource, brief: Brief) -> Dict[str, Any]:
    """rows, columns, target, duplicates, features, slices, association, test_share: what `judgement` judges."""
    kinds = source.kinds()
    try:
        source.view("data", list(kinds))
        while True:
            try:
                return _Counting(source.sql, brief, kinds).facts()
            except (duckdb.Error, MemoryError) as error:
                if not out_of_memory(error) or not source.view_by_fewer("data", list(kinds)):
                    raise
    except (duckdb.Error, MemoryError) as error:
        raise SourceError("The data cannot be read as {}: {}".format(source.format, words(error))) from None


class _Counting:
    """Over the view `data`, whose columns are texts, empty ones NULL."""

    def __init__(self, sql: Any, brief: Brief, kinds: Mapping[str, str]) -> None:
        self._sql, self._brief, self._kinds = sql, brief, kinds

    def _one(self, query: str) -> Tuple[Any, ...]:
        found: Tuple[Any, ...] = self._sql.execute(query).fetchone()
        return found

    def facts(self) -> Dict[str, Any]:
        brief, kinds = self._brief, self._kinds
        rows = int(self._one("SELECT count(*) FROM data")[0])
        found: Dict[str, Any] = {
            "rows": rows,
            "columns": list(kinds),
            "features": {},
            "slices": {},
            "duplicates": {"rows": 0, "across": None},
        }
        found.update({"association": "", "test_share": judgement.TEST_SHARE})
        if not rows or brief.target not in kinds:
            return found
        target = found["target"] = self._target()
        if rows == target["missing"] or (
            brief.problem != REGRESSION and (target["different"] > len(target["classes"]) or len(target["classes"]) < 2)
        ):
            return found
        if brief.problem == REGRESSION and not target["deviation"]:
            return found
        found["test_share"] = self._test_share(rows)
        found["duplicates"] = self._duplicates()
        found["slices"] = {name: self._slice(name, target) for name in brief.slices if name in kinds}
        found["association"], found["features"] = self._features(target, rows)
        return found

    def _target(self) -> Dict[str, Any]:
        name = quoted(self._brief.target)
        missing, different = self._one("SELECT count(*) - count({0}), count(DISTINCT {0}) FROM data".format(name))
        made: Dict[str, Any] = {
            "missing": int(missing),
            "different": int(different),
            "classes": {},
            "mean": None,
            "deviation": None,
            "spread": None,
        }
        if self._brief.problem == REGRESSION:
            as_number = "TRY_CAST({} AS DOUBLE)".format(name)
            known, mean, spread = self._one(
                "SELECT count({0}), avg({0}), stddev_pop({0}) FROM data WHERE isfinite({0})".format(as_number)
            )
            if known == self._one("SELECT count({}) FROM data".format(name))[0] and known:
                middle = self._one("SELECT avg(abs({0} - (SELECT median({0}) FROM data))) FROM data".format(as_number))[
                    0
                ]
                made.update({"mean": mean, "deviation": spread, "spread": middle})
        elif different <= _MOST_CLASSES:
            counts = dict(
                self._sql.execute(
                    "SELECT {0}, count(*) FROM data WHERE {0} IS NOT NULL GROUP BY 1".format(name)
                ).fetchall()
            )
            made["classes"] = {each: int(counts[each]) for each in sorted(counts, key=_order)}
        return made

    def _test_share(self, rows: int) -> float:
        column = self._brief.split.get("column")
        if column not in self._kinds:
            return judgement.TEST_SHARE
        share = self._one("SELECT count(*) FROM data WHERE lower({}) = 'test'".format(quoted(str(column))))[0] / rows
        return float(share) or judgement.TEST_SHARE

    def _duplicates(self) -> Dict[str, Any]:
        brief = self._brief
        part = brief.split.get("column") or brief.split.get("group") or ""
        names = [name for name in self._kinds if name not in (*brief.identifiers, part)]
        row = "hash({})".format(", ".join(quoted(name) for name in names))
        many = "count(DISTINCT {})".format(quoted(part)) if part in self._kinds else "1"
        groups = "SELECT count(*) AS n, {} AS parts FROM data GROUP BY {} HAVING count(*) > 1".format(many, row)
        twice, across = self._one(
            "SELECT coalesce(sum(n - 1), 0), count(*) FILTER (parts > 1) FROM ({})".format(groups)
        )
        told = "column" in brief.split and part in self._kinds
        return {"rows": int(twice), "across": int(across) if told else None}

    def _slice(self, name: str, target: Mapping[str, Any]) -> Dict[str, Any]:
        """Rows, and rows of the positive class (None where there is none), of each value."""
        plain, goal = quoted(name), quoted(self._brief.target)
        two = len(target["classes"]) == 2
        positive = (
            text(
                judgement.as_text(self._brief.positive)
                if self._brief.positive is not None
                else list(target["classes"])[-1]
            )
            if two
            else ""
        )
        hits = "count(*) FILTER ({} = {})".format(goal, positive) if two else "NULL"
        query = (
            "SELECT coalesce({0}, '(missing)'), count(*), {1} FROM data GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {2}".format(
                plain, hits, _MOST_SLICES
            )
        )
        return {
            value: [int(rows), None if hit is None else int(hit)]
            for value, rows, hit in self._sql.execute(query).fetchall()
        }

    def _features(self, target: Mapping[str, Any], rows: int) -> Tuple[str, Dict[str, Any]]:
        brief = self._brief
        names = [name for name in self._kinds if name != brief.target]
        listed = ", ".join(quoted(name) for name in (brief.target, *names))
        query = "SELECT {} FROM data WHERE {} IS NOT NULL USING SAMPLE reservoir({} ROWS) REPEATABLE (7)".format(
            listed, quoted(brief.target), _SAMPLE
        )
        table = self._sql.execute(query).fetchnumpy()
        columns: List[Any] = [
            np.ma.filled(np.ma.asarray(table[name], dtype=object), None) for name in (brief.target, *names)
        ]
        goal, how = _goal(brief, target, columns[0])
        made = {}
        for name, column in zip(names, columns[1:]):
            gone = np.array([each is None for each in column])
            found = [None if each is None else number(each) for each in column] if self._kinds[name] == NUMBER else []
            as_number = np.array([np.nan if each is None else each for each in found]) if found else None
            different = int(self._one("SELECT approx_count_distinct({}) FROM data".format(quoted(name)))[0])
            made[name] = {
                "missing": float(gone.mean()),
                "unique": min(different / rows, 1.0),
                "continuous": self._kinds[name] == DATE
                or bool(as_number is not None and np.any(as_number[~np.isnan(as_number)] % 1 != 0)),
                "tells": _tells(column, as_number, goal, how),
                "tells_missing": _tells(gone.astype(str).astype(object), None, goal, how)
                if 0 < gone.mean() < 1
                else 0.0,
            }
        return how, made


def _order(value: str) -> Tuple[float, str]:
    found = number(value)
    return (found if found is not None and found == found else float("inf"), value)


def _goal(brief: Brief, target: Mapping[str, Any], column: Any) -> Tuple[Any, str]:
    """The target as numbers, and how association with it is measured."""
    if brief.problem == REGRESSION:
        return np.array([number(each) for each in column], dtype=np.float64), "explained variance"
    places = {each: place for place, each in enumerate(target["classes"])}
    goal = np.array([places[each] for each in column], dtype=np.int64)
    if judgement.problem(brief, target) == BINARY:
        if brief.positive is not None and next(iter(places)) == judgement.as_text(brief.positive):
            goal = 1 - goal
        return goal.astype(np.float64), "ROC AUC"
    return goal, "share of the avoidable errors avoided"


def _tells(column: Any, as_number: Optional[Any], goal: Any, how: str) -> float:
    """How well a column alone tells the target, between 0 and 1."""
    if len(goal) < 20:
        return 0.0
    codes = _codes(column, as_number)
    if how == "ROC AUC":
        direct = (
            auc(np.nan_to_num(as_number, nan=float(np.nanmedian(as_number))), goal)
            if as_number is not None and not np.isnan(as_number).all()
            else 0.5
        )
        return float(max(direct, 1 - direct, auc(_encoded(codes, goal), goal)))
    if how == "explained variance":
        rest = goal - _encoded(codes, goal)
        return float(max(1 - rest.var() / goal.var(), 0.0)) if goal.var() else 0.0
    hits = _guesses(codes, goal)
    most = np.bincount(goal).max() / len(goal)
    return float(max((hits - most) / (1 - most), 0.0)) if most < 1 else 0.0


def _codes(column: Any, as_number: Optional[Any]) -> Any:
    """Categories, or 64 bins of a number; missing ones are a category."""
    if as_number is not None and len(np.unique(as_number)) > 64 and not np.isnan(as_number).all():
        edges = np.unique(np.nanquantile(as_number, np.linspace(0, 1, 65)[1:-1]))
        return np.where(np.isnan(as_number), len(edges) + 1, np.searchsorted(edges, as_number, side="right"))
    known: Dict[Any, int] = {}
    return np.array([known.setdefault(each, len(known)) for each in column], dtype=np.int64)


def _halves(size: int) -> List[Tuple[Any, Any]]:
    half = np.random.default_rng(7).random(size) < 0.5
    return [(half, ~half), (~half, half)]


def _encoded(codes: Any, goal: Any) -> Any:
    """Each row's mean of its category in the other half; the whole mean where the other half has none."""
    made = np.full(len(goal), float(goal.mean()))
    for learn, use in _halves(len(goal)):
        counts = np.bincount(codes[learn], minlength=codes.max() + 1)
        sums = np.bincount(codes[learn], weights=goal[learn], minlength=codes.max() + 1)
        means = np.where(counts > 0, sums / np.maximum(counts, 1), goal[learn].mean() if learn.any() else 0.0)
        made[use] = means[codes[use]]
    return made


def _guesses(codes: Any, goal: Any) -> float:
    """How often the most frequent class of a row's category in the other half is its class."""
    hits, classes = 0, int(goal.max()) + 1
    for learn, use in _halves(len(goal)):
        cells = np.bincount(codes[learn] * classes + goal[learn], minlength=(codes.max() + 1) * classes).reshape(
            -1, classes
        )
        best = np.where(cells.any(axis=1), cells.argmax(axis=1), np.bincount(goal[learn], minlength=classes).argmax())
        hits += int((best[codes[use]] == goal[use]).sum())
    return hits / len(goal)


def auc(score: Any, goal: Any) -> float:
    """The area under the ROC curve: how often a 1 has the higher score than a 0, ties by half."""
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse.reshape(-1)]
    ones = float(goal.sum())
    zeros = len(goal) - ones
    return float((ranks[goal == 1].sum() - ones * (ones + 1) / 2) / (ones * zeros)) if ones and zeros else 0.5
