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


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"time,count\n0,1\n", r": the first line must name t_seconds and requests, not 'time,count'"),
        (b"t_seconds,requests\n0,1\n", r": a trace needs two bins or more, not 1"),
        (b"", r": the first line must name"),
        (b"t_seconds,requests\n0,1\n1,many\n", r", line 3: '1,many' is not two numbers"),
        (b"t_seconds,requests\n0,1\n1\n", r", line 3: '1' is not two numbers"),
        (b"t_seconds,requests\n0,1\n1,1.5\n", r", line 3: requests must be a whole number from 0, not 1.5"),
        (b"t_seconds,requests\n0,1\n1,-2\n", r", line 3: requests must be a whole number"),
        (b"t_seconds,requests\n0,1\nnan,2\n", r", line 3: "),
        (b"t_seconds,requests\n5,1\n1,2\n", r", line 3: t_seconds 1 is not after 5"),
        (b"t_seconds,requests\n0,1\n2,1\n5,1\n", r": bins must be equal: t_seconds 5 is no multiple of 2 s away"),
        (b"t_seconds,requests\n0,1\n1,1\n1e9,1\n", r": 1000000000 bins of 1 s are more than"),
        (
            b"t_seconds,requests\n1700000060,1\n1700000001,2\n",
            r", line 3: t_seconds 1700000001 is not after 1700000060",
        ),
        (b"t_seconds,requests\n0,0\n1,0\n", r": it has no requests"),
        (b"t_seconds,requests\n0,1\n1,1e30\n", r", line 3: 1e\+30 requests in a bin are more than 1e\+12"),
        (b't_seconds,requests\n0,"1\n' + b"1,1\n" * 40_000, r": it is no CSV: field larger than field limit"),
    ],
)
def test_what_is_no_trace_is_refused(tmp_path: Path, text: bytes, says: str) -> None:
    path = tmp_path / "bad.csv.gz"
    path.write_bytes(gzip.compress(text))
    with pytest.raises(ValueError, match=r"^bad\.csv\.gz" + says):
        read(path)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (gzip.compress(b"t_seconds,requests\n" * 50)[:-9], "damaged or end early"),
        (b"\xff\xfe\x00\x01", "neither gzip nor text"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "bad.csv.gz"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=says):
        read(path)


@pytest.mark.parametrize(
    "text",
    [
        b"t_seconds,requests\n0,3\n60,0\n120,1\n",
        b"t_seconds,requests\n0,3\n60,0.0\n120,1\n\n",
        b"\xef\xbb\xbft_seconds,requests\r\n0,3\r\n60,0\r\n120,1\r\n",
        b"host,requests, t_seconds\na,3,1000\nb,0,1060\nc,1,1120\n",
    ],
)
def test_what_differs_in_form_alone_is_read(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "plain.csv"
    path.write_bytes(text)
    found = read(path)
    assert (found.name, found.width, found.counts.tolist()) == ("plain", 60.0, [3, 0, 1])


def test_a_bin_that_is_left_out_had_no_requests(tmp_path: Path) -> None:
    path = tmp_path / "gaps.csv"
    path.write_bytes(b"t_seconds,requests\n0,3\n1,1\n5,2\n")
    assert read(path).counts.tolist() == [3, 1, 0, 0, 0, 2]


def test_the_window_is_around_the_peak() -> None:
    counts = [1] * 1000
    counts[700] = 90
    window = around_peak(trace(counts), 3600.0)
    assert len(window.counts) == 60
    assert window.counts.argmax() in (29, 30)
    assert len(around_peak(trace(counts), 1e9).counts) == 1000
    counts[1] = 100
    assert around_peak(trace(counts), 3600.0).counts[1] == 100


def test_the_window_is_found_in_bins_of_any_width() -> None:
    """Of a millisecond (a minute has 60,000 of them), and of more than the window."""
    fine = numpy.ones(1_000_000, numpy.int64)
    fine[700_000] = 1000
    window = around_peak(Trace("t", 0.001, fine), 90.0)
    assert (len(window.counts), window.counts.max()) == (90_000, 1000)
    assert around_peak(trace([1, 9, 2], 86_400.0), 3600.0).counts.tolist() == [9]


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
