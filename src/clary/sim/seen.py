"""A second as the other autoscalers' metrics count it.

A front tells how many requests there are at a second's end, and Clary's policy goes by that. CPU utilization and concurrency as others
measure them are means over time: from counts at one moment of each second they would be several times as noisy as they are in use.
"""

from __future__ import annotations

from clary.domain.scaling.signals import Sample


class Seen(Sample):
    """A sample of a simulated second. `busy` workers and requests `inside` (at work or waiting) in the mean of the second."""

    busy: float
    inside: float


def busy(sample: Sample) -> float:
    """A sample of a front has no means: its counts stand for them."""
    return sample.busy if isinstance(sample, Seen) else float(sample.in_flight - sample.queued)


def inside(sample: Sample) -> float:
    return sample.inside if isinstance(sample, Seen) else float(sample.in_flight)
