"""A front's life as a process: three inherited listening sockets, readiness, the drain on SIGTERM.

Owns the order of start and end. Start: routes from disk, worker and control sockets, then (when the replicas that were known have
dialled again, so that no worker of a dead predecessor still predicts; at most `GREETING` seconds) the HTTP socket. End: every answer
closes its connection, the edge lets go of the connections it kept, then nothing is accepted any more, what runs is answered, workers
are sent to the successor. Connections that come meanwhile wait in the backlog, which the supervisor keeps open.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clary.serving.ctl import ControlChannel
from clary.serving.edge import KEEPS
from clary.serving.front import Front
from clary.serving.homes import home
from clary.serving.http import Plane
from clary.serving.routefiles import RouteFiles

BACKLOG = 4096
GREETING = 0.5

STEP = 0.01
LOOK = 5.0  # seconds between two looks at the zygotes


@dataclass(frozen=True, slots=True)
class FrontSettings:
    """What a front is told: its place among `count` fronts, its sockets, where its routes are kept, the default limits of bodies and
    answers."""

    index: int
    count: int
    http: socket.socket
    workers: socket.socket
    ctl: socket.socket
    routes: Path
    max_payload: int = 25 << 20
    max_answer: int = 25 << 20


async def serve(settings: FrontSettings, ready: Callable[[], None], stop: asyncio.Event) -> None:
    """Run a front until `stop` is set (SIGTERM sets it), drain, return."""
    loop = asyncio.get_running_loop()
    front = Front(loop, RouteFiles(settings.routes), settings.max_payload, max_answer=settings.max_answer)
    front.load(lambda name: home(name, settings.count) == settings.index)
    front.captures.clean()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    workers = await loop.create_unix_server(front.link, sock=settings.workers, backlog=BACKLOG)
    channel = ControlChannel(front)
    ctl = await loop.create_unix_server(channel.protocol, sock=settings.ctl, backlog=BACKLOG)
    await _until(front.greeted, GREETING)
    http = await loop.create_unix_server(front.connection, sock=settings.http, backlog=BACKLOG)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 50)  # requests make no cycles; a full collection costs milliseconds
    ready()
    looks = loop.create_task(_look_after(front))
    await stop.wait()
    looks.cancel()
    await drain(front, http)
    await front.captures.flush()
    for server in (workers, ctl):
        server.close()


async def _look_after(front: Front) -> None:
    """Ask every zygote every few seconds whether it is there."""
    while True:
        await asyncio.sleep(LOOK)
        for replica in list(front.replicas.values()):
            replica.check()


async def let_go(plane: Plane, http: asyncio.Server) -> None:
    """Take no more connections, and lose no request that is on its way over one that the edge keeps."""
    plane.draining = True
    # an idle connection must not be closed here: the edge may be writing to it. It closes them itself.
    await _until(lambda: all(c.busy or c.fresh or c.caller for c in plane.connections), KEEPS + 1)
    http.close()
    await _until(
        lambda: not any(connection.fresh for connection in plane.connections), KEEPS
    )  # who dialled is about to ask


async def drain(front: Front, http: asyncio.Server) -> None:
    """Answer everything that was read."""
    await let_go(front, http)
    while front.busy():
        await asyncio.sleep(STEP)
    front.redial()
    for connection in list(front.connections):
        if connection.transport is not None:
            connection.transport.close()
    await _until(lambda: not front.links and not front.connections, 1.0)


async def _until(condition: Callable[[], bool], seconds: float) -> bool:
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not condition():
        if loop.time() >= end:
            return False
        await asyncio.sleep(STEP)
    return True
