"""What `scaling_live` concludes from what it saw: with figures that are known, without a server."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest
from benchmarks.live_hops import Line
from benchmarks.live_policy import had
from benchmarks.live_replay import CASES, TICK, Scheduled, Step, judged, load, simulate, told, work_of
from benchmarks.live_site import capacity, changes
from benchmarks.replay import CONNECTIONS, Play

from clary.domain.endpoints.routes import ReplicaView, VariantView
from clary.domain.metrics.counts import Signals
from clary.domain.scaling.signals import Current
from clary.sim.traces import Requests

ASLEEP, BURNING = CASES


def view(*replicas: ReplicaView, working: int = 0) -> VariantView:
    return VariantView("main", replicas, signals=Signals(working=working, ceiling=8))


def ready(name: str, busy: int = 0, allowed: int = 2) -> ReplicaView:
    return ReplicaView(name, "ready", workers=2, busy=busy, allowed=allowed)


def test_a_replica_that_drains_or_loads_is_no_capacity() -> None:
    loading = ReplicaView("c", "loading", workers=2, allowed=2)
    assert capacity(view(ready("a"), ready("b", allowed=0), loading)) == 2
    assert changes([(1.0, view(ready("a"))), (1.5, view(ready("a"))), (2.0, view())]) == [(1.0, 2), (2.0, 0)]


def test_starts_are_told_to_the_simulator_one_by_one() -> None:
    seen = [(-1.0, 4), (31.5, 6), (31.8, 8), (61.2, 4)]
    steps, starts = told(ASLEEP, (31.0, 61.0), (4, 8, 4), seen)
    assert steps == [Step(0.0, 2, 2), Step(31.0, 4, 2), Step(61.2, 2, 2)]
    assert starts == pytest.approx((0.5, 0.8))


def test_a_size_in_place_has_no_starts() -> None:
    steps, starts = told(BURNING, (31.0, 61.0), (1, 2, 1), [(0.0, 1), (31.1, 2), (61.3, 1)])
    assert (steps, starts) == ([Step(0.0, 1, 1), Step(31.1, 1, 2), Step(61.3, 1, 1)], ())


def test_the_schedule_is_kept() -> None:
    policy = Scheduled([Step(2.0, 4, 2), Step(0.0, 1, 2)])
    assert [policy.decide([], Current(1), 0.0, now).count for now in (0.0, 1.9, 2.0)] == [1, 1, 4]


def test_the_simulator_is_given_starts_and_resizes_at_their_time() -> None:
    """Three requests of a second come at once while there is one worker of one replica; another starts 0.5 s later."""
    requests = Requests(numpy.array([1.0, 1.0, 1.0]), numpy.ones(3), 6.0, 5.0)
    steps = [Step(0.0, 1, 1), Step(1.0, 2, 1)]
    assert simulate(requests, steps, (0.5,)) == pytest.approx([1.0, 1.5, 2.0], abs=2 * TICK)
    assert simulate(requests, [Step(0.0, 1, 1), Step(1.2, 1, 2)], ()) == pytest.approx([1.0, 1.2, 2.0], abs=2 * TICK)


def test_goal_13_can_be_missed_and_has_no_verdict_on_a_busy_machine() -> None:
    real = [0.1] * 99 + [0.9]
    assert [row.ok for row in judged(ASLEEP, real, real, 0.5, True)] == [True] * 4
    off = [value * 1.06 for value in real]
    assert [row.ok for row in judged(ASLEEP, real, off, 0.5, True)] == [False, False, False, True]
    assert [row.ok for row in judged(ASLEEP, real, [0.1] * 100, 0.5, True)][-1] is False  # late
    assert [row.ok for row in judged(ASLEEP, real, off, 0.5, False)] == [None] * 4
    assert [row.ok for row in judged(BURNING, real, off, 0.5, True)] == [True, True, True, None]


def test_what_was_given_is_added_up() -> None:
    starting = ReplicaView("b", "loading")
    seen = [
        (-0.5, view(ready("a"), working=1)),
        (0.0, view(ready("a"), working=1)),
        (0.5, view(ready("a"), starting, working=2)),
        (1.0, view(ready("a", busy=2), ready("b"), working=1)),  # busy although it is over what is allowed
        (1.5, view(ready("a"), ready("b"), working=1)),
        (2.0, view(ready("a"), ready("b"), working=2)),
    ]
    given = had(seen, 2.0)
    assert given.seconds == pytest.approx([1.5, 1.5])
    assert given.cost == pytest.approx(3.0 + 0.5 * 2 + 0.05 * (0.5 + 0.5 + 2 * 0.5 + 2 * 0.5))
    assert given.turns == 1
    assert given.starts == pytest.approx((0.5,))


def test_recorded_load_is_thinned_and_never_multiplied(tmp_path: Path) -> None:
    def trace(name: str, width: int, count: int) -> None:
        lines = "".join(f"{i * width},{count}\n" for i in range(400))
        (tmp_path / name).write_bytes(gzip.compress(b"t_seconds,requests\n" + lines.encode()))

    trace("a.csv.gz", 60, 90_000)  # too coarse
    trace("b.csv.gz", 1, 20)  # too few
    short = tmp_path / "short.csv"
    short.write_text("t_seconds,requests\n" + "".join(f"{i},100\n" for i in range(130)))
    with pytest.raises(ValueError, match="in the 180 s around its peak"):
        work_of(tmp_path, 29.0, 180.0, 0.1)
    short.unlink()
    with pytest.raises(ValueError, match=r"no trace with bins of 2 s or less and 29 .* in the 90 s around its peak"):
        load(ASLEEP, tmp_path)
    trace("c.csv.gz", 1, 100)
    requests = load(ASLEEP, tmp_path)
    assert requests.length == 90.0
    assert len(requests.arrivals) == pytest.approx(90 * 29, rel=0.05)


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that closes the first connections while they are idle, and answers 503 to every third request."""
    count = opened = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count, opened
        opened += 1
        while opened > CONNECTIONS:
            try:
                await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                break
            count += 1
            status = b"503 no" if count % 3 == 0 else b"200 OK"
            writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\n\r\nok")
        writer.close()

    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield server.sockets[0].getsockname()[1]
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    server.close()
    loop.close()


def test_a_hop_is_no_figure_when_somebody_else_answers(echo: int) -> None:
    idle = [socket.create_connection(("127.0.0.1", echo)) for _ in range(CONNECTIONS)]  # those that it closes
    with socket.create_connection(("127.0.0.1", echo), timeout=10) as connection:
        line = Line(connection, b"GET / HTTP/1.1\r\n\r\n", b"200")
        answers = [line.ask()[1] for _ in range(2)]
        with pytest.raises(RuntimeError, match="503 no"):
            line.ask()
    for each in idle:
        each.close()
    assert answers == [b"ok", b"ok"]


def test_a_replay_tells_of_every_request(echo: int, tmp_path: Path) -> None:
    due = [0.001 * number for number in range(300)]
    request = b"GET / HTTP/1.1\r\n\r\n"
    played = Play(echo, tmp_path, [request] * len(due), due).played()
    assert len(played.status) == len(played.took) == 300
    assert played.failed == 100
    assert all(sent >= at for sent, at in zip(played.sent, due, strict=True))
