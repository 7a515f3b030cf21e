"""A trial component's record: what a client, or a job, told of one step of an experiment.

The document, beside `request` and `tags`: `by` and `changed_by` (who), `parents` ([{TrialName, ExperimentName}]), `source` ({SourceArn,
SourceType} of a job's own), `summaries` (metric -> `metrics.Summary` as values) and `batches` (how many puts they hold), `terms`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clary.domain.errors import Invalid

KIND = "trial-component"
PARAMETERS, ARTIFACTS = 300, 60
_MAPS: Mapping[str, tuple[str, int]] = {
    "Parameters": ("ParametersToRemove", PARAMETERS),
    "InputArtifacts": ("InputArtifactsToRemove", ARTIFACTS),
    "OutputArtifacts": ("OutputArtifactsToRemove", ARTIFACTS),
}


def checked(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """The request. Invalid: more parameters or artifacts than a component has."""
    for member, (_, most) in _MAPS.items():
        count = len(request.get(member) or {})
        if count > most:
            raise Invalid(f"A trial component can have at most {most} {member}; this would make it {count}.")
    return request


def updated(request: Mapping[str, Any], changes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Maps are merged by key, then keys are removed; other members are replaced."""
    found = dict(request)
    for member, value in changes.items():
        if member in _MAPS:
            found[member] = {**(found.get(member) or {}), **value}
        elif not member.endswith("ToRemove"):
            found[member] = value
    for member, (removes, _) in _MAPS.items():
        gone = changes.get(removes) or ()
        if gone:
            found[member] = {key: value for key, value in (found.get(member) or {}).items() if key not in gone}
    return checked(found)


def placed(document: Mapping[str, Any], parents: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """The document with these parents, by which the store finds it."""
    kept = {**document.get("terms", {})}
    kept["Parents.TrialName"] = sorted({each["TrialName"] for each in parents})
    kept["Parents.ExperimentName"] = sorted({each["ExperimentName"] for each in parents})
    return {**document, "parents": [dict(each) for each in parents], "terms": kept}


def sourced(document: Mapping[str, Any], arn: str, type_: str) -> dict[str, Any]:
    """The document of a component that a job makes. ARNs are compared without case."""
    return {
        **document,
        "source": {"SourceArn": arn, "SourceType": type_},
        "terms": {**document.get("terms", {}), "Source": [arn.lower()]},
    }
