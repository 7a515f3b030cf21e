"""Pipelines and their versions: create, update, describe, list, delete. A definition is checked in full before it is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from clary.api import holding, paging, records, registry, searchable, tagging
from clary.api.call import Call, Params
from clary.api.registry import operation
from clary.api.searchable import Searchable
from clary.domain.errors import AlreadyExists, InUse, Invalid, NotFound
from clary.domain.ids import belongs
from clary.domain.pipelines import definition, record, steps
from clary.domain.pipelines.definition import PipelineDefinition
from clary.domain.resources import Query, Record
from clary.domain.search.plan import Kept

_ALIASES = 10


@operation("sagemaker", "CreatePipeline", again=lambda _, made: {"PipelineArn": made.arn})
async def create_pipeline(call: Call, params: Params) -> Params:
    """Record the pipeline and its first version. The same ClientRequestToken again is answered as before."""
    name = params["PipelineName"]
    before = await call.store.get(record.PIPELINE, call.scope, name)
    if before is not None and before.document["token"] == params["ClientRequestToken"]:
        return {"PipelineArn": before.arn}
    records.check_role(call, params["RoleArn"])
    text = await text_of(call, params)
    parsed(text)
    first = _version(call, 1, await _keep(call, name, text), _aliases(params, ()))
    document = {
        "description": params.get("PipelineDescription", ""),
        "display": params.get("PipelineDisplayName", name),
        "role": params["RoleArn"],
        "parallelism": _parallelism(params),
        "tags": tagging.checked(params.get("Tags")),
        "token": params["ClientRequestToken"],
        "by": call.principal,
        "changed_by": call.principal,
        "versions": [first],
    }
    made = records.new(call, record.PIPELINE, name, document, record.ACTIVE_PIPELINE)
    taken = f"Pipeline names must be unique within an AWS account and region. Pipeline with name {name} already exists."
    try:
        return {"PipelineArn": (await records.add(call, made, taken)).arn}
    except AlreadyExists as error:
        raise Invalid(error.message) from None  # upsert of the SDKs looks for this code and these words


async def text_of(call: Call, params: Params) -> str:
    """The definition that the request gives, or names in S3."""
    text, where = params.get("PipelineDefinition"), params.get("PipelineDefinitionS3Location")
    if (text is None) == (where is None):
        raise Invalid("Please provide either PipelineDefinition or PipelineDefinitionS3Location.")
    if where is None:
        return str(text)
    if where.get("VersionId"):
        raise Invalid(
            "PipelineDefinitionS3Location.VersionId is not supported: the latest version of the object is read."
        )
    artifacts = call.ports.artifacts.of(call.scope.account)
    uri = f"s3://{where['Bucket']}/{where['ObjectKey']}"
    try:
        content = await artifacts.read(where["Bucket"], where["ObjectKey"], definition.LARGEST)
        return content.decode()
    except NotFound:
        raise Invalid(f"The pipeline definition {uri} of PipelineDefinitionS3Location does not exist.") from None
    except UnicodeDecodeError:
        raise Invalid(f"The pipeline definition {uri} is not text in UTF-8.") from None


def parsed(text: str) -> PipelineDefinition:
    """Invalid, in a sentence, for what cannot be run."""
    missing = {
        kind: f"it needs {service} {name}, which this release of Clary does not have"
        for kind, (service, name) in steps.NEEDED.items()
        if registry.find(service, name) is None
    }
    return definition.parse(text, missing)


async def _keep(call: Call, name: str, text: str) -> str:
    """Store the text, once per content. The record's name back."""
    kept = record.definition_name(name, text)
    made = records.new(call, record.DEFINITION, kept, {"text": text})
    try:
        await call.store.add(made)
    except AlreadyExists:
        return kept
    return kept


def _version(call: Call, number: int, kept: str, aliases: Sequence[str]) -> Params:
    return {
        "id": number,
        "definition": kept,
        "created": call.now,
        "display": "",
        "description": "",
        "aliases": list(aliases),
        "last": "",
    }


def _aliases(params: Params, versions: Sequence[Mapping[str, Any]]) -> list[str]:
    """Aliases of a new version. Invalid for one that another version has."""
    wanted = list(dict.fromkeys(params.get("PipelineVersionAliases") or ()))
    for each in versions:
        taken = sorted(set(wanted) & set(each["aliases"]))
        if taken:
            raise Invalid(f"The alias '{taken[0]}' is already one of version {each['id']}; remove it there first.")
    return wanted


def _parallelism(params: Params) -> int | None:
    config = params.get("ParallelismConfiguration")
    return None if config is None else int(config["MaxParallelExecutionSteps"])


async def find(call: Call, name: str) -> Record:
    """By name or ARN. NotFound: `Pipeline 'ARN' does not exist.`"""
    if name.startswith("arn:") and not belongs(name, call.scope.region):
        raise NotFound(f"Pipeline '{name}' does not exist.")
    try:
        return await records.named(call, record.PIPELINE, name)
    except NotFound:
        arn = name if name.startswith("arn:") else call.arn(record.PIPELINE, name)
        raise NotFound(f"Pipeline '{arn}' does not exist.") from None


def chosen(pipeline: Record, params: Params) -> Mapping[str, Any]:
    """The version that PipelineVersionId or PipelineVersionAlias names; else the latest."""
    number, alias = params.get("PipelineVersionId"), params.get("PipelineVersionAlias")
    if number is not None and alias is not None:
        raise Invalid("Please provide either PipelineVersionId or PipelineVersionAlias, not both.")
    found = record.version(pipeline, number, alias)
    if found is None:
        raise NotFound(f"Pipeline '{pipeline.arn}' has no version {alias if alias is not None else number}.")
    return found


@operation("sagemaker", "UpdatePipeline")
async def update_pipeline(call: Call, params: Params) -> Params:
    """A new definition is a new version; what else is given replaces what there was."""
    name = params["PipelineName"]
    kept = ""
    if params.get("RoleArn"):
        records.check_role(call, params["RoleArn"])
    if params.get("PipelineDefinition") is not None or params.get("PipelineDefinitionS3Location") is not None:
        await _active(call, name)
        text = await text_of(call, params)
        parsed(text)
        kept = await _keep(call, name, text)

    def change(old: Record) -> Record:
        versions = list(old.document["versions"])
        number = versions[-1]["id"] + 1
        latest = _version(call, number, kept or versions[-1]["definition"], _aliases(params, versions))
        told = {
            key: params[member]
            for member, key in (
                ("PipelineDescription", "description"),
                ("PipelineDisplayName", "display"),
                ("RoleArn", "role"),
            )
            if member in params
        }
        if params.get("ParallelismConfiguration"):
            told["parallelism"] = _parallelism(params)
        changed = {**old.document, **told, "versions": [*versions, latest], "changed_by": call.principal}
        return replace(old, modified=call.now, document=changed)

    updated = await records.amend(call, lambda: _active(call, name), change)
    return {"PipelineArn": updated.arn, "PipelineVersionId": updated.document["versions"][-1]["id"]}


async def _active(call: Call, name: str) -> Record:
    found = await find(call, name)
    if found.status != record.ACTIVE_PIPELINE:
        raise InUse(f"Pipeline '{found.arn}' is being deleted.")
    return found


@operation("sagemaker", "UpdatePipelineVersion")
async def update_pipeline_version(call: Call, params: Params) -> Params:
    """Its name, description and aliases. An alias that another version has moves to this one."""
    aliases = params.get("PipelineVersionAliasOperations") or {}
    number = params["PipelineVersionId"]

    def change(old: Record) -> Record:
        chosen(old, {"PipelineVersionId": number})
        added, removed = set(aliases.get("Add") or ()), set(aliases.get("Remove") or ())
        versions = []
        for each in old.document["versions"]:
            if each["id"] != number:
                versions.append({**each, "aliases": [alias for alias in each["aliases"] if alias not in added]})
                continue
            kept = [alias for alias in each["aliases"] if alias not in removed]
            kept += sorted(added - set(kept))
            if len(kept) > _ALIASES:
                raise Invalid(f"A version of a pipeline can have at most {_ALIASES} aliases.")
            told = {"aliases": kept}
            if "PipelineVersionDisplayName" in params:
                told["display"] = params["PipelineVersionDisplayName"]
            if "PipelineVersionDescription" in params:
                told["description"] = params["PipelineVersionDescription"]
            versions.append({**each, **told})
        return replace(old, modified=call.now, document={**old.document, "versions": versions})

    updated = await records.amend(call, lambda: _active(call, params["PipelineArn"]), change)
    return {"PipelineArn": updated.arn, "PipelineVersionId": number}


@operation("sagemaker", "DescribePipeline")
async def describe_pipeline(call: Call, params: Params) -> Params:
    pipeline = await find(call, params["PipelineName"])
    version = chosen(pipeline, params)
    text = await stored_text(call, version["definition"])
    return {**_described(call, pipeline), "PipelineDefinition": text, **_told(version)}


def _described(_: Call, pipeline: Record) -> Params:
    document = pipeline.document
    answer: Params = {
        "PipelineArn": pipeline.arn,
        "PipelineName": pipeline.name,
        "PipelineDisplayName": document["display"],
        "PipelineDescription": document["description"],
        "RoleArn": document["role"],
        "PipelineStatus": pipeline.status,
        "CreationTime": pipeline.created,
        "LastModifiedTime": pipeline.modified,
        "CreatedBy": records.user_context(document["by"]),
        "LastModifiedBy": records.user_context(document["changed_by"]),
    }
    if document.get("ran"):
        answer["LastRunTime"] = document["ran"]
    if document["parallelism"] is not None:
        answer["ParallelismConfiguration"] = {"MaxParallelExecutionSteps": document["parallelism"]}
    return answer


searchable.register(
    Searchable(
        "Pipeline",
        record.PIPELINE,
        _described,
        Kept({**searchable.TIMES, "PipelineName": "name", "PipelineArn": "arn", "PipelineStatus": "status"}),
    )
)


def _told(version: Mapping[str, Any]) -> Params:
    found: Params = {}
    for key, member in (
        ("display", "PipelineVersionDisplayName"),
        ("description", "PipelineVersionDescription"),
        ("aliases", "PipelineVersionAliases"),
    ):
        if version[key]:
            found[member] = version[key]
    return found


async def stored_text(call: Call, kept: str) -> str:
    """The text of a definition. NotFound where its pipeline was deleted."""
    found = await call.store.get(record.DEFINITION, call.scope, kept)
    if found is None:
        raise NotFound("The pipeline definition is gone: the pipeline was deleted.")
    return str(found.document["text"])


@operation("sagemaker", "ListPipelines")
async def list_pipelines(call: Call, params: Params) -> Params:
    """All pipelines are a customer's: AWS manages none here."""
    if params.get("ManagedBy") == "AWS":
        return {"PipelineSummaries": []}
    query = paging.query(call, params, record.PIPELINE)
    query = replace(
        query,
        name_contains=params.get("PipelineNamePrefix", ""),
        created_after=paging.seconds(params.get("CreatedAfter")),
        created_before=paging.seconds(params.get("CreatedBefore")),
    )
    prefix = params.get("PipelineNamePrefix", "").lower()
    found, more = await paging.page(call, params, query, lambda each: each.name.lower().startswith(prefix))
    return {"PipelineSummaries": [_summary(each) for each in found], **more}


def _summary(pipeline: Record) -> Params:
    summary: Params = {
        "PipelineArn": pipeline.arn,
        "PipelineName": pipeline.name,
        "PipelineDisplayName": pipeline.document["display"],
        "PipelineDescription": pipeline.document["description"],
        "RoleArn": pipeline.document["role"],
        "CreationTime": pipeline.created,
        "LastModifiedTime": pipeline.modified,
    }
    if pipeline.document.get("ran"):
        summary["LastExecutionTime"] = pipeline.document["ran"]
    return summary


@operation("sagemaker", "ListPipelineVersions")
async def list_pipeline_versions(call: Call, params: Params) -> Params:
    """Newest first, unless SortOrder says otherwise."""
    pipeline = await find(call, params["PipelineName"])
    after, before = paging.seconds(params.get("CreatedAfter")), paging.seconds(params.get("CreatedBefore"))
    versions = [
        each
        for each in pipeline.document["versions"]
        if (after is None or each["created"] > after) and (before is None or each["created"] < before)
    ]
    if params.get("SortOrder", "Descending") == "Descending":
        versions.reverse()
    found, more = paging.part(call, params, versions)
    return {"PipelineVersionSummaries": [_version_summary(pipeline, each) for each in found], **more}


def _version_summary(pipeline: Record, version: Mapping[str, Any]) -> Params:
    summary: Params = {
        "PipelineArn": pipeline.arn,
        "PipelineVersionId": version["id"],
        "CreationTime": version["created"],
        **_told(version),
    }
    if version["last"]:
        summary["LastExecutionPipelineExecutionArn"] = version["last"]
    return summary


@operation("sagemaker", "DeletePipeline")
async def delete_pipeline(call: Call, params: Params) -> Params:
    """Mark it; its loop removes it with its versions and executions. Refused while an execution runs."""
    name = params["PipelineName"]
    pipeline = await find(call, name)
    if pipeline.status == record.ACTIVE_PIPELINE:
        begin = f"{pipeline.name}{record.BETWEEN}"
        running = Query(record.KIND, call.scope, name_contains=begin, statuses=record.ACTIVE, limit=100)
        for each in await call.store.page(running):
            if each.name.startswith(begin):
                raise InUse(
                    f"Pipeline '{pipeline.arn}' cannot be deleted while its execution {each.arn} is {each.status}: stop the execution, "
                    "or wait until it ends."
                )

    def change(old: Record) -> Record:
        return replace(old, status=record.DELETING, modified=call.now)

    await records.amend(call, lambda: find(call, name), change)
    await holding.gone(call, pipeline)
    return {"PipelineArn": pipeline.arn}
