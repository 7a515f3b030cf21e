"""Warm start: what a new tuning job may take over of earlier ones, and what it takes. Pure.

AWS's rules ("Run a warm start hyperparameter tuning job"): parents have ended, have the same objective and as many hyperparameters, static
and tuned together; a tuned one keeps its type; at most 10 of them change (tuned to static, or another static value). Parents' own parents
do not count. With IdenticalDataAndAlgorithm the image and the names are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clary.domain.errors import Invalid
from clary.domain.resources import Record
from clary.domain.tuning import record as tuning
from clary.domain.tuning import request as asked
from clary.domain.tuning.request import Definition

MOST_CHANGES = 10
IDENTICAL = "IdenticalDataAndAlgorithm"


def parents(request: Mapping[str, Any]) -> list[str]:
    """Names of the tuning jobs that this one starts from. Invalid when one is named twice, or none."""
    config = request.get("WarmStartConfig")
    if not config:
        return []
    names = [str(entry.get("HyperParameterTuningJobName") or "") for entry in config["ParentHyperParameterTuningJobs"]]
    if "" in names:
        raise Invalid("Each of ParentHyperParameterTuningJobs needs a HyperParameterTuningJobName.")
    if len(set(names)) < len(names):
        raise Invalid("ParentHyperParameterTuningJobs names a tuning job twice.")
    return names


def identical(request: Mapping[str, Any]) -> bool:
    return bool((request.get("WarmStartConfig") or {}).get("WarmStartType") == IDENTICAL)


def check(request: Mapping[str, Any], of: Sequence[Definition], parent: Record) -> None:
    """Invalid says why that job cannot be a parent of this one."""
    if parent.status in tuning.ACTIVE:
        raise Invalid(f"The parent tuning job '{parent.name}' is {parent.status}; a parent must have ended.")
    theirs = {each.name: each for each in asked.definitions(parent.document["request"])}
    for definition in of:
        other = theirs.get(definition.name)
        if other is None:
            raise Invalid(f"The parent tuning job '{parent.name}' has no training job definition '{definition.name}'.")
        _check_pair(definition, other, parent.name, identical(request))


def _check_pair(own: Definition, other: Definition, name: str, same: bool) -> None:
    if (own.metric, own.maximize) != (other.metric, other.maximize):
        raise Invalid(f"The parent tuning job '{name}' has another objective: {other.metric}.")
    tuned, theirs = {each.name: each for each in own.ranges}, {each.name: each for each in other.ranges}
    if len(own.static) + len(tuned) != len(other.static) + len(theirs):
        raise Invalid(
            f"The parent tuning job '{name}' has {len(other.static) + len(theirs)} hyperparameters, static and tuned, and this one "
            f"has {len(own.static) + len(tuned)}: the numbers must be the same."
        )
    retyped = next((key for key in tuned if key in theirs and tuned[key].kind != theirs[key].kind), None)
    if retyped is not None:
        raise Invalid(f"The hyperparameter '{retyped}' has another type in the parent tuning job '{name}'.")
    fixed = [key for key in theirs if key in own.static]
    changed = [key for key, value in own.static.items() if key in other.static and other.static[key] != value]
    if len(fixed) + len(changed) > MOST_CHANGES:
        raise Invalid(
            f"{len(fixed) + len(changed)} hyperparameters differ from the parent tuning job '{name}'; at most {MOST_CHANGES} may."
        )
    if same and own.image != other.image:
        raise Invalid(f"The parent tuning job '{name}' has another training image; {IDENTICAL} needs the same one.")


def prior(parent: Record) -> list[dict[str, Any]]:
    """The parent's trials as a study takes them: `definition`, `params` (static and tuned), `value`."""
    of = asked.definitions(parent.document["request"])
    return [
        {
            "definition": of[trial["definition"]].name,
            "params": {**of[trial["definition"]].static, **trial["params"]},
            "value": trial["value"],
        }
        for trial in tuning.succeeded(parent.document)
    ]


def best(parents: Sequence[Record], maximize: bool) -> dict[str, Any] | None:
    """The best trial of all parents, with the name of its tuning job."""
    found = [(parent.name, tuning.best(parent.document, maximize)) for parent in parents]
    trials = [{**trial, "tuning_job": name} for name, trial in found if trial is not None]
    return (max if maximize else min)(trials, key=lambda trial: float(trial["value"])) if trials else None
