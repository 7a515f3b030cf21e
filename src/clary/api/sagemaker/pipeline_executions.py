"""Executions of pipelines: start, stop, retry, update, describe, list. Handlers record what is asked; the execution's loop acts."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from clary.api import holding, paging, records, searchable
from clary.api.call import Call, Params
from clary.api.registry import operation
from clary.api.sagemaker import pipelines
from clary.api.searchable import Searchable
from clary.domain.errors import AlreadyExists, IllegalTransition, InUse, Invalid, NotFound
from clary.domain.lifecycle import ExecutionStatus, StepStatus
from clary.domain.pipelines import parameters, record, turn
from clary.domain.pipelines.definition import PipelineDefinition
from clary.domain.resources import Query, Record
from clary.domain.search.plan import Kept
from clary.guarded import until_first


@operation("sagemaker", "StartPipelineExecution")
async def start_pipeline_execution(call: Call, params: Params) -> Params:
    """Record the execution of a version. The same ClientRequestToken again is the same execution."""
    pipeline = await pipelines.find(call, params["PipelineName"])
    id_ = record.execution_id(f"{pipeline.arn} {pipeline.created}", params["ClientRequestToken"])
    name = f"{pipeline.name}{record.BETWEEN}{id_}"
    asked = {key: value for key, value in params.items() if key not in ("ClientRequestToken", "PipelineName")}
    before = await call.store.get(record.KIND, call.scope, name)
    if before is not None:
        return _again(before, asked)
    if pipeline.status != record.ACTIVE_PIPELINE:
        raise InUse(f"Pipeline '{pipeline.arn}' is being deleted.")
    if params.get("RoleArn"):
        records.check_role(call, params["RoleArn"])
    version = pipelines.chosen(pipeline, params)
    parsed = pipelines.parsed(await pipelines.stored_text(call, version["definition"]))
    values = parameters.resolve(parsed.parameters, params.get("PipelineParameters") or ())
    document = {
        "request": asked,
        "id": id_,
        "pipeline": pipeline.name,
        "pipeline_version": version["id"],
        "definition": version["definition"],
        "parameters": values,
        "parallelism": _parallelism(params, pipeline.document["parallelism"]),
        "display": params.get("PipelineExecutionDisplayName", f"execution-{int(call.now * 1000)}"),
        "description": params.get("PipelineExecutionDescription", ""),
        "role": params.get("RoleArn") or pipeline.document["role"],
        "selective": await _selective(call, params, pipeline, parsed),
        "secret": secrets.token_hex(16),
        "by": call.principal,
        "changed_by": call.principal,
        "tags": [],
        "steps": {},
        "skipped": [],
        "tries": {},
        "failure": "",
    }
    made = records.new(call, record.KIND, name, document, ExecutionStatus.EXECUTING)
    try:
        await records.add(call, made)
    except AlreadyExists:  # an attempt with this token was still under way
        return _again(await _find(call, made.arn), asked)
    await _note(call, pipeline, made, version["id"])
    return {"PipelineExecutionArn": made.arn}


def _again(before: Record, asked: Params) -> Params:
    """What a repeated StartPipelineExecution is answered. Invalid when it asks for something else."""
    if before.document["request"] != asked:
        raise Invalid(
            f"The ClientRequestToken was already used, with other parameters, for {before.arn}: use a new token for a new execution."
        )
    return {"PipelineExecutionArn": before.arn}


def _parallelism(params: Params, otherwise: int | None) -> int | None:
    config = params.get("ParallelismConfiguration")
    return otherwise if config is None else int(config["MaxParallelExecutionSteps"])


async def _note(call: Call, pipeline: Record, made: Record, number: int) -> None:
    """Tell the pipeline of its newest execution. One that was deleted meanwhile has the execution stopped."""

    async def attempt() -> Record | None:
        current = await call.store.get(record.PIPELINE, call.scope, pipeline.name)
        if current is None or current.status != record.ACTIVE_PIPELINE:
            return None
        versions = [
            {**each, "last": made.arn} if each["id"] == number else each for each in current.document["versions"]
        ]
        return await call.store.save(
            replace(current, document={**current.document, "versions": versions, "ran": call.now})
        )

    if await until_first(attempt) is None:
        await _change(call, made.arn, lambda old: record.stop_asked(old, call.now))
        raise NotFound(f"Pipeline '{pipeline.arn}' does not exist: it was deleted while the execution was started.")


async def _selective(call: Call, params: Params, pipeline: Record, parsed: PipelineDefinition) -> dict[str, Any] | None:
    """Which steps run, and where the others' results come from. Invalid for what could not be carried out."""
    config = params.get("SelectiveExecutionConfig")
    if not config:
        return None
    chosen = [each["StepName"] for each in config["SelectedSteps"]]
    unknown = [name for name in chosen if name not in parsed.steps]
    if unknown:
        raise Invalid(f"SelectedSteps names '{unknown[0]}', which the pipeline does not have.")
    needed = sorted({other for name in chosen for other in parsed.steps[name].needs} - set(chosen))
    arn = config.get("SourcePipelineExecutionArn", "")
    if not arn:
        if needed:
            raise Invalid(
                f"The selected steps need results of {', '.join(needed)}: give SourcePipelineExecutionArn, or select these steps too."
            )
        return {"steps": chosen, "source": ""}
    source = await _find(call, arn)
    if source.document["pipeline"] != pipeline.name:
        raise Invalid(f"SourcePipelineExecutionArn {arn} is an execution of another pipeline.")
    if source.status in record.ACTIVE:
        raise Invalid(f"SourcePipelineExecutionArn {arn} is {source.status}: wait until it has ended.")
    for name in needed:
        state = source.document["steps"].get(name) or {}
        if state.get("status") != StepStatus.SUCCEEDED:
            raise Invalid(
                f"The selected steps need results of '{name}', which did not succeed in {arn}: select '{name}' too."
            )
    return {"steps": chosen, "source": source.arn}


async def _find(call: Call, arn: str) -> Record:
    """NotFound: `Pipeline execution with ARN ... does not exist.`"""
    try:
        return await records.named(call, record.KIND, arn)
    except NotFound:
        raise NotFound(f"Pipeline execution with ARN {arn} does not exist.") from None


async def _change(call: Call, arn: str, change: Any) -> Record:
    """Change the record as the caller. InUse (ConflictException) where its status forbids it."""

    def attempt(old: Record) -> Record:
        try:
            found: Record = change(old)
        except IllegalTransition:
            raise InUse(f"Pipeline execution with ARN {arn} is {old.status}.") from None
        return replace(found, document={**found.document, "changed_by": call.principal})

    return await records.amend(call, lambda: _find(call, arn), attempt)


@operation("sagemaker", "StopPipelineExecution")
async def stop_pipeline_execution(call: Call, params: Params) -> Params:
    """Steps that run are asked to stop; without effect on an execution that is stopping."""
    changed = await _change(call, params["PipelineExecutionArn"], lambda old: record.stop_asked(old, call.now))
    return {"PipelineExecutionArn": changed.arn}


@operation("sagemaker", "RetryPipelineExecution")
async def retry_pipeline_execution(call: Call, params: Params) -> Params:
    """Steps that did not succeed run again. The same ClientRequestToken again changes nothing."""
    token = params["ClientRequestToken"]

    def change(old: Record) -> Record:
        if old.document.get("retry_token") == token:
            return old
        changed = record.retry_asked(old, call.now, _parallelism(params, None))
        return replace(changed, document={**changed.document, "retry_token": token})

    found = await _find(call, params["PipelineExecutionArn"])
    pipeline = await call.store.get(record.PIPELINE, call.scope, str(found.document["pipeline"]))
    if pipeline is None or pipeline.status != record.ACTIVE_PIPELINE:
        raise InUse(f"The pipeline of {found.arn} is being deleted.")
    return {"PipelineExecutionArn": (await _change(call, found.arn, change)).arn}


@operation("sagemaker", "UpdatePipelineExecution")
async def update_pipeline_execution(call: Call, params: Params) -> Params:
    """Its description, display name and parallelism, which the next step to begin goes by."""

    def change(old: Record) -> Record:
        told = {
            key: params[member]
            for member, key in (
                ("PipelineExecutionDescription", "description"),
                ("PipelineExecutionDisplayName", "display"),
            )
            if member in params
        }
        told["parallelism"] = _parallelism(params, old.document["parallelism"])
        return replace(old, modified=call.now, document={**old.document, **told})

    return {"PipelineExecutionArn": (await _change(call, params["PipelineExecutionArn"], change)).arn}


@operation("sagemaker", "DescribePipelineExecution")
async def describe_pipeline_execution(call: Call, params: Params) -> Params:
    """Held for clients that wait, until the execution ends."""
    found = await holding.settled(call, await _find(call, params["PipelineExecutionArn"]), record.ACTIVE)
    if found is None:
        raise NotFound(f"Pipeline execution with ARN {params['PipelineExecutionArn']} does not exist.")
    return {**_described(call, found), "RoleArn": found.document["role"]}


def _described(_: Call, found: Record) -> Params:
    document = found.document
    answer: Params = {
        "PipelineArn": found.arn.rpartition(record.BETWEEN)[0],
        "PipelineExecutionArn": found.arn,
        "PipelineExecutionDisplayName": document["display"],
        "PipelineExecutionStatus": found.status,
        "PipelineExecutionDescription": document["description"],
        "CreationTime": found.created,
        "LastModifiedTime": found.modified,
        "CreatedBy": records.user_context(document["by"]),
        "LastModifiedBy": records.user_context(document["changed_by"]),
        "PipelineVersionId": document["pipeline_version"],
    }
    if document["failure"]:
        answer["FailureReason"] = document["failure"]
    if document["parallelism"] is not None:
        answer["ParallelismConfiguration"] = {"MaxParallelExecutionSteps": document["parallelism"]}
    if document.get("experiment") and "refused" not in document["experiment"]:
        answer["PipelineExperimentConfig"] = document["experiment"]
    if document["selective"]:
        answer["SelectiveExecutionConfig"] = document["request"]["SelectiveExecutionConfig"]
    return answer


def _searched(call: Call, found: Record) -> Params:
    return {**_described(call, found), "PipelineParameters": _parameters(found)}


def _parameters(found: Record) -> list[Params]:
    return [{"Name": name, "Value": _text(value)} for name, value in found.document["parameters"].items()]


searchable.register(
    Searchable(
        "PipelineExecution",
        record.KIND,
        _searched,
        Kept({**searchable.TIMES, "PipelineExecutionArn": "arn", "PipelineExecutionStatus": "status"}),
    )
)


@operation("sagemaker", "ListPipelineExecutions")
async def list_pipeline_executions(call: Call, params: Params) -> Params:
    pipeline = await pipelines.find(call, params["PipelineName"])
    begin = f"{pipeline.name}{record.BETWEEN}"
    query = Query(
        record.KIND,
        call.scope,
        name_contains=begin,
        created_after=paging.seconds(params.get("CreatedAfter")),
        created_before=paging.seconds(params.get("CreatedBefore")),
        sort_by="name" if params.get("SortBy") == "PipelineExecutionArn" else "created",
        descending=params.get("SortOrder", "Descending") == "Descending",
        limit=params.get("MaxResults", 10),
        after=paging.resume(call, params),
    )
    number = None
    if params.get("PipelineVersionAlias"):
        number = pipelines.chosen(pipeline, {"PipelineVersionAlias": params["PipelineVersionAlias"]})["id"]

    def keep(each: Record) -> bool:
        return each.name.startswith(begin) and number in (None, each.document["pipeline_version"])

    found, more = await paging.page(call, params, query, keep)
    return {"PipelineExecutionSummaries": [_summary(each) for each in found], **more}


def _summary(found: Record) -> Params:
    summary: Params = {
        "PipelineExecutionArn": found.arn,
        "StartTime": found.created,
        "PipelineExecutionStatus": found.status,
        "PipelineExecutionDescription": found.document["description"],
        "PipelineExecutionDisplayName": found.document["display"],
    }
    if found.document["failure"]:
        summary["PipelineExecutionFailureReason"] = found.document["failure"]
    return summary


@operation("sagemaker", "ListPipelineExecutionSteps")
async def list_pipeline_execution_steps(call: Call, params: Params) -> Params:
    """Steps that have begun, the latest first unless SortOrder says otherwise."""
    if not params.get("PipelineExecutionArn"):
        raise Invalid("Please provide PipelineExecutionArn.")
    found = await _find(call, params["PipelineExecutionArn"])
    states = list(found.document["steps"].items())
    states.sort(key=lambda each: float(each[1]["started"]))
    if params.get("SortOrder", "Descending") == "Descending":
        states.reverse()
    shown, more = paging.part(call, params, states)
    return {"PipelineExecutionSteps": [_step(name, state) for name, state in shown], **more}


def _step(name: str, state: Mapping[str, Any]) -> Params:
    answer: Params = {
        "StepName": name,
        "StartTime": state["started"],
        "StepStatus": state["status"],
        "AttemptCount": state.get("attempt", 1),
        "Metadata": turn.metadata(state),
    }
    for key, member in (
        ("display", "StepDisplayName"),
        ("description", "StepDescription"),
        ("ended", "EndTime"),
        ("failure", "FailureReason"),
    ):
        if state.get(key):
            answer[member] = state[key]
    if state.get("origin"):
        answer["CacheHitResult"] = {"SourcePipelineExecutionArn": state["origin"]["execution"]}
    if state.get("selective"):
        answer["SelectiveExecutionResult"] = {"SourcePipelineExecutionArn": state["selective"]}
    return answer


@operation("sagemaker", "ListPipelineParametersForExecution")
async def list_pipeline_parameters_for_execution(call: Call, params: Params) -> Params:
    """With their values, defaults too."""
    found = await _find(call, params["PipelineExecutionArn"])
    values = _parameters(found)
    shown, more = paging.part(call, params, values)
    return {"PipelineParameters": list(shown), **more}


def _text(value: Any) -> str:
    return str(value)[:1024]


@operation("sagemaker", "DescribePipelineDefinitionForExecution")
async def describe_pipeline_definition_for_execution(call: Call, params: Params) -> Params:
    """The text of the version that the execution runs."""
    found = await _find(call, params["PipelineExecutionArn"])
    text = await pipelines.stored_text(call, found.document["definition"])
    return {"PipelineDefinition": text, "CreationTime": found.created}
