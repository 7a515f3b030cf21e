"""Private hubs and what they hold. Plain records: nothing is downloaded; a content's document is kept and shown as it was imported."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from clary.api.call import Call, Params
from clary.api.plain.noun import Noun
from clary.api.plain.operations import register
from clary.domain.errors import NotFound
from clary.domain.resources import Query, Record
from clary.pages import everything

KIND = "hub-content"
REFERENCE = "ModelReference"
_NAMES = ("HubName", "HubContentType", "HubContentName")


def version_of(record: Record) -> tuple[int, ...]:
    """The parts of a version such as 1.2.0, to compare."""
    return _parts(record.document["HubContentVersion"])


def _parts(version: Any) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", str(version)))


async def _versions(call: Call, given: Params) -> list[Record]:
    """All versions of the contents of a hub that the members name."""
    where = {member: str(given[member]) for member in _NAMES if member in given}
    query = Query(KIND, call.scope_of(KIND), where=where, sort_by="name", descending=False, limit=1000)
    return await everything(call.store, query)


async def complete(call: Call, verb: str, given: Params) -> Params:
    """Describe without a version shows the newest one."""
    if verb != "Describe" or "HubContentVersion" in given:
        return given
    versions = await _versions(call, given)
    if not versions:
        raise NotFound(f"Hub content {given['HubContentName']} does not exist in hub {given['HubName']}.")
    return {**given, "HubContentVersion": max(versions, key=version_of).document["HubContentVersion"]}


async def newest(call: Call, params: Params) -> Callable[[Record], bool]:
    """A list of contents shows the newest version of each; ListHubContentVersions has the others."""
    best: dict[str, Record] = {}
    for record in await _versions(call, {m: params[m] for m in ("HubName", "HubContentType")}):
        name = str(record.document["HubContentName"])
        if name not in best or version_of(best[name]) < version_of(record):
            best[name] = record
    arns = {record.arn for record in best.values()}
    return lambda record: record.arn in arns


_SCHEMAS = "documents of every schema version are shown"

register(
    Noun(
        kind="hub",
        name="Hub",
        plural="Hubs",
        key=("HubName",),
        status=("HubStatus", "InService"),
    )
)
CONTENT = Noun(
    kind=KIND,
    name="HubContent",
    plural="HubContents",
    key=("HubName", "HubContentType", "HubContentName", "HubContentVersion"),
    status=("HubContentStatus", "Available"),
    parent="hub",
    operations={"Create": "ImportHubContent"},
    generated={"HubContentVersion": lambda _, __: "1.0.0", "SupportStatus": lambda _, __: "Supported"},
    ignored={"MaxSchemaVersion": _SCHEMAS},
    complete=complete,
    narrow=newest,
    search="HubContent",
    says={"Create": "Record a content of a hub, with its document as it was given. Nothing of it is fetched or run."},
)
register(CONTENT)
register(
    replace(
        CONTENT,
        verbs=("List",),
        operations={"List": "ListHubContentVersions"},
        narrow=None,
        filters={"MinVersion": lambda record, least: version_of(record) >= _parts(least)},
        says={"List": "Pages of the versions of one content, with AWS's filters and sorts."},
    )
)


async def complete_reference(call: Call, verb: str, given: Params) -> Params:
    """A reference has one version. Update and Delete name its type: NotFound for contents that are no references."""
    if verb != "Create" and given["HubContentType"] != REFERENCE:
        raise NotFound(f"{given['HubContentName']} is no reference: HubContentType must be {REFERENCE}.")
    return {**given, "HubContentType": REFERENCE, "HubContentVersion": "1.0.0"}


register(
    replace(
        CONTENT,
        verbs=("Create", "Update", "Delete"),
        operations={
            "Create": "CreateHubContentReference",
            "Update": "UpdateHubContentReference",
            "Delete": "DeleteHubContentReference",
        },
        renames={"MinVersion": "ReferenceMinVersion"},
        generated={
            "HubContentName": lambda _, request: str(request["SageMakerPublicHubContentArn"]).rpartition("/")[2],
            "DocumentSchemaVersion": lambda _, __: "1.0.0",
            "HubContentDocument": lambda _, __: "{}",
        },
        complete=complete_reference,
        says={"Create": "Record a reference to a content of AWS's public hub. Nothing of it is fetched."},
    )
)
