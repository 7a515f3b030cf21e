"""The database of records: how to connect, and whether its schema is one that this Clary may write.

Owns settings of the connection (durability) and the schema's version; does not know records. A newer schema is refused, an
older one is migrated after a copy of the file, a damaged file is refused before anything is written.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from clary.domain.errors import ClaryError
from clary.stores import answered
from clary.stores.schema import ALEMBIC, METADATA, VERSION

CHECKED = 256 << 20  # bytes; a larger file is not checked whole at start
MIGRATIONS = Path(__file__).parent / "migrations"
_BUSY_MS = 10_000


NO_DRIVER = "PostgreSQL needs the driver {}, which is not installed: `pip install 'clary[postgres]'` adds it."
# A server whose machine is gone closes nothing: libpq's own settings find that out within ten seconds.
# https://www.postgresql.org/docs/current/libpq-connect.html
_SILENCE = {
    "connect_timeout": 10,  # seconds
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 10_000,  # milliseconds
}


def connecting(url: URL) -> dict[str, Any]:
    """Arguments for the driver: a server that does not answer is an error soon, unless the URL says when."""
    if url.get_backend_name() == "sqlite":
        return {}
    return {name: value for name, value in _SILENCE.items() if name not in url.query}


class StoreUnusable(ClaryError):
    """The records are damaged, out of reach, or of a newer Clary. Refuse to start; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Look:
    """A database as it is: its schema's version (None: no tables yet), and the server's time (0.0: it has no clock of its own)."""

    version: str | None
    now: float


class Database:
    """One SQLAlchemy URL. `connect` gives raw driver connections, for one thread each, outside any pool."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self.lite = self.url.get_backend_name() == "sqlite"
        if not self.lite and self.url.get_backend_name() != "postgresql":
            raise StoreUnusable(f"Records can be kept in SQLite or PostgreSQL, not in {self.url.get_backend_name()}.")
        if not self.lite and self.url.drivername == "postgresql":
            self.url = self.url.set(drivername="postgresql+psycopg")
        try:
            self.engine: Engine = create_engine(self.url, poolclass=NullPool, connect_args=connecting(self.url))
        except ImportError as error:
            raise StoreUnusable(NO_DRIVER.format(error.name or "psycopg")) from error
        if self.lite:
            event.listen(self.engine, "connect", _set_up_sqlite)
        self.dialect = self.engine.dialect
        self.error: type[Exception] = self.engine.dialect.loaded_dbapi.Error
        self.begin = ("BEGIN IMMEDIATE",) if self.lite else ("BEGIN",)

    @property
    def where(self) -> str:
        return self.url.render_as_string(hide_password=True)

    def connect(self) -> Any:
        """A raw connection in autocommit, ours alone."""
        connection = self.engine.raw_connection()
        raw = connection.dbapi_connection
        connection.detach()
        if not self.lite:
            raw.autocommit = True  # type: ignore[union-attr]
        return raw

    def close(self) -> None:
        self.engine.dispose()

    def prepare(self, refusal: str = "") -> None:
        """Make the schema, or check and migrate it. StoreUnusable names what is wrong and what to do; it is `refusal` where there are
        no records and the caller knows that there should be some."""
        with self.explained():
            file = Path(self.url.database or "")
            if refusal and self.lite and not (file.is_file() and file.stat().st_size):
                raise StoreUnusable(refusal)
            if self.lite:
                self._check_file()
            found = self._version()
            if found is not None and self.lite:
                self._check_newest()
            if found is None:
                if refusal:
                    raise StoreUnusable(refusal)
                self._create()
            elif found != VERSION:
                self._migrate(found)

    def look(self) -> Look:
        """Whether it can be used, without a change. StoreUnusable as `prepare` has it."""
        with self.explained():
            if self.lite:
                self._check_file()
            found = self._version()
            if found not in (None, VERSION):
                self._known(str(found))
            if self.lite:
                return Look(found, 0.0)
            with self.engine.connect() as connection:
                now = connection.exec_driver_sql("SELECT extract(epoch FROM clock_timestamp())").scalar_one()
            return Look(found, float(now))

    @contextmanager
    def explained(self) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, sqlite3.Error) as error:
            reason = " ".join(str(getattr(error, "orig", None) or error).split()).rstrip("?.")
            advice = _ADVICE if self.lite else "Is the server up, and does the setting `database` name it rightly?"
            raise StoreUnusable(f"The records at {self.where} cannot be opened: {reason}. {advice}") from error

    def _check_file(self) -> None:
        file = Path(self.url.database or "")
        if file.is_file() and file.stat().st_size <= CHECKED:
            raw = self.connect()
            answer = raw.execute("PRAGMA quick_check(1)").fetchone()[0]
            raw.close()
            if answer != "ok":
                raise StoreUnusable(f"The records at {self.where} are damaged: {answer}. {_ADVICE}")

    def _check_newest(self) -> None:
        """Nothing that was answered may be missing: a log that was deleted, an older copy, a copy of a file in use."""
        file = Path(self.url.database or "")
        raw = self.connect()
        number = int(raw.execute("PRAGMA user_version").fetchone()[0])
        raw.close()
        behind = answered.missing(file, number)
        if behind:
            raise StoreUnusable(
                f"The records at {self.where} are older than what was answered from them: the last {behind} writes are missing. Put the "
                f"newest {file.name} and {file.name}-wal back. To go on with the older ones, delete {answered.beside(file)}."
            )

    def _version(self) -> str | None:
        """The schema's version; None for an empty database."""
        with self.engine.connect() as connection:
            tables = inspect(connection).get_table_names()
            if ALEMBIC.name not in tables:
                if "resources" in tables:
                    raise StoreUnusable(f"The records at {self.where} have no schema version. {_ADVICE}")
                return None
            row = connection.execute(select(ALEMBIC.c.version_num)).first()
            return row[0] if row is not None else None

    def _create(self) -> None:
        if self.lite:
            answered.beside(Path(self.url.database or "")).unlink(missing_ok=True)  # of records that are gone
        with self.whole() as connection:
            self.alone(connection)
            METADATA.create_all(connection)
            if connection.execute(select(ALEMBIC.c.version_num)).first() is None:
                connection.execute(ALEMBIC.insert().values(version_num=VERSION))

    def _migrate(self, found: str) -> None:
        """To this Clary's version, by Alembic; a SQLite file is copied first."""
        scripts = self._known(found)
        if self.lite:
            self._copy(found)
        from alembic.migration import MigrationContext
        from alembic.operations import Operations

        with self.whole() as connection:
            self.alone(connection)
            context = MigrationContext.configure(
                connection, opts={"fn": lambda rev, _: scripts._upgrade_revs("head", rev)}
            )
            with Operations.context(context):
                context.run_migrations()

    def alone(self, connection: Connection) -> None:
        """Until the transaction ends: of several control planes that start at once, one makes or migrates the tables. On SQLite the
        transaction itself does that."""
        if not self.lite:
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7235)")

    def _known(self, found: str) -> Any:
        """Alembic's scripts, which lead from this version to ours. StoreUnusable when it is a newer one."""
        from alembic.script import ScriptDirectory  # only an old database pays for Alembic

        scripts = ScriptDirectory(str(MIGRATIONS))
        if found not in {script.revision for script in scripts.walk_revisions()}:
            raise StoreUnusable(
                f"The records at {self.where} have schema {found}; this Clary knows {VERSION} and older. They were written by a newer "
                "Clary: use that one, or restore the copy that it made before it migrated."
            )
        return scripts

    @contextmanager
    def whole(self) -> Iterator[Connection]:
        """One transaction: who is killed in it has changed nothing. SQLite's is begun by hand: its driver begins none for DDL, and ours
        none at all."""
        with self.engine.begin() as connection:
            if self.lite:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection

    def _copy(self, found: str) -> None:
        """A copy that is whole whatever the journal holds: `records.db.schema-0001`."""
        target = Path(f"{self.url.database}.schema-{found}")
        target.unlink(missing_ok=True)
        source = self.connect()
        copy = sqlite3.connect(target)
        source.backup(copy)
        copy.close()
        source.close()


_ADVICE = "Restore records.db from a copy; or move it away and let `clary up --new-records` start with none."


def _set_up_sqlite(connection: Any, _: Any) -> None:
    """WAL and FULL: a commit that was answered is on the disk. Transactions are begun by hand."""
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA cache_size=-32000")
    cursor.close()
