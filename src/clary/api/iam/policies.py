"""Customer-managed policies: documents with a name, one version each. Stored and shown, but not enforced (`domain/access/roles.py`)."""

from __future__ import annotations

from clary.api import records
from clary.api.call import Call, Params
from clary.api.iam.roles import cut, document_of, encoded, is_taken, listed
from clary.api.registry import operation
from clary.domain.access.roles import parse_policy, unique_id
from clary.domain.errors import AlreadyExists, InUse, NotFound
from clary.domain.resources import Query, Record

VERSION = "v1"


@operation("iam", "CreatePolicy", again=lambda call, record: {"Policy": _words(call, record, 0)})
async def create_policy(call: Call, params: Params) -> Params:
    document_of(params["PolicyDocument"], trust=False)
    name, path = params["PolicyName"], params.get("Path", "/")
    arn = f"arn:aws:iam::{call.scope.account}:policy{path}{name}"
    document = {"request": {**params, "Path": path}, "tags": list(params.get("Tags", []))}
    record = Record("policy", call.scope_of("policy"), name, arn, "", call.now, call.now, document)
    taken = f"A policy called {name} already exists. Duplicate names are not allowed."
    if await is_taken(call, "policy", name):
        raise AlreadyExists(taken)
    record = await records.add(call, record, taken)
    return {"Policy": _words(call, record, 0)}


@operation("iam", "GetPolicy")
async def get_policy(call: Call, params: Params) -> Params:
    record = await _policy(call, params)
    attached = len(await _holders(call, record.arn))
    return {"Policy": {**_words(call, record, attached), "Tags": list(record.document["tags"])}}


@operation("iam", "GetPolicyVersion")
async def get_policy_version(call: Call, params: Params) -> Params:
    record = await _policy(call, params)
    if params["VersionId"] != VERSION:
        raise NotFound(
            f"Policy {params['PolicyArn']} version {params['VersionId']} does not exist or is not attachable."
        )
    return {"PolicyVersion": {**_version(record), "Document": encoded(record.document["request"]["PolicyDocument"])}}


@operation("iam", "ListPolicyVersions")
async def list_policy_versions(call: Call, params: Params) -> Params:
    return cut(call, params, "Versions", [_version(await _policy(call, params))])


@operation("iam", "ListPolicies")
async def list_policies(call: Call, params: Params) -> Params:
    """The account's own. AWS's are known by name only and not listed."""
    if params.get("Scope") == "AWS" or params.get("PolicyUsageFilter") == "PermissionsBoundary":  # nobody's boundary
        return {"Policies": [], "IsTruncated": False}
    records, more = await listed(call, params, "policy")
    shown = []
    for record in records:
        attached = len(await _holders(call, record.arn))
        if record.document["request"]["Path"].startswith(params.get("PathPrefix", "/")) and (
            attached or not params.get("OnlyAttached")
        ):
            shown.append(_words(call, record, attached))
    return {"Policies": shown, **more}


@operation("iam", "DeletePolicy")
async def delete_policy(call: Call, params: Params) -> Params:
    record = await _policy(call, params)
    if await _holders(call, record.arn):
        raise InUse("Cannot delete a policy attached to entities.")
    await call.store.remove(record)
    return {}


async def _policy(call: Call, params: Params) -> Record:
    arn = params["PolicyArn"]
    parsed = parse_policy(arn)
    record = await call.store.get("policy", call.scope_of("policy"), parsed[2]) if parsed else None
    if record is None or call.shown(record.arn) != arn:
        raise NotFound(f"Policy {arn} was not found.")
    return record


async def _holders(call: Call, arn: str) -> list[str]:
    """Names of the roles that the policy is attached to."""
    query = Query("role", call.scope_of("role"), sort_by="name", descending=False, limit=1000)
    found: list[str] = []
    while True:
        records = await call.store.page(query)
        found += [record.name for record in records if arn in record.document["attached"]]
        if len(records) < query.limit:
            return found
        last = records[-1].name
        query = Query("role", query.scope, sort_by="name", descending=False, limit=1000, after=(last, last))


def _version(record: Record) -> Params:
    return {"VersionId": VERSION, "IsDefaultVersion": True, "CreateDate": record.created}


def _words(call: Call, record: Record, attached: int) -> Params:
    request = record.document["request"]
    words = {
        "PolicyName": record.name,
        "PolicyId": unique_id("ANPA", record.arn),
        "Arn": call.shown(record.arn),
        "Path": request["Path"],
        "DefaultVersionId": VERSION,
        "AttachmentCount": attached,
        "PermissionsBoundaryUsageCount": 0,
        "IsAttachable": True,
        "CreateDate": record.created,
        "UpdateDate": record.modified,
    }
    return {**words, "Description": request["Description"]} if request.get("Description") else words
