"""The event `SageMaker Model Package State Change`: its detail, with AWS's names. Pure.

It is told when a package is made, at every decision on it, whatever was decided, and at every update of a field that
`UpdatedModelPackageFields` names, its life cycle among them: listeners filter.
Source: SageMaker's guide, "Events that Amazon SageMaker AI sends to Amazon EventBridge", "Get event notifications for ModelLifeCycle".
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from clary.domain.resources import Record

DETAIL_TYPE = "SageMaker Model Package State Change"
UPDATED = (
    "ModelLifeCycle",
    "ModelApprovalStatus",
    "ApprovalDescription",
    "SourceUri",
    "CustomerMetadataProperties",
    "InferenceSpecification",
)  # of UpdatedModelPackageFields
_TOLD = (
    "ModelPackageDescription",
    "InferenceSpecification",
    "ModelApprovalStatus",
    "ApprovalDescription",
    "MetadataProperties",
    "ModelMetrics",
    "CustomerMetadataProperties",
    "ModelLifeCycle",
    "SourceUri",
)


def occasions(package: Record) -> int:
    """How many events the package's life has had so far: its making, and every decision, stage and other update of `UPDATED` since. A feed
    that compares this number with the one that it saw last misses no event and tells none twice."""
    document = package.document
    others: int = document.get("updates", 0)
    return 1 + len(document.get("approvals", ())) + len(document.get("stages", ())) + others


def updated_fields(request: Mapping[str, Any]) -> list[str]:
    """What a request to update a package changes that is told, by its names in the event; AWS begins one of them with a small letter."""
    removed = {"CustomerMetadataProperties"} if request.get("CustomerMetadataPropertiesToRemove") else set()
    found = [name for name in UPDATED if name in request or name in removed]
    return ["sourceUri" if name == "SourceUri" else name for name in found]


def detail(package: Record, before: Record | None = None) -> dict[str, Any] | None:
    """The event's detail; None where the change since `before` (None: it was just made) is no occasion."""
    if before is not None and occasions(before) == occasions(package):
        return None
    document = package.document
    request: Mapping[str, Any] = document["request"]
    group, version = document["group"], document["version"]
    named = {"ModelPackageGroupName": group, "ModelPackageVersion": version}
    told = {
        **(named if group else {"ModelPackageName": package.name}),
        "ModelPackageArn": package.arn,
        "CreationTime": _moment(package.created),
        "ModelPackageStatus": "Completed",
        "ModelPackageStatusDetails": {"ValidationStatuses": []},
        "CertifyForMarketplace": False,
        **{name: request[name] for name in _TOLD if name in request},
        "CreatedBy": {"IamIdentity": {"Arn": document["by"]}},
    }
    if "changed_by" in document:
        told |= {
            "LastModifiedTime": _moment(package.modified),
            "LastModifiedBy": {"IamIdentity": {"Arn": document["changed_by"]}},
        }
    if document.get("updated_fields"):
        told["UpdatedModelPackageFields"] = document["updated_fields"]
    return told


def _moment(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
