"""The feature store's door: requests over a real connection, answered by the steps of the API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clary.app.feature_plane import FeaturePlane, encoded
from clary.wire.asgi import Application, Invocation
from clary.wire.http import Request, Response
from clary.wire.sigv4 import ClaimedIdentity

SIGNED = (
    "AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-1/sagemaker/aws4_request, SignedHeaders=host, Signature="
    + "0" * 64
)


async def let_in(request: Request, claim: ClaimedIdentity) -> str:
    return claim.key_id


def application(answer: Callable[[Invocation], Any]) -> Application:
    async def dispatch(invocation: Invocation) -> Any:
        return await answer(invocation)

    return Application(("sagemaker-featurestore-runtime",), authenticate=let_in, dispatch=dispatch)


def asked(method: str, target: str, body: bytes = b"") -> bytes:
    head = (
        f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {SIGNED}\r\nX-Amz-Date: 20260101T000000Z\r\n"
    )
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def read(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    status = int((await reader.readline()).split()[1])
    fields = {}
    while line := (await reader.readline()).strip():
        name, _, value = line.decode().partition(": ")
        fields[name.lower()] = value
    return status, fields, await reader.readexactly(int(fields["content-length"]))


async def test_requests_of_one_connection_are_answered_in_order(tmp_path: Path) -> None:
    async def answer(invocation: Invocation) -> Any:
        await asyncio.sleep(0)
        name = invocation.params["RecordIdentifierValueAsString"]
        return {"Record": [{"FeatureName": "id", "ValueAsString": name}]}

    plane = FeaturePlane(application(answer))
    server = await asyncio.get_running_loop().create_unix_server(plane.connection, str(tmp_path / "s"))
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
    for name in ("a", "%C3%BC"):
        writer.write(asked("GET", f"/FeatureGroup/g?RecordIdentifierValueAsString={name}"))
    found = []
    for _ in range(2):
        status, fields, body = await read(reader)
        assert (status, fields["content-type"]) == (200, "application/json")
        assert len(fields["x-amzn-requestid"]) == 36
        found.append(json.loads(body)["Record"][0]["ValueAsString"])
    assert found == ["a", "ü"]
    writer.close()
    server.close()


async def test_an_answer_under_way_is_sent_before_the_end(tmp_path: Path) -> None:
    began, goes_on = asyncio.Event(), asyncio.Event()

    async def answer(_: Invocation) -> Any:
        began.set()
        await goes_on.wait()
        return {}

    plane = FeaturePlane(application(answer))
    server = await asyncio.get_running_loop().create_unix_server(plane.connection, str(tmp_path / "s"))
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
    writer.write(asked("GET", "/FeatureGroup/g?RecordIdentifierValueAsString=a"))
    await began.wait()
    plane.draining = True
    ending = asyncio.create_task(plane.answered())
    goes_on.set()
    status, fields, _ = await read(reader)
    assert (status, fields["connection"]) == (200, "close")
    await ending
    assert await reader.read() == b""
    writer.close()
    server.close()


async def test_what_is_too_large_or_unsigned_or_no_operation_is_refused(tmp_path: Path) -> None:
    async def answer(_: Invocation) -> Any:
        raise AssertionError("not asked")

    plane = FeaturePlane(application(answer), body_limit=10)
    server = await asyncio.get_running_loop().create_unix_server(plane.connection, str(tmp_path / "s"))
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
    long = asked("GET", "/FeatureGroup/g?" + "&".join("a" for _ in range(1001)))
    unsigned = b"GET /FeatureGroup/g?RecordIdentifierValueAsString=a HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for sent, status, code in (
        (asked("PUT", "/FeatureGroup/g", b"x" * 11), 413, "RequestEntityTooLargeException"),
        (unsigned, 403, "MissingAuthenticationTokenException"),
        (asked("GET", "/Nothing"), 400, "UnknownOperationException"),
        (long, 400, "InvalidRequest"),
    ):
        writer.write(sent)
        found, fields, body = await read(reader)
        assert (found, fields.get("x-amzn-errortype", json.loads(body).get("__type"))) == (status, code)
    writer.close()
    server.close()


def test_an_answer_on_the_wire() -> None:
    response = Response(404, [("Content-Type", "application/json"), ("x-amzn-errortype", "ü")], b"{}")
    assert encoded(response) == (
        b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nx-amzn-errortype: \xfc\r\nContent-Length: 2\r\n\r\n{}"
    )
