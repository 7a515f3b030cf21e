"""The loop of asynchronous inference: every asynchronous endpoint has a backlog here, worked off as fast as its replicas allow.

The records are the queue (`domain/endpoints/async_inference.py`); what is here is made of them. The process that holds the lease on an
endpoint's record works off its backlog, so with several control planes each invocation has one dispatcher. A prediction in flight is a
task; its connection breaks with this process, while the front goes on and keeps the answer for the successor, who asks under the same id.

Wake-ups: an invocation was recorded, an endpoint's record changed (a replica became ready), a task ended; else a look every second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from clary.domain.endpoints import async_inference
from clary.domain.endpoints.async_inference import COMPLETED, FAILED, KIND, QUEUED
from clary.domain.endpoints.backlog import Backlog, BacklogRoom, Entry, room_of
from clary.domain.endpoints.turn import plant_of
from clary.domain.errors import ClaryError, Stale
from clary.domain.lifecycle import EndpointStatus
from clary.domain.resources import Query, Record, Scope
from clary.loops.asynchronous.invocations import NAMESPACE, UNITS, AsyncPorts, Failure, InvocationWork, passes
from clary.pages import pages

log = logging.getLogger(__name__)

LOOK = 1.0  # seconds between looks at what expires
SWEEP = 5.0
MEASURE = 10.0  # seconds between samples of the gauges
LEASE = 30.0
PAGE = 500
RECENT = 120.0  # seconds of records of others that are looked through again and again
MOST = 3  # times that a task may end by a mistake of ours
_STATUSES = tuple(status.value for status in EndpointStatus)


@dataclass(slots=True)
class Queue:
    """One endpoint's."""

    scope: Scope
    name: str
    room: BacklogRoom = field(default_factory=BacklogRoom)
    backlog: Backlog = field(default_factory=Backlog)


class AsyncInference:
    """`owner` as in leases of the endpoint loop; `cpus` tells what the machine has now; `shared`: other control planes record
    invocations too, so that looking into the store is the only way to hear of them."""

    def __init__(
        self,
        ports: AsyncPorts,
        folder: str,
        owner: str,
        cpus: Callable[[], int],
        shared: bool = False,
        look: float = LOOK,
    ) -> None:
        self._ports = ports
        self._work = InvocationWork(ports, folder)
        self._owner = owner
        self._cpus = cpus
        self._shared = shared
        self._look = look
        self._queues: dict[tuple[Scope, str], Queue] = {}
        self._scopes: set[Scope] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._fresh: set[str] = set()  # ARNs of endpoints to be looked at
        self._event = asyncio.Event()
        self._began = 0.0
        self.looks = 0  # how often it looked by now
        self._swept = self._measured = float("-inf")

    async def run(self) -> None:
        """Until cancelled. What is in flight then goes on without us."""
        self._began = self._ports.clock.now()
        await asyncio.to_thread(self._work.clean)
        unwatch = self._ports.store.watch(self._changed)
        try:
            await self._adopt()
            while True:
                await self._turn()
                try:
                    async with asyncio.timeout(self._look):
                        await self._event.wait()
                except TimeoutError:
                    continue
        finally:
            unwatch()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _turn(self) -> None:
        self._event.clear()
        self.looks += 1
        now = self._ports.clock.monotonic()
        try:
            if now - self._swept >= SWEEP:
                await self._sweep()
                self._swept = now
            elif self._fresh:
                await self._claim(tuple(self._fresh))
        except ClaryError as error:
            log.warning("looking for asynchronous endpoints: %s", error.message)
        for queue in list(self._queues.values()):
            self._expire(queue)
            self._pump(queue)
        if now - self._measured >= MEASURE:
            self._measured = now
            self._measure()

    # -- which endpoints ----------------------------------------------------------------------------------------------------------

    def _changed(self, record: Record) -> None:
        """Somebody wrote a record (on this event loop)."""
        if record.kind == KIND:
            queue = self._queues.get((record.scope, str(record.document["endpoint"])))
            if queue is not None and record.status == QUEUED:
                queue.backlog.offer(_entry(record, self._began))
                self._pump(queue)
        elif record.kind == "endpoint":
            queue = self._queues.get((record.scope, record.name))
            if queue is not None:
                self._see(queue, record)
                self._pump(queue)
            elif async_inference.config_of(record):
                self._fresh.add(record.arn)
                self._event.set()

    async def _adopt(self) -> None:
        """Invocations whose endpoint went away while nobody ran: nobody else would look at them."""
        seen: set[str] = set()
        names: set[tuple[Scope, str]] = set()
        while True:  # claiming is the one way to list all scopes; those claimed last come last
            leases = await self._ports.store.claim(
                KIND, self._owner, self._ports.clock.now(), LEASE, (QUEUED, COMPLETED, FAILED), PAGE
            )
            names |= {(lease.record.scope, str(lease.record.document["endpoint"])) for lease in leases}
            if len(leases) < PAGE or any(lease.record.arn in seen for lease in leases):
                break
            seen |= {lease.record.arn for lease in leases}
        self._scopes |= {scope for scope, _ in names}
        for scope, name in names:
            if await self._ports.store.get("endpoint", scope, name) is None:
                queue = Queue(scope, name)
                await self._load(queue)
                self._close(queue)

    async def _sweep(self) -> None:
        held = await self._claim(())
        for key, queue in list(self._queues.items()):
            if key in held:
                if self._shared:
                    await self._load(queue, self._ports.clock.now() - RECENT)
            elif await self._ports.store.get("endpoint", queue.scope, queue.name) is None:
                del self._queues[key]
                self._close(queue)
            else:  # another control plane has it now
                del self._queues[key]
                queue.room = BacklogRoom()
        await self._forget()

    async def _claim(self, arns: tuple[str, ...]) -> set[tuple[Scope, str]]:
        """Take up the asynchronous endpoints that are ours to look after; which those are."""
        now = self._ports.clock.now()
        self._fresh = self._fresh.difference(arns) if arns else set()
        leases = await self._ports.store.claim("endpoint", self._owner, now, LEASE, _STATUSES, 10_000, arns)
        held = set()
        for lease in leases:
            record = lease.record
            key = (record.scope, record.name)
            if key not in self._queues and not async_inference.config_of(record):
                continue
            held.add(key)
            if key not in self._queues:
                queue = self._queues[key] = Queue(record.scope, record.name)
                self._scopes.add(record.scope)
                self._see(queue, record)
                await self._load(queue)
            else:
                self._see(self._queues[key], record)
        return held

    def _see(self, queue: Queue, record: Record) -> None:
        """Take over what the endpoint's record says of its replicas."""
        queue.room = room_of(plant_of(record), self._cpus())

    async def _load(self, queue: Queue, since: float | None = None) -> None:
        """Take in what is recorded and not here yet."""
        query = Query(
            KIND,
            queue.scope,
            statuses=(QUEUED,),
            where={"endpoint": queue.name},
            created_after=since,
            descending=False,
            limit=PAGE,
        )
        async for page in pages(self._ports.store, query):
            for record in page:
                queue.backlog.offer(_entry(record, self._began))

    def _close(self, queue: Queue) -> None:
        """The endpoint was deleted: nobody will answer what waits."""
        reason = f"ClientError: The endpoint {queue.name} was deleted before it took the request."
        for entry in queue.backlog.empty():
            self._start(queue, entry, Failure(reason, reason))

    async def _forget(self) -> None:
        """Remove invocations that were answered a while ago."""
        for scope in self._scopes:
            before = self._ports.clock.now() - async_inference.KEPT
            query = Query(KIND, scope, statuses=(COMPLETED, FAILED), modified_before=before, limit=PAGE)
            while old := await self._ports.store.page(query):
                gone = await asyncio.gather(*(self._ports.store.remove(r) for r in old), return_exceptions=True)
                bad = next((e for e in gone if isinstance(e, BaseException) and not isinstance(e, Stale)), None)
                if bad is not None:
                    raise bad

    # -- working it off -----------------------------------------------------------------------------------------------------------

    def _expire(self, queue: Queue) -> None:
        for entry in queue.backlog.expire(self._ports.clock.now()):
            reason = "ClientError: The request waited longer than its RequestTTLSeconds, and expired."
            self._start(queue, entry, Failure(reason, reason, "ExpiredRequests"))

    def _pump(self, queue: Queue) -> None:
        for entry in queue.backlog.take(queue.room.capacity, self._ports.clock.now()):
            self._start(queue, entry)

    def _start(self, queue: Queue, entry: Entry, failure: Failure | None = None) -> None:
        if failure is None:
            work = self._work.carry(queue.scope, entry, queue.room.variant)
        else:
            work = self._work.fail(queue.scope, entry, queue.room.variant, failure)
        task = asyncio.get_running_loop().create_task(work, name=f"invocation {entry.id}")
        self._tasks.add(task)
        task.add_done_callback(lambda ended: self._ended(queue, entry, failure, ended))

    def _ended(self, queue: Queue, entry: Entry, failure: Failure | None, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        now = self._ports.clock.now()
        if error is None:
            queue.backlog.done(entry.id)
            queue.backlog.served()
        elif failure is not None:  # it has been decided on, and is told as soon as that can be
            log.warning("invocation %s of %s cannot be failed yet: %s", entry.id, queue.name, error)
            asyncio.get_running_loop().call_later(5 * self._look, self._start, queue, entry, failure)
        elif passes(error):
            log.debug("%s: %s", queue.name, error)
            queue.backlog.put_back(replace(entry, doubtful=True), now)
        else:
            log.error("invocation %s of %s failed", entry.id, queue.name, exc_info=error)
            if entry.lost + 1 >= MOST:
                reason = "InternalServerError: The request failed because of an internal error."
                self._start(queue, entry, Failure(reason, reason))
                return
            queue.backlog.put_back(replace(entry, doubtful=True, lost=entry.lost + 1), now)
        pause = queue.backlog.resumes() - now
        if pause > 0:
            asyncio.get_running_loop().call_later(pause, self._pump, queue)
        else:
            self._pump(queue)

    def _measure(self) -> None:
        now = self._ports.clock.now()
        for queue in self._queues.values():
            for metric, value in queue.backlog.metrics(queue.room.replicas, now).items():
                where, unit = {"EndpointName": queue.name}, UNITS.get(metric, "None")
                self._ports.samples.add(queue.scope, NAMESPACE, metric, where, unit, value, now)


def _entry(record: Record, began: float) -> Entry:
    """An invocation in the queue. One that is older than this process may have been sent already."""
    expires = record.created + float(record.document["ttl"])
    return Entry(record.name, record.created, expires, doubtful=record.created < began)
