"""What an evaluation is asked for: `evaluation_config.json`, the container's arguments over it, and the brief. Pure.

Owns the schema, the defaults and the rules between fields. Knows no data.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from clary.toolkit import documents
from clary.toolkit.brief import METRICS, Brief

_NAME = {"type": "string", "minLength": 1}
_NAMES = {"type": "array", "items": _NAME}
_PLACE = {"type": ["string", "integer"]}
KINDS = ("column", "columns", "file", "endpoint_name", "model_name", "model_package_name", "artifact", "training")
RANDOM, STRATIFIED, GROUPED, TIME = "random", "stratified", "group", "time"
TRAINING: Dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["image"],
    "description": "how a model is trained, for cross-validation: a training job for each fold",
    "properties": {
        "image": {**_NAME, "description": "of the training jobs, and of the models"},
        "hyperparameters": {"type": "object", "additionalProperties": {"type": "string"}},
        "channel": {**_NAME, "description": "train"},
        "header": {
            "type": "boolean",
            "description": "the data's own columns, with a header line; else none, the target first, its classes as 0, 1, ...",
        },
        "instance_type": {**_NAME, "description": "of the training jobs"},
        "max_runtime": {"type": "integer", "minimum": 1, "description": "seconds"},
    },
}  # fmt: skip
FOLDS: Dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "number": {"type": "integer", "minimum": 2, "maximum": 100, "description": "5"},
        "kind": {"enum": [RANDOM, STRATIFIED, GROUPED, TIME], "description": "the brief's split, else stratified for classes"},
        "column": {**_NAME, "description": "of group: rows of one value are in one fold; of time: what is later tests"},
    },
}  # fmt: skip
SOURCE: Dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "name": {**_NAME, "description": "what reports call it"},
        "column": {**_NAME, "description": "a column of the data with the predictions: classes, probabilities or numbers"},
        "columns": {**_NAMES, "description": "one column of probabilities for each class, in the order of the classes"},
        "file": {**_NAME, "description": "a file, or a folder of files, with one prediction a line, in the order of the data"},
        "endpoint_name": {**_NAME, "description": "an endpoint that is asked"},
        "model_name": {**_NAME, "description": "a model that a transform job asks"},
        "model_package_name": {**_NAME, "description": "a version in the registry, approved or not: its name or ARN"},
        "artifact": {**_NAME, "description": "s3://.../model.tar.gz, together with `image`"},
        "image": {**_NAME, "description": "the image that serves `artifact`"},
        "environment": {"type": "object", "additionalProperties": {"type": "string"}, "description": "of `artifact`"},
        "training": TRAINING,
        "folds": FOLDS,
        "content_type": {"enum": ["text/csv", "application/jsonlines"], "description": "what the model is sent"},
        "accept": {**_NAME, "description": "what it is asked to answer"},
        "instance_type": {**_NAME, "description": "of the transform job"},
        "instance_count": {"type": "integer", "minimum": 1, "maximum": 100},
        "label": {**_PLACE, "description": "index or name of the class in an answer"},
        "probability": {**_PLACE, "description": "index or name of the probability, or the probabilities, in an answer"},
    },
}  # fmt: skip
SCHEMA: Dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Configuration of an evaluation",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "target": {**_NAME, "description": "the column with what is true; the brief's"},
        "problem": {"enum": ["binary", "multiclass", "regression"], "description": "the brief's, or what the target tells"},
        "positive": {"type": ["string", "number", "boolean"], "description": "the class that counts as 1; the brief's, or the last"},
        "metric": {"enum": list(METRICS), "description": "which one decides; the brief's, or roc_auc, accuracy, rmse"},
        "headers": {**_NAMES, "description": "names of the columns of CSV files that have no header line"},
        "features": {**_NAMES, "description": "what the model is sent, in this order; all columns that are nothing else"},
        "slices": {**_NAMES, "description": "columns whose values are looked at one by one; the brief's"},
        "group": {**_NAME, "description": "a column: rows of the same value are drawn together, as they are not independent"},
        "threshold": {"type": "number", "description": "a probability from which on the prediction is the positive class"},
        "model": SOURCE,
        "incumbent": SOURCE,
        "baseline": {"type": ["number", "string"], "description": "the metric's value to beat, or `trivial`; the brief's"},
        "bootstrap": {"type": "integer", "minimum": 0, "maximum": 100000, "description": "replicates"},
        "confidence": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        "seed": {"type": "integer", "minimum": 0},
        "gate": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "incumbent": {"enum": ["better", "not worse"], "description": "what the model must be"},
                "slices": {"enum": ["not worse", "any"]},
            },
        },
    },
}  # fmt: skip
TRIVIAL = "trivial"


@dataclass(frozen=True)
class PredictionSource:
    """Where predictions come from. `kind` is one of KINDS, `value` what stands there."""

    kind: str
    value: Any
    title: str
    content_type: str = "text/csv"
    accept: str = ""
    image: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    instance_type: str = "ml.m5.large"
    instance_count: int = 1
    label: Any = None
    probability: Any = None
    folds: Mapping[str, Any] = field(default_factory=dict)

    @property
    def columns(self) -> Tuple[str, ...]:
        """The columns of the data that it takes."""
        if self.kind == "column":
            return (self.value,)
        return tuple(self.value) if self.kind == "columns" else ()


@dataclass(frozen=True)
class Evaluation:
    """What is asked. `baseline`: a value of the metric, or TRIVIAL. `problem`, `metric` and `positive` may be left to the target."""

    target: str
    model: PredictionSource
    incumbent: Optional[PredictionSource] = None
    baseline: Any = TRIVIAL
    problem: str = ""
    positive: Any = None
    metric: str = ""
    headers: Tuple[str, ...] = ()
    features: Tuple[str, ...] = ()
    excluded: Tuple[str, ...] = ()
    slices: Tuple[str, ...] = ()
    group: str = ""
    threshold: Optional[float] = None
    bootstrap: int = 1000
    confidence: float = 0.95
    seed: int = 0
    gate: Mapping[str, str] = field(default_factory=dict)
    brief: Optional[Brief] = None


def arguments(words: Sequence[str]) -> Dict[str, Any]:
    """`--target churn --model.endpoint_name e --slices '["country"]'` as members of the configuration. A value that is JSON is that;
    lists may be written with commas. DocumentError for an option without a value."""
    made: Dict[str, Any] = {}
    if len(words) % 2 or any(not each.startswith("--") for each in words[::2]):
        raise documents.DocumentError("arguments", [("", "are pairs: --NAME VALUE, not {}".format(" ".join(words)))])
    for option, text in zip(words[::2], words[1::2]):
        place = made
        *outer, name = option[2:].replace("-", "_").split(".")
        for each in outer:
            place = place.setdefault(each, {})
        place[name] = _value(text, (SOURCE if outer else SCHEMA)["properties"].get(name, {}))
    return made


def _value(text: str, schema: Mapping[str, Any]) -> Any:
    kinds = schema.get("type", "string")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if found is not None and not (kinds == ["string"] and not isinstance(found, str)):
        return found
    return text.split(",") if kinds == ["array"] else text


def merged(one: Mapping[str, Any], over: Mapping[str, Any]) -> Dict[str, Any]:
    """The one document with the members of the other over it, in objects member by member."""
    made = dict(one)
    for name, value in over.items():
        both = isinstance(value, Mapping) and isinstance(made.get(name), Mapping)
        made[name] = merged(made[name], value) if both else value
    return made


def parse(given: Mapping[str, Any], brief: Optional[Brief] = None) -> Evaluation:
    """The evaluation that a configuration asks for. DocumentError with every problem and its place."""
    documents.check(given, SCHEMA, "evaluation_config.json")
    problems: List[Tuple[str, str]] = []
    target = given.get("target") or (brief.target if brief else "")
    if not target:
        problems.append(("target", "is missing: name the column with what is true, or give a brief"))
    if "model" not in given:
        problems.append(("model", "is missing: say where its predictions come from, by one of " + ", ".join(KINDS)))
    sources = {name: _source(name, given[name], problems) for name in ("model", "incumbent") if name in given}
    baseline = given.get("baseline", brief.baseline.value if brief and brief.baseline else TRIVIAL)
    if isinstance(baseline, str) and baseline != TRIVIAL:
        problems.append(("baseline", "is a number or {!r}, not {!r}".format(TRIVIAL, baseline)))
    metric = given.get("metric") or (brief.metric.name if brief else "")
    problem = given.get("problem") or (brief.problem if brief else "")
    if metric and problem and problem not in METRICS[metric][1]:
        problems.append(("metric", "{} does not judge {}".format(metric, problem)))
    if problems:
        raise documents.DocumentError("evaluation_config.json", problems)
    model, incumbent = sources["model"], sources.get("incumbent")
    assert model is not None
    return Evaluation(
        target=target,
        model=model,
        incumbent=incumbent,
        baseline=baseline,
        problem=problem,
        positive=given.get("positive", brief.positive if brief else None),
        metric=metric,
        headers=tuple(given.get("headers", ())),
        features=tuple(given.get("features", ())),
        excluded=brief.excluded if brief else (),
        slices=tuple(given.get("slices", brief.slices if brief else ())),
        group=given.get("group") or (brief.split.get("group", "") if brief else ""),
        threshold=given.get("threshold"),
        bootstrap=given.get("bootstrap", 1000),
        confidence=given.get("confidence", 0.95),
        seed=given.get("seed", 0),
        gate=given.get("gate", {}),
        brief=brief,
    )


def _source(name: str, given: Mapping[str, Any], problems: List[Tuple[str, str]]) -> Optional[PredictionSource]:
    kinds = [kind for kind in KINDS if kind in given]
    if len(kinds) != 1:
        problems.append((name, "names exactly one of {}, not {}".format(", ".join(KINDS), ", ".join(kinds) or "none")))
        return None
    kind = kinds[0]
    if (kind == "artifact") != ("image" in given):
        problems.append((name, "`artifact` and `image` go together: a file does not tell what serves it"))
    if ("training" in given) < ("folds" in given) or (kind == "training" and name == "incumbent"):
        problems.append((name, "`folds` go with `training`, and both with the model that is evaluated"))
    members = (
        "folds",
        "content_type",
        "accept",
        "image",
        "environment",
        "instance_type",
        "instance_count",
        "label",
        "probability",
    )
    rest = {each: given[each] for each in members if each in given}
    shown = given[kind]["image"] if kind == "training" else given[kind]
    shown = shown if isinstance(shown, str) else ", ".join(shown)
    return PredictionSource(
        kind,
        given[kind],
        given.get("name")
        or "{} {}".format("a model of" if kind == "training" else kind.replace("_name", "").replace("_", " "), shown),
        **rest,
    )
