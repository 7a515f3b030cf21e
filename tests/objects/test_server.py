"""What becomes of a body that nobody asked for: the connection it came by must not break under a proxy that still sends it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from clary.objects.request import Reply
from clary.objects.server import LARGEST_DRAINED, SLACK, _settle_body


class Body:
    def __init__(self, *pieces: bytes) -> None:
        self.left = list(pieces)

    def __aiter__(self) -> Body:
        return self

    async def __anext__(self) -> bytes:
        if not self.left:
            raise StopAsyncIteration
        return self.left.pop(0)


async def settled(body: Body, **headers: str) -> list[tuple[str, str]]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    call: Any = SimpleNamespace(headers=named, proto=body, header=lambda name, other="": named.get(name, other))
    reply = Reply(412, [])
    await _settle_body(call, reply)
    return list(reply.headers)


@pytest.mark.parametrize(
    "headers",
    [
        {"content_length": "2"},
        {"transfer_encoding": "chunked", "x_amz_decoded_content_length": "2"},
        {"transfer_encoding": "chunked", "x_amz_decoded_content_length": "0", "expect": "100-continue"},
    ],
)
async def test_a_small_one_is_read(headers: dict[str, str]) -> None:
    body = Body(b"1", b"2")
    assert await settled(body, **headers) == []
    assert body.left == []


@pytest.mark.parametrize(
    "headers",
    [
        {"content_length": str(LARGEST_DRAINED + 1)},
        {"transfer_encoding": "chunked"},
        {"transfer_encoding": "chunked", "x_amz_decoded_content_length": str(LARGEST_DRAINED + 1)},
        {"transfer_encoding": "chunked", "x_amz_decoded_content_length": "many"},
    ],
)
async def test_a_large_one_ends_the_connection_unread(headers: dict[str, str]) -> None:
    body = Body(b"1")
    assert await settled(body, **headers) == [("connection", "close")]
    assert body.left == [b"1"]


async def test_more_than_was_promised_ends_the_connection() -> None:
    body = Body(*[bytes(SLACK)] * 100)
    assert await settled(body, transfer_encoding="chunked", x_amz_decoded_content_length="2") == [
        ("connection", "close")
    ]
    assert len(body.left) > 90
