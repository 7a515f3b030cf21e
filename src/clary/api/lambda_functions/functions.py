"""Lambda: functions are records, their code is an object in a bucket of the account. Source: Lambda API reference."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from clary.api import paging, records, tagging
from clary.api.call import Call, Params
from clary.api.errors import ApiError
from clary.api.lambda_functions import code
from clary.api.registry import operation
from clary.domain.access.roles import parse_role
from clary.domain.errors import AlreadyExists, Invalid, NotFound
from clary.domain.functions import record as functions
from clary.domain.ids import belongs
from clary.domain.resources import Query, Record, Scope

PAGE = 50


def runtimes(call: Call) -> dict[str, str]:
    """Lambda's names of the runtimes that are here -> Clary's own of them: those for plain Python, by their version."""
    own = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return {own: "python"} if any(each.name == "python" for each in call.ports.runtimes.all()) else {}


def created(call: Call, record: Record) -> Params:
    """What a Create answered."""
    return functions.described(record)


@operation("lambda", "CreateFunction", again=created)
async def create_function(call: Call, params: Params) -> Params:
    """Store the function and its code; the name must be free. It can be invoked at once."""
    name = functions.check_name(_own(call, params["FunctionName"]).name)
    if (params.get("PackageType") or "Zip") != "Zip":
        raise Invalid("PackageType must be Zip: images of containers are not run as functions here")
    for member in ("Runtime", "Handler"):
        if not params.get(member):
            raise Invalid(f"{member} is mandatory for functions created with deployment packages of type Zip.")
    known = runtimes(call)
    config = _config(call, params, known)
    tags = tagging.checked([{"Key": key, "Value": value} for key, value in (params.get("Tags") or {}).items()])
    if await call.store.get(functions.FUNCTION, call.scope, name) is not None:
        raise AlreadyExists(f"Function already exist: {name}")
    stored = await code.store(call, name, params["Code"])
    document = {
        "config": config,
        "code": stored,
        "runtime": known[config["Runtime"]],
        "revision": call.new_id(),
        "policy": [],
        "tags": tags,
    }
    record = records.new(call, functions.FUNCTION, name, document)
    try:
        record = await records.add(call, record, f"Function already exist: {name}")
    except AlreadyExists:
        await code.drop(call, stored)
        raise
    return functions.described(record)


@operation("lambda", "UpdateFunctionCode")
async def update_function_code(call: Call, params: Params) -> Params:
    """Replace the code. Invocations that run go on with the old one; DryRun checks and changes nothing."""
    record = await find(call, params["FunctionName"])
    _check_revision(record, params)
    stored = await code.store(call, record.name, params, keep=not params.get("DryRun"))
    if params.get("DryRun"):
        return functions.described(replace(record, document={**record.document, "code": stored}))
    old: list[Params] = []

    def change(current: Record) -> Record:
        _check_revision(current, params)
        old[:] = [current.document["code"]]
        config = dict(current.document["config"])
        if params.get("Architectures"):
            config["Architectures"] = params["Architectures"]
        document = {**current.document, "config": config, "code": stored, "revision": call.new_id()}
        return replace(current, modified=call.now, document=document)

    changed = await records.amend(call, lambda: find(call, params["FunctionName"]), change)
    await code.drop(call, old[0])
    return functions.described(changed)


@operation("lambda", "UpdateFunctionConfiguration")
async def update_function_configuration(call: Call, params: Params) -> Params:
    """Change what is given."""
    known = runtimes(call)
    config = _config(call, params, known)
    cleared = {name for name in functions.KEPT if name in params and params[name] in ({}, [], "")}
    if "Environment" in params and not (params["Environment"] or {}).get("Variables"):
        cleared.add("Environment")

    def change(current: Record) -> Record:
        _check_revision(current, params)
        kept = {name: value for name, value in current.document["config"].items() if name not in cleared}
        merged = {**kept, **{name: value for name, value in config.items() if name not in cleared}}
        document = {
            **current.document,
            "config": merged,
            "runtime": known.get(merged["Runtime"], current.document["runtime"]),
            "revision": call.new_id(),
        }
        return replace(current, modified=call.now, document=document)

    return functions.described(await records.amend(call, lambda: find(call, params["FunctionName"]), change))


@operation("lambda", "GetFunction")
async def get_function(call: Call, params: Params) -> Params:
    """The configuration, and a URL under which the code can be fetched for ten minutes."""
    record = await find(call, params["FunctionName"], params.get("Qualifier"))
    where = {"RepositoryType": "S3", "Location": code.url(call, record.document["code"])}
    return {"Configuration": functions.described(record), "Code": where, "Tags": _tags(record)}


@operation("lambda", "GetFunctionConfiguration")
async def get_function_configuration(call: Call, params: Params) -> Params:
    return functions.described(await find(call, params["FunctionName"], params.get("Qualifier")))


@operation("lambda", "ListFunctions")
async def list_functions(call: Call, params: Params) -> Params:
    marker = {"NextToken": params.get("Marker")}
    limit = min(params.get("MaxItems") or PAGE, PAGE)
    query = Query(
        functions.FUNCTION, call.scope, sort_by="name", descending=False, limit=limit, after=paging.resume(call, marker)
    )
    found, more = await paging.page(call, marker, query)
    told: Params = {"Functions": [functions.described(record) for record in found]}
    return {**told, "NextMarker": more["NextToken"]} if more else told


@operation("lambda", "DeleteFunction")
async def delete_function(call: Call, params: Params) -> Params:
    """Delete the function and its code. What runs goes on to its end."""
    name = (await find(call, params["FunctionName"], params.get("Qualifier"))).name
    record = await records.drop(call, functions.FUNCTION, name)
    await code.drop(call, record.document["code"])
    return {"StatusCode": 204}


# -- policies and tags --------------------------------------------------------------------------------------------------------------


@operation("lambda", "AddPermission")
async def add_permission(call: Call, params: Params) -> Params:
    """Record a statement. Clary does not enforce policies: rules, topics and schedules of the account may invoke its functions."""
    added: Params = {}

    def change(current: Record) -> Record:
        _check_revision(current, params)
        policy = current.document["policy"]
        if any(each["Sid"] == params["StatementId"] for each in policy):
            raise AlreadyExists(f"The statement id ({params['StatementId']}) provided already exists. Please provide a new "
                                "statement id, or remove the existing statement.")  # fmt: skip
        added.update(functions.statement(params, current))
        return replace(current, document={**current.document, "policy": [*policy, dict(added)]})

    await records.amend(call, lambda: find(call, params["FunctionName"], params.get("Qualifier")), change)
    return {"Statement": json.dumps(added)}


@operation("lambda", "RemovePermission")
async def remove_permission(call: Call, params: Params) -> Params:
    def change(current: Record) -> Record:
        _check_revision(current, params)
        policy = current.document["policy"]
        left = [each for each in policy if each["Sid"] != params["StatementId"]]
        if len(left) == len(policy):
            raise NotFound(f"Statement {params['StatementId']} is not found in resource policy.")
        return replace(current, document={**current.document, "policy": left})

    await records.amend(call, lambda: find(call, params["FunctionName"], params.get("Qualifier")), change)
    return {}


@operation("lambda", "GetPolicy")
async def get_policy(call: Call, params: Params) -> Params:
    record = await find(call, params["FunctionName"], params.get("Qualifier"))
    if not record.document["policy"]:
        raise NotFound("The resource you requested does not exist.")
    return {"Policy": functions.policy(record), "RevisionId": record.document["revision"]}


@operation("lambda", "TagResource")
async def tag_resource(call: Call, params: Params) -> Params:
    tags = [{"Key": key, "Value": value} for key, value in params["Tags"].items()]
    await tagging.add(call, _resource(call, params["Resource"]), tags)
    return {}


@operation("lambda", "UntagResource")
async def untag_resource(call: Call, params: Params) -> Params:
    await tagging.remove(call, _resource(call, params["Resource"]), params["TagKeys"])
    return {}


@operation("lambda", "ListTags")
async def list_tags(call: Call, params: Params) -> Params:
    return {"Tags": _tags(await _resource(call, params["Resource"])())}


def _resource(call: Call, arn: str) -> Callable[[], Any]:
    return lambda: find(call, unquote(arn))


def _tags(record: Record) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in record.document["tags"]}


def _config(call: Call, params: Params, known: dict[str, str]) -> dict[str, Any]:
    if params.get("Role"):
        role = parse_role(params["Role"])
        if role is None or role[0] != call.scope.account or not belongs(params["Role"], call.scope.region):
            raise Invalid("The role defined for the function cannot be assumed by Lambda.")
    return functions.checked(params, known)


# -- records ------------------------------------------------------------------------------------------------------------------------


async def find(call: Call, name: str, qualifier: str | None = None) -> Record:
    """The caller's function of that name or ARN. NotFound also for any version but $LATEST: none are published."""
    named = _own(call, name)
    if named.qualifier and qualifier and named.qualifier != qualifier:
        raise Invalid("The derived qualifier from the function name does not match the specified qualifier.")
    at = named.qualifier or qualifier or functions.LATEST
    record = await call.store.get(functions.FUNCTION, call.scope, named.name)
    if record is None or at != functions.LATEST:
        raise functions.missing(call.scope, named.name if at == functions.LATEST else f"{named.name}:{at}")
    return record


def _own(call: Call, name: str) -> functions.Named:
    named = functions.parse_name(name)
    scope = Scope(named.account or call.scope.account, named.region or call.scope.region)
    if scope != call.scope:
        raise functions.missing(scope, named.name)
    return named


def _check_revision(record: Record, params: Params) -> None:
    if params.get("RevisionId") and params["RevisionId"] != record.document["revision"]:
        raise ApiError(
            "PreconditionFailedException",
            "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest "
            "Revision Id",
            412,
        )
