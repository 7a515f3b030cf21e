"""Lambda: functions are records, their code is an object in a bucket of the account. Source: Lambda API reference."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from clary.api import paging, records, tagging
from clary.api.call import Call, Params
from clary.api.errors import ApiError
from clary.api.lambda_functions import code
from clary.api.registry import operation
from clary.domain.access.roles import parse_role
from clary.domain.errors import AlreadyExists, InUse, Invalid, NotFound
from clary.domain.functions import record as functions
from clary.domain.functions import versions
from clary.domain.ids import belongs
from clary.domain.resources import Query, Record, Scope
from clary.pages import everything

PAGE = 50
_ALL = 200  # records of a read of all versions or aliases of a function


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
    return functions.described(await publish(call, record) if params.get("Publish") else record)


@operation("lambda", "UpdateFunctionCode")
async def update_function_code(call: Call, params: Params) -> Params:
    """Replace the code. Invocations that run go on with the old one; DryRun checks and changes nothing."""
    record = await latest(call, params["FunctionName"])
    check_revision(record, params)
    stored = await code.store(call, record.name, params, keep=not params.get("DryRun"))
    if params.get("DryRun"):
        return functions.described(replace(record, document={**record.document, "code": stored}))
    old: list[Params] = []

    def change(current: Record) -> Record:
        check_revision(current, params)
        old[:] = [current.document["code"]]
        config = dict(current.document["config"])
        if params.get("Architectures"):
            config["Architectures"] = params["Architectures"]
        document = {**current.document, "config": config, "code": stored, "revision": call.new_id()}
        return replace(current, modified=call.now, document=document)

    changed = await records.amend(call, lambda: latest(call, params["FunctionName"]), change)
    await _drop_unused(call, changed.name, old)
    return functions.described(await publish(call, changed) if params.get("Publish") else changed)


@operation("lambda", "UpdateFunctionConfiguration")
async def update_function_configuration(call: Call, params: Params) -> Params:
    """Change what is given."""
    known = runtimes(call)
    config = _config(call, params, known)
    cleared = {name for name in functions.KEPT if name in params and params[name] in ({}, [], "")}
    if "Environment" in params and not (params["Environment"] or {}).get("Variables"):
        cleared.add("Environment")

    def change(current: Record) -> Record:
        check_revision(current, params)
        kept = {name: value for name, value in current.document["config"].items() if name not in cleared}
        merged = {**kept, **{name: value for name, value in config.items() if name not in cleared}}
        document = {
            **current.document,
            "config": merged,
            "runtime": known.get(merged["Runtime"], current.document["runtime"]),
            "revision": call.new_id(),
        }
        return replace(current, modified=call.now, document=document)

    return functions.described(await records.amend(call, lambda: latest(call, params["FunctionName"]), change))


@operation("lambda", "GetFunction")
async def get_function(call: Call, params: Params) -> Params:
    """The configuration, and a URL under which the code can be fetched for ten minutes."""
    record, arn = await shown(call, params["FunctionName"], params.get("Qualifier"))
    where = {"RepositoryType": "S3", "Location": code.url(call, record.document["code"])}
    return {"Configuration": functions.described(record, arn), "Code": where, "Tags": _tags(record)}


@operation("lambda", "GetFunctionConfiguration")
async def get_function_configuration(call: Call, params: Params) -> Params:
    return functions.described(*await shown(call, params["FunctionName"], params.get("Qualifier")))


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
    """Delete the function with its versions, aliases and code; or the version that Qualifier names, when no alias leads to it. What runs
    goes on to its end."""
    named, at = _named(call, params["FunctionName"], params.get("Qualifier"))
    if at != functions.LATEST:
        await _delete_version(call, named.name, at)
        return {"StatusCode": 204}
    if params.get("Qualifier"):
        raise Invalid("$LATEST version cannot be deleted without deleting the function.")
    record = await latest(call, named.name)
    unused = [record.document["code"]]
    for kind in (versions.ALIAS, versions.VERSION):
        for each in await of_function(call, kind, named.name):
            with suppress(NotFound):
                unused.append((await records.drop(call, kind, each.name)).document.get("code"))
    await records.drop(call, functions.FUNCTION, named.name)
    for each in {stored["key"]: stored for stored in unused if stored}.values():
        await code.drop(call, each)
    return {"StatusCode": 204}


async def _delete_version(call: Call, name: str, at: str) -> None:
    record = await find(call, name, at)
    if record.kind != versions.VERSION or record.document["number"] != at:
        raise Invalid(f"'{at}' is an alias: DeleteAlias deletes it")

    async def unnamed(current: Record) -> None:
        holding = [each.arn for each in await of_function(call, versions.ALIAS, name) if versions.names(each, at)]
        if holding:
            raise InUse(f"Version {at} is currently in use by alias {', '.join(holding)}")

    dropped = await records.drop(call, versions.VERSION, record.name, unnamed)
    current = await call.store.get(functions.FUNCTION, call.scope, name)
    if current is None or current.document["code"]["key"] != dropped.document["code"]["key"]:
        await _drop_unused(call, name, [dropped.document["code"]])


async def _drop_unused(call: Call, name: str, stored: list[Params]) -> None:
    """Code that a version still has stays."""
    used = {each.document["code"]["key"] for each in await of_function(call, versions.VERSION, name)}
    for each in stored:
        if each["key"] not in used:
            await code.drop(call, each)


# -- policies and tags --------------------------------------------------------------------------------------------------------------


@operation("lambda", "AddPermission")
async def add_permission(call: Call, params: Params) -> Params:
    """Record a statement. Clary does not enforce policies: rules, topics and schedules of the account may invoke its functions."""
    added: Params = {}

    def change(current: Record) -> Record:
        check_revision(current, params)
        policy = current.document["policy"]
        if any(each["Sid"] == params["StatementId"] for each in policy):
            raise AlreadyExists(f"The statement id ({params['StatementId']}) provided already exists. Please provide a new "
                                "statement id, or remove the existing statement.")  # fmt: skip
        added.update(functions.statement(params, current))
        return replace(current, document={**current.document, "policy": [*policy, dict(added)]})

    await records.amend(call, lambda: exact(call, params["FunctionName"], params.get("Qualifier")), change)
    return {"Statement": json.dumps(added)}


@operation("lambda", "RemovePermission")
async def remove_permission(call: Call, params: Params) -> Params:
    def change(current: Record) -> Record:
        check_revision(current, params)
        policy = current.document["policy"]
        left = [each for each in policy if each["Sid"] != params["StatementId"]]
        if len(left) == len(policy):
            raise NotFound(f"Statement {params['StatementId']} is not found in resource policy.")
        return replace(current, document={**current.document, "policy": left})

    await records.amend(call, lambda: exact(call, params["FunctionName"], params.get("Qualifier")), change)
    return {}


@operation("lambda", "GetPolicy")
async def get_policy(call: Call, params: Params) -> Params:
    record = await exact(call, params["FunctionName"], params.get("Qualifier"))
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
    return lambda: latest(call, unquote(arn))


def _tags(record: Record) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in record.document["tags"]}


def _config(call: Call, params: Params, known: dict[str, str]) -> dict[str, Any]:
    if params.get("Role"):
        role = parse_role(params["Role"])
        if role is None or role[0] != call.scope.account or not belongs(params["Role"], call.scope.region):
            raise Invalid("The role defined for the function cannot be assumed by Lambda.")
    return functions.checked(params, known)


# -- records ------------------------------------------------------------------------------------------------------------------------


async def latest(call: Call, name: str) -> Record:
    """The caller's function of that name or ARN, which only $LATEST may qualify: what changes a function changes this."""
    named, at = _named(call, name, None)
    record = await call.store.get(functions.FUNCTION, call.scope, named.name)
    if record is None:
        raise functions.missing(call.scope, named.name)
    if at != functions.LATEST:
        raise Invalid(
            f"The operation cannot be performed on a version or alias; leave :{at} out of the function's name."
        )
    return record


async def exact(call: Call, name: str, qualifier: str | None = None) -> Record:
    """The record that is named: the function, a version of it, or an alias."""
    named, at = _named(call, name, qualifier)
    if at == functions.LATEST:
        return await latest(call, named.name)
    kind = versions.VERSION if versions.is_number(at) else versions.ALIAS
    record = await call.store.get(kind, call.scope, versions.full(named.name, at))
    if record is None:
        raise functions.missing(call.scope, versions.full(named.name, at))
    return record


async def find(call: Call, name: str, qualifier: str | None = None) -> Record:
    """The function or the version that is named; of an alias its first one."""
    return (await shown(call, name, qualifier))[0]


async def shown(call: Call, name: str, qualifier: str | None = None) -> tuple[Record, str]:
    """The same, and the ARN by which it is shown: an alias's own."""
    record = await exact(call, name, qualifier)
    if record.kind != versions.ALIAS:
        return record, record.arn
    return await exact(call, functions.plain_name(record), record.document["version"]), record.arn


async def called(call: Call, name: str, qualifier: str | None, id_: str) -> Record:
    """What an invocation of this id runs: an alias sends each to one of its versions."""
    record = await exact(call, name, qualifier)
    if record.kind != versions.ALIAS:
        return record
    return await exact(call, functions.plain_name(record), versions.chosen(record, id_))


async def of_function(call: Call, kind: str, name: str) -> list[Record]:
    """All versions or aliases of a function, oldest first."""
    query = Query(kind, call.scope, condition=versions.of(name), descending=False, limit=_ALL)
    return await everything(call.store, query)


async def publish(
    call: Call, record: Record, description: str | None = None, check: Callable[[Record], None] = lambda _: None
) -> Record:
    """A version of the function as it is; the last one again when nothing changed since. `check` may raise. The number is taken first: it
    is never given twice, and one is left out when the process dies here."""
    last = await _published(call, record)
    if last is not None and last.document["source"] == record.document["revision"]:
        check(record)
        return last

    def numbered(current: Record) -> Record:
        check(current)
        document = {**current.document, "published": int(current.document.get("published", 0)) + 1}
        return replace(current, document=document)

    current = await records.amend(call, lambda: latest(call, record.name), numbered)
    number = int(current.document["published"])
    document = versions.snapshot(current, number, description, call.new_id())
    return await records.add(
        call, records.new(call, versions.VERSION, versions.full(record.name, str(number)), document)
    )


async def _published(call: Call, record: Record) -> Record | None:
    at = str(record.document.get("published", 0))
    return await call.store.get(versions.VERSION, call.scope, versions.full(record.name, at))


def _named(call: Call, name: str, qualifier: str | None) -> tuple[functions.Named, str]:
    named = _own(call, name)
    if named.qualifier and qualifier and named.qualifier != qualifier:
        raise Invalid("The derived qualifier from the function name does not match the specified qualifier.")
    return named, named.qualifier or qualifier or functions.LATEST


def _own(call: Call, name: str) -> functions.Named:
    named = functions.parse_name(name)
    scope = Scope(named.account or call.scope.account, named.region or call.scope.region)
    if scope != call.scope:
        raise functions.missing(scope, named.name)
    return named


def check_revision(record: Record, params: Params) -> None:
    if params.get("RevisionId") and params["RevisionId"] != record.document["revision"]:
        raise ApiError(
            "PreconditionFailedException",
            "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest "
            "Revision Id",
            412,
        )
