"""The feature store's process: `python -m clary.app.features --settings FILE --ready-fd N --sockets HTTP`.

It serves SageMaker Feature Store's runtime, so that reading a feature waits for nothing that the control plane does. It reads groups from
the records, which the control plane makes and writes. It is started when somebody first asks for it: what has to be done where nobody
asks (histories, expired rows) is the control plane's.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import uvloop

from clary.api import handlers
from clary.api.call import Ports
from clary.app import wiring
from clary.app.clock import SystemClock
from clary.app.feature_plane import FeaturePlane
from clary.app.keys import open_keys
from clary.app.process import UNUSABLE, CannotStart, Start, begin, starting
from clary.app.settings import Settings
from clary.domain.errors import ClaryError
from clary.serving.process import BACKLOG, let_go
from clary.stores.database import Database
from clary.stores.features import open_features
from clary.stores.schema import VERSION
from clary.stores.sql import SqlStore
from clary.wire.models import load

log = logging.getLogger(__name__)

SERVICES = ("sagemaker-featurestore-runtime",)


class _Absent:
    """A port that this process does not have."""

    def __getattr__(self, name: str) -> NoReturn:
        raise RuntimeError(f"the feature store's process has no port with {name}")


def preload() -> None:
    """What the first request would load: in the process that this one is forked from, once."""
    handlers.load()
    for service in SERVICES:
        load(service)


async def records(settings: Settings) -> SqlStore:
    """The record store, once the control plane has made or migrated it."""
    database = Database(settings.database_url)
    while True:
        if (await asyncio.to_thread(_version, database)) == VERSION:
            return SqlStore(database)
        await asyncio.sleep(0.05)


def _version(database: Database) -> str | None:
    try:
        return database.look().version
    except ClaryError as error:
        log.debug("waiting for the records: %s", error.message)
        return None


async def serve(start: Start) -> None:
    """Run until SIGTERM; requests under way end first."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    settings, clock, absent = start.settings, SystemClock(), _Absent()
    missing: Any = absent
    with starting(start.ready_fd):
        features = open_features(settings.features_url)
        store = await records(settings)
    keys = open_keys(settings)
    told = wiring.api_settings(settings, keys, None)
    ports = Ports(store, missing, missing, missing, missing, keys, missing, clock, missing, features, told)
    plane = FeaturePlane(wiring.application(settings, ports, SERVICES))
    (held,) = start.sockets
    http = await loop.create_unix_server(plane.connection, sock=socket.socket(fileno=held), backlog=BACKLOG)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 50)  # requests make few cycles; a full collection costs milliseconds
    start.ready()
    await stop.wait()
    await let_go(plane, http)
    await plane.answered()
    await store.close()
    await features.close()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the feature store until SIGTERM."""
    start = begin("features", argv)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(start))
    except CannotStart:
        return UNUSABLE
    return 0


if __name__ == "__main__":
    sys.exit(main())
