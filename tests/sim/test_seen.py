"""What other autoscalers' metrics count of a second: means, not what there is at its end."""

from __future__ import annotations

import numpy
import pytest

from clary.domain.scaling.signals import Sample
from clary.sim import seen
from clary.sim.peers import Static
from clary.sim.run import Run, World
from clary.sim.traces import Requests


def test_means_are_of_the_whole_second() -> None:
    """Three requests of half a second at the beginning of each second, two workers: at its end there is nothing."""
    arrivals = numpy.sort(numpy.repeat(numpy.arange(9.0) + 0.001, 3))
    run = Run(Requests(arrivals, numpy.full(27, 0.4), 9.0, 5.0), World(first=1, allowance=2, interval=60.0))
    run.through(Static(count=1))
    for sample in run.samples[1:8]:
        assert (sample.in_flight, sample.arrivals) == (0, 3)
        assert seen.busy(sample) == pytest.approx(1.2)
        assert seen.inside(sample) == pytest.approx(1.2 + 0.4)


def test_a_fronts_sample_has_its_counts() -> None:
    sample = Sample(1.0, 5, 5, 4, 1, 0, 0.1, 0.0)
    assert (seen.busy(sample), seen.inside(sample)) == (3.0, 4.0)
