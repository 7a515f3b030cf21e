"""Several containers behind one endpoint: serial pipelines and containers that clients name, on real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.serving.fakes import ACCOUNT, REGION, Answer, Bench, Pipe, Predict, echo, replica, route, until, variant
from tests.serving.test_front import code, message

from clary.domain.endpoints.routes import EndpointRoute, VariantView
from clary.serving.queue import Variant
from clary.toolkit import frames


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with Bench(tmp_path) as bench:
        yield bench


def serial(
    *, revision: int = 1, fleet: str = "1", share: float = 1.0, draining: bool = False, **more: object
) -> EndpointRoute:
    """Two containers, wash and predict, with a replica each."""
    second = variant(
        "A",
        1,
        replica(f"predict{fleet}"),
        key=f"A/predict@{fleet}",
        container="predict",
        share=share,
        entry=False,
        **more,
    )
    first = variant(
        "A", 1, replica(f"wash{fleet}", draining=draining), key=f"A/wash@{fleet}", container="wash", share=share, then=second.key, **more
    )  # fmt: skip
    return route(first, second, revision=revision)


def saying(suffix: bytes, content_type: str = "text/csv", status: int = 200) -> Predict:
    """Answers each body with itself and this behind it."""

    async def predict(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]]:
        meta = frames.result_meta(content_type, [("x-amzn-sagemaker-custom-attributes", suffix.decode())])
        return [(request.id, status, meta, request.body + suffix) for request in batch]

    return predict


async def of_size(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]]:
    """Answers with as many bytes as the body says."""
    return [(request.id, 200, b"", bytes(int(request.body))) for request in batch]


async def short(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]]:
    """Answers how many bytes a body has."""
    return [(request.id, 200, b"", b"%d" % len(request.body)) for request in batch]


def held(gate: asyncio.Event, suffix: bytes = b"") -> Predict:
    async def predict(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]]:
        await gate.wait()
        return await saying(suffix)(batch)

    return predict


def stage(bench: Bench, key: str) -> Variant:
    return bench.front.endpoints[ACCOUNT, REGION, "iris"].variants[key]


def views(bench: Bench) -> dict[str, VariantView]:
    view = bench.front.view(ACCOUNT, REGION, "iris")
    assert view is not None
    return {v.key: v for v in view.variants}


async def test_what_one_container_answers_is_the_request_of_the_next(bench: Bench) -> None:
    await bench.put(serial())
    wash = await bench.replica("wash1", saying(b"-washed", "application/x-clean"))
    predict = await bench.replica("predict1", saying(b"-predicted", "text/plain"))
    answer = await bench.invoke(b"raw", Accept="text/html", X_Amzn_SageMaker_Inference_Id="i1")
    assert (answer.status, answer.body) == (200, b"raw-washed-predicted")
    assert answer.headers["content-type"] == "text/plain"
    assert answer.headers["x-amzn-invoked-production-variant"] == "A"
    assert answer.headers["x-amzn-sagemaker-custom-attributes"] == "-predicted", "headers of the last are returned"
    [[first]], [[second]] = wash.seen, predict.seen
    assert (first.content_type, first.accept) == ("text/csv", "")
    assert (second.content_type, second.accept) == ("application/x-clean", "text/html")
    assert first.headers == second.headers == {"x-amzn-sagemaker-inference-id": "i1"}


async def test_a_request_counts_once_however_many_containers_it_passes(bench: Bench) -> None:
    await bench.put(serial())
    await bench.replica("wash1")
    await bench.replica("predict1")
    for number in range(5):
        await bench.invoke(b"%d" % number)
    first, second = views(bench)["A/wash@1"], views(bench)["A/predict@1"]
    assert (first.arrivals, first.passed, first.completed) == (5, 5, 0)
    assert (second.arrivals, second.passed, second.completed) == (0, 0, 5)
    assert first.container == "wash"
    assert first.model_seconds > 0
    assert second.model_seconds > 0
    assert first.overhead_seconds == 0
    assert second.overhead_seconds >= 0


@pytest.mark.parametrize("broken", ["wash", "predict"])
async def test_an_error_ends_the_passage_and_names_its_container(bench: Bench, broken: str) -> None:
    await bench.put(serial())
    fakes = {
        name: await bench.replica(f"{name}1", saying(b"!", status=400 if name == broken else 200))
        for name in ("wash", "predict")
    }
    answer = await bench.invoke(b"x")
    assert (answer.status, code(answer)) == (424, "ModelError")
    assert message(answer).startswith(f"Received client error (400) from {broken} with message ")
    assert len(fakes["predict"].seen) == (1 if broken == "predict" else 0)
    assert views(bench)[f"A/{broken}@1"].model_errors == 1


async def test_a_container_that_dies_is_named(bench: Bench) -> None:
    async def die(batch: list[frames.Request]) -> None:
        raise ConnectionError

    await bench.put(serial())
    await bench.replica("wash1")
    await bench.replica("predict1", die)
    answer = await bench.invoke(b"x")
    assert (answer.status, json.loads(answer.body)["OriginalStatusCode"]) == (424, 500)
    assert message(answer).startswith(
        "Container predict: Amazon SageMaker could not get a response from the iris endpoint"
    )


async def test_the_deadline_is_of_the_whole(bench: Bench) -> None:
    gate = asyncio.Event()

    async def slow(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]]:
        await asyncio.sleep(1.0)
        return await echo(batch)

    await bench.put(serial(timeout=2.0))
    await bench.replica("wash1", slow)
    predict = await bench.replica("predict1", held(gate))
    began = asyncio.get_running_loop().time()
    answer = await bench.invoke(b"x")
    assert asyncio.get_running_loop().time() - began < 2.95, "the second container had what the first left"
    assert (answer.status, json.loads(answer.body)["OriginalStatusCode"]) == (424, 0)
    assert "timed out while waiting for a response from container predict" in message(answer)
    await until(lambda: len(predict.killed) == 1)


async def test_a_retry_joins_the_passage_wherever_it_is(bench: Bench) -> None:
    gate = asyncio.Event()
    await bench.put(serial())
    wash, predict = await bench.replica("wash1"), await bench.replica("predict1", held(gate))
    retry = {"amz_sdk_invocation_id": "one", "amz_sdk_request": "attempt=1; max=3"}
    first = asyncio.create_task(bench.invoke(b"x", **retry))
    await until(lambda: len(predict.seen) == 1)
    second = asyncio.create_task(bench.invoke(b"x", **retry))
    await until(lambda: any(p.waiters for p in bench.front.joins.running.values()))
    gate.set()
    assert (await first).body == (await second).body == b"x"
    assert (await bench.invoke(b"x", **retry)).body == b"x"
    assert (len(wash.seen), len(predict.seen)) == (1, 1)


async def test_a_full_later_container_is_overload_not_an_error_of_the_model(bench: Bench) -> None:
    gate = asyncio.Event()
    await bench.put(serial(queue_requests=1))
    await bench.replica("wash1", batch=1)
    predict = await bench.replica("predict1", held(gate), batch=2)
    running = [asyncio.create_task(bench.invoke(b"1"))]
    await until(lambda: len(predict.seen) == 1)
    running.append(asyncio.create_task(bench.invoke(b"2")))
    await until(lambda: len(stage(bench, "A/predict@1").queue) == 1)
    answer = await bench.invoke(b"3")
    assert (answer.status, code(answer)) == (503, "ServiceUnavailable")
    assert (
        message(answer)
        == "Container predict of endpoint iris has 1 requests waiting already, and takes no more. Try again."
    )
    gate.set()
    assert [(await each).status for each in running] == [200, 200]


async def test_without_a_later_container_the_answer_says_which(bench: Bench) -> None:
    await bench.put(serial())
    await bench.replica("wash1")
    predict = await bench.replica("predict1")
    bench.front.replicas["predict1"].failure = "it broke"
    stage(bench, "A/predict@1").look()
    answer = await bench.invoke(b"x")
    assert (answer.status, code(answer)) == (503, "ServiceUnavailable")
    assert message(answer) == "Container predict of endpoint iris has no healthy replica at the moment. Try again."
    assert predict.seen == []


@pytest.mark.parametrize("limit", [100, 30 << 20], ids=["less than by default", "more"])
async def test_what_is_too_large_between_containers_is_the_containers_fault(tmp_path: Path, limit: int) -> None:
    async with Bench(tmp_path, max_payload=limit) as bench:
        await bench.put(serial())
        await bench.replica("wash1", of_size)
        predict = await bench.replica("predict1", short)
        answer = await bench.invoke(b"%d" % (limit + 1))
        assert (answer.status, json.loads(answer.body)["OriginalStatusCode"]) == (424, 413)
        words = (
            f"of container wash has {limit + 1} bytes; the limit between containers is {limit} (setting max_payload)."
        )
        assert words in message(answer)
        assert predict.seen == []
        assert (await bench.invoke(b"%d" % limit)).body == b"%d" % limit


async def test_a_fleet_that_retires_finishes_what_it_began(bench: Bench) -> None:
    gate = asyncio.Event()
    await bench.put(serial())
    wash = await bench.replica("wash1", held(gate, b"-old"), batch=1)
    await bench.replica("predict1", saying(b"-old"))
    begun = asyncio.create_task(bench.invoke(b"begun"))
    await until(lambda: len(wash.seen) == 1)
    waits = asyncio.create_task(bench.invoke(b"waits", Accept="a/b"))
    await until(lambda: len(stage(bench, "A/wash@1").queue) == 1)
    old, new = serial(fleet="1", share=0.0, draining=True), serial(fleet="2")
    await bench.put(route(*old.variants, *new.variants, revision=2))
    await bench.replica("wash2", saying(b"-new"))
    predict = await bench.replica("predict2", saying(b"-new"))
    assert (await waits).body == b"waits-new-new"
    assert predict.seen[0][0].accept == "a/b"
    gate.set()
    assert (await begun).body == b"begun-old-old"


async def test_what_waits_moves_from_a_pipeline_to_a_single_container_with_its_accept(bench: Bench) -> None:
    await bench.put(serial())
    waits = asyncio.create_task(bench.invoke(b"waits", Accept="a/b"))
    await until(lambda: len(stage(bench, "A/wash@1").queue) == 1)
    await bench.put(route(variant("A", 1, replica("r1")), revision=2))
    single = await bench.replica("r1")
    assert (await waits).body == b"waits"
    assert single.seen[0][0].accept == "a/b"


async def test_a_deleted_endpoint_does_not_go_on_to_the_next_container(bench: Bench) -> None:
    gate = asyncio.Event()
    await bench.put(serial())
    wash = await bench.replica("wash1", held(gate))
    predict = await bench.replica("predict1")
    running = asyncio.create_task(bench.invoke(b"x"))
    await until(lambda: len(wash.seen) == 1)
    await bench.front.drop(ACCOUNT, REGION, "iris")
    gate.set()
    assert (await running).status == 503
    assert predict.seen == []


# -- containers that clients name -------------------------------------------------------------------------------------------------


def direct(**more: object) -> EndpointRoute:
    return route(
        *(
            variant("A", 1, replica(name), key=f"A/{name}@1", container=name, direct=True, **more)
            for name in ("left", "right")
        )
    )


async def test_clients_name_the_container_they_mean(bench: Bench) -> None:
    await bench.put(direct())
    await bench.replica("left", saying(b"-left"))
    await bench.replica("right", saying(b"-right"))
    for name in ("left", "right"):
        for further in ({}, {"X_Amzn_SageMaker_Target_Variant": "A"}):
            answer = await bench.invoke(b"x", X_Amzn_SageMaker_Target_Container_Hostname=name, **further)
            assert answer.body == f"x-{name}".encode()


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({}, "TargetContainerHostname is required to invoke iris"),
        ({"X_Amzn_SageMaker_Target_Container_Hostname": "up"}, "Container up not found in endpoint iris. Its containers: left, right."),
        ({"X_Amzn_SageMaker_Target_Container_Hostname": "a" * 64}, "Value at 'targetContainerHostname'"),
        (
            {"X_Amzn_SageMaker_Target_Container_Hostname": "left", "X_Amzn_SageMaker_Target_Variant": "B"},
            "Variant B of endpoint iris",
        ),
    ],
)  # fmt: skip
async def test_a_container_must_be_named_and_there(bench: Bench, headers: dict[str, str], words: str) -> None:
    await bench.put(direct())
    refused(await bench.invoke(b"x", **headers), words)


async def test_a_container_is_named_only_where_clients_choose_one(bench: Bench) -> None:
    for number, wanted in enumerate((serial(), route(variant("A", 1, replica("r1")))), 1):
        await bench.put(EndpointRoute(ACCOUNT, REGION, "iris", number, wanted.variants))
        answer = await bench.invoke(b"x", X_Amzn_SageMaker_Target_Container_Hostname="wash")
        refused(answer, "TargetContainerHostname is only allowed for multi-container endpoints with direct invocation")


def refused(answer: Answer, words: str) -> None:
    assert (answer.status, code(answer)) == (400, "ValidationError")
    assert words in message(answer)


async def test_the_last_container_may_answer_in_pieces(bench: Bench) -> None:
    """The one before it is asked for a whole answer, since that is the next request."""

    async def words(request: frames.Request, pipe: Pipe) -> None:
        await pipe.begin("text/plain")
        for word in request.body.split(b"+"):
            await pipe.chunk(word)
        await pipe.chunk(b"", frames.LAST)

    await bench.put(serial())
    await bench.replica("wash1", saying(b"+washed"))
    last = await bench.replica("predict1", stream=words)
    answer = await bench.stream(b"raw", X_Amzn_SageMaker_Accept="text/x")
    assert [event.payload for event in await answer.rest()] == [b"raw", b"washed"]
    assert last.seen[0][0].accept == "text/x"
    assert (await bench.invoke(b"raw", X_Amzn_SageMaker_Session_Id="NEW_SESSION")).status == 400
