"""Partitions: every ARN that is made or shown in a region of China or GovCloud is of `aws-cn` or `aws-us-gov`, and ARNs of another
partition name nothing there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.session import Session
from tests.api.world import ACCOUNT, World

from clary.domain.access.roles import SAGEMAKER, default_role_arn, trusting
from clary.domain.ids import arn, belongs, partition, stored, written

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
WHERE = {"eu-west-1": "aws", "cn-north-1": "aws-cn", "us-gov-west-1": "aws-us-gov"}
POLICY = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}})


def test_regions_are_in_botocores_partitions() -> None:
    session = Session()
    known = {name: session.get_available_regions("s3", name) for name in session.get_available_partitions()}
    assert {"aws", "aws-cn", "aws-us-gov"} <= known.keys()
    for name, regions in known.items():
        assert {partition(region) for region in regions} <= {name}


@pytest.mark.parametrize(("region", "name"), WHERE.items())
def test_arns(region: str, name: str) -> None:
    made = arn("sagemaker", region, ACCOUNT, "endpoint/Shop")
    assert made == f"arn:{name}:sagemaker:{region}:{ACCOUNT}:endpoint/shop"
    assert belongs(made, region)
    role = default_role_arn(ACCOUNT, region)
    assert role == f"arn:{name}:iam::{ACCOUNT}:role/ClaryDefaultRole"
    assert written(stored(role), region) == role


@pytest.fixture(params=WHERE)
def region(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def name(region: str) -> str:
    return WHERE[region]


def arns(value: Any) -> list[str]:
    """Every ARN in an answer."""
    if isinstance(value, dict):
        return [found for each in value.values() for found in arns(each)]
    if isinstance(value, list):
        return [found for each in value for found in arns(each)]
    return [value] if isinstance(value, str) and value.startswith("arn:") else []


async def test_every_answer_is_in_the_partition_of_its_region(region: str, name: str) -> None:
    world = World()
    found: list[str] = []

    async def ask(service: str, operation: str, **params: Any) -> dict[str, Any]:
        answer = await world(service, operation, _region=region, **params)
        found.extend(arns(answer))
        return answer

    role = (await ask("iam", "CreateRole", RoleName="R", AssumeRolePolicyDocument=trusting(SAGEMAKER)))["Role"]["Arn"]
    policy = (await ask("iam", "CreatePolicy", PolicyName="p", PolicyDocument=POLICY))["Policy"]["Arn"]
    for each in (policy, f"arn:{name}:iam::aws:policy/AmazonSageMakerFullAccess"):
        await ask("iam", "AttachRolePolicy", RoleName="R", PolicyArn=each)
    await ask("iam", "GetPolicy", PolicyArn=policy)
    await ask("iam", "ListAttachedRolePolicies", RoleName="R")
    await ask("iam", "ListPolicies")
    await ask("iam", "GetUser")
    await ask("iam", "SimulatePrincipalPolicy", PolicySourceArn=role, ActionNames=["s3:GetObject"])
    await ask("sts", "GetCallerIdentity")
    await ask("sts", "AssumeRole", RoleArn=role, RoleSessionName="me")
    await ask("logs", "CreateLogGroup", logGroupName="g")
    group = (await ask("logs", "DescribeLogGroups"))["logGroups"][0]["logGroupArn"]
    await ask("logs", "ListTagsForResource", resourceArn=group)
    topic = (await ask("sns", "CreateTopic", Name="t"))["TopicArn"]
    await ask("sns", "Publish", TopicArn=topic, Message="m")
    await ask("cloudwatch", "PutDashboard", DashboardName="d", DashboardBody='{"widgets": []}')
    board = (await ask("cloudwatch", "GetDashboard", DashboardName="d"))["DashboardArn"]
    await ask("cloudwatch", "TagResource", ResourceARN=board, Tags=[{"Key": "a", "Value": "b"}])
    await ask("cloudwatch", "ListTagsForResource", ResourceARN=board)
    await ask("sagemaker", "CreateModel", ModelName="m", ExecutionRoleArn=role, PrimaryContainer={"Image": IMAGE})
    model = (await ask("sagemaker", "DescribeModel", ModelName="m"))["ModelArn"]
    await ask("sagemaker", "ListTags", ResourceArn=model)
    variant = {"VariantName": "v", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    await ask("sagemaker", "CreateEndpointConfig", EndpointConfigName="c", ProductionVariants=[variant])
    await ask("sagemaker", "CreateEndpoint", EndpointName="e", EndpointConfigName="c")
    await ask("sagemaker", "CreateModelPackageGroup", ModelPackageGroupName="G")
    target = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": "endpoint/e/variant/v",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    await ask("application-autoscaling", "RegisterScalableTarget", MinCapacity=1, MaxCapacity=2, **target)
    tracking = {
        "TargetValue": 5.0,
        "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
    }
    await ask(
        "application-autoscaling",
        "PutScalingPolicy",
        PolicyName="p",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration=tracking,
        **target,
    )
    await ask("application-autoscaling", "DescribeScalableTargets", ServiceNamespace="sagemaker")
    await ask("cloudwatch", "DescribeAlarms")
    assert len(found) > 25
    assert {each.split(":")[1] for each in found} == {name}


async def test_what_is_of_an_account_is_one_thing_in_all_regions() -> None:
    world = World()
    await world("iam", "CreateRole", _region="us-east-1", RoleName="R", AssumeRolePolicyDocument=trusting(SAGEMAKER))
    there = await world("iam", "GetRole", _region="cn-north-1", RoleName="R")
    here = await world("iam", "GetRole", _region="us-east-1", RoleName="R")
    assert there["Role"]["Arn"] == f"arn:aws-cn:iam::{ACCOUNT}:role/R"
    assert there["Role"]["RoleId"] == here["Role"]["RoleId"]


@pytest.mark.parametrize(
    ("service", "operation", "params", "code"),
    [
        ("sagemaker", "CreateModel", {"ModelName": "m", "ExecutionRoleArn": "{iam}:role/R"}, "ValidationException"),
        ("sts", "AssumeRole", {"RoleArn": "{iam}:role/R", "RoleSessionName": "me"}, "ValidationError"),
        ("iam", "AttachRolePolicy", {"RoleName": "R", "PolicyArn": "arn:{other}:iam::aws:policy/P"}, "InvalidInput"),
        ("iam", "GetPolicy", {"PolicyArn": "{iam}:policy/P"}, "NoSuchEntity"),
        ("sns", "Publish", {"TopicArn": "arn:{other}:sns:{region}:{account}:t", "Message": "m"}, "InvalidParameter"),
        (
            "logs",
            "ListTagsForResource",
            {"resourceArn": "arn:{other}:logs:{region}:{account}:log-group:g"},
            "ResourceNotFoundException",
        ),
    ],
)
async def test_arns_of_another_partition_name_nothing(
    region: str, service: str, operation: str, params: dict[str, Any], code: str
) -> None:
    world = World()
    await world("iam", "CreateRole", RoleName="R", AssumeRolePolicyDocument=trusting(SAGEMAKER))
    await world("iam", "CreatePolicy", PolicyName="P", PolicyDocument=POLICY)
    await world("sns", "CreateTopic", Name="t", _region=region)
    await world("logs", "CreateLogGroup", logGroupName="g", _region=region)
    other = "aws" if WHERE[region] != "aws" else "aws-cn"
    filled = {
        key: value.format(other=other, region=region, account=ACCOUNT, iam=f"arn:{other}:iam::{ACCOUNT}")
        for key, value in params.items()
    }
    assert (await world.refused(service, operation, _region=region, **filled))[0] == code
