"""Credentials in PostgreSQL: the `Keys` port for several heads, which all have the same master secret, pairs and revocations.

Each process holds all of it in memory, so that a request asks no server. One connection listens: what another process creates or revokes
is known here after milliseconds. A process that lost its database goes on with what it knew, and reads everything again when it is back.

Does not know what a session token holds (`keys.py`).
"""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import Column, Connection, Float, MetaData, Table, Text, delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError

from clary.domain.errors import NotFound, Unavailable
from clary.ports import Credential
from clary.stores.database import Database
from clary.stores.keys import KeptKeys, Keyring, expiry, master_of, permanent

log = logging.getLogger(__name__)

CHANNEL = "clary_keys"
LOOK = 5.0  # seconds between two looks for what no notice told of
_LOCK = 7236  # of the transactions that write
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 1.0  # seconds between two tries to listen again
_MASTER, _PAIR, _REVOKED, _ADOPTED = "master", "pair", "revoked", "adopted"

METADATA = MetaData()
# A row is the master secret, a permanent pair, a revoked temporary credential (`until` it would have ended), or a folder that was taken in.
CREDENTIALS = Table(
    "credentials",
    METADATA,
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("until", Float(53), nullable=False),
    Column("document", Text, nullable=False),
)


class SqlKeys(Keyring):
    """`ports.Keys` at a PostgreSQL URL. The first `find` starts the thread that listens. Unavailable when the server does not answer."""

    def __init__(self, url: str, random: Callable[[int], bytes] = secrets.token_bytes) -> None:
        super().__init__(random)
        self._database = Database(url)
        self._thread: threading.Thread | None = None
        self._starting, self._loading = threading.Lock(), threading.Lock()
        self._closed = threading.Event()
        self._gone: list[Callable[[str], None]] = []
        with self._writing() as connection:
            METADATA.create_all(connection)
            add(connection, _MASTER, _MASTER, self._random(32).hex())
        self._load()

    # -- Keys ------------------------------------------------------------------------------------------------------------------

    def create(self, account: str, name: str) -> Credential:
        pair = self._new_pair(account, name)
        with self._writing() as connection:
            add(connection, _PAIR, pair["access_key_id"], json.dumps(pair))
        self._load()
        return permanent(pair)

    def ensure(self, account: str, name: str) -> Credential:
        pair = self._new_pair(account, name)
        with self._writing() as connection:
            mine = [document for document in _documents(connection, _PAIR) if document["account"] == account]
            if not mine:
                add(connection, _PAIR, pair["access_key_id"], json.dumps(pair))
        self._load()
        return permanent(min(mine, key=lambda known: float(known["created"])) if mine else pair)

    def revoke(self, access_key_id: str) -> None:
        with self._writing() as connection:
            if access_key_id.startswith("ASIA"):
                add(connection, _REVOKED, access_key_id, "", expiry(access_key_id))
                old = (CREDENTIALS.c.kind == _REVOKED) & (CREDENTIALS.c.until < time.time())
                connection.execute(delete(CREDENTIALS).where(old))
            else:
                this = (CREDENTIALS.c.kind == _PAIR) & (CREDENTIALS.c.name == access_key_id)
                if not connection.execute(delete(CREDENTIALS).where(this)).rowcount:
                    raise NotFound(f"The access key with id {access_key_id} cannot be found.")
        self._load()

    def all(self) -> Sequence[Credential]:
        self._load()
        return list(self._permanent.values())

    # -- all of it -------------------------------------------------------------------------------------------------------------

    def adopt(self, kept: KeptKeys, master: bool = False) -> bool:
        """Take in what a folder kept, once: whether it was now. Its pairs and revocations count from then on, and with `master` its master
        secret does in place of the one here, which ends temporary credentials that were issued by that. A pair that is revoked here later
        does not come back by a second call."""
        mark = hashlib.sha256(kept.master.encode()).hexdigest()
        with self._writing() as connection:
            if not add(connection, _ADOPTED, mark, ""):
                return False
            if master:
                connection.execute(delete(CREDENTIALS).where(CREDENTIALS.c.kind == _MASTER))
                add(connection, _MASTER, _MASTER, kept.master)
            for pair in kept.pairs:
                add(connection, _PAIR, pair["access_key_id"], json.dumps(dict(pair)))
            for name, until in kept.revoked.items():
                add(connection, _REVOKED, name, "", until)
        self._load()
        return True

    def kept(self) -> KeptKeys:
        """All of it, of one moment."""
        with self._told(), self._database.engine.begin() as connection:
            rows = connection.execute(select(CREDENTIALS)).all()
        (master,) = (row.document for row in rows if row.kind == _MASTER)
        pairs = tuple(json.loads(row.document) for row in rows if row.kind == _PAIR)
        return KeptKeys(master, pairs, {row.name: row.until for row in rows if row.kind == _REVOKED})

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()
        self._database.close()

    def watch(self, gone: Callable[[str], None]) -> None:
        self._gone.append(gone)
        self._refresh()

    # -- inside ----------------------------------------------------------------------------------------------------------------

    def _refresh(self) -> None:
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    self._listen_on()

    def _listen_on(self) -> None:
        try:
            self._load()  # it may be long ago that this was made
        except Unavailable as error:
            log.warning("%s Going on with the keys that were read before.", error.message)
        self._thread = threading.Thread(target=self._heard, name="keys", daemon=True)
        self._thread.start()

    def _load(self) -> None:
        with self._loading:  # what was read first is kept first
            self._take(self.kept())

    def _take(self, kept: KeptKeys) -> None:
        master = master_of(kept.master, f"the row {_MASTER} of the table {CREDENTIALS.name}")
        if master != self._master:
            self._master = master
            self._temporary.clear()
        before, revoked = set(self._permanent), set(self._revoked)
        self._revoked = kept.revoked
        self._keep(kept.pairs)
        for key in sorted((before - set(self._permanent)) | (set(self._revoked) - revoked)):
            for gone in self._gone:
                gone(key)

    def _heard(self) -> None:
        """The thread: wait for notices; after a broken connection listen again, and read everything."""
        pause = _FIRST_PAUSE
        connection: Any = None
        while not self._closed.is_set():
            try:
                if connection is None:
                    connection = self._database.connect()
                    connection.execute(f"LISTEN {CHANNEL}")
                self._load()
                pause = _FIRST_PAUSE
                self._wait(connection)
            except (self._database.error, SQLAlchemyError, Unavailable) as error:
                said = " ".join(str(error).split())
                log.warning("the keys lost their database (%s); listening again in %.1f s", said, pause)
                if connection is not None:
                    with suppress(self._database.error):
                        connection.close()
                    connection = None
                self._closed.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
        if connection is not None:
            connection.close()

    def _wait(self, connection: Any) -> None:
        """Until there is something to read, or it is time to look."""
        until = time.monotonic() + LOOK
        while not self._closed.is_set() and time.monotonic() < until:
            for _ in connection.notifies(timeout=0.2, stop_after=1):
                return

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """One transaction at a time of all processes; each other one hears of it."""
        with self._told(), self._database.engine.begin() as connection:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
            yield connection
            connection.exec_driver_sql(f"NOTIFY {CHANNEL}")

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            reason = " ".join(str(getattr(error, "orig", None) or error).split()).rstrip("?.")
            advice = "Is the server up, and does the setting `database` name it rightly?"
            raise Unavailable(
                f"The keys at {self._database.where} cannot be read or written: {reason}. {advice}"
            ) from error


def add(connection: Connection, kind: str, name: str, document: str, until: float = 0.0) -> bool:
    """Whether the row was not there before; one that is there stays as it is."""
    row = insert(CREDENTIALS).values(kind=kind, name=name, document=document, until=until)
    made = connection.execute(row.on_conflict_do_nothing().returning(CREDENTIALS.c.name))
    return made.first() is not None


def _documents(connection: Connection, kind: str) -> list[dict[str, Any]]:
    rows = connection.execute(select(CREDENTIALS.c.document).where(CREDENTIALS.c.kind == kind))
    return [json.loads(document) for (document,) in rows]
