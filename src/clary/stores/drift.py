"""What the process that watches for drift keeps: one SQLite file. Counts of each variant, which captured files are in them, and the
windows that were judged. A captured file and what it changes are one transaction, so a process that is killed counts nothing twice and
loses nothing.

One process writes; any other may read at the same time.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clary.domain.errors import Unavailable

FILE = "drift.db"
WINDOWS = 2000  # of a variant, beyond which the oldest go
ANSWERS = (
    500_000  # requests whose labels may come, beyond which the oldest go; and labels that may wait for their request
)
TRUTHS = 100_000  # files of labels that are known, beyond which the oldest go
ASKED = 5000  # requests whose rows are kept for their labels, beyond which the oldest go
CONFIGS = 5  # of a variant whose quality is kept
_BUSY = 5.0  # seconds
_SCHEMA = """
create table if not exists variants (
    account text not null, region text not null, endpoint text not null, variant text not null,
    config text not null, state text not null, told text not null, at real not null,
    primary key (account, region, endpoint, variant)) without rowid;
create table if not exists applied (file text primary key, at real not null) without rowid;
create table if not exists attempts (file text primary key, count integer not null) without rowid;
create table if not exists windows (
    seq integer primary key autoincrement, account text not null, region text not null, endpoint text not null,
    variant text not null, document text not null);
create table if not exists answers (
    seq integer primary key autoincrement, account text not null, region text not null, endpoint text not null, id text not null,
    variant text not null, config text not null, at real not null, predictions text not null, label text);
create unique index if not exists answers_by_id on answers (account, region, endpoint, id);
create table if not exists waiting (
    seq integer primary key autoincrement, account text not null, region text not null, endpoint text not null, id text not null,
    label text not null);
create unique index if not exists waiting_by_id on waiting (account, region, endpoint, id);
create table if not exists asked (
    seq integer primary key autoincrement, account text not null, region text not null, endpoint text not null, id text not null,
    rows text not null);
create unique index if not exists asked_by_id on asked (account, region, endpoint, id);
create table if not exists quality (
    account text not null, region text not null, endpoint text not null, variant text not null, config text not null,
    state text not null, at real not null,
    primary key (account, region, endpoint, variant, config)) without rowid;
create table if not exists truths (file text primary key, at real not null) without rowid;
create index if not exists windows_by_variant on windows (account, region, endpoint, variant, seq);
"""


@dataclass(frozen=True, slots=True)
class WatchedVariant:
    """Whose rows are counted."""

    account: str
    region: str
    endpoint: str
    variant: str

    @property
    def columns(self) -> tuple[str, str, str, str]:
        return self.account, self.region, self.endpoint, self.variant


@dataclass(frozen=True, slots=True)
class Standing:
    """How a variant stands: `config` names what its counts are for; `state` is the watch as a document; `told` is what people are shown."""

    config: str
    state: Mapping[str, Any]
    told: Mapping[str, Any]
    at: float


@dataclass(frozen=True, slots=True)
class AnsweredRequest:
    """What a variant predicted for a request, row by row, until its label comes; `label` is the one that came. `rows` are the request's,
    where errors are learned from them."""

    id: str
    variant: str
    config: str
    at: float
    predictions: Sequence[Any]
    label: Sequence[Any] | None = None
    rows: Sequence[dict[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Joined:
    """What labels changed. `answers` are as they stand now; `early`: labels that came before their request, and those of them that are
    `met`; `quality`: how right a (variant, config) is, as a document; `told`: what is shown of a variant, where labels changed it."""

    answers: Sequence[AnsweredRequest] = ()
    early: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    met: Sequence[str] = ()
    quality: Mapping[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    told: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class DriftStore:
    """For the one process that writes. Unavailable when the disk does not take or give."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _told():
            self._db = sqlite3.connect(folder / FILE, timeout=_BUSY, isolation_level=None)
            self._db.execute("pragma journal_mode=wal")
            self._db.execute("pragma synchronous=normal")
            self._db.executescript(_SCHEMA)

    def attempt(self, file: str) -> int:
        """Count that a file is begun; answers how often it was, this time included. Durable, so that one that kills the process is
        found."""
        with _told():
            row = self._db.execute(
                "insert into attempts values (?, 1) on conflict (file) do update set count = count + 1 returning count",
                (file,),
            ).fetchone()
        return int(row[0])

    def applied(self, file: str) -> bool:
        with _told():
            return self._db.execute("select 1 from applied where file = ?", (file,)).fetchone() is not None

    def standing(self, whose: WatchedVariant) -> Standing | None:
        with _told():
            row = self._db.execute(
                "select config, state, told, at from variants where account = ? and region = ? and endpoint = ? and variant = ?",
                whose.columns,
            ).fetchone()
        return None if row is None else Standing(row[0], json.loads(row[1]), json.loads(row[2]), row[3])

    def save(
        self,
        whose: WatchedVariant,
        file: str,
        standing: Standing,
        windows: Sequence[Mapping[str, Any]],
        joined: Joined | None = None,
    ) -> None:
        """All that a captured file changed, or nothing."""
        with _told(), self._transaction():
            self._join(whose, joined or Joined(), standing.at)
            texts = (standing.config, _text(standing.state), _text(standing.told), standing.at)
            self._db.execute(
                "insert or replace into variants values (?, ?, ?, ?, ?, ?, ?, ?)", (*whose.columns, *texts)
            )
            self._db.execute("insert or ignore into applied values (?, ?)", (file, standing.at))
            self._db.execute("delete from attempts where file = ?", (file,))
            rows = [(*whose.columns, _text(each)) for each in windows]
            self._db.executemany(
                "insert into windows (account, region, endpoint, variant, document) values (?, ?, ?, ?, ?)", rows
            )
            if windows:
                self._db.execute(
                    "delete from windows where account = ? and region = ? and endpoint = ? and variant = ? and seq <= ("
                    "select seq from windows where account = ? and region = ? and endpoint = ? and variant = ? "
                    "order by seq desc limit 1 offset ?)",
                    (*whose.columns, *whose.columns, WINDOWS),
                )

    # -- labels -----------------------------------------------------------------------------------------------------------------------

    def known(self, file: str) -> bool:
        """Whether a file of labels was taken."""
        with _told():
            return self._db.execute("select 1 from truths where file = ?", (file,)).fetchone() is not None

    def answered(self, whose: WatchedVariant, ids: Sequence[str]) -> dict[str, AnsweredRequest]:
        """What an endpoint (`whose` names it) predicted for these requests, by id."""
        sql = (
            "select id, variant, config, at, predictions, label, (select rows from asked where account = answers.account"
            " and region = answers.region and endpoint = answers.endpoint and id = answers.id)"
            " from answers where account = ? and region = ? and endpoint = ? and id = ?"
        )
        found = {}
        with _told():
            for id_ in ids:
                row = self._db.execute(sql, (*whose.columns[:3], id_)).fetchone()
                if row is not None:
                    label = None if row[5] is None else json.loads(row[5])
                    id_, variant, config, at, predictions, _, asked = row
                    rows = () if asked is None else json.loads(asked)
                    found[id_] = AnsweredRequest(id_, variant, config, at, json.loads(predictions), label, rows)
        return found

    def early(self, whose: WatchedVariant, ids: Sequence[str]) -> dict[str, list[Any]]:
        """Labels that came before their requests, by id."""
        sql = "select label from waiting where account = ? and region = ? and endpoint = ? and id = ?"
        with _told():
            if self._db.execute("select 1 from waiting limit 1").fetchone() is None:
                return {}
            rows = {id_: self._db.execute(sql, (*whose.columns[:3], id_)).fetchone() for id_ in ids}
        return {id_: json.loads(row[0]) for id_, row in rows.items() if row is not None}

    def quality(self, whose: WatchedVariant, config: str) -> dict[str, Any] | None:
        """How right a variant with that endpoint config is, as a document."""
        with _told():
            row = self._db.execute(
                "select state from quality where account = ? and region = ? and endpoint = ? and variant = ? and config = ?",
                (*whose.columns, config),
            ).fetchone()
        return None if row is None else dict(json.loads(row[0]))

    def qualities(self, whose: WatchedVariant) -> dict[str, dict[str, Any]]:
        """How right the variant is with each of its endpoint configs that are kept."""
        with _told():
            rows = self._db.execute(
                "select config, state from quality where account = ? and region = ? and endpoint = ? and variant = ?",
                whose.columns,
            ).fetchall()
        return {config: dict(json.loads(state)) for config, state in rows}

    def save_labels(self, whose: WatchedVariant, file: str, joined: Joined, at: float) -> None:
        """All that a file of labels changed, or nothing. `whose` names the endpoint."""
        with _told(), self._transaction():
            self._join(whose, joined, at)
            self._db.execute("insert or ignore into truths values (?, ?)", (file, at))
            self._db.execute("delete from attempts where file = ?", (file,))
            self._db.execute(
                "delete from truths where at < (select at from truths order by at desc limit 1 offset ?)", (TRUTHS,)
            )

    def _join(self, whose: WatchedVariant, joined: Joined, at: float) -> None:
        of = whose.columns[:3]
        self._db.executemany(
            "insert into answers (account, region, endpoint, id, variant, config, at, predictions, label) "
            "values (?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " on conflict (account, region, endpoint, id) do update set label = excluded.label",
            [
                (
                    *of,
                    e.id,
                    e.variant,
                    e.config,
                    e.at,
                    _list(e.predictions),
                    None if e.label is None else _list(e.label),
                )
                for e in joined.answers
            ],
        )
        self._db.executemany(
            "insert or replace into asked (account, region, endpoint, id, rows) values (?, ?, ?, ?, ?)",
            [(*of, e.id, _list(e.rows)) for e in joined.answers if e.rows and e.label is None],
        )
        self._db.executemany(
            "delete from asked where account = ? and region = ? and endpoint = ? and id = ?",
            [(*of, e.id) for e in joined.answers if e.label is not None],
        )
        self._db.executemany(
            "insert or replace into waiting (account, region, endpoint, id, label) values (?, ?, ?, ?, ?)",
            [(*of, id_, _list(label)) for id_, label in joined.early.items()],
        )
        self._db.executemany(
            "delete from waiting where account = ? and region = ? and endpoint = ? and id = ?",
            [(*of, id_) for id_ in joined.met],
        )
        for (variant, config), state in joined.quality.items():
            row = (*of, variant, config, _text(state), at)
            self._db.execute("insert or replace into quality values (?, ?, ?, ?, ?, ?, ?)", row)
            self._db.execute(
                "delete from quality where account = ? and region = ? and endpoint = ? and variant = ? and at < ("
                "select at from quality where account = ? and region = ? and endpoint = ? and variant = ? "
                "order by at desc limit 1 offset ?)",
                (*of, variant, *of, variant, CONFIGS - 1),
            )
        for variant, told in joined.told.items():
            self._db.execute(
                "update variants set told = ?, at = ? where account = ? and region = ? and endpoint = ? and variant = ?",
                (_text(told), at, *of, variant),
            )
        for table, most in (("answers", ANSWERS), ("waiting", ANSWERS), ("asked", ASKED)):
            self._db.execute(f"delete from {table} where seq <= (select max(seq) from {table}) - ?", (most,))

    def forget(self, files: Sequence[str]) -> None:
        """Files that are not there any more, and can come no second time."""
        with _told(), self._transaction():
            self._db.executemany("delete from applied where file = ?", [(each,) for each in files])
            self._db.executemany("delete from attempts where file = ?", [(each,) for each in files])

    def close(self) -> None:
        self._db.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._db.execute("rollback")
            raise
        self._db.execute("commit")


def look(folder: Path, account: str, region: str = "", endpoint: str = "", windows: int = 0) -> list[dict[str, Any]]:
    """What is told of an account's variants ("" for any region and endpoint), each with its newest `windows`. Blocking; [] where nothing
    was ever watched."""
    if not (folder / FILE).exists():
        return []
    found = []
    with _told(), contextlib.closing(sqlite3.connect(f"file:{folder / FILE}?mode=ro", uri=True, timeout=_BUSY)) as db:
        rows = db.execute(
            "select region, endpoint, variant, told, at from variants "
            "where account = ? and (? = '' or region = ?) and (? = '' or endpoint = ?) "
            "order by region, endpoint, variant",
            (account, region, region, endpoint, endpoint),
        ).fetchall()
        for region_, endpoint_, variant, told, at in rows:
            judged = db.execute(
                "select document from windows where account = ? and region = ? and endpoint = ? and variant = ? order by seq desc limit ?",
                (account, region_, endpoint_, variant, windows),
            ).fetchall()
            found.append(
                {
                    "region": region_,
                    "endpoint": endpoint_,
                    "variant": variant,
                    "at": at,
                    **json.loads(told),
                    "windows": [json.loads(each) for (each,) in reversed(judged)],
                }
            )
    return found


def labelled(folder: Path) -> list[tuple[WatchedVariant, str]]:
    """The endpoints that may get labels (the newest variant of each stands for it), and the folder where those come. Blocking."""
    if not (folder / FILE).exists():
        return []
    with _told(), contextlib.closing(sqlite3.connect(f"file:{folder / FILE}?mode=ro", uri=True, timeout=_BUSY)) as db:
        rows = db.execute(
            "select account, region, endpoint, variant, json_extract(told, '$.labels_folder'), max(at) from variants "
            "group by account, region, endpoint"
        ).fetchall()
    return [(WatchedVariant(*row[:4]), row[4]) for row in rows if row[4]]


def taken(folder: Path) -> set[str]:
    """The files of labels that were taken. Blocking."""
    if not (folder / FILE).exists():
        return set()
    with _told(), contextlib.closing(sqlite3.connect(f"file:{folder / FILE}?mode=ro", uri=True, timeout=_BUSY)) as db:
        return {row[0] for row in db.execute("select file from truths")}


def changed(folder: Path, since: float) -> list[tuple[WatchedVariant, float, dict[str, Any]]]:
    """(whose, when, what is told) of the variants that got rows after `since`. Blocking."""
    if not (folder / FILE).exists():
        return []
    with _told(), contextlib.closing(sqlite3.connect(f"file:{folder / FILE}?mode=ro", uri=True, timeout=_BUSY)) as db:
        rows = db.execute(
            "select account, region, endpoint, variant, at, told from variants where at > ? order by at", (since,)
        ).fetchall()
    return [(WatchedVariant(*row[:4]), row[4], json.loads(row[5])) for row in rows]


def _list(values: Sequence[Any]) -> str:
    return json.dumps(list(values), separators=(",", ":"), ensure_ascii=False)


def _text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise Unavailable(f"the store of drift: {error}") from error
