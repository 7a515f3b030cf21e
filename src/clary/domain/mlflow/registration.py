"""Versions of MLflow's registered models as versions of SageMaker's registry: which are new, and what they become. Pure.

A registered model becomes a model package group of its name (with '-' for what names of groups do not have), each version a model
package whose SourceUri is where its files lie. Source: the developer guide, "Automatically register SageMaker AI models with SageMaker
Model Registry".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from clary.domain.resources import Record

_NAME = 63
_OTHER = re.compile(r"[^A-Za-z0-9-]+")


@dataclass(frozen=True, slots=True)
class MlflowVersion:
    """A version of a registered model. `made` is in milliseconds since the epoch, as MLflow tells it; `source` where its files lie."""

    name: str
    number: str
    made: int
    run: str = ""
    description: str = ""
    source: str = ""

    @property
    def key(self) -> str:
        return f"{self.name}/{self.number}"


def versions(answer: Mapping[str, Any]) -> list[MlflowVersion]:
    """Those of an answer of model-versions/search. ValueError, KeyError or TypeError for what is none."""
    return [
        MlflowVersion(
            str(each["name"]),
            str(each["version"]),
            int(each["creation_timestamp"]),
            str(each.get("run_id") or ""),
            str(each.get("description") or ""),
            str(each.get("source") or ""),
        )
        for each in answer.get("model_versions") or ()
        if each.get("status", "READY") == "READY"
    ]


def new(found: Iterable[MlflowVersion], since: int, known: Iterable[str]) -> list[MlflowVersion]:
    """Those that were not registered yet, the oldest first. `known`: keys of those made at `since`, which were."""
    before = frozenset(known)
    fresh = (each for each in found if each.made > since or (each.made == since and each.key not in before))
    return sorted(fresh, key=lambda each: (each.made, each.name, each.number))


def group_name(name: str) -> str:
    return _OTHER.sub("-", name).strip("-")[:_NAME].strip("-") or "model"


def group_params(version: MlflowVersion, record: Record) -> dict[str, Any]:
    words = f"The registered model {version.name} of MLflow's {record.arn}."
    return {"ModelPackageGroupName": group_name(version.name), "ModelPackageGroupDescription": words[:1024]}


def package_params(version: MlflowVersion, record: Record) -> dict[str, Any]:
    properties = {"mlflow.name": version.name, "mlflow.version": version.number, "mlflow.run_id": version.run}
    return {
        "ModelPackageGroupName": group_name(version.name),
        "ModelPackageDescription": (version.description or f"Version {version.number} of {version.name}.")[:1024],
        "SourceUri": version.source[:1024],
        "ModelApprovalStatus": "PendingManualApproval",
        "MetadataProperties": {"GeneratedBy": record.arn},
        "CustomerMetadataProperties": {name: value[:256] for name, value in properties.items() if value},
    }
