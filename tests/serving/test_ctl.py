"""The control channel with several control planes, of which some are stopped: they are connected, and say nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.serving.fakes import KEY_ID, Bench, replica, route, until, variant

from clary.domain.endpoints.target_models import Placement, TargetQuestion
from clary.serving.ctl import ControlChannel, Unpacker, pack
from clary.serving.keys import KeyQuestion

MODEL = TargetQuestion("000000000000", "us-east-1", "iris", "r1", "a.tar.gz")


class Plane:
    """A control plane that says what it is told to say, and no more."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer, self._unpacker = reader, writer, Unpacker()
        self._said: list[dict[str, Any]] = []

    async def hears(self, word: str) -> dict[str, Any]:
        """The next message that has `word`."""
        async with asyncio.timeout(60):
            while True:
                for place, message in enumerate(self._said):
                    if word in message:
                        return self._said.pop(place)
                data = await self._reader.read(1 << 16)
                assert data, f"hung up on before {word!r}"
                self._said += self._unpacker.feed(data)

    def say(self, **message: Any) -> None:
        self._writer.write(pack(message))

    async def answers(self, bench: Bench, known: bool = True) -> KeyQuestion:
        """The next question for a key."""
        asked = await self.hears("ask")
        question = KeyQuestion(*(str(asked[name]) for name in KeyQuestion._fields))
        key = bench.key(question) if known else None
        told = key and {"key": key.key.hex(), "account": key.account, "principal": key.principal}
        self.say(op="key", ask=asked["ask"], key=told)
        return question

    def leave(self) -> None:
        self._writer.close()


class Planes:
    """A front with one endpoint, asked for its keys through its own channel."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self.bench = bench
        self.channel = ControlChannel(bench.front)
        self._socket = str(folder / "planes.sock")
        self._made: list[Plane] = []

    async def open(self) -> None:
        self._server = await self.bench.front.loop.create_unix_server(lambda: self.channel.protocol(), self._socket)

    async def join(self) -> Plane:
        before = len(self.channel.sessions)
        plane = Plane(*await asyncio.open_unix_connection(self._socket))
        self._made.append(plane)
        await until(lambda: len(self.channel.sessions) == before + 1)
        return plane

    async def status(self) -> int:
        return (await asyncio.wait_for(self.bench.invoke(b"1"), 10)).status

    async def close(self) -> None:
        for plane in self._made:
            plane.leave()
        self._server.close()
        await until(lambda: not self.channel.sessions)


@pytest.fixture
async def planes(tmp_path: Path) -> AsyncIterator[Planes]:
    async with Bench(tmp_path) as bench:
        await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
        await bench.replica("r1")
        made = Planes(bench, tmp_path)
        await made.open()
        yield made
        await made.close()


async def known(planes: Planes) -> Plane:
    """A control plane that the front has a key from."""
    plane = await planes.join()
    asking = asyncio.ensure_future(planes.status())
    await plane.answers(planes.bench)
    assert await asking == 200
    return plane


class TestKeys:
    async def test_a_known_key_stays_good_when_a_stopped_control_plane_joins(self, planes: Planes) -> None:
        await known(planes)
        await planes.join()
        assert await planes.status() == 200

    async def test_and_when_the_only_one_that_is_there_is_stopped(self, planes: Planes) -> None:
        (await known(planes)).leave()
        await until(lambda: not planes.channel.sessions)
        await planes.join()
        assert await planes.status() == 200

    async def test_a_new_key_is_had_from_whoever_answers(self, planes: Planes) -> None:
        """Whichever of them is stopped."""
        for stopped in range(3):
            there = [await planes.join() for _ in range(3)]
            asking = asyncio.ensure_future(planes.status())
            for place, plane in enumerate(there):
                if place != stopped:
                    await plane.answers(planes.bench)
            assert await asking == 200
            planes.bench.front.keys.revoke(KEY_ID)
            for plane in there:
                plane.leave()
            await until(lambda: not planes.channel.sessions)

    async def test_a_key_that_was_revoked_meanwhile_is_good_until_the_one_who_joins_says_so(
        self, planes: Planes
    ) -> None:
        (await known(planes)).leave()
        await until(lambda: not planes.channel.sessions)
        successor = await planes.join()
        await successor.answers(planes.bench, known=False)
        successor.say(id=1, op="ping")
        await successor.hears("ok")
        assert await planes.status() == 403

    async def test_an_answer_that_was_made_before_the_key_was_revoked_counts_no_more(self, planes: Planes) -> None:
        slow = await known(planes)
        quick = await planes.join()
        asked = await slow.hears("ask")
        quick.say(id=1, op="revoke", access_key_id=KEY_ID)
        await quick.hears("ok")
        key = planes.bench.key(KeyQuestion(KEY_ID, "", asked["date"], asked["region"]))
        assert key is not None
        slow.say(op="key", ask=asked["ask"], key={"key": key.key.hex(), "account": key.account, "principal": "p"})
        slow.say(id=2, op="ping")
        await slow.hears("ok")
        asking = asyncio.ensure_future(planes.status())
        await quick.hears("ask")  # that of its joining
        await quick.answers(planes.bench, known=False)
        assert await asking == 403

    async def test_questions_that_nobody_answers_are_bounded(self, planes: Planes) -> None:
        planes.channel = ControlChannel(planes.bench.front, most_asked=3)
        await planes.join()
        keys = planes.bench.front.keys
        for number in range(9):
            keys.hold(KeyQuestion(f"AKIA{number}", "", "20300101", "us-east-1"), lambda *_: None, time.monotonic())
        assert [question.access_key_id for question in planes.channel.questions.values()] == ["AKIA6", "AKIA7", "AKIA8"]


class TestModels:
    async def test_one_that_spoke_last_is_asked(self, planes: Planes) -> None:
        first, second = await planes.join(), await planes.join()
        answers: list[Placement] = []
        for living in (first, second, first):
            living.say(id=1, op="ping")
            await living.hears("ok")
            planes.bench.front.questions.ask(MODEL, answers.append)
            asked = await living.hears("ask_model")
            living.say(op="model", ask_model=asked["ask_model"], **Placement("digest", 7, 0.5).to_json())
            await until(lambda: bool(answers))
            assert answers.pop() == Placement("digest", 7, 0.5)

    async def test_another_one_is_asked_when_the_one_that_was_is_silent(self, planes: Planes) -> None:
        planes.channel = ControlChannel(planes.bench.front, silent=0.0)
        stopped = await planes.join()
        answers: list[Placement] = []
        planes.bench.front.questions.ask(MODEL, answers.append)
        asked = await stopped.hears("ask_model")
        other = await planes.join()
        other.say(id=1, op="ping")
        again = await other.hears("ask_model")
        other.say(op="model", ask_model=again["ask_model"], **Placement("digest", 7, 0.5).to_json())
        await until(lambda: bool(answers))
        stopped.say(op="model", ask_model=asked["ask_model"], **Placement("late", 1, 0.5).to_json())
        stopped.say(id=1, op="ping")
        await stopped.hears("ok")
        assert answers == [Placement("digest", 7, 0.5)]
