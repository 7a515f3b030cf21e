"""The process of one front: `python -m clary.app.front --settings FILE --index I --ready-fd N --sockets HTTP,WORKERS,CTL`."""

from __future__ import annotations

import asyncio
import resource
import socket
import sys
from collections.abc import Sequence

import uvloop

from clary.app.process import Start, begin
from clary.serving.process import FrontSettings, serve


def front_settings(start: Start) -> FrontSettings:
    """A front's part of the settings. Its routes live in the state folder: the sockets' folder is made again at every start."""
    http, workers, ctl = (socket.socket(fileno=number) for number in start.sockets)
    settings = start.settings
    return FrontSettings(
        index=start.index,
        count=settings.front_count,
        http=http,
        workers=workers,
        ctl=ctl,
        routes=settings.root / "fronts" / str(start.index),
        max_payload=settings.max_payload,
        max_answer=settings.max_answer,
    )


def take_files() -> None:
    """Every client and every process of a model is a connection: take as many as the machine gives."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the front until SIGTERM."""
    start = begin("front", argv)
    take_files()

    async def run() -> None:
        await serve(front_settings(start), start.ready, asyncio.Event())

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
