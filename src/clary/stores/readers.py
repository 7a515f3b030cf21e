"""Reads of a database beside its one writer. On SQLite a short read runs where it is asked for, since a row costs less than handing it to a
thread; long ones, and all of a server's, run in threads with connections of their own, and wait for a server that is away (`outages`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from clary.stores.outages import Outage

T = TypeVar("T")
COUNT = 4  # connections in threads


class Readers:
    """`connect` gives raw connections; `near`: short reads run on the event loop's thread. Make it there."""

    def __init__(self, connect: Callable[[], Any], what: str, near: bool, outage: Outage) -> None:
        self._connect, self._outage = connect, outage
        self._threads = ThreadPoolExecutor(COUNT, thread_name_prefix=f"{what}-reader")
        self._free: list[Any] = []
        self._cursor: Any = connect().cursor() if near else None

    async def short(self, read: Callable[[Any], T]) -> T:
        """What `read(cursor)` answers."""
        return read(self._cursor) if self._cursor is not None else await self.apart(read)

    async def apart(self, read: Callable[[Any], T]) -> T:
        """The same in a thread, whatever the database: for reads that take long. `read` may run twice."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, read)

    def _read(self, read: Callable[[Any], T]) -> T:
        return self._outage.through(lambda: self._once(read))

    def _once(self, read: Callable[[Any], T]) -> T:
        raw = self._free.pop() if self._free else self._connect()
        cursor = raw.cursor()
        answer = read(cursor)
        cursor.close()
        self._free.append(raw)  # after an error the connection is left behind: it may be broken
        return answer

    async def close(self) -> None:
        """Wait for reads that run, and close the connections."""
        await asyncio.get_running_loop().run_in_executor(None, self._threads.shutdown)
        for raw in self._free:
            raw.close()
        self._free.clear()
        if self._cursor is not None:
            self._cursor.connection.close()
            self._cursor = None
