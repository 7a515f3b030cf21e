"""Sessions: the table and its journal by themselves, then through a front on real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.serving.fakes import (
    ACCOUNT,
    REGION,
    Answer,
    Bench,
    FakeReplica,
    Pipe,
    Predict,
    replica,
    route,
    until,
    variant,
)

from clary.serving.sessions import SLACK, SessionPlace, Sessions, parse
from clary.toolkit import frames

ENDPOINT = (ACCOUNT, REGION, "iris")
PLACE = SessionPlace("v", "r1", 7, 0.0)


class Wall:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("s-1; Expires=2030-01-01T00:00:00Z", ("s-1", 1893456000.0)),
        ("s-1;Expires=2030-01-01T00:00:00+00:00", ("s-1", 1893456000.0)),
        ("s-1", ("s-1", 0.0)),
        ("s-1; Expires=tomorrow", ("s-1", 0.0)),
        ("", ("", 0.0)),
        ("-s; Expires=2030-01-01T00:00:00Z", ("", 0.0)),
        ("a b", ("", 0.0)),
        ("x" * 257, ("", 0.0)),
        ("-", ("", 0.0)),
    ],
)
def test_the_header_of_a_new_session(value: str, wanted: tuple[str, float]) -> None:
    assert parse(value) == wanted


def test_a_session_is_found_until_it_expires(tmp_path: Path, wall: Wall) -> None:
    sessions = Sessions(tmp_path / "s.jsonl", wall)
    sessions.open(ENDPOINT, "s-1", PLACE._replace(expires=1010.0))
    sessions.open(ENDPOINT, "s-2", PLACE)
    assert sessions.find(ENDPOINT, "s-1") == PLACE._replace(expires=1010.0)
    assert sessions.find((ACCOUNT, REGION, "rose"), "s-1") is None
    wall.now = 1010.0
    assert sessions.find(ENDPOINT, "s-1") is None
    assert sessions.find(ENDPOINT, "s-2") == PLACE
    sessions.close(ENDPOINT, "s-2")
    assert len(sessions) == 0


def test_a_model_opens_and_closes_by_its_headers(tmp_path: Path, wall: Wall) -> None:
    sessions = Sessions(tmp_path / "s.jsonl", wall)
    place = ("v", "r1", 7)
    opened = frames.result_meta("text/csv", [("x-amzn-sagemaker-new-session-id", "s-1; Expires=2030-01-01T00:00:00Z")])
    sessions.told(ENDPOINT, "NEW_SESSION", place, opened)
    assert sessions.find(ENDPOINT, "s-1") == SessionPlace(*place, 1893456000.0)
    sessions.told(ENDPOINT, "s-1", place, frames.result_meta("text/csv"))
    closed = frames.result_meta("text/csv", [("x-amzn-sagemaker-closed-session-id", "s-1")])
    sessions.told(ENDPOINT, "s-2", place, closed)
    assert sessions.find(ENDPOINT, "s-1") is not None, "a session closes itself, and no other"
    sessions.told(ENDPOINT, "s-1", place, closed)
    assert sessions.find(ENDPOINT, "s-1") is None


def test_the_sessions_used_longest_ago_are_forgotten(tmp_path: Path, wall: Wall) -> None:
    sessions = Sessions(tmp_path / "s.jsonl", wall, most=3)
    for name in ("a", "b", "c"):
        sessions.open(ENDPOINT, name, PLACE)
    sessions.find(ENDPOINT, "a")
    sessions.open(ENDPOINT, "d", PLACE)
    assert [name for name in "abcd" if sessions.find(ENDPOINT, name)] == ["a", "c", "d"]


def test_a_successor_knows_them_and_a_line_cut_off_is_left_out(tmp_path: Path, wall: Wall) -> None:
    sessions = Sessions(tmp_path / "deep" / "s.jsonl", wall)
    for name in ("a", "b", "c"):
        sessions.open(ENDPOINT, name, PLACE)
    sessions.close(ENDPOINT, "b")
    with open(tmp_path / "deep" / "s.jsonl", "ab") as file:
        file.write(b'["+", "0000')
    for _ in range(2):
        after = Sessions(tmp_path / "deep" / "s.jsonl", wall)
        after.load()
        assert [name for name in "abc" if after.find(ENDPOINT, name) == PLACE] == ["a", "c"]


def test_the_journal_stays_small(tmp_path: Path, wall: Wall) -> None:
    sessions = Sessions(tmp_path / "s.jsonl", wall)
    for number in range(5 * SLACK):
        sessions.open(ENDPOINT, str(number), PLACE)
        sessions.close(ENDPOINT, str(number))
    assert len((tmp_path / "s.jsonl").read_bytes().splitlines()) <= SLACK + 10


def test_a_deleted_endpoint_takes_its_sessions_along(tmp_path: Path, wall: Wall) -> None:
    sessions = Sessions(tmp_path / "s.jsonl", wall)
    sessions.open(ENDPOINT, "a", PLACE)
    sessions.open((ACCOUNT, REGION, "rose"), "a", PLACE)
    sessions.drop(ENDPOINT)
    assert len(sessions) == 1


def test_a_journal_that_cannot_be_written_costs_no_session(tmp_path: Path, wall: Wall) -> None:
    (tmp_path / "s.jsonl").mkdir()
    sessions = Sessions(tmp_path / "s.jsonl", wall)
    sessions.open(ENDPOINT, "a", PLACE)
    assert sessions.find(ENDPOINT, "a") == PLACE


# -- through a front --------------------------------------------------------------------------------------------------------------


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with Bench(tmp_path) as bench:
        yield bench


def keeper(name: str) -> Predict:
    """A model that counts per session, and answers its own name and the count."""
    counts: dict[str, int] = {}

    async def predict(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]]:
        [request] = batch
        session = request.headers.get("x-amzn-sagemaker-session-id", "")
        more = []
        if session == "NEW_SESSION":
            session = request.body.decode()
            more.append(("x-amzn-sagemaker-new-session-id", f"{session}; Expires=2090-01-01T00:00:00Z"))
        if request.body == b"close":
            more.append(("x-amzn-sagemaker-closed-session-id", session))
        counts[session] = counts.get(session, 0) + 1
        body = json.dumps([name, counts[session]]).encode()
        return [(request.id, 200, frames.result_meta("application/json", more), body)]

    return predict


async def visit(bench: Bench, session: str, body: bytes = b"") -> Answer:
    return await bench.invoke(body, X_Amzn_SageMaker_Session_Id=session)


async def two(bench: Bench) -> list[FakeReplica]:
    await bench.put(route(variant("AllTraffic", 1, replica("r1"), replica("r2"))))
    return [await bench.replica(name, keeper(name), batch=1) for name in ("r1", "r2")]


def not_found(answer: Answer) -> bool:
    assert (answer.status, answer.headers["x-amzn-errortype"]) == (400, "ValidationError")
    return "not found: it was closed or has expired" in json.loads(answer.body)["Message"]


async def test_a_session_stays_where_it_began(bench: Bench) -> None:
    await two(bench)
    names = {}
    for number in range(6):
        opened = await visit(bench, "NEW_SESSION", b"s-%d" % number)
        assert opened.headers["x-amzn-sagemaker-new-session-id"].startswith(f"s-{number}; Expires=")
        names[number] = json.loads(opened.body)[0]
    assert set(names.values()) == {"r1", "r2"}
    for turn in (2, 3, 4):
        for number, name in names.items():
            assert json.loads((await visit(bench, f"s-{number}")).body) == [name, turn]
    closed = await visit(bench, "s-0", b"close")
    assert closed.headers["x-amzn-sagemaker-closed-session-id"] == "s-0"
    assert not_found(await visit(bench, "s-0"))
    assert not_found(await visit(bench, "never"))
    assert (await visit(bench, "s-1")).status == 200


async def test_a_session_waits_for_its_own_worker_only(bench: Bench) -> None:
    gate = asyncio.Event()
    model = keeper("r1")

    async def slow(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]] | None:
        if batch[0].body == b"slow":
            await gate.wait()
        return await model(batch)

    await bench.put(route(variant("AllTraffic", 1, replica("r1"), replica("r2"))))
    await bench.replica("r1", slow, batch=1)
    opened = await visit(bench, "NEW_SESSION", b"s-1")
    await bench.replica("r2", batch=1)
    assert json.loads(opened.body) == ["r1", 1]
    busy = asyncio.create_task(visit(bench, "s-1", b"slow"))
    [worker] = bench.front.replicas["r1"].workers
    await until(lambda: bool(worker.flight))
    mine = [asyncio.create_task(visit(bench, "s-1")) for _ in range(3)]
    await until(lambda: worker.own is not None and len(worker.own) == 3)
    assert (await bench.invoke(b"other")).body == b"other", "the other worker is free"
    view = bench.front.view(*ENDPOINT)
    assert view is not None
    assert view.variants[0].queued == 3
    gate.set()
    assert json.loads((await busy).body) == ["r1", 2]
    assert sorted([json.loads((await task).body)[1] for task in mine]) == [3, 4, 5]
    assert (await bench.invoke(b"later")).status == 200


async def test_a_session_ends_with_its_worker(bench: Bench) -> None:
    one, other = await two(bench)
    opened = await visit(bench, "NEW_SESSION", b"s-1")
    holder = one if json.loads(opened.body)[0] == "r1" else other
    [pid] = holder.running
    holder.end(pid)
    holder.fork()
    await until(lambda: [w.pid for w in bench.front.replicas[holder.id].workers] == [pid + 1])
    bench.front._gathered = 0.0
    assert not_found(await visit(bench, "s-1"))
    assert len(bench.front.sessions) == 0


async def test_what_waits_for_a_worker_that_dies_learns_it(bench: Bench) -> None:
    async def hang(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]] | None:
        return None if batch[0].body == b"hang" else await keeper("r1")(batch)

    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    fake = await bench.replica("r1", hang, batch=1)
    await visit(bench, "NEW_SESSION", b"s-1")
    [worker] = bench.front.replicas["r1"].workers
    hung = asyncio.create_task(visit(bench, "s-1", b"hang"))
    await until(lambda: bool(worker.flight))
    waiting = asyncio.create_task(visit(bench, "s-1"))
    await until(lambda: worker.own is not None)
    fake.end(worker.pid)
    assert (await hung).status == 424
    assert not_found(await waiting)


async def test_a_session_is_over_once_its_replica_drains(bench: Bench) -> None:
    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    await bench.replica("r1", keeper("r1"), batch=1)
    await visit(bench, "NEW_SESSION", b"s-1")
    await bench.put(route(variant("AllTraffic", 1, replica("r1", draining=True), replica("r2")), revision=2))
    bench.front._gathered = 0.0
    assert not_found(await visit(bench, "s-1"))


async def test_too_many_at_one_session_are_refused_at_once(bench: Bench) -> None:
    async def hang(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]] | None:
        return None if batch[0].body == b"hang" else await keeper("r1")(batch)

    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    await bench.replica("r1", hang, batch=1)
    await visit(bench, "NEW_SESSION", b"s-1")
    waiting = [asyncio.create_task(visit(bench, "s-1", b"hang")) for _ in range(70)]
    done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    assert {(await task).status for task in done} == {503}
    for task in waiting:
        task.cancel()


async def test_a_stream_belongs_to_a_session_too(bench: Bench) -> None:
    async def words(request: frames.Request, pipe: Pipe) -> None:
        await pipe.begin("text/plain", [("x-amzn-sagemaker-closed-session-id", "s-1")])
        await pipe.chunk(request.headers["x-amzn-sagemaker-session-id"].encode(), frames.LAST)

    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    await bench.replica("r1", keeper("r1"), batch=1, stream=words)
    await visit(bench, "NEW_SESSION", b"s-1")
    answer = await bench.stream(X_Amzn_SageMaker_Session_Id="s-1")
    assert [event.payload for event in await answer.rest()] == [b"s-1"]
    assert not_found(await visit(bench, "s-1"))


async def test_a_target_variant_that_is_not_the_sessions_is_an_error(bench: Bench) -> None:
    await bench.put(route(variant("a", 1, replica("r1")), variant("b", 0, replica("r2"))))
    await bench.replica("r1", keeper("r1"), batch=1)
    await visit(bench, "NEW_SESSION", b"s-1")
    there = await bench.invoke(X_Amzn_SageMaker_Session_Id="s-1", X_Amzn_SageMaker_Target_Variant="a")
    assert there.status == 200
    assert not_found(await bench.invoke(X_Amzn_SageMaker_Session_Id="s-1", X_Amzn_SageMaker_Target_Variant="b"))


@pytest.mark.parametrize("session", ["new session", "-a", "a-", "a_b", "x" * 257])
async def test_what_is_no_session_id_is_refused(bench: Bench, session: str) -> None:
    await two(bench)
    answer = await visit(bench, session)
    assert (answer.status, answer.headers["x-amzn-errortype"]) == (400, "ValidationError")
    assert "sessionId" in json.loads(answer.body)["Message"]


async def test_a_new_front_knows_the_sessions_of_the_one_before(tmp_path: Path) -> None:
    """As after `kill -9`: the worker lives on and dials the successor, a little later than the client asks."""
    (tmp_path / "one").mkdir()
    async with Bench(tmp_path / "one") as before:
        await before.put(route(variant("AllTraffic", 1, replica("r1"))))
        await before.replica("r1", keeper("r1"), batch=1)
        await visit(before, "NEW_SESSION", b"s-1")
        (tmp_path / "two").mkdir()
        (tmp_path / "one" / "routes").rename(tmp_path / "two" / "routes")
    async with Bench(tmp_path / "two") as after:
        after.front.load(lambda name: True)
        asked = asyncio.create_task(visit(after, "s-1"))
        await until(lambda: any(connection.busy for connection in after.front.connections))
        await after.replica("r1", keeper("r1"), batch=1)
        assert json.loads((await asked).body)[0] == "r1"
