"""CreateModelPackageGroup, DescribeModelPackageGroup, ListModelPackageGroups, DeleteModelPackageGroup. A group is a record that counts
its versions."""

from __future__ import annotations

from dataclasses import replace

from clary.api import paging, records, tagging
from clary.api.call import Call, Params
from clary.api.registry import operation
from clary.domain.errors import InUse, Invalid
from clary.domain.resources import Query, Record


@operation("sagemaker", "CreateModelPackageGroup", again=lambda _, record: {"ModelPackageGroupArn": record.arn})
async def create_model_package_group(call: Call, params: Params) -> Params:
    if params.get("ManagedConfiguration"):
        raise Invalid("ManagedConfiguration: managed storage is not available.")
    document = {
        "request": {name: value for name, value in params.items() if name != "Tags"},
        "tags": tagging.checked(params.get("Tags")),
        "versions": 0,
        "by": call.principal,
    }
    group = await records.add(call, records.new(call, "model-package-group", params["ModelPackageGroupName"], document))
    return {"ModelPackageGroupArn": group.arn}


@operation("sagemaker", "DescribeModelPackageGroup")
async def describe_model_package_group(call: Call, params: Params) -> Params:
    group = await records.named(call, "model-package-group", params["ModelPackageGroupName"])
    return {**_summary(group), "CreatedBy": records.user_context(group.document["by"])}


def _summary(group: Record) -> Params:
    summary = {
        "ModelPackageGroupName": group.name,
        "ModelPackageGroupArn": group.arn,
        "CreationTime": group.created,
        "ModelPackageGroupStatus": "Completed",
    }
    if "ModelPackageGroupDescription" in group.document["request"]:
        summary["ModelPackageGroupDescription"] = group.document["request"]["ModelPackageGroupDescription"]
    return summary


@operation("sagemaker", "ListModelPackageGroups")
async def list_model_package_groups(call: Call, params: Params) -> Params:
    """Those of the account: there is no sharing, so CrossAccount finds none."""
    if params.get("CrossAccountFilterOption") == "CrossAccount":
        return {"ModelPackageGroupSummaryList": []}
    found, more = await paging.page(call, params, paging.query(call, params, "model-package-group", order="Ascending"))
    return {"ModelPackageGroupSummaryList": [_summary(group) for group in found], **more}


@operation("sagemaker", "DeleteModelPackageGroup")
async def delete_model_package_group(call: Call, params: Params) -> Params:
    """Only an empty one."""
    group = await records.named(call, "model-package-group", params["ModelPackageGroupName"])
    inside = await call.store.count(Query("model-package", group.scope, where={"group": group.name}))
    if inside:
        raise InUse(
            f"Cannot delete Model Package Group {group.arn}: it contains {inside} Model Package(s). Delete these first."
        )
    await records.drop(call, "model-package-group", group.name)
    return {}


async def next_version(call: Call, name: str) -> tuple[Record, int]:
    """The group and the number of a new version in it; numbers are never given twice."""
    group = await records.amend(
        call,
        lambda: records.named(call, "model-package-group", name),
        lambda old: replace(old, document={**old.document, "versions": old.document["versions"] + 1}),
    )
    return group, int(group.document["versions"])
