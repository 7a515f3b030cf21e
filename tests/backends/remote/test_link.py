"""Many calls at a time over one connection, and what its other end may get wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from clary.backends.remote.link import LONGEST, NodeLink, Pulse
from clary.domain.errors import NotFound, Unavailable

QUIET = Pulse(beat=3600.0, silence=60.0)


class End:
    """An end of a connection, with what it has heard."""

    def __init__(self, pulse: Pulse = QUIET) -> None:
        self.pulse = pulse
        self.heard: list[Any] = []
        self.lost = asyncio.Event()
        self.news = asyncio.Event()

    def link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> NodeLink:
        return NodeLink("n", reader, writer, self.answer, self.hear, lambda _link: self.lost.set(), self.pulse)

    def hear(self, news: Any) -> None:
        self.heard.append(news)
        self.news.set()

    async def answer(self, call: str, given: Mapping[str, Any]) -> Any:
        if call == "missing":
            raise NotFound("no such thing")
        if call == "broken":
            raise OSError("disk")
        await asyncio.sleep(0 if given["number"] else 0.05)
        return given["number"]


async def connected(
    pulse: Pulse = QUIET,
) -> tuple[End, tuple[asyncio.StreamReader, asyncio.StreamWriter], asyncio.Server]:
    """The nearer end as a link, the other one as streams."""
    end = End(pulse)
    server = await asyncio.start_server(end.link, "127.0.0.1", 0)
    return end, await asyncio.open_connection(*server.sockets[0].getsockname()), server


async def test_answers_find_their_calls_in_any_order() -> None:
    _, streams, server = await connected()
    other = End()
    link = other.link(*streams)
    assert await asyncio.gather(*(link.ask("number", {"number": number}) for number in range(20))) == list(range(20))
    await link.close()
    assert other.lost.is_set()
    server.close()


async def test_errors_are_answers() -> None:
    _, streams, server = await connected()
    link = End().link(*streams)
    with pytest.raises(NotFound, match="no such thing"):
        await link.ask("missing", {})
    with pytest.raises(Unavailable, match="node n could not broken: OSError: disk"):
        await link.ask("broken", {})
    await link.close()
    with pytest.raises(Unavailable, match="lost"):
        await link.ask("number", {"number": 1})
    server.close()


async def test_news_needs_no_answer() -> None:
    end, streams, server = await connected()
    link = End().link(*streams)
    link.tell({"handle": "a"})
    async with asyncio.timeout(30):
        await end.news.wait()
    assert end.heard == [{"handle": "a"}]
    await link.close()
    async with asyncio.timeout(30):
        await end.lost.wait()
    server.close()


@pytest.mark.parametrize(
    "sent",
    [
        (LONGEST + 1).to_bytes(4, "big") + b"x",
        (3).to_bytes(4, "big") + b"{]}",
        (2).to_bytes(4, "big") + b"[]",
        (1).to_bytes(4, "big") + b"7",
        (2).to_bytes(4, "big") + b"{",
    ],
    ids=["too long", "no JSON", "a list", "a number", "cut off"],
)
async def test_what_is_no_frame_ends_the_connection(sent: bytes) -> None:
    end, (reader, writer), server = await connected()
    writer.write(sent)
    writer.write_eof()
    async with asyncio.timeout(30):
        await end.lost.wait()
        while await reader.read(1024):
            pass
    writer.close()
    server.close()


async def test_silence_ends_a_connection() -> None:
    end, (_, writer), server = await connected(Pulse(beat=3600.0, silence=0.05))
    async with asyncio.timeout(30):
        await end.lost.wait()
    writer.close()
    server.close()


async def test_each_beat_is_a_frame_without_content() -> None:
    _, (reader, writer), server = await connected(Pulse(beat=0.01, silence=60.0))
    async with asyncio.timeout(30):
        beat = (2).to_bytes(4, "big") + b"{}"
        assert await reader.readexactly(3 * len(beat)) == 3 * beat
    writer.close()
    server.close()
