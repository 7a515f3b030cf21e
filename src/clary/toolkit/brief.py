"""The brief: what a model is for, and how it will be judged, written before anything is trained.

Owns the brief's schema, its parser and the rules between its fields. Pure, standard library only (YAML where PyYAML is installed; JSON
always). What a brief demands of the data is looked at in `preparation/briefing.py`; evaluation reads threshold, baseline and slices here.

    brief = brief.parse(text)              # DocumentError names each place
    brief.metric.name, brief.metric.direction, brief.metric.threshold
    brief.baseline.value, brief.slices, brief.costs
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Tuple

from clary.toolkit import documents
from clary.toolkit.documents import DocumentError

MAXIMIZE, MINIMIZE = "maximize", "minimize"
BINARY, MULTICLASS, REGRESSION = "binary", "multiclass", "regression"

# name -> (direction, problems it judges). For several classes precision, recall and f1 are macro means, roc_auc is one against the rest.
METRICS: Mapping[str, Tuple[str, Tuple[str, ...]]] = {
    "accuracy": (MAXIMIZE, (BINARY, MULTICLASS)),
    "balanced_accuracy": (MAXIMIZE, (BINARY, MULTICLASS)),
    "precision": (MAXIMIZE, (BINARY, MULTICLASS)),
    "recall": (MAXIMIZE, (BINARY, MULTICLASS)),
    "f1": (MAXIMIZE, (BINARY, MULTICLASS)),
    "roc_auc": (MAXIMIZE, (BINARY, MULTICLASS)),
    "pr_auc": (MAXIMIZE, (BINARY,)),
    "log_loss": (MINIMIZE, (BINARY, MULTICLASS)),
    "brier": (MINIMIZE, (BINARY,)),
    "mse": (MINIMIZE, (REGRESSION,)),
    "rmse": (MINIMIZE, (REGRESSION,)),
    "mae": (MINIMIZE, (REGRESSION,)),
    "r2": (MAXIMIZE, (REGRESSION,)),
}
BASES = (
    "consent",
    "contract",
    "legal obligation",
    "vital interests",
    "public task",
    "legitimate interests",
    "no personal data",
)

_TEXT = {"type": "string", "minLength": 1}
_NAMES = {"type": "array", "items": _TEXT}
SCHEMA: Dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Brief of a model",
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "objective", "target", "metric", "origin", "lawful_basis"],
    "properties": {
        "version": {"const": 1, "description": "of this schema"},
        "name": {**_TEXT, "description": "of the brief, and of its model card: letters, digits and -"},
        "objective": {**_TEXT, "description": "what shall be better, for whom, in words that an outsider understands"},
        "hypothesis": {**_TEXT, "description": "why the data should tell it"},
        "affected": {**_NAMES, "description": "who is affected by the predictions"},
        "target": {**_TEXT, "description": "the column that is predicted"},
        "problem": {
            "enum": [BINARY, MULTICLASS, REGRESSION],
            "description": "what kind; without it the metric and the target tell",
        },
        "positive": {"type": ["string", "number", "boolean"], "description": "the target's value that counts as 1"},
        "metric": {
            "type": "object",
            "additionalProperties": False,
            "required": ["name"],
            "properties": {
                "name": {"enum": list(METRICS), "description": "what decides"},
                "direction": {"enum": [MAXIMIZE, MINIMIZE], "description": "which values are better; the metric's own"},
                "threshold": {"type": "number", "description": "the worst value that is good enough"},
            },
        },
        "baseline": {
            "type": "object",
            "additionalProperties": False,
            "required": ["value"],
            "properties": {
                "value": {"type": "number", "description": "of the metric, without the model"},
                "description": {**_TEXT, "description": "how it is done today"},
            },
        },
        "costs": {
            "type": "object",
            "additionalProperties": False,
            "description": "of each kind of error, in any one unit",
            "properties": {
                "false_positive": {"type": "number", "minimum": 0},
                "false_negative": {"type": "number", "minimum": 0},
                "over": {"type": "number", "minimum": 0, "description": "regression: of one unit too much"},
                "under": {"type": "number", "minimum": 0, "description": "regression: of one unit too little"},
            },
        },
        "slices": {**_NAMES, "description": "columns whose every value must be served well"},
        "forbidden": {**_NAMES, "description": "columns that no model may see"},
        "identifiers": {**_NAMES, "description": "columns that name a row and tell nothing"},
        "known_after": {**_NAMES, "description": "columns that are known only when the target is"},
        "split": {
            "type": "object",
            "additionalProperties": False,
            "description": "how the parts are told apart",
            "properties": {
                "column": {**_TEXT, "description": "a column that names the part of each row"},
                "time": {**_TEXT, "description": "a column: what is later tests"},
                "group": {**_TEXT, "description": "a column: a group is in one part"},
            },
        },
        "origin": {**_TEXT, "description": "where the data comes from, and when"},
        "lawful_basis": {"enum": list(BASES), "description": "why it may be used (article 6 of the GDPR)"},
    },
}


@dataclass(frozen=True)
class Metric:
    """What decides. `threshold`: the worst value that is good enough, None where the brief names none."""

    name: str
    direction: str
    threshold: Optional[float] = None

    def better(self, one: float, other: float) -> bool:
        """Whether `one` is strictly better than `other`."""
        return one > other if self.direction == MAXIMIZE else one < other

    def meets(self, value: float) -> bool:
        """Whether the value is good enough; any is without a threshold."""
        return self.threshold is None or value == self.threshold or self.better(value, self.threshold)


@dataclass(frozen=True)
class Baseline:
    """What is to be beaten: the metric's value without the model."""

    value: float
    description: str = ""


@dataclass(frozen=True)
class Brief:
    """A brief as it was written, checked. `problem` is '' where neither brief nor metric tell it: the target does."""

    name: str
    objective: str
    target: str
    metric: Metric
    origin: str
    lawful_basis: str
    hypothesis: str = ""
    affected: Tuple[str, ...] = ()
    problem: str = ""
    positive: Any = None
    baseline: Optional[Baseline] = None
    costs: Mapping[str, float] = field(default_factory=dict)
    slices: Tuple[str, ...] = ()
    forbidden: Tuple[str, ...] = ()
    identifiers: Tuple[str, ...] = ()
    known_after: Tuple[str, ...] = ()
    split: Mapping[str, str] = field(default_factory=dict)

    @property
    def excluded(self) -> Tuple[str, ...]:
        """Columns that are no features: the target, forbidden ones, identifiers, what is known only afterwards, and the split's column."""
        own = [self.target, *self.forbidden, *self.identifiers, *self.known_after]
        own += [self.split["column"]] if "column" in self.split else []
        return tuple(dict.fromkeys(own))


def load(path: str) -> Brief:
    """The brief in a file. DocumentError; OSError where it cannot be read."""
    with open(path, encoding="utf-8") as file:
        try:
            text = file.read(documents.MAX_BYTES + 1)
        except UnicodeDecodeError as error:
            raise DocumentError(os.path.basename(path), [("", "is not UTF-8: {}".format(error))]) from None
    return parse(text)


def parse(text: str) -> Brief:
    """The brief in a text, YAML or JSON. DocumentError with every problem and its place."""
    return of(documents.read(text, "brief"))


def of(value: Any) -> Brief:
    """The brief that a plain value says. DocumentError with every problem and its place."""
    documents.check(value, SCHEMA, "brief")
    problems = _contradictions(value)
    if problems:
        raise DocumentError("brief", problems)
    metric, baseline = value["metric"], value.get("baseline")
    kinds = METRICS[metric["name"]][1]
    lists = {
        name: tuple(value.get(name, ())) for name in ("affected", "slices", "forbidden", "identifiers", "known_after")
    }
    return Brief(
        name=value["name"],
        objective=value["objective"],
        target=value["target"],
        metric=Metric(metric["name"], METRICS[metric["name"]][0], metric.get("threshold")),
        origin=value["origin"],
        lawful_basis=value["lawful_basis"],
        hypothesis=value.get("hypothesis", ""),
        problem=value.get("problem") or (kinds[0] if len(kinds) == 1 else ""),
        positive=value.get("positive"),
        baseline=Baseline(baseline["value"], baseline.get("description", "")) if baseline else None,
        costs=dict(value.get("costs", {})),
        split=dict(value.get("split", {})),
        **lists,
    )


def _contradictions(value: Mapping[str, Any]) -> List[Tuple[str, str]]:
    """What no schema says: fields that contradict each other."""
    problems: List[Tuple[str, str]] = []
    metric, problem = value["metric"], value.get("problem")
    direction, kinds = METRICS[metric["name"]]
    if metric.get("direction", direction) != direction:
        problems.append(("metric.direction", "{} is to {}".format(metric["name"], direction)))
    if problem and problem not in kinds:
        words = "{} judges {}, and the problem is {}".format(metric["name"], " and ".join(kinds), problem)
        problems.append(("metric.name", words))
    if not all(letter.isascii() and (letter.isalnum() or letter == "-") for letter in value["name"]) or not (
        value["name"][0].isalnum() and value["name"][-1].isalnum() and len(value["name"]) <= 63
    ):
        problems.append(("name", "must be at most 63 letters, digits and -, and begin and end with a letter or digit"))
    for name in ("forbidden", "identifiers", "known_after", "slices"):
        if value["target"] in value.get(name, ()):
            problems.append((name, "names the target {!r}".format(value["target"])))
    both = {"false_positive", "false_negative"} if kinds == (REGRESSION,) else {"over", "under"}
    for name in sorted(both & set(value.get("costs", {}))):
        problems.append(("costs." + name, "is no error of {}".format(problem or " or ".join(kinds))))
    if len(value.get("split", {})) > 1:
        problems.append(("split", "names more than one of column, time and group"))
    return problems
