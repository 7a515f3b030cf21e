"""Queries and Parquet files as their sandboxes make them (`toolkit/query.py`, `toolkit/features.py`), in the runtime's own environment."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HOUR = "year=2024/month=05/day=01/hour=12"
ROWS: list[dict[str, Any]] = [
    {"file": 0, "values": {"id": "a", "at": "1.5", "v": ["1", "2"]}, "written": 1.25, "invoked": 1.0, "deleted": False},
    {"file": 0, "values": {"id": "b", "at": "2"}, "written": 2.0, "invoked": 2.0, "deleted": True},
]
COLUMNS = [["id", "string"], ["at", "double"], ["v", "array<bigint>"], ["later", "bigint"], ["write_time", "timestamp"]]

Ask = Callable[..., tuple[dict[str, Any], list[str]]]


@pytest.fixture(scope="module")
def python(interpreter: Callable[..., str], library: str) -> Callable[..., None]:
    """Run a module of the toolkit with the runtime that has DuckDB and pyarrow."""
    path = interpreter("features")

    def run(module: str, spec: Path) -> None:
        environment = {"PYTHONPATH": library, "HOME": str(spec.parent)}
        done = subprocess.run(
            [path, "-m", module, str(spec)], env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]

    return run


@pytest.fixture(scope="module")
def data(python: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one Parquet file of history and one of CSV."""
    folder = tmp_path_factory.mktemp("data")
    (folder / HOUR).mkdir(parents=True)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    kinds = [("id", "String", False), ("at", "Fractional", False), ("v", "Integral", True)]
    spec = {
        "columns": [{"name": name, "type": kind, "many": many} for name, kind, many in kinds],
        "rows": str(folder / "rows.jsonl"),
        "files": [str(folder / HOUR / "a.parquet")],
    }
    (folder / "spec.json").write_text(json.dumps(spec))
    python("clary.toolkit.features", folder / "spec.json")
    (folder / "x.csv").write_text("a,3.5\nb,\nc,`1,5`\n")
    whole = (folder / HOUR / "a.parquet").read_bytes()
    (folder / HOUR / "half.parquet").write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.fixture
def ask(python: Callable[..., None], data: Path, tmp_path: Path) -> Ask:
    """The report and the CSV's lines; `file` is that of the table t."""

    def ask(sql: str, file: str = "a.parquet") -> tuple[dict[str, Any], list[str]]:
        spec = {
            "sql": sql,
            "database": "db",
            "tables": [
                {
                    "database": "db",
                    "name": "t",
                    "form": "parquet",
                    "files": [str(data / HOUR / file)],
                    "columns": COLUMNS,
                },
                {"database": "db", "name": "empty", "form": "parquet", "files": [], "columns": COLUMNS},
                {
                    "database": "db",
                    "name": "x",
                    "form": "csv",
                    "files": [str(data / "x.csv")],
                    "columns": [["id", "string"], ["n", "double"]],
                    "separator": ",",
                    "quote": "`",
                    "escape": "\\",
                },
            ],
            "output": str(tmp_path / "out.csv"),
            "report": str(tmp_path / "report.json"),
            "folders": [str(data), str(tmp_path)],
            "memory": 1 << 30,
            "spill": str(tmp_path / "spill"),
        }
        (tmp_path / "spec.json").write_text(json.dumps(spec))
        python("clary.toolkit.query", tmp_path / "spec.json")
        out = tmp_path / "out.csv"
        return json.loads((tmp_path / "report.json").read_text()), out.read_text().splitlines() if out.exists() else []

    return ask


def test_history_is_read_with_its_partitions_and_columns_that_came_later(ask: Ask) -> None:
    report, lines = ask('SELECT * FROM "AwsDataCatalog"."db"."t" ORDER BY id')
    assert report["columns"][:5] == [
        ["id", "varchar"], ["at", "double"], ["v", "array"], ["later", "bigint"], ["write_time", "timestamp"],
    ]  # fmt: skip
    assert lines == [
        '"id","at","v","later","write_time","year","month","day","hour"',
        '"a","1.5","[1, 2]",,"1970-01-01 00:00:01.250","2024","05","01","12"',
        '"b","2.0",,,"1970-01-01 00:00:02.000","2024","05","01","12"',
    ]


@pytest.mark.parametrize(
    ("sql", "lines"),
    [
        ("select count(*) from empty", ['"_col0"', '"0"']),
        ("select id, n from x order by id", ['"id","n"', '"a","3.5"', '"b",', '"c",']),
        ("select id, id from t where at < 2", ['"id","id_1"', '"a","a"']),
        ('select from_unixtime("at") as m from t limit 1', ['"m"', '"1970-01-01 00:00:01.500 UTC"']),
        (
            "with r as (select *, row_number() over (partition by year order by at desc) as n from t) select id from r where n = 1",
            ['"id"', '"b"'],
        ),
        (
            "select id from t where write_time <= to_timestamp('1970-01-01 00:00:01', 'yyyy-mm-dd hh24:mi:ss') "
            "or from_iso8601_timestamp('2024-05-01T00:00:00Z') < from_unixtime(at)",
            ['"id"'],
        ),
    ],
)
def test_athenas_words_are_understood(ask: Ask, sql: str, lines: list[str]) -> None:
    assert ask(sql)[1] == lines


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("select 1; select 2", "one statement"),
        ("delete from t", "only SELECT"),
        ("copy t to '/tmp/x'", "only SELECT"),
        ("select * from nope", "Table 'awsdatacatalog.db.nope' does not exist"),
        ("select * from read_csv('/etc/passwd')", "name a table"),
        ("select (", "SYNTAX_ERROR"),
        ("select nope from t", "nope"),
        ("select * from t where id in (select content from read_text('/etc/passwd'))", "name a table"),
        ("select * from read_csv('http://127.0.0.1:1/x.csv')", "name a table"),
        ("select * from 'http://127.0.0.1:1/x.parquet'", "does not exist"),
        ('select * from "http://127.0.0.1:1/x.parquet"', "does not exist"),
        ("install httpfs", "only SELECT"),
        ("attach 'http://127.0.0.1:1/x.db' as x", "SYNTAX_ERROR"),
        ("select getenv('HOME')", "getenv"),
    ],
)
def test_what_cannot_be_asked_is_told(ask: Ask, sql: str, words: str) -> None:
    report, lines = ask(sql)
    assert words in report["error"]
    assert lines == []


def test_a_file_that_is_half_written_is_named(ask: Ask) -> None:
    report, lines = ask("select * from t", "half.parquet")
    assert report["error"].startswith("HIVE_BAD_DATA: ")
    assert f"{HOUR}/half.parquet" in report["error"]
    assert lines == []
