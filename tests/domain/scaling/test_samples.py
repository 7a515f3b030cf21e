"""Counts of fronts become samples; what cannot be true becomes none."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from clary.domain.metrics.counts import Signals, VariantCounts
from clary.domain.metrics.datapoints import bucket
from clary.domain.scaling.samples import Gathered

NOW = 1_800_000_000.0
KEY = ("1", "r", "e", "v")


def row(born: str = "a", **change: object) -> VariantCounts:
    made = VariantCounts(
        *KEY, key="v", born=born, serving=1, completed=10, signals=Signals(service=0.1, working=2, ceiling=8)
    )
    return replace(made, **change)  # type: ignore[arg-type]


def arrivals(gathered: Gathered) -> list[int]:
    recent = gathered.of(KEY)
    assert recent is not None
    return [sample.arrivals for sample in recent.samples]


def test_the_first_look_only_begins_the_count() -> None:
    gathered = Gathered()
    assert gathered.hear([row(arrivals=1000)], NOW) == [KEY]
    assert arrivals(gathered) == []
    gathered.hear([row(arrivals=1007)], NOW + 1)
    assert arrivals(gathered) == [7]


def test_rows_of_all_fronts_and_fleets_are_summed() -> None:
    gathered = Gathered()
    gathered.hear([row(), row("b", key="v2")], NOW)
    slow = Signals(late=3, service=0.3, working=1, ceiling=4)
    gathered.hear([row(arrivals=5, queued=1), row("b", arrivals=2, refused=1, in_flight=2, signals=slow)], NOW + 1)
    recent = gathered.of(KEY)
    assert recent is not None
    [sample] = recent.samples
    assert (sample.arrivals, sample.queued, sample.in_flight, sample.late) == (8, 1, 2, 3)
    assert sample.service == pytest.approx(0.2)
    assert sample.spread == pytest.approx(0.25)
    assert (recent.working, recent.ceiling, recent.serving, recent.late) == (3, 12, 2, 3)


def test_variants_without_an_objective_are_none_of_its_business() -> None:
    gathered = Gathered()
    assert gathered.hear([row(signals=None)], NOW) == []
    assert gathered.of(KEY) is None


def test_a_late_look_makes_a_sample_for_each_second() -> None:
    gathered = Gathered()
    gathered.hear([row()], NOW)
    gathered.hear([row(arrivals=7)], NOW + 2.0)
    assert arrivals(gathered) == [3, 4] or arrivals(gathered) == [4, 3]


def test_two_looks_in_one_second_are_one() -> None:
    gathered = Gathered()
    gathered.hear([row()], NOW)
    assert gathered.hear([row(arrivals=3)], NOW + 0.1) == []
    gathered.hear([row(arrivals=7)], NOW + 1)
    assert arrivals(gathered) == [7]


@pytest.mark.parametrize("jump", [3600.0, -3600.0, 10.0])
def test_after_a_pause_or_a_set_clock_it_begins_anew(jump: float) -> None:
    gathered = Gathered()
    for second in range(5):
        gathered.hear([row(arrivals=second)], NOW + second)
    gathered.hear([row(arrivals=5000)], NOW + 5 + jump)
    assert arrivals(gathered) == []
    gathered.hear([row(arrivals=5003)], NOW + 6 + jump)
    assert arrivals(gathered) == [3]


def test_a_front_that_began_anew_takes_nothing_back() -> None:
    gathered = Gathered()
    gathered.hear([row(arrivals=1000)], NOW)
    gathered.hear([row("new", arrivals=2)], NOW + 1)
    assert arrivals(gathered) == []
    gathered.hear([row("new", arrivals=6)], NOW + 2)
    assert arrivals(gathered) == [4]


def test_a_front_that_is_away_is_not_forgotten() -> None:
    gathered = Gathered()
    gathered.hear([row(arrivals=10)], NOW)
    assert gathered.hear([], NOW + 1, complete=False) == []
    gathered.hear([row(arrivals=12)], NOW + 2)
    assert arrivals(gathered) == [1, 1]
    gathered.hear([], NOW + 3)
    assert gathered.of(KEY) is None


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e18, -1.0])
@pytest.mark.parametrize("name", ["service", "spread", "late", "working"])
def test_absurd_signals_make_no_sample(name: str, value: float) -> None:
    gathered = Gathered()
    gathered.hear([row()], NOW)
    gathered.hear([row(arrivals=5, signals=replace(Signals(service=0.1), **{name: value}))], NOW + 1)
    recent = gathered.of(KEY)
    assert recent is not None
    assert list(recent.samples) == []
    assert recent.absurd == f"{name} was counted as {value:g}"


@pytest.mark.parametrize("name", ["arrivals", "in_flight", "queued", "completed"])
def test_absurd_counts_make_no_sample_and_the_next_sane_ones_do(name: str) -> None:
    gathered = Gathered()
    gathered.hear([row(arrivals=1)], NOW)
    gathered.hear([row(**{name: -5 if name == "queued" else 10**18})], NOW + 1)
    assert arrivals(gathered) == []
    gathered.hear([row(arrivals=3, **({} if name == "arrivals" else {name: 20}))], NOW + 2)
    gathered.hear([row(arrivals=8, **({} if name == "arrivals" else {name: 20}))], NOW + 3)
    recent = gathered.of(KEY)
    assert recent is not None
    assert recent.absurd == ""
    assert arrivals(gathered)[-1] == 5
    assert max(arrivals(gathered)) == 5


def test_latencies_of_the_last_seconds() -> None:
    gathered = Gathered()
    gathered.hear([row(latency_buckets=((bucket(1e5), 500.0),))], NOW)
    recent = gathered.of(KEY)
    assert recent is not None
    assert math.isnan(recent.p99)
    slow = ((bucket(1e5), 597.0), (bucket(2e6), 3.0))
    gathered.hear([row(latency_buckets=slow)], NOW + 1)
    assert recent.p99 == pytest.approx(2.0, rel=0.05)
    for second in range(2, 13):
        gathered.hear([row(latency_buckets=(*slow, (bucket(3e5), 10.0 * second)))], NOW + second)
    assert recent.p99 == pytest.approx(0.3, rel=0.05)
