"""CreateModelPackage, DescribeModelPackage, ListModelPackages, UpdateModelPackage, DeleteModelPackage. A package is a record."""

from __future__ import annotations

from dataclasses import replace

from clary.api import paging, records, tagging
from clary.api.call import Call, Params
from clary.api.registry import operation
from clary.api.sagemaker.model_package_groups import next_version
from clary.domain.errors import Invalid
from clary.domain.models import packages
from clary.domain.resources import Record


@operation("sagemaker", "CreateModelPackage", again=lambda _, record: {"ModelPackageArn": record.arn})
async def create_model_package(call: Call, params: Params) -> Params:
    """Record it, as the next version of its group or under its own name. CreateModel checks its contents."""
    packages.check_request(params)
    name, group, version = params.get("ModelPackageName", ""), "", 0
    request = {key: value for key, value in params.items() if key not in ("Tags", "ClientToken")}
    if params.get("ModelPackageGroupName"):
        record, version = await next_version(call, params["ModelPackageGroupName"])
        group, name = record.name, f"{record.name}/{version}"
        status = request.get("ModelApprovalStatus", packages.PENDING)
        request |= {"ModelPackageGroupName": group, "ModelApprovalStatus": status}
    document = {
        "request": request,
        "tags": tagging.checked(params.get("Tags")),
        "group": group,
        "version": version,
        "type": "Versioned" if group else "Unversioned",
        "approval": request.get("ModelApprovalStatus", ""),
        "by": call.principal,
    }
    package = await records.add(call, records.new(call, "model-package", name, document))
    return {"ModelPackageArn": package.arn}


@operation("sagemaker", "DescribeModelPackage")
async def describe_model_package(call: Call, params: Params) -> Params:
    package = await records.named(call, "model-package", params["ModelPackageName"])
    label = package.document["group"] or package.name
    answer = {
        **package.document["request"],
        **_identity(package),
        "CreatedBy": records.user_context(package.document["by"]),
        # nothing is validated or scanned: whatever a package names is looked at when a model is made of it
        "ModelPackageStatusDetails": {"ValidationStatuses": [{"Name": label, "Status": "NotStarted"}]},
    }
    if "changed_by" in package.document:
        answer["LastModifiedTime"] = package.modified
        answer["LastModifiedBy"] = records.user_context(package.document["changed_by"])
    return answer


def _identity(package: Record) -> Params:
    group, version = package.document["group"], package.document["version"]
    versioned = {"ModelPackageGroupName": group, "ModelPackageVersion": version} if group else {}
    return {
        "ModelPackageName": group or package.name,
        **versioned,
        "ModelPackageArn": package.arn,
        "CreationTime": package.created,
        "ModelPackageStatus": "Completed",
    }


@operation("sagemaker", "ListModelPackages")
async def list_model_packages(call: Call, params: Params) -> Params:
    """Versions of a group; without one those with names of their own, unless ModelPackageType says otherwise."""
    where = {}
    kind = params.get("ModelPackageType", "Versioned" if params.get("ModelPackageGroupName") else "Unversioned")
    if params.get("ModelPackageGroupName"):
        where["group"] = (await records.named(call, "model-package-group", params["ModelPackageGroupName"])).name
    if kind != "Both":
        where["type"] = kind
    if params.get("ModelApprovalStatus"):
        where["approval"] = params["ModelApprovalStatus"]
    query = replace(paging.query(call, params, "model-package", order="Ascending"), where=where)
    found, more = await paging.page(call, params, query)
    return {"ModelPackageSummaryList": [_summary(package) for package in found], **more}


def _summary(package: Record) -> Params:
    request = package.document["request"]
    told = ("ModelPackageDescription", "ModelApprovalStatus", "ModelLifeCycle", "ModelPackageRegistrationType")
    return {**_identity(package), **{name: request[name] for name in told if name in request}}


@operation("sagemaker", "UpdateModelPackage")
async def update_model_package(call: Call, params: Params) -> Params:
    if params.get("InferenceSpecification") and params.get("SourceUri"):
        raise Invalid("Please provide either InferenceSpecification or SourceUri, not both.")

    def change(old: Record) -> Record:
        if params.get("ModelApprovalStatus") and not old.document["group"]:
            raise Invalid(f"Model package {old.arn} has no version: ModelApprovalStatus is for versions of a group.")
        document = packages.updated(old.document, params)
        return replace(old, modified=call.now, document={**document, "changed_by": call.principal})

    package = await records.amend(call, lambda: records.named(call, "model-package", params["ModelPackageArn"]), change)
    return {"ModelPackageArn": package.arn}


@operation("sagemaker", "DeleteModelPackage")
async def delete_model_package(call: Call, params: Params) -> Params:
    """Models that were created from it keep their copies."""
    package = await records.named(call, "model-package", params["ModelPackageName"])
    await records.drop(call, "model-package", package.name)
    return {}
