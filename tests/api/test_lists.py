"""Lists of what is no record: pages of IAM's, whose account is meant, and members that narrow them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.api.world import ACCOUNT, World

from clary.domain.access.roles import SAGEMAKER, trusting


@pytest.fixture
async def world() -> World:
    """A role with three tags, three inline and two attached policies; a user with three keys."""
    made = World()
    tags = [{"Key": key, "Value": "v"} for key in "abc"]
    await made("iam", "CreateRole", RoleName="R", AssumeRolePolicyDocument=trusting(SAGEMAKER), Tags=tags)
    document = '{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}'
    for name in "abc":
        await made("iam", "PutRolePolicy", RoleName="R", PolicyName=name, PolicyDocument=document)
        await made("iam", "AttachRolePolicy", RoleName="R", PolicyArn=f"arn:aws:iam::aws:policy/{name}")
        made.ports.keys.create(ACCOUNT, "clary")
        made.ports.keys.create(ACCOUNT, f"user-{name}")
    return made


@pytest.mark.parametrize(
    ("operation", "member", "params", "count"),
    [
        ("ListRoleTags", "Tags", {"RoleName": "R"}, 3),
        ("ListRolePolicies", "PolicyNames", {"RoleName": "R"}, 3),
        ("ListAttachedRolePolicies", "AttachedPolicies", {"RoleName": "R"}, 3),
        ("ListAccessKeys", "AccessKeyMetadata", {"UserName": "clary"}, 3),
        ("ListUsers", "Users", {}, 4),
        ("ListInstanceProfilesForRole", "InstanceProfiles", {"RoleName": "R"}, 0),
        (
            "SimulatePrincipalPolicy",
            "EvaluationResults",
            {"PolicySourceArn": f"arn:aws:iam::{ACCOUNT}:role/R", "ActionNames": ["s3:a", "s3:b", "s3:c"]},
            3,
        ),
    ],
)
async def test_lists_of_iam_have_pages(
    world: World, operation: str, member: str, params: dict[str, Any], count: int
) -> None:
    whole = await world("iam", operation, **params)
    assert (len(whole[member]), whole["IsTruncated"]) == (count, False)
    found, asked = [], dict(params)
    while True:
        page = await world("iam", operation, MaxItems=2, **asked)
        assert len(page[member]) <= 2
        found += page[member]
        if not page["IsTruncated"]:
            break
        asked["Marker"] = page["Marker"]
    assert found == whole[member]
    assert (await world.refused("iam", operation, **params, Marker="x"))[1].startswith("Invalid Marker")


async def test_a_key_is_deleted_of_the_user_that_is_named(world: World) -> None:
    key = (await world("iam", "ListAccessKeys", UserName="user-a"))["AccessKeyMetadata"][0]["AccessKeyId"]
    code, _ = await world.refused("iam", "DeleteAccessKey", UserName="user-b", AccessKeyId=key)
    assert code == "NoSuchEntity"
    await world("iam", "DeleteAccessKey", UserName="user-a", AccessKeyId=key)
    assert (await world("iam", "ListAccessKeys", UserName="user-a"))["AccessKeyMetadata"] == []


async def test_metrics_are_those_of_the_account(world: World) -> None:
    await world("cloudwatch", "PutMetricData", Namespace="N", MetricData=[{"MetricName": "m", "Value": 1.0}])
    for account, count in ((ACCOUNT, 1), ("1" * 12, 0)):
        assert len((await world("cloudwatch", "ListMetrics", OwningAccount=account))["Metrics"]) == count


async def test_tags_come_in_one_page(world: World) -> None:
    await world("sagemaker", "CreateModelPackageGroup", ModelPackageGroupName="g")
    arn = f"arn:aws:sagemaker:eu-west-1:{ACCOUNT}:model-package-group/g"
    assert await world("sagemaker", "ListTags", ResourceArn=arn) == {"Tags": []}
    assert (await world.refused("sagemaker", "ListTags", ResourceArn=arn, NextToken="x"))[0] == "ValidationException"


@pytest.mark.parametrize(
    ("service", "operation", "params", "code", "words"),
    [
        (
            "sns",
            "Publish",
            {"PhoneNumber": "+4912345", "Message": "m"},
            "InvalidParameter",
            "PhoneNumber (text messages",
        ),
        (
            "cloudwatch",
            "DescribeAlarmHistory",
            {"AlarmContributorId": "c"},
            "ValidationError",
            "AlarmContributorId (Clary's alarms have no contributors",
        ),
    ],
)
async def test_members_that_cannot_be_honoured_are_refused_by_their_name(
    world: World, service: str, operation: str, params: dict[str, Any], code: str, words: str
) -> None:
    found, message = await world.refused(service, operation, **params)
    assert found == code
    assert words in message


async def test_a_session_tells_its_source_identity(world: World) -> None:
    role = f"arn:aws:iam::{ACCOUNT}:role/R"
    made = await world("sts", "AssumeRole", RoleArn=role, RoleSessionName="s", SourceIdentity="me")
    assert made["SourceIdentity"] == "me"
