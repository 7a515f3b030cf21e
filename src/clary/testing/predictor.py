"""The conformance class of the `Predictor` port, and the fake in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from clary.domain.errors import Unavailable
from clary.prediction_ports import Asked, Predicted, Predictor

ACCOUNT, REGION = "000000000000", "us-east-1"
Model = Callable[[Asked, bytes], Awaitable[tuple[int, str, bytes]]]


async def echo(asked: Asked, body: bytes) -> tuple[int, str, bytes]:
    """(status, content type, body): the body itself; a body that begins with "bad" is refused with 400."""
    return (400, "text/plain", b"cannot") if body.startswith(b"bad") else (200, "text/csv", body)


class MemoryPredictor:
    """`Predictor` with a function for a model. `endpoints` are those with a replica, `empty` those without; `seen` is what the
    model got. Like a front it remembers answers by id, and lives on when the caller is gone."""

    def __init__(self, model: Model = echo, endpoints: tuple[str, ...] = ("iris",)) -> None:
        self.model = model
        self.endpoints = set(endpoints)
        self.empty = {"empty"}
        self.away = False
        self.seen: list[tuple[Asked, bytes]] = []
        self._running: dict[str, asyncio.Task[tuple[int, str, bytes]]] = {}

    async def predict(self, asked: Asked, source: str, target: str) -> Predicted:
        if self.away or asked.endpoint in self.empty:
            raise Unavailable(f"Endpoint {asked.endpoint} has no healthy replica at the moment. Try again.")
        if asked.endpoint not in self.endpoints:
            message = f"Endpoint {asked.endpoint} of account {asked.account} not found."
            return Predicted(400, code="ValidationError", message=message, original=message)
        body = Path(source).read_bytes()
        if asked.id not in self._running:
            self.seen.append((asked, body))
            self._running[asked.id] = asyncio.ensure_future(self.model(asked, body))
        status, content_type, answer = await asyncio.shield(self._running[asked.id])
        if status == 503:
            del self._running[asked.id]
            raise Unavailable(answer.decode())
        if status != 200:
            text = answer.decode()
            return Predicted(424, code="ModelError", message=f"Received {status}: {text}", original=text)
        Path(target).write_bytes(answer)
        return Predicted(200, content_type, "AllTraffic", len(answer))


class PredictorConformance:
    """Inherit, and give the implementation as the fixture `predictor`: its asynchronous endpoint `iris` answers as `echo` does, its
    endpoint `empty` has no replica. `runs` answers how many bodies the model of `iris` has seen."""

    def runs(self) -> int:
        raise NotImplementedError

    @staticmethod
    def _asked(id_: str, endpoint: str = "iris", **more: Any) -> Asked:
        return Asked(ACCOUNT, REGION, endpoint, id_, 10.0, "text/csv", **more)

    @staticmethod
    def _files(folder: Path, body: bytes) -> tuple[str, str]:
        (folder / "in").write_bytes(body)
        return str(folder / "in"), str(folder / "out")

    async def test_a_good_answer_is_in_the_file(self, predictor: Predictor, tmp_path: Path) -> None:
        source, target = self._files(tmp_path, b"1,2")
        found = await predictor.predict(self._asked("a", accept="a/b", inference="mine"), source, target)
        assert (found.status, found.content_type, found.variant, found.size) == (200, "text/csv", "AllTraffic", 3)
        assert Path(target).read_bytes() == b"1,2"

    async def test_a_large_body_goes_and_comes_whole(self, predictor: Predictor, tmp_path: Path) -> None:
        body = bytes(range(256)) * (20 << 12)
        source, target = self._files(tmp_path, body)
        found = await predictor.predict(self._asked("large"), source, target)
        assert (found.status, found.size) == (200, len(body))
        assert Path(target).read_bytes() == body

    async def test_the_models_refusal_comes_in_its_own_words(self, predictor: Predictor, tmp_path: Path) -> None:
        source, target = self._files(tmp_path, b"bad")
        found = await predictor.predict(self._asked("b"), source, target)
        assert (found.status, found.code, found.original) == (424, "ModelError", "cannot")
        assert "cannot" in found.message

    async def test_the_same_id_is_predicted_once(self, predictor: Predictor, tmp_path: Path) -> None:
        before = self.runs()
        source, target = self._files(tmp_path, b"once")
        both = [predictor.predict(self._asked("c"), source, f"{target}{n}") for n in range(2)]
        assert [found.status for found in await asyncio.gather(*both)] == [200, 200]
        assert (await predictor.predict(self._asked("c"), source, target)).status == 200
        assert Path(target).read_bytes() == b"once"
        assert self.runs() == before + 1

    async def test_an_endpoint_that_is_not_there(self, predictor: Predictor, tmp_path: Path) -> None:
        source, target = self._files(tmp_path, b"1")
        found = await predictor.predict(self._asked("d", "nobody"), source, target)
        assert (found.status, found.code) == (400, "ValidationError")
        assert found.message == "Endpoint nobody of account 000000000000 not found."

    async def test_an_endpoint_without_a_replica_is_unavailable(self, predictor: Predictor, tmp_path: Path) -> None:
        source, target = self._files(tmp_path, b"1")
        with pytest.raises(Unavailable):
            await predictor.predict(self._asked("e", "empty"), source, target)
