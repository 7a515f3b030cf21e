"""Rows of PostgreSQL and SQLite as their sandbox writes them (`toolkit/sources.py`), in the runtime's own environment."""

from __future__ import annotations

import csv
import json
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.stores.postgres import server  # noqa: F401

Ask = Callable[..., dict[str, Any]]
MAKE = """
DROP TABLE IF EXISTS t;
CREATE TABLE t (a int, b text, c numeric(10, 2), d jsonb, e uuid, f bytea);
INSERT INTO t SELECT g, 'x' || g, g / 4.0, '{"k": 1}', '00000000-0000-0000-0000-000000000001', '\\x00ff' FROM generate_series(1, 2000) g;
INSERT INTO t (a) VALUES (0);
"""


@pytest.fixture(scope="module")
def run(interpreter: Callable[..., str], library: str) -> Ask:
    path = interpreter("sources")

    def ask(folder: Path, url: str, sql: str, form: str = "CSV", compression: str = "NONE") -> dict[str, Any]:
        spec, report = folder / "spec.json", folder / "report.json"
        asked = {"url": url, "sql": sql, "form": form, "compression": compression}
        spec.write_text(json.dumps({**asked, "folder": str(folder), "report": str(report)}))
        command = [path, "-m", "clary.toolkit.sources", str(spec)]
        environment = {"PYTHONPATH": library, "HOME": str(folder)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        assert not spec.exists()  # it had the password
        answer: dict[str, Any] = json.loads(report.read_text())
        return answer

    return ask


def test_postgresql_answers_in_both_forms_and_cannot_be_changed(run: Ask, server: str, tmp_path: Path) -> None:  # noqa: F811
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(MAKE.encode())
    told = run(tmp_path, server, "SELECT * FROM t ORDER BY a")
    assert (told["rows"], told["files"]) == (2001, ["0000_part_00.csv"])
    with (tmp_path / "0000_part_00.csv").open() as file:
        first, second, *_ = csv.DictReader(file)
    assert (first["a"], first["b"], first["f"]) == ("0", "", "")
    identity = "00000000-0000-0000-0000-000000000001"
    assert second == {"a": "1", "b": "x1", "c": "0.25", "d": '{"k": 1}', "e": identity, "f": "00ff"}
    assert run(tmp_path, server, "SELECT a FROM t", "PARQUET", "SNAPPY")["files"] == ["0000_part_00.parquet"]
    for sql, words in (
        ("WITH gone AS (DELETE FROM t RETURNING a) SELECT * FROM gone", "read-only transaction"),
        ("SELECT 1; DELETE FROM t", "multiple commands"),
        ("SELECT 1 / (a - 1999) FROM t ORDER BY a", "division by zero"),
    ):
        assert words in run(tmp_path, server, sql)["error"]
    assert run(tmp_path, server, "SELECT a FROM t")["rows"] == 2001


def test_a_database_that_is_not_there_is_told_without_the_password(run: Ask, tmp_path: Path) -> None:
    error = run(tmp_path, "postgresql://me:hidden@127.0.0.1:1/d", "SELECT 1")["error"]
    assert "cannot be reached" in error
    assert "hidden" not in error


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_sqlite_answers_and_cannot_be_changed(run: Ask, tmp_path: Path, journal: str) -> None:
    path = tmp_path / "a ?#.db"
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA journal_mode = {journal}")
    connection.execute("CREATE TABLE t (a INTEGER)")
    connection.executemany("INSERT INTO t VALUES (?)", ((n,) for n in range(40_000)))
    connection.commit()
    connection.close()
    assert run(tmp_path, f"sqlite://{path}", "SELECT a FROM t WHERE a >= 10", "CSV", "GZIP")["rows"] == 39_990
    assert run(tmp_path, f"sqlite://{path}", "SELECT a FROM t WHERE a < 0")["rows"] == 0
    assert "no such column" in run(tmp_path, f"sqlite://{path}", "SELECT b FROM t")["error"]
    assert "readonly" in run(tmp_path, f"sqlite://{path}", "WITH x AS (SELECT 1) DELETE FROM t")["error"]


def test_a_database_that_dies_in_the_middle_is_told(run: Ask, server: str, tmp_path: Path) -> None:  # noqa: F811
    """The server ends the session after the first rows, as when it is shut down: that is the error, and no rows are reported."""
    sql = """
        SELECT g, repeat('x', 2000), CASE WHEN g = 30000 THEN pg_terminate_backend(pg_backend_pid()) END
        FROM generate_series(1, 60000) g
    """
    told = run(tmp_path, server, sql)
    assert "rows" not in told
    assert "terminat" in told["error"] or "closed" in told["error"], told
