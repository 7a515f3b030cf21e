"""One variant of one endpoint: its queue, its replicas, and the assignment of requests to workers.

Owns the common queue, natural micro-batching (a free worker takes what is there), the queue's caps, deadlines, and the counters of
the variant; and who gets a request of a session, or one that is answered in pieces. Does not know HTTP, sockets and the control plane:
those who wait are `Waiter`s (prediction.py), workers are `Worker`s (replicas.py), the events of a stream are made in `streams.py`.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from time import perf_counter

from clary.domain.endpoints.routes import ReplicaRoute, VariantRoute, VariantView
from clary.domain.metrics.counts import VariantCounts
from clary.serving import outliers
from clary.serving.answers import ModelErrors, stream_head, success_head
from clary.serving.boost import HOLD, gathered
from clary.serving.capture import Capture
from clary.serving.counters import Counters
from clary.serving.gathered import Gathered, GatherRoom
from clary.serving.overload import SHARE, Drain, Refusals, TurnedAway, most_waiting, surplus
from clary.serving.parking import Parking, signals
from clary.serving.passing import Nowhere, Streaming, pass_on
from clary.serving.pipelines import Passage, first_meta
from clary.serving.prediction import Holder, Prediction, Single, Taker
from clary.serving.replicas import Replica, Worker
from clary.serving.shadow import Mirror
from clary.serving.streams import BROKEN, Stream
from clary.toolkit import frames

log = logging.getLogger(__name__)

JUDGED = 0.25  # seconds between judgements of the replicas
BATCH_BYTES = 8 << 20  # bodies of one batch, unless it is a single one
SMALL_BATCH = 8  # a batch is not cut below this to keep more workers busy: a batch costs less than two
HEADS = 256  # distinct answer heads remembered
OWN_MOST = 64  # requests of sessions that wait for one worker
TELL_AGAIN = 1.0  # seconds between calls for a replica


@dataclass(frozen=True, slots=True)
class Around:
    """What the queues of a front use of it. `soon(call)` calls in the event loop's next turn, `later(seconds, call)` then;
    `arm(variant)` has its deadlines looked at. `max_answer` bounds an answer where the route does not say otherwise, `max_payload`
    what goes from one container to the next, `room` what is gathered of large ones."""

    request_id: Callable[[], bytes]
    soon: Callable[[Callable[[], None]], object]
    later: Callable[[float, Callable[[], None]], object]
    arm: Callable[[Variant], None]
    max_answer: int = 25 << 20
    max_payload: int = 25 << 20
    room: GatherRoom = field(default_factory=GatherRoom)


class Variant:
    """The queue of one variant and the workers behind it. Every method is called on the front's event loop."""

    def __init__(self, route: VariantRoute, errors: ModelErrors, around: Around) -> None:
        self.route = route
        self.errors = errors
        self.counters = Counters()
        self.replicas: dict[str, Replica] = {}
        self.queue: deque[Prediction] = deque()
        self.queued_bytes = 0
        self.around = around
        self._scheduled = False
        self.holding = False  # requests are kept for a larger batch
        self.held_for = 0  # how many requests a batch is held for
        self._counted = (0.0, 0)  # when the rate of arrivals was last looked at, and how many there had been
        self._grouping = False
        self.armed = self.hope = False
        self.leaving: list[Replica] = []
        self.passage: Passage | None = None  # to the next container of a pipeline
        self.mirror: Mirror | None = None  # to a shadow, which gets copies of what comes in here
        self.copies: Mirror | None = None  # the one that leads here, where this is a shadow
        self.capture: Capture | None = None  # keeps a part of what comes in here, and its answers
        self.names_model = False  # requests name a model, of this container or of one behind it: `targets.MultiVariant`
        self._uneven = False  # queued requests do not expire in their order
        self._drain = Drain()
        self._refusals = Refusals()
        self._most = route.queue_requests  # that may wait, by how quickly they get their turn
        self._judged = 0.0
        self.unfit = False  # some replicas do worse than others
        self.parking: Parking | None = None  # of a variant with a latency objective
        self._heads: dict[bytes, bytes] = {}
        self._request_id = around.request_id
        self.most_answer = around.max_answer  # bytes
        self.answer_setting = "max_answer"  # that bounds them, if one does

    # -- arrivals -----------------------------------------------------------------------------------------------------------------

    def offer(self, prediction: Prediction) -> bool:
        """Take a request in; False when the queue is full (a count and a size cap, both from the route)."""
        if self.full():
            return False
        self.arrived(prediction)
        if self.capture is not None and not prediction.single:
            self.capture.take(prediction)
        self.accept(prediction)
        return True

    def arrived(self, prediction: Prediction) -> None:
        """A request is let in: its time begins."""
        prediction.arrived = now = perf_counter()
        prediction.deadline = now + (prediction.timeout or self.route.timeout)
        self._uneven |= bool(prediction.timeout)
        self.counters.arrivals += 1

    def full(self) -> bool:
        """Whether no more may wait: a count and a size, both from the route, and a count by which all get their turn in time."""
        return len(self.queue) >= self._most or self.queued_bytes > self.route.queue_bytes

    def refused(self) -> TurnedAway:
        """Why `offer` said no, or why there is no hope."""
        waiting = f"has {self.waiting()} requests waiting already, and takes no more"
        if self._most <= len(self.queue) < self.route.queue_requests:
            waiting = (
                f"is overloaded: {len(self.queue)} requests wait, {self.route.timeout * SHARE:g} s of work or more"
            )
        return TurnedAway(503, "ServiceUnavailable", waiting if self.hope else "has no healthy replica at the moment")

    def turn_away(self, endpoint: str) -> TurnedAway:
        """A request is turned away: why. Counted, and told of now and then."""
        refused = self.refused()
        self.counters.refuse(refused.status)
        if since := self._refusals.due(perf_counter()):
            log.warning("endpoint %s, variant %s %s; refused: %d", endpoint, self.route.name, refused.reason, since)
        return refused

    def accept(self, prediction: Prediction) -> None:
        """Queue a request that was let in already (by this variant, by one that is gone, or by the container before)."""
        if self.passage is not None and not prediction.origin:
            prediction.origin = prediction.meta
            prediction.meta = first_meta(prediction.meta)
        self.queue.append(prediction)
        self.queued_bytes += len(prediction.body)
        if not self._grouping:
            self.pump()
        elif not self._scheduled:
            # after every request that this turn of the loop reads: what came together goes together
            self._scheduled = True
            self.around.soon(self.pump)
        if not self.armed:
            self.watch()

    def watch(self) -> None:
        """There is something that has a deadline."""
        if not self.armed:
            self.armed = True
            self.held_for, self._counted = 0, (perf_counter(), self.counters.arrivals)
            self.around.arm(self)

    def replica(self, route: ReplicaRoute, changed: Callable[[], None]) -> Replica:
        """A replica that this variant's route names for the first time."""
        return Replica(route, self, changed)

    def waiting(self) -> int:
        """How many requests are queued."""
        return len(self.queue)

    def look(self) -> None:
        """Route or replicas changed: is there one that serves, or may yet? Without one, requests are refused at once."""
        self.parking = Parking.of(self.parking, self.route.boost, self.replicas.values())
        self.counters.watch(self.route)
        self.hope = any(not replica.draining and not replica.failure for replica in self.replicas.values())
        self._grouping = any(replica.batch > 1 for replica in self.replicas.values())

    # -- dispatch -----------------------------------------------------------------------------------------------------------------

    def pump(self, late: bool = False) -> None:
        """Give queued requests to free workers until one side is empty. Unless it is `late`, some are held a moment for a larger batch."""
        self._scheduled, queue = False, self.queue
        if self._grouping and not late and 0 < len(queue) < self.held_for:
            self._hold()
            return
        while queue:
            kept = 0 if late else len(queue)
            replica = self._pick(kept)
            if replica is None:
                parking = self.parking
                if parking is None or parking.full:
                    self.send_ahead()
                if queue and any(r.spare() for r in self.replicas.values()) and (parking is None or parking.room > 0):
                    self._hold()
                return
            # a probe of one that is out is one request
            batch = self._take(1 if replica.health.out_until else replica.batch, kept)
            if not batch:
                return
            if isinstance(batch[0], Single):
                self._give_single(batch[0], replica)
            else:
                replica.take_idle().give(batch)

    def _hold(self) -> None:
        if not self.holding:
            self.holding = True
            self.around.later(HOLD, self._release)

    def _release(self) -> None:
        self.holding = False
        self.pump(late=True)

    def send_ahead(self) -> None:
        """Everybody is busy: quick workers that take one request at a time get their next one already."""
        for replica in self.replicas.values():
            if not replica.health.fit:
                continue
            while self.queue and not self.queue[0].single:
                worker = replica.ahead()
                if worker is None:
                    break
                batch = self._take(1, 0)
                if not batch:
                    return
                worker.give_ahead(batch[0])

    def _pick(self, waiting: int) -> Replica | None:
        """The replica with the smallest busy share that has a worker to spare."""
        if self.parking is not None and not self.parking.admits(self.queue, perf_counter()):
            return None
        if self.unfit:
            replicas = self.replicas.values()
            return outliers.pick(replicas, len(self.queue), waiting, self.counters.arrivals, perf_counter())
        best: Replica | None = None
        least = 2.0
        for replica in self.replicas.values():
            if replica.spare(waiting) > 0:
                share = replica.busy / replica.allowed
                if share < least:
                    best, least = replica, share
        return best

    def _take(self, limit: int, kept: int) -> list[Prediction]:
        queue = self.queue
        limit = min(limit, self.route.batch)
        waiting = len(queue)
        if limit > SMALL_BATCH and waiting > SMALL_BATCH:
            free = sum(replica.spare(kept) for replica in self.replicas.values())
            free = free if self.parking is None else max(1, min(free, self.parking.room))
            limit = min(limit, max(SMALL_BATCH, -(-waiting // free)))
        batch: list[Prediction] = []
        size = 0
        while queue and len(batch) < limit:
            prediction = queue[0]
            if prediction.done or prediction.abandoned():
                queue.popleft()
                self.queued_bytes -= len(prediction.body)
                prediction.settle(b"", False)
                continue
            size += len(prediction.body)
            if batch and (size > BATCH_BYTES or prediction.single):
                break
            if prediction.single:
                limit = 1
            queue.popleft()
            self.queued_bytes -= len(prediction.body)
            batch.append(prediction)
        return batch

    def _give_single(self, prediction: Single, replica: Replica) -> None:
        """To a worker of this replica; a session that begins stays where it is sent, so it goes where the fewest were begun."""
        if prediction.session:
            worker = min((w for r in self.replicas.values() if r.spare() for w in r.idle), key=lambda w: w.seated)
            worker.seated += 1
            worker.replica.take(worker)
        else:
            worker = replica.take_idle()
        worker.give_single(prediction, self.passage is None)

    # -- sessions -----------------------------------------------------------------------------------------------------------------

    def seat(self, replica: str, pid: int) -> Worker | None:
        """The worker of that pid, if it is there and takes requests."""
        known = self.replicas.get(replica)
        if known is None or known.draining:
            return None
        return next((w for w in known.workers if w.pid == pid and not (w.dying or w.dismissed)), None)

    def offer_to(self, worker: Worker, prediction: Single) -> bool:
        """Take in a request that no other worker can answer; False when enough wait for this one."""
        if worker.flight:
            if not worker.wait_for(prediction, OWN_MOST, self.route.queue_bytes):
                return False
            self.arrived(prediction)
            self.watch()
        else:
            self.arrived(prediction)
            self.watch()
            worker.replica.take(worker)
            worker.give_single(prediction, True)
        return True

    def stranded(self, predictions: Iterable[Single]) -> None:
        """The worker that held their sessions is gone."""
        for prediction in predictions:
            self.counters.failed(400, model=False)
            prediction.settle(self.errors.no_session(prediction.session, self._request_id()), False)

    # -- answers ------------------------------------------------------------------------------------------------------------------

    def finish(self, prediction: Prediction, status: int, meta: bytes, body: bytes, now: float) -> None:
        """The model answered."""
        if prediction.done or (prediction.single and self._finish_single(prediction, status, meta, body, now)):
            return
        counters = self.counters
        if 200 <= status < 300:
            if self.passage is not None:
                prediction.spent += counters.hand_on(now - prediction.sent)
                self.passage.go(prediction, meta, body, self._request_id())
                return
            if len(body) > self.most_answer:
                self.refuse_answer(prediction, len(body), now)
                return
            head = self._heads.get(meta)
            if head is None:
                head = self._head(meta)
            response = b"%b%b\r\nContent-Length: %d\r\n\r\n%b" % (head, self._request_id(), len(body), body)
        else:
            counters.erred(status)
            response = self.errors.answered(status, body, self._request_id())
        counters.record(now - prediction.arrived, now - prediction.sent, prediction.spent)
        prediction.settle(response, True)

    def _finish_single(self, prediction: Prediction, status: int, meta: bytes, body: bytes, now: float) -> bool:
        """What only a `Single` asks of an answer; whether it is answered by that."""
        assert isinstance(prediction, Single)
        if not 200 <= status < 300 or self.passage is not None:
            return False
        self._hear(prediction, meta)
        if not isinstance(prediction, Stream):
            return False
        self._open_stream(prediction, meta)
        if body:
            prediction.part(body, now)
        prediction.finish()
        self.counters.record(now - prediction.arrived, now - prediction.sent, prediction.spent)
        return True

    def _hear(self, prediction: Single, meta: bytes) -> None:
        """Tell who keeps the sessions where this one is."""
        if prediction.heard is not None and prediction.worker is not None and self.route.entry:
            prediction.heard((self.route.key, *prediction.worker.place), meta)

    def refuse_answer(self, prediction: Prediction, size: int, now: float) -> None:
        """The model's answer is too large for those who wait for it whole."""
        text = frames.too_large(str(size), self.most_answer, self.answer_setting)
        self.counters.erred(413)
        self.counters.record(now - prediction.arrived, now - prediction.sent, prediction.spent)
        prediction.settle(self.errors.answered(413, text.encode(), self._request_id()), True)

    def head(self, meta: bytes, size: int) -> bytes:
        """The head of a good answer of so many bytes."""
        return b"%b%b\r\nContent-Length: %d\r\n\r\n" % (self._head(meta), self._request_id(), size)

    def _head(self, meta: bytes) -> bytes:
        if len(self._heads) >= HEADS:
            self._heads.clear()
        head = self._heads[meta] = success_head(self.route.name, meta)
        return head

    # -- answers in pieces --------------------------------------------------------------------------------------------------------

    def opened(self, prediction: Prediction, status: int, meta: bytes, size: int, worker: Holder) -> Taker:
        """The worker begins a large answer of `size` bytes: who takes its pieces."""
        now = perf_counter()
        if prediction.done:
            return Nowhere()
        if not 200 <= status < 300:
            # its beginning says what is wrong
            return Gathered(min(size, frames.MAX_ERROR), lambda body: self.finish(prediction, status, meta, body, now))
        if self.passage is not None:
            if self.passage.refuses(prediction, size, self._request_id()):
                return Nowhere()
            return Gathered(size, lambda body: self.finish(prediction, status, meta, body, perf_counter()))
        if isinstance(prediction, Stream):
            stream = prediction
            self.begin(stream, meta)
            return Streaming(stream, lambda: self.end(stream, frames.LAST, b"", perf_counter()))
        if size > self.most_answer:
            self.refuse_answer(prediction, size, now)
            return Nowhere()
        if isinstance(prediction, Single):
            self._hear(prediction, meta)
        self.counters.record(now - prediction.arrived, now - prediction.sent, prediction.spent)
        around = self.around

        def no_answer() -> bytes:
            return self.errors.no_answer(around.request_id())

        return pass_on(prediction, self.head(meta, size), size, worker, around.later, around.room, no_answer)

    def begin(self, prediction: Stream, meta: bytes) -> None:
        """The model answers in pieces, and the first one is made."""
        self._hear(prediction, meta)
        self._open_stream(prediction, meta)

    def _open_stream(self, prediction: Stream, meta: bytes) -> None:
        head = b"%b%b\r\n\r\n" % (stream_head(self.route.name, meta), self._request_id())
        prediction.begin(head, self.route.container, self.route.timeout, self.around.later)

    def end(self, prediction: Stream, how: int, data: bytes, now: float) -> None:
        """The model made its last piece, or broke, or stopped as it was told."""
        if prediction.done:
            return
        counters = self.counters
        if how == frames.LAST:
            if data:
                prediction.part(data, now)
            prediction.finish()
        else:
            counters.errors_5xx += 1
            counters.model_errors += 1
            prediction.break_off("StreamBroken", BROKEN.format(reason=data.decode("utf-8", "replace")))
        counters.record(now - prediction.arrived, now - prediction.sent, prediction.spent)

    # -- failures and deadlines ---------------------------------------------------------------------------------------------------

    def lost(self, predictions: Iterable[Prediction]) -> None:
        """The worker that had these died: they were sent to the model once and are not sent again."""
        for prediction in predictions:
            if not prediction.done:
                self.counters.failed()
                prediction.lost(self.errors.no_answer(self._request_id()))

    def again(self, predictions: Iterable[Prediction]) -> None:
        """The worker died before it read these: they go first to the next one."""
        for prediction in reversed(list(predictions)):
            if not prediction.done:
                prediction.sent = 0.0
                self.queue.appendleft(prediction)
                self.queued_bytes += len(prediction.body)
        self.pump()

    def expire(self, now: float) -> bool:
        """Answer what met its deadline and kill the workers that hold it; False when nothing is left to wait for."""
        queue = self.queue
        since, before = self._counted
        self._counted = (now, self.counters.arrivals)
        self.held_for = gathered((self.counters.arrivals - before) / max(now - since, HOLD))
        if self._uneven:
            self._uneven = any(prediction.timeout for prediction in queue)
            for prediction in [p for p in queue if p.deadline <= now]:
                self.time_out(prediction)  # it is done, and leaves the queue in its turn
        while queue and (queue[0].deadline <= now or queue[0].done):
            prediction = queue.popleft()
            self.queued_bytes -= len(prediction.body)
            self.time_out(prediction)
        self._look(now)
        waiting = bool(queue)
        self.leaving = [replica for replica in self.leaving if replica.workers]
        for replica in (*self.replicas.values(), *self.leaving):
            for worker in list(replica.workers):
                if worker.flight:
                    waiting = True
                    self._expire_worker(worker, now)
        self.armed = waiting
        return waiting

    def _look(self, now: float) -> None:
        """How quickly the queue drains and so how many may wait; who of the replicas does worse than the others."""
        counters, queue = self.counters, self.queue
        known = sum(r.allowed / r.cost() for r in self.replicas.values() if r.alive() and not r.draining and r.cost())
        self._drain.look(now, counters.completed + counters.passed, len(queue), known or None, self.route.timeout)
        rate = self._drain.rate()
        self._most = most_waiting(rate, self.route.timeout, self.route.queue_requests)
        if queue and self._drain.sure():
            for _ in range(surplus(rate, len(queue), queue[-1].deadline - now)):
                prediction = queue.pop()
                self.queued_bytes -= len(prediction.body)
                if not prediction.done:
                    counters.failed(503, model=False)
                    prediction.settle(self.errors.overloaded(self.refused().reason, self._request_id()), False)
        if queue and self.parking is not None:
            self.pump(late=True)
        if now - self._judged >= JUDGED and len(self.replicas) > 1:
            replicas = list(self.replicas.values())
            for replica, what in outliers.judge(replicas, now - self._judged, now):
                log.warning("%s, replica %s: %s", self.route.name, replica.route.id, what)
            self._judged = now
            self.unfit = any(not replica.health.fit for replica in replicas)

    def _expire_worker(self, worker: Worker, now: float) -> None:
        own = worker.own
        while own and (own[0].deadline <= now or own[0].done):
            self.time_out(own.popleft())
        late = [p for p in worker.flight.values() if p.deadline <= now]
        if late:
            for prediction in late:
                self.time_out(prediction)
            worker.kill()

    def time_out(self, prediction: Prediction) -> None:
        if not prediction.done:
            self.counters.failed()
            prediction.late(self.errors.timed_out(self._request_id()))

    # -- changes of the route -------------------------------------------------------------------------------------------------

    def retire(self, replica: Replica) -> None:
        """The replica left the route; it finishes what it has."""
        del self.replicas[replica.route.id]
        self.leaving.append(replica)
        replica.retire()

    def empty(self) -> list[Prediction]:
        """Take everything out of the queue."""
        taken = [prediction for prediction in self.queue if not prediction.done]
        self.queue.clear()
        self.queued_bytes = 0
        return taken

    def busy(self) -> bool:
        """Whether any worker, of a replica in the route or of one that left it, holds a request."""
        return any(worker.flight for r in (*self.replicas.values(), *self.leaving) for worker in r.workers)

    # -- views --------------------------------------------------------------------------------------------------------------------

    def view(self) -> VariantView:
        """Counters and gauges as the control plane reads them."""
        return VariantView(
            name=self.route.name,
            replicas=tuple(replica.view() for replica in self.replicas.values()),
            queued=len(self.queue) + sum(len(w.own) for r in self.replicas.values() for w in r.workers if w.own),
            in_flight=sum(len(worker.flight) for replica in self.replicas.values() for worker in replica.workers),
            key=self.route.key,
            fleet=self.route.fleet,
            container=self.route.container,
            shadow=self.copies.view() if self.copies is not None else None,
            signals=signals(self.parking, self.counters.late, perf_counter()),
            **self.counters.figures(),
        )

    def model_counts(self) -> tuple[tuple[str, float], ...]:
        """What is counted of loading models, where there are many or they come with demand."""
        return ()

    def loaded(self, serving: Iterable[Replica]) -> tuple[float, ...]:
        """How many models each of these replicas has loaded, where there are many."""
        return ()

    def counts(self, account: str, region: str, endpoint: str, asynchronous: bool = False) -> VariantCounts:
        """What the variant counted so far, and how many requests its replicas have at the moment."""
        counters, route = self.counters, self.route
        counters.tally()
        serving = [replica for replica in self.replicas.values() if replica.state() == "ready" and not replica.draining]
        waiting = self.waiting() / max(1, len(serving))
        return VariantCounts(
            account,
            region,
            endpoint,
            route.name,
            route.key,
            route.fleet,
            counters.born,
            len(serving),
            tuple(waiting + replica.in_flight() for replica in serving),
            counters.arrivals,
            counters.refused,
            counters.completed,
            counters.unanswered,
            counters.errors_4xx,
            counters.errors_5xx,
            counters.model_errors,
            counters.model_seconds,
            counters.overhead_seconds,
            tuple(counters.model_buckets.items()),
            tuple(counters.overhead_buckets.items()),
            self.model_counts(),
            self.loaded(serving),
            asynchronous,
            self.waiting(),
            sum(replica.in_flight() for replica in self.replicas.values()),
            signals(self.parking, counters.late, perf_counter()),
            route.warm,
            tuple(counters.latency_buckets.items()),
            sum(replica.allowed for replica in serving),
            route.concurrency,
        )


class CallingVariant(Variant):
    """A variant that may be without any replica while requests wait: `demand` tells the control plane that it needs one."""

    def __init__(self, route: VariantRoute, errors: ModelErrors, around: Around, demand: Callable[[], None]) -> None:
        super().__init__(route, errors, around)
        self._demand = demand
        self._told = -TELL_AGAIN

    def call(self) -> None:
        """Say so, unless it was said a moment ago."""
        now = perf_counter()
        if now - self._told >= TELL_AGAIN:
            self._told = now
            self._demand()
