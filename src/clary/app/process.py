"""What every child process of `clary up` begins with: its arguments, its settings, its logging, its word that it is ready."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from clary.app.settings import Settings


@dataclass(frozen=True, slots=True)
class Start:
    """What the supervisor said on the command line."""

    settings: Settings
    index: int
    ready_fd: int
    sockets: tuple[int, ...]

    def ready(self) -> None:
        """Tell the supervisor. Once."""
        if self.ready_fd >= 0:
            os.write(self.ready_fd, b"ready\n")
            os.close(self.ready_fd)


def begin(name: str, argv: Sequence[str] | None = None) -> Start:
    """Parse `--settings FILE [--index I] [--ready-fd N] [--sockets A,B,C]` and set logging up."""
    parser = argparse.ArgumentParser(prog=f"clary {name}")
    parser.add_argument("--settings", required=True, type=Path)
    parser.add_argument("--index", type=int, default=0)
    parser.add_argument("--ready-fd", type=int, default=-1)
    parser.add_argument("--sockets", default="", help="numbers of inherited listening sockets")
    given = parser.parse_args(argv)
    settings = Settings.read(given.settings)
    logging.basicConfig(
        stream=sys.stderr,
        level=settings.log_level.upper(),
        format=f"%(asctime)s %(levelname)s {name} %(name)s: %(message)s",
    )
    return Start(settings, given.index, given.ready_fd, tuple(int(n) for n in given.sockets.split(",") if n))


async def listening(socket: str, address: tuple[str, int], serving: asyncio.Task[None]) -> None:
    """Until connections are taken on a unix socket (or, where that is "", a TCP address), or the server has failed."""
    while not serving.done():
        with suppress(FileNotFoundError, ConnectionRefusedError):
            if socket:
                _, writer = await asyncio.open_unix_connection(socket)
            else:
                _, writer = await asyncio.open_connection(*address)
            writer.close()
            return
        await asyncio.sleep(0.002)
    serving.result()
