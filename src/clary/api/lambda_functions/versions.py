"""Versions and aliases of functions: records beside the function's. Source: Lambda API reference."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from clary.api import paging, records
from clary.api.call import Call, Params
from clary.api.lambda_functions.functions import PAGE, check_revision, exact, latest, of_function, publish
from clary.api.registry import operation
from clary.domain.errors import Invalid, NotFound
from clary.domain.functions import record as functions
from clary.domain.functions import versions
from clary.domain.resources import Record


@operation("lambda", "PublishVersion")
async def publish_version(call: Call, params: Params) -> Params:
    """A version of $LATEST as it is now; the last one again when nothing changed since."""
    record = await latest(call, params["FunctionName"])

    def check(current: Record) -> None:
        check_revision(current, params)
        digest, given = current.document["code"]["sha256"], params.get("CodeSha256")
        if given and given != digest:
            raise Invalid(
                f"CodeSHA256 ({given}) is different from current CodeSHA256 in $LATEST ({digest}). Please try again with the "
                "CodeSHA256 in $LATEST."
            )

    return functions.described(await publish(call, record, params.get("Description"), check))


@operation("lambda", "ListVersionsByFunction")
async def list_versions_by_function(call: Call, params: Params) -> Params:
    """$LATEST first, then versions by their numbers."""
    record = await latest(call, params["FunctionName"])
    published = await of_function(call, versions.VERSION, record.name)
    published.sort(key=lambda each: int(each.document["number"]))
    told, more = _page(
        call, params, [(functions.version(each), functions.described(each)) for each in (record, *published)]
    )
    return {"Versions": told, **more}


def created(call: Call, record: Record) -> Params:
    """What a Create answered."""
    return versions.alias_described(record)


@operation("lambda", "CreateAlias", again=created)
async def create_alias(call: Call, params: Params) -> Params:
    function = await latest(call, params["FunctionName"])
    name, at = versions.check_alias(params["Name"]), params["FunctionVersion"]
    weights = versions.weights(params.get("RoutingConfig"), at)
    await _check_versions(call, function, (at, *weights))
    document = {
        "version": at,
        "weights": weights,
        "description": params.get("Description") or "",
        "revision": call.new_id(),
        "policy": [],
        "tags": [],
    }
    record = records.new(call, versions.ALIAS, versions.full(function.name, name), document)
    return versions.alias_described(await records.add(call, record, f"Alias already exists: {record.arn}"))


@operation("lambda", "UpdateAlias")
async def update_alias(call: Call, params: Params) -> Params:
    """Change what is given. Invocations from now on go where it says."""
    function = await latest(call, params["FunctionName"])

    async def read() -> Record:
        return await _alias(call, function, params["Name"])

    def changed(current: Record) -> Record:
        check_revision(current, params)
        document = dict(current.document)
        at = document["version"] = params.get("FunctionVersion") or document["version"]
        if params.get("RoutingConfig") is not None:
            document["weights"] = versions.weights(params["RoutingConfig"], at)
        elif at in document["weights"]:
            document["weights"] = versions.weights({"AdditionalVersionWeights": document["weights"]}, at)
        if params.get("Description") is not None:
            document["description"] = params["Description"]
        return replace(current, modified=call.now, document={**document, "revision": call.new_id()})

    wanted = changed(await read()).document
    await _check_versions(call, function, (wanted["version"], *wanted["weights"]))
    return versions.alias_described(await records.amend(call, read, changed))


@operation("lambda", "GetAlias")
async def get_alias(call: Call, params: Params) -> Params:
    function = await latest(call, params["FunctionName"])
    return versions.alias_described(await _alias(call, function, params["Name"]))


@operation("lambda", "DeleteAlias")
async def delete_alias(call: Call, params: Params) -> Params:
    """One that is not there is deleted, as on AWS."""
    function = await latest(call, params["FunctionName"])
    with suppress(NotFound):
        await records.drop(call, versions.ALIAS, (await _alias(call, function, params["Name"])).name)
    return {}


@operation("lambda", "ListAliases")
async def list_aliases(call: Call, params: Params) -> Params:
    """By name; those of one version when FunctionVersion says so."""
    function = await latest(call, params["FunctionName"])
    at = params.get("FunctionVersion")
    found = [
        each for each in await of_function(call, versions.ALIAS, function.name) if not at or versions.names(each, at)
    ]
    found.sort(key=lambda each: each.name)
    told, more = _page(call, params, [(each.name, versions.alias_described(each)) for each in found])
    return {"Aliases": told, **more}


async def _alias(call: Call, function: Record, name: str) -> Record:
    record = await call.store.get(versions.ALIAS, call.scope, versions.full(function.name, name))
    if record is None:
        raise NotFound(
            f"Cannot find alias arn: {functions.function_arn(call.scope, versions.full(function.name, name))}"
        )
    return record


async def _check_versions(call: Call, function: Record, wanted: Sequence[str]) -> None:
    """An alias leads to versions that are there, or to $LATEST: never to another alias."""
    for at in wanted:
        if at != functions.LATEST and not versions.is_number(at):
            raise Invalid(f"'{at[:200]}' is neither $LATEST nor the number of a version")
        await exact(call, function.name, at)


def _page(call: Call, params: Params, every: Sequence[tuple[str, Params]]) -> tuple[list[Params], Params]:
    """A page of what was read whole: a function has few versions."""
    marker = {**params, "NextToken": params.get("Marker")}
    bound = {key: value for key, value in marker.items() if key not in ("Marker", "MaxItems")}
    after = paging.resume(call, bound)
    names = [name for name, _ in every]
    begin = 0
    if after is not None:
        if after[1] not in names:  # it was deleted meanwhile
            raise Invalid("Invalid Marker: what it stands for is not there any more. List again from the beginning.")
        begin = names.index(after[1]) + 1
    limit = min(params.get("MaxItems") or PAGE, PAGE)
    page = every[begin : begin + limit]
    more = begin + limit < len(every)
    return [told for _, told in page], ({"NextMarker": paging.token(call, bound, (0.0, page[-1][0]))} if more else {})
