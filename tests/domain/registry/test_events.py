"""What EventBridge is told of a package."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from clary.domain.registry import approvals, events
from clary.domain.resources import Record, Scope

WHO = "arn:aws:iam::000000000000:user/ada"


def package(**more: Any) -> Record:
    arn = "arn:aws:sagemaker:eu-west-1:000000000000:model-package/churn/2"
    request = {"ModelApprovalStatus": "PendingManualApproval", "InferenceSpecification": {"Containers": []}}
    document = {"request": request, "group": "Churn", "version": 2, "by": WHO, **more}
    return Record("model-package", Scope("0", "eu-west-1"), "Churn/2", arn, "", 0.0, 60.0, document)


def test_a_new_version_is_told_with_awss_names() -> None:
    assert events.detail(package()) == {
        "ModelPackageGroupName": "Churn",
        "ModelPackageVersion": 2,
        "ModelPackageArn": "arn:aws:sagemaker:eu-west-1:000000000000:model-package/churn/2",
        "CreationTime": "1970-01-01T00:00:00Z",
        "ModelPackageStatus": "Completed",
        "ModelPackageStatusDetails": {"ValidationStatuses": []},
        "CertifyForMarketplace": False,
        "ModelApprovalStatus": "PendingManualApproval",
        "InferenceSpecification": {"Containers": []},
        "CreatedBy": {"IamIdentity": {"Arn": WHO}},
    }


def test_every_decision_is_an_event_also_the_same_again_and_nothing_else_is() -> None:
    first = package()
    decided = replace(
        first, document=approvals.decided({**first.document, "changed_by": WHO}, "Approved", "", WHO, 60.0)
    )
    again = replace(decided, document=approvals.decided(decided.document, "Approved", "", WHO, 61.0))
    told = events.detail(decided, first)
    assert told is not None
    assert told["LastModifiedTime"] == "1970-01-01T00:01:00Z"
    assert told["LastModifiedBy"] == {"IamIdentity": {"Arn": WHO}}
    assert events.detail(again, decided) is not None
    changed = replace(again, document={**again.document, "tags": [{"Key": "k", "Value": "v"}]})
    assert events.detail(changed, again) is None
    assert [events.occasions(each) for each in (first, decided, again, changed)] == [1, 2, 3, 3]


def test_every_stage_is_an_event() -> None:
    first = package()
    cycle = {"Stage": "Staging", "StageStatus": "Approved"}
    request = {**first.document["request"], "ModelLifeCycle": cycle}
    staged = replace(first, document=approvals.staged({**first.document, "request": request}, cycle, WHO, 60.0))
    told = events.detail(staged, first)
    assert told is not None
    assert told["ModelLifeCycle"] == cycle
    assert staged.document["stages"] == [{**cycle, "by": WHO, "at": 60.0}]
    both = replace(staged, document=approvals.decided(staged.document, "Approved", "", WHO, 61.0))
    assert [events.occasions(each) for each in (first, staged, both)] == [1, 2, 3]


def test_what_a_decision_says() -> None:
    decision = {"status": "Rejected", "description": "too slow", "by": WHO, "at": 60.0}
    assert approvals.said(decision) == "Rejected by ada at 1970-01-01T00:01:00Z: too slow"
    assert approvals.said({**decision, "description": ""}) == "Rejected by ada at 1970-01-01T00:01:00Z"


def test_an_update_of_what_is_told_is_an_event_and_says_what_was_updated() -> None:
    assert events.updated_fields({"SourceUri": "s3://b/k", "ApprovalDescription": "x", "ModelPackageArn": "a"}) == [
        "ApprovalDescription",
        "sourceUri",
    ]
    assert events.updated_fields({"CustomerMetadataPropertiesToRemove": ["team"]}) == ["CustomerMetadataProperties"]
    assert events.updated_fields({"AdditionalInferenceSpecificationsToAdd": [{}]}) == []
    first = package()
    updated = replace(first, document={**first.document, "updates": 1, "updated_fields": ["sourceUri"]})
    told = events.detail(updated, first)
    assert told is not None
    assert told["UpdatedModelPackageFields"] == ["sourceUri"]
    assert "UpdatedModelPackageFields" not in (events.detail(first) or {})
