from __future__ import annotations

from typing import Any

import pytest

from clary.api.call import Ports
from clary.domain.errors import AlreadyExists, InUse, Invalid, NotFound
from clary.domain.models.containers import containers_of
from clary.domain.resources import Scope

HERE = "arn:aws:sagemaker:eu-west-1:000000000000"
ROLE = "arn:aws:iam::000000000000:role/r"
SCOPE = Scope("000000000000", "eu-west-1")


def specification(*containers: dict[str, Any], **more: Any) -> dict[str, Any]:
    given = containers or (
        {"Image": "xgboost:1", "ModelDataUrl": "s3://b/m.tar.gz", "Environment": {"A": "1", "B": "1"}},
    )
    return {"Containers": list(given), "SupportedContentTypes": ["text/csv"], **more}


@pytest.fixture
async def group(ask: Any) -> str:
    await ask("CreateModelPackageGroup", ModelPackageGroupName="Churn", Tags=[{"Key": "k", "Value": "v"}])
    return "Churn"


@pytest.fixture
async def version(ask: Any, group: str) -> str:
    made = await ask("CreateModelPackage", ModelPackageGroupName=group, InferenceSpecification=specification())
    return str(made["ModelPackageArn"])


async def approve(ask: Any, arn: str) -> None:
    await ask("UpdateModelPackage", ModelPackageArn=arn, ModelApprovalStatus="Approved", ApprovalDescription="good")


async def test_groups(ask: Any, group: str, clock: Any) -> None:
    arn = f"{HERE}:model-package-group/churn"
    for name in (group, arn):
        assert await ask("DescribeModelPackageGroup", ModelPackageGroupName=name) == {
            "ModelPackageGroupName": "Churn",
            "ModelPackageGroupArn": arn,
            "CreationTime": clock.now(),
            "ModelPackageGroupStatus": "Completed",
            "CreatedBy": {"IamIdentity": {"Arn": "arn:aws:iam::000000000000:user/clary", "PrincipalId": "clary"}},
        }
    with pytest.raises(AlreadyExists, match="already existing model package group"):
        await ask("CreateModelPackageGroup", ModelPackageGroupName=group)
    listed = await ask("ListModelPackageGroups", NameContains="hur")
    assert [g["ModelPackageGroupName"] for g in listed["ModelPackageGroupSummaryList"]] == ["Churn"]
    shared = await ask("ListModelPackageGroups", CrossAccountFilterOption="CrossAccount")
    assert shared == {"ModelPackageGroupSummaryList": []}
    await ask("DeleteModelPackageGroup", ModelPackageGroupName=arn)
    with pytest.raises(NotFound, match=f'Could not find model package group "{arn}"'):
        await ask("DescribeModelPackageGroup", ModelPackageGroupName=group)


async def test_versions_of_a_group_count_up_and_are_never_given_twice(ask: Any, group: str, version: str) -> None:
    assert version == f"{HERE}:model-package/churn/1"
    second = await ask("CreateModelPackage", ModelPackageGroupName=group, InferenceSpecification=specification())
    await ask("DeleteModelPackage", ModelPackageName=second["ModelPackageArn"])
    third = await ask("CreateModelPackage", ModelPackageGroupName=group, InferenceSpecification=specification())
    assert third["ModelPackageArn"] == f"{HERE}:model-package/churn/3"
    listed = await ask("ListModelPackages", ModelPackageGroupName=group, SortOrder="Ascending", SortBy="Name")
    assert [p["ModelPackageVersion"] for p in listed["ModelPackageSummaryList"]] == [1, 3]


async def test_a_version_waits_for_approval(ask: Any, version: str, clock: Any) -> None:
    seen = await ask("DescribeModelPackage", ModelPackageName=version)
    assert (seen["ModelPackageGroupName"], seen["ModelPackageVersion"]) == ("Churn", 1)
    assert (seen["ModelPackageStatus"], seen["ModelApprovalStatus"]) == ("Completed", "PendingManualApproval")
    assert "LastModifiedTime" not in seen
    clock.advance(5)
    await approve(ask, version)
    seen = await ask("DescribeModelPackage", ModelPackageName=version)
    assert (seen["ModelApprovalStatus"], seen["ApprovalDescription"]) == ("Approved", "good")
    assert seen["LastModifiedTime"] == clock.now()
    listed = await ask("ListModelPackages", ModelPackageGroupName="Churn", ModelApprovalStatus="Approved")
    assert [p["ModelPackageArn"] for p in listed["ModelPackageSummaryList"]] == [version]
    rejected = await ask("ListModelPackages", ModelPackageGroupName="Churn", ModelApprovalStatus="Rejected")
    assert rejected["ModelPackageSummaryList"] == []


async def test_a_package_may_have_a_name_of_its_own(ask: Any, version: str) -> None:
    made = await ask("CreateModelPackage", ModelPackageName="Alone", InferenceSpecification=specification())
    assert made == {"ModelPackageArn": f"{HERE}:model-package/alone"}
    seen = await ask("DescribeModelPackage", ModelPackageName="Alone")
    assert seen["ModelPackageName"] == "Alone"
    assert {"ModelPackageVersion", "ModelApprovalStatus"}.isdisjoint(seen)

    async def listed(**filters: Any) -> list[str]:
        found = (await ask("ListModelPackages", SortBy="Name", SortOrder="Ascending", **filters))[
            "ModelPackageSummaryList"
        ]
        return [p["ModelPackageArn"].rpartition("model-package/")[2] for p in found]

    assert await listed() == ["alone"]
    assert await listed(ModelPackageType="Versioned") == ["churn/1"]
    assert await listed(ModelPackageType="Both") == ["alone", "churn/1"]


async def test_metadata_is_added_and_removed(ask: Any, version: str) -> None:
    for change in (
        {"CustomerMetadataProperties": {"a": "1", "b": "2"}},
        {"CustomerMetadataProperties": {"b": "3"}, "CustomerMetadataPropertiesToRemove": ["a"]},
        {"AdditionalInferenceSpecificationsToAdd": [{"Name": "small", **specification()}]},
    ):
        await ask("UpdateModelPackage", ModelPackageArn=version, **change)
    seen = await ask("DescribeModelPackage", ModelPackageName=version)
    assert seen["CustomerMetadataProperties"] == {"b": "3"}
    assert [s["Name"] for s in seen["AdditionalInferenceSpecifications"]] == ["small"]
    with pytest.raises(Invalid, match="'small' is used more than once"):
        await ask(
            "UpdateModelPackage",
            ModelPackageArn=version,
            AdditionalInferenceSpecificationsToAdd=[{"Name": "small", **specification()}],
        )


async def test_a_group_with_versions_stays(ask: Any, group: str, version: str) -> None:
    with pytest.raises(InUse, match=r"contains 1 Model Package\(s\)"):
        await ask("DeleteModelPackageGroup", ModelPackageGroupName=group)
    await ask("DeleteModelPackage", ModelPackageName=version)
    await ask("DeleteModelPackageGroup", ModelPackageGroupName=group)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"ModelPackageName": "p", "ModelPackageGroupName": "Churn"}, "Both ModelPackageName and ModelPackageGroupName"),
        ({}, "Missing ARN"),
        ({"ModelPackageName": "p"}, "Please provide InferenceSpecification"),
        ({"ModelPackageGroupName": "Churn", "Tags": [{"Key": "k", "Value": "v"}]}, "tags of its group"),
        (
            {"ModelPackageGroupName": "Churn", "ValidationSpecification": {"ValidationRole": ROLE, "ValidationProfiles": []}},
            "ValidationSpecification: validation by transform jobs is not available",
        ),
        ({"ModelPackageGroupName": "Churn", "CertifyForMarketplace": True}, "Clary has no marketplace"),
        (
            {
                "ModelPackageGroupName": "Churn",
                "InferenceSpecification": specification({"Image": "xgboost:1", "BaseModel": {"HubContentName": "h"}}),
            },
            r"InferenceSpecification: Containers\[0\].BaseModel: hubs are not available",
        ),
    ],
)  # fmt: skip
async def test_refusals_name_their_reason(ask: Any, group: str, params: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        await ask("CreateModelPackage", **params)


async def test_what_is_not_there_or_somebody_elses(ask: Any, version: str) -> None:
    with pytest.raises(NotFound, match="model package group"):
        await ask("CreateModelPackage", ModelPackageGroupName="nobody", InferenceSpecification=specification())
    for where in ({"_account": "111111111111"}, {"_region": "us-east-1"}):
        with pytest.raises(NotFound, match="Could not find model package"):
            await ask("DescribeModelPackage", ModelPackageName=version, **where)
    with pytest.raises(NotFound, match="Could not find model package"):
        await ask("DescribeModelPackage", ModelPackageName=f"{HERE}:model-package-group/churn")


async def test_a_client_token_makes_one_version(ask: Any, group: str) -> None:
    given = {"ModelPackageGroupName": group, "InferenceSpecification": specification()}
    first = await ask("CreateModelPackage", **given, ClientToken="a")
    assert await ask("CreateModelPackage", **given, ClientToken="a") == first
    assert (await ask("CreateModelPackage", **given, ClientToken="b"))["ModelPackageArn"].endswith("/2")


async def test_a_batch_tells_what_is_wrong_with_one_beside_the_others(ask: Any, version: str) -> None:
    alone = (await ask("CreateModelPackage", ModelPackageName="alone", InferenceSpecification=specification()))[
        "ModelPackageArn"
    ]
    missing = f"{HERE}:model-package/churn/9"
    seen = await ask("BatchDescribeModelPackage", ModelPackageArnList=[version, missing, alone])
    assert seen["BatchDescribeModelPackageErrorMap"] == {
        missing: {
            "ErrorCode": "ValidationException",
            "ErrorResponse": f'Could not find model package "{missing}".',
        }
    }
    assert list(seen["ModelPackageSummaries"]) == [version, alone]
    first = seen["ModelPackageSummaries"][version]
    assert (first["ModelPackageVersion"], first["ModelApprovalStatus"]) == (1, "PendingManualApproval")
    assert first["InferenceSpecification"]["SupportedContentTypes"] == ["text/csv"]


async def test_every_decision_is_kept_with_who_and_when(ask: Any, ports: Ports, version: str, clock: Any) -> None:
    await approve(ask, version)
    clock.advance(60)
    await ask("UpdateModelPackage", ModelPackageArn=version, ModelApprovalStatus="Rejected", ApprovalDescription="bad")
    await ask("UpdateModelPackage", ModelPackageArn=version, CustomerMetadataProperties={"a": "b"})
    record = await ports.store.get("model-package", SCOPE, "Churn/1")
    assert record is not None
    who = "arn:aws:iam::000000000000:user/clary"
    assert record.document["approvals"] == [
        {"status": "Approved", "description": "good", "by": who, "at": clock.now() - 60},
        {"status": "Rejected", "description": "bad", "by": who, "at": clock.now()},
    ]
    tags = {tag["Key"]: tag["Value"] for tag in (await ask("ListTags", ResourceArn=version))["Tags"]}
    assert tags["aws:clary:approval"].startswith("Rejected by clary at ")
    assert tags["aws:clary:approval"].endswith(": bad")


async def test_a_filter_by_name_does_not_look_at_the_version(ask: Any, version: str) -> None:
    found = [
        (await ask("ListModelPackages", ModelPackageType="Both", NameContains=text))["ModelPackageSummaryList"]
        for text in ("hur", "1")
    ]
    assert [len(each) for each in found] == [1, 0]


# -- models of packages -----------------------------------------------------------------------------------------------------------


async def test_a_model_takes_what_is_in_its_package_and_keeps_it(ask: Any, ports: Ports, version: str) -> None:
    await approve(ask, version)
    given = {"ModelPackageName": version, "Environment": {"B": "2"}}
    await ask("CreateModel", ModelName="m", PrimaryContainer=given)
    await ask("DeleteModelPackage", ModelPackageName=version)
    described = await ask("DescribeModel", ModelName="m")
    assert described["PrimaryContainer"] == {"Mode": "SingleModel", **given}
    record = await ports.store.get("model", SCOPE, "m")
    assert record is not None
    [container] = containers_of(record)
    assert (container.image, container.artifact, container.hostname) == ("xgboost:1", "s3://b/m.tar.gz", "")
    assert dict(container.environment) == {"A": "1", "B": "2"}


async def test_nobody_deploys_what_nobody_approved(ask: Any, version: str) -> None:
    with pytest.raises(Invalid, match="is not approved: its ModelApprovalStatus is PendingManualApproval"):
        await ask("CreateModel", ModelName="m", PrimaryContainer={"ModelPackageName": version})
    with pytest.raises(NotFound, match="Could not find model package"):
        await ask("CreateModel", ModelName="m", PrimaryContainer={"ModelPackageName": "nobody"})


async def test_a_package_of_several_containers_makes_a_pipeline(ask: Any, ports: Ports) -> None:
    both = specification(
        {"Image": "sagemaker-xgboost:1"},
        {"Image": "xgboost:1", "ContainerHostname": "predict", "Framework": "XGBOOST"},
    )
    await ask("CreateModelPackage", ModelPackageName="p", InferenceSpecification=both)
    await ask("CreateModel", ModelName="m", PrimaryContainer={"ModelPackageName": "p"})
    record = await ports.store.get("model", SCOPE, "m")
    assert record is not None
    assert [(c.image, c.hostname, c.stage) for c in containers_of(record)] == [
        ("sagemaker-xgboost:1", "container-1", 0),
        ("xgboost:1", "predict", 1),
    ]


async def test_another_specification_of_the_package(ask: Any, ports: Ports) -> None:
    other = {"Name": "small", **specification({"Image": "xgboost:1", "ModelDataUrl": "s3://b/small.tar.gz"})}
    await ask(
        "CreateModelPackage",
        ModelPackageName="p",
        InferenceSpecification=specification(),
        AdditionalInferenceSpecifications=[other],
    )
    with pytest.raises(Invalid, match=r"has no InferenceSpecificationName 'big'\. Its names: small"):
        await ask(
            "CreateModel",
            ModelName="m",
            PrimaryContainer={"ModelPackageName": "p", "InferenceSpecificationName": "big"},
        )
    chosen = {"ModelPackageName": "p", "InferenceSpecificationName": "small"}
    await ask("CreateModel", ModelName="m", Containers=[chosen, {"ModelPackageName": "p"}])
    record = await ports.store.get("model", SCOPE, "m")
    assert record is not None
    assert [c.artifact for c in containers_of(record)] == ["s3://b/small.tar.gz", "s3://b/m.tar.gz"]


async def test_images_and_sources_of_a_package_are_looked_at(ask: Any) -> None:
    hub = {
        "S3Uri": "s3://b/p/",
        "S3DataType": "S3Prefix",
        "CompressionType": "None",
        "HubAccessConfig": {"HubContentArn": "arn"},
    }
    for name, container, words in (
        ("a", {"Image": "my/own:1"}, "stands for no runtime"),
        ("b", {"Image": "xgboost:1", "ModelDataSource": {"S3DataSource": hub}}, "HubAccessConfig"),
    ):
        await ask("CreateModelPackage", ModelPackageName=name, InferenceSpecification=specification(container))
        with pytest.raises(Invalid, match=words):
            await ask("CreateModel", ModelName="m", PrimaryContainer={"ModelPackageName": name})


# -- aliases ----------------------------------------------------------------------------------------------------------------------


async def give(ask: Any, arn: str, value: str, **more: str) -> None:
    tags = [{"Key": "clary:alias", "Value": value}, *({"Key": key, "Value": text} for key, text in more.items())]
    await ask("AddTags", ResourceArn=arn, Tags=tags)


async def tags_of(ask: Any, arn: str) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in (await ask("ListTags", ResourceArn=arn))["Tags"]}


async def test_an_alias_stands_for_its_version_and_moves(ask: Any, group: str, version: str) -> None:
    second = (await ask("CreateModelPackage", ModelPackageGroupName=group, InferenceSpecification=specification()))[
        "ModelPackageArn"
    ]
    await give(ask, version, "champion stable", team="blue")
    assert await tags_of(ask, version) == {"team": "blue", "clary:alias": "champion stable"}
    for name in ("Churn@champion", f"{HERE}:model-package/churn@champion", f"{HERE}:model-package/churn@Stable"):
        assert (await ask("DescribeModelPackage", ModelPackageName=name))["ModelPackageArn"] == version
    await give(ask, second, "champion")
    assert await tags_of(ask, version) == {"team": "blue", "clary:alias": "stable"}
    await ask(
        "UpdateModelPackage", ModelPackageArn=f"{HERE}:model-package/churn@champion", ModelApprovalStatus="Approved"
    )
    assert (await ask("DescribeModelPackage", ModelPackageName=second))["ModelApprovalStatus"] == "Approved"
    await ask("DeleteTags", ResourceArn=version, TagKeys=["clary:alias", "team"])
    assert await tags_of(ask, version) == {}
    with pytest.raises(NotFound, match="has no alias 'stable'"):
        await ask("DescribeModelPackage", ModelPackageName="Churn@stable")


async def test_a_model_of_an_alias_is_of_the_version_that_it_named(ask: Any, ports: Ports, version: str) -> None:
    await approve(ask, version)
    await give(ask, version, "champion")
    await ask("CreateModel", ModelName="m", PrimaryContainer={"ModelPackageName": "Churn@champion"})
    record = await ports.store.get("model", SCOPE, "m")
    assert record is not None
    assert record.document["made_of"] == {"Churn@champion": version}
    assert containers_of(record)[0].artifact == "s3://b/m.tar.gz"


async def test_what_cannot_have_an_alias_and_what_has_one_stays(ask: Any, group: str, version: str) -> None:
    alone = (await ask("CreateModelPackage", ModelPackageName="alone", InferenceSpecification=specification()))[
        "ModelPackageArn"
    ]
    with pytest.raises(Invalid, match="belongs to no group"):
        await give(ask, alone, "champion")
    with pytest.raises(Invalid, match="must be one alias"):
        await give(ask, version, "7")
    await give(ask, version, "champion")
    with pytest.raises(InUse, match="has the alias champion: move it"):
        await ask("DeleteModelPackage", ModelPackageName=version)
    await ask("DeleteTags", ResourceArn=version, TagKeys=["clary:alias"])
    await ask("DeleteModelPackage", ModelPackageName=version)


async def test_an_endpoint_follows_nothing_odd(ask: Any) -> None:
    await ask("CreateModelPackage", ModelPackageName="p", InferenceSpecification=specification())
    await ask("CreateModel", ModelName="m", PrimaryContainer={"ModelPackageName": "p"})
    variant = {"VariantName": "v", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    await ask("CreateEndpointConfig", EndpointConfigName="c", ProductionVariants=[variant])
    given = {"EndpointName": "e", "EndpointConfigName": "c"}
    with pytest.raises(Invalid, match="clary:follow must be GROUP@ALIAS, not 'p'"):
        await ask("CreateEndpoint", **given, Tags=[{"Key": "clary:follow", "Value": "p"}])
    made = await ask("CreateEndpoint", **given)
    with pytest.raises(Invalid, match="clary:follow must be GROUP@ALIAS"):
        await ask("AddTags", ResourceArn=made["EndpointArn"], Tags=[{"Key": "clary:follow", "Value": "p"}])
    await ask("AddTags", ResourceArn=made["EndpointArn"], Tags=[{"Key": "clary:follow", "Value": "p@a"}])
