"""Entities and associations as records: their names, what they are found by, and the type of a vertex.

An artifact's identity is its source: two of one source have one name. An association's is its two ends. The document, beside `request` and
`tags`: `by` and `changed_by`, `terms` (SourceUri, Type; of associations their ends and types).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from clary.domain.ids import arn as make_arn
from clary.domain.resources import KINDS, Record, Scope

ASSOCIATION = "association"
LINEAGE_TYPES: Mapping[str, str] = {
    "artifact": "Artifact",
    "action": "Action",
    "context": "Context",
    "trial-component": "TrialComponent",
    "experiment": "Experiment",
}
"""Kind of a record that can be an end of an association -> its LineageType."""
JOBS: Mapping[str, str] = {
    "training-job": "TrainingJob",
    "processing-job": "ProcessingJob",
    "transform-job": "TransformJob",
}
GROUP = "sagemaker-default-lineage-group"


def hashed(*parts: str) -> str:
    """A name of 40 letters and digits that follows from the parts."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:40]


def artifact_name(source: Mapping[str, Any]) -> str:
    """The tail of the ARN of the artifact of that source."""
    types = sorted(
        [str(each.get("SourceIdType", "")), str(each.get("Value", ""))] for each in source.get("SourceTypes") or ()
    )
    return hashed(str(source.get("SourceUri", "")), json.dumps(types))


def association_name(source: str, destination: str) -> str:
    return hashed(source, destination)


def arn(scope: Scope, kind: str, name: str) -> str:
    row = KINDS[kind]
    return make_arn(row.service, scope.region, scope.account, f"{row.tail}{row.separator}{name}")


def type_of(record: Record) -> str:
    """The Type of a vertex: DataSet, Model, Endpoint, TrainingJob ..."""
    request = record.document.get("request", {})
    if record.kind == "trial-component":
        source = str(record.document.get("source", {}).get("SourceType", ""))
        return source.removeprefix("SageMaker") or "TrialComponent"
    return str(request.get(f"{LINEAGE_TYPES.get(record.kind, '')}Type") or LINEAGE_TYPES.get(record.kind, ""))


def name_of(record: Record) -> str:
    request = record.document.get("request", {})
    return str(request.get("ArtifactName", "")) if record.kind == "artifact" else record.name


def entity_document(kind: str, request: Mapping[str, Any], tags: list[Any], by: str) -> dict[str, Any]:
    type_ = str(request.get(f"{LINEAGE_TYPES[kind]}Type", ""))
    return {
        "request": dict(request),
        "tags": tags,
        "by": by,
        "terms": {"SourceUri": [request["Source"]["SourceUri"]], "Type": [type_]},
    }


def association_document(source: Record, destination: Record, type_: str, by: str) -> dict[str, Any]:
    """Both ends as they are called, so that a list needs no look at them."""
    request = {
        "SourceArn": source.arn,
        "DestinationArn": destination.arn,
        **({"AssociationType": type_} if type_ else {}),
    }
    ends = {
        "SourceType": type_of(source),
        "DestinationType": type_of(destination),
        "SourceName": name_of(source),
        "DestinationName": name_of(destination),
    }
    terms = {
        "SourceArn": [source.arn],
        "DestinationArn": [destination.arn],
        "SourceType": [type_of(source), LINEAGE_TYPES[source.kind]],
        "DestinationType": [type_of(destination), LINEAGE_TYPES[destination.kind]],
        "AssociationType": [type_],
    }
    return {"request": request, "ends": ends, "by": by, "terms": terms}
