"""Model packages: entries of the model registry, and what a model takes from one. Pure.

A package is a record: it says what a model is made of and whether somebody approved it. It belongs to a group and has a version there,
or has a name of its own. A record's name is GROUP/VERSION or NAME, as in its ARN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clary.domain.errors import Invalid
from clary.domain.resources import Record

APPROVED, PENDING = "Approved", "PendingManualApproval"
_TAKEN = ("ContainerHostname", "Image", "ModelDataUrl", "ModelDataSource", "Environment", "AdditionalModelDataSources")
_ACTS = {  # members that ask Clary to do something that it cannot do
    "ValidationSpecification": "validation by transform jobs is not available; leave it out",
    "SourceAlgorithmSpecification": "algorithm resources are not available; give InferenceSpecification",
}
_CONTAINER_ACTS = {
    "AdditionalS3DataSource": "give AdditionalModelDataSources instead",
    "BaseModel": "hubs are not available",
    "ProductId": "there is no marketplace here",
}


def check_request(params: Mapping[str, Any]) -> None:
    """Invalid for a CreateModelPackage request that contradicts itself, or asks for what is not available."""
    name, group = params.get("ModelPackageName"), params.get("ModelPackageGroupName")
    if name and group:
        raise Invalid(
            "Both ModelPackageName and ModelPackageGroupName are provided in the input. Cannot determine which one to use."
        )
    if not name and not group:
        raise Invalid(
            "Missing ARN. Please provide ModelPackageGroupName (a version of that group) or ModelPackageName."
        )
    if group and params.get("Tags"):
        raise Invalid("A model package version has the tags of its group: add them to the group instead.")
    for member, why in _ACTS.items():
        if params.get(member):
            raise Invalid(f"{member}: {why}.")
    if params.get("CertifyForMarketplace"):
        raise Invalid("CertifyForMarketplace is not supported: Clary has no marketplace.")
    if not group and not params.get("InferenceSpecification"):
        raise Invalid("Please provide InferenceSpecification: a package without a group needs it.")
    if params.get("InferenceSpecification") and params.get("SourceUri"):
        raise Invalid("Please provide either InferenceSpecification or SourceUri, not both.")
    check_specifications(params.get("InferenceSpecification"), params.get("AdditionalInferenceSpecifications") or ())


def check_specifications(main: Mapping[str, Any] | None, further: Sequence[Mapping[str, Any]]) -> None:
    """Invalid for specifications that no model could be made of."""
    names = [specification["Name"] for specification in further]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise Invalid(f"Names of AdditionalInferenceSpecifications must be unique; '{twice}' is used more than once.")
    where = {"InferenceSpecification": main} if main else {}
    where |= {f"AdditionalInferenceSpecifications '{s['Name']}'": s for s in further}
    for label, specification in where.items():
        for place, container in enumerate(specification["Containers"]):
            for member, why in _CONTAINER_ACTS.items():
                if container.get(member):
                    raise Invalid(f"{label}: Containers[{place}].{member}: {why}.")


def updated(document: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """A package's document after UpdateModelPackage."""
    request = dict(document["request"])
    for member in (
        "ModelApprovalStatus",
        "ApprovalDescription",
        "InferenceSpecification",
        "SourceUri",
        "ModelCard",
        "ModelLifeCycle",
        "ModelPackageRegistrationType",
    ):
        if member in params:
            request[member] = params[member]
    metadata = {**(request.get("CustomerMetadataProperties") or {}), **(params.get("CustomerMetadataProperties") or {})}
    for key in params.get("CustomerMetadataPropertiesToRemove") or ():
        metadata.pop(key, None)
    if metadata or "CustomerMetadataProperties" in request:
        request["CustomerMetadataProperties"] = metadata
    added = params.get("AdditionalInferenceSpecificationsToAdd") or ()
    if added:
        request["AdditionalInferenceSpecifications"] = [
            *(request.get("AdditionalInferenceSpecifications") or ()),
            *added,
        ]
    check_specifications(request.get("InferenceSpecification"), request.get("AdditionalInferenceSpecifications") or ())
    return {**document, "request": request, "approval": request.get("ModelApprovalStatus", "")}


def containers_of(package: Record, specification: str = "") -> list[dict[str, Any]]:
    """The container definitions that a model takes from the package. `specification`: InferenceSpecificationName. Invalid for one
    that is not there, and for a version that nobody approved."""
    if package.document["group"] and package.document["approval"] != APPROVED:
        raise Invalid(
            f"Model package {package.arn} is not approved: its ModelApprovalStatus is {package.document['approval']}. Approve it with "
            "UpdateModelPackage first."
        )
    return specified(package, specification)


def specified(package: Record, specification: str = "") -> list[dict[str, Any]]:
    """The same, approved or not: of one that is tried before somebody approves it."""
    request = package.document["request"]
    chosen = request.get("InferenceSpecification")
    if specification:
        further = request.get("AdditionalInferenceSpecifications") or ()
        chosen = next((s for s in further if s["Name"] == specification), None)
        if chosen is None:
            known = ", ".join(s["Name"] for s in further) or "none"
            raise Invalid(
                f"Model package {package.arn} has no InferenceSpecificationName '{specification}'. Its names: {known}."
            )
    if not chosen:
        raise Invalid(f"Model package {package.arn} has no InferenceSpecification, so no model can be made of it.")
    return [{name: c[name] for name in _TAKEN if c.get(name)} for c in chosen["Containers"]]


def check_definition(definition: Mapping[str, Any]) -> None:
    """Invalid where a container definition names a package and says itself what is in it."""
    if definition.get("ModelPackageName"):
        for member in ("Image", "ModelDataUrl", "ModelDataSource", "AdditionalModelDataSources"):
            if definition.get(member):
                raise Invalid(f"Please provide either ModelPackageName or {member}, not both: the package has it.")
    elif definition.get("InferenceSpecificationName"):
        raise Invalid("InferenceSpecificationName needs ModelPackageName.")
