"""Tuning jobs: create, describe, list, stop, delete, and the list of their training jobs. Handlers record; the tuning loop acts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clary.api import holding, paging, records, searchable, tagging
from clary.api.call import Call, Params
from clary.api.registry import operation
from clary.api.sagemaker import jobs as handled
from clary.api.sagemaker import training_jobs
from clary.api.searchable import Searchable
from clary.domain.errors import Invalid, NotFound
from clary.domain.fields import table
from clary.domain.jobs import log_metrics, training
from clary.domain.lifecycle import JobStatus
from clary.domain.resources import Record
from clary.domain.search.plan import Kept
from clary.domain.tuning import criteria, warm_start
from clary.domain.tuning import record as tuning
from clary.domain.tuning import request as asked
from clary.domain.tuning.request import Definition

_SHOWN = ("WarmStartConfig", "Autotune")
_CHILD = "trial"  # stands for a training job's name while a request is checked


@operation(
    "sagemaker",
    "CreateHyperParameterTuningJob",
    again=lambda _, record: {"HyperParameterTuningJobArn": record.arn},
)
async def create_tuning_job(call: Call, params: Params) -> Params:
    """Record the job as InProgress; the tuning loop creates its training jobs."""
    table.check("CreateHyperParameterTuningJob", params, call.settings.strict_fields)
    of = asked.check(params)
    for definition in of:
        trial = asked.child(definition, _CHILD, {})
        await training_jobs.check(call, trial)
        _check_metric(call, definition, trial)
    parents = [await _parent(call, name) for name in warm_start.parents(params)]
    for parent in parents:
        warm_start.check(params, of, parent)
    request = {name: value for name, value in params.items() if name != "Tags"}
    job_id = call.new_id()
    seed = params["HyperParameterTuningJobConfig"].get("RandomSeed")
    document = tuning.document(
        request,
        tagging.checked(params.get("Tags")),
        call.principal,
        job_id,
        tuning.seed_of(job_id) if seed is None else seed,
        [entry for parent in parents for entry in warm_start.prior(parent)],
        warm_start.best(parents, of[0].maximize) if warm_start.identical(params) else None,
    )
    record = records.new(call, tuning.KIND, params["HyperParameterTuningJobName"], document, JobStatus.IN_PROGRESS)
    taken = (
        "Hyper parameter tuning jobs names must be unique within an AWS account and region, and a tuning job with this name already "
        f"exists ({record.arn})"
    )
    return {"HyperParameterTuningJobArn": (await records.add(call, record, taken)).arn}


def _check_metric(call: Call, definition: Definition, trial: Params) -> None:
    """The objective is a metric that the training jobs can tell: one of the built-in algorithm's, or one that is defined."""
    defined = [entry["Name"] for entry in trial["AlgorithmSpecification"].get("MetricDefinitions") or []]
    own = [entry["Name"] for entry in _built_in(call, definition)]
    if definition.metric in (*defined, *own):
        return
    if own:
        raise Invalid(
            f"The objective metric '{definition.metric}' is not one that the algorithm reports. Choose one of: {', '.join(own)}."
        )
    raise Invalid(
        "A metric is required for this hyperparameter tuning job objective. Provide a metric in the metric definitions. "
        f"MetricDefinitions have no '{definition.metric}'."
    )


def _built_in(call: Call, definition: Definition) -> list[dict[str, str]]:
    """The metrics that the image's own algorithm reports, where that is what runs."""
    runtime = call.ports.runtimes.resolve(definition.image)
    if runtime is None or not runtime.algorithm or not training.built_in(asked.child(definition, _CHILD, {})):
        return []
    return log_metrics.built_in_definitions(runtime.algorithm)


async def _parent(call: Call, name: str) -> Record:
    record = await call.store.get(tuning.KIND, call.scope, name)
    if record is None:
        raise Invalid(f"The parent tuning job '{name}' of WarmStartConfig does not exist.")
    return record


async def _find(call: Call, name: str) -> Record:
    return await handled.find(call, tuning.KIND, name, _missing(name))


def _missing(name: str) -> str:
    return f"Amazon SageMaker can't find a tuning job with the name {name}. Check the name and try again."


# -- describe -----------------------------------------------------------------------------------------------------------------


@operation("sagemaker", "DescribeHyperParameterTuningJob")
async def describe_tuning_job(call: Call, params: Params) -> Params:
    """Held for clients that wait, until the job ends."""
    name = params["HyperParameterTuningJobName"]
    record = await holding.settled(call, await _find(call, name), tuning.ACTIVE)
    if record is None:
        raise NotFound(_missing(name))
    return _described(call, record)


def _described(call: Call, record: Record) -> Params:
    document, request = record.document, record.document["request"]
    of = asked.definitions(request)
    answer: Params = {
        **_summary(record),
        "HyperParameterTuningJobConfig": request["HyperParameterTuningJobConfig"],
        "ConsumedResources": {"RuntimeInSeconds": sum(trial.get("seconds", 0) for trial in document["trials"])},
        "TuningJobCompletionDetails": _completion(document, of),
        **{name: request[name] for name in _SHOWN if name in request},
    }
    for left_out in ("Strategy", "ResourceLimits"):
        del answer[left_out]
    # Which of the two was sent matters: SDK v2's attach looks for the first.
    if request.get("TrainingJobDefinition"):
        answer["TrainingJobDefinition"] = _definition(call, of[0])
    else:
        answer["TrainingJobDefinitions"] = [_definition(call, each) for each in of]
    best = tuning.best(document, of[0].maximize)
    if best is not None:
        answer["BestTrainingJob"] = _trial(call, of, best)
    if warm_start.identical(request):
        overall = _overall(call, record, of, best)
        answer |= {"OverallBestTrainingJob": overall} if overall is not None else {}
    reason = document.get("failure") or document.get("warning")
    return {**answer, **({"FailureReason": reason} if reason else {})}


searchable.register(
    Searchable(
        "HyperParameterTuningJob",
        tuning.KIND,
        _described,
        Kept(
            {
                **searchable.TIMES,
                "HyperParameterTuningJobName": "name",
                "HyperParameterTuningJobArn": "arn",
                "HyperParameterTuningJobStatus": "status",
            }
        ),
    )
)


def _definition(call: Call, definition: Definition) -> Params:
    """With the metrics of a built-in algorithm, as DescribeTrainingJob shows them: SDK v2's attach reads them unasked."""
    shown = definition.shown()
    specification = {"MetricDefinitions": _built_in(call, definition), **shown["AlgorithmSpecification"]}
    return {**shown, "AlgorithmSpecification": specification}


def _completion(document: Mapping[str, Any], of: Sequence[Definition]) -> Params:
    details: Params = {"NumberOfTrainingJobsObjectiveNotImproving": criteria.not_improving(document, of[0].maximize)}
    if "converged" in document:
        details["ConvergenceDetectedTime"] = document["converged"]
    return details


def _overall(call: Call, record: Record, of: Sequence[Definition], best: Mapping[str, Any] | None) -> Params | None:
    """The best training job of this tuning job and of its parents."""
    earlier = record.document.get("prior_best")
    candidates = [trial for trial in (best, earlier) if trial is not None]
    if not candidates:
        return None
    choose = max if of[0].maximize else min
    found = choose(candidates, key=lambda trial: float(trial["value"]))
    return {**_trial(call, of, found), "TuningJobName": found.get("tuning_job", record.name)}


def _trial(call: Call, of: Sequence[Definition], trial: Mapping[str, Any]) -> Params:
    """HyperParameterTrainingJobSummary."""
    definition = of[trial["definition"]]
    shown: Params = {
        "TrainingJobName": trial["name"],
        "TrainingJobArn": call.arn("training-job", trial["name"]),
        "CreationTime": trial["created"],
        "TrainingJobStatus": trial["status"],
        "TunedHyperParameters": dict(trial["params"]),
        "ObjectiveStatus": trial["objective"],
    }
    if definition.name:
        shown["TrainingJobDefinitionName"] = definition.name
    names = {"started": "TrainingStartTime", "ended": "TrainingEndTime", "failure": "FailureReason"}
    shown |= {member: trial[name] for name, member in names.items() if trial.get(name)}
    if trial["objective"] == "Succeeded":
        shown["FinalHyperParameterTuningJobObjectiveMetric"] = {
            "Type": "Maximize" if definition.maximize else "Minimize",
            "MetricName": definition.metric,
            "Value": trial["value"],
        }
    return shown


def _summary(record: Record) -> Params:
    document = record.document
    summary: Params = {
        "HyperParameterTuningJobName": record.name,
        "HyperParameterTuningJobArn": record.arn,
        "HyperParameterTuningJobStatus": record.status,
        "Strategy": asked.strategy(document["request"]),
        "CreationTime": record.created,
        "LastModifiedTime": record.modified,
        "TrainingJobStatusCounters": tuning.job_counters(document),
        "ObjectiveStatusCounters": tuning.objective_counters(document),
        "ResourceLimits": dict(asked.limits(document["request"])),
    }
    if "ended" in document:
        summary["HyperParameterTuningEndTime"] = document["ended"]
    return summary


# -- lists --------------------------------------------------------------------------------------------------------------------


@operation("sagemaker", "ListHyperParameterTuningJobs")
async def list_tuning_jobs(call: Call, params: Params) -> Params:
    wanted = paging.query(call, params, tuning.KIND, sort="Name", order="Ascending")
    found, more = await paging.page(call, params, wanted)
    return {"HyperParameterTuningJobSummaries": [_summary(record) for record in found], **more}


@operation("sagemaker", "ListTrainingJobsForHyperParameterTuningJob")
async def list_training_jobs_of_tuning_job(call: Call, params: Params) -> Params:
    """From the tuning job's own record. Sorted by FinalObjectiveMetricValue, jobs without a value are left out, and where no order is
    given the best comes first."""
    record = await _find(call, params["HyperParameterTuningJobName"])
    of = asked.definitions(record.document["request"])
    by, wanted = params.get("SortBy", "Name"), params.get("StatusEquals")
    trials = [trial for trial in record.document["trials"] if trial["made"] or not tuning.is_open(trial)]
    if wanted:
        trials = [trial for trial in trials if trial["status"] == wanted]
    if by == "FinalObjectiveMetricValue":
        trials = [trial for trial in trials if trial["objective"] == "Succeeded"]
    best_first = "Descending" if by == "FinalObjectiveMetricValue" and of[0].maximize else "Ascending"
    descending = params.get("SortOrder", best_first) == "Descending"
    ordered = sorted(trials, key=lambda trial: _place(trial, by), reverse=descending)
    after = paging.resume(call, params)
    if after is not None:
        ordered = [
            trial for trial in ordered if (_place(trial, by) < after if descending else _place(trial, by) > after)
        ]
    limit = params.get("MaxResults", 10)
    answer: Params = {"TrainingJobSummaries": [_trial(call, of, trial) for trial in ordered[:limit]]}
    if len(ordered) > limit:
        answer["NextToken"] = paging.token(call, params, _place(ordered[limit - 1], by))
    return answer


def _place(trial: Mapping[str, Any], by: str) -> Any:
    """(sort value, name)."""
    keys = {"Name": "name", "CreationTime": "created", "Status": "status", "FinalObjectiveMetricValue": "value"}
    return trial[keys[by]], trial["name"]


# -- stop, delete -------------------------------------------------------------------------------------------------------------


@operation("sagemaker", "StopHyperParameterTuningJob")
async def stop_tuning_job(call: Call, params: Params) -> Params:
    """Mark the job for stopping, and with it its training jobs; without effect if it is already stopping."""
    name = params["HyperParameterTuningJobName"]
    await handled.stop(call, "tuning job", lambda: _find(call, name), tuning.stop_asked)
    return {}


@operation("sagemaker", "DeleteHyperParameterTuningJob")
async def delete_tuning_job(call: Call, params: Params) -> Params:
    """The record alone, of a job that has ended: its training jobs and what they made stay."""
    await handled.delete(call, "tuning job", await _find(call, params["HyperParameterTuningJobName"]))
    return {}
