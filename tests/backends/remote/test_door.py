"""The listener of a head over real TLS: who is let in, as what."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from clary.backends.remote.door import NodeDoor, Streams
from clary.backends.remote.tls import client_context, dial, server_context
from clary.domain.errors import Denied, Invalid, Unavailable
from clary.stores.authority import Authority, asked_identity, open_authority


class Gatekeeper:
    """Lets in those of `known`; echoes what comes to its edge."""

    def __init__(self, authority: Authority) -> None:
        self.of, self.known, self.linked = authority, {"node-1"}, asyncio.Event()

    def authority(self) -> str:
        return self.of.certificate

    async def join(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        if asked["token"] != "good":
            raise Denied("no")
        return {"certificate": self.of.node(asked["name"], asked["request"], time.time())}

    async def renew(self, name: str, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"certificate": self.of.node(name, asked["request"], time.time())}

    async def admit(self, name: str) -> Mapping[str, Any]:
        if name not in self.known:
            raise Denied(f"{name} is no node")
        return {"hello": name}

    async def take(self, name: str, streams: Streams) -> None:
        self.linked.set()
        await streams[0].read()

    async def edge(self) -> Streams:
        one, other = socket.socketpair()
        far, to = await asyncio.open_unix_connection(sock=other)

        async def echo() -> None:
            while data := await far.read(1 << 16):
                to.write(data.upper())

        self.echo = asyncio.create_task(echo())
        return await asyncio.open_unix_connection(sock=one)


class Site:
    def __init__(self, folder: Path, address: tuple[str, int], gate: Gatekeeper) -> None:
        self.folder, self.address, self.gate = folder, address, gate

    def node(self, name: str, now: float | None = None) -> str:
        """A file with a certificate and its key."""
        key, request = asked_identity(name)
        made = self.gate.of.node(name, request, time.time() if now is None else now)
        (self.folder / f"{name}.pem").write_text(made + key)
        return str(self.folder / f"{name}.pem")

    async def ask(self, question: Mapping[str, Any], identity: str = "") -> tuple[Any, Streams]:
        told, reader, writer = await dial(self.address, client_context(self.gate.authority(), identity), question)
        return told, (reader, writer)


@asynccontextmanager
async def door(folder: Path, identity: str) -> AsyncIterator[Site]:
    gate = Gatekeeper(open_authority(folder / "keys", time.time()))
    context = server_context(identity, gate.authority())
    server = await asyncio.start_server(NodeDoor(gate).serve, "127.0.0.1", 0, ssl=context)
    try:
        yield Site(folder, server.sockets[0].getsockname(), gate)
    finally:
        server.close()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    made = open_authority(tmp_path / "keys", time.time()).head("head-1", time.time())
    (tmp_path / "head.pem").write_text(made.certificate + made.key)
    async with door(tmp_path, str(tmp_path / "head.pem")) as found:
        yield found


async def test_a_machine_without_a_certificate_may_only_join(site: Site) -> None:
    _, request = asked_identity("node-2")
    told, (_, writer) = await site.ask({"ask": "join", "token": "good", "name": "node-2", "request": request})
    writer.close()
    assert "BEGIN CERTIFICATE" in told["certificate"]
    with pytest.raises(Denied, match="no"):
        await site.ask({"ask": "join", "token": "bad", "name": "node-2", "request": request})
    for what in ("link", "edge", "renew"):
        with pytest.raises(Denied, match="without a certificate may only join"):
            await site.ask({"ask": what})


async def test_a_node_is_known_by_its_certificate(site: Site) -> None:
    told, (_, writer) = await site.ask({"ask": "link"}, site.node("node-1"))
    assert told == {"hello": "node-1"}
    await asyncio.wait_for(site.gate.linked.wait(), 10)
    writer.close()
    with pytest.raises(Denied, match="node-9 is no node"):
        await site.ask({"ask": "link"}, site.node("node-9"))
    with pytest.raises(Invalid, match="cannot be asked for 'dance'"):
        await site.ask({"ask": "dance"}, site.node("node-1"))


async def test_what_goes_to_the_edge_comes_back(site: Site) -> None:
    _, (reader, writer) = await site.ask({"ask": "edge"}, site.node("node-1"))
    writer.write(b"x" * 100_000)
    assert await asyncio.wait_for(reader.readexactly(100_000), 10) == b"X" * 100_000
    writer.close()


async def test_an_expired_certificate_is_refused(site: Site) -> None:
    with pytest.raises(Unavailable, match="did not answer"):
        await site.ask({"ask": "link"}, site.node("node-1", time.time() - 200_000))


async def test_another_installation_s_certificate_is_refused(site: Site, tmp_path: Path) -> None:
    key, request = asked_identity("node-1")
    made = open_authority(tmp_path / "other", time.time()).node("node-1", request, time.time())
    (tmp_path / "stranger.pem").write_text(made + key)
    with pytest.raises(Unavailable, match="did not answer"):
        await site.ask({"ask": "link"}, str(tmp_path / "stranger.pem"))


async def test_a_node_trusts_no_other_head(site: Site, tmp_path: Path) -> None:
    other = open_authority(tmp_path / "other", time.time()).certificate
    with pytest.raises(Unavailable, match="is no head of this installation"):
        await dial(site.address, client_context(other, site.node("node-1")), {"ask": "link"})


async def test_a_node_cannot_play_the_head(tmp_path: Path) -> None:
    key, request = asked_identity("node-1")
    made = open_authority(tmp_path / "keys", time.time()).node("node-1", request, time.time())
    (tmp_path / "node.pem").write_text(made + key)
    async with door(tmp_path, str(tmp_path / "node.pem")) as site:
        with pytest.raises(Unavailable, match="is no head of this installation"):
            await site.ask({"ask": "authority"})


@pytest.mark.parametrize("junk", [b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\x02[]", b"\xff\xff\xff\xff"])
async def test_what_is_no_frame_ends_the_connection(site: Site, junk: bytes) -> None:
    reader, writer = await asyncio.open_connection(*site.address, ssl=client_context(""))
    writer.write(junk)
    if junk.startswith(b"GET"):
        writer.write_eof() if writer.can_write_eof() else writer.close()
        return
    assert await asyncio.wait_for(reader.read(), 15) == b""
    writer.close()
