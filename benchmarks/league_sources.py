"""Which traces the league replays: a folder's, or the ones that it makes itself; and of which kind each is, from its counts alone."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy

from clary.sim import traces
from clary.sim.traces import Trace

BURSTY = 1.3  # variance of arrivals over a Poisson stream's, from one bin to the next, above which a trace is bursty
CALM = 60.0  # seconds that are not scored
MOST_REQUESTS = 8_000_000  # of one window: beyond that a trace is thinned
NOT_TRACES = ("index.csv", "league.csv")  # what the league itself wrote, where --out is the same folder


def find(folder: Path) -> list[Path]:
    """The folder's traces by name. ValueError tells all that is wrong with them."""
    if not folder.is_dir():
        raise ValueError(f"{folder.resolve()} is no folder: --traces wants one with files NAME.csv.gz or NAME.csv")
    paths = sorted(p for p in folder.iterdir() if p.name.endswith((".csv.gz", ".csv")) and p.name not in NOT_TRACES)
    if not paths:
        raise ValueError(
            f"{folder.resolve()} has no trace: no *.csv.gz and no *.csv besides {' and '.join(NOT_TRACES)}"
        )
    wrong, names = [], dict[str, Path]()
    for path in paths:
        try:
            trace = load(path)
        except ValueError as error:
            wrong.append(str(error))
            continue
        except OSError as error:
            wrong.append(f"{path.name}: {error.strerror}")
            continue
        if trace.name in names:
            wrong.append(f"{path.name} and {names[trace.name].name} are one name: take one away")
        names[trace.name] = path
    if wrong:
        raise ValueError("\n".join(wrong))
    return paths


def load(path: Path) -> Trace:
    """The trace, thinned where its window would be too long to replay: requests are taken out at random, counts are never scaled."""
    return _load(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=32)
def _load(path: Path, changed: int) -> Trace:
    trace = traces.read(path)
    window = traces.around_peak(trace)
    if window.width * len(window.counts) <= 2 * CALM or not window.counts[int(CALM // window.width) :].any():
        raise ValueError(
            f"{path.name}: nothing to judge: it needs requests after its first {CALM:.0f} s, and twice that in length"
        )
    kept = MOST_REQUESTS / float(window.counts.sum())
    return trace if kept >= 1.0 else traces.thinned(trace, kept, seed=1)


def share(path: Path) -> float:
    """The share of its requests that is replayed."""
    return float(load(path).counts.sum() / traces.read(path).counts.sum())


def kind(path: Path) -> str:
    """smooth, bursty, on/off or sparse, from the counts alone."""
    trace = load(path)
    if not trace.dense:
        return "sparse"
    bins = max(1, round(10.0 / trace.width))
    tens = numpy.add.reduceat(trace.counts, numpy.arange(0, len(trace.counts), bins)) / (bins * trace.width)
    if (tens < trace.mean / 4).mean() > 0.5:
        return "on/off"
    if trace.width > 3.0:
        return "smooth"
    differences = trace.counts[1:] - trace.counts[:-1]
    shape = float((differences**2).sum() / (2 * trace.counts.sum()))
    return "bursty" if shape > BURSTY else "smooth"


def stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".csv")
