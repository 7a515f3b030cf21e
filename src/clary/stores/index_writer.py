"""Group commit: one thread runs the writes that wait as one transaction, so that they share its fsync.

Owns the gathering, the transaction and what happens when it fails. Does not know what a write does. No timer: while a
transaction runs, writes gather; a lone write goes at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from clary.domain.errors import ClaryError, NoRoom, Unavailable
from clary.stores.outages import Outage

T = TypeVar("T")
Work = Callable[[Any], Any]
_FULL = "database or disk is full"  # SQLITE_FULL
_LOCKED = "database is locked"  # SQLITE_BUSY, after the connection's own wait
_DISK_FULL = "53100"  # PostgreSQL's disk_full
BATCH = 256  # more would only make the first of them wait longer


class Companion:
    """What goes along with every transaction of a Writer, in its thread. This one does nothing."""

    def opened(self, cursor: Any) -> None:
        """A new connection, before its first transaction."""

    def begun(self) -> None:
        """A transaction begins (for the first time or again): forget what the one before it did."""

    def sealed(self, cursor: Any) -> None:
        """Every write has run; what is done here is committed with them."""

    def committed(self) -> None:
        """They are durable and not yet answered. Must not fail: nobody would hear that they are."""


class Writer:
    """`run(work)` answers what `work(cursor)` answered, once that is committed.

    `work` checks before it changes anything and says no by a ClaryError. It may run twice: a failed transaction is tried again, one
    write at a time, so that a write that the database refuses fails alone; so is one whose server went away. One that is `urgent` (it
    makes room) is tried once more when the disk is full and `relieve` has given up some space for it; `ahead` answers what is to be
    written before such a one, alone, if anything is. `settle` runs before each transaction: it makes durable what the rows will name."""

    def __init__(
        self,
        connect: Callable[[], Any],
        database_error: type[Exception],
        begin: Sequence[str],
        settle: Callable[[], None],
        outage: Outage,
        what: str = "object index",
        companion: Companion | None = None,
        relieve: Callable[[], bool] = lambda: False,
        ahead: Callable[[], Work | None] = lambda: None,
    ) -> None:
        self._relieve, self._ahead = relieve, ahead
        self._what, self._outage = what, outage
        self._companion = companion or Companion()
        self._connect, self._database_error, self._begin, self._settle = connect, database_error, tuple(begin), settle
        self._connection: Any = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"{what}-writer")
        self._waiting: list[tuple[Work, bool, asyncio.Future[Any]]] = []
        self._running = False

    async def run(self, work: Callable[[Any], T], urgent: bool = False) -> T:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, urgent, future))
        if not self._running:
            self._next()
        return await future

    def close(self) -> None:
        self._thread.shutdown(wait=True)
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _next(self) -> None:
        batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
        self._running = bool(batch)
        if batch:
            task = asyncio.get_running_loop().run_in_executor(
                self._thread, self._transact, [(work, urgent) for work, urgent, _ in batch]
            )
            task.add_done_callback(lambda done: self._answer(batch, done))

    def _answer(self, batch: list[tuple[Work, bool, asyncio.Future[Any]]], done: asyncio.Future[list[Any]]) -> None:
        self._next()
        error = done.exception()
        results = [error] * len(batch) if error is not None else done.result()
        for (_, _, future), result in zip(batch, results, strict=True):
            if future.cancelled():
                continue
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)

    def _transact(self, works: list[tuple[Work, bool]]) -> list[Any]:
        """Results in order; a ClaryError stands for a write that said no. OSError (of settle) fails the whole batch."""
        self._settle()
        before = self._ahead() if any(urgent for _, urgent in works) else None
        if before is not None:
            self._alone(before, True)
        if len(works) > 1:
            try:
                return self._durable([work for work, _ in works])
            except self._database_error as error:
                if _LOCKED in str(
                    error
                ):  # somebody else holds it: each by itself would wait as long again, one after the other
                    return [self._refusal(error)] * len(works)
        return [self._alone(work, urgent) for work, urgent in works]

    def _alone(self, work: Work, urgent: bool) -> Any:
        while True:
            try:
                return self._durable([work])[0]
            except self._database_error as error:
                if self._is_full(error) and urgent and self._relieve():
                    continue
                return self._refusal(error)
            except Unavailable as error:  # an answer like others: those before it are committed, and are to be told so
                return error

    def _is_full(self, error: Exception) -> bool:
        return _FULL in str(error) or getattr(error, "sqlstate", None) == _DISK_FULL

    def _refusal(self, error: Exception) -> ClaryError:
        return (NoRoom if self._is_full(error) else Unavailable)(f"The {self._what} cannot be written: {error}")

    def _durable(self, works: list[Work]) -> list[Any]:
        """What the writes answered, committed. Unavailable when the server is away for long; then they may be written."""
        return self._outage.through(lambda: self._attempt(works))

    def _attempt(self, works: list[Work]) -> list[Any]:
        done, mark = False, 0
        results: list[Any] = []
        try:
            if self._connection is None:
                self._connection = self._connect()
                self._companion.opened(self._connection.cursor())
            cursor = self._connection.cursor()
            self._companion.begun()
            for statement in self._begin:
                cursor.execute(statement)
            for work in works:
                try:
                    results.append(work(cursor))
                except ClaryError as error:
                    results.append(error)
            self._companion.sealed(cursor)
            mark = self._outage.mark(cursor)
            cursor.execute("COMMIT")
            done = True
            self._companion.committed()
            return results
        except self._database_error as error:
            # Trying again what was done would answer "exists already" to who made it.
            if not mark or not self._outage.is_away(error) or not self._outage.committed(self._connect, mark):
                raise
            self._companion.committed()
            return results
        finally:
            if not done:
                self._abandon()

    def _abandon(self) -> None:
        """Roll back by leaving the connection: right whatever state the failure left it in."""
        connection, self._connection = self._connection, None
        try:
            if connection is not None:
                connection.close()
        except self._database_error:
            pass
