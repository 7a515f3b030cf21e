"""Images of Studio, their versions and aliases. Plain records: nothing is pulled; a version's base image may be the name of any image, of
one of Clary's runtimes too.

The image's record has the aliases of its versions (alias -> number): one guarded write gives a number and takes aliases. An alias of a
version that is not there is free: its Create was killed between the two writes.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from clary.api import paging
from clary.api.call import Call, Params
from clary.api.plain import operations
from clary.api.plain.noun import Noun
from clary.api.plain.operations import counted, find, register
from clary.api.registry import operation
from clary.domain.errors import InUse, Invalid, NotFound
from clary.domain.resources import Query, Record
from clary.guarded import until_first

_ALIASES = ("Aliases", "AliasesToAdd", "AliasesToDelete", "Alias")

IMAGE = Noun(
    kind="image",
    name="Image",
    plural="Images",
    key=("ImageName",),
    status=("ImageStatus", "CREATED"),
    roles=("RoleArn",),
    removes="DeleteProperties",
    cascade=True,
    missing="No Image with the name {name} exists.",
    search="Image",
)


async def _version(call: Call, image: Record, number: int) -> Record | None:
    return await call.store.get("image-version", image.scope, f"{image.name}/{number}")


async def _with_aliases(call: Call, image: Record, aliases: list[str], number: int) -> Record:
    """The image with these aliases of that version. InUse for one that another version has."""
    held: dict[str, int] = dict(image.document.get("aliases", {}))
    for alias in aliases:
        other = held.get(alias)
        if other not in (None, number) and await _version(call, image, other) is not None:
            raise InUse(f"Alias '{alias}' is used by version {other} of image {image.name}; delete it there first.")
        held[alias] = number
    return replace(image, document={**image.document, "aliases": held})


async def _reserve(aliases: list[str], call: Call, parent: Noun, params: Params) -> Record:
    """Count a version, and take its aliases with the same write."""

    async def attempt() -> Record:
        image = counted(await find(call, parent, params))
        return await call.store.save(await _with_aliases(call, image, aliases, image.document["versions"]))

    return await until_first(attempt)


async def create(call: Call, noun: Noun, params: Params) -> Record:
    """The version that this ClientToken made before, or a new one."""
    image = await find(call, IMAGE, params)
    where = {"ImageName": image.name, "ClientToken": params["ClientToken"]}
    made = await call.store.page(Query(noun.kind, image.scope, where=where, limit=1))
    if made:
        return made[0]
    rest = {name: value for name, value in params.items() if name not in _ALIASES}
    row = replace(noun, numbered=functools.partial(_reserve, params.get("Aliases") or []))
    return await operations.create(call, row, rest)


async def update(call: Call, noun: Noun, params: Params) -> Record:
    """Aliases first; each of the two writes may be repeated."""
    await find(call, noun, params)
    add, remove = params.get("AliasesToAdd") or [], params.get("AliasesToDelete") or []
    number = params["Version"]
    if both := set(add) & set(remove):
        raise Invalid(f"AliasesToAdd and AliasesToDelete both name {', '.join(sorted(both))}.")

    async def attempt() -> Record:
        image = await find(call, IMAGE, params)
        held = {a: n for a, n in image.document.get("aliases", {}).items() if a not in remove or n != number}
        image = replace(image, document={**image.document, "aliases": held})
        return await call.store.save(await _with_aliases(call, image, add, number))

    if add or remove:
        await until_first(attempt)
    return await operations.update(call, noun, {name: value for name, value in params.items() if name not in _ALIASES})


async def complete(call: Call, verb: str, given: Params) -> Params:
    """The number of the version that a request means: by its alias, or the newest one to describe."""
    if verb == "Create":
        return given
    image = await find(call, IMAGE, given)
    alias, number = given.get("Alias"), given.get("Version")
    if alias is not None:
        named = image.document.get("aliases", {}).get(alias)
        if named is None or number not in (None, named):
            which = "" if number is None else f" for version {number}"
            raise NotFound(f"Image {image.name} has no alias '{alias}'{which}.")
        number = named
    elif number is None:
        if verb != "Describe":
            raise Invalid(f"Please provide Version or Alias of the version of image {image.name}.")
        newest = await call.store.page(_versions(image, 1))
        if not newest:
            raise NotFound(f"Image {image.name} has no versions.")
        number = newest[0].document["request"]["Version"]
    return {**{name: value for name, value in given.items() if name != "Alias"}, "Version": number}


def _versions(image: Record, limit: int) -> Query:
    """Newest first: numbers are given in the order of creation."""
    return Query("image-version", image.scope, where={"ImageName": image.name}, limit=limit)


register(IMAGE)
register(
    Noun(
        kind="image-version",
        name="ImageVersion",
        plural="ImageVersions",
        key=("ImageName", "Version"),
        status=("ImageVersionStatus", "CREATED"),
        parent="image",
        counter="Version",
        indexed=("ClientToken",),
        acts=_ALIASES,
        generated={"ContainerImage": lambda _, request: request["BaseImage"]},
        complete=complete,
        own={"Create": create, "Update": update},
        missing="No version with the ARN {arn} exists.",
        search="ImageVersion",
        says={
            "Create": "Record the next version of an image, with its aliases. Nothing is pulled; the base image may name one of Clary's "
            "runtimes.",
            "Describe": "The version of that number or alias, or the newest one.",
        },
    )
)


@operation("sagemaker", "ListAliases")
async def list_aliases(call: Call, params: Params) -> Params:
    """Aliases of the image's versions, or of one of them, in the order of the alphabet."""
    image = await find(call, IMAGE, params)
    named, number, after = params.get("Alias"), params.get("Version"), paging.resume(call, params)
    held: Mapping[str, Any] = image.document.get("aliases", {})
    found = sorted(
        [
            alias
            for alias, of in held.items()
            if named in (None, alias)
            and number in (None, of)
            and (after is None or alias > after[1])
            and await _version(call, image, of) is not None
        ]
    )
    limit = params.get("MaxResults", 10)
    answer: Params = {"SageMakerImageVersionAliases": found[:limit]}
    if len(found) > limit:
        answer["NextToken"] = paging.token(call, params, (found[limit - 1], found[limit - 1]))
    return answer
