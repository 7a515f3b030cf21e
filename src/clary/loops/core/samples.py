"""Samples on their way to the datapoints: gathered on the event loop, written together by a thread once a second.

Owns: the gathering and the bound. What a crash loses is the last second's samples, never an act. Does not know: what is counted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from clary.domain.errors import Unavailable
from clary.domain.metrics.datapoints import Datapoint, Series, single
from clary.domain.resources import Scope
from clary.ports import Datapoints

log = logging.getLogger(__name__)

EVERY = 1.0
MOST = 100_000  # samples that are held while the disk takes none


class Samples:
    """Call `add` from the event loop's thread; `run` (or `flush`) writes."""

    def __init__(self, datapoints: Datapoints, every: float = EVERY) -> None:
        self._datapoints = datapoints
        self._every = every
        self._held: dict[Scope, list[Datapoint]] = {}
        self._count = 0

    def add(
        self,
        scope: Scope,
        namespace: str,
        metric: str,
        dimensions: Mapping[str, str],
        unit: str,
        value: float,
        at: float,
    ) -> None:
        """One sample, at a time in epoch seconds."""
        if self._count >= MOST:
            return
        self._count += 1
        series = Series.of(namespace, metric, dimensions, unit)
        self._held.setdefault(scope, []).append(Datapoint(series, at, single(value), fine=True))

    async def flush(self) -> None:
        """Write what is there. What the disk does not take now is tried again."""
        held, self._held, self._count = self._held, {}, 0
        for scope, datapoints in held.items():
            try:
                await asyncio.to_thread(self._datapoints.put, scope, datapoints)
            except Unavailable as error:
                log.warning("%d samples are not written yet: %s", len(datapoints), error.message)
                self._held.setdefault(scope, [])[:0] = datapoints
                self._count += len(datapoints)

    async def run(self) -> None:
        """Until cancelled; then what is there is written once more."""
        try:
            while True:
                await asyncio.sleep(self._every)
                await self.flush()
        finally:
            await asyncio.shield(self.flush())
