"""Tags of any record: rules of the service (reference/sagemaker.md 1.6) and the list that a record keeps under "tags"."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from clary.api import records
from clary.api.call import Call, Params
from clary.api.registry import operation
from clary.domain.errors import Invalid
from clary.domain.resources import Record

LIMIT = 50

Tag = Mapping[str, str]
Read = Callable[[], Awaitable[Record]]


def checked(tags: Sequence[Tag] | None) -> list[dict[str, str]]:
    """Tags of a Create request. Invalid: a key twice, a key of AWS's own, more than 50."""
    found: dict[str, str] = {}
    for tag in tags or ():
        key = tag["Key"]
        if key.lower().startswith("aws:"):
            raise Invalid(f"Tag keys starting with 'aws:' are reserved for system use: '{key}'.")
        if key in found:
            raise Invalid(f"Duplicate tag key found: '{key}'.")
        found[key] = tag.get("Value", "")
    return _listed(found)


async def add(call: Call, read: Read, tags: Sequence[Tag]) -> Record:
    """Add tags to the record that `read` answers, or overwrite them."""

    def change(old: Record) -> Record:
        return replace(old, document={**old.document, "tags": merged(old.document, tags)})

    return await records.amend(call, read, change)


async def remove(call: Call, read: Read, keys: Sequence[str]) -> Record:
    """Remove tags of it; keys that do not exist are ignored."""

    def change(old: Record) -> Record:
        return replace(old, document={**old.document, "tags": without(old.document, keys)})

    return await records.amend(call, read, change)


def register(service: str, member: str, find: Callable[[Call, str], Awaitable[Record]], what: str) -> None:
    """Answer a service's TagResource, UntagResource and ListTagsForResource. `member` names the ARN, `find` answers its record, `what` says
    what that is."""

    async def tag_resource(call: Call, params: Params) -> Params:
        await add(call, lambda: find(call, params[member]), params["Tags"])
        return {}

    async def untag_resource(call: Call, params: Params) -> Params:
        await remove(call, lambda: find(call, params[member]), params["TagKeys"])
        return {}

    async def list_tags_for_resource(call: Call, params: Params) -> Params:
        return {"Tags": list((await find(call, params[member])).document.get("tags", []))}

    tag_resource.__doc__ = f"Add or overwrite tags of {what}."
    untag_resource.__doc__ = f"Remove tags of {what}; keys that do not exist are ignored."
    list_tags_for_resource.__doc__ = f"The tags of {what}."
    for name, handler in (
        ("TagResource", tag_resource),
        ("UntagResource", untag_resource),
        ("ListTagsForResource", list_tags_for_resource),
    ):
        operation(service, name)(handler)


def merged(document: Mapping[str, Any], tags: Sequence[Tag]) -> list[dict[str, str]]:
    """The record's tags with these added; equal keys are overwritten."""
    found = {tag["Key"]: tag["Value"] for tag in document.get("tags", ())}
    found |= {tag["Key"]: tag["Value"] for tag in checked(tags)}
    return _listed(found)


def without(document: Mapping[str, Any], keys: Sequence[str]) -> list[dict[str, str]]:
    return [dict(tag) for tag in document.get("tags", ()) if tag["Key"] not in keys]


def _listed(tags: Mapping[str, str]) -> list[dict[str, str]]:
    if len(tags) > LIMIT:
        raise Invalid(f"A resource can have at most {LIMIT} tags; this request would make it {len(tags)}.")
    return [{"Key": key, "Value": value} for key, value in tags.items()]
