"""Predictions of asynchronous endpoints over a front's real socket, and who may not have them."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.serving.fakes import SECRET, Bench, FakeReplica, call, replica, route, signed, until, variant
from tests.serving.test_pipelines import of_size, serial

from clary.domain.errors import Unavailable
from clary.prediction_ports import Asked
from clary.serving.asynchronous import KEY_ID, answer_key
from clary.serving.keys import KeyQuestion, SigningKey
from clary.serving.predictor import FrontPredictor
from clary.testing.predictor import PredictorConformance
from clary.toolkit import frames

INTERNAL = "a-secret-of-clarys-own"


async def model(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]] | None:
    if any(request.body.startswith(b"never") for request in batch):
        return None
    refused, good = frames.result_meta("text/plain"), frames.result_meta("text/csv")
    return [(r.id, 400, refused, b"cannot") if r.body.startswith(b"bad") else (r.id, 200, good, r.body) for r in batch]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with Bench(tmp_path) as bench:
        known = bench.key

        def key(question: KeyQuestion) -> SigningKey | None:
            if question.access_key_id != KEY_ID:
                return known(question)
            told = answer_key(question._asdict(), INTERNAL)
            return SigningKey(bytes.fromhex(told["key"]), told["account"], told["principal"])

        bench.key = key  # type: ignore[method-assign,assignment]
        for name, replicas in (("iris", (replica("r1"),)), ("empty", ())):
            wanted = route(variant("AllTraffic", 1, *replicas, timeout=0.2), name=name)
            await bench.put(dataclasses.replace(wanted, asynchronous=True))
        await bench.replica("r1", model, batch=1)
        yield bench


@pytest.fixture
def predictor(bench: Bench) -> FrontPredictor:
    return FrontPredictor([bench.http], INTERNAL, time.time)


class TestFrontPredictor(PredictorConformance):
    fake: FakeReplica

    @pytest.fixture(autouse=True)
    def _seen(self, bench: Bench) -> None:
        [self.fake] = bench.replicas

    def runs(self) -> int:
        return sum(len(batch) for batch in self.fake.seen)


def asked(id_: str, timeout: float = 10.0, endpoint: str = "iris") -> Asked:
    return Asked("000000000000", "us-east-1", endpoint, id_, timeout, "text/csv", "a/b", "my attributes", "my-id")


async def test_the_model_sees_what_the_caller_said(bench: Bench, predictor: FrontPredictor, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"1")
    await predictor.predict(asked("a"), str(tmp_path / "in"), str(tmp_path / "out"))
    [[seen]] = bench.replicas[0].seen
    assert (seen.content_type, seen.accept) == ("text/csv", "a/b")
    assert seen.headers == {
        "x-amzn-sagemaker-custom-attributes": "my attributes",
        "x-amzn-sagemaker-inference-id": "my-id",
    }


async def test_what_is_counted_is_known_to_come_from_a_queue(
    bench: Bench, predictor: FrontPredictor, tmp_path: Path
) -> None:
    (tmp_path / "in").write_bytes(b"1")
    await predictor.predict(asked("a"), str(tmp_path / "in"), str(tmp_path / "out"))
    counts = {row.endpoint: row for row in bench.front.counts()}
    assert (counts["iris"].completed, counts["iris"].asynchronous, counts["empty"].asynchronous) == (1, True, True)


async def test_the_callers_deadline_stands_instead_of_the_variants(
    bench: Bench, predictor: FrontPredictor, tmp_path: Path
) -> None:
    (tmp_path / "in").write_bytes(b"never")
    short = await predictor.predict(asked("a", 0.3), str(tmp_path / "in"), str(tmp_path / "out"))
    assert (short.status, short.code) == (424, "ModelError")
    assert "timed out while waiting for a response" in short.message
    long = asyncio.create_task(predictor.predict(asked("b", 30.0), str(tmp_path / "in"), str(tmp_path / "out2")))
    # both wait in one queue: the later, shorter one is answered at its own time
    (tmp_path / "in3").write_bytes(b"never")
    brief = await predictor.predict(asked("c", 0.5), str(tmp_path / "in3"), str(tmp_path / "out3"))
    assert "timed out" in brief.message
    assert not long.done()
    long.cancel()


async def test_between_containers_goes_what_a_request_may_have(
    bench: Bench, predictor: FrontPredictor, tmp_path: Path
) -> None:
    limit = 26 << 20  # more than a client that waits may send
    await bench.put(dataclasses.replace(serial(), name="serial", asynchronous=True, max_payload=limit))
    await bench.replica("wash1", of_size)
    await bench.replica("predict1", model)
    (tmp_path / "in").write_bytes(b"%d" % limit)
    found = await predictor.predict(asked("a", endpoint="serial"), str(tmp_path / "in"), str(tmp_path / "out"))
    assert (found.status, found.size) == (200, limit)
    (tmp_path / "in").write_bytes(b"%d" % (limit + 1))
    found = await predictor.predict(asked("b", endpoint="serial"), str(tmp_path / "in"), str(tmp_path / "out"))
    assert f"the limit between containers is {limit} " in found.message


async def test_a_client_is_refused_and_cannot_pass_for_the_control_plane(bench: Bench) -> None:
    for request in (
        signed(),
        signed(headers={"x-clary-timeout": "3600"}),
        signed(headers={"x-amz-security-token": "000000000000"}),
    ):
        answer = await call(bench.http, request)
        assert (answer.status, answer.headers["x-amzn-errortype"]) == (400, "ValidationError")
        assert json.loads(answer.body)["Message"].startswith("Endpoint iris is asynchronous")
    forged = signed(key_id=KEY_ID, secret=SECRET, headers={"x-amz-security-token": "000000000000"})
    assert (await call(bench.http, forged)).headers["x-amzn-errortype"] == "InvalidSignatureException"


async def test_an_endpoint_that_is_not_asynchronous_any_more(
    bench: Bench, predictor: FrontPredictor, tmp_path: Path
) -> None:
    await bench.put(route(variant("AllTraffic", 1, replica("r1")), revision=2))
    (tmp_path / "in").write_bytes(b"1")
    found = await predictor.predict(asked("a"), str(tmp_path / "in"), str(tmp_path / "out"))
    assert (found.status, found.message) == (400, "Endpoint iris is not asynchronous any more.")


async def test_a_front_that_is_away_or_goes_away_is_unavailable(
    bench: Bench, predictor: FrontPredictor, tmp_path: Path
) -> None:
    (tmp_path / "in").write_bytes(b"never")
    task = asyncio.create_task(predictor.predict(asked("a", 60.0), str(tmp_path / "in"), str(tmp_path / "out")))
    await until(lambda: len(bench.replicas[0].seen) == 1)
    for connection in list(bench.front.connections):
        assert connection.transport is not None
        connection.transport.abort()
    with pytest.raises(Unavailable):
        await task
    away = FrontPredictor([str(tmp_path / "nobody.sock")], INTERNAL, time.time)
    with pytest.raises(Unavailable):
        await away.predict(asked("b"), str(tmp_path / "in"), str(tmp_path / "out"))
