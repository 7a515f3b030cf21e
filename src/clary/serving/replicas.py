"""A replica as its home front sees it: the zygote's connection, its workers, what state it is in.

Owns the front's side of the worker protocol (`toolkit/frames.py`): who may dial, who said what. Does not know HTTP, which request
goes where (`queue.py` decides) and what a worker holds (`workers.py`).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Callable
from time import perf_counter
from typing import cast

from clary.domain.endpoints.routes import ReplicaRoute, ReplicaView
from clary.serving.boost import HANGING, sends_ahead, together
from clary.serving.outliers import Health
from clary.serving.parking import Meter
from clary.serving.workers import Owner, Worker
from clary.toolkit import frames

log = logging.getLogger(__name__)

SILENT = 6  # looks at a zygote that does not answer, until it counts as hung
JOINED = 1 << 16  # a batch up to this many bytes is written as one piece
FAILURE_LIMIT = 1 << 16  # characters of a traceback that are kept
HELLO_LIMIT = 1 << 16  # bytes of a frame before the other side said who it is


class Replica:
    """One replica: its route, its processes' connections, its state (absent, loading, ready, failed)."""

    def __init__(self, route: ReplicaRoute, owner: Owner, changed: Callable[[], None]) -> None:
        self.route = route
        self.owner = owner
        self.changed = changed
        self.zygote: Link | None = None
        self.workers: list[Worker] = []
        self.idle: list[Worker] = []
        self.busy = 0
        self.allowed = 1
        self.staffed: int | None = None  # workers wanted alive, where they come with demand; None: all that are allowed
        self.batch = 1
        self.loaded = False
        self.draining = False
        self.retired = False
        self.service = float(
            "inf"
        )  # seconds a prediction takes a worker, smoothed, where they go one by one; unknown at first
        self.pace = float("inf")  # seconds a request of a batch takes, undisturbed, where they go in batches
        self.health = Health()
        self.meter: Meter | None = None  # of a variant with a latency objective
        self.failure = ""
        self.load_seconds = 0.0
        self.load_mode = ""
        self.update(route)

    def update(self, route: ReplicaRoute) -> None:
        """A newer route: allowance and draining may have changed."""
        grown = route.allowance != self.route.allowance
        rethreaded = route.threads != self.route.threads
        self.route = route
        self.draining = route.draining
        self.allowed = max(1, route.allowance)
        if grown and self.zygote is not None and self.staffed is None:
            self.zygote.send(frames.control(frames.SPAWN, {"workers": self.allowed}))
        if rethreaded and route.threads:
            links = [worker.link for worker in self.workers] + ([self.zygote] if self.zygote else [])
            for link in links:
                link.send(frames.control(frames.RESIZE, {"threads": route.threads}))

    def staff(self, wanted: int) -> None:
        """Have so many workers from now on: more are forked, and of those that are idle the surplus is sent away."""
        self.staffed = wanted
        if self.zygote is not None:
            self.zygote.send(frames.control(frames.SPAWN, {"workers": wanted}))
        for _ in range(sum(not worker.dismissed for worker in self.workers) - wanted):
            if self.idle:
                self.idle.pop(0).dismiss()  # the one used longest ago

    def spare(self, waiting: int = 0) -> int:
        """How many workers could be given work now; fewer where the `waiting` requests are better kept together."""
        if self.draining:
            return 0
        free = min(len(self.idle), self.allowed - self.busy)
        if waiting and self.batch > 1 and free > 0 and together(waiting, self.pace):
            return 0 if self.busy else 1
        return free

    def cost(self) -> float:
        """Seconds that a prediction takes of one worker; infinite while nobody knows."""
        return self.pace if self.batch > 1 else self.service

    def restart(self, cost: float) -> None:
        """What was known of its cost is out of date."""
        self.pace = self.service = cost

    def alive(self) -> bool:
        return bool(self.workers)

    def take_idle(self) -> Worker:
        """The worker used last (its caches are warm, the others stay parked)."""
        self.busy += 1
        return self.idle.pop()

    def take(self, worker: Worker) -> None:
        """This very worker, which is idle. It may be one more than is allowed: nobody else has what its session needs."""
        self.busy += 1
        self.idle.remove(worker)

    def ahead(self) -> Worker | None:
        """The worker that may be sent one more request before it answers (`boost.sends_ahead`), where predictions go one by one. It
        holds the fewest, and of those it has been busy for the longest time."""
        if self.batch > 1 or self.draining or not sends_ahead(1, self.service):
            return None
        best, least = None, (0, 0.0)
        latest = perf_counter() - HANGING  # who has told nothing since may be at it for long
        for worker in self.workers:
            held = len(worker.flight)
            if worker.dying or worker.alone or worker.since < latest or not sends_ahead(held, self.service):
                continue
            if best is None or (held, worker.since) < least:
                best, least = worker, (held, worker.since)
        return best

    def state(self) -> str:
        if self.failure:
            return "failed"
        if self.zygote is None and not self.workers:
            return "absent"
        return "ready" if self.loaded and (self.workers or self.staffed == 0) else "loading"

    def admits(self, token: str) -> bool:
        digest = hashlib.sha256(token.encode()).hexdigest()
        return hmac.compare_digest(digest, self.route.token_sha256)

    def seat(self, hello: dict[str, object]) -> Replica:
        """Where a process that greets belongs: here, unless it serves one of many models."""
        return self

    def speaker(self) -> Link | None:
        """The zygote's connection, who looks after the workers."""
        return self.zygote

    def check(self) -> None:
        """Whether the zygote still answers; asked every so often. One that was silent `SILENT` times in a row is hung up on: its workers
        serve on, the control plane sees that the replica is not whole, and replaces it unless it comes back."""
        zygote = self.zygote
        if zygote is None or not self.loaded or self.retired:
            return
        if zygote.silent < SILENT:
            zygote.silent += 1
            zygote.send(frames.control(frames.PING))
            return
        log.warning(
            "replica %s: its zygote has not answered %d times in a row and is hung up on", self.route.id, SILENT
        )
        zygote.send(frames.control(frames.REDIAL))  # should it wake up after all, its workers need not die
        zygote.close()
        self.zygote_left(zygote)

    def retire(self) -> None:
        """The replica left the route: no new work; its processes are told to go once they answered what they have."""
        self.draining = self.retired = True
        for worker in list(self.workers):
            worker.link.send(frames.control(frames.DRAIN))
        if self.zygote is not None:
            self.zygote.send(frames.control(frames.DRAIN))

    def redial(self) -> None:
        """The front leaves in good order: nothing is in flight, everybody dials its successor."""
        links = [worker.link for worker in self.workers] + ([self.zygote] if self.zygote else [])
        for link in links:
            link.send(frames.control(frames.REDIAL))
            link.close()

    def in_flight(self) -> int:
        """Requests that its workers have."""
        return sum(len(worker.flight) for worker in self.workers)

    def view(self) -> ReplicaView:
        return ReplicaView(
            id=self.route.id,
            state=self.state(),
            workers=len(self.workers),
            busy=self.busy,
            in_flight=self.in_flight(),
            failure=self.failure,
            load_seconds=self.load_seconds,
            load_mode=self.load_mode,
            allowed=0 if self.draining else self.allowed,
        )

    # -- what the zygote says -----------------------------------------------------------------------------------------------------

    def on_zygote(self, kind: int, payload: bytes) -> None:
        said = frames.message(payload)
        if kind == frames.READY:
            self.loaded = True
            self.failure = ""
            self.batch = max(1, min(int(said.get("batch", 1)), frames.MAX_COUNT))
            self.load_seconds = float(said.get("seconds", 0.0))
            self.load_mode = str(said.get("mode", ""))
        elif kind == frames.FAILED:
            self.failure = str(said.get("message", ""))[-FAILURE_LIMIT:] or "the model could not be loaded"
        else:
            return  # EXITED: the worker's own connection tells it too
        self.changed()

    def zygote_left(self, link: Link) -> None:
        if self.zygote is link:
            self.zygote = None
            self.loaded = False
            self.changed()


class Link(asyncio.Protocol):
    """One connection of a process of a replica. `find` answers the replica of an id, or None."""

    __slots__ = ("_find", "_held", "_links", "loop", "parser", "replica", "silent", "transport", "worker")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, find: Callable[[str], Replica | None], links: set[Link]
    ) -> None:
        self.loop = loop
        self.parser = frames.Parser(HELLO_LIMIT)
        self.replica: Replica | None = None
        self.worker: Worker | None = None
        self.transport: asyncio.Transport | None = None
        self.silent = 0  # PINGs since a zygote was heard of
        self._held = False  # who gets what it says cannot take more for now
        self._find = find
        self._links = links

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are not registered as such
        self._links.add(self)

    def data_received(self, data: bytes) -> None:
        answers: list[frames.Answer] = []
        worker = self.worker
        try:
            for kind, count, payload in self.parser.feed(data):
                if kind == frames.RESULT and worker is not None:
                    answers += frames.answers(payload, count)
                elif kind == frames.PART and worker is not None:
                    worker.on_part(payload, count == 1)
                elif kind == frames.OPENED and worker is not None:
                    worker.on_opened(payload)
                else:
                    self._on_control(kind, payload)
            if answers and worker is not None:
                worker.on_results(answers)
        except (frames.FrameError, ValueError, TypeError):
            self.close()
            return
        pause = worker.rest() if answers and worker is not None else 0.0
        if pause and self.transport is not None:
            self.transport.pause_reading()
            self.loop.call_later(pause, self._rested)

    def _on_control(self, kind: int, payload: bytes) -> None:
        if self.replica is None:
            self._on_hello(kind, frames.message(payload))
        elif kind == frames.PING:
            self.send(frames.control(frames.PONG))
        elif self.worker is None:
            self.silent = 0
            if kind != frames.PONG:
                self.replica.on_zygote(kind, payload)
        elif kind in (frames.BEGUN, frames.CHUNK):
            self.worker.on_stream(kind, payload)

    def _on_hello(self, kind: int, hello: dict[str, object]) -> None:
        replica = self._find(str(hello.get("replica", ""))) if kind == frames.HELLO else None
        if replica is None or replica.retired or not replica.admits(str(hello.get("token", ""))):
            # one answer for the unknown and the wrong: the one who dials tries again, its route may be on the way
            self.send(frames.control(frames.REFUSED, {"reason": "no such replica here"}))
            self.close()
            return
        self.parser.limit = frames.MAX_RESULT
        self.replica = replica = replica.seat(hello)
        workers = replica.allowed if replica.staffed is None else replica.staffed
        welcome: dict[str, object] = {"version": frames.VERSION, "workers": workers, "threads": replica.route.threads}
        if hello.get("role") != "zygote":
            self.parser.most = frames.MAX_FRAME
            welcome |= {"most": replica.owner.most_answer, "setting": replica.owner.answer_setting}
        self.send(frames.control(frames.WELCOME, welcome))
        if hello.get("role") == "zygote":
            if replica.zygote is not None:
                replica.zygote.close()
            replica.zygote = self
        else:
            pid, version = hello.get("pid", 0), hello.get("version", 1)
            self.worker = Worker(
                self, replica, pid if isinstance(pid, int) else 0, version if isinstance(version, int) else 1
            )
            replica.workers.append(self.worker)
            replica.idle.append(self.worker)
            replica.owner.pump()
        replica.changed()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._links.discard(self)
        if self.worker is not None:
            # Linux resets a unix socket whose other end closed with bytes unread; an end that had read everything is a plain EOF
            self.worker.left(isinstance(exc, (ConnectionResetError, BrokenPipeError)))
        elif self.replica is not None:
            self.replica.zygote_left(self)

    def send(self, frame: bytes) -> None:
        if self.worker is not None:
            self.worker.last = False
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(frame)

    def write(self, pieces: list[bytes]) -> None:
        """A frame in pieces: small ones joined, large ones as they are."""
        transport = self.transport
        if transport is None:
            return  # connection_lost follows, or was: the batch is lost there
        if sum(map(len, pieces)) <= JOINED:
            transport.write(b"".join(pieces))
        else:
            transport.writelines(pieces)

    def pause(self) -> None:
        """Read nothing for now: the other side waits once the socket is full."""
        self._held = True
        if self.transport is not None:
            self.transport.pause_reading()

    def resume(self) -> None:
        self._held = False
        self._rested()

    def _rested(self) -> None:
        if not self._held and self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()
