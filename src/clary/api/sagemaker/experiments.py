"""Experiments and trials. An experiment holds trials, a trial holds components; what holds something cannot be deleted."""

from __future__ import annotations

from dataclasses import replace

from clary.api import paging, records, searchable, tagging
from clary.api.call import Call, Params
from clary.api.plain.noun import Noun
from clary.api.plain.operations import hold, register
from clary.api.registry import operation
from clary.api.searchable import Searchable
from clary.domain.conditions import All, Condition, Term
from clary.domain.errors import InUse
from clary.domain.experiments.components import KIND as COMPONENT
from clary.domain.resources import Query, Record
from clary.domain.search.plan import Kept

TRIAL = "trial"
TAKEN = "{} names must be unique within an AWS account and region. {} with name ({}) already exists."  # the SDK looks for the last words


def _display(_: Call, request: Params) -> str:
    return str(request["ExperimentName"])


EXPERIMENT = register(
    Noun(
        kind="experiment",
        name="Experiment",
        plural="Experiments",
        key=("ExperimentName",),
        status=("", ""),
        holds={TRIAL: "ExperimentName"},
        generated={"DisplayName": _display},
        taken=TAKEN.format("Experiment", "Experiment", "{name}"),
        search="Experiment",
    )
)


async def find(call: Call, kind: str, name: str) -> Record:
    """By name, letters' case aside: the SDK lower-cases names in some calls and not in others. NotFound otherwise."""
    record = await records.any_case(call, kind, name)
    return record if record is not None else await records.find(call, kind, name)


def common(call: Call, params: Params, kind: str, terms: dict[str, str]) -> Query:
    """The Query of a list: `CreatedAfter` and the like, and what its records must have."""
    asked: Params = {name: params[name] for name in ("SortBy", "SortOrder", "MaxResults") if name in params}
    asked |= {"CreationTimeAfter": params.get("CreatedAfter"), "CreationTimeBefore": params.get("CreatedBefore")}
    wanted = paging.query(call, asked, kind)
    conditions: tuple[Condition, ...] = tuple(Term(key, value) for key, value in terms.items())
    condition = conditions[0] if len(conditions) == 1 else All(conditions) if conditions else None
    return replace(wanted, after=paging.resume(call, params), condition=condition)


@operation("sagemaker", "CreateTrial", again=lambda _, record: {"TrialArn": record.arn})
async def create_trial(call: Call, params: Params) -> Params:
    """Record a trial of an experiment."""
    experiment = await find(call, EXPERIMENT.kind, params["ExperimentName"])
    request = {name: value for name, value in params.items() if name != "Tags"}
    request.setdefault("DisplayName", params["TrialName"])
    document = {
        "request": request,
        "tags": tagging.checked(params.get("Tags")),
        "by": call.principal,
        "ExperimentName": experiment.name,
        "terms": {"ExperimentName": [experiment.name]},
    }
    taken = TAKEN.format("Trial", "Trial", params["TrialName"])
    record = await records.add(call, records.new(call, TRIAL, params["TrialName"], document), taken)
    await hold(call, EXPERIMENT, {"ExperimentName": experiment.name}, record)
    return {"TrialArn": record.arn}


def described(record: Record) -> Params:
    """DescribeTrial's answer."""
    document = record.document
    answer: Params = {
        **document["request"],
        "TrialArn": record.arn,
        "CreationTime": record.created,
        "LastModifiedTime": record.modified,
        "CreatedBy": records.user_context(document["by"]),
    }
    if "source" in document:
        answer["Source"] = dict(document["source"])
    if "changed_by" in document:
        answer["LastModifiedBy"] = records.user_context(document["changed_by"])
    return answer


searchable.register(
    Searchable(
        "ExperimentTrial",
        TRIAL,
        lambda _, record: described(record),
        Kept(
            {**searchable.TIMES, "TrialName": "name", "TrialArn": "arn"},
            terms=("ExperimentName",),
            verbatim=("DisplayName", "MetadataProperties"),
        ),
    )
)


@operation("sagemaker", "DescribeTrial")
async def describe_trial(call: Call, params: Params) -> Params:
    return described(await find(call, TRIAL, params["TrialName"]))


@operation("sagemaker", "ListTrials")
async def list_trials(call: Call, params: Params) -> Params:
    """Pages of trials: of an experiment, of a component."""
    terms = {}
    if params.get("ExperimentName"):
        terms["ExperimentName"] = (await find(call, EXPERIMENT.kind, params["ExperimentName"])).name
    names = None
    if params.get("TrialComponentName"):
        component = await find(call, COMPONENT, params["TrialComponentName"])
        names = {each["TrialName"] for each in component.document["parents"]}
    wanted = common(call, params, TRIAL, terms)
    found, more = await paging.page(call, params, wanted, lambda record: names is None or record.name in names)
    return {"TrialSummaries": [_summary(record) for record in found], **more}


def _summary(record: Record) -> Params:
    shown = described(record)
    told = ("TrialName", "TrialArn", "DisplayName", "CreationTime", "LastModifiedTime")
    source = {"TrialSource": shown["Source"]} if "Source" in shown else {}
    return {**{name: shown[name] for name in told}, **source}


@operation("sagemaker", "UpdateTrial")
async def update_trial(call: Call, params: Params) -> Params:
    """Change how a trial is called."""

    def change(old: Record) -> Record:
        name = params.get("DisplayName")
        request = {**old.document["request"], **({"DisplayName": name} if name else {})}
        document = {**old.document, "request": request, "changed_by": call.principal}
        return replace(old, modified=call.now, document=document)

    record = await records.amend(call, lambda: find(call, TRIAL, params["TrialName"]), change)
    return {"TrialArn": record.arn}


@operation("sagemaker", "DeleteTrial")
async def delete_trial(call: Call, params: Params) -> Params:
    """Delete a trial; refused while components are associated with it."""

    async def check(trial: Record) -> None:
        inside = Query(COMPONENT, trial.scope, condition=Term("Parents.TrialName", trial.name))
        if count := await call.store.count(inside):
            raise InUse(
                f"Cannot delete trial {trial.arn}: {count} trial component(s) are associated with it. Call DisassociateTrialComponent "
                "first."
            )

    record = await records.drop(call, TRIAL, params["TrialName"], check)
    return {"TrialArn": record.arn}


async def touched(call: Call, name: str) -> Record:
    """Write the trial once more, so that no Delete of it that counted before succeeds. NotFound when it is gone."""
    return await records.amend(call, lambda: find(call, TRIAL, name), lambda trial: trial)
