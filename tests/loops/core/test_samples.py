from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from clary.domain.errors import Unavailable
from clary.domain.metrics.datapoints import Datapoint, Series
from clary.domain.resources import Scope
from clary.loops.core.samples import MOST, Samples
from clary.testing.datapoints import MemoryDatapoints

ONE, OTHER = Scope("000000000000", "us-east-1"), Scope("111111111111", "us-east-1")
SERIES = Series.of("N", "m", {"a": "b"}, "Count")


class Disk(MemoryDatapoints):
    """Takes nothing while it is full."""

    full = False

    def put(
        self, scope: Scope, datapoints: Sequence[Datapoint], marks: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        if self.full:
            raise Unavailable("no space left")
        super().put(scope, datapoints, marks)

    def count(self, scope: Scope) -> float:
        return sum(summary.count for _, summary in self.get(scope, SERIES, 0, 1000, 60))


def add(samples: Samples, scope: Scope = ONE, value: float = 1.0) -> None:
    samples.add(scope, "N", "m", {"a": "b"}, "Count", value, 100.0)


async def test_samples_are_written_together_each_where_it_belongs() -> None:
    disk = Disk()
    samples = Samples(disk)
    for scope in (ONE, ONE, OTHER):
        add(samples, scope)
    assert disk.count(ONE) == 0
    await samples.flush()
    await samples.flush()
    assert (disk.count(ONE), disk.count(OTHER)) == (2, 1)


async def test_what_the_disk_does_not_take_is_written_later_and_bounded() -> None:
    disk = Disk()
    samples = Samples(disk)
    disk.full = True
    add(samples)
    await samples.flush()
    for _ in range(MOST + 10):
        add(samples)
    disk.full = False
    await samples.flush()
    assert disk.count(ONE) == MOST
