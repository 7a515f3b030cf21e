"""MLflow servers: what their records hold, where they answer, and the rules of their Create and Update. Pure.

A tracking server and an app are the same here: the real MLflow in a sandbox of its own, with a database of its own. Sources: SageMaker's
API reference of both, and what the plugin `sagemaker-mlflow` sends (reference/lifecycle.md 7.4).
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from clary.domain.errors import Invalid
from clary.domain.lifecycle import MLFLOW, MlflowFact, MlflowStatus, advance
from clary.domain.resources import Record
from clary.domain.s3 import Location, parse_uri

SERVER, APP = "mlflow-tracking-server", "mlflow-app"
KINDS = (SERVER, APP)
HEADERS = {
    "x-mlflow-sm-tracking-server-arn": SERVER,
    "x-sm-mlflow-app-arn": APP,
}  # by which the plugin says whom it asks
SIGNED = {"sagemaker-mlflow": SERVER, "sagemaker": APP}  # the service in the plugin's signature
LOGS = "/aws/sagemaker/MlflowTrackingServers"
WANTED = (
    MlflowStatus.CREATING,
    MlflowStatus.CREATED,
    MlflowStatus.STARTING,
    MlflowStatus.STARTED,
    MlflowStatus.UPDATING,
    MlflowStatus.UPDATED,
)  # of servers that shall run
SERVES = (MlflowStatus.CREATED, MlflowStatus.STARTED, MlflowStatus.UPDATED)
LOOKED_AFTER = (*WANTED, MlflowStatus.STOPPING, MlflowStatus.DELETING)
PAGES = "/_mlflow"  # no bucket has such a name
_MODES = ("AutoModelRegistrationEnabled", "AutoModelRegistrationDisabled")
_WINDOW = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun):([01][0-9]|2[0-3]):[0-5][0-9]")


@dataclass(frozen=True, slots=True)
class ServerSize:
    """What a server gets: memory in bytes, vCPUs, and MLflow's worker processes."""

    memory: int
    cpu: float
    workers: int


SIZES: Mapping[str, ServerSize] = {
    "Small": ServerSize(2 << 30, 1.0, 1),
    "Medium": ServerSize(4 << 30, 2.0, 2),
    "Large": ServerSize(8 << 30, 4.0, 4),
}


def size_of(record: Record) -> ServerSize:
    return SIZES[record.document["request"].get("TrackingServerSize") or "Small"]


def app_name(name: str) -> str:
    """What an app is called in its ARN. The same for the same Name, which no two apps of an account and region have."""
    return "app-" + base64.b32encode(hashlib.sha256(name.encode()).digest()).decode()[:12]


def prefix(record: Record) -> str:
    """Of the paths of its pages, and of all that it answers itself: `/_mlflow/ID`."""
    return f"{PAGES}/{record.document['id']}"


def artifacts(record: Record) -> str:
    """Where runs keep their files: an s3:// URI."""
    return str(record.document["request"]["ArtifactStoreUri"])


def store_of(request: Mapping[str, Any]) -> Location:
    """Where runs keep their files. Invalid for what is no place in S3."""
    return parse_uri(request["ArtifactStoreUri"])


def registers(record: Record) -> bool:
    """Whether its registered models become versions in SageMaker's registry."""
    request = record.document["request"]
    return bool(request.get("AutomaticModelRegistration")) or request.get("ModelRegistrationMode") == _MODES[0]


def document(request: Mapping[str, Any], id_: str, tags: Sequence[Mapping[str, str]], by: str) -> dict[str, Any]:
    """What a new record holds. `attempt` counts starts of its process, `deaths` those that ended by themselves one after the other."""
    return {
        "id": id_,
        "request": dict(request),
        "tags": list(tags),
        "by": by,
        "attempt": 0,
        "handle": "",
        "deaths": 0,
    }


def check(params: Mapping[str, Any]) -> None:
    """Invalid for what botocore's shapes let through."""
    if params.get("ArtifactStoreUri"):
        store_of(params)
    window = params.get("WeeklyMaintenanceWindowStart")
    if window and not _WINDOW.fullmatch(window):
        raise Invalid(f"WeeklyMaintenanceWindowStart {window} is no time of a week such as Tue:03:30.")


def advanced(record: Record, fact: MlflowFact, now: float, failure: str = "") -> Record:
    """The record after a fact; IllegalTransition where its status does not admit it. `since`: when it began to be what it is."""
    changed = {**record.document, "since": now, "failure": failure}
    return replace(record, status=advance(MLFLOW, record.status, fact), modified=now, document=changed)


def put(record: Record, **values: Any) -> Record:
    return replace(record, document={**record.document, **values})
