"""Artifacts, actions and contexts: what lineage is about, as users record them. Clary's own are made by `loops/lineage`.

One table says how the three differ; each operation is one function over it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from clary.api import paging, records, tagging
from clary.api.call import Call, Params
from clary.api.registry import Handler, operation
from clary.api.sagemaker.experiments import common
from clary.domain.conditions import Any_, Term
from clary.domain.errors import AlreadyExists, InUse, Invalid
from clary.domain.lineage import entities
from clary.domain.lineage.entities import ASSOCIATION, GROUP
from clary.domain.resources import Query, Record


@dataclass(frozen=True, slots=True)
class Entity:
    """One of the three. `key` is the member that names it."""

    kind: str
    noun: str
    key: str

    @property
    def arn(self) -> str:
        return f"{self.noun}Arn"


ARTIFACT = Entity("artifact", "Artifact", "ArtifactArn")
ACTION = Entity("action", "Action", "ActionName")
CONTEXT = Entity("context", "Context", "ContextName")


async def find(call: Call, entity: Entity, name: str) -> Record:
    """By name or ARN. NotFound otherwise."""
    return await records.named(call, entity.kind, name)


async def _create(call: Call, params: Params, entity: Entity) -> Params:
    request = {name: value for name, value in params.items() if name != "Tags"}
    if not request["Source"].get("SourceUri"):
        raise Invalid(f"{entity.noun}: Source needs a SourceUri.")
    name = entities.artifact_name(request["Source"]) if entity is ARTIFACT else request[entity.key]
    tags = tagging.checked(params.get("Tags"))
    document = entities.entity_document(entity.kind, request, tags, call.principal)
    record = records.new(call, entity.kind, name, document)
    taken = f'{entity.noun} "{record.arn}" already exists.'
    try:
        return {entity.arn: (await records.add(call, record, taken)).arn}
    except AlreadyExists:
        if entity is ARTIFACT and await _clarys_own(call, record):
            return {entity.arn: record.arn}
        raise


async def _clarys_own(call: Call, record: Record) -> bool:
    """Take over an artifact that Clary derived from a job: to its user it is new."""
    own = await call.store.get(record.kind, record.scope, record.name)
    if own is None or not own.document.get("derived"):
        return False
    document = {**own.document, **record.document, "derived": False}
    await call.store.save(replace(own, document=document, modified=call.now))
    return True


def described(call: Call, record: Record, entity: Entity) -> Params:
    """Describe's answer."""
    document = record.document
    answer: Params = {
        **document["request"],
        entity.arn: record.arn,
        "CreationTime": record.created,
        "LastModifiedTime": record.modified,
        "LineageGroupArn": call.arn("lineage-group", GROUP),
    }
    if document.get("by"):
        answer["CreatedBy"] = records.user_context(document["by"])
    if document.get("changed_by"):
        answer["LastModifiedBy"] = records.user_context(document["changed_by"])
    return answer


async def _describe(call: Call, params: Params, entity: Entity) -> Params:
    return described(call, await find(call, entity, params[entity.key]), entity)


async def _list(call: Call, params: Params, entity: Entity) -> Params:
    asked = {"SourceUri": params.get("SourceUri"), "Type": params.get(f"{entity.noun}Type")}
    wanted = common(call, params, entity.kind, {key: value for key, value in asked.items() if value})
    found, more = await paging.page(call, params, wanted)
    told = (
        f"{entity.noun}Name",
        entity.arn,
        "Source",
        f"{entity.noun}Type",
        "Status",
        "CreationTime",
        "LastModifiedTime",
    )
    summaries = [{n: v for n, v in described(call, record, entity).items() if n in told} for record in found]
    return {f"{entity.noun}Summaries": summaries, **more}


async def _update(call: Call, params: Params, entity: Entity) -> Params:
    changes = {name: value for name, value in params.items() if name not in (entity.key, "PropertiesToRemove")}
    gone = params.get("PropertiesToRemove") or ()

    def change(old: Record) -> Record:
        request = {**old.document["request"], **changes}
        if "Properties" in changes or gone:
            both = {**(old.document["request"].get("Properties") or {}), **(changes.get("Properties") or {})}
            request["Properties"] = {key: value for key, value in both.items() if key not in gone}
        document = {**old.document, "request": request, "changed_by": call.principal}
        return replace(old, modified=call.now, document=document)

    record = await records.amend(call, lambda: find(call, entity, params[entity.key]), change)
    return {entity.arn: record.arn}


async def _delete(call: Call, params: Params, entity: Entity) -> Params:
    name = params.get(entity.key)
    if not name and entity is ARTIFACT:
        if not params.get("Source"):
            raise Invalid("DeleteArtifact needs the ArtifactArn or the Source.")
        name = entities.artifact_name(params["Source"])
    record = await find(call, entity, str(name))

    async def check(current: Record) -> None:
        ends = Any_((Term("SourceArn", current.arn), Term("DestinationArn", current.arn)))
        if count := await call.store.count(Query(ASSOCIATION, current.scope, condition=ends)):
            raise InUse(f"Cannot delete {current.arn}: it has {count} association(s). Call DeleteAssociation first.")

    record = await records.drop(call, entity.kind, record.name, check)
    return {entity.arn: record.arn}


_VERBS: dict[str, tuple[Callable[..., Any], str]] = {
    "Create": (_create, "Record {}."),
    "Describe": (_describe, "{} as it was recorded."),
    "List": (_list, "Pages of {}: of a source, of a type."),
    "Update": (_update, "Change what was recorded of {}; properties are merged by key."),
    "Delete": (_delete, "Delete {}; refused while it has associations."),
}


def _register(entity: Entity, verb: str) -> None:
    act, says = _VERBS[verb]

    async def handler(call: Call, params: Params) -> Params:
        found: Params = await act(call, params, entity)
        return found

    name = f"{verb}{entity.noun}{'s' if verb == 'List' else ''}"
    handler.__name__ = handler.__qualname__ = name
    article = (
        f"{entity.noun.lower()}s" if verb == "List" else f"{'a' if entity is CONTEXT else 'an'} {entity.noun.lower()}"
    )
    handler.__doc__ = says.format(article)[0].upper() + says.format(article)[1:]
    made: Handler = handler
    again = (lambda _, record: {entity.arn: record.arn}) if verb == "Create" else None
    operation("sagemaker", name, again=again)(made)


for _entity in (ARTIFACT, ACTION, CONTEXT):
    for _verb in _VERBS:
        _register(_entity, _verb)
