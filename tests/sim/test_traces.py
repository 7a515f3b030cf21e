from __future__ import annotations

import gzip
from pathlib import Path

import numpy
import pytest

from clary.sim.traces import Trace, around_peak, draw, league_work, read, thinned


def trace(counts: list[int], width: float = 60.0) -> Trace:
    return Trace("t", width, numpy.array(counts))


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "two.csv.gz"
    path.write_bytes(gzip.compress(b"t_seconds,requests\n0,3\n60,5\n120,1\n"))
    found = read(path)
    assert (found.name, found.width, found.counts.tolist(), found.mean) == ("two", 60.0, [3, 5, 1], 9 / 180)


@pytest.mark.parametrize("text", [b"time,count\n0,1\n", b"t_seconds,requests\n0,1\n", b""])
def test_what_is_no_trace_is_refused(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "bad.csv.gz"
    path.write_bytes(gzip.compress(text))
    with pytest.raises(ValueError, match=r"bad\.csv\.gz: "):
        read(path)


def test_the_window_is_around_the_peak() -> None:
    counts = [1] * 1000
    counts[700] = 90
    window = around_peak(trace(counts), 3600.0)
    assert len(window.counts) == 60
    assert window.counts.argmax() in (29, 30)
    assert len(around_peak(trace(counts), 1e9).counts) == 1000
    counts[1] = 100
    assert around_peak(trace(counts), 3600.0).counts[1] == 100


def test_requests_arrive_in_their_bins_and_meet_everybody_alike() -> None:
    first, second = (draw(trace([5, 0, 7]), 0.2) for _ in range(2))
    assert numpy.array_equal(first.arrivals, second.arrivals)
    assert numpy.histogram(first.arrivals, [0, 60, 120, 180])[0].tolist() == [5, 0, 7]
    assert (numpy.diff(first.arrivals) >= 0).all()
    assert (first.objective, first.length) == (1.0, 180.0)


def test_thinning_keeps_a_share_and_the_work_follows_the_rate() -> None:
    dense = trace([6000] * 100)
    assert thinned(dense, 0.25, 3).counts.sum() == pytest.approx(150_000, rel=0.02)
    assert league_work(dense) == pytest.approx(0.04)
    assert league_work(trace([60] * 100)) == 4.0
    assert league_work(trace([1] * 100)) == 0.5
