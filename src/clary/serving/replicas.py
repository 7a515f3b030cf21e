"""A replica as its home front sees it: the zygote's connection, its workers, what they hold.

Owns the front's side of the worker protocol (`toolkit/frames.py`): who may dial, what state a replica is in, sending batches and
taking results. Refuses to know HTTP and which request goes where (`queue.py` decides).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable
from time import perf_counter
from typing import Protocol, cast

from clary.domain.routes import ReplicaRoute, ReplicaView
from clary.serving.boost import allowed, sends_ahead, smoothed
from clary.serving.prediction import Prediction
from clary.toolkit import frames

JOINED = 1 << 16  # a batch up to this many bytes is written as one piece
FAILURE_LIMIT = 1 << 16  # characters of a traceback that are kept
HELLO_LIMIT = 1 << 16  # bytes of a frame before the other side said who it is
DYING = 5.0  # seconds until a killed worker must be gone


class Owner(Protocol):
    """The variant a replica belongs to."""

    def pump(self) -> None: ...
    def finish(self, prediction: Prediction, status: int, meta: bytes, body: bytes, now: float) -> None: ...
    def lost(self, predictions: list[Prediction]) -> None: ...
    def again(self, predictions: list[Prediction]) -> None: ...


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
        self.service = float("inf")  # seconds a prediction takes a worker, smoothed; unknown at first
        self.failure = ""
        self.load_seconds = 0.0
        self.load_mode = ""
        self.update(route)

    def update(self, route: ReplicaRoute) -> None:
        """A newer route: allowance and draining may have changed."""
        grown = route.allowance != self.route.allowance
        self.route = route
        self.draining = route.draining
        self.allowed = allowed(self.busy, 0.0, 0.0, 0, 1, max(1, route.allowance))
        if grown and self.zygote is not None and self.staffed is None:
            self.zygote.send(frames.control(frames.SPAWN, {"workers": self.allowed}))

    def staff(self, wanted: int) -> None:
        """Have so many workers from now on: more are forked, and of those that are idle the surplus is sent away."""
        self.staffed = wanted
        if self.zygote is not None:
            self.zygote.send(frames.control(frames.SPAWN, {"workers": wanted}))
        for _ in range(sum(not worker.dismissed for worker in self.workers) - wanted):
            if self.idle:
                self.idle.pop(0).dismiss()  # the one used longest ago

    def spare(self) -> int:
        """How many workers could be given work now."""
        if self.draining:
            return 0
        return min(len(self.idle), self.allowed - self.busy)

    def take_idle(self) -> Worker:
        """The worker used last (its caches are warm, the others stay parked)."""
        self.busy += 1
        return self.idle.pop()

    def ahead(self) -> Worker | None:
        """The worker that may be sent one more request before it answers (`boost.sends_ahead`), where predictions go one by one. It
        holds the fewest, and of those it has been busy for the longest time."""
        if self.batch > 1 or self.draining or not sends_ahead(1, self.service):
            return None
        best, least = None, (0, 0.0)
        for worker in self.workers:
            held = len(worker.flight)
            if not worker.dying and sends_ahead(held, self.service) and (best is None or (held, worker.since) < least):
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

    def view(self) -> ReplicaView:
        return ReplicaView(
            id=self.route.id,
            state=self.state(),
            workers=len(self.workers),
            busy=self.busy,
            in_flight=sum(len(worker.flight) for worker in self.workers),
            failure=self.failure,
            load_seconds=self.load_seconds,
            load_mode=self.load_mode,
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


class Worker:
    """One worker: what it holds, its connection. The first `begun` entries of `flight` are the batch it works on; more may have been
    sent ahead, each a batch of its own, which it begins in turn when the one before is answered."""

    __slots__ = ("_next", "begun", "dismissed", "dying", "flight", "last", "link", "pid", "replica", "since")

    def __init__(self, link: Link, replica: Replica, pid: int) -> None:
        self.link = link
        self.replica = replica
        self.pid = pid
        self.flight: dict[int, Prediction] = {}
        self.begun = 0
        self.since = 0.0
        self.dismissed = False  # told to go while it was idle
        self.dying = False
        self.last = False  # the batch it works on is the last thing that was sent to it
        self._next = 0

    def give(self, batch: list[Prediction]) -> None:
        """Send a batch. The caller made the worker busy (`Replica.take_idle`)."""
        self.begun = len(batch)
        self.since = perf_counter()
        for prediction in batch:
            prediction.sent = self.since
        self._send(batch)
        self.last = True

    def give_ahead(self, prediction: Prediction) -> None:
        """Send one more to a busy worker (`Replica.ahead`). It was not begun: if the worker dies, another gets it."""
        self.last = False
        self._send([prediction])

    def _send(self, batch: list[Prediction]) -> None:
        flight = self.flight
        number = self._next
        entries = []
        for prediction in batch:
            number = number + 1 & 0xFFFFFFFF
            flight[number] = prediction
            entries.append((number, prediction.meta, prediction.body))
        self._next = number
        self.link.write(frames.predict(entries))

    def on_results(self, payload: bytes, count: int) -> None:
        """Take answers; when the batch is whole, the worker gets the next before anybody is answered."""
        now = perf_counter()
        flight = self.flight
        finished = []
        for number, status, meta, body in frames.answers(payload, count):
            prediction = flight.pop(number, None)
            if prediction is not None:
                self.begun -= 1
                finished.append((prediction, status, meta, body))
        owner = self.replica.owner
        if finished and self.begun <= 0 and not self.dying:
            self._next_batch(now, owner)
        for prediction, status, meta, body in finished:
            owner.finish(prediction, status, meta, body, now)

    def _next_batch(self, now: float, owner: Owner) -> None:
        replica = self.replica
        took = now - self.since
        replica.service = smoothed(replica.service, took)
        self.since = now
        if self.flight:
            self.begun = 1
            next(iter(self.flight.values())).sent = now
        else:
            replica.busy -= 1
            replica.idle.append(self)
        owner.pump()
        if replica.draining and not replica.busy:
            replica.changed()

    def kill(self) -> None:
        """It holds a request past its deadline: the zygote kills and reaps it, and forks another. The rest of its batch is lost."""
        if self.dying:
            return
        self.dying = True
        self._let_go(False)
        zygote = self.replica.zygote
        if zygote is None:
            self.link.close()
            return
        zygote.send(frames.control(frames.KILL, {"pid": self.pid}))
        self.link.loop.call_later(DYING, self.link.close)

    def dismiss(self) -> None:
        """It is idle and not needed any more. The caller took it out of the idle ones."""
        self.dismissed = True
        self.link.send(frames.control(frames.DRAIN))

    def left(self, unread: bool) -> None:
        """Its connection ended. `unread`: it had not read the last thing that was sent to it; when that was its batch, the model never
        had it."""
        replica = self.replica
        replica.workers.remove(self)
        if self in replica.idle:
            replica.idle.remove(self)
        elif not self.dismissed:
            replica.busy -= 1
        self._let_go(unread)
        replica.changed()

    def _let_go(self, unread: bool) -> None:
        """What it began is lost, what it never began (or never read at all) goes to another."""
        held = list(self.flight.values())
        self.flight.clear()
        begun = 0 if unread and self.last else self.begun
        self.replica.owner.lost(held[:begun])
        if held[begun:]:
            self.replica.owner.again(held[begun:])


class Link(asyncio.Protocol):
    """One connection of a process of a replica. `find` answers the replica of an id, or None."""

    __slots__ = ("_find", "_links", "loop", "parser", "replica", "transport", "worker")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, find: Callable[[str], Replica | None], links: set[Link]
    ) -> None:
        self.loop = loop
        self.parser = frames.Parser(HELLO_LIMIT)
        self.replica: Replica | None = None
        self.worker: Worker | None = None
        self.transport: asyncio.Transport | None = None
        self._find = find
        self._links = links

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are not registered as such
        self._links.add(self)

    def data_received(self, data: bytes) -> None:
        try:
            for kind, count, payload in self.parser.feed(data):
                if kind == frames.RESULT and self.worker is not None:
                    self.worker.on_results(payload, count)
                else:
                    self._on_control(kind, payload)
        except (frames.FrameError, ValueError, TypeError):
            self.close()

    def _on_control(self, kind: int, payload: bytes) -> None:
        if self.replica is None:
            self._on_hello(kind, frames.message(payload))
        elif kind == frames.PING:
            self.send(frames.control(frames.PONG))
        elif self.worker is None:
            self.replica.on_zygote(kind, payload)

    def _on_hello(self, kind: int, hello: dict[str, object]) -> None:
        replica = self._find(str(hello.get("replica", ""))) if kind == frames.HELLO else None
        if replica is None or replica.retired or not replica.admits(str(hello.get("token", ""))):
            # one answer for the unknown and the wrong: the one who dials tries again, its route may be on the way
            self.send(frames.control(frames.REFUSED, {"reason": "no such replica here"}))
            self.close()
            return
        self.parser.limit = frames.MAX_FRAME
        self.replica = replica
        workers = replica.allowed if replica.staffed is None else replica.staffed
        welcome = {"version": frames.VERSION, "workers": workers, "threads": 0}
        self.send(frames.control(frames.WELCOME, welcome))
        if hello.get("role") == "zygote":
            if replica.zygote is not None:
                replica.zygote.close()
            replica.zygote = self
        else:
            pid = hello.get("pid", 0)
            self.worker = Worker(self, replica, pid if isinstance(pid, int) else 0)
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

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()
