"""scripts/bench drift: false alarms and power of Clary's rule of drift, beside rules that other tools have by default.

Each draw is a reference of 5,000 rows and two windows of the same size. Clary's rule has to find both windows; the others are said to
alarm when either window does, which is kind to their power and not to their false alarms. Rules of Evidently, NannyML and SageMaker are
computed here from their documented definitions; river's detectors are river itself, in an environment of its own, and read the rows one
by one. A dataset alarms when a column does (Evidently's preset: when half of the columns do).
"""

from __future__ import annotations

import argparse
import copy
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.common import Row, arguments, finish, say
from benchmarks.peers.launch import HERE, environment
from clary.domain.monitoring.drift import DriftRule
from clary.domain.monitoring.watch import Watch

REFERENCE, FIRST = 5000, 1000
ALLOWED = 0.01  # false alarms of a peer whose power counts
Array = np.ndarray[tuple[int, int], np.dtype[np.float64]]
Judge = Callable[[Array, Array], bool]


@dataclass(frozen=True, slots=True)
class Case:
    """`change` takes the generator and rows, and answers them as they are after the change; None: nothing changes."""

    name: str
    columns: int
    rows: int
    change: Callable[[np.random.Generator, Array], Array] | None = None
    heavy: bool = False


def shifted(by: float, columns: int | None = None) -> Callable[[np.random.Generator, Array], Array]:
    def change(_: np.random.Generator, rows: Array) -> Array:
        return np.hstack([rows[:, :columns] + by, rows[:, columns:]]) if columns else rows + by

    return change


CASES = (
    *(Case(f"nothing, {n} rows, 5 columns", 5, n) for n in (100, 500, 2000)),
    Case("nothing, 500 rows, 50 columns", 50, 500),
    Case("nothing, 500 rows, 5 columns, heavy tails", 5, 500, heavy=True),
    Case("0.25 sigma, 500 rows", 5, 500, shifted(0.25)),
    Case("0.25 sigma, 2000 rows", 5, 2000, shifted(0.25)),
    Case("0.1 sigma, 2000 rows", 5, 2000, shifted(0.1)),
    Case("variance x 1.5, 500 rows", 5, 500, lambda _, rows: rows * 1.5**0.5),
    Case("1 of 50 columns, 0.5 sigma, 500 rows", 50, 500, shifted(0.5, 1)),
    Case("unit of a column, 100 rows", 5, 100, lambda _, rows: np.hstack([rows[:, :1] * 1000, rows[:, 1:]])),
)


def ks(reference: Array, window: Array) -> Array:
    """The Kolmogorov-Smirnov distance of each column."""
    found = []
    for ours, theirs in zip(np.sort(reference.T), np.sort(window.T), strict=True):
        both = np.concatenate([ours, theirs])
        apart = np.searchsorted(ours, both, "right") / len(ours) - np.searchsorted(theirs, both, "right") / len(theirs)
        found.append(np.abs(apart).max())
    return np.array(found)


def p_below(level: float, share: float) -> Judge:
    def judge(reference: Array, window: Array) -> bool:
        m, n = len(reference), len(window)
        bound = np.sqrt(-np.log(level / 2) / 2) * np.sqrt((m + n) / (m * n))
        return bool(np.mean(ks(reference, window) > bound) >= share)

    return judge


def robust(reference: Array, window: Array) -> bool:
    """SageMaker's default: L-infinity, less 1.8 standard errors, above 0.1."""
    m, n = len(reference), len(window)
    return bool((ks(reference, window) - 1.8 * np.sqrt((n + m) / (n * m)) > 0.1).any())


def evidently(reference: Array, window: Array) -> bool:
    """Evidently's preset of numbers, with more than 1,000 reference rows: normed Wasserstein distance above 0.1 in half of the columns."""
    quantiles = (np.arange(1000) + 0.5) / 1000
    apart = np.abs(np.quantile(reference, quantiles, axis=0) - np.quantile(window, quantiles, axis=0)).mean(0)
    return bool(np.mean(apart / reference.std(0) > 0.1) >= 0.5)


def nannyml(reference: Array, window: Array) -> bool:
    """NannyML's univariate default: Jensen-Shannon distance of a chunk outside mean and 3 deviations of the reference's chunks."""
    edges = [np.quantile(column, np.linspace(0, 1, 21)[1:-1]) for column in reference.T]

    def distances(rows: Array) -> Array:
        return np.array([_jensen_shannon(*(np.bincount(np.searchsorted(e, r), minlength=20) for r in (a, b)))
                         for e, a, b in zip(edges, reference.T, rows.T, strict=True)])  # fmt: skip

    chunks = np.array_split(reference, max(2, len(reference) // len(window)))
    known = np.array([distances(chunk) for chunk in chunks])
    return bool((distances(window) > known.mean(0) + 3 * known.std(0)).any())


def _jensen_shannon(one: Array, other: Array) -> float:
    p, q = one / one.sum(), other / other.sum()
    middle = (p + q) / 2

    def entropy(shares: Array) -> float:
        return float(-(shares[shares > 0] * np.log2(shares[shares > 0])).sum())

    return float(np.sqrt(max(0.0, entropy(middle) - (entropy(p) + entropy(q)) / 2)))


PEERS: Mapping[str, Judge] = {
    "KS p < 0.05": p_below(0.05, 1e-9),
    "Evidently": evidently,
    "NannyML": nannyml,
    "SageMaker robust": robust,
}


def rows_of(rows: Array) -> list[dict[str, float]]:
    return [{f"input.{at}": value for at, value in enumerate(row)} for row in rows.tolist()]


def draws(case: Case, count: int) -> Iterator[tuple[int, Array, Array]]:
    """(number, first rows with reference, both windows): ten pairs of windows to a reference."""
    draw = np.random.default_rng(17)
    make = (
        (lambda n: np.exp(draw.normal(0, 2, (n, case.columns))))
        if case.heavy
        else (lambda n: draw.normal(size=(n, case.columns)))
    )
    for number in range(count):
        if number % 10 == 0:
            reference = make(FIRST + REFERENCE)
        windows = make(2 * case.rows)
        yield number, reference, case.change(draw, windows) if case.change else windows


def ours(case: Case, reference: Array, windows: Array, begun: list[Watch]) -> bool:
    if not begun:
        watch = Watch(DriftRule(reference=REFERENCE, window=case.rows))
        watch.take(rows_of(reference[:FIRST]), 0.0)  # the bins take as many as they need
        watch.take(rows_of(reference[FIRST:]), 0.0)
        begun.append(watch)
    watch = copy.deepcopy(begun[0])
    judged = watch.take(rows_of(windows), 1.0)
    return any(each.drifting for each in judged)


def measured(case: Case, count: int, river: subprocess.Popen[str] | None, folder: str) -> dict[str, float]:
    """The share of draws in which each rule alarms."""
    alarms: dict[str, list[bool]] = {"Clary": []}
    begun: list[Watch] = []
    for number, reference, windows in draws(case, count):
        if number % 10 == 0:
            begun.clear()
        alarms["Clary"].append(ours(case, reference, windows, begun))
        for name, judge in PEERS.items():
            told = any(judge(reference[FIRST:], half) for half in np.split(windows, 2))
            alarms.setdefault(name, []).append(told)
        if river is not None and number < count // 10 and case.columns <= 5:
            assert river.stdin is not None
            assert river.stdout is not None
            np.save(f"{folder}/rows.npy", np.vstack([reference[FIRST:], windows]))
            river.stdin.write(f"{folder}/rows.npy\n")
            river.stdin.flush()
            for name, detected in json.loads(river.stdout.readline()).items():
                alarms.setdefault(f"river {name}", []).append(detected)
    return {name: float(np.mean(told)) for name, told in alarms.items()}


def table(case: Case, shares: Mapping[str, float], quiet: set[str]) -> list[Row]:
    """One row for each rule; the must is Clary's. `quiet`: peers with few false alarms, whose power counts."""
    rows = []
    best = max((share for name, share in shares.items() if name in quiet), default=0.0)
    for name, share in shares.items():
        must, ok = "", None
        if name == "Clary":
            must, ok = ("<= 0.1 %", share <= 0.001) if case.change is None else (f">= {best:.1%}", share >= best)
        rows.append(Row(f"{case.name}: {name}", 100 * share, "% alarms", must=must, ok=ok))
    return rows


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--draws", type=int, default=400, help="pairs of windows of each case")
    parser.add_argument(
        "--peers-dir", default=str(Path.home() / ".cache" / "clary-bench"), help="environments of the peers"
    )


def main() -> int:
    given = arguments("drift", options)
    rows: list[Row] = []
    loud: set[str] = set()
    with tempfile.TemporaryDirectory(prefix="clary-bench-drift-") as folder:
        river = None
        if not given.no_peers:
            say("installing river ...")
            packages = ("--require-hashes", "-r", str(HERE / "requirements" / "river.txt"))
            command = [environment(given.peers_dir, "river", packages), str(HERE / "river_drift.py"), str(REFERENCE)]
            river = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            for case in CASES:
                say(f"{case.name} ...")
                shares = measured(case, given.draws, river, folder)
                if case.change is None:
                    loud |= {name for name, share in shares.items() if share > ALLOWED}
                rows += table(case, shares, shares.keys() - loud - {"Clary"})
        finally:
            if river is not None:
                river.communicate()
    quiet = sorted({row.what.rpartition(": ")[2] for row in rows} - loud - {"Clary"})
    return finish(
        rows,
        given.json,
        [f"Peers with at most {ALLOWED:.0%} false alarms in every case: {', '.join(quiet) or 'none'}."],
    )


if __name__ == "__main__":
    sys.exit(main())
