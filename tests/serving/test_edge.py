"""The edge's configuration in a real nginx: where each request goes, what is limited, how the edge itself answers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.serving.edges import Edge, binaries, http

from clary.serving.edge import EdgeSettings, home, render
from clary.serving.homes import shares

PRESIGNED = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2F20300101%2Fus-east-1%2F{}%2Faws4_request&X-Amz-Signature=00"


@pytest.fixture(params=binaries(), ids=lambda binary: Path(binary).name)
async def edge(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Edge]:
    async with Edge(tmp_path, request.param, max_payload=1 << 20, max_control=1 << 20) as edge:
        yield edge


def front(name: str) -> str:
    return f"front-{home(name, 3)}"


# A name that nobody allowed.
STRANGE = b"clary.example:4600"

# (request, backend)
ROUTES = [
    (http("GET", "/k", b"", "s3").replace(b"Host: localhost", b"Host: bucket.s3.localhost:4600"), "objects"),
    (http("GET", f"/k?{PRESIGNED.format('s3')}").replace(b"Host: localhost", b"Host: Bucket.localhost"), "objects"),
    (http("GET", "/b/k", b"", "s3", X_Forwarded_For="192.0.2.7").replace(b"localhost", STRANGE), "objects"),
    (http("POST", "/endpoints/iris/invocations", b"1", "sagemaker"), front("iris")),
    (http("POST", "/endpoints/iris/async-invocations", b"", "sagemaker"), "control"),
    (http("POST", f"/endpoints/iris/async-invocations?{PRESIGNED.format('sagemaker')}"), "control"),
    (http("POST", "/endpoints/iris/async-invocations"), "control"),
    (http("POST", "/endpoints/iris/async-invocations/x", b"", "sagemaker"), front("iris")),
    (http("GET", "/endpoints/iris/async-invocations", b"", "s3"), "objects"),
    (http("POST", "/", b"Action=Publish", "sns", Content_Type="application/x-www-form-urlencoded"), "control"),
    (http("POST", "/endpoints/iris/invocations"), front("iris")),
    (http("POST", f"/endpoints/iris/invocations?{PRESIGNED.format('sagemaker')}"), front("iris")),
    (http("POST", "/", b"{}", "sagemaker", X_Amz_Target="SageMaker.ListModels"), "control"),
    (http("POST", "/", b"{}", X_Amz_Target="SageMaker.ListModels"), "control"),
    (http("POST", "/endpoints/iris/invocations", b"{}", "sagemaker", X_Amz_Target="SageMaker.ListModels"), "control"),
    (http("POST", "/", b"{}", "logs", X_Amz_Target="Logs_20140328.DescribeLogGroups"), "control"),
    (
        http("POST", "/", b"Action=GetCallerIdentity", "sts", Content_Type="application/x-www-form-urlencoded"),
        "control",
    ),
    (http("POST", "/", b"Action=x", "iam"), "control"),
    (
        http(
            "POST",
            "/",
            b"Action=AssumeRoleWithWebIdentity",
            Content_Type="application/x-www-form-urlencoded; charset=utf-8",
        ),
        "control",
    ),
    (http("POST", "/service/GraniteServiceVersion20100801/operation/ListMetrics", b"", "monitoring"), "control"),
    (http("POST", "/", b"{}", "monitoring", X_Amz_Target="GraniteServiceVersion20100801.ListMetrics"), "control"),
    (
        http("POST", "/", b"Action=ListMetrics", "monitoring", Content_Type="application/x-www-form-urlencoded"),
        "control",
    ),
    (http("POST", "/service/GraniteServiceVersion20100801/operation/ListMetrics", b""), "control"),
    (http("PUT", "/BatchPutMetrics", b"{}", "sagemaker"), "control"),
    (http("GET", "/console"), "control"),
    (http("GET", "/console/endpoints?x=1"), "control"),
    (http("GET", "/consoles"), "objects"),
    (http("GET", "/FeatureGroup/people?RecordIdentifierValueAsString=1", b"", "sagemaker"), "features"),
    (http("PUT", "/FeatureGroup/people", b"{}", "sagemaker"), "features"),
    (http("POST", "/FeatureGroup/people/ListRecords", b"{}"), "features"),
    (http("POST", "/BatchGetRecord", b"{}", "sagemaker"), "features"),
    (http("POST", "/BatchWriteRecord", b"{}", "sagemaker"), "features"),
    (http("POST", "/2015-03-31/functions", b"{}"), "control"),
    (http("GET", "/schedules?ScheduleGroup=a"), "control"),
    (http("GET", "/tags/arn"), "control"),
    (http("GET", "/schedules/key", b"", "s3"), "objects"),
    (http("POST", "/BatchPutMetrics", b"{}", "sagemaker"), "control"),
    (http("GET", "/FeatureGroup/key", b"", "s3"), "objects"),
    (http("GET", "/capacity"), "control"),
    (http("GET", "/capacity", b"", "s3"), "objects"),  # a bucket may have that name
    (http("GET", "/", b"", "s3"), "objects"),
    (http("GET", "/endpoints/iris/invocations", b"", "s3"), "objects"),
    (
        http("POST", "/", b"{}", "s3", X_Amz_Target="SageMaker.ListModels"),
        "control",
    ),  # told there that its scope is wrong
    (http("PUT", "/endpoints/key", b"x", "s3"), "objects"),
    (http("GET", f"/endpoints/iris/invocations?{PRESIGNED.format('s3')}"), "objects"),
    (http("GET", "/endpoints/iris/x?AWSAccessKeyId=AKIA&Signature=a&Expires=1"), "objects"),
    (http("GET", "/endpoints/iris/x", Authorization="AWS AKIA:sig"), "objects"),
    (http("GET", "/bucket/key"), "objects"),
    (http("POST", "/bucket", b"--x--", Content_Type="multipart/form-data; boundary=x"), "objects"),
    (http("DELETE", "/bucket/key"), "objects"),
    (http("OPTIONS", "/bucket/key"), "objects"),
    (http("PATCH", "/anything"), "objects"),
    (http("HEAD", "/bucket/key", b"", "s3"), "objects"),
]


async def test_every_request_finds_its_process(edge: Edge) -> None:
    for request, wanted in ROUTES:
        if request.startswith(b"HEAD"):
            continue
        assert await edge.where(request) == wanted, request


async def test_an_endpoints_home_is_the_same_for_nginx_and_for_us(edge: Edge) -> None:
    names = [f"endpoint-{i}" for i in range(60)] + ["a", "ab", "abc", "abcd", "x" * 63]
    for name in names:
        assert await edge.where(http("POST", f"/endpoints/{name}/invocations", b"", "sagemaker")) == front(name)
    assert len({front(name) for name in names}) == 3


@pytest.mark.parametrize(
    "target",
    ["/bucket//key", "/bucket/a%2Fb", "/bucket/a/../b", "/bucket/./a", "/b/k?prefix=a%20b&x", "/b/%C3%A9?versionId=%2B", "//b",
     "/b/a+b%2B"],
)  # fmt: skip
async def test_a_path_arrives_as_it_was_sent(edge: Edge, target: str) -> None:
    await edge.ask(http("GET", target, b"", "s3"))
    assert edge.last.line == f"GET {target} HTTP/1.1"


async def test_headers_arrive_as_they_were_sent(edge: Edge) -> None:
    sent = {
        "x-amz-meta-my_key": "1",
        "x-amz-meta-a.b": "2",
        "X-Amz-Meta-Mixed": "a  b",
        "Content-MD5": "x==",
        "Range": "bytes=0-1",
    }
    await edge.ask(
        http("PUT", "/b/k", b"body", "s3", host="localhost:4600", **dict(sent.items())).replace(b"my-key", b"my_key")
    )
    seen = edge.last
    for name, value in sent.items():
        assert seen.header(name) == value
    assert seen.header("Host") == "localhost:4600"
    assert "Expect" not in seen.names


async def test_a_client_can_not_forge_where_it_comes_from(edge: Edge) -> None:
    await edge.ask(http("GET", "/b/k", b"", "s3", X_Forwarded_For="1.2.3.4"))
    assert edge.last.header("X-Forwarded-For") == "127.0.0.1"


async def test_expect_100_is_answered_by_the_edge(edge: Edge) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    writer.write(http("PUT", "/b/k", b"hello", "s3", Expect="100-continue")[: -len(b"hello")])
    assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5) == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"hello")
    assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 200")
    writer.close()
    assert edge.last.body == b"hello"


async def test_an_s3_body_is_streamed(edge: Edge) -> None:
    """It reaches the store while the client still sends: nothing is spooled at the edge."""
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    writer.write(http("PUT", "/b/k", b"x" * 100_000, "s3")[:-50_000])
    await writer.drain()
    async with asyncio.timeout(60):
        while not edge.objects.opened:
            await asyncio.sleep(0.005)
    writer.write(b"x" * 50_000)
    assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_connections_to_fronts_are_kept(edge: Edge) -> None:
    opened = sum(f.opened for f in edge.fronts)
    for _ in range(20):
        await edge.ask(http("POST", "/endpoints/iris/invocations", b"1", "sagemaker"))
    assert sum(f.opened for f in edge.fronts) - opened <= 2


# -- limits -----------------------------------------------------------------------------------------------------------------------


async def test_bodies_over_the_limit_are_refused_in_the_protocol_of_the_request(edge: Edge) -> None:
    big = b"x" * (3 << 20)
    reply = await edge.ask(http("POST", "/endpoints/iris/invocations", big, "sagemaker"))
    assert (reply.status, reply.headers["x-amzn-errortype"]) == (400, "ValidationError")
    assert re.search(
        rf"oversize body: {3 << 20} bytes, and the limit is {1 << 20} \(setting max_payload\)",
        json.loads(reply.body)["message"],
    )
    reply = await edge.ask(http("POST", "/", big, "sagemaker", X_Amz_Target="SageMaker.CreateModel"))
    assert (reply.status, json.loads(reply.body)["__type"]) == (413, "RequestEntityTooLargeException")
    reply = await edge.ask(http("POST", "/", big, "sts"))
    assert reply.status == 413
    assert ElementTree.fromstring(reply.body).findtext("Error/Code") == "RequestEntityTooLargeException"
    assert (await edge.ask(http("PUT", "/b/k", big, "s3"))).status == 200


async def test_a_body_a_little_over_the_limit_reaches_the_front_which_says_it_better(edge: Edge) -> None:
    assert (
        await edge.ask(http("POST", "/endpoints/iris/invocations", b"x" * ((1 << 20) + 1), "sagemaker"))
    ).status == 200


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /b HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n", 400),
        (b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (
            b"GET /b HTTP/1.1\r\nHost: localhost\r\n" + b"".join(b"X-%d: 1\r\n" % i for i in range(20_000)) + b"\r\n",
            400,
        ),
        (b"GET /b HTTP/1.1\r\n\r\n", 400),
        (b"GET /b HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
        (
            b"POST /b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (b"POST /b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400),
        (b"POST /b HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\nabc", 501),
        (b"GET /b\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"NONSENSE\r\n\r\n", 400),
        (b"TRACE /b HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        (b"GET /b HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
        (b"GET /b HTTP/1.0\r\n\r\n", 421),
        (
            http("POST", "/", b"{}", "sagemaker", X_Amz_Target="SageMaker.ListModels").replace(b"localhost", STRANGE),
            421,
        ),
        (http("POST", "/endpoints/iris/invocations", b"1", "sagemaker").replace(b"localhost", STRANGE), 421),
        (b"GET /b HTTP/1.1\r\nHost: localhost.evil.example\r\n\r\n", 421),
        (b"GET /b HTTP/9.9\r\nHost: localhost\r\n\r\n", 505),
        (http("PUT", "/b", b"", "s3").replace(b"localhost", STRANGE), 421),
        (http("PUT", "/b", b"", X_Forwarded_For="192.0.2.7").replace(b"localhost", STRANGE), 421),
        (http("POST", "/", b"", "sagemaker", X_Forwarded_For="192.0.2.7").replace(b"localhost", STRANGE), 421),
        (http("GET", f"/b/k?{PRESIGNED.format('s3')}").replace(b"localhost", STRANGE), 421),
        (http("GET", "/k", b"", "s3").replace(b"localhost", b"bucket." + STRANGE), 421),
        (http("GET", "/k", b"", "s3").replace(b"localhost", b"1.127.0.0.1"), 421),
    ],
)
async def test_what_no_process_ever_sees(edge: Edge, request_: bytes, status: int) -> None:
    assert (await edge.ask(request_)).status == status
    assert [seen for backend in edge.backends for seen in backend.seen] == []
    assert await edge.where(http("GET", "/b/k", b"", "s3")) == "objects"


SCOPES = {"sagemaker": "json", "s3": "xml", "sts": "query", "front": "front"}


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ((b"\r\n\r\n", b"\r\nTransfer-Encoding: xchunked\r\n\r\n"), 501, "Transfer-Encoding"),
        ((b"\r\n\r\n", b"\r\nContent-Length: 7\r\n\r\n"), 400, "not well-formed"),
        ((b"\r\n\r\n", b"\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"), 400, "too large"),
        ((b"localhost", STRANGE), 421, "allowed_hosts"),
        ((b"POST", b"TRACE"), 405, "not allowed"),
    ],
    ids=["transfer encoding", "two lengths", "long head", "host", "TRACE"],
)
async def test_what_the_edge_refuses_is_told_in_the_protocol_of_the_request(
    edge: Edge, scope: str, change: tuple[bytes, bytes], status: int, words: str
) -> None:
    path = "/endpoints/iris/invocations" if scope == "front" else "/"
    request = http("POST", path, b"", "sagemaker" if scope == "front" else scope)
    reply = await edge.ask(request.replace(*change, 1))
    assert reply.status == status
    assert words.encode() in reply.body
    if SCOPES[scope] in ("json", "front"):
        assert json.loads(reply.body)["__type"] == reply.headers["x-amzn-errortype"]
    else:
        root = ElementTree.fromstring(reply.body)
        assert root.tag == ("Error" if scope == "s3" else "ErrorResponse")
        assert reply.headers["content-type"] in ("application/xml", "text/xml")


async def test_a_version_of_http_that_is_not_spoken_is_an_error_of_awss_shape(edge: Edge) -> None:
    reply = await edge.ask(b"GET /b HTTP/9.9\r\nHost: localhost\r\n\r\n")
    assert json.loads(reply.body)["__type"] == "ValidationException"


async def test_a_chunked_body_over_the_limit_is_told_with_what_was_read(edge: Edge) -> None:
    chunk = b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"
    for request, words in (
        (
            http("POST", "/endpoints/iris/invocations", b"", "sagemaker"),
            r"oversize body: no end after (\d+) bytes, and the limit",
        ),
        (
            http("POST", "/", b"", "sagemaker", X_Amz_Target="SageMaker.CreateModel"),
            r"body has no end after (\d+) bytes, and",
        ),
    ):
        head = request.replace(b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n")
        assert head != request
        reply = await edge.ask(head + chunk * 4 + b"0\r\n\r\n")
        found = re.search(words, reply.body.decode())
        assert found, reply.body
        assert int(found[1]) > 1 << 20


async def test_slow_heads_and_bodies_are_ended(tmp_path: Path) -> None:
    async with Edge(tmp_path, binaries()[0]) as edge:
        edge.process.terminate()  # type: ignore[union-attr]
        edge.process.wait(10)  # type: ignore[union-attr]
        text = (
            render(edge.settings)
            .replace("client_header_timeout 20s", "client_header_timeout 1s")
            .replace("client_body_timeout 30s", "client_body_timeout 1s")
        )
        assert text != render(edge.settings)
        edge.spawn(text)
        for part in (b"GET /b HTTP/1.1\r\nHost: loc", http("POST", "/", b"abc", "sagemaker")[:-1]):
            reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
            writer.write(part)
            with contextlib.suppress(ConnectionResetError):
                assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()
        assert (await edge.ask(http("GET", "/b", b"", "s3"))).status == 200


# -- the edge's own errors --------------------------------------------------------------------------------------------------------


async def test_a_process_that_is_away_is_503_in_the_protocol_of_the_request(edge: Edge) -> None:
    for backend in edge.backends:
        await backend.stop()
    reply = await edge.ask(http("POST", "/endpoints/iris/invocations", b"1", "sagemaker"))
    assert (reply.status, reply.headers["x-amzn-errortype"], reply.headers["content-type"]) == (
        503,
        "ServiceUnavailable",
        "application/json",
    )
    assert json.loads(reply.body)["__type"] == "ServiceUnavailable"
    assert reply.headers["retry-after"] == "1"
    reply = await edge.ask(http("POST", "/", b"{}", "sagemaker", X_Amz_Target="SageMaker.ListModels"))
    assert (reply.status, json.loads(reply.body)["__type"]) == (503, "ServiceUnavailable")
    reply = await edge.ask(http("POST", "/", b"", "sts"))
    assert (reply.status, ElementTree.fromstring(reply.body).findtext("Error/Code")) == (503, "ServiceUnavailable")
    reply = await edge.ask(http("GET", "/b/k", b"", "s3"))
    assert (reply.status, ElementTree.fromstring(reply.body).findtext("Code")) == (503, "ServiceUnavailable")
    assert reply.headers["content-type"] == "application/xml"
    for backend in edge.backends:
        await backend.start()
    assert await edge.where(http("GET", "/b/k", b"", "s3")) == "objects"


async def test_the_edge_never_sends_a_request_twice(edge: Edge) -> None:
    for backend in edge.backends:
        backend.drop = True
    for request in (http("POST", "/endpoints/iris/invocations", b"1", "sagemaker"), http("GET", "/b/k", b"", "s3")):
        assert (await edge.ask(request)).status == 503
    assert sum(len(backend.seen) for backend in edge.backends) == 2


async def test_an_answer_of_a_process_passes_untouched(edge: Edge) -> None:
    edge.objects.answer = b"x" * 3_000_000
    reply = await edge.ask(http("GET", "/b/k", b"", "s3"))
    assert len(reply.body) == 3_000_000
    assert "server" not in reply.headers or "/" not in reply.headers["server"], "no version is told"


async def test_the_access_log_is_json_and_tells_no_signature(edge: Edge, tmp_path: Path) -> None:
    await edge.ask(http("GET", f'/b/"k?{PRESIGNED.format("s3")}', b"", "s3", User_Agent='a"b\\c'))
    async with asyncio.timeout(60):
        while '"/b/' not in (tmp_path / "access.log").read_text():
            await asyncio.sleep(0.05)
    lines = [json.loads(line) for line in (tmp_path / "access.log").read_text().splitlines()]
    [line] = [line for line in lines if line["path"].startswith("/b/")]
    assert (line["to"], line["scope"], line["status"], line["agent"]) == ("objects", "s3", 200, 'a"b\\c')
    assert "Signature" not in (tmp_path / "access.log").read_text()


# -- pure -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 5, 7, 16, 100])
def test_homes_cover_every_front_evenly(count: int) -> None:
    homes = [home(f"name-{i}", count) for i in range(3000)]
    assert set(homes) == set(range(count))
    assert len(shares(count)) == count


@pytest.mark.parametrize("bad", ['a"b', "a b;\n", "a$b", "a\\b", ""])
def test_a_name_that_could_break_out_of_the_configuration_is_refused(bad: str) -> None:
    plain = {
        "listen": "127.0.0.1:1",
        "fronts": ("/f",),
        "control": "/c",
        "objects": "/o",
        "features": "/x",
        "folder": "/d",
        "pid": "/p",
        "access_log": "/a",
        "error_log": "/e",
    }
    render(EdgeSettings(**plain))  # type: ignore[arg-type]
    with pytest.raises(ValueError):
        render(EdgeSettings(**{**plain, "hosts": (bad,)}))  # type: ignore[arg-type]


def test_tls_is_asked_of_the_listener_alone() -> None:
    text = render(
        EdgeSettings(
            "127.0.0.1:1", ("/f",), "/c", "/o", "/x", "/d", "/p", "/a", "/e", tls_cert="/cert.pem", tls_key="/key.pem"
        )
    )
    assert text.count("listen 127.0.0.1:1 ssl") == 2
    assert text.count('ssl_certificate_key "/key.pem";') == 2


# -- TLS and reload ---------------------------------------------------------------------------------------------------------------


def certificate(folder: Path, name: str) -> tuple[str, str]:
    """A self-signed certificate for localhost, by the openssl command."""
    key, cert = folder / "key.pem", folder / "cert.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    more = ["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*command, *more], check=True, capture_output=True)
    return str(cert), str(key)


def common_name(port: int) -> str:
    """What the certificate that is served now calls itself."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as secure,
    ):
        found = secure.getpeercert(binary_form=True)
        assert found is not None
        return "two" if b"two" in found else "one"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
async def test_a_certificate_is_read_again_on_a_reload_and_no_request_is_lost(tmp_path: Path) -> None:
    cert, key = await asyncio.to_thread(certificate, tmp_path, "one")
    for file in (cert, key):  # nginx takes a file for unchanged over a reload when it was written in the same second
        os.utime(file, (1e9, 1e9))
    async with Edge(tmp_path, binaries()[0], tls_cert=cert, tls_key=key) as edge:
        assert await asyncio.to_thread(common_name, edge.port) == "one"
        for front_backend in edge.fronts:
            front_backend.delay = 0.05
        request = http("POST", "/endpoints/iris/invocations", b"1", "sagemaker")
        running = [asyncio.create_task(edge.ask(request)) for _ in range(20)]
        await asyncio.sleep(0)
        await asyncio.to_thread(certificate, tmp_path, "two")
        assert edge.process is not None
        edge.process.send_signal(signal.SIGHUP)
        running += [asyncio.create_task(edge.ask(request)) for _ in range(20)]
        assert {(await task).status for task in running} == {200}
        async with asyncio.timeout(60):
            while await asyncio.to_thread(common_name, edge.port) != "two":
                await asyncio.sleep(0.02)


def plain(port: int) -> str:
    """The answer to a request of http on the port of https."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
        raw.sendall(
            b"POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: SageMaker.ListModels\r\nContent-Length: 0\r\n\r\n"
        )
        return raw.recv(65536).decode()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
async def test_a_client_that_speaks_http_to_https_is_told_so(tmp_path: Path) -> None:
    cert, key = await asyncio.to_thread(certificate, tmp_path, "one")
    async with Edge(tmp_path, binaries()[0], tls_cert=cert, tls_key=key) as edge:
        answer = await asyncio.to_thread(plain, edge.port)
    assert answer.startswith("HTTP/1.1 400 ")
    assert "This port speaks https" in answer
    assert "<html>" not in answer
