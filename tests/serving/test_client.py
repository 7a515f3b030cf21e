"""`FrontClient` is a `Fronts`, over two fronts; so is the fake in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.serving.fakes import Bench, FakeReplica, replica, route, token, until, variant
from tests.serving.test_process import SomeKeys

from clary.domain.endpoints.target_models import Placement, TargetQuestion
from clary.ports import Fronts
from clary.serving.client import FrontClient
from clary.serving.homes import home
from clary.testing.fronts import FrontsConformance, MemoryFronts
from clary.toolkit import frames


class TestMemoryFronts(FrontsConformance):
    async def fronts(self) -> Fronts:
        self._fronts = MemoryFronts()
        return self._fronts

    async def ready(self, replica: str) -> None:
        self._fronts.become(replica, "ready")

    async def fail(self, replica: str, message: str) -> None:
        self._fronts.become(replica, "failed", message)


class TestFrontClient(FrontsConformance):
    @pytest.fixture(autouse=True)
    async def benches(self, tmp_path: Path) -> AsyncIterator[None]:
        (tmp_path / "0").mkdir()
        (tmp_path / "1").mkdir()
        async with Bench(tmp_path / "0") as zero, Bench(tmp_path / "1") as one:
            self._benches = (zero, one)
            self._client = FrontClient([zero.ctl, one.ctl], SomeKeys())  # type: ignore[arg-type]
            await self._client.start()
            await asyncio.wait_for(self._client.connected(), 5)
            yield
            await self._client.close()

    async def fronts(self) -> Fronts:
        return self._client

    async def ready(self, replica: str) -> None:
        bench = self._benches[home("iris", 2)]
        bench.replicas.append(await FakeReplica(bench.workers, replica).start())

    async def fail(self, replica: str, message: str) -> None:
        _, writer = await asyncio.open_unix_connection(self._benches[home("iris", 2)].workers)
        hello = {"version": 1, "role": "zygote", "replica": replica, "token": token(replica), "pid": 1}
        writer.write(frames.control(frames.HELLO, hello) + frames.control(frames.FAILED, {"message": message}))

    async def test_every_endpoint_is_told_to_its_home_only(self) -> None:
        names = [f"e{i}" for i in range(12)]
        for name in names:
            await self._client.put(route(variant("AllTraffic", 1, replica(f"r-{name}")), name=name))
        for index, bench in enumerate(self._benches):
            assert {key[2] for key in bench.front.endpoints} == {name for name in names if home(name, 2) == index}


class TestQuestionsForModels:
    async def test_the_control_plane_is_asked_and_its_successor_too(self, tmp_path: Path) -> None:
        question = TargetQuestion("000000000000", "us-east-1", "iris", "r1", "a.tar.gz")
        asked: list[TargetQuestion] = []
        answers: list[Placement] = []
        held = asyncio.Event()

        async def never(question: TargetQuestion) -> Placement:
            asked.append(question)
            held.set()
            await asyncio.Event().wait()
            raise AssertionError

        async def place(question: TargetQuestion) -> Placement:
            asked.append(question)
            return Placement("digest", 7, 0.5)

        async with Bench(tmp_path) as bench:
            bench.front.questions.ask(question, answers.append)
            first = FrontClient([bench.ctl], SomeKeys(), never)  # type: ignore[arg-type]
            await first.start()
            await asyncio.wait_for(held.wait(), 5)
            await first.close()
            second = FrontClient([bench.ctl], SomeKeys(), place)  # type: ignore[arg-type]
            await second.start()
            await until(lambda: bool(answers))
            await second.close()
        assert asked == [question, question]
        assert answers == [Placement("digest", 7, 0.5)]
