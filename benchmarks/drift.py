"""scripts/bench drift: false alarms and power of Clary's rule of drift, beside other tools at their defaults.

Each draw is a reference of 5,000 rows and two windows of the same size. Clary's rule has to find both windows; the others are said to
alarm when either window does, which is kind to their power and not to their false alarms. Evidently, NannyML and river run themselves, each
in an environment of its own (`peers/*_drift.py`), on a tenth of the draws; a test of Kolmogorov and Smirnov for each column and SageMaker's
rule are computed here. A dataset alarms when a column does (Evidently's preset: when half of the columns do).
"""

from __future__ import annotations

import argparse
import copy
import json
import os
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
DAY = 1440  # rows of the season
PEER_DRAWS = 10  # of so many draws one is for peers that run themselves
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
    kind: str = "normal"  # normal | heavy (lognormal) | categories (`many` of them) | season (one of `DAY` rows)
    many: int = 0


def shifted(by: float, columns: int | None = None) -> Callable[[np.random.Generator, Array], Array]:
    def change(_: np.random.Generator, rows: Array) -> Array:
        return np.hstack([rows[:, :columns] + by, rows[:, columns:]]) if columns else rows + by

    return change


def gradual(draw: np.random.Generator, rows: Array) -> Array:
    """Half a sigma, which comes little by little over both windows."""
    return rows + np.linspace(0, 0.5, len(rows))[:, None]


def moved(share: float, to: str) -> Callable[[np.random.Generator, Array], Array]:
    """That share of the rows of the first column is of this category."""

    def change(draw: np.random.Generator, rows: Array) -> Array:
        found = rows.copy()
        found[draw.random(len(rows)) < share, 0] = to
        return found

    return change


CASES = (
    *(Case(f"nothing, {n} rows, 5 columns", 5, n) for n in (100, 500, 2000)),
    Case("nothing, 500 rows, 50 columns", 50, 500),
    Case("nothing, 500 rows, 200 columns", 200, 500),
    Case("nothing, 500 rows, 5 columns, heavy tails", 5, 500, kind="heavy"),
    Case("nothing, 500 rows, 5 columns of 2 categories", 5, 500, kind="categories", many=2),
    Case("nothing, 500 rows, 5 columns of 1000 categories", 5, 500, kind="categories", many=1000),
    Case("nothing, a season of a day, windows of one day", 5, DAY, kind="season"),
    Case("nothing, a season of a day, windows of a third", 5, DAY // 3, kind="season"),
    Case("0.25 sigma, 500 rows", 5, 500, shifted(0.25)),
    Case("0.25 sigma, 2000 rows", 5, 2000, shifted(0.25)),
    Case("0.1 sigma, 2000 rows", 5, 2000, shifted(0.1)),
    Case("variance x 1.5, 500 rows", 5, 500, lambda _, rows: rows * 1.5**0.5),
    Case("little by little 0.5 sigma, 2000 rows", 5, 2000, gradual),
    Case("1 of 50 columns, 0.5 sigma, 500 rows", 50, 500, shifted(0.5, 1)),
    Case("1 of 200 columns, 0.5 sigma, 500 rows", 200, 500, shifted(0.5, 1)),
    Case("shares of 1 of 5 columns by 10 %, 500 rows", 5, 500, moved(0.1, "c9"), "categories", 10),
    Case("a new category, 5 % of 1 of 5 columns, 500 rows", 5, 500, moved(0.05, "new"), "categories", 10),
    Case("unit of a column, 100 rows", 5, 100, lambda _, rows: np.hstack([rows[:, :1] * 1000, rows[:, 1:]])),
)


@dataclass(frozen=True, slots=True)
class DriftPeer:
    """A tool that runs itself: its environment and program, and the most columns of numbers and of categories that it is asked about."""

    name: str
    packages: str
    program: str
    numbers: int
    categories: int
    python: str = sys.executable


def peers(python: str) -> tuple[DriftPeer, ...]:
    """`python`: an interpreter of 3.12, the newest that NannyML has."""
    return (
        DriftPeer("river", "river", "river_drift.py", 5, 0),
        DriftPeer("Evidently", "evidently", "evidently_drift.py", 5, 5),
        DriftPeer("NannyML", "nannyml", "nannyml_drift.py", 200, 5, python),
    )


def ks(reference: Array, window: Array) -> Array:
    """The Kolmogorov-Smirnov distance of each column; of categories the largest difference of a share."""
    found = []
    if reference.dtype == object:
        for ours, theirs in zip(reference.T, window.T, strict=True):
            names, both = np.unique(np.concatenate([ours, theirs]).astype(str), return_inverse=True)
            counts = [np.bincount(part, minlength=len(names)) for part in np.split(both, [len(ours)])]
            found.append(float(np.abs(counts[0] / len(ours) - counts[1] / len(theirs)).max()))
        return np.array(found)
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


PEERS: Mapping[str, Judge] = {
    "KS p < 0.05": p_below(0.05, 1e-9),
    "SageMaker robust": robust,
}


def rows_of(rows: Array) -> list[dict[str, float]]:
    return [{f"input.{at}": value for at, value in enumerate(row)} for row in rows.tolist()]


def draws(case: Case, count: int) -> Iterator[tuple[int, Array, Array]]:
    """(number, first rows with reference, both windows): ten pairs of windows to a reference."""
    draw = np.random.default_rng(17)
    for number in range(count):
        if number % 10 == 0:
            reference = made(case, draw, FIRST + REFERENCE)
        windows = made(case, draw, 2 * case.rows)
        yield number, reference, case.change(draw, windows) if case.change else windows


def made(case: Case, draw: np.random.Generator, rows: int) -> Array:
    """So many rows in which nothing changes; the season begins with them."""
    shape = (rows, case.columns)
    if case.kind == "categories":
        shares = 1 / (np.arange(case.many) + 1.0)
        names = np.array([f"c{at}" for at in range(case.many)], dtype=object)
        return np.asarray(draw.choice(names, shape, p=shares / shares.sum()))
    if case.kind == "season":
        return draw.normal(size=shape) + np.sin(2 * np.pi * np.arange(rows) / DAY)[:, None]
    return np.exp(draw.normal(0, 2, shape)) if case.kind == "heavy" else draw.normal(size=shape)


def ours(case: Case, reference: Array, windows: Array, begun: list[Watch]) -> bool:
    if not begun:
        watch = Watch(DriftRule(reference=REFERENCE, window=case.rows))
        watch.take(rows_of(reference[:FIRST]), 0.0)  # the bins take as many as they need
        watch.take(rows_of(reference[FIRST:]), 0.0)
        begun.append(watch)
    watch = copy.deepcopy(begun[0])
    judged = watch.take(rows_of(windows), 1.0)
    return any(each.drifting for each in judged)


Running = Mapping[DriftPeer, "subprocess.Popen[str]"]


def measured(case: Case, count: int, running: Running, folder: str) -> dict[str, float]:
    """The share of draws in which each rule alarms."""
    alarms: dict[str, list[bool]] = {"Clary": []}
    begun: list[Watch] = []
    for number, reference, windows in draws(case, count):
        if number % 10 == 0:
            begun.clear()
        alarms["Clary"].append(ours(case, reference, windows, begun))
        for name, judge in PEERS.items():
            if case.kind != "categories" or judge is robust:
                told = any(judge(reference[FIRST:], half) for half in np.split(windows, 2))
                alarms.setdefault(name, []).append(told)
        if number % PEER_DRAWS == 0:
            np.save(f"{folder}/rows.npy", np.vstack([reference[FIRST:], windows]))
            for name, detected in asked(case, running, f"{folder}/rows.npy").items():
                alarms.setdefault(name, []).append(detected)
    return {name: float(np.mean(told)) for name, told in alarms.items()}


def asked(case: Case, running: Running, path: str) -> dict[str, bool]:
    """What the tools that run themselves say."""
    found: dict[str, bool] = {}
    for peer, process in running.items():
        if case.columns > (peer.categories if case.kind == "categories" else peer.numbers):
            continue
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{path}\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"{peer.name} ended with exit code {process.wait()}")
        told = json.loads(line)
        found |= {name if name == peer.name else f"{peer.name} {name}": bool(value) for name, value in told.items()}
    return found


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
    parser.add_argument("--cases", default="", help="only cases whose name has this in it")
    parser.add_argument(
        "--peers-dir", default=str(Path.home() / ".cache" / "clary-bench"), help="environments of the peers"
    )
    parser.add_argument(
        "--python312", default=str(HERE.parent.parent / ".venv-py312" / "bin" / "python"), help="for NannyML"
    )


def started(given: argparse.Namespace) -> dict[DriftPeer, subprocess.Popen[str]]:
    """The tools that run themselves. One that cannot be installed is left out, and said to be."""
    found: dict[DriftPeer, subprocess.Popen[str]] = {}
    for peer in () if given.no_peers else peers(os.path.realpath(given.python312)):
        say(f"{peer.name} ...")
        packages = ("--require-hashes", "-r", str(HERE / "requirements" / f"{peer.packages}.txt"))
        try:
            python = environment(given.peers_dir, peer.packages, packages, peer.python)
        except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
            say(f"{peer.name} is left out: {error}")
            continue
        command = [python, str(HERE / peer.program), str(REFERENCE)]
        found[peer] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    return found


def main() -> int:
    given = arguments("drift", options)
    rows: list[Row] = []
    loud: set[str] = set()
    with tempfile.TemporaryDirectory(prefix="clary-bench-drift-") as folder:
        running = started(given)
        try:
            for case in [case for case in CASES if given.cases in case.name]:
                say(f"{case.name} ...")
                shares = measured(case, given.draws, running, folder)
                if case.change is None:
                    loud |= {name for name, share in shares.items() if share > ALLOWED}
                rows += table(case, shares, shares.keys() - loud - {"Clary"})
        finally:
            for process in running.values():
                process.communicate()
    quiet = sorted({row.what.rpartition(": ")[2] for row in rows} - loud - {"Clary"})
    return finish(
        rows,
        given.json,
        [f"Peers with at most {ALLOWED:.0%} false alarms in every case: {', '.join(quiet) or 'none'}."],
    )


if __name__ == "__main__":
    sys.exit(main())
