"""The object store's process: `python -m clary.app.objects --settings FILE --ready-fd N --sockets HTTP`.

By itself, for tests and benchmarks: `--dir DIR --socket PATH` or `--dir DIR --port N [--host H]` instead of `--settings`
(or `--port N` beside them).
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import shlex
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop
from granian.constants import Interfaces
from granian.http import HTTP1Settings

from clary.app.clock import SystemClock
from clary.app.held import Granian
from clary.app.keys import keys_at
from clary.app.process import UNUSABLE, CannotStart, listening, starting, tell_ready
from clary.app.settings import Settings
from clary.objects.auth import Authenticator
from clary.objects.blobs import Blobs
from clary.objects.relay import Relay
from clary.objects.server import Server
from clary.stores.index import SqlIndex
from clary.stores.index_journal import Beside
from clary.stores.journal import Journal

JOURNAL = "journal"  # beside the blobs


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """Where the store lives and listens: a socket's path (`held` when the supervisor holds it), or a TCP port when it is ""."""

    root: Path
    socket: str
    host: str = "127.0.0.1"
    port: int = 0
    low_water: int = 0
    hosts: tuple[str, ...] = ()
    database: str = ""
    option: str = ""  # what a command line needs to find `root`
    elsewhere: tuple[str, str, str, str] | None = None  # endpoint, access key, secret key, region of the user's own S3
    held: int | None = None


def build(place: StoreAddress) -> Server | Relay:
    """The store's objects, put together; or what hands requests on to the user's own S3. IndexUnusable."""
    folder = place.root / "objects"
    blobs = Blobs(folder, place.low_water)
    keys = keys_at(place.root, place.database)
    if place.elsewhere is not None:
        return Relay(*place.elsewhere, Authenticator(keys), blobs, SystemClock(), place.hosts)
    beside = Beside(Journal(folder / JOURNAL), blobs.any(), f"clary objects rebuild{place.option}")
    index = SqlIndex(index_url(place.root, place.database), blobs.settle, beside, blobs.reserve.give_up, blobs.room)
    return Server(index, blobs, keys, SystemClock(), keys.derive(b"objects"), place.hosts)


def index_url(root: Path, database: str) -> str:
    return database or f"sqlite:///{root / 'objects' / 'index.db'}"


async def serve(place: StoreAddress, ready_fd: int) -> None:
    """Run until SIGTERM; requests under way end first."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with starting(ready_fd):
        server = build(place)
        await server.start()
    http = HTTP1Settings(header_read_timeout=30_000)
    own = Path(place.socket) if place.socket and place.held is None else None
    if own:
        own.unlink(missing_ok=True)
    granian = Granian(
        server,
        place.held,
        address=place.host,
        port=place.port,
        uds=own,
        interface=Interfaces.RSGI,
        http1_settings=http,
    )
    serving = loop.create_task(granian.serve())
    await listening(place.socket, (place.host, place.port), serving)
    if own:
        own.chmod(0o660)
    tell_ready(ready_fd)
    done, _ = await asyncio.wait([serving, loop.create_task(stop.wait())], return_when=asyncio.FIRST_COMPLETED)
    granian.stop()  # type: ignore[no-untyped-call]
    await asyncio.wait([serving], timeout=10)
    await server.stop()
    for task in done:
        task.result()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the object store until SIGTERM."""
    parser = argparse.ArgumentParser(prog="clary objects")
    parser.add_argument("--settings", type=Path)
    parser.add_argument("--index", type=int, default=0)
    parser.add_argument("--ready-fd", type=int, default=-1)
    parser.add_argument("--sockets", default="")
    parser.add_argument("--dir", type=Path, help="state folder, when there are no --settings")
    parser.add_argument("--socket", default="", help="unix socket to listen on")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="TCP port to listen on, when there is no --socket")
    parser.add_argument(
        "--database", default="", help="SQLAlchemy URL of the index; default SQLite in the state folder"
    )
    parser.add_argument("--low-water", type=int, default=0, help="bytes of disk to keep free")
    given = parser.parse_args(argv)
    sockets = tuple(int(n) for n in given.sockets.split(",") if n)
    if given.settings:
        settings = Settings.read(given.settings)
        place = StoreAddress(
            settings.root,
            "" if given.port else str(settings.objects_socket),
            given.host,
            given.port,
            low_water=settings.low_water,
            hosts=settings.further_hosts,
            database=settings.database,
            option=settings.dir_option,
            elsewhere=_elsewhere(settings),
            held=sockets[0] if sockets and not given.port else None,
        )
        level = settings.log_level.upper()
    elif given.dir:
        port = given.port or (0 if given.socket else _free_port(given.host))
        option = f" --dir {shlex.quote(str(given.dir))}"
        place = StoreAddress(given.dir, given.socket, given.host, port, given.low_water, (), given.database, option)
        level = "INFO"
    else:
        parser.error("give --settings or --dir")
    logging.basicConfig(
        stream=sys.stderr, level=level, format="%(asctime)s %(levelname)s objects %(name)s: %(message)s", force=True
    )
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(place, given.ready_fd))
    except CannotStart:
        return UNUSABLE
    return 0


def _elsewhere(settings: Settings) -> tuple[str, str, str, str] | None:
    if not settings.s3_endpoint:
        return None
    return settings.s3_endpoint, settings.s3_access_key, settings.s3_secret_key, settings.s3_region


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main())
