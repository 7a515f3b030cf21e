"""The sandbox of an MLflow server as a value."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.domain.mlflow.test_servers import server

from clary.domain.errors import Unavailable
from clary.domain.machine.workload import Environment, LogTarget, MountMode
from clary.domain.mlflow import servers
from clary.loops.mlflow import places
from clary.loops.mlflow.places import MlflowSettings, ServerPlace
from clary.testing.keys import MemoryKeys

SETTINGS = MlflowSettings(
    folder="/state/mlflow", sockets="/run/x", endpoint="http://127.0.0.1:1", ca_bundle=lambda: "PEM"
)


def test_its_database_and_socket_are_its_own() -> None:
    record = server(TrackingServerSize="Medium")
    made = places.workload(record, SETTINGS, Environment("mlflow-server", "0"), 3)
    assert made.key == "mlflow-abc-3"
    own = [(mount.source, mount.mode) for mount in made.mounts if mount.mode is MountMode.READ_WRITE]
    assert own == [("/state/mlflow/abc", MountMode.READ_WRITE), ("/run/x/abc", MountMode.READ_WRITE)]
    spec = json.loads(made.files[0].texts["spec.json"])
    assert (spec["artifacts"], spec["prefix"], spec["workers"]) == ("s3://b/runs", "/_mlflow/abc", 2)
    assert made.memory == servers.SIZES["Medium"].memory
    assert made.logs == LogTarget(record.scope, servers.LOGS, "abc")
    assert made.environment["AWS_CA_BUNDLE"].rpartition("/")[0] in {files.target for files in made.files}
    assert "PEM" in {text for files in made.files for text in files.texts.values()}


def test_its_roles_keys_are_no_part_of_it() -> None:
    made = places.workload(server(), SETTINGS, Environment("mlflow-server", "0"), 1)
    secrets = places.secrets(MemoryKeys().issue("000000000000", places.principal(server()), 60.0, 0.0))
    assert set(secrets) == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
    assert not set(secrets) & set(made.environment)
    assert places.principal(server()) == "arn:aws:sts::000000000000:assumed-role/r/t"


def test_folders_come_and_go(tmp_path: Path) -> None:
    where = ServerPlace.of(MlflowSettings(str(tmp_path / "data"), str(tmp_path / "s"), ""), server())
    where.make()
    assert where.data.stat().st_mode & 0o777 == 0o700
    where.remove()
    assert not where.data.exists()
    assert not where.sockets.exists()


def test_a_path_that_is_too_long_for_a_socket_is_said(tmp_path: Path) -> None:
    long = MlflowSettings(str(tmp_path), "/" + "x" * 120, "")
    with pytest.raises(Unavailable, match="too long for a socket"):
        ServerPlace.of(long, server()).make()
