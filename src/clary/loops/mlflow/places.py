"""Where an MLflow server's process finds things: its folder and socket on the host, and its workload."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from clary.domain.access.roles import assumed_arn, parse_role
from clary.domain.errors import Unavailable
from clary.domain.machine.workload import Environment, Files, LogTarget, Mount, MountMode, Workload
from clary.domain.mlflow import servers
from clary.domain.resources import Record
from clary.loops.core.sandboxes import LIBRARY, bundle_files, bundle_variables
from clary.ports import Credential

PREFIX = "mlflow-"  # of the keys of servers' runs
RUNTIME = "mlflow-server"
_FOLDER, _SOCKETS, _SPEC = "/var/mlflow", "/run/clary-mlflow", "/opt/clary/in"


@dataclass(frozen=True, slots=True)
class MlflowSettings:
    """`folder` keeps the databases, `sockets` (a short path) has the sockets. `endpoint` is AWS_ENDPOINT_URL as a sandbox reaches it,
    `ca_bundle` says the PEM text that goes with it under TLS; `passed` are variables of `clary up` that sandboxes see."""

    folder: str
    sockets: str
    endpoint: str
    passed: Mapping[str, str] = field(default_factory=dict)
    ca_bundle: Callable[[], str] = str


@dataclass(frozen=True, slots=True)
class ServerPlace:
    """One server's folders on the host."""

    data: Path
    sockets: Path

    @classmethod
    def of(cls, settings: MlflowSettings, record: Record) -> ServerPlace:
        id_ = record.document["id"]
        return cls(Path(settings.folder) / id_, Path(settings.sockets) / id_)

    @property
    def socket(self) -> str:
        return str(self.sockets / "s")

    def make(self) -> None:
        """Nobody but the sandbox's user, whom the backend lets in, and root."""
        if len(self.socket) > 107:
            raise Unavailable(
                f"The path {self.socket} is too long for a socket; give Clary a state folder with a shorter path"
            )
        for folder in (self.data, self.sockets):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def remove(self) -> None:
        for folder in (self.sockets, self.data):
            shutil.rmtree(folder, ignore_errors=True)


def key(record: Record, attempt: int) -> str:
    return f"{PREFIX}{record.document['id']}-{attempt}"


def workload(record: Record, settings: MlflowSettings, environment: Environment, attempt: int) -> Workload:
    """The server in its sandbox. Its role's credentials go beside it (`secrets`)."""
    where, size = ServerPlace.of(settings, record), servers.size_of(record)
    spec = {
        "folder": _FOLDER,
        "socket": f"{_SOCKETS}/s",
        "artifacts": servers.artifacts(record),
        "prefix": servers.prefix(record),
        "workers": size.workers,
    }
    bundle = settings.ca_bundle()
    return Workload(
        key=key(record, attempt),
        command=(environment.python, "-m", "clary.toolkit.mlflow_server", f"{_SPEC}/spec.json"),
        environment={
            **settings.passed,
            "PATH": f"{environment.path}/bin:/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH": LIBRARY,
            "PYTHONUNBUFFERED": "1",
            "HOME": _FOLDER,
            "AWS_ENDPOINT_URL": settings.endpoint,
            "AWS_REGION": record.scope.region,
            "AWS_DEFAULT_REGION": record.scope.region,
            **bundle_variables(bundle),
        },
        packages=environment,
        mounts=(
            Mount(str(where.data), _FOLDER, MountMode.READ_WRITE),
            Mount(str(where.sockets), _SOCKETS, MountMode.READ_WRITE),
        ),
        files=(Files("in", _SPEC, texts={"spec.json": json.dumps(spec)}), *bundle_files(bundle)),
        logs=LogTarget(record.scope, servers.LOGS, record.document["id"]),
        cpu=size.cpu,
        memory=size.memory,
        hostname="mlflow",
        stop_grace=10.0,
    )


def secrets(credential: Credential) -> dict[str, str]:
    """The variables of a server's environment that are no part of its workload."""
    return {
        "AWS_ACCESS_KEY_ID": credential.access_key_id,
        "AWS_SECRET_ACCESS_KEY": credential.secret,
        "AWS_SESSION_TOKEN": credential.session_token,
    }


def principal(record: Record) -> str:
    """Whom the server's credentials speak for: a session of its role, named like it."""
    role = parse_role(record.document["request"]["RoleArn"])
    assert role is not None  # checked when the server was made
    return assumed_arn(record.scope.account, role[2], record.name.rpartition("/")[2][:64])
