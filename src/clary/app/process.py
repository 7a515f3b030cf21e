"""What every child process of `clary up` begins with: its arguments, its settings, its logging, its word that it is ready."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from clary.app.children import REFUSED
from clary.app.settings import Settings
from clary.domain.errors import ClaryError

UNUSABLE = 3  # exit code of a child that cannot start: starting it again does not help
PIPE_BUF = 4000  # bytes that a pipe takes at once


@dataclass(frozen=True, slots=True)
class Start:
    """What the supervisor said on the command line."""

    settings: Settings
    index: int
    ready_fd: int
    sockets: tuple[int, ...]

    def ready(self) -> None:
        """Tell the supervisor. Once."""
        tell_ready(self.ready_fd)


class CannotStart(Exception):
    """A child refuses to start; the supervisor has been told why."""


@contextmanager
def starting(descriptor: int) -> Iterator[None]:
    """What is done before a child is ready. An error of Clary's own (a wrong database, a newer schema) ends it with CannotStart, after the
    supervisor was told of it through the readiness pipe: `clary up` says so at once."""
    try:
        yield
    except ClaryError as error:
        print(f"cannot start: {error.message}", file=sys.stderr, flush=True)
        if descriptor >= 0:
            os.write(descriptor, REFUSED + error.message.encode()[:PIPE_BUF])
            os.close(descriptor)
        raise CannotStart from error


def tell_ready(descriptor: int) -> None:
    """Write into the readiness pipe; nothing where there is none (-1)."""
    if descriptor >= 0:
        os.write(descriptor, b"ready\n")
        os.close(descriptor)


def _log_lean() -> None:
    """Leave out of log records what Clary's lines do not tell: where they were written is found by a walk up the stack, a third of what
    a line costs (https://docs.python.org/3/howto/logging.html#optimization)."""
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


def begin(name: str, argv: Sequence[str] | None = None) -> Start:
    """Parse `--settings FILE [--index I] [--ready-fd N] [--sockets A,B,C]` and set logging up."""
    parser = argparse.ArgumentParser(prog=f"clary {name}")
    parser.add_argument("--settings", required=True, type=Path)
    parser.add_argument("--index", type=int, default=0)
    parser.add_argument("--ready-fd", type=int, default=-1)
    parser.add_argument("--sockets", default="", help="numbers of inherited listening sockets")
    given = parser.parse_args(argv)
    settings = Settings.read(given.settings)
    _log_lean()
    logging.basicConfig(
        stream=sys.stderr,
        level=settings.log_level.upper(),
        format=f"%(asctime)s %(levelname)s {name} %(name)s: %(message)s",
        force=True,  # a fork has the handlers of its parent
    )
    return Start(settings, given.index, given.ready_fd, tuple(int(n) for n in given.sockets.split(",") if n))


async def listening(socket: str, address: tuple[str, int], serving: asyncio.Task[None]) -> None:
    """Until a connection to a unix socket (or, where that is "", a TCP address) is answered, or the server has failed. A held socket takes
    connections while nobody reads them, so something is asked: what is no HTTP is refused before anybody sees it."""
    while not serving.done():
        with suppress(OSError):
            if socket:
                reader, writer = await asyncio.open_unix_connection(socket)
            else:
                reader, writer = await asyncio.open_connection(*address)
            writer.write(b"-\r\n\r\n")
            asked = asyncio.create_task(reader.read(1))
            await asyncio.wait((asked, serving), return_when=asyncio.FIRST_COMPLETED)
            answered = asked.done() and not asked.cancelled() and asked.exception() is None and asked.result()
            asked.cancel()
            writer.close()
            if answered:
                return
        await asyncio.sleep(0.002)
    serving.result()
