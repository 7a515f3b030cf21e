"""A front on real sockets: requests, answers, refusals, batching, deadlines, crashes, retries."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import pytest
from tests.serving.fakes import (
    ACCOUNT,
    Answer,
    Bench,
    FakeReplica,
    call,
    echo,
    read_answer,
    replica,
    route,
    signed,
    until,
    variant,
)

from clary.domain.endpoints.routes import EndpointRoute
from clary.serving.boost import HANGING
from clary.serving.prediction import Prediction
from clary.serving.replicas import SILENT
from clary.toolkit import frames


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with Bench(tmp_path) as bench:
        yield bench


def code(answer: Answer) -> str:
    return answer.headers["x-amzn-errortype"]


def message(answer: Answer) -> str:
    return json.loads(answer.body)["Message"]


async def never(batch: list[frames.Request]) -> None:
    """A model that hangs."""
    await asyncio.Event().wait()


# -- answers ----------------------------------------------------------------------------------------------------------------------


async def test_a_prediction_goes_through(bench: Bench) -> None:
    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    fake = await bench.replica("r1")
    answer = await bench.invoke(b"1,2,3", Accept="text/csv")
    assert answer.status == 200
    assert answer.body == b"1,2,3"
    assert answer.headers["content-type"] == "text/csv"
    assert answer.headers["x-amzn-invoked-production-variant"] == "AllTraffic"
    assert re.fullmatch(
        r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", answer.headers["x-amzn-requestid"]
    )
    [[request]] = fake.seen
    assert (request.content_type, request.accept) == ("text/csv", "text/csv")


async def test_only_the_contracts_headers_reach_the_model_and_the_client(bench: Bench) -> None:
    async def answer(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]]:
        meta = frames.result_meta(
            "application/json",
            [
                ("x-amzn-sagemaker-custom-attributes", "c=d"),
                ("x-amzn-sagemaker-new-session-id", "s1; Expires=2030-01-01T00:00:00Z"),
                ("set-cookie", "a=b"),
            ],
        )
        return [(request.id, 200, meta, b"{}") for request in batch]

    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    fake = await bench.replica("r1", answer)
    got = await bench.invoke(
        X_Amzn_SageMaker_Custom_Attributes="a=b", X_Amzn_SageMaker_Inference_Id="i1", X_Amzn_SageMaker_Session_Id="NEW_SESSION", X_Mine="no"
    )  # fmt: skip
    assert fake.seen[0][0].headers == {
        "x-amzn-sagemaker-custom-attributes": "a=b",
        "x-amzn-sagemaker-inference-id": "i1",
        "x-amzn-sagemaker-session-id": "NEW_SESSION",
    }
    assert got.headers["x-amzn-sagemaker-custom-attributes"] == "c=d"
    assert got.headers["x-amzn-sagemaker-new-session-id"].startswith("s1;")
    assert "set-cookie" not in got.headers


async def test_a_models_header_can_not_become_two(bench: Bench) -> None:
    async def answer(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]]:
        meta = frames.result_meta("text/csv\r\nX-Evil: 1", [("x-amzn-sagemaker-custom-attributes", "a\r\nX-Evil: 2")])
        return [(request.id, 200, meta, b"") for request in batch]

    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    await bench.replica("r1", answer)
    got = await bench.invoke()
    assert got.status == 200
    assert not {"x-evil", "content-type", "x-amzn-sagemaker-custom-attributes"} & set(got.headers)


@pytest.mark.parametrize(("status", "whose"), [(500, "server"), (415, "client"), (400, "client"), (302, "server")])
async def test_what_a_model_refuses_is_a_model_error(bench: Bench, status: int, whose: str) -> None:
    async def answer(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]]:
        return [(request.id, status, b"", b"it broke") for request in batch]

    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    await bench.replica("r1", answer)
    got = await bench.invoke()
    said = json.loads(got.body)
    assert (got.status, code(got)) == (424, "ModelError")
    assert said["OriginalStatusCode"] == status
    assert said["OriginalMessage"] == "it broke"
    assert said["LogStreamArn"] == f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/aws/sagemaker/Endpoints/iris"
    assert said["Message"] == (
        f'Received {whose} error ({status}) from primary with message "it broke". See https://us-east-1.console.aws.amazon.com/'
        "cloudwatch/home?region=us-east-1#logEventViewer:group=/aws/sagemaker/Endpoints/iris in account 000000000000 for more "
        "information."
    )
    view = bench.front.view(ACCOUNT, "us-east-1", "iris")
    assert view is not None
    assert view.variants[0].model_errors == 1


async def test_any_success_of_the_model_is_200(bench: Bench) -> None:
    async def answer(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]]:
        return [(request.id, 204, b"", b"") for request in batch]

    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    await bench.replica("r1", answer)
    assert (await bench.invoke()).status == 200


# -- refusals ---------------------------------------------------------------------------------------------------------------------


async def test_an_endpoint_that_is_not_there(bench: Bench) -> None:
    answer = await bench.invoke(name="nobody")
    assert (answer.status, code(answer)) == (400, "ValidationError")
    assert message(answer) == "Endpoint nobody of account 000000000000 not found."


UNSIGNED = b"POST /endpoints/iris/invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("make", "status", "wanted"),  # signed when the test runs: a signature is good for five minutes
    [
        (lambda: signed(secret="wrong"), 403, "InvalidSignatureException"),
        (lambda: signed(key_id="AKIAOTHER"), 403, "UnrecognizedClientException"),
        (lambda: signed(service="s3"), 403, "InvalidSignatureException"),
        (lambda: signed().replace(b"1,2", b"1,3"), 403, "InvalidSignatureException"),
        (lambda: signed().replace(b"/iris/", b"/rose/"), 403, "InvalidSignatureException"),
        (lambda: UNSIGNED, 403, "MissingAuthenticationTokenException"),
        (lambda: signed(path="/endpoints/iris/async-invocations"), 404, "UnknownOperationException"),
        (lambda: signed(path="/endpoints/iris/invocations-bidirectional-stream"), 400, "UnknownOperationException"),
        (lambda: signed(path="/endpoints/iris%2Frose/invocations"), 400, "ValidationError"),
        (lambda: signed(path="/endpoints/iris"), 404, "UnknownOperationException"),
        (lambda: signed(method="GET"), 404, "UnknownOperationException"),
        (lambda: signed(method="DELETE"), 404, "UnknownOperationException"),
        (lambda: signed(headers={"X-Amzn-SageMaker-Target-Model": "a.tar.gz"}), 400, "ValidationError"),
        (lambda: signed(headers={"X-Amzn-SageMaker-Target-Variant": "Nobody"}), 400, "ValidationError"),
        (lambda: signed(headers={"X-Amzn-SageMaker-Inference-Component": "c"}), 400, "ValidationError"),
        (lambda: signed(headers={"X-Amzn-SageMaker-Custom-Attributes": "x" * 1025}), 400, "ValidationError"),
    ],
)  # fmt: skip
async def test_refusals(bench: Bench, make: Callable[[], bytes], status: int, wanted: str) -> None:
    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    await bench.replica("r1")
    answer = await call(bench.http, make())
    assert (answer.status, code(answer)) == (status, wanted)


async def test_the_second_of_two_requests_is_checked_as_the_first(bench: Bench) -> None:
    """The quick check of a client that is known lets nothing through that the long one would not."""
    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    await bench.replica("r1")
    assert (await bench.invoke(b"first")).status == 200
    assert (await bench.invoke(b"second")).status == 200
    for bad in (
        signed(b"third").replace(b"third", b"fourt"),
        signed(b"third").replace(b"Content-Type: text/csv", b"Content-Type: text/xml"),
        signed(b"third").replace(b"\r\nContent-Length", b"\r\nX-Amz-Meta-A: 1\r\nContent-Length"),
        signed(b"third").replace(b"/iris/", b"/rose/"),
        signed(b"third").replace(b"Host: 127.0.0.1:4600", b"Host: 127.0.0.1:4601"),
        re.sub(rb"Signature=....", b"Signature=0000", signed(b"third")),
    ):
        answer = await call(bench.http, bad)
        assert (answer.status, code(answer)) == (403, "InvalidSignatureException")


async def test_a_revoked_key_is_refused_at_once(bench: Bench) -> None:
    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    await bench.replica("r1")
    assert (await bench.invoke()).status == 200
    bench.front.ask = lambda question: bench.front.keys.answer(question, None, 0.0)
    bench.front.keys.revoke("AKIAEXAMPLE")
    answer = await bench.invoke()
    assert (answer.status, code(answer)) == (403, "UnrecognizedClientException")


async def test_an_unknown_key_is_held_until_the_control_plane_answers(bench: Bench) -> None:
    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    await bench.replica("r1")
    asked = []
    bench.front.ask = asked.append
    waiting = [asyncio.create_task(bench.invoke(b"%d" % i)) for i in range(3)]
    await until(lambda: len(bench.front.connections) == 3 and all(c.busy for c in bench.front.connections))
    assert len(asked) == 1, "one question for all who wait"
    bench.front.keys.answer(asked[0], bench.key(asked[0]), 0.0)
    assert [(await task).status for task in waiting] == [200, 200, 200]


async def test_a_body_over_the_limit_names_size_limit_and_setting(tmp_path: Path) -> None:
    async with Bench(tmp_path, max_payload=1000) as bench:
        await bench.put(route(variant("AllTraffic", 1, replica("r1")), max_payload=1000))
        await bench.replica("r1")
        assert (await bench.invoke(b"x" * 1000)).status == 200
        for size in (1001, 3_000_000):
            answer = await bench.invoke(b"x" * size)
            assert (answer.status, code(answer)) == (400, "ValidationError")
            assert f"has oversize body: {size} bytes, and the limit is 1000 (setting max_payload)" in message(answer)


async def test_a_large_body_goes_through_and_is_checked(bench: Bench) -> None:
    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    await bench.replica("r1")
    body = bytes(range(256)) * (20 << 12)
    for _ in range(2):
        answer = await bench.invoke(body)
        assert answer.status == 200
        assert answer.body == body
    assert code(await call(bench.http, signed(body)[:-1] + b"x")) == "InvalidSignatureException"


async def test_many_refusals_in_a_row_on_one_connection(bench: Bench) -> None:
    reader, writer = await asyncio.open_unix_connection(bench.http)
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 5000)
    assert {(await read_answer(reader)).status for _ in range(5000)} == {404}
    writer.close()


@pytest.mark.parametrize(
    "raw",
    [
        b"NONSENSE\r\n\r\n",
        b"POST /endpoints/iris/invocations HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /endpoints/iris/invocations HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST /endpoints/iris/invocations HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 0\r\n\r\n",
        b"POST /endpoints/iris/invocations HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X-%d: 1\r\n" % i for i in range(500)) + b"\r\n",
    ],
)
async def test_bad_http_is_refused_and_closed(bench: Bench, raw: bytes) -> None:
    reader, writer = await asyncio.open_unix_connection(bench.http)
    writer.write(raw)
    answer = await read_answer(reader)
    assert answer.status == 400
    assert answer.headers["connection"] == "close"
    assert await reader.read() == b""
    writer.close()


async def test_requests_in_a_row_on_one_connection_are_answered_in_order(bench: Bench) -> None:
    await bench.put(route(variant("AllTraffic", 1, replica("r1", 4))))
    await bench.replica("r1", workers=4, batch=1)
    reader, writer = await asyncio.open_unix_connection(bench.http)
    writer.write(b"".join(signed(b"%d" % i) for i in range(20)))
    assert [(await read_answer(reader)).body for _ in range(20)] == [b"%d" % i for i in range(20)]
    writer.close()


# -- batching and queues ----------------------------------------------------------------------------------------------------------


async def test_a_free_worker_takes_what_is_there(bench: Bench) -> None:
    gate = asyncio.Event()

    async def slow(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]]:
        await gate.wait()
        return await echo(batch)

    await bench.put(route(variant("AllTraffic", 1, replica("r1"), batch=16)))
    fake = await bench.replica("r1", slow)
    first = asyncio.create_task(bench.invoke(b"first"))
    await until(lambda: len(fake.seen) == 1)
    rest = [asyncio.create_task(bench.invoke(b"%d" % i)) for i in range(40)]
    await until(lambda: len(bench.front.endpoints[ACCOUNT, "us-east-1", "iris"].variants["AllTraffic"].queue) == 40)
    gate.set()
    answers = await asyncio.gather(first, *rest)
    assert [answer.body for answer in answers] == [b"first", *(b"%d" % i for i in range(40))]
    assert [len(batch) for batch in fake.seen] == [1, 16, 16, 8]


async def test_a_model_that_does_not_batch_gets_one_at_a_time(bench: Bench) -> None:
    await bench.put(route(variant("AllTraffic", 1, replica("r1", 2))))
    fake = await bench.replica("r1", workers=2, batch=1)
    await asyncio.gather(*(bench.invoke(b"%d" % i) for i in range(20)))
    assert {len(batch) for batch in fake.seen} == {1}


async def test_no_more_workers_are_busy_than_the_allowance(bench: Bench) -> None:
    busy = most = 0

    async def count(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]]:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(0.002)
        busy -= 1
        return await echo(batch)

    await bench.put(route(variant("AllTraffic", 1, replica("r1", 2))))
    await bench.replica("r1", count, workers=5, batch=1)
    await asyncio.gather(*(bench.invoke(b"%d" % i) for i in range(30)))
    assert most == 2
    await bench.put(route(variant("AllTraffic", 1, replica("r1", 4)), revision=2))
    await asyncio.gather(*(bench.invoke(b"%d" % i) for i in range(30)))
    assert most == 4


async def test_replicas_share_one_queue(bench: Bench) -> None:
    async def slow(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]]:
        await asyncio.sleep(0.01)
        return await echo(batch)

    await bench.put(route(variant("AllTraffic", 1, replica("r1"), replica("r2"))))
    one = await bench.replica("r1", slow, batch=1)
    two = await bench.replica("r2", slow, batch=1)
    await asyncio.gather(*(bench.invoke(b"%d" % i) for i in range(20)))
    assert len(one.seen) == len(two.seen) == 10


async def test_a_zygote_that_hangs_is_hung_up_on_and_its_workers_serve(bench: Bench) -> None:
    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    fake = await bench.replica("r1")
    seen = bench.front.replicas["r1"]
    for _ in range(2 * SILENT):
        link = seen.zygote
        assert link is not None
        seen.check()
        await until(lambda link=link: link.silent == 0)  # it has answered
    fake.deaf = True
    for _ in range(SILENT):
        seen.check()
    assert seen.state() == "ready"
    seen.check()
    assert seen.state() == "loading", "not whole: the control plane replaces it"
    assert (await bench.invoke(b"7")).body == b"7"
    fake.deaf = False  # it wakes up, and dials again
    await until(lambda: seen.state() == "ready")
    assert (await bench.invoke(b"8")).body == b"8"


async def test_a_full_queue_refuses_at_once(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    await bench.put(route(variant("AllTraffic", 1, replica("r1"), queue_requests=2)))
    fake = await bench.replica("r1", never, batch=1)
    waiting = [asyncio.create_task(bench.invoke(b"0"))]
    await until(lambda: len(fake.seen) == 1)
    waiting += [asyncio.create_task(bench.invoke(b"%d" % i)) for i in (1, 2)]
    queue = bench.front.endpoints[ACCOUNT, "us-east-1", "iris"].variants["AllTraffic"].queue
    await until(lambda: len(queue) == 2)
    answer = await bench.invoke(b"3")
    assert (answer.status, code(answer)) == (503, "ServiceUnavailable")
    assert (await bench.invoke(b"4")).status == 503
    (line,) = [r.getMessage() for r in caplog.records if "refused" in r.getMessage()]
    assert line.startswith("endpoint iris, variant AllTraffic has 2 requests waiting already"), line
    for task in waiting:
        task.cancel()


async def test_large_queued_bodies_are_capped_by_size(bench: Bench) -> None:
    await bench.put(route(variant("AllTraffic", 1, replica("r1"), queue_bytes=1000)))
    fake = await bench.replica("r1", never, batch=1)
    waiting = [asyncio.create_task(bench.invoke(b"0"))]
    await until(lambda: len(fake.seen) == 1)
    waiting.append(asyncio.create_task(bench.invoke(b"x" * 5000)))
    queue = bench.front.endpoints[ACCOUNT, "us-east-1", "iris"].variants["AllTraffic"].queue
    await until(lambda: len(queue) == 1)
    assert (await bench.invoke(b"1")).status == 503
    for task in waiting:
        task.cancel()


async def test_requests_wait_for_a_replica_that_loads(bench: Bench) -> None:
    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    waiting = asyncio.create_task(bench.invoke(b"early"))
    await until(lambda: len(bench.front.connections) == 1)
    await bench.replica("r1")
    assert (await waiting).body == b"early"


async def test_without_a_healthy_replica_the_answer_is_503_at_once(bench: Bench) -> None:
    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    _reader, writer = await asyncio.open_unix_connection(bench.workers)
    writer.write(
        frames.control(
            frames.HELLO, {"version": 1, "role": "zygote", "replica": "r1", "token": "token-of-r1", "pid": 1}
        )
    )
    writer.write(frames.control(frames.FAILED, {"message": "ValueError: no model", "kind": "load"}))
    await until(lambda: bench.state("r1") == "failed")
    assert bench.front.replicas["r1"].view().failure == "ValueError: no model"
    answer = await bench.invoke()
    assert (answer.status, code(answer)) == (503, "ServiceUnavailable")
    writer.close()


# -- weights ----------------------------------------------------------------------------------------------------------------------


async def test_target_variant_overrides_weights(bench: Bench) -> None:
    await bench.put(route(variant("a", 1, replica("r1")), variant("b", 0, replica("r2"))))
    await bench.replica("r1")
    await bench.replica("r2")
    names = {(await bench.invoke(b"%d" % i)).headers["x-amzn-invoked-production-variant"] for i in range(5)}
    assert names == {"a"}
    answer = await bench.invoke(X_Amzn_SageMaker_Target_Variant="b")
    assert answer.headers["x-amzn-invoked-production-variant"] == "b"


# -- faults -----------------------------------------------------------------------------------------------------------------------


async def test_a_deadline_ends_in_aws_answer_and_frees_the_worker(bench: Bench) -> None:
    async def some(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]] | None:
        return await never(batch) if batch[0].body == b"hang" else await echo(batch)

    await bench.put(route(variant("AllTraffic", 1, replica("r1"), timeout=0.2)))
    fake = await bench.replica("r1", some, batch=1)
    hung = asyncio.create_task(bench.invoke(b"hang"))
    await until(lambda: len(fake.seen) == 1)
    after = asyncio.create_task(bench.invoke(b"after"))
    answer = await hung
    assert (answer.status, code(answer)) == (424, "ModelError")
    assert json.loads(answer.body)["OriginalStatusCode"] == 0
    assert message(answer).startswith(
        'Received server error (0) from primary with message "Your invocation timed out while waiting for a response from '
        "container primary. Review the latency metrics for each container in Amazon CloudWatch, resolve the issue, and try again."
        '". See https://'
    )
    assert (await after).status in (200, 424)
    await until(lambda: fake.killed == [100])
    assert (await bench.invoke(b"later")).body == b"later"


async def test_a_request_that_waits_too_long_in_the_queue_meets_its_deadline(bench: Bench) -> None:
    await bench.put(route(variant("AllTraffic", 1, replica("r1"), timeout=0.2)))
    answer = await bench.invoke()
    assert (answer.status, code(answer)) == (424, "ModelError")


async def test_a_worker_that_dies_costs_its_own_batch_only(bench: Bench) -> None:
    fake_holder = []

    async def some(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]]:
        if batch[0].body == b"crash":
            fake = fake_holder[0]
            pid = next(iter(fake.running))
            fake.end(pid)
            fake.fork()
            await asyncio.Event().wait()
        return await echo(batch)

    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    fake_holder.append(await bench.replica("r1", some, batch=1))
    bodies = [b"1", b"crash", b"2", b"3"]
    answers = await asyncio.gather(*(bench.invoke(body) for body in bodies))
    assert [answer.status for answer in answers] == [200, 424, 200, 200]
    assert json.loads(answers[1].body)["OriginalStatusCode"] == 500
    assert "could not get a response from the iris endpoint" in message(answers[1])


async def test_a_successor_may_come_before_the_killed_worker_is_gone(bench: Bench) -> None:
    """What waits for it is given to it when the other one, which held the only place, is gone: nobody else would look again."""

    async def hangs(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]] | None:
        return None if batch[0].body == b"hangs" else await echo(batch)

    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    fake = await bench.replica("r1", hangs)
    left: list[int] = []
    fake.end = left.append  # type: ignore[method-assign]
    lost = asyncio.create_task(bench.invoke(b"hangs"))
    await until(lambda: len(fake.seen) == 1)
    seated = bench.front.replicas["r1"]
    seated.workers[0].kill("it hangs")
    await until(lambda: len(seated.workers) == 2)
    later = asyncio.create_task(bench.invoke(b"later"))
    await until(lambda: bench.front.endpoints[ACCOUNT, "us-east-1", "iris"].variants["AllTraffic"].waiting() == 1)
    FakeReplica.end(fake, left[0])
    assert (await asyncio.wait_for(later, 5)).body == b"later"
    assert (await lost).status == 424


async def test_a_worker_that_left_before_reading_costs_nothing(bench: Bench) -> None:
    """The batch was written, but the other side closed with it unread: the model never had it, so another worker gets it."""
    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    _reader, writer = await asyncio.open_unix_connection(bench.workers)
    writer.write(
        frames.control(
            frames.HELLO, {"version": 1, "role": "worker", "replica": "r1", "token": "token-of-r1", "pid": 5}
        )
    )
    await until(lambda: len(bench.front.replicas["r1"].workers) == 1)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    waiting = asyncio.create_task(bench.invoke(b"kept"))
    await until(lambda: bool(bench.front.replicas["r1"].workers[0].flight))
    writer.transport.abort()
    fake = await bench.replica("r1")
    assert (await waiting).body == b"kept"
    assert len(fake.seen) == 1


async def test_what_was_sent_ahead_goes_to_another_worker_but_what_was_begun_does_not(bench: Bench) -> None:
    await bench.put(route(variant("AllTraffic", 1, replica("r1"), batch=1)))
    bench.front.replicas["r1"].service = 0.0001  # quick enough to be sent one ahead
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX) as worker:
        worker.setblocking(False)
        await loop.sock_connect(worker, bench.workers)
        hello = {"version": 1, "role": "worker", "replica": "r1", "token": "token-of-r1", "pid": 5}
        await loop.sock_sendall(worker, frames.control(frames.HELLO, hello))
        await until(lambda: len(bench.front.replicas["r1"].workers) == 1)
        begun = asyncio.create_task(bench.invoke(b"begun"))
        [held] = bench.front.replicas["r1"].workers
        await until(lambda: len(held.flight) == 1)
        held.since += 60  # as if it began just now, however slow this test is
        ahead = asyncio.create_task(bench.invoke(b"ahead"))
        await until(lambda: len(held.flight) == 2)
        parser, got = frames.Parser(), []
        while not any(kind == frames.PREDICT for kind, _, _ in got):
            got += parser.feed(await loop.sock_recv(worker, 1))
    fake = await bench.replica("r1")
    assert (await begun).status == 424
    assert (await ahead).body == b"ahead"
    assert [request.body for batch in fake.seen for request in batch] == [b"ahead"]


async def test_a_worker_that_hangs_gets_no_second_victim(bench: Bench) -> None:
    """It was quick and would be sent more ahead, but what it works on takes longer than anything did."""
    await bench.put(route(variant("AllTraffic", 1, replica("r1"), replica("r2"), batch=1)))
    hanging = await bench.replica("r1", never, batch=1)
    waiting = asyncio.create_task(bench.invoke(b"victim"))
    await until(lambda: len(hanging.seen) == 1)
    for one in bench.front.replicas.values():
        one.service = 0.0001
    [held] = bench.front.replicas["r1"].workers
    await until(lambda: perf_counter() - held.since > HANGING)
    late = [asyncio.create_task(bench.invoke(b"%d" % number)) for number in range(20)]
    await until(lambda: len(bench.front.endpoints[ACCOUNT, "us-east-1", "iris"].variants["AllTraffic"].queue) == 20)
    await bench.replica("r2", batch=1)
    assert [(await task).status for task in late] == [200] * 20
    assert [request.body for batch in hanging.seen for request in batch] == [b"victim"]
    waiting.cancel()


async def test_of_several_sent_ahead_only_the_one_begun_is_lost(bench: Bench) -> None:
    """The worker answers the first and dies at the second: the model never had the third and fourth."""
    await bench.put(route(variant("AllTraffic", 1, replica("r1"), batch=1)))
    bench.front.replicas["r1"].service = 0.0001
    loop = asyncio.get_running_loop()
    waiting = []
    with socket.socket(socket.AF_UNIX) as worker:
        worker.setblocking(False)
        await loop.sock_connect(worker, bench.workers)
        hello = {"version": 1, "role": "worker", "replica": "r1", "token": "token-of-r1", "pid": 5}
        await loop.sock_sendall(worker, frames.control(frames.HELLO, hello))
        await until(lambda: len(bench.front.replicas["r1"].workers) == 1)
        [held] = bench.front.replicas["r1"].workers
        for number in range(4):
            waiting.append(asyncio.create_task(bench.invoke(b"%d" % number)))
            await until(lambda: len(held.flight) == len(waiting))
            held.since += 60  # as if it began just now
        parser, got = frames.Parser(), []
        while sum(kind == frames.PREDICT for kind, _, _ in got) < 4:
            got += parser.feed(await loop.sock_recv(worker, 4096))
        first = next(frames.requests(payload, count)[0] for kind, count, payload in got if kind == frames.PREDICT)
        await loop.sock_sendall(worker, frames.results([(first.id, 200, frames.result_meta("text/csv"), first.body)]))
        assert (await waiting[0]).body == b"0"
    fake = await bench.replica("r1", batch=1)
    assert (await waiting[1]).status == 424
    assert [(await answer).body for answer in waiting[2:]] == [b"2", b"3"]
    assert [request.body for batch in fake.seen for request in batch] == [b"2", b"3"]


@pytest.mark.parametrize(
    "hello", [{"replica": "r1", "token": "wrong"}, {"replica": "nobody", "token": "token-of-r1"}, {}]
)
async def test_nobody_dials_in_without_the_token(bench: Bench, hello: dict[str, str]) -> None:
    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    reader, writer = await asyncio.open_unix_connection(bench.workers)
    writer.write(frames.control(frames.HELLO, {"version": 1, "role": "worker", "pid": 1, **hello}))
    header = await reader.readexactly(8)
    assert frames.HEADER.unpack(header)[1] == frames.REFUSED
    await reader.read()
    assert bench.state("r1") == "absent"
    writer.close()


async def test_nonsense_on_the_worker_socket_hurts_nobody(bench: Bench) -> None:
    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    await bench.replica("r1")
    for noise in (
        b"\xff" * 100,
        frames.HEADER.pack(1 << 30, frames.HELLO, 0, 0),
        frames.control(frames.READY, {"batch": "x"}),
    ):
        reader, writer = await asyncio.open_unix_connection(bench.workers)
        writer.write(noise)
        await reader.read()
        writer.close()
    assert (await bench.invoke()).status == 200


# -- retries ----------------------------------------------------------------------------------------------------------------------


def attempt(number: int, body: bytes = b"1,2", identity: str = "i-1") -> bytes:
    return signed(body, headers={"amz-sdk-invocation-id": identity, "amz-sdk-request": f"attempt={number}; max=3"})


async def test_a_clients_retry_joins_its_running_prediction(bench: Bench) -> None:
    gate = asyncio.Event()

    async def slow(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]]:
        await gate.wait()
        return await echo(batch)

    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    fake = await bench.replica("r1", slow)
    first = asyncio.create_task(call(bench.http, attempt(1)))
    await until(lambda: len(fake.seen) == 1)
    first.cancel()  # the client's own timeout
    second = asyncio.create_task(call(bench.http, attempt(2)))
    third = asyncio.create_task(call(bench.http, attempt(3)))
    await until(lambda: sum(c.busy for c in bench.front.connections) >= 2)
    gate.set()
    assert (await second).body == (await third).body == b"1,2"
    assert len(fake.seen) == 1, "the model ran once"
    assert (await call(bench.http, attempt(3))).body == b"1,2"
    assert len(fake.seen) == 1, "the answer was kept"


async def test_a_fault_of_the_front_costs_one_attempt_and_no_later_one(bench: Bench) -> None:
    class Broken:
        def take(self, prediction: Prediction) -> None:
            raise RuntimeError("a fault of the front")

    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    await bench.replica("r1")
    [served] = bench.front.endpoints[ACCOUNT, "us-east-1", "iris"].variants.values()
    served.capture = Broken()  # type: ignore[assignment]
    answer = await call(bench.http, attempt(1))
    assert (answer.status, code(answer)) == (500, "InternalFailure")
    served.capture = None
    async with asyncio.timeout(5):
        assert (await call(bench.http, attempt(2))).status == 200, "it joins no prediction that nobody answers"


@pytest.mark.parametrize("limit", [1 << 20, 30 << 20])
async def test_the_setting_bounds_a_body_whatever_a_route_says_of_itself(tmp_path: Path, limit: int) -> None:
    """Routes are made without it: what they tell is the bound of asynchronous endpoints."""
    async with Bench(tmp_path, max_payload=limit) as bench:
        await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
        await bench.replica("r1")
        refused = await bench.invoke(b"1" * (limit + 1))
        assert (refused.status, code(refused)) == (400, "ValidationError")
        assert f"{limit + 1} bytes, and the limit is {limit} (setting max_payload)" in message(refused)
        taken = await bench.invoke(b"1" * limit)
        assert taken.status == (
            200 if limit <= bench.front.max_answer else 424
        )  # the echo of the other is more than an answer may have


async def test_what_waits_is_counted_with_what_runs(bench: Bench) -> None:
    """ConcurrentRequestsPerModel: a policy that saw only what is being worked on would never see a queue (faults.md 44)."""
    gate = asyncio.Event()

    async def slow(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]]:
        await gate.wait()
        return await echo(batch)

    await bench.put(route(variant("AllTraffic", 1, replica("r1"), replica("r2"))))
    await bench.replica("r1", slow, batch=1)
    await bench.replica("r2", slow, batch=1)
    asked = [asyncio.create_task(bench.invoke(b"%d" % n)) for n in range(20)]
    await until(lambda: sum(sum(row.concurrent) for row in bench.front.counts()) == 20)
    [row] = bench.front.counts()
    assert (row.concurrent, row.in_flight, row.queued) == ((10.0, 10.0), 2, 18)
    gate.set()
    assert [(await one).status for one in asked] == [200] * 20


async def test_another_body_or_id_is_another_prediction(bench: Bench) -> None:
    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    fake = await bench.replica("r1")
    for request in (attempt(1), attempt(2, b"3,4"), attempt(1, identity="i-2"), signed(), signed()):
        assert (await call(bench.http, request)).status == 200
    assert sum(map(len, fake.seen)) == 5


async def test_a_refusal_is_not_kept_for_the_retry(bench: Bench) -> None:
    await bench.put(route(variant("AllTraffic", 0, replica("r1"))))
    assert (await call(bench.http, attempt(1))).status == 503
    await bench.put(route(variant("AllTraffic", 1, replica("r1")), revision=2))
    await bench.replica("r1")
    assert (await call(bench.http, attempt(2))).status == 200


async def test_a_queued_request_of_a_client_that_left_for_good_is_dropped(bench: Bench) -> None:
    gate = asyncio.Event()

    async def slow(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]]:
        await gate.wait()
        return await echo(batch)

    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    fake = await bench.replica("r1", slow, batch=1)
    first = asyncio.create_task(bench.invoke(b"first"))
    await until(lambda: len(fake.seen) == 1)
    gone = asyncio.create_task(bench.invoke(b"gone"))
    await until(lambda: len(bench.front.connections) == 2)
    await asyncio.sleep(0)
    gone.cancel()
    await until(lambda: len(bench.front.connections) == 1)
    gate.set()
    await first
    assert (await bench.invoke(b"last")).body == b"last"
    assert [batch[0].body for batch in fake.seen] == [b"first", b"last"]


# -- routes -----------------------------------------------------------------------------------------------------------------------


async def test_an_update_loses_no_request(bench: Bench) -> None:
    """Blue/green as the endpoint loop does it, under load."""

    async def slow(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]]:
        await asyncio.sleep(0.001)
        return await echo(batch)

    await bench.put(route(variant("AllTraffic", 1, replica("old"))))
    old = await bench.replica("old", slow)
    stop = False
    statuses = []

    async def client(number: int) -> None:
        while not stop:
            statuses.append((await bench.invoke(b"%d" % number)).status)

    clients = [asyncio.create_task(client(number)) for number in range(8)]
    await until(lambda: len(statuses) > 50)
    await bench.put(route(variant("AllTraffic", 1, replica("old"), replica("new", draining=True)), revision=2))
    new = await bench.replica("new", slow)
    assert not new.seen, "a draining replica gets nothing"
    await bench.put(route(variant("AllTraffic", 1, replica("old", draining=True), replica("new")), revision=3))
    assert [bench.front.replicas[name].view().allowed for name in ("old", "new")] == [0, 1]
    await until(lambda: bench.front.replicas["old"].busy == 0)
    await bench.put(route(variant("AllTraffic", 1, replica("new")), revision=4))
    await asyncio.wait_for(old.drained.wait(), 5)
    count = len(statuses)
    await until(lambda: len(statuses) > count + 50)
    stop = True
    await asyncio.gather(*clients)
    assert set(statuses) == {200}
    assert new.seen


async def test_another_size_reaches_the_zygote_and_its_workers(bench: Bench) -> None:
    first = replace(replica("r1"), threads=1)
    await bench.put(route(variant("AllTraffic", 1, first)))
    made = await bench.replica("r1")
    await bench.put(route(variant("AllTraffic", 1, replace(first, allowance=3, threads=2)), revision=2))
    await until(lambda: made.workers == 3 and len(made.threads) >= 2)
    assert set(made.threads) == {2}
    await bench.put(route(variant("AllTraffic", 1, replace(first, allowance=3, threads=2)), revision=3))
    assert (await bench.invoke(b"x")).status == 200
    assert len(made.threads) == 2, "told once each"


async def test_slow_answers_are_counted_from_when_the_route_says_what_is_slow(bench: Bench) -> None:
    async def dawdle(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]]:
        await asyncio.sleep(0.02)
        return await echo(batch)

    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    await bench.replica("r1", dawdle)
    for revision, slow in ((1, 0.0), (2, 5.0), (3, 0.001), (4, 0.0)):
        await bench.put(route(replace(variant("AllTraffic", 1, replica("r1")), slow=slow), revision=revision))
        await bench.invoke(b"x")
    view = bench.front.view(ACCOUNT, "us-east-1", "iris")
    assert view is not None
    assert (view.variants[0].completed, view.variants[0].slow) == (4, 1)


async def test_an_older_route_changes_nothing(bench: Bench) -> None:
    await bench.put(route(variant("AllTraffic", 1, replica("r2")), revision=5))
    await bench.put(route(variant("AllTraffic", 1, replica("r1")), revision=4))
    assert set(bench.front.replicas) == {"r2"}


async def test_queued_requests_of_a_variant_that_went_away_move_to_another(bench: Bench) -> None:
    await bench.put(route(variant("a", 1, replica("r1"))))
    waiting = asyncio.create_task(bench.invoke(b"moved"))
    pinned = asyncio.create_task(bench.invoke(b"pinned", X_Amzn_SageMaker_Target_Variant="a"))
    queue = bench.front.endpoints[ACCOUNT, "us-east-1", "iris"].variants["a"].queue
    await until(lambda: len(queue) == 2)
    await bench.put(route(variant("b", 1, replica("r2")), revision=2))
    await bench.replica("r2")
    assert (await waiting).headers["x-amzn-invoked-production-variant"] == "b"
    assert (await pinned).status == 400


def fleets(blue: float, green: float, revision: int) -> EndpointRoute:
    """Variant `a` by two fleets, and these shares."""
    return route(
        variant("a", 1, replica("r1", draining=not blue), key="a@1", fleet="blue", share=blue),
        variant("a", 1, replica("r2", draining=not green), key="a@2", fleet="green", share=green),
        revision=revision,
    )


async def test_fleets_share_the_traffic_of_a_variant(bench: Bench) -> None:
    await bench.put(fleets(0.75, 0.25, 1))
    blue, green = await bench.replica("r1"), await bench.replica("r2")
    for number in range(20):
        named = {"X_Amzn_SageMaker_Target_Variant": "a"} if number % 2 else {}
        answer = await bench.invoke(b"%d" % number, **named)
        assert answer.headers["x-amzn-invoked-production-variant"] == "a"
    # each shares by its own turn: 10 unnamed and 10 named requests, give or take one each
    assert abs(len(blue.seen) - 15) <= 1
    view = bench.front.view(ACCOUNT, "us-east-1", "iris")
    assert view is not None
    assert [(v.name, v.key, v.fleet, v.completed) for v in view.variants] == [
        ("a", "a@1", "blue", len(blue.seen)),
        ("a", "a@2", "green", len(green.seen)),
    ]


async def test_what_waits_at_a_fleet_goes_to_the_one_that_took_over(bench: Bench) -> None:
    await bench.put(fleets(1.0, 0.0, 1))
    waiting = asyncio.create_task(bench.invoke(b"moved"))
    pinned = asyncio.create_task(bench.invoke(b"pinned", X_Amzn_SageMaker_Target_Variant="a"))
    queue = bench.front.endpoints[ACCOUNT, "us-east-1", "iris"].variants["a@1"].queue
    await until(lambda: len(queue) == 2)
    await bench.replica("r2")
    assert len(queue) == 2  # ready, but it has no share yet
    await bench.put(fleets(0.0, 1.0, 2))
    assert [(await waiting).body, (await pinned).body] == [b"moved", b"pinned"]


async def test_what_moved_to_another_variant_keeps_its_deadline(bench: Bench) -> None:
    await bench.put(route(variant("a", 1, replica("r1"), timeout=0.4)))
    waiting = asyncio.create_task(bench.invoke(b"moved"))
    queue = bench.front.endpoints[ACCOUNT, "us-east-1", "iris"].variants["a"].queue
    await until(lambda: len(queue) == 1)
    await bench.put(route(variant("b", 1, replica("r2")), revision=2))
    await bench.replica("r2", never)
    async with asyncio.timeout(60):
        assert json.loads((await waiting).body)["OriginalStatusCode"] == 0


async def test_a_dropped_endpoint_finishes_what_runs(bench: Bench) -> None:
    gate = asyncio.Event()

    async def slow(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]]:
        await gate.wait()
        return await echo(batch)

    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    fake = await bench.replica("r1", slow, batch=1)
    running = asyncio.create_task(bench.invoke(b"running"))
    await until(lambda: len(fake.seen) == 1)
    queued = asyncio.create_task(bench.invoke(b"queued"))
    queue = bench.front.endpoints[ACCOUNT, "us-east-1", "iris"].variants["AllTraffic"].queue
    await until(lambda: len(queue) == 1)
    await bench.front.drop(ACCOUNT, "us-east-1", "iris")
    assert message(await queued) == "Endpoint iris of account 000000000000 not found."
    gate.set()
    assert (await running).body == b"running"
    assert (await bench.invoke()).status == 400
    assert bench.front.view(ACCOUNT, "us-east-1", "iris") is None


async def test_counters_tell_what_happened(bench: Bench) -> None:
    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    await bench.replica("r1")
    for number in range(10):
        await bench.invoke(b"%d" % number)
    view = bench.front.view(ACCOUNT, "us-east-1", "iris")
    assert view is not None
    [seen] = view.variants
    assert (seen.arrivals, seen.completed, seen.queued, seen.in_flight) == (10, 10, 0, 0)
    assert 0 < seen.p50 <= seen.p99 < 5
    assert seen.model_seconds > 0
    assert seen.replicas[0].state == "ready"
    assert seen.replicas[0].load_mode == "fork"
