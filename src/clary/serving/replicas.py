"""A replica as its home front sees it: the zygote's connection, its workers and what each of them holds, what state it is in.

Owns the front's side of the worker protocol (`toolkit/frames.py`): who may dial, who said what, batches on their way, and the end of a
worker that hangs or whose client hung up. Does not know HTTP and which request goes where (`queue.py` decides).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Protocol, cast

from clary.domain.endpoints.routes import ReplicaRoute, ReplicaView
from clary.serving.boost import HANGING, paced, rest, sends_ahead, smoothed, together
from clary.serving.outliers import Health
from clary.serving.parking import Meter
from clary.serving.passing import SLOW_PART
from clary.serving.prediction import Holder, Prediction, Single, Taker
from clary.serving.streams import Stream
from clary.toolkit import frames

log = logging.getLogger(__name__)

DYING = 5.0  # seconds until a killed worker must be gone
STOPPING = 2.0  # seconds that a worker has to stop an answer that nobody reads, and as long as it took to load where each loads
LOOKS = 8  # in that time: what a machine stands still counts as one, since the worker could not hear of it either
SILENT = 6  # looks at a zygote that does not answer, until it counts as hung
JOINED = 1 << 16  # a batch up to this many bytes is written as one piece
FAILURE_LIMIT = 1 << 16  # characters of a traceback that are kept
HELLO_LIMIT = 1 << 16  # bytes of a frame before the other side said who it is


class Owner(Protocol):
    """The variant a replica belongs to."""

    most_answer: int
    answer_setting: str

    def opened(self, prediction: Prediction, status: int, meta: bytes, size: int, worker: Holder) -> Taker: ...
    def begin(self, prediction: Stream, meta: bytes) -> None: ...
    def end(self, prediction: Stream, how: int, data: bytes, now: float) -> None: ...
    def pump(self) -> None: ...
    def finish(self, prediction: Prediction, status: int, meta: bytes, body: bytes, now: float) -> None: ...
    def lost(self, predictions: list[Prediction]) -> None: ...
    def again(self, predictions: list[Prediction]) -> None: ...
    def stranded(self, predictions: list[Single]) -> None: ...


class Worker:
    """One worker: what it holds, its connection. The first `begun` entries of `flight` are the batch it works on; more may have been
    sent ahead, each a batch of its own, which it begins in turn when the one before is answered."""

    __slots__ = (
        "_next",
        "alone",
        "begun",
        "dismissed",
        "dying",
        "flight",
        "large",
        "last",
        "link",
        "number",
        "own",
        "pid",
        "replica",
        "seated",
        "since",
        "size",
        "version",
    )

    def __init__(self, link: Link, replica: Replica, pid: int, version: int = 1) -> None:
        self.link = link
        self.replica = replica
        self.pid = pid
        self.version = version
        self.alone = False  # what it works on was sent by itself: nothing goes ahead behind it
        self.flight: dict[int, Prediction] = {}
        self.own: deque[Single] | None = None  # of its sessions: they wait for nobody else
        self.begun = 0
        self.size = 1  # of the batch
        self.since = 0.0
        self.seated = 0  # sessions that were begun here
        self.dismissed = False  # told to go while it was idle
        self.dying = False
        self.last = False  # the batch it works on is the last thing that was sent to it
        self._next = 0
        self.large: Taker | None = None  # takes the large answer that it is sending
        self.number = 0  # of that

    def give(self, batch: list[Prediction]) -> None:
        """Send a batch. The caller made the worker busy (`Replica.take_idle`)."""
        self.begun = self.size = len(batch)
        self.since = perf_counter()
        for prediction in batch:
            prediction.sent = self.since
        self.alone = False
        self._send(batch)
        self.last = True

    def give_single(self, prediction: Single, last: bool) -> None:
        """Send one that goes by itself. `last`: its answer is for the client, not for another container."""
        self.begun = self.size = 1
        prediction.sent = self.since = perf_counter()
        prediction.worker = self
        self.alone = True
        self._send([prediction], frames.STREAM if last and prediction.streams and self.version >= 2 else frames.PREDICT)
        self.last = True

    def give_ahead(self, prediction: Prediction) -> None:
        """Send one more to a busy worker (`Replica.ahead`). It was not begun: if the worker dies, another gets it."""
        self.last = False
        self._send([prediction])

    def _send(self, batch: list[Prediction] | list[Single], kind: int = frames.PREDICT) -> None:
        flight = self.flight
        number = self._next
        entries = []
        for prediction in batch:
            number = number + 1 & 0xFFFFFFFF
            flight[number] = prediction
            entries.append((number, prediction.meta, prediction.body))
        self._next = number
        self.link.write(frames.predict(entries, kind))

    def on_results(self, answers: list[frames.Answer]) -> None:
        """Take all answers of one read; when the batch is whole, the worker gets the next before anybody is answered."""
        now = perf_counter()
        flight = self.flight
        finished = []
        for number, status, meta, body in answers:
            prediction = flight.pop(number, None)
            if prediction is not None:
                self.begun -= 1
                finished.append((prediction, status, meta, body))
        owner = self.replica.owner
        if finished and self.begun <= 0 and not self.dying:
            self._next_batch(now, owner, [entry[0] for entry in finished])
        health = self.replica.health
        health.answers += len(finished)
        for prediction, status, meta, body in finished:
            if status >= 500:
                health.failures += 1
            owner.finish(prediction, status, meta, body, now)

    def on_opened(self, payload: bytes) -> None:
        """Take the beginning of a large answer."""
        self.number, status, size, meta = frames.opened(payload)
        prediction = self.flight.get(self.number)
        self.large = None
        if prediction is not None:
            self.large = self.replica.owner.opened(prediction, status, meta, size, self)

    def on_part(self, data: bytes, last: bool) -> None:
        """Take a piece of it."""
        now = perf_counter()
        large, prediction = self.large, self.flight.get(self.number)
        if prediction is None:
            return  # it met its deadline
        if prediction.done:
            prediction.deadline = now + SLOW_PART  # its own deadline was that of the beginning
        if large is not None:
            large.piece(data)
        if not last:
            return
        self.large = None
        del self.flight[self.number]
        self.begun -= 1
        if self.begun <= 0 and not self.dying:
            self._next_batch(now, self.replica.owner, [prediction])
        self.replica.health.answers += 1
        if large is not None:
            large.end()

    def on_stream(self, kind: int, payload: bytes) -> None:
        """Take the beginning of an answer in pieces, or a piece of it."""
        if kind == frames.BEGUN:
            number, meta = frames.opening(payload)
            prediction = self._streamed(number, False)
            if prediction is not None and not prediction.done:
                self.replica.owner.begin(prediction, meta)
            return
        number, how, data = frames.piece(payload)
        prediction = self._streamed(number, True)
        if prediction is None:
            return
        now = perf_counter()
        if how == frames.MORE:
            prediction.part(data, now)
            return
        owner = self.replica.owner
        del self.flight[number]
        self.begun -= 1
        if self.begun <= 0 and not self.dying:
            self._next_batch(now, owner, [])
        self.replica.health.answers += 1
        self.replica.health.failures += how == frames.BROKEN
        owner.end(prediction, how, data, now)

    def _streamed(self, number: int, begun: bool) -> Stream | None:
        """The stream of that number; None when it was let go."""
        prediction = self.flight.get(number)
        if prediction is not None and not isinstance(prediction, Stream):
            raise frames.FrameError("a piece of something that was wanted whole")
        if prediction is not None and not prediction.done and prediction.begun != begun:
            raise frames.FrameError("the pieces of an answer are out of order")
        return prediction

    def cancel(self, prediction: Single) -> None:
        """Nobody reads its answer: it is told, and killed when it goes on."""
        number = next((n for n, held in self.flight.items() if held is prediction), None)
        if number is None or self.dying:
            return
        self.link.send(frames.control(frames.CANCEL, {"ids": [number]}))
        patience = STOPPING + (self.replica.load_seconds if self.replica.load_mode == "per-worker" else 0.0)
        self._insist(number, patience / LOOKS, LOOKS)

    def _insist(self, number: int, step: float, looks: int) -> None:
        if number not in self.flight:
            return
        if looks:
            self.link.loop.call_later(step, self._insist, number, step, looks - 1)
        else:
            self.kill("its client hung up, and it did not stop")

    def pause(self) -> None:
        self.link.pause()

    def resume(self) -> None:
        self.link.resume()

    def _next_batch(self, now: float, owner: Owner, finished: list[Prediction]) -> None:
        replica = self.replica
        took = now - self.since
        if replica.batch > 1:
            took /= self.size
            replica.pace = paced(replica.pace, took)
        else:
            took /= max(1, len(finished))
            replica.service = smoothed(replica.service, took)
            for prediction in finished:  # those after the first were begun and answered since the last read
                prediction.sent = now - took
        if replica.health.slow:
            replica.health.sample(took)
        if replica.meter is not None:
            replica.meter.took(took, self.size if replica.batch > 1 else max(1, len(finished)))
        self.since = now
        if self.flight:
            self.begun = 1
            next(iter(self.flight.values())).sent = now
        elif self.own is None or not self._next_own():
            replica.busy -= 1
            replica.idle.append(self)
        owner.pump()
        if replica.draining and not replica.busy:
            replica.changed()

    def rest(self) -> float:
        """Seconds that its next answers may wait: it has enough to do meanwhile."""
        replica = self.replica
        return rest(len(self.flight), replica.service) if replica.batch == 1 else 0.0

    def _next_own(self) -> bool:
        """Go on with what waits for this worker alone; whether there is something."""
        while self.own:
            prediction = self.own.popleft()
            if not (prediction.done or prediction.abandoned()):
                self.give_single(prediction, True)
                return True
            prediction.settle(b"", False)
        self.own = None
        return False

    def wait_for(self, prediction: Single, most: int, most_bytes: int) -> bool:
        """Queue one of its sessions here; False when enough wait."""
        own = self.own = self.own or deque()
        if len(own) >= most or sum(len(waiting.body) for waiting in own) > most_bytes:
            return False
        own.append(prediction)
        return True

    @property
    def place(self) -> tuple[str, int]:
        return self.replica.route.id, self.pid

    def kill(self, why: str = "") -> None:
        """It holds a request past its deadline: the zygote kills and reaps it, and forks another. The rest of its batch is lost."""
        if self.dying:
            return
        self.dying = True
        self._let_go(False, its_fault=not why)
        zygote = self.replica.speaker()
        if zygote is None:
            self.link.close()
            return
        zygote.send(frames.control(frames.KILL, {"pid": self.pid, "why": why}))
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
        replica.owner.pump()  # its place is free: another worker may be there already, and took nothing while it was not

    def _let_go(self, unread: bool, its_fault: bool = True) -> None:
        """What it began is lost, what it never began (or never read at all) goes to another."""
        held = list(self.flight.values())
        self.flight.clear()
        large, self.large = self.large, None
        if large is not None:
            large.broke()
        own, self.own = self.own, None
        if own:
            self.replica.owner.stranded(list(own))
        begun = 0 if unread and self.last else self.begun
        if its_fault:
            self.replica.health.answers += len(held[:begun])
            self.replica.health.failures += len(held[:begun])
        self.replica.owner.lost(held[:begun])
        if held[begun:]:
            self.replica.owner.again(held[begun:])


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
    """One connection of a process of a replica. `find` answers the replica of an id, or None; `caller` a connection for the process that
    greets as the caller of a private route, or None."""

    __slots__ = ("_caller", "_find", "_held", "_links", "loop", "parser", "replica", "silent", "transport", "worker")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        find: Callable[[str], Replica | None],
        links: set[Link],
        caller: Callable[[dict[str, object]], asyncio.Protocol | None] = lambda hello: None,
    ) -> None:
        self.loop = loop
        self.parser = frames.Parser(HELLO_LIMIT)
        self.replica: Replica | None = None
        self.worker: Worker | None = None
        self.transport: asyncio.Transport | None = None
        self.silent = 0  # PINGs since a zygote was heard of
        self._held = False  # who gets what it says cannot take more for now
        self._find = find
        self._caller = caller
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

    def _on_caller(self, hello: dict[str, object]) -> None:
        """The process of a job greets, which calls replicas and is none: from now on its connection is one of the front's HTTP."""
        connection, transport = self._caller(hello), self.transport
        if connection is None or transport is None:
            self.send(frames.control(frames.REFUSED, {"reason": "no such route here"}))
            self.close()
            return
        self.send(frames.control(frames.WELCOME, {"version": frames.VERSION}))
        self._links.discard(self)
        self.transport = None
        transport.set_protocol(connection)
        connection.connection_made(transport)

    def _on_hello(self, kind: int, hello: dict[str, object]) -> None:
        if kind == frames.HELLO and hello.get("role") == "caller":
            self._on_caller(hello)
            return
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
