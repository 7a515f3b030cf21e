"""A node and its control planes in one process, over real connections on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from clary.backends.remote.backend import RemoteBackend
from clary.backends.remote.link import Pulse
from clary.backends.remote.node import serve
from clary.ports import Backend

Dial = Callable[..., Awaitable[RemoteBackend]]
PATIENT = Pulse(silence=60.0)  # a machine that stalls for a while has lost nothing


@pytest.fixture
async def dial() -> AsyncIterator[Dial]:
    """`await dial(backend)`: a control plane's backend of the node that has this one. `node`: what the node calls itself; `again`: the
    backend of the control plane that it connects to, instead of a new one."""
    serving: list[asyncio.Task[None]] = []
    servers: list[asyncio.Server] = []
    made: list[RemoteBackend] = []

    async def connect(backend: Backend[Any], node: str = "node-2", again: RemoteBackend | None = None) -> RemoteBackend:
        head = again or RemoteBackend("node-2")
        made.append(head)
        came: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
        came = asyncio.get_running_loop().create_future()
        server = await asyncio.start_server(lambda *streams: came.set_result(streams), "127.0.0.1", 0)
        servers.append(server)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        serving.append(asyncio.create_task(serve(backend, node, 2, reader, writer, PATIENT)))
        await head.connect(*await came, PATIENT)
        return head

    yield connect
    for head in made:
        await head.close()
    for task in serving:
        task.cancel()
    await asyncio.gather(*serving, return_exceptions=True)
    for server in servers:
        server.close()
