"""Trial components: what was tried, with which parameters and artifacts, and which trials they belong to."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from clary.api import paging, records, searchable, tagging
from clary.api.call import Call, Params
from clary.api.registry import operation
from clary.api.sagemaker import component_metrics, experiments
from clary.api.sagemaker.experiments import EXPERIMENT, TAKEN, TRIAL, common, touched
from clary.api.searchable import Searchable
from clary.domain.errors import Invalid, NotFound
from clary.domain.experiments import components, metrics
from clary.domain.experiments.components import KIND
from clary.domain.resources import Record
from clary.domain.search.plan import Kept

_TIMES = ("StartTime", "EndTime")


def _request(params: Params) -> Params:
    """JSON values: times as epoch seconds."""
    return {
        name: value.timestamp() if name in _TIMES and isinstance(value, datetime.datetime) else value
        for name, value in params.items()
        if name != "Tags"
    }


@operation("sagemaker", "CreateTrialComponent", again=lambda _, record: {"TrialComponentArn": record.arn})
async def create_trial_component(call: Call, params: Params) -> Params:
    """Record a component; it belongs to no trial yet."""
    request = components.checked({"DisplayName": params["TrialComponentName"], **_request(params)})
    document = {"request": request, "tags": tagging.checked(params.get("Tags")), "by": call.principal}
    made = records.new(call, KIND, params["TrialComponentName"], components.placed(document, ()))
    taken = TAKEN.format("Trial component", "Trial component", made.name)
    return {"TrialComponentArn": (await records.add(call, made, taken)).arn}


async def find(call: Call, name: str) -> Record:
    """By name or ARN. NotFound otherwise."""
    return await records.named(call, KIND, name)


def described(record: Record) -> Params:
    """DescribeTrialComponent's answer, and what a result of Search has besides."""
    document = record.document
    answer: Params = {
        **document["request"],
        "TrialComponentArn": record.arn,
        "CreationTime": record.created,
        "LastModifiedTime": record.modified,
        "Parents": [dict(each) for each in document["parents"]],
        "Metrics": [],
    }
    if document.get("by"):
        answer["CreatedBy"] = records.user_context(document["by"])
    if document.get("changed_by"):
        answer["LastModifiedBy"] = records.user_context(document["changed_by"])
    if "source" in document:
        answer |= {
            "Source": dict(document["source"]),
            "Sources": [dict(document["source"])],
            "SourceDetail": {"SourceArn": document["source"]["SourceArn"]},
        }
    if document.get("final"):  # of its job
        answer["Metrics"] = metrics.shown(document["final"], document["source"]["SourceArn"])
    if document.get("summaries"):
        answer["Metrics"] = [*answer["Metrics"], *metrics.shown(document["summaries"], record.arn)]
    return answer


searchable.register(
    Searchable(
        "ExperimentTrialComponent",
        KIND,
        lambda _, record: described(record),
        Kept(
            {**searchable.TIMES, "TrialComponentName": "name", "TrialComponentArn": "arn"},
            terms=("Parents.TrialName", "Parents.ExperimentName"),
            verbatim=("DisplayName", "Status", "MetadataProperties", "InputArtifacts", "OutputArtifacts"),
        ),
    )
)


@operation("sagemaker", "DescribeTrialComponent")
async def describe_trial_component(call: Call, params: Params) -> Params:
    """The component, with the summary of each metric that was put into it."""
    record = await component_metrics.whole(call, await find(call, params["TrialComponentName"]))
    shown = described(record)
    return {name: value for name, value in shown.items() if name not in ("Parents", "SourceDetail")}


@operation("sagemaker", "ListTrialComponents")
async def list_trial_components(call: Call, params: Params) -> Params:
    """Pages of components: of an experiment, of a trial, of a job (`SourceArn`, letters' case aside)."""
    terms = {}
    if params.get("ExperimentName"):
        terms["Parents.ExperimentName"] = (await experiments.find(call, EXPERIMENT.kind, params["ExperimentName"])).name
    if params.get("TrialName"):
        terms["Parents.TrialName"] = (await experiments.find(call, TRIAL, params["TrialName"])).name
    if params.get("SourceArn"):
        terms["Source"] = params["SourceArn"].lower()
    found, more = await paging.page(call, params, common(call, params, KIND, terms))
    return {"TrialComponentSummaries": [_summary(record) for record in found], **more}


def _summary(record: Record) -> Params:
    shown = described(record)
    left_out = (
        "Parameters",
        "InputArtifacts",
        "OutputArtifacts",
        "MetadataProperties",
        "Metrics",
        "Parents",
        "Sources",
    )
    summary = {name: value for name, value in shown.items() if name not in (*left_out, "SourceDetail", "Source")}
    return {**summary, **({"TrialComponentSource": shown["Source"]} if "Source" in shown else {})}


@operation("sagemaker", "UpdateTrialComponent")
async def update_trial_component(call: Call, params: Params) -> Params:
    """Change what was recorded: maps are merged by key."""
    changes = {name: value for name, value in _request(params).items() if name != "TrialComponentName"}

    def change(old: Record) -> Record:
        request = components.updated(old.document["request"], changes)
        document = {**old.document, "request": request, "changed_by": call.principal}
        return replace(old, modified=call.now, document=document)

    record = await _amend(call, params["TrialComponentName"], change)
    return {"TrialComponentArn": record.arn}


async def _amend(call: Call, name: str, change: Callable[[Record], Record]) -> Record:
    return await records.amend(call, lambda: find(call, name), change)


@operation("sagemaker", "DeleteTrialComponent")
async def delete_trial_component(call: Call, params: Params) -> Params:
    """Delete a component, with its metrics; refused while it is associated with a trial."""

    async def check(record: Record) -> None:
        if record.document["parents"]:
            trials = ", ".join(each["TrialName"] for each in record.document["parents"])
            raise Invalid(
                f"Cannot delete trial component {record.arn}: it is associated with the trial(s) {trials}. Call "
                "DisassociateTrialComponent first."
            )

    record = await records.drop(call, KIND, params["TrialComponentName"], check)
    await component_metrics.drop(call, record)
    return {"TrialComponentArn": record.arn}


@operation("sagemaker", "AssociateTrialComponent")
async def associate_trial_component(call: Call, params: Params) -> Params:
    """Put a component into a trial; without effect where it is there already."""
    trial = await experiments.find(call, TRIAL, params["TrialName"])
    parent = {"TrialName": trial.name, "ExperimentName": str(trial.document["ExperimentName"])}
    component = await _amend(call, params["TrialComponentName"], lambda old: _moved(call, old, parent, True))
    try:
        trial = await touched(call, trial.name)
    except NotFound:  # deleted meanwhile, when it held nothing yet
        await _amend(call, component.name, lambda old: _moved(call, old, parent, False))
        raise
    return {"TrialComponentArn": component.arn, "TrialArn": trial.arn}


def _moved(call: Call, old: Record, parent: Any, there: bool) -> Record:
    others = [each for each in old.document["parents"] if each["TrialName"] != parent["TrialName"]]
    document = components.placed(old.document, [*others, parent] if there else others)
    return replace(old, modified=call.now, document=document)


@operation("sagemaker", "DisassociateTrialComponent")
async def disassociate_trial_component(call: Call, params: Params) -> Params:
    """Take a component out of a trial. ResourceNotFound where it is not in it."""
    component = await find(call, params["TrialComponentName"])
    if all(each["TrialName"] != params["TrialName"] for each in component.document["parents"]):
        raise NotFound(f"Trial component {component.name} is not associated with trial {params['TrialName']}.")
    parent = {"TrialName": params["TrialName"]}
    component = await _amend(call, component.name, lambda old: _moved(call, old, parent, False))
    return {"TrialComponentArn": component.arn, "TrialArn": call.arn(TRIAL, params["TrialName"])}
