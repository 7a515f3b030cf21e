"""All rows from one database into another: SQLite and PostgreSQL, both ways."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine, MetaData, insert, select
from tests.stores.postgres import database, server

from clary.stores import features, index_schema
from clary.stores.database import Database
from clary.stores.transfer import TargetInUse, counted, transfer

__all__ = ["database", "server"]
KEYS = (b"\x00\xff", "schlüssel".encode(), b"plain")


def lite(path: Path) -> Engine:
    return Database(f"sqlite:///{path}").engine


def empty(url: str) -> Engine:
    engine = Database(url).engine
    with engine.begin() as connection:
        index_schema.METADATA.drop_all(connection)
        features.METADATA.drop_all(connection)
    return engine


def filled(engine: Engine) -> Engine:
    """Three buckets of which the last is gone again, keys that are no text, and a history whose newest row is gone."""
    with engine.begin() as connection:
        index_schema.METADATA.create_all(connection)
        features.METADATA.create_all(connection)
        for name in ("a", "b", "c"):
            row = {"name": name, "account": "1", "region": "r", "created": 0.5, "versioning": "", "documents": "{}"}
            connection.execute(insert(index_schema.BUCKETS).values(**row))
        connection.execute(index_schema.BUCKETS.delete().where(index_schema.BUCKETS.c.name == "c"))
        connection.execute(
            insert(index_schema.BODIES), [{"blob": 9_000_000_000 + at, "body": key} for at, key in enumerate(KEYS)]
        )
        for at in range(5):
            connection.execute(insert(features.HISTORY).values(grp="g", written=1e9 + at / 3, document="{}"))
        connection.execute(features.HISTORY.delete())
    return engine


def bodies(engine: Engine) -> list[tuple[int, bytes]]:
    with engine.connect() as connection:
        rows = connection.execute(select(index_schema.BODIES).order_by(index_schema.BODIES.c.blob))
        return [(row.blob, bytes(row.body)) for row in rows]


def next_numbers(engine: Engine) -> tuple[int, int]:
    """What the next bucket and the next line of history would be called."""
    with engine.connect() as connection:
        row = {"name": "d", "account": "1", "region": "r", "created": 0, "versioning": "", "documents": "{}"}
        bucket = connection.execute(insert(index_schema.BUCKETS).values(**row)).inserted_primary_key
        line = connection.execute(insert(features.HISTORY).values(grp="g", written=0, document="")).inserted_primary_key
        connection.rollback()
    return bucket[0], line[0]


def both(engine: Engine) -> list[tuple[Engine, MetaData]]:
    return [(engine, index_schema.METADATA), (engine, features.METADATA)]


def test_there_and_back_everything_is_as_it_was(database: str, tmp_path: Path) -> None:
    source, there, back = filled(lite(tmp_path / "a.db")), empty(database), lite(tmp_path / "b.db")
    copied = transfer(both(source), there)
    assert copied["buckets"] == 2
    assert copied["feature_history"] == 0
    assert transfer(both(there), back) == copied
    assert bodies(source) == bodies(there) == bodies(back)
    assert next_numbers(there) == next_numbers(back) == (4, 6)  # those that were given are not given again


def test_a_target_with_rows_is_left_as_it_is(tmp_path: Path) -> None:
    source, target = filled(lite(tmp_path / "a.db")), filled(lite(tmp_path / "b.db"))
    with pytest.raises(TargetInUse, match=r"b\.db is in use: its table \w+ has rows"):
        transfer(both(source), target)
    assert bodies(target) == bodies(source)


def test_what_was_transferred_before_is_known_until_either_side_changes(database: str, tmp_path: Path) -> None:
    source, there = filled(lite(tmp_path / "a.db")), empty(database)
    copied = transfer(both(source), there)
    assert counted(both(source), there) == copied
    with there.begin() as connection:
        connection.execute(insert(features.HISTORY).values(grp="g", written=0, document=""))
    assert counted(both(source), there) is None


def test_tables_that_the_source_lacks_are_made_empty(tmp_path: Path) -> None:
    source, target = filled(lite(tmp_path / "a.db")), lite(tmp_path / "b.db")
    with source.begin() as connection:
        features.BATCHES.drop(connection)
    assert "feature_batches" not in transfer(both(source), target)
    with target.connect() as connection:
        assert connection.execute(select(features.BATCHES)).all() == []
