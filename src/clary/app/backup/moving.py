"""Moving what is in SQL from the files of a state folder to a database server, or back, while no Clary runs on it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Engine, MetaData, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from clary.app import bindings
from clary.app.keys import FOLDER, shared_kept, take_in
from clary.app.objects import index_url
from clary.app.settings import Settings
from clary.domain.errors import Invalid, Unavailable
from clary.objects.files import sync_file, sync_folder
from clary.stores import features, index_schema, schema
from clary.stores.database import Database
from clary.stores.keys import write_folder
from clary.stores.transfer import TargetInUse, counted, transfer

FILES = "files"
_NEW = ".migrating"


@dataclass(frozen=True, slots=True)
class Moved:
    """Where it is now (`database`: "" for the folder's own files; `shown`: for people), and rows by table."""

    database: str
    shown: str
    rows: Mapping[str, int]


def move(settings: Settings, to: str) -> Moved:
    """Copy records, features, object index and keys to the database `to` (`files`: the folder's own), and let the next start expect them
    there. What they were copied from stays as it is. Invalid, Unavailable, TargetInUse; then nothing was changed."""
    url = "" if to == FILES else to
    _check(settings, url)
    target = replace(settings, database=url)
    with ExitStack() as stack:
        Database(settings.database_url).prepare("There are no records to be moved.")
        sources = [(stack.enter_context(_engine(at)), of) for at, of in _tables(settings) if _there(at)]
        try:
            rows = _to_server(sources, url) if url else _to_files(sources, target)
        except SQLAlchemyError as error:
            raise Unavailable(
                f"The tables cannot be copied: {getattr(error, 'orig', None) or error}. Nothing was changed."
            ) from error
        _move_keys(settings, target)
    bindings.remember(target)
    shown = make_url(url).render_as_string(hide_password=True) if url else f"files of {settings.dir}"
    return Moved(url, shown, rows)


def _check(settings: Settings, url: str) -> None:
    try:
        kind = make_url(url).get_backend_name() if url else ""
    except ArgumentError as error:
        raise Invalid(f"--to must be a URL such as postgresql://USER@HOST/DATABASE, or `{FILES}`") from error
    if url and kind not in ("postgresql", "postgres"):
        raise Invalid(f"--to names a {kind} database: records can be kept in PostgreSQL, or in `{FILES}`")
    if url == settings.database:
        raise Invalid("that is where they are: the setting `database` names it" if url else "they are in files already")


def _tables(settings: Settings) -> tuple[tuple[str, MetaData], ...]:
    """Each group of tables with the URL of its database; records last, since without them nothing starts."""
    return (
        (settings.features_url, features.METADATA),
        (index_url(settings.root, settings.database), index_schema.METADATA),
        (settings.database_url, schema.METADATA),
    )


def _there(url: str) -> bool:
    place = make_url(url)
    return place.get_backend_name() != "sqlite" or Path(str(place.database)).exists()


@contextmanager
def _engine(url: str) -> Iterator[Engine]:
    database = Database(url)
    try:
        yield database.engine
    finally:
        database.close()


def _to_server(sources: list[tuple[Engine, MetaData]], url: str) -> Mapping[str, int]:
    with _engine(url) as target:
        try:
            return transfer(sources, target)
        except TargetInUse:
            before = counted(sources, target)  # by a `clary migrate` that was killed after its last write
            if before is None:
                raise
            return before


def _move_keys(settings: Settings, target: Settings) -> None:
    """After the tables, when it is known that the target is nobody else's."""
    if target.database:
        take_in(target)
    else:
        write_folder(shared_kept(settings), target.root / FOLDER)


def _to_files(sources: list[tuple[Engine, MetaData]], target: Settings) -> Mapping[str, int]:
    """New files beside the old ones, and when all are whole they take their places; the old ones are kept beside them."""
    by_tables = {id(of): source for source, of in sources}
    rows: dict[str, int] = {}
    made: list[Path] = []
    for url, of in _tables(target):
        place = Path(str(make_url(url).database))
        fresh = Path(f"{place}{_NEW}")
        fresh.unlink(missing_ok=True)
        with _engine(f"sqlite:///{fresh}") as engine:
            rows |= transfer([(by_tables[id(of)], of)], engine)
            with engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        sync_file(str(fresh))
        made.append(place)
    for place in made:
        _replace(place)
    return rows


def _replace(place: Path) -> None:
    aside = f"{place}.before-{int(time.time())}"
    for end in ("-shm", "-wal", ""):  # what belongs to it follows it, the file itself last
        if os.path.exists(f"{place}{end}"):
            os.rename(f"{place}{end}", f"{aside}{end}")
    Path(f"{place}.commits").unlink(missing_ok=True)
    os.rename(f"{place}{_NEW}", place)
    sync_folder(str(place.parent))
