"""The start of MLflow's process: what it is told, and what becomes of an older database."""

from __future__ import annotations

import itertools
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clary.toolkit import mlflow_server

SPEC: dict[str, Any] = {
    "folder": "/var/mlflow",
    "socket": "/run/s",
    "artifacts": "s3://b/x",
    "prefix": "/_mlflow/a",
    "workers": 2,
}


def test_it_listens_at_the_socket_and_passes_no_artifacts_on() -> None:
    argv = mlflow_server.command(SPEC)
    told = dict(itertools.pairwise(argv))
    assert told["--backend-store-uri"] == "sqlite:////var/mlflow/mlflow.db"
    assert told["--uvicorn-opts"].startswith("--uds /run/s")
    assert (told["--static-prefix"], told["--default-artifact-root"], told["--workers"]) == (
        "/_mlflow/a",
        "s3://b/x",
        "2",
    )
    assert "--no-serve-artifacts" in argv


def test_jobs_and_telemetry_of_mlflows_own_are_off() -> None:
    assert mlflow_server.variables()["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert mlflow_server.variables()["MLFLOW_DISABLE_TELEMETRY"] == "true"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A folder with a database of MLflow 3.0.0."""
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("create table runs (id text)")
        database.execute("insert into runs values ('one')")
    (tmp_path / "version").write_text("3.0.0")
    return tmp_path


def upgraded(folder: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """`prepare` for MLflow 9.9.9, whose `python -m mlflow` ends with that code and leaves a mark."""
    (folder / "mlflow.py").write_text(
        f"import sys\nopen('asked', 'w').write(' '.join(sys.argv[1:]))\nsys.exit({code})\n"
    )
    program = f"from clary.toolkit import mlflow_server; mlflow_server.prepare({str(folder)!r}, '9.9.9')"
    paths = os.pathsep.join([str(folder), *sys.path])
    environment = {**os.environ, "PYTHONPATH": paths}
    return subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_an_older_database_is_copied_and_brought_up(old: Path) -> None:
    done = upgraded(old)
    assert done.returncode == 0, done.stderr
    assert (old / "asked").read_text() == f"db upgrade sqlite:///{old}/mlflow.db"
    assert (old / "version").read_text() == "9.9.9"
    with sqlite3.connect(old / "mlflow.db.3.0.0") as copy:
        assert copy.execute("select id from runs").fetchall() == [("one",)]


def test_one_that_cannot_be_brought_up_is_tried_again(old: Path) -> None:
    assert upgraded(old, code=1).returncode != 0
    assert (old / "version").read_text() == "3.0.0"
    assert upgraded(old).returncode == 0


def test_the_same_version_changes_nothing(old: Path) -> None:
    mlflow_server.prepare(str(old), "3.0.0")
    assert sorted(path.name for path in old.iterdir()) == ["mlflow.db", "version"]


def test_a_new_folder_gets_its_version(tmp_path: Path) -> None:
    mlflow_server.prepare(str(tmp_path), "3.1.0")
    assert (tmp_path / "version").read_text() == "3.1.0"
