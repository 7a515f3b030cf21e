"""CreateModelPackage, DescribeModelPackage, BatchDescribeModelPackage, ListModelPackages, UpdateModelPackage, DeleteModelPackage. A package
is a record."""

from __future__ import annotations

from dataclasses import replace

from clary.api import paging, records, searchable, tagging
from clary.api.call import Call, Params
from clary.api.errors import translate
from clary.api.plain.operations import hold
from clary.api.registry import operation
from clary.api.sagemaker.model_package_groups import GROUP, next_version
from clary.api.sagemaker.package_names import package_named, shown, tagged
from clary.api.searchable import Searchable
from clary.domain.errors import InUse, Invalid, NotFound
from clary.domain.models import packages
from clary.domain.registry import aliases, approvals, card_content
from clary.domain.registry import events as package_events
from clary.domain.resources import Query, Record
from clary.domain.search.plan import Kept


@operation("sagemaker", "CreateModelPackage", again=lambda _, record: {"ModelPackageArn": record.arn})
async def create_model_package(call: Call, params: Params) -> Params:
    """Record it, as the next version of its group or under its own name; once for a ClientToken. CreateModel checks its contents."""
    packages.check_request(params)
    _check_card(params)
    alias = (params.get("CustomerMetadataProperties") or {}).get(aliases.TAG, "")
    if alias:
        aliases.parsed(alias)
    token = params.get("ClientToken", "")
    if token and (made := await call.store.page(_made_with(call, token))):
        return {"ModelPackageArn": made[0].arn}
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
        "token": token,
    }
    package = await records.add(call, records.new(call, "model-package", name, document))
    if group:
        await hold(call, GROUP, {"ModelPackageGroupName": group}, package)
        if alias:  # a pipeline's RegisterModel step gives its Tags to the group
            await tagged(call, package, [{"Key": aliases.TAG, "Value": alias}])
    return {"ModelPackageArn": package.arn}


def _check_card(params: Params) -> None:
    """Invalid for a card that does not match the schema of model cards."""
    content = (params.get("ModelCard") or {}).get("ModelCardContent")
    if content is not None:
        card_content.parsed(content, "ModelCard.ModelCardContent")


def _made_with(call: Call, token: str) -> Query:
    return Query("model-package", call.scope, where={"token": token}, limit=1)


@operation("sagemaker", "DescribeModelPackage")
async def describe_model_package(call: Call, params: Params) -> Params:
    return described(await package_named(call, params["ModelPackageName"]))


def described(package: Record) -> Params:
    """DescribeModelPackage's answer."""
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


searchable.register(
    Searchable(
        "ModelPackage",
        "model-package",
        lambda _, record: described(record),
        Kept({**searchable.TIMES, "ModelPackageArn": "arn"}),
    )
)


def _identity(package: Record) -> Params:
    group, version = package.document["group"], package.document["version"]
    named = {"ModelPackageName": package.name}
    if group:  # a version has no name, as on AWS: SDK v3 asks by name where there is one
        named = {"ModelPackageGroupName": group, "ModelPackageVersion": version}
    return {
        **named,
        "ModelPackageArn": package.arn,
        "CreationTime": package.created,
        "ModelPackageStatus": "Completed",
    }


@operation("sagemaker", "BatchDescribeModelPackage")
async def batch_describe_model_package(call: Call, params: Params) -> Params:
    """Up to 100 packages by ARN; what is wrong with one is told beside the others."""
    found: Params = {}
    errors: Params = {}
    for arn in params["ModelPackageArnList"]:
        try:
            package = await package_named(call, arn)
        except NotFound as error:
            code, message, _, _ = translate(call.service, call.operation, error)
            errors[arn] = {"ErrorCode": code, "ErrorResponse": message}
            continue
        request = package.document["request"]
        told = {name: request[name] for name in ("InferenceSpecification",) if name in request}
        summary = {**_summary(package), "InferenceSpecification": {"Containers": []}, **told}
        summary.setdefault("ModelPackageGroupName", package.name)
        found[arn] = {
            name: value for name, value in summary.items() if name not in ("ModelPackageName", "ModelLifeCycle")
        }
    return {"ModelPackageSummaries": found, "BatchDescribeModelPackageErrorMap": errors}


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
    text = params.get("NameContains", "").lower()
    found, more = await paging.page(call, params, query, lambda package: text in _own_name(package).lower())
    return {"ModelPackageSummaryList": [_summary(package) for package in found], **more}


def _own_name(package: Record) -> str:
    """What a name's filter looks at: not the version."""
    return str(package.document["group"] or package.name)


def _summary(package: Record) -> Params:
    request = package.document["request"]
    told = ("ModelPackageDescription", "ModelApprovalStatus", "ModelLifeCycle", "ModelPackageRegistrationType")
    return {**_identity(package), **{name: request[name] for name in told if name in request}}


@operation("sagemaker", "UpdateModelPackage")
async def update_model_package(call: Call, params: Params) -> Params:
    """Change what it says. A decision or a stage is kept with who made it and when, and told as an event, even if it repeats the last."""
    if params.get("InferenceSpecification") and params.get("SourceUri"):
        raise Invalid("Please provide either InferenceSpecification or SourceUri, not both.")
    _check_card(params)
    fields = package_events.updated_fields(params)

    def change(old: Record) -> Record:
        if params.get("ModelApprovalStatus") and not old.document["group"]:
            raise Invalid(f"Model package {old.arn} has no version: ModelApprovalStatus is for versions of a group.")
        document = packages.updated(old.document, params)
        if params.get("ModelApprovalStatus"):
            words = params.get("ApprovalDescription", "")
            document = approvals.decided(document, params["ModelApprovalStatus"], words, call.principal, call.now)
        elif params.get("ModelLifeCycle"):  # one change is one event, whatever it decides
            document = approvals.staged(document, params["ModelLifeCycle"], call.principal, call.now)
        elif fields:
            document = {**document, "updates": document.get("updates", 0) + 1}
        return replace(
            old, modified=call.now, document={**document, "changed_by": call.principal, "updated_fields": fields}
        )

    package = await records.amend(call, lambda: package_named(call, params["ModelPackageArn"]), change)
    return {"ModelPackageArn": package.arn}


@operation("sagemaker", "DeleteModelPackage")
async def delete_model_package(call: Call, params: Params) -> Params:
    """Models that were created from it keep their copies. A version with an alias stays."""
    package = await records.named(call, "model-package", params["ModelPackageName"])

    async def check(package: Record) -> None:
        if named := [tag["Value"] for tag in await shown(call, package)]:
            raise InUse(f"Model package {package.arn} has the alias {named[0]}: move it to another version first.")

    await records.drop(call, "model-package", package.name, check)
    return {}
