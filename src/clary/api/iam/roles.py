"""Roles as IAM shows them: records. Source: IAM API reference.

Policies are stored and shown, but not enforced (`domain/access/roles.py`). Managed policies: `api/iam/policies.py`; users and
their keys: `api/iam/users.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from clary.api import paging, records
from clary.api.call import Call, Params
from clary.api.errors import ApiError
from clary.api.records import amend
from clary.api.registry import operation
from clary.domain.access.roles import (
    SAGEMAKER,
    check_policy,
    new_role,
    parse_policy,
    parse_role,
    simulate,
    trusting,
    unique_id,
)
from clary.domain.errors import AlreadyExists, InUse, Invalid, NotFound
from clary.domain.ids import belongs, stored
from clary.domain.resources import Query, Record, Scope

PAGE = 100

# -- roles -------------------------------------------------------------------------------------------------------------------------


@operation("iam", "CreateRole", again=lambda call, record: {"Role": _role_words(call, record)})
async def create_role(call: Call, params: Params) -> Params:
    document_of(params["AssumeRolePolicyDocument"], trust=True)
    check_tags(params.get("Tags", ()))
    taken = f"Role with name {params['RoleName']} already exists."
    if await is_taken(call, "role", params["RoleName"]):
        raise AlreadyExists(taken)
    record = await records.add(call, new_role(call.scope.account, params, call.now), taken)
    return {"Role": _role_words(call, record)}


@operation("iam", "GetRole")
async def get_role(call: Call, params: Params) -> Params:
    return {"Role": _role_words(call, await _role(call, params))}


@operation("iam", "ListRoles")
async def list_roles(call: Call, params: Params) -> Params:
    found, more = await listed(call, params, "role")
    shown = [record for record in found if record.document["request"]["Path"].startswith(params.get("PathPrefix", "/"))]
    return {"Roles": [_role_words(call, record, brief=True) for record in shown], **more}


@operation("iam", "DeleteRole")
async def delete_role(call: Call, params: Params) -> Params:
    record = await _role(call, params)
    if record.document["attached"]:
        raise InUse("Cannot delete entity, must detach all policies first.")
    if record.document["inline"]:
        raise InUse("Cannot delete entity, must delete policies first.")
    await call.store.remove(record)
    return {}


@operation("iam", "UpdateRole")
async def update_role(call: Call, params: Params) -> Params:
    changed = {name: params[name] for name in ("Description", "MaxSessionDuration") if name in params}
    await _change(call, params, lambda role: {"request": {**role["request"], **changed}})
    return {}


@operation("iam", "UpdateAssumeRolePolicy")
async def update_assume_role_policy(call: Call, params: Params) -> Params:
    document_of(params["PolicyDocument"], trust=True)
    changed = {"AssumeRolePolicyDocument": params["PolicyDocument"]}
    await _change(call, params, lambda role: {"request": {**role["request"], **changed}})
    return {}


@operation("iam", "TagRole")
async def tag_role(call: Call, params: Params) -> Params:
    check_tags(params["Tags"])

    def tagged(role: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"tags": list({tag["Key"]: tag for tag in (*role["tags"], *params["Tags"])}.values())}

    await _change(call, params, tagged)
    return {}


@operation("iam", "UntagRole")
async def untag_role(call: Call, params: Params) -> Params:
    gone = params["TagKeys"]
    await _change(call, params, lambda role: {"tags": [tag for tag in role["tags"] if tag["Key"] not in gone]})
    return {}


@operation("iam", "ListRoleTags")
async def list_role_tags(call: Call, params: Params) -> Params:
    return cut(call, params, "Tags", (await _role(call, params)).document["tags"])


@operation("iam", "ListInstanceProfilesForRole")
async def list_instance_profiles_for_role(call: Call, params: Params) -> Params:
    await _role(call, params)
    return cut(call, params, "InstanceProfiles", [])


# -- policies of a role ------------------------------------------------------------------------------------------------------------


@operation("iam", "AttachRolePolicy")
async def attach_role_policy(call: Call, params: Params) -> Params:
    """AWS's own policies are known by name; a customer's must have been created."""
    await _role(call, params)
    arn = params["PolicyArn"]
    policy = parse_policy(arn)
    if policy is None or not belongs(arn, call.scope.region):
        raise Invalid(f"ARN {arn} is not valid.")
    owner, _, name = policy
    mine = owner == call.scope.account and await call.store.get("policy", call.scope_of("policy"), name)
    if owner != "aws" and not mine:
        raise NotFound(f"Policy {arn} does not exist or is not attachable.")
    await _change(call, params, lambda role: {"attached": list(dict.fromkeys([*role["attached"], stored(arn)]))})
    return {}


@operation("iam", "DetachRolePolicy")
async def detach_role_policy(call: Call, params: Params) -> Params:
    record, arn = await _role(call, params), params["PolicyArn"]
    if call.shown(arn) != arn or stored(arn) not in record.document["attached"]:
        raise NotFound(f"Policy {arn} was not found.")
    await _change(call, params, lambda role: {"attached": [each for each in role["attached"] if each != stored(arn)]})
    return {}


@operation("iam", "ListAttachedRolePolicies")
async def list_attached_role_policies(call: Call, params: Params) -> Params:
    record, prefix = await _role(call, params), params.get("PathPrefix", "/")
    found = []
    for arn in record.document["attached"]:
        policy = parse_policy(arn)
        if policy is not None and policy[1].startswith(prefix):
            found.append({"PolicyName": policy[2], "PolicyArn": call.shown(arn)})
    return cut(call, params, "AttachedPolicies", found)


@operation("iam", "PutRolePolicy")
async def put_role_policy(call: Call, params: Params) -> Params:
    document_of(params["PolicyDocument"], trust=False)
    added = {params["PolicyName"]: params["PolicyDocument"]}
    await _change(call, params, lambda role: {"inline": {**role["inline"], **added}})
    return {}


@operation("iam", "GetRolePolicy")
async def get_role_policy(call: Call, params: Params) -> Params:
    record, name = await _role(call, params), params["PolicyName"]
    if name not in record.document["inline"]:
        raise NotFound(f"The role policy with name {name} cannot be found.")
    return {"RoleName": record.name, "PolicyName": name, "PolicyDocument": encoded(record.document["inline"][name])}


@operation("iam", "ListRolePolicies")
async def list_role_policies(call: Call, params: Params) -> Params:
    return cut(call, params, "PolicyNames", sorted((await _role(call, params)).document["inline"]))


@operation("iam", "DeleteRolePolicy")
async def delete_role_policy(call: Call, params: Params) -> Params:
    record, name = await _role(call, params), params["PolicyName"]
    if name not in record.document["inline"]:
        raise NotFound(f"The role policy with name {name} cannot be found.")
    await _change(
        call, params, lambda role: {"inline": {key: text for key, text in role["inline"].items() if key != name}}
    )
    return {}


@operation("iam", "SimulatePrincipalPolicy")
async def simulate_principal_policy(call: Call, params: Params) -> Params:
    """What Clary would answer such a request. A role that was not created is accepted: any role ARN of the account works, and
    SDK v3, which asks this first, then wants to read its trust."""
    source = params["PolicySourceArn"]
    role, user = parse_role(source), source.partition(call.shown(f"arn:aws:iam::{call.scope.account}:user/"))
    if (role is None and not user[2]) or not belongs(source, call.scope.region):
        raise Invalid(f"Invalid Entity Arn: {source} does not clearly define entity type and name.")
    if role is not None and role[0] != call.scope.account:
        raise NotFound(f"The role with name {role[2]} cannot be found.")
    if role is not None:
        await _take_up(call, *role)
    results = [
        {
            "EvalActionName": action,
            "EvalResourceName": resource,
            "EvalDecision": "allowed" if simulate(call.scope.account, resource) else "implicitDeny",
            "MatchedStatements": [],
            "MissingContextValues": [],
        }
        for action in params["ActionNames"]
        for resource in params.get("ResourceArns") or ["*"]
    ]
    return cut(call, params, "EvaluationResults", results)


async def _take_up(call: Call, account: str, path: str, name: str) -> None:
    if await call.store.get("role", Scope(account, ""), name) is not None:
        return
    request = {
        "RoleName": name,
        "Path": path,
        "AssumeRolePolicyDocument": trusting(SAGEMAKER),
        "Description": "Taken up by Clary when a client asked what it may do.",
    }
    try:
        await call.store.add(new_role(account, request, call.now))
    except AlreadyExists:
        pass


# -- words -------------------------------------------------------------------------------------------------------------------------


def document_of(text: str, *, trust: bool) -> Mapping[str, Any]:
    """A policy document, parsed; IAM has a code of its own for a bad one."""
    try:
        return check_policy(text, trust=trust)
    except Invalid as error:
        raise ApiError("MalformedPolicyDocument", error.message) from error


async def is_taken(call: Call, kind: str, name: str) -> bool:
    """Whether a record has that name in another case: IAM tells no names apart by case."""
    query = Query(kind, call.scope_of(kind), name_contains=name, sort_by="name", descending=False, limit=1000)
    return any(record.name.lower() == name.lower() for record in await call.store.page(query))


def check_tags(tags: Sequence[Mapping[str, str]]) -> None:
    """IAM takes each key once, whatever its case."""
    keys = [tag["Key"].lower() for tag in tags]
    if len(keys) != len(set(keys)):
        raise Invalid("Duplicate tag keys found. Please note that Tag keys are case insensitive.")


def encoded(document: str) -> str:
    """Policy documents are URL-encoded in answers (RFC 3986); SDKs decode them."""
    return quote(document, safe="")


async def listed(call: Call, params: Params, kind: str) -> tuple[list[Record], Params]:
    """A page of records by name, with IAM's Marker."""
    bound = _bound(params)
    after, limit = _resumed(call, bound), params.get("MaxItems", PAGE)
    query = Query(kind, call.scope_of(kind), sort_by="name", descending=False, limit=limit, after=after)
    records, more = await paging.page(call, bound, query)
    if not more:
        return records, {"IsTruncated": False}
    return records, {"IsTruncated": True, "Marker": more["NextToken"]}


def cut(call: Call, params: Params, member: str, items: Sequence[Any]) -> Params:
    """One page of a listed whole, with IsTruncated and IAM's Marker."""
    bound = _bound(params)
    after = _resumed(call, bound)
    first, limit = int(after[0]) if after is not None else 0, params.get("MaxItems", PAGE)
    shown: Params = {member: list(items[first : first + limit]), "IsTruncated": first + limit < len(items)}
    if shown["IsTruncated"]:
        shown["Marker"] = paging.token(call, bound, (float(first + limit), ""))
    return shown


def _bound(params: Params) -> Params:
    """As `api.paging` names it: tokens are bound to every parameter but these."""
    bound = {key: value for key, value in params.items() if key not in ("Marker", "MaxItems")}
    return {**bound, "NextToken": params.get("Marker")}


def _resumed(call: Call, bound: Params) -> paging.After | None:
    try:
        return paging.resume(call, bound)
    except Invalid as error:
        raise Invalid(error.message.replace("NextToken", "Marker")) from None


async def _role(call: Call, params: Params) -> Record:
    record = await call.store.get("role", call.scope_of("role"), params["RoleName"])
    if record is None:
        raise NotFound(f"The role with name {params['RoleName']} cannot be found.")
    return record


async def _change(call: Call, params: Params, change: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
    """Change members of a role's document; again when another writer was first."""

    def changed(record: Record) -> Record:
        return replace(record, modified=call.now, document={**record.document, **change(record.document)})

    await amend(call, lambda: _role(call, params), changed)


def _role_words(call: Call, record: Record, *, brief: bool = False) -> Params:
    """`brief`: lists leave the tags and the boundary out."""
    request = record.document["request"]
    words = {
        "Path": request["Path"],
        "RoleName": record.name,
        "RoleId": unique_id("AROA", record.arn),
        "Arn": call.shown(record.arn),
        "CreateDate": record.created,
        "AssumeRolePolicyDocument": encoded(request["AssumeRolePolicyDocument"]),
        "MaxSessionDuration": request["MaxSessionDuration"],
    }
    if "Description" in request:
        words["Description"] = request["Description"]
    if brief:
        return words
    if request.get("PermissionsBoundary"):
        words["PermissionsBoundary"] = {
            "PermissionsBoundaryType": "PermissionsBoundaryPolicy",
            "PermissionsBoundaryArn": request["PermissionsBoundary"],
        }
    return {**words, "Tags": list(record.document["tags"]), "RoleLastUsed": {}}
