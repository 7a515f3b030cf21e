"""An evaluation as one document: metrics with intervals, slices, comparisons, the brief's threshold, and what a gate makes of them.

The members that SageMaker's model quality reports have keep their places (`binary_classification_metrics.accuracy.value`), so that
ModelMetrics, model cards and `JsonGet` of pipelines read them. Everything else stands beside them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Tuple

import numpy as np

from clary.toolkit.brief import METRICS, Metric
from clary.toolkit.evaluation import measures, resampling
from clary.toolkit.evaluation.data import BINARY, MULTICLASS, REGRESSION, Data, slices
from clary.toolkit.evaluation.predictions import constant
from clary.toolkit.evaluation.resampling import Comparison, Interval, Plan, PredictedRows
from clary.toolkit.evaluation.settings import TRIVIAL, Evaluation
from clary.toolkit.failure import UserError, log

Array = Any  # numpy.ndarray
Document = Dict[str, Any]

LEAST_ROWS = 30  # of a slice that is compared
DEFAULTS = {MULTICLASS: "accuracy", REGRESSION: "rmse"}


@dataclass(frozen=True)
class JudgedModel:
    """Everything that the parts below need: the rows, what is asked, the deciding metric, how to draw."""

    data: Data
    evaluation: Evaluation
    metric: str
    plan: Plan

    @property
    def direction(self) -> str:
        return METRICS[self.metric][0]


def judged(data: Data, evaluation: Evaluation, model: PredictedRows, incumbent: Optional[PredictedRows]) -> Document:
    """The document. UserError when the deciding metric cannot be told from these predictions."""
    plan = Plan(evaluation.bootstrap, evaluation.confidence, evaluation.seed)
    asked = JudgedModel(data, evaluation, _metric(data, evaluation, model), plan)
    log("judging {:,} rows by {}, {} replicates".format(data.rows, asked.metric, plan.of(data.rows)))
    values = measures.metrics(data.problem, data.truth, model, len(data.classes))
    intervals = _intervals(asked, np.arange(data.rows), model, values)
    made: Document = {
        "version": 1.0,
        "dataset": _dataset(asked),
        "metric": _deciding(asked, intervals[asked.metric]),
        measures.GROUPS[data.problem]: _group(asked, model, values, intervals),
    }
    if data.problem == BINARY:
        made.update(
            {name: curve for name, curve in measures.curves(data.truth, model).items() if name.startswith("calib")}
        )
    made["undefined"] = measures.undefined(data.problem, data.truth, model)
    if evaluation.slices:
        made["slices"] = _slices(asked, model)
    made["comparisons"] = _comparisons(asked, model, incumbent, intervals[asked.metric])
    if evaluation.brief is not None:
        made["brief"] = _brief(evaluation, asked, intervals[asked.metric])
    made["gate"] = gate(asked, made)
    return made


def _metric(data: Data, evaluation: Evaluation, model: PredictedRows) -> str:
    able = resampling.names(data.problem, model)
    chosen = evaluation.metric
    if not chosen:
        return DEFAULTS.get(data.problem, "roc_auc" if "roc_auc" in able else "accuracy")
    if data.problem not in METRICS[chosen][1]:
        raise UserError(
            "The metric {} does not judge {}, which is what the target {!r} asks for.".format(
                chosen, data.problem, evaluation.target
            )
        )
    if chosen not in able:
        reasons = measures.undefined(data.problem, data.truth, model)
        raise UserError(
            "The metric {} cannot be told of {}: {}.".format(chosen, evaluation.model.title, "; ".join(reasons))
        )
    return chosen


def _dataset(asked: JudgedModel) -> Document:
    data, evaluation = asked.data, asked.evaluation
    made: Document = {
        "item_count": data.rows,
        "without_target": data.dropped,
        "target": evaluation.target,
        "problem": data.problem,
        "model": evaluation.model.title,
    }
    if data.classes:
        counts = np.bincount(data.truth, minlength=len(data.classes))
        made["classes"] = {name: int(count) for name, count in zip(data.classes, counts)}
    if data.problem == BINARY:
        made["positive"] = data.classes[1]
    if evaluation.group:
        made["group"], made["groups"] = evaluation.group, int(data.groups.max()) + 1 if data.groups is not None else 0
    plan = asked.plan
    made["bootstrap"] = {"replicates": plan.of(data.rows), "confidence": plan.confidence, "seed": plan.seed}
    return made


def _intervals(
    asked: JudgedModel, rows: Array, model: PredictedRows, values: Mapping[str, float]
) -> Dict[str, Interval]:
    """Of each metric that can be resampled, over some of the rows."""
    data = asked.data
    wanted = [name for name in resampling.names(data.problem, model) if name in values]
    truth, groups = data.truth[rows], data.groups
    if groups is not None:
        groups = np.unique(groups[rows], return_inverse=True)[1]
    metrics = resampling.weighted(data.problem, truth, model, len(data.classes), wanted)
    drawn = resampling.replicated(metrics, len(truth), groups, asked.plan)
    return {name: resampling.interval(values[name], drawn[name], asked.plan) for name in wanted}


def _deciding(asked: JudgedModel, found: Interval) -> Document:
    return {"name": asked.metric, "direction": asked.direction, **shown(found)}


def shown(found: Interval) -> Document:
    """An interval as JSON. What is not known is left out; a deviation that is not known is the text NaN, as SageMaker writes it."""
    made: Document = {
        "value": found.value,
        "standard_deviation": found.deviation if math.isfinite(found.deviation) else "NaN",
    }
    if math.isfinite(found.lower):
        made.update(lower=found.lower, upper=found.upper)
    return made


def _group(
    asked: JudgedModel, model: PredictedRows, values: Mapping[str, float], intervals: Mapping[str, Interval]
) -> Document:
    """The group of metrics as SageMaker's model quality monitor writes it."""
    data = asked.data
    unknown = Interval(0.0, np.nan, np.nan, np.nan)
    everything = dict(values)
    if data.problem != REGRESSION:
        everything.update(measures.best_constant(data.problem, data.truth, len(data.classes)))
    made: Document = {}
    if data.problem != REGRESSION:
        made["confusion_matrix"] = measures.confusion(data.truth, model.labels, data.classes)
    for name, value in everything.items():
        known = intervals.get("roc_auc" if name == "auc" else name, unknown)
        made[name] = shown(Interval(value, known.deviation, known.lower, known.upper))
    if data.problem == BINARY:
        made.update(
            {name: curve for name, curve in measures.curves(data.truth, model).items() if not name.startswith("calib")}
        )
    return made


def _slices(asked: JudgedModel, model: PredictedRows) -> Document:
    data = asked.data
    made: Document = {}
    for name, parts in slices(data, asked.evaluation.slices).items():
        told: Document = {}
        for value, mask in parts:
            rows = np.flatnonzero(mask)
            part = model.only(rows)
            values = measures.metrics(data.problem, data.truth[rows], part, len(data.classes))
            found = _intervals(asked, rows, part, values)
            told[value] = {"rows": len(rows), "metrics": {each: shown(found[each]) for each in found}}
        made[name] = told
    return made


# -- comparisons --------------------------------------------------------------------------------------------------------------


def _comparisons(
    asked: JudgedModel, model: PredictedRows, incumbent: Optional[PredictedRows], found: Interval
) -> Document:
    made: Document = {}
    evaluation = asked.evaluation
    if incumbent is not None and evaluation.incumbent is not None:
        made["incumbent"] = _paired(asked, model, incumbent, evaluation.incumbent.title)
        if evaluation.slices:
            made["incumbent"]["slices"] = _paired_slices(asked, model, incumbent)
    if evaluation.baseline == TRIVIAL:
        title = (
            "the mean for every row" if asked.data.problem == REGRESSION else "the most frequent class for every row"
        )
        made["baseline"] = _paired(asked, model, constant(asked.data), title)
    else:
        value = float(evaluation.baseline)
        moved = Interval(found.value - value, found.deviation, found.lower - value, found.upper - value)
        told = Comparison(moved, float("nan"), resampling.verdict(asked.direction, moved, float("nan"), asked.plan))
        described = evaluation.brief.baseline.description if evaluation.brief and evaluation.brief.baseline else ""
        made["baseline"] = {"name": described or "the baseline", **_told(asked, told, value)}
    return made


def _paired(asked: JudgedModel, model: PredictedRows, other: PredictedRows, title: str) -> Document:
    data = asked.data
    if asked.metric not in resampling.names(data.problem, other):
        reasons = measures.undefined(data.problem, data.truth, other)
        raise UserError(
            "{} cannot be told of {}, so the two cannot be compared by it: {}.".format(
                asked.metric, title, "; ".join(reasons)
            )
        )
    found = resampling.compared(asked.metric, data.truth, model, other, len(data.classes), data.groups, asked.plan)
    theirs = measures.metrics(data.problem, data.truth, other, len(data.classes))
    return {"name": title, **_told(asked, found, theirs[asked.metric]), "metrics": theirs}


def _told(asked: JudgedModel, found: Comparison, value: float) -> Document:
    made: Document = {
        "metric": asked.metric,
        "verdict": found.verdict,
        "value": value,
        "difference": shown(found.difference),
    }
    if math.isfinite(found.p_value):
        made["p_value"] = found.p_value
    return made


def _paired_slices(asked: JudgedModel, model: PredictedRows, other: PredictedRows) -> List[Document]:
    """Each slice with enough rows; with Holm's correction: the more slices are looked at, the likelier one looks worse by chance."""
    data = asked.data
    found: List[Tuple[str, str, int, Comparison]] = []
    for name, parts in slices(data, asked.evaluation.slices).items():
        for value, mask in parts:
            rows = np.flatnonzero(mask)
            if len(rows) < LEAST_ROWS:
                continue
            groups = None if data.groups is None else np.unique(data.groups[rows], return_inverse=True)[1]
            both = model.only(rows), other.only(rows)
            one = resampling.compared(asked.metric, data.truth[rows], *both, len(data.classes), groups, asked.plan)
            if math.isfinite(one.difference.value):
                found.append((name, value, len(rows), one))
    corrected = holm([each[3].p_value for each in found])
    made = []
    for (name, value, rows_of, one), p_value in zip(found, corrected):
        decided = resampling.verdict(asked.direction, one.difference, p_value, asked.plan)
        told = {"verdict": decided, "difference": shown(one.difference), "p_value": p_value}
        made.append({"column": name, "value": value, "rows": rows_of, **told})
    return made


def holm(p_values: List[float]) -> List[float]:
    """The p values corrected for how many there are (Holm 1979)."""
    made = list(p_values)
    largest = 0.0
    for place, number in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, min(1.0, p_values[number] * (len(p_values) - place)))
        made[number] = largest
    return made


# -- the brief and the gate ---------------------------------------------------------------------------------------------------


def _brief(evaluation: Evaluation, asked: JudgedModel, found: Interval) -> Document:
    brief = evaluation.brief
    assert brief is not None
    made: Document = {"name": brief.name, "objective": brief.objective, "metric": brief.metric.name}
    if brief.metric.threshold is not None and brief.metric.name == asked.metric:
        worst = found.lower if asked.direction == "maximize" else found.upper
        made["threshold"] = brief.metric.threshold
        made["met"] = brief.metric.meets(found.value)
        made["shown"] = math.isfinite(worst) and brief.metric.meets(worst)
    return made


def gate(asked: JudgedModel, document: Mapping[str, Any]) -> Document:
    """Whether the model may go on, and each reason why not: it must be better than (or not worse than) the incumbent, else than the
    baseline; meet the brief's threshold; and be worse in no slice."""
    wanted = asked.evaluation.gate
    need = wanted.get("incumbent", "better")
    reasons = []
    which = "incumbent" if "incumbent" in document["comparisons"] else "baseline"
    told = document["comparisons"][which]
    if told["verdict"] == "worse" or (need == "better" and told["verdict"] != "better"):
        reasons.append(
            "{} is {} than {}".format(
                asked.metric, "worse" if told["verdict"] == "worse" else "not shown to be better", told["name"]
            )
        )
    brief = document.get("brief", {})
    if brief.get("met") is False:
        limit = Metric(asked.metric, asked.direction, brief["threshold"])
        reasons.append(
            "{} {:.4g} does not meet the brief's {:.4g}".format(
                limit.name, document["metric"]["value"], brief["threshold"]
            )
        )
    if wanted.get("slices", "not worse") == "not worse":
        for each in told.get("slices", ()):
            if each["verdict"] == "worse":
                reasons.append(
                    "worse than {} where {} is {} ({:,} rows)".format(
                        told["name"], each["column"], each["value"], each["rows"]
                    )
                )
    return {"passed": not reasons, "reasons": reasons}


def sentence(document: Mapping[str, Any]) -> str:
    """What came out, in the kilobyte of an ExitMessage."""
    metric, rows = document["metric"], document["dataset"]["item_count"]
    words = ["{} {:.4g}{} over {:,} rows".format(metric["name"], metric["value"], _between(metric), rows)]
    for told in document["comparisons"].values():
        by = told["difference"]
        p_value = ", p = {:.2g}".format(told["p_value"]) if "p_value" in told else ""
        verb = "not shown to differ from" if told["verdict"] == "not shown" else told["verdict"] + " than"
        words.append(
            "{} {} ({:.4g}) by {:+.4g}{}{}".format(
                verb, told["name"], told["value"], by["value"], _between(by), p_value
            )
        )
    words.append(
        "gate passed" if document["gate"]["passed"] else "gate not passed: " + "; ".join(document["gate"]["reasons"])
    )
    return ". ".join(words)


def _between(told: Mapping[str, Any]) -> str:
    return " ({:.4g} to {:.4g})".format(told["lower"], told["upper"]) if "lower" in told else ""
