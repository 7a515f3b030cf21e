"""MLflow apps: a server of the same kind, which is named by its ARN, always runs, and may be an account's or a domain's default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clary.api import records
from clary.api.call import Call, Params
from clary.api.registry import operation
from clary.api.sagemaker import mlflow_tracking_servers as tracking
from clary.domain.errors import Invalid, NotFound
from clary.domain.fields import table
from clary.domain.lifecycle import MlflowFact
from clary.domain.mlflow import servers
from clary.domain.resources import Record

_SHOWN = (
    "Name",
    "ArtifactStoreUri",
    "MlflowVersion",
    "RoleArn",
    "ModelRegistrationMode",
    "AccountDefaultStatus",
    "DefaultDomainIdList",
    "WeeklyMaintenanceWindowStart",
)
_DEFAULTS = {
    "ModelRegistrationMode": "AutoModelRegistrationDisabled",
    "AccountDefaultStatus": "DISABLED",
    "WeeklyMaintenanceWindowStart": "Tue:03:30",
}


async def _find(call: Call, arn: str) -> Record:
    record = await call.store.by_arn(arn)
    if record is None or record.kind != servers.APP or record.scope != call.scope:
        raise NotFound(f"MLflow app {arn} does not exist.")
    return record


@operation("sagemaker", "CreateMlflowApp", again=lambda _, record: {"Arn": record.arn})
async def create_mlflow_app(call: Call, params: Params) -> Params:
    """Record it as Creating; the loop starts MLflow in a sandbox of its own, with a database of its own."""
    table.check("CreateMlflowApp", params, call.settings.strict_fields)
    record = await tracking.record_of(call, servers.APP, servers.app_name(params["Name"]), params, _DEFAULTS)
    return {"Arn": record.arn}


@operation("sagemaker", "DescribeMlflowApp")
async def describe_mlflow_app(call: Call, params: Params) -> Params:
    record = await _find(call, params["Arn"])
    request, document = record.document["request"], record.document
    return {
        "Arn": record.arn,
        **{member: request[member] for member in _SHOWN if member in request},
        "Status": record.status,
        "CreationTime": record.created,
        "LastModifiedTime": record.modified,
        "CreatedBy": records.user_context(document["by"]),
        **({"LastModifiedBy": records.user_context(document["changed_by"])} if document.get("changed_by") else {}),
    }


@operation("sagemaker", "ListMlflowApps")
async def list_mlflow_apps(call: Call, params: Params) -> Params:
    of_domain, default = params.get("DefaultForDomainId"), params.get("AccountDefaultStatus")

    def keep(request: Mapping[str, Any]) -> bool:
        in_domain = not of_domain or of_domain in (request.get("DefaultDomainIdList") or ())
        return in_domain and (not default or request["AccountDefaultStatus"] == default)

    common = {**params, "StatusEquals": params.get("Status")}
    found, more = await tracking.listed(call, params, common, servers.APP, keep)
    summaries = [
        {
            "Arn": each.arn,
            "Name": each.document["request"]["Name"],
            "Status": each.status,
            "CreationTime": each.created,
            "LastModifiedTime": each.modified,
            "MlflowVersion": each.document["request"]["MlflowVersion"],
        }
        for each in found
    ]
    return {"Summaries": summaries, **more}


@operation("sagemaker", "UpdateMlflowApp")
async def update_mlflow_app(call: Call, params: Params) -> Params:
    """Start MLflow again with what is new. Its database stays."""
    table.check("UpdateMlflowApp", params, call.settings.strict_fields)
    given = {name: value for name, value in params.items() if name != "Arn"}
    if not given:
        raise Invalid("Name what is to be changed: ArtifactStoreUri, ModelRegistrationMode, or another member.")
    record = await _find(call, params["Arn"])
    return {"Arn": (await tracking.updated(call, servers.APP, record.name, given)).arn}


@operation("sagemaker", "DeleteMlflowApp")
async def delete_mlflow_app(call: Call, params: Params) -> Params:
    """End MLflow and remove its database. Artifacts in S3 stay."""
    record = await records.amend(
        call,
        lambda: _find(call, params["Arn"]),
        lambda old: servers.advanced(old, MlflowFact.DELETE_ASKED, call.now),
    )
    return {"Arn": record.arn}


@operation("sagemaker", "CreatePresignedMlflowAppUrl")
async def create_presigned_mlflow_app_url(call: Call, params: Params) -> Params:
    """A URL that opens MLflow's pages in a browser: it is good for one beginning, and the session lasts for hours."""
    return {"AuthorizedUrl": tracking.authorized(call, params, await _find(call, params["Arn"]))}
