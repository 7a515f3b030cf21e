"""The control plane's process: the API over records, and the loops that carry them out, on one event loop.

`python -m clary.app.control --settings FILE --ready-fd N --sockets HTTP`. Order of a start: ports, fronts, loops, then the socket: what is
answered is looked after. Order of an end: the socket, the loops (leases given back), the ports.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack

import uvloop
from granian.constants import Interfaces, TaskImpl

from clary.api import handlers
from clary.app import wiring
from clary.app.held import Granian
from clary.app.process import UNUSABLE, CannotStart, Start, begin, listening, starting
from clary.wire.models import load


def preload() -> None:
    """What the first request would load: in the process that this one is forked from, once."""
    handlers.load()
    for service in wiring.SERVICES:
        load(service)


async def serve(start: Start) -> None:
    """Run until SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        with starting(start.ready_fd):
            held, *more = start.sockets
            nodes = socket.socket(fileno=os.dup(more[0])) if more else None
            control = await stack.enter_async_context(wiring.control(start.settings, nodes))
        server = Granian(control.application, held, interface=Interfaces.ASGINL, task_impl=TaskImpl.asyncio)
        serving = loop.create_task(server.serve())
        await listening(str(start.settings.control_socket), ("", 0), serving)
        start.ready()
        waits = [serving, loop.create_task(stop.wait()), *control.tasks]
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        server.stop()  # type: ignore[no-untyped-call]
        await asyncio.wait([serving], timeout=10)
        for task in done:
            task.result()  # a loop that ended by itself is a bug: its traceback belongs into the log


def main(argv: Sequence[str] | None = None) -> int:
    """Run the control plane until SIGTERM."""
    start = begin("control", argv)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(start))
    except CannotStart:
        return UNUSABLE
    return 0


if __name__ == "__main__":
    sys.exit(main())
