"""Answers to Callback steps: whoever has the token of a step that runs says how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from clary.api import paging
from clary.api.call import Call, Params
from clary.api.registry import operation
from clary.api.sagemaker import pipelines
from clary.domain.errors import Invalid, NotFound
from clary.domain.pipelines import parameters, record
from clary.domain.resources import Query, Record
from clary.guarded import until_first

_PAGE = 100


@operation("sagemaker", "SendPipelineExecutionStepSuccess")
async def send_pipeline_execution_step_success(call: Call, params: Params) -> Params:
    """The step succeeds, with these output parameters. A token that no running step has is not found."""
    given = {each["Name"]: each["Value"] for each in params.get("OutputParameters") or ()}
    return await _answer(call, params, given, None)


@operation("sagemaker", "SendPipelineExecutionStepFailure")
async def send_pipeline_execution_step_failure(call: Call, params: Params) -> Params:
    """The step fails, for this reason."""
    return await _answer(call, params, {}, params.get("FailureReason", ""))


async def _answer(call: Call, params: Params, given: Mapping[str, str], reason: str | None) -> Params:
    """Record the answer, the first that is given. The same one again changes nothing, while the execution runs."""

    async def attempt() -> Record:
        found, step = await _find(call, params["CallbackToken"])
        outputs = await _typed(call, found, step, given) if reason is None else {}
        told = {
            "ok": reason is None,
            "reason": reason or "",
            "outputs": outputs,
            "by": params.get("ClientRequestToken", ""),
        }
        state = found.document["steps"][step]
        before = state.get("answer")
        if before is not None and {**before, "by": ""} == {**told, "by": ""} and told["by"] in ("", before["by"]):
            return found
        if before is not None or state["status"] not in record.RUNNING:
            raise NotFound("No step that runs has this CallbackToken.")
        return await call.store.save(record.answered(found, step, told, call.now))

    return {"PipelineExecutionArn": (await until_first(attempt)).arn}


async def _find(call: Call, token: str) -> tuple[Record, str]:
    """The execution and the step that wait for an answer with that token."""
    query = Query(record.KIND, call.scope, statuses=record.ACTIVE, limit=_PAGE)
    while True:
        page = await call.store.page(query)
        for each in page:
            step = record.step_of(each, token)
            if step is not None:
                return each, step
        if len(page) < _PAGE:
            raise NotFound("No step that runs has this CallbackToken.")
        query = replace(query, after=paging.position(page[-1], query.sort_by))


async def _typed(call: Call, found: Record, step: str, given: Mapping[str, str]) -> dict[str, Any]:
    """The outputs, of the types that the definition declares."""
    parsed = pipelines.parsed(await pipelines.stored_text(call, found.document["definition"]))
    declared = parsed.steps[step].outputs
    values: dict[str, Any] = {}
    for name, text in given.items():
        if name not in declared:
            known = ", ".join(declared) or "none"
            raise Invalid(f"Step '{step}' has no output parameter '{name}'. Its output parameters: {known}.")
        try:
            values[name] = parameters.typed(declared[name], text)
        except ValueError:
            raise Invalid(f"The output parameter '{name}' must be of type {declared[name]}; it is {text!r}.") from None
    return values
