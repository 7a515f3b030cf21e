"""Where nodes come to a head: one TLS listener. The first frame says what a connection is for; who may do what is the gate's to say.

authority   which authority this is, told to everybody: who joins compares it with its token
join        a certificate for a token, of a machine that has none
renew       another certificate, of a node
link        the wire over which the head tells the node what to do (`link.py`)
edge        bytes to and from the edge of this head: the API and S3, for the node and its sandboxes
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from clary.backends.remote.calls import failure
from clary.backends.remote.relay import relay
from clary.backends.remote.tls import SECONDS, Peer, node_of_connection, receive, send
from clary.domain.errors import ClaryError, Denied, Invalid

log = logging.getLogger(__name__)

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Gate(Protocol):
    """Who is a node of this installation."""

    def authority(self) -> str:
        """Its certificate (PEM)."""
        ...

    async def join(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        """A certificate for a machine with a token. Denied, AlreadyExists, Invalid."""
        ...

    async def renew(self, name: str, asked: Mapping[str, Any]) -> Mapping[str, Any]: ...
    async def admit(self, name: str) -> Mapping[str, Any]:
        """What a node is told that connects. Denied where it is none (any more)."""
        ...

    async def take(self, name: str, streams: Streams) -> None:
        """The link of an admitted node, until it is lost."""
        ...

    async def edge(self) -> Streams:
        """A connection to this head's own edge."""
        ...


class NodeDoor:
    """`serve` one connection after the other, each in a task of its own."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._ways: Mapping[str, Callable[[Peer, Streams], Awaitable[None]]] = {"link": self._link, "edge": self._edge}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """For `asyncio.start_server`. It answers every error; nothing goes through."""
        try:
            await self._serve(reader, writer)
        except (OSError, EOFError, TimeoutError, ssl.SSLError):
            pass  # gone, or no node
        except asyncio.CancelledError:
            pass  # the head ends
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(SECONDS):
            asked = await receive(reader)
        what = str(asked.get("ask", ""))
        try:
            who = node_of_connection(writer)
            if what not in ("authority", "join"):
                if not who.name:
                    raise Denied("a machine without a certificate may only join: `clary node join` needs a token")
                welcome = await self._gate.admit(who.name)
            if what in self._ways:
                send(writer, {"answer": welcome})
                await self._until(who.expires, self._ways[what](who, (reader, writer)))
                return
            send(writer, {"answer": await self._answer(what, who, asked)})
        except ClaryError as error:
            if what not in ("link", "edge"):
                log.warning("a node's %s is refused: %s", what or "connection", error.message)
            send(writer, failure(error))
        async with asyncio.timeout(SECONDS):
            await writer.drain()

    async def _answer(self, what: str, who: Peer, asked: Mapping[str, Any]) -> Any:
        match what:
            case "authority":
                return {"certificate": self._gate.authority()}
            case "join":
                return await self._gate.join(asked)
            case "renew":
                return await self._gate.renew(who.name, asked)
        raise Invalid(f"a head cannot be asked for {what!r}: give all machines the same Clary")

    async def _until(self, expires: float, work: Awaitable[None]) -> None:
        """No connection outlives the certificate that opened it."""
        try:
            async with asyncio.timeout(max(0.0, expires - time.time())):
                await work
        except TimeoutError:
            log.warning("a node's certificate has ended, and so has its connection")

    async def _link(self, who: Peer, streams: Streams) -> None:
        await self._gate.take(who.name, streams)

    async def _edge(self, who: Peer, streams: Streams) -> None:
        await relay(streams, await self._gate.edge())
