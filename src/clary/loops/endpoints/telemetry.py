"""Each second: what the fronts counted becomes datapoints; every few seconds what replicas use of CPU and memory does too.

**Nothing is told twice and nothing is lost**: the counts up to which datapoints were made are a mark that is written together with
them. A control plane that comes back goes on from the mark; what was counted meanwhile belongs to the second in which it came back.

Does not know what the numbers mean (`domain/endpoints/serving_metrics.py`) and who reads them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from clary.domain.endpoints import serving_metrics
from clary.domain.endpoints.life import plant_of
from clary.domain.errors import ClaryError
from clary.domain.machine.usage import Usage, Used
from clary.domain.metrics.counts import Count, VariantCounts
from clary.domain.metrics.datapoints import Datapoint
from clary.domain.names import resource_of
from clary.domain.resources import Scope
from clary.domain.scaling.samples import Key
from clary.ports import Backend, Clock, Datapoints, Fronts, Store

log = logging.getLogger(__name__)

Home = tuple[str, str, str]  # an endpoint: account, region, name

MARK = "counts/"
USAGE_EVERY = 5.0  # seconds
IDLE_AFTER = 60.0  # seconds without a request
IDLE_EVERY = 10.0
HALF = 0.5  # a look this soon after a second's end is at that second


@dataclass(frozen=True, slots=True)
class TelemetryPorts:
    store: Store
    fronts: Fronts
    backend: Backend[Any]
    datapoints: Datapoints
    clock: Clock
    memory: Callable[[str], int]  # what a replica of an instance type may use
    hear: Callable[[Count, float], None] = field(default=lambda count, now: None)  # who else goes by what is counted
    use: Callable[[Mapping[Key, Used]], None] = field(default=lambda used: None)  # and by what replicas use


@dataclass(slots=True)
class Telemetry:
    """`collect` once a second."""

    ports: TelemetryPorts
    _before: dict[str, VariantCounts] | None = None
    _used: dict[str, Usage] = field(default_factory=dict)
    _looked: float = 0.0
    _busy: dict[Home, float] = field(default_factory=dict)  # endpoint -> the last second in which it was

    async def run(self) -> None:
        """For as long as the process lives. Cancel it to end it."""
        while True:
            now = self.ports.clock.now()
            await asyncio.sleep(1.0 - now % 1.0)
            try:
                await self.collect()
            except (ClaryError, OSError) as error:
                log.warning("no datapoints in this second: %s", error)

    async def collect(self) -> None:
        """The datapoints of the second that ended."""
        count = await self.ports.fronts.counts()
        now = self.ports.clock.now()
        self.ports.hear(count, now)
        if self._before is None:
            marks = await asyncio.to_thread(self.ports.datapoints.marks, MARK)
            self._before = {name: VariantCounts.from_json(orjson.loads(text)) for name, text in marks.items()}
        seen = {MARK + counts.born: counts for counts in count.variants}
        gained = [serving_metrics.growth(counts, self._before.get(name)) for name, counts in seen.items()]
        second = (now - HALF) // 1
        moved = {name: counts for name, counts in seen.items() if _advanced(counts, self._before.get(name))}
        busy = {row.home for row in moved.values()} | {row.home for row in gained if any(row.concurrent)}
        made = dict(serving_metrics.datapoints(self._awake(gained, busy, second), second))
        by_scope: dict[Scope, dict[str, str]] = {scope: {} for scope in made}
        for name, counts in moved.items():
            scope = Scope(counts.account, counts.region)
            by_scope.setdefault(scope, {})[name] = orjson.dumps(counts.to_json()).decode()
        for scope, marks in by_scope.items():
            await asyncio.to_thread(self.ports.datapoints.put, scope, made.get(scope, []), marks)
            self._before |= {name: moved[name] for name in marks}
        if count.complete:
            await self._forget([name for name in self._before if name not in seen])
        if self.ports.clock.monotonic() - self._looked >= USAGE_EVERY:
            self._looked = self.ports.clock.monotonic()
            await self._usage({(c.account, c.region, c.endpoint) for c in count.variants})

    def _awake(self, gained: list[VariantCounts], busy: set[Home], second: float) -> list[VariantCounts]:
        """Without endpoints that nobody has asked for a while: these say once in ten seconds that they are idle, for the disk's sake."""
        homes = {row.home for row in gained}
        self._busy = {home: second if home in busy else self._busy.get(home, second) for home in homes}
        told = second % IDLE_EVERY == IDLE_EVERY - 1
        return [row for row in gained if told or second - self._busy[row.home] <= IDLE_AFTER]

    async def _forget(self, gone: list[str]) -> None:
        """Counters of fronts and variants that are no more."""
        if gone and self._before is not None:
            await asyncio.to_thread(self.ports.datapoints.unmark, gone)
            for name in gone:
                del self._before[name]

    async def _usage(self, endpoints: set[tuple[str, str, str]]) -> None:
        used: dict[str, Usage] = {}
        grown: dict[Key, Used] = {}
        for account, region, name in endpoints:
            scope = Scope(account, region)
            record = await self.ports.store.get(resource_of(name)[0], scope, resource_of(name)[1])
            if record is None:
                continue
            made: list[Datapoint] = []
            plant = plant_of(record)
            fleets = [fleet for fleet in (plant.serving, plant.incoming, *plant.retiring) if fleet is not None]
            for variant, replica in (
                (v, r) for fleet in fleets for v in fleet.variants for r in v.replicas if r.handle
            ):
                now = await self._used_by(replica.handle, self.ports.memory(replica.size or variant.size))
                if now is not None:
                    used[replica.handle], before = now, self._used.get(replica.handle)
                    made += serving_metrics.usage(name, variant.name, before, now)
                    if (more := now.since(before)) is not None:
                        key = (account, region, name, variant.name)
                        grown[key] = grown.get(key, Used(more.seconds, 0.0)).plus(more)
            if fleets:
                made += serving_metrics.wanted(name, fleets[0], self.ports.clock.now())
            if made:
                await asyncio.to_thread(self.ports.datapoints.put, scope, made)
        self._used = used
        self.ports.use(grown)

    async def _used_by(self, handle: str, limit: int) -> Usage | None:
        seen = await self.ports.backend.observe(handle)
        if seen is None or seen.started_at is None or seen.ended_at is not None:
            return None
        now = self.ports.clock.now()
        return Usage(seen.started_at, now, seen.cpu_seconds, seen.memory_bytes, limit, seen.waited_seconds)


def _advanced(now: VariantCounts, before: VariantCounts | None) -> bool:
    if before is None:
        return True
    return (now.arrivals, now.refused, now.completed, now.unanswered, now.models) != (
        before.arrivals,
        before.refused,
        before.completed,
        before.unanswered,
        before.models,
    )
