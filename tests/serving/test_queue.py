"""Who gets what and when: a variant and its workers without sockets, turns of the loop and timers run by hand."""

from __future__ import annotations

import struct
from collections.abc import Callable
from time import perf_counter
from typing import Any

from tests.serving.fakes import ACCOUNT, REGION, replica, token, variant

from clary.serving.answers import ModelErrors
from clary.serving.boost import REST
from clary.serving.prediction import Prediction
from clary.serving.queue import Around, Variant
from clary.serving.replicas import Link, Replica
from clary.toolkit import frames

META = frames.result_meta("text/csv")


class Client:
    """Who waits for an answer."""

    def __init__(self) -> None:
        self.gone = False
        self.answers: list[bytes] = []

    def answer(self, response: bytes) -> None:
        self.answers.append(response)


class Loop:
    """Turns and timers, run when a test says so."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []
        self.timers: list[Callable[[], None]] = []

    def call_later(self, delay: float, call: Callable[[], None]) -> None:
        assert 0 < delay <= REST
        self.timers.append(call)

    def turn(self) -> None:
        while self.soon:
            self.soon.pop(0)()

    def fire(self) -> None:
        due, self.timers = self.timers, []
        for call in due:
            call()


class Line:
    """The transport of a worker's connection: what was sent to the worker, and whether it is read from."""

    def __init__(self) -> None:
        self.sent: list[list[frames.Request]] = []
        self.reading = True
        self._parser = frames.Parser()

    def write(self, data: bytes) -> None:
        for kind, count, payload in self._parser.feed(data):
            if kind == frames.PREDICT:
                self.sent.append(frames.requests(payload, count))

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Stage:
    """A variant with one replica."""

    def __init__(self, workers: int, batch: int) -> None:
        self.loop = Loop()
        errors = ModelErrors(ACCOUNT, REGION, "iris", "primary")
        wanted = variant("AllTraffic", 1.0, replica("r1", allowance=workers))
        around = Around(lambda: b"id", self.loop.soon.append, self.loop.call_later, lambda _: None)
        self.variant = Variant(wanted, errors, around)
        self.replica = Replica(wanted.replicas[0], self.variant, self.variant.look)
        self.variant.replicas["r1"] = self.replica
        self.replica.batch = batch
        self.lines: list[Line] = []
        self.links: list[Link] = []
        for pid in range(workers):
            loop: Any = self.loop
            link, line = Link(loop, {"r1": self.replica}.get, set()), Line()
            transport: Any = line
            link.connection_made(transport)
            hello = {"version": 1, "role": "worker", "replica": "r1", "token": token("r1"), "pid": pid}
            link.data_received(frames.control(frames.HELLO, hello))
            self.links.append(link)
            self.lines.append(line)

    def offer(self, count: int) -> list[Client]:
        """Requests of one turn of the loop."""
        clients = [Client() for _ in range(count)]
        for client in clients:
            assert self.variant.offer(Prediction(client, b"text/csv\0", b"1", False))
        self.loop.turn()
        return clients

    def answer(self, worker: int, batches: int = 1, at_once: bool = False) -> None:
        """The worker answers its next batches, a RESULT each, all in one read. `at_once`: however long this test was held up."""
        busy = self.links[worker].worker
        if at_once and busy is not None:
            busy.since = perf_counter()
        taken = [self.lines[worker].sent.pop(0) for _ in range(batches)]
        self.links[worker].data_received(
            b"".join(frames.results((r.id, 200, META, b"2") for r in batch) for batch in taken)
        )

    def held(self) -> list[list[int]]:
        """Sizes of the batches that each worker has not answered."""
        return [[len(batch) for batch in line.sent] for line in self.lines]


def test_what_a_busy_worker_will_be_through_with_at_once_is_left_to_it() -> None:
    stage = Stage(workers=2, batch=64)
    stage.replica.pace = 0.00001
    stage.offer(1)
    assert stage.held() == [[], [1]]
    clients = stage.offer(30)
    assert stage.held() == [[], [1]]
    stage.answer(1, at_once=True)
    assert stage.held() == [[], [30]]
    stage.answer(1)
    assert all(client.answers for client in clients)


def test_an_idle_worker_takes_them_when_the_busy_one_takes_longer() -> None:
    stage = Stage(workers=2, batch=64)
    stage.replica.pace = 0.00001
    stage.offer(1)
    stage.offer(3)
    stage.offer(2)
    assert len(stage.loop.timers) == 1
    stage.loop.fire()
    assert stage.held() == [[5], [1]]


def test_many_that_wait_and_slow_models_engage_everybody() -> None:
    stage = Stage(workers=2, batch=64)
    stage.replica.pace = 0.01
    stage.offer(1)
    stage.offer(1)
    assert stage.held() == [[1], [1]]
    stage = Stage(workers=2, batch=64)
    stage.replica.pace = 0.0001
    stage.offer(1)
    stage.offer(30)
    assert stage.held() == [[30], [1]]


def test_a_model_never_seen_before_counts_as_slow() -> None:
    stage = Stage(workers=2, batch=64)
    stage.offer(1)
    stage.offer(1)
    assert stage.held() == [[1], [1]]


def busy_for_a_while(stage: Stage, arrivals: int, last: bool = False) -> None:
    """So many requests in the 50 ms between two looks at deadlines; all answered before the second one, or all but the `last`."""
    began = perf_counter()
    stage.offer(1)
    stage.variant.expire(began)
    stage.answer(0)
    for left in range(arrivals, 0, -50):
        stage.offer(49)
        stage.answer(0)
        stage.offer(1)
        if left > 50 or not last:
            stage.answer(0)
    stage.variant.expire(began + 0.05)
    if last:
        stage.answer(0)


def test_at_high_rates_a_batch_is_waited_for() -> None:
    stage = Stage(workers=1, batch=64)
    busy_for_a_while(stage, 1000, last=True)  # 20,000 a second
    stage.offer(12)
    assert stage.held() == [[]]
    stage.offer(12)
    assert stage.held() == [[24]]


def test_a_batch_is_not_waited_for_long() -> None:
    stage = Stage(workers=1, batch=64)
    busy_for_a_while(stage, 1000, last=True)
    stage.offer(3)
    assert stage.held() == [[]]
    stage.loop.fire()
    assert stage.held() == [[3]]


def test_at_usual_rates_nothing_waits() -> None:
    stage = Stage(workers=1, batch=64)
    busy_for_a_while(stage, 300, last=True)
    stage.offer(1)
    assert stage.held() == [[1]]


def test_a_rate_is_forgotten_when_nothing_came_for_a_while() -> None:
    stage = Stage(workers=1, batch=64)
    busy_for_a_while(stage, 1000)
    assert not stage.variant.armed
    stage.offer(1)
    assert stage.held() == [[1]]


def test_answers_of_a_worker_that_has_enough_to_do_are_read_together() -> None:
    stage = Stage(workers=1, batch=1)
    stage.offer(1)
    stage.answer(0)
    stage.replica.service = 0.0002
    clients = stage.offer(60)
    for _ in range(10):  # once is enough, unless this test itself was held up meanwhile
        stage.replica.service = 0.0002
        stage.answer(0)
        if not stage.lines[0].reading:
            break
    assert len(clients[0].answers) == 1
    assert not stage.lines[0].reading
    stage.loop.fire()
    assert stage.lines[0].reading


def test_answers_are_read_at_once_when_their_worker_will_soon_have_nothing_to_do() -> None:
    stage = Stage(workers=1, batch=1)
    stage.offer(1)
    stage.answer(0)
    stage.replica.service = 0.0002
    stage.offer(3)
    stage.answer(0)
    assert stage.lines[0].reading


def test_answers_read_together_count_as_one_after_the_other() -> None:
    stage = Stage(workers=1, batch=1)
    stage.offer(1)
    stage.answer(0)
    stage.replica.service = 0.0002
    before = stage.variant.counters.model_seconds
    began = perf_counter()
    clients = stage.offer(12)
    stage.answer(0, 4)
    took = perf_counter() - began
    assert [len(client.answers) for client in clients[:5]] == [1, 1, 1, 1, 0]
    assert 0 < stage.variant.counters.model_seconds - before <= took * 1.001
    assert stage.replica.service < 0.0002 + took


def test_a_worker_that_dies_took_only_what_it_had_begun() -> None:
    stage = Stage(workers=1, batch=1)
    stage.offer(1)
    stage.answer(0)
    stage.replica.service = 0.0002
    clients = stage.offer(6)
    stage.answer(0, 2)
    stage.links[0].connection_lost(None)
    assert [len(client.answers) for client in clients] == [1, 1, 1, 0, 0, 0]
    assert b"ModelError" in clients[2].answers[0]
    assert len(stage.variant.queue) == 3


def test_a_frame_that_is_none_ends_the_connection() -> None:
    stage = Stage(workers=1, batch=1)
    closed: list[bool] = []
    line: Any = stage.lines[0]
    line.close = lambda: closed.append(True)
    stage.links[0].data_received(struct.pack("<IBBH", 4, frames.RESULT, 0, 1) + b"nope")
    assert closed == [True]


def test_a_variant_that_has_nothing_to_do_holds_nothing() -> None:
    stage = Stage(workers=2, batch=64)
    stage.variant.expire(perf_counter() + 0.5)
    stage.variant.pump()
    assert stage.held() == [[], []]
    assert not stage.loop.timers
