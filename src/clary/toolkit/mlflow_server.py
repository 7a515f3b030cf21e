"""`python -m clary.toolkit.mlflow_server SPEC`: the real MLflow, at a unix socket, with a database that outlives its versions.

Owns the order of a start: the database is brought to this MLflow's schema first, and is copied before another version may change it.
"""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from typing import Any, Dict, List, Mapping, Sequence

DATABASE, VERSION = "mlflow.db", "version"


def main(argv: Sequence[str]) -> int:
    with open(argv[0]) as file:
        spec = json.load(file)
    folder, socket = spec["folder"], spec["socket"]
    if os.path.exists(socket):
        os.unlink(socket)  # of the process before
    prepare(folder, version())
    os.execve(sys.executable, command(spec), {**os.environ, **variables()})


def version() -> str:
    """Of the MLflow that is installed here."""
    from importlib.metadata import version as of

    return of("mlflow")


def variables() -> Dict[str, str]:
    """MLflow runs jobs of its own kind, which nobody here asked for, and counts its users, unless it is told not to."""
    return {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}


def command(spec: Mapping[str, Any]) -> List[str]:
    """Artifacts are the clients' own business with S3, under their own keys: the server passes none on."""
    return [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--backend-store-uri",
        uri(spec["folder"]),
        "--default-artifact-root",
        spec["artifacts"],
        "--no-serve-artifacts",
        "--static-prefix",
        spec["prefix"],
        "--workers",
        str(spec["workers"]),
        "--uvicorn-opts",
        "--uds {} --log-level warning".format(spec["socket"]),
    ]


def uri(folder: str) -> str:
    return "sqlite:///" + os.path.join(folder, DATABASE)


def prepare(folder: str, now: str) -> None:
    """Bring the database of another MLflow to this one's schema; its copy stays beside it."""
    database, told = os.path.join(folder, DATABASE), os.path.join(folder, VERSION)
    before = ""
    if os.path.exists(told):
        with open(told) as file:
            before = file.read().strip()
    if os.path.exists(database) and before != now:
        print("MLflow {} made the database; {} brings it to its own schema.".format(before or "?", now), flush=True)
        copied(database, "{}.{}".format(database, before or "before"))
        subprocess.run([sys.executable, "-m", "mlflow", "db", "upgrade", uri(folder)], check=True)
    part = told + ".part"
    with open(part, "w") as file:
        file.write(now)
    os.replace(part, told)


def copied(database: str, to: str) -> None:
    """A whole copy, whatever was written last; the one that is there already is older, and stays."""
    if os.path.exists(to):
        return
    part = to + ".part"
    if os.path.exists(part):
        os.unlink(part)
    with sqlite3.connect(database) as source, sqlite3.connect(part) as target:
        source.backup(target)
    shutil.move(part, to)


if __name__ == "__main__":
    del sys.path[0]  # the current folder, which `-m` puts there
    sys.exit(main(sys.argv[1:]))
