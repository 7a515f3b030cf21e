"""TLS between a head and its nodes: both show a certificate of the installation's authority, and each names its owner as a URI.

A connection begins with one frame that says what it is for, and its answer (`ask`, `asked`, `answer`). Who has no certificate yet may only
ask to be let in. Owns no keys; does not know what is asked.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from clary.backends.remote.calls import error_of
from clary.domain.errors import Denied, Unavailable
from clary.domain.machine.nodes import HEAD, NODE, named

SECONDS = 10.0  # for a connection, its handshake and its first frame
_LONGEST = 1 << 20
_HEAD = 4


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end, by its certificate, and until when that holds (epoch seconds). "" for one that showed none."""

    name: str = ""
    expires: float = 0.0


def server_context(identity: str, authority: str) -> ssl.SSLContext:
    """A head's. `identity` is a PEM file of its certificate and key, `authority` the certificate (PEM text) that nodes' are signed by. To
    renew: `load_cert_chain` again."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(identity)
    context.load_verify_locations(cadata=authority)
    context.verify_mode = ssl.CERT_OPTIONAL  # who joins has none; `peer` tells
    return context


def client_context(authority: str, identity: str = "") -> ssl.SSLContext:
    """A node's. Without an `authority` it trusts whoever answers, for one question only: which authority that is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # heads are known by a URI, whatever address they have
    if authority:
        context.load_verify_locations(cadata=authority)
    else:
        context.verify_mode = ssl.CERT_NONE
    if identity:
        context.load_cert_chain(identity)
    return context


def peer(writer: asyncio.StreamWriter, whose: str) -> Peer:
    """Denied for a certificate that is not of that sort (`NODE` or `HEAD`)."""
    shown: Mapping[str, Any] = writer.get_extra_info("ssl_object").getpeercert() or {}
    if not shown:
        return Peer()
    names = [named(uri, whose) for kind, uri in shown.get("subjectAltName", ()) if kind == "URI"]
    if len(names) != 1 or not names[0]:
        raise Denied("the certificate is not for this end of a connection between nodes and heads")
    return Peer(names[0], float(ssl.cert_time_to_seconds(shown["notAfter"])))


def node_of_connection(writer: asyncio.StreamWriter) -> Peer:
    """Who has dialled this head."""
    return peer(writer, NODE)


async def dial(
    address: tuple[str, int], context: ssl.SSLContext, question: Mapping[str, Any]
) -> tuple[Any, asyncio.StreamReader, asyncio.StreamWriter]:
    """The head's answer to that question, and the connection. Its errors; Unavailable where nobody answers, or no head of ours does."""
    place = f"{address[0]}:{address[1]}"
    try:
        async with asyncio.timeout(SECONDS):
            reader, writer = await asyncio.open_connection(*address, ssl=context, limit=1 << 18)
    except ssl.SSLError as error:
        raise Unavailable(f"{place} is no head of this installation: {error.reason or error}") from error
    except (OSError, TimeoutError) as error:
        raise Unavailable(f"{place} does not answer: {error or 'no connection in time'}") from error
    try:
        if context.verify_mode is not ssl.CERT_NONE and not peer(writer, HEAD).name:
            raise Denied(f"{place} shows no certificate of a head")
        send(writer, question)
        async with asyncio.timeout(SECONDS):
            said = await receive(reader)
    except (OSError, EOFError, TimeoutError) as error:
        writer.close()
        why = getattr(error, "reason", "") or str(error) or "it ended the connection"
        raise Unavailable(f"{place} did not answer: {why}") from error
    except BaseException:
        writer.close()
        raise
    if "error" in said:
        writer.close()
        raise error_of(said)
    return said.get("answer"), reader, writer


def send(writer: asyncio.StreamWriter, frame: Mapping[str, Any]) -> None:
    data = orjson.dumps(frame)
    writer.write(len(data).to_bytes(_HEAD, "big") + data)


async def receive(reader: asyncio.StreamReader) -> Mapping[str, Any]:
    """A first frame, or its answer. EOFError for what is none."""
    size = int.from_bytes(await reader.readexactly(_HEAD), "big")
    if size > _LONGEST:
        raise EOFError("that is no frame of ours")
    try:
        frame = orjson.loads(await reader.readexactly(size))
    except orjson.JSONDecodeError as error:
        raise EOFError("that is no frame of ours") from error
    if not isinstance(frame, dict):
        raise EOFError("that is no frame of ours")
    return frame
