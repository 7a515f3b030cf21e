"""MLflow tracking servers. Handlers record what is asked; the loop of `loops/mlflow` runs the server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from clary.api import paging, records, tagging
from clary.api.call import Call, Params
from clary.api.registry import operation
from clary.domain.errors import Invalid
from clary.domain.fields import table
from clary.domain.lifecycle import MlflowFact
from clary.domain.mlflow import servers, visits
from clary.domain.mlflow.visits import Visit
from clary.domain.resources import Record

_SHOWN = (
    "ArtifactStoreUri",
    "TrackingServerSize",
    "MlflowVersion",
    "RoleArn",
    "WeeklyMaintenanceWindowStart",
    "AutomaticModelRegistration",
    "S3BucketOwnerAccountId",
    "S3BucketOwnerVerification",
)
_DEFAULTS = {
    "TrackingServerSize": "Small",
    "WeeklyMaintenanceWindowStart": "Tue:03:30",
    "AutomaticModelRegistration": False,
}


async def record_of(call: Call, kind: str, name: str, params: Params, defaults: Mapping[str, Any]) -> Record:
    """Record a new server or app as Creating. Invalid for a bucket that is not there."""
    servers.check(params)
    records.check_role(call, params["RoleArn"])
    request = {**defaults, **{member: value for member, value in params.items() if member != "Tags"}}
    location = servers.store_of(request)
    if not await call.ports.artifacts.of(call.scope.account).exists(location.bucket):
        raise Invalid(f"ArtifactStoreUri: the bucket {location.bucket} does not exist.")
    document = servers.document(
        {**request, "MlflowVersion": version(call)},
        call.new_code(12),
        tagging.checked(params.get("Tags")),
        call.principal,
    )
    return await records.add(call, records.new(call, kind, name, document, "Creating"))


def version(call: Call) -> str:
    """Of the MLflow that runs: there is one."""
    for each in call.ports.runtimes.all():
        if each.name == "mlflow-server":
            return each.version
    return ""


@operation("sagemaker", "CreateMlflowTrackingServer", again=lambda _, record: {"TrackingServerArn": record.arn})
async def create_mlflow_tracking_server(call: Call, params: Params) -> Params:
    """Record it as Creating; the loop starts MLflow in a sandbox of its own, with a database of its own."""
    table.check("CreateMlflowTrackingServer", params, call.settings.strict_fields)
    wanted = params.get("MlflowVersion")
    if wanted and wanted.split(".")[0] != version(call).split(".")[0]:
        raise Invalid(
            f"MlflowVersion {wanted} is not here: Clary runs MLflow {version(call)}. Leave the member out, or name that one."
        )
    record = await record_of(call, servers.SERVER, params["TrackingServerName"], params, _DEFAULTS)
    return {"TrackingServerArn": record.arn}


@operation("sagemaker", "DescribeMlflowTrackingServer")
async def describe_mlflow_tracking_server(call: Call, params: Params) -> Params:
    record = await records.find(call, servers.SERVER, params["TrackingServerName"])
    request, document = record.document["request"], record.document
    return {
        "TrackingServerArn": record.arn,
        "TrackingServerName": record.name,
        **{member: request[member] for member in _SHOWN if member in request},
        "TrackingServerStatus": record.status,
        "IsActive": active(record),
        "TrackingServerUrl": url(call, record),
        "CreationTime": record.created,
        "LastModifiedTime": record.modified,
        "CreatedBy": records.user_context(document["by"]),
        **({"LastModifiedBy": records.user_context(document["changed_by"])} if document.get("changed_by") else {}),
    }


def active(record: Record) -> str:
    return "Active" if record.status in servers.SERVES else "Inactive"


def url(call: Call, record: Record) -> str:
    return f"{call.settings.address}{servers.prefix(record)}/"


@operation("sagemaker", "ListMlflowTrackingServers")
async def list_mlflow_tracking_servers(call: Call, params: Params) -> Params:
    common = {**params, "StatusEquals": params.get("TrackingServerStatus")}
    found, more = await listed(call, params, common, servers.SERVER)
    summaries = [
        {
            "TrackingServerArn": each.arn,
            "TrackingServerName": each.name,
            "CreationTime": each.created,
            "LastModifiedTime": each.modified,
            "TrackingServerStatus": each.status,
            "IsActive": active(each),
            "MlflowVersion": each.document["request"]["MlflowVersion"],
        }
        for each in found
    ]
    return {"TrackingServerSummaries": summaries, **more}


async def listed(
    call: Call,
    params: Params,
    common: Mapping[str, Any],
    kind: str,
    keep: Callable[[Mapping[str, Any]], bool] = lambda _: True,
) -> tuple[list[Record], Params]:
    """A page of servers or apps whose request is to be kept. `common` has paging's own names."""
    asked = {
        **{name: value for name, value in common.items() if value is not None},
        "CreationTimeAfter": params.get("CreatedAfter"),
        "CreationTimeBefore": params.get("CreatedBefore"),
    }
    query = paging.query(call, {name: value for name, value in asked.items() if value is not None}, kind)
    query = replace(query, after=paging.resume(call, params))
    wanted = params.get("MlflowVersion")

    def both(record: Record) -> bool:
        request = record.document["request"]
        return (not wanted or request["MlflowVersion"] == wanted) and keep(request)

    return await paging.page(call, params, query, both)


@operation("sagemaker", "UpdateMlflowTrackingServer")
async def update_mlflow_tracking_server(call: Call, params: Params) -> Params:
    """Start MLflow again with what is new. Its database stays."""
    table.check("UpdateMlflowTrackingServer", params, call.settings.strict_fields)
    given = {name: value for name, value in params.items() if name != "TrackingServerName"}
    record = await updated(call, servers.SERVER, params["TrackingServerName"], given)
    return {"TrackingServerArn": record.arn}


async def updated(call: Call, kind: str, name: str, given: Mapping[str, Any]) -> Record:
    """Record what is new, as Updating."""
    servers.check(given)
    if given.get("ArtifactStoreUri"):
        location = servers.store_of(given)
        if not await call.ports.artifacts.of(call.scope.account).exists(location.bucket):
            raise Invalid(f"ArtifactStoreUri: the bucket {location.bucket} does not exist.")

    def change(old: Record) -> Record:
        request = {**old.document["request"], **given}
        changed = servers.put(old, request=request, changed_by=call.principal, restart=True)
        return servers.advanced(changed, MlflowFact.UPDATE_ASKED, call.now)

    return await records.amend(call, lambda: records.find(call, kind, name), change)


@operation("sagemaker", "StartMlflowTrackingServer")
async def start_mlflow_tracking_server(call: Call, params: Params) -> Params:
    """Run MLflow again on the database that it left."""
    return {"TrackingServerArn": (await _changed(call, params, MlflowFact.START_ASKED)).arn}


@operation("sagemaker", "StopMlflowTrackingServer")
async def stop_mlflow_tracking_server(call: Call, params: Params) -> Params:
    """End MLflow; its database stays."""
    return {"TrackingServerArn": (await _changed(call, params, MlflowFact.STOP_ASKED)).arn}


@operation("sagemaker", "DeleteMlflowTrackingServer")
async def delete_mlflow_tracking_server(call: Call, params: Params) -> Params:
    """End MLflow and remove its database. Artifacts in S3 stay."""
    return {"TrackingServerArn": (await _changed(call, params, MlflowFact.DELETE_ASKED)).arn}


async def _changed(call: Call, params: Params, fact: MlflowFact) -> Record:
    def change(old: Record) -> Record:
        return servers.put(servers.advanced(old, fact, call.now), deaths=0, retry=0.0)

    return await records.amend(call, lambda: records.find(call, servers.SERVER, params["TrackingServerName"]), change)


@operation("sagemaker", "CreatePresignedMlflowTrackingServerUrl")
async def create_presigned_mlflow_tracking_server_url(call: Call, params: Params) -> Params:
    """A URL that opens MLflow's pages in a browser: it is good for one beginning, and the session lasts for hours."""
    record = await records.find(call, servers.SERVER, params["TrackingServerName"])
    return {"AuthorizedUrl": authorized(call, params, record)}


def authorized(call: Call, params: Params, record: Record) -> str:
    expires = params.get("ExpiresInSeconds", visits.EXPIRES)
    session = params.get("SessionExpirationDurationInSeconds", visits.SESSION)
    token = visits.token(call.settings.page_key, Visit(record.arn, call.now + expires, session))
    return f"{url(call, record)}auth?authToken={token}"
