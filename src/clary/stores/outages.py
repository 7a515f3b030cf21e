"""A database server that is away: what tells so, how long one waits for it, and what became of a commit that nobody answered.

A server that is stopped, restarted or replaced ends its connections (57P01, or the socket closes) and refuses new ones for a while. Reads,
and writes that had not begun to commit, are tried again until it answers, `PATIENCE` seconds from the first failure on at most; later ones
fail at once until it is back, so that nothing piles up behind it. A COMMIT whose answer was lost may have been done: the server knows by
the transaction's number. SQLite is never away.

Owns that. Does not know what is read or written.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from clary.domain.errors import Unavailable

T = TypeVar("T")

PATIENCE = 5.0  # seconds
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5  # seconds between two tries
# https://www.postgresql.org/docs/current/errcodes-appendix.html: admin_shutdown, crash_shutdown, cannot_connect_now, database_dropped,
# read_only_sql_transaction (the server became a standby). Class 08 is connections.
_AWAY = frozenset({"57P01", "57P02", "57P03", "57P04", "25006"})
_UNKNOWN = "22023"  # of a transaction's number that the server never gave: it was another server's


def is_away(error: BaseException) -> bool:
    """Whether a driver's error says that the server, or the way to it, is gone, and not that it refuses what was asked."""
    state = getattr(error, "sqlstate", None)
    if state is not None:
        return state in _AWAY or state.startswith("08")
    return type(error).__name__ in (
        "OperationalError",
        "InterfaceError",
    )  # psycopg's, of a connection: the server said nothing


class Outage:
    """One for all connections to one database. `through` may be called from many threads."""

    def __init__(
        self,
        what: str,
        errors: type[Exception],
        lite: bool,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._what, self._errors, self._lite = what, errors, lite
        self._patience, self._clock, self._pause = patience, clock, pause
        self._lock = threading.Lock()
        self._since: float | None = None  # when the server was found away

    def is_away(self, error: BaseException) -> bool:
        return not self._lite and isinstance(error, self._errors) and is_away(error)

    def through(self, attempt: Callable[[], T]) -> T:
        """What `attempt` answers, tried again while the server is away. Unavailable when that takes too long. It must be right to try it
        twice."""
        pause = _FIRST_PAUSE
        while True:
            try:
                answer = attempt()
            except self._errors as error:
                if not self.is_away(error):
                    raise
                if self._lasted() >= self._patience:
                    raise Unavailable(f"The {self._what} does not answer: {' '.join(str(error).split())}") from error
                self._pause(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self._since = None
                return answer

    def _lasted(self) -> float:
        with self._lock:
            now = self._clock()
            if self._since is None:
                self._since = now
            return now - self._since

    def mark(self, cursor: Any) -> int:
        """The number of the transaction that is open, by which `committed` knows it; 0 where a commit is never in doubt."""
        return 0 if self._lite else int(cursor.execute("SELECT txid_current()").fetchone()[0])

    def committed(self, connect: Callable[[], Any], mark: int) -> bool:
        """Whether the transaction was committed, asked on a new connection once the server answers again. Unavailable when it does not."""
        return self.through(lambda: self._committed(connect, mark))

    def _committed(self, connect: Callable[[], Any], mark: int) -> bool:
        connection = connect()
        try:
            while True:
                try:
                    (status,) = connection.execute("SELECT txid_status(%s)", (mark,)).fetchone()
                except self._errors as error:
                    if getattr(error, "sqlstate", None) == _UNKNOWN:
                        return False
                    raise
                if status != "in progress":  # NULL: so old that it is forgotten, which it is not here
                    return bool(status == "committed")
                self._pause(_FIRST_PAUSE)  # its session has not noticed yet that we are gone
        finally:
            connection.close()
