"""A server that is away (`stores/outages.py`): how long one waits, and whether a commit that nobody answered was done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from clary.domain.errors import Unavailable
from clary.stores.index_writer import Companion, Writer
from clary.stores.outages import Outage, is_away


class ServerError(Exception):
    def __init__(self, sqlstate: str | None, text: str = "terminating connection") -> None:
        super().__init__(text)
        self.sqlstate = sqlstate


class OperationalError(ServerError):
    """As a driver names what it says of a connection by itself."""

    def __init__(self, text: str) -> None:
        super().__init__(None, text)


class Time:
    """Seconds that pass by pauses only."""

    def __init__(self) -> None:
        self.now = 100.0

    def pause(self, seconds: float) -> None:
        self.now += seconds


def outage(time: Time, lite: bool = False) -> Outage:
    return Outage("record store", ServerError, lite, 5.0, lambda: time.now, time.pause)


def failing(*errors: Exception) -> Callable[[], str]:
    left = list(errors)

    def attempt() -> str:
        if left:
            raise left.pop(0)
        return "answer"

    return attempt


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (ServerError("57P01"), True),  # admin_shutdown
        (ServerError("57P03"), True),  # the server starts
        (ServerError("08006"), True),  # connection_failure
        (ServerError("25006"), True),  # became a standby
        (OperationalError("connection refused"), True),
        (ServerError("23505"), False),  # unique_violation
        (ServerError("53100"), False),  # disk_full
        (ServerError(None), False),
        (ValueError("no"), False),
    ],
)
def test_what_says_that_a_server_is_away(error: Exception, away: bool) -> None:
    assert is_away(error) is away


def test_one_waits_for_a_server_that_comes_back() -> None:
    time = Time()
    assert outage(time).through(failing(ServerError("57P01"), OperationalError("refused"))) == "answer"
    assert 100.0 < time.now < 101.0


def test_what_a_server_refuses_is_not_tried_again() -> None:
    with pytest.raises(ServerError):
        outage(Time()).through(failing(ServerError("23505")))


def test_sqlite_is_never_away() -> None:
    with pytest.raises(OperationalError):
        outage(Time(), lite=True).through(failing(OperationalError("database is locked")))


def test_patience_ends_and_later_ones_fail_at_once_until_it_is_back() -> None:
    time = Time()
    known = outage(time)
    with pytest.raises(Unavailable, match=r"The record store does not answer: connection refused"):
        known.through(failing(*[OperationalError("connection refused")] * 100))
    assert 105.0 <= time.now < 106.0
    before = time.now
    with pytest.raises(Unavailable):
        known.through(failing(OperationalError("connection refused")))
    assert time.now == before
    assert known.through(failing()) == "answer"
    assert (
        known.through(failing(OperationalError("connection refused"))) == "answer"
    )  # the next outage is waited for again


class Server:
    """Numbers of transactions, as PostgreSQL gives them, and connections that can lose the answer of a COMMIT."""

    def __init__(self, cut: str = "") -> None:
        self.cut = cut  # "before" or "after" the next COMMIT is done, once
        self.rows: list[str] = []
        self.statuses: dict[int, list[str]] = {}
        self.number = 0

    def connect(self) -> Connection:
        return Connection(self)


class Connection:
    def __init__(self, server: Server) -> None:
        self.server, self.pending, self.answer = server, list[str](), ()  # type: tuple[Server, list[str], Any]

    def cursor(self) -> Connection:
        return self

    def execute(self, statement: str, values: tuple[Any, ...] = ()) -> Connection:
        server = self.server
        if statement == "SELECT txid_current()":
            server.number += 1
            self.answer = (server.number,)
        elif statement.startswith("SELECT txid_status"):
            found = server.statuses.get(values[0])
            if found is None:
                raise ServerError("22023", "transaction ID is in the future")
            self.answer = (found.pop(0) if len(found) > 1 else found[0],)
        elif statement == "COMMIT":
            self._commit()
        elif statement != "BEGIN":
            self.pending.append(statement)
        return self

    def _commit(self) -> None:
        server, cut = self.server, self.server.cut
        server.cut = ""
        if cut == "before":
            server.statuses[server.number] = ["in progress", "aborted"]
            raise OperationalError("server closed the connection unexpectedly")
        server.rows += self.pending
        server.statuses[server.number] = ["in progress", "committed"]
        if cut == "after":
            raise OperationalError("server closed the connection unexpectedly")
        if cut == "elsewhere":  # another server goes on, which has the rows of neither
            server.rows, server.statuses = [], {}
            raise ServerError("57P01")

    def fetchone(self) -> Any:
        return self.answer

    def close(self) -> None: ...


class Counted(Companion):
    def __init__(self) -> None:
        self.commits = 0

    def committed(self) -> None:
        self.commits += 1


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.mark.parametrize("cut", ["", "before", "after", "elsewhere"])
async def test_a_commit_that_nobody_answered_is_done_once(server: Server, cut: str) -> None:
    server.cut, counted = cut, Counted()
    writer = Writer(server.connect, ServerError, ("BEGIN",), lambda: None, outage(Time()), companion=counted)

    def write(cursor: Any) -> str:
        cursor.execute("row")
        return "written"

    assert await writer.run(write) == "written"
    assert (server.rows, counted.commits) == (["row"], 1)
    writer.close()


async def test_a_write_after_a_long_outage_is_refused_and_the_next_one_goes(server: Server) -> None:
    away = [OperationalError("connection refused")] * 1000

    def connect() -> Connection:
        if away:
            raise away.pop()
        return server.connect()

    writer = Writer(connect, ServerError, ("BEGIN",), lambda: None, outage(Time()))
    with pytest.raises(Unavailable, match="does not answer"):
        await writer.run(lambda cursor: cursor.execute("one"))
    away.clear()
    await writer.run(lambda cursor: cursor.execute("two"))
    assert server.rows == ["two"]
    writer.close()
