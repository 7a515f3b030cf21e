"""Every few seconds: what the hosts of jobs use becomes datapoints.

The job loop observes its runs anyway and notes what it saw; a job that ends between two turns has its last figures told. Refuses to
know what the numbers mean (`domain/jobs/usage.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from clary.domain.errors import Unavailable
from clary.domain.jobs import usage
from clary.domain.jobs.usage import HostUsage
from clary.domain.machine.workload import Observation
from clary.domain.metrics.datapoints import Datapoint
from clary.domain.resources import Record, Scope
from clary.ports import Clock, Datapoints

log = logging.getLogger(__name__)

EVERY = 5.0  # seconds

Host = tuple[Scope, str]


class JobUsage:
    """`note` what is seen, `collect` now and then."""

    def __init__(self, datapoints: Datapoints, clock: Clock) -> None:
        self._datapoints = datapoints
        self._clock = clock
        self._before: dict[Host, HostUsage] = {}
        self._seen: dict[Host, HostUsage] = {}

    def note(self, record: Record, runs: Mapping[str, Observation | None], volume: int | None) -> None:
        """A job that runs, as its loop just saw it."""
        for host in usage.observed(record, runs, volume, self._clock.now()):
            self._seen[record.scope, host.name] = host

    async def run(self) -> None:
        """For as long as the process lives. Cancel it to end it."""
        while True:
            await asyncio.sleep(EVERY)
            try:
                await self.collect()
            except Unavailable as error:
                log.warning("what jobs use is not told: %s", error)

    async def collect(self) -> None:
        """Datapoints of all that was noted since the last time."""
        before, self._before, self._seen = self._before, self._seen, {}
        made: dict[Scope, list[Datapoint]] = {}
        for key, now in self._before.items():
            made.setdefault(key[0], []).extend(usage.datapoints(before.get(key), now))
        for scope, points in made.items():
            await asyncio.to_thread(self._datapoints.put, scope, points)
