"""Requests that are read the quick way are read as httptools reads them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clary.serving.heads import ALIKE, LONGEST, Heads
from clary.serving.http import Connection
from clary.serving.request import Incoming

DATE, LATER = "20261127T095900Z", "20261127T100001Z"
FIRST, SECOND = "a1" * 32, "0f" * 32
UUID, OTHER = "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "6ba7b811-9dad-11d1-80b4-00c04fd430c8"


def written(
    date: str = DATE, signature: str = FIRST, body: bytes = b"1,2,3", more: str = "", path: str = "/p?a=1"
) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\nContent-Type: text/csv\r\n{more}"
        f"X-Amz-Date: {date}\r\n"
        f"Authorization: AWS4-HMAC-SHA256 Credential=A/1/r/s/aws4_request, SignedHeaders=host, Signature={signature}\r\n\r\n"
    )
    return head.encode("latin-1") + body


class Blind(Heads):
    """Sees nothing the quick way: what httptools says alone."""

    def read(self, data: bytes) -> Incoming | None:
        return None


class Plane:
    draining = False
    body_limit = 1 << 20

    def __init__(self, heads: Heads) -> None:
        self.heads = heads
        self.connections: set[Connection] = set()
        self.requests: list[Incoming] = []

    def handle(self, connection: Connection, request: Incoming) -> None:
        self.requests.append(request)
        connection.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    def request_id(self) -> bytes:
        return b"id"


class Transport:
    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


def seen(heads: Heads, *reads: bytes) -> tuple[list[Any], list[bytes], bool]:
    """What becomes of these reads on one connection: requests, answers, whether it was closed."""
    plane, transport = Plane(heads), Transport()
    connection = Connection(plane)
    given_transport: Any = transport
    connection.connection_made(given_transport)
    for data in reads:
        connection.data_received(data)
    requests = [
        (r.method, r.path, r.query, list(r.headers.items()), r.body, r.size, r.oversize) for r in plane.requests
    ]
    return requests, transport.written, transport.closed


def test_a_request_like_one_before_is_read_alike() -> None:
    heads = Heads()
    seen(heads, written())
    again = written(LATER, SECOND, b"7,8,9")
    request = heads.read(again)
    assert request is not None
    assert (request.method, request.path, request.query, request.body, request.size) == (
        "POST",
        "/p",
        "a=1",
        b"7,8,9",
        5,
    )
    assert request.headers["x-amz-date"] == LATER
    assert request.headers["authorization"].endswith(f"Signature={SECOND}")
    assert seen(heads, again) == seen(Blind(), again)


def test_an_invocation_id_may_differ() -> None:
    heads = Heads()
    seen(heads, written(more=f"amz-sdk-invocation-id: {UUID}\r\n"))
    request = heads.read(written(more=f"amz-sdk-invocation-id: {OTHER}\r\n"))
    assert request is not None
    assert request.headers["amz-sdk-invocation-id"] == OTHER


def targeted(model: str) -> bytes:
    return written(more=f"X-Amzn-SageMaker-Target-Model: {model}\r\n")


def test_a_model_may_differ() -> None:
    heads = Heads()
    seen(heads, targeted("a/model_1.tar.gz"))
    again = targeted("b-model(2);tar~z")
    request = heads.read(again)
    assert request is not None
    assert request.headers["x-amzn-sagemaker-target-model"] == "b-model(2);tar~z"
    assert seen(heads, again) == seen(Blind(), again)


@pytest.mark.parametrize("other", ["a/b", "a c", " ac", "a\tc", "a\r\n", "a\x7fc", "a\xe9c"])
def test_a_model_of_other_length_or_with_blanks_is_not_read(other: str) -> None:
    heads = Heads()
    seen(heads, targeted("m-1" if other != "a/b" else "m-12"))
    assert heads.read(targeted(other)) is None


@pytest.mark.parametrize(
    "other",
    [
        written(body=b"1,2"),
        written(path="/q?a=1"),
        written(date="20261127T0959\r\nZ"),
        written(date="20261127T095 00Z"),
        written(signature="\xff" + FIRST[1:]),
        written(signature=FIRST[:-2] + "\r\n"),
        written() + b"1",
        written()[:-1],
        written().replace(b"text/csv", b"text/foo"),
    ],
)
def test_what_differs_otherwise_is_not_read(other: bytes) -> None:
    heads = Heads()
    seen(heads, written())
    assert heads.read(other) is None


@pytest.mark.parametrize(
    "data",
    [
        written(more="Connection: keep-alive\r\n"),
        written(more="Expect: 100-continue\r\n"),
        written(more="Upgrade: h2c\r\n"),
        written().replace(b"POST", b"GET"),
        written(more=f"X-Other: {DATE}\r\n"),  # which of the two is the date?
        written(body=b"x" * LONGEST),
        b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n1",
        written() + written(),
    ],
)
def test_what_is_not_learned(data: bytes) -> None:
    heads = Heads()
    seen(heads, data)
    assert heads.read(data) is None


def test_a_request_in_two_reads_is_read_by_httptools() -> None:
    heads = Heads()
    whole = written()
    seen(heads, whole)
    requests, answers, _ = seen(heads, whole[:50], whole[50:], whole)
    assert len(requests) == len(answers) == 2
    assert seen(heads, whole[:10], whole) == seen(Blind(), whole[:10], whole)


def test_nothing_is_read_after_a_request_that_closes() -> None:
    heads = Heads()
    whole = written()
    seen(heads, whole)
    last = written(more="Connection: close\r\n")
    assert seen(heads, last, whole) == seen(Blind(), last, whole)


def test_a_limit_on_bodies_stands() -> None:
    heads = Heads()
    whole = written(body=b"1" * 100)
    seen(heads, whole)
    plane = Plane(heads)
    plane.body_limit = 99
    connection = Connection(plane)
    transport: Any = Transport()
    connection.connection_made(transport)
    connection.data_received(whole)
    assert plane.requests[0].oversize


def test_several_clients_of_one_length() -> None:
    heads = Heads()
    clients = [written(more=f"X-A: {number}\r\n") for number in range(ALIKE)]
    for client in clients:
        seen(heads, client)
    assert all(heads.read(client) is not None for client in clients)
    seen(heads, written(more="X-A: 9\r\n"))
    assert sum(heads.read(client) is not None for client in clients) >= ALIKE - 1


PARTS = st.sampled_from(
    [
        b"",
        b"\r",
        b"\n",
        b"\r\n",
        b"\r\n\r\n",
        b" ",
        b"\t",
        b"\0",
        b":",
        b"x",
        b"0",
        b"Z",
        b"\xff",
        b"\r\nTransfer-Encoding: chunked",
        b"-",
    ]
)


@given(st.data())
def test_whatever_is_changed_both_ways_read_the_same(data: st.DataObject) -> None:
    heads = Heads()
    first = written(more=f"amz-sdk-invocation-id: {UUID}\r\n")
    seen(heads, first)
    place = data.draw(st.integers(0, len(first)))
    part = data.draw(PARTS)
    cut = data.draw(st.sampled_from([0, len(part), len(part), len(part)]))
    changed = first[:place] + part + first[place + cut :]
    assert seen(heads, changed) == seen(Blind(), changed)
    assert seen(heads, first, changed) == seen(Blind(), first, changed)
