"""One worker as its front sees it: what was sent to it and is not answered.

Owns sending batches, taking results and pieces, and the end of a worker that hangs or whose client hung up. Does not know
sockets (`replicas.Link`), HTTP and which request goes where (`queue.py` decides).
"""

from __future__ import annotations

from collections import deque
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

from clary.serving.boost import paced, rest, smoothed
from clary.serving.passing import SLOW_PART
from clary.serving.prediction import Holder, Prediction, Single, Taker
from clary.serving.streams import Stream
from clary.toolkit import frames

if TYPE_CHECKING:
    from clary.serving.replicas import Link, Replica
    from clary.serving.singles import Singles

DYING = 5.0  # seconds until a killed worker must be gone
STOPPING = 2.0  # seconds that a worker has to stop an answer that nobody reads, and as long as it took to load where each loads
LOOKS = 8  # in that time: what a machine stands still counts as one, since the worker could not hear of it either


class Owner(Protocol):
    """The variant a replica belongs to."""

    most_answer: int
    answer_setting: str

    @property
    def singles(self) -> Singles: ...
    def opened(self, prediction: Prediction, status: int, meta: bytes, size: int, worker: Holder) -> Taker: ...
    def pump(self) -> None: ...
    def finish(self, prediction: Prediction, status: int, meta: bytes, body: bytes, now: float) -> None: ...
    def lost(self, predictions: list[Prediction]) -> None: ...
    def again(self, predictions: list[Prediction]) -> None: ...


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
                self.replica.owner.singles.begin(prediction, meta)
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
        owner.singles.end(prediction, how, data, now)

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
            self.replica.owner.singles.stranded(list(own))
        begun = 0 if unread and self.last else self.begun
        if its_fault:
            self.replica.health.answers += len(held[:begun])
            self.replica.health.failures += len(held[:begun])
        self.replica.owner.lost(held[:begun])
        if held[begun:]:
            self.replica.owner.again(held[begun:])
