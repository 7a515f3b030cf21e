"""Roles, their policies, users."""

from __future__ import annotations

import json
from typing import Any, cast
from urllib.parse import unquote

import pytest

from clary.api import handlers
from clary.api.call import Call, Params, Ports
from clary.api.errors import translate
from clary.api.registry import find
from clary.domain.access.roles import SAGEMAKER, trusting, unique_id
from clary.domain.errors import ClaryError
from clary.domain.resources import Scope
from clary.testing.keys import MemoryKeys
from clary.testing.store import MemoryStore

ACCOUNT = "000000000000"
USER = f"arn:aws:iam::{ACCOUNT}:user/clary"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/Trainer"
NOW = 1_800_000_000.0
TRUST = trusting(SAGEMAKER)
POLICY = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}})
FULL = "arn:aws:iam::aws:policy/AmazonSageMakerFullAccess"


SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/Trainer/me"


class Fronts:
    """Only hears of revocations."""

    def __init__(self) -> None:
        self.revoked: list[str] = []

    async def revoke(self, access_key_id: str) -> None:
        self.revoked.append(access_key_id)


class Client:
    def __init__(self) -> None:
        handlers.load()
        nothing = cast(Any, None)
        self.keys, self.fronts = MemoryKeys(), Fronts()
        fronts = cast(Any, self.fronts)
        self.ports = Ports(
            MemoryStore(), nothing, nothing, nothing, nothing, self.keys, fronts, nothing, nothing, nothing
        )

    async def __call__(self, name: str, *, principal: str = USER, region: str = "us-east-1", **params: Any) -> Params:
        operation = find("iam", name)
        assert operation is not None
        call = Call(self.ports, "iam", name, Scope(principal.split(":")[4], region), principal, now=NOW)
        return await operation.handler(call, params)

    async def refused(self, name: str, **params: Any) -> tuple[str, str]:
        with pytest.raises(ClaryError) as caught:
            await self(name, **params)
        return translate("iam", name, caught.value)[:2]


@pytest.fixture
async def client() -> Client:
    client = Client()
    await client("CreateRole", RoleName="Trainer", AssumeRolePolicyDocument=TRUST, Tags=[{"Key": "a", "Value": "b"}])
    return client


async def test_a_role_is_what_was_made(client: Client) -> None:
    role = (await client("GetRole", RoleName="Trainer", region="eu-west-1"))["Role"]
    assert role["Arn"] == ROLE
    assert role["RoleId"].startswith("AROA")
    assert unquote(role["AssumeRolePolicyDocument"]) == TRUST
    assert (role["Path"], role["CreateDate"], role["MaxSessionDuration"]) == ("/", NOW, 3600)
    assert role["Tags"] == [{"Key": "a", "Value": "b"}]
    taken = await client.refused("CreateRole", RoleName="Trainer", AssumeRolePolicyDocument=TRUST)
    assert taken == ("EntityAlreadyExists", "Role with name Trainer already exists.")
    missing = await client.refused("GetRole", RoleName="Nobody")
    assert missing == ("NoSuchEntity", "The role with name Nobody cannot be found.")
    stranger = "arn:aws:iam::111111111111:user/eve"
    assert (await client.refused("GetRole", RoleName="Trainer", principal=stranger))[0] == "NoSuchEntity"


async def test_names_are_not_told_apart_by_case(client: Client) -> None:
    for name in ("Trainer", "trainer", "TRAINER"):
        code, message = await client.refused("CreateRole", RoleName=name, AssumeRolePolicyDocument=TRUST)
        assert (code, message) == ("EntityAlreadyExists", f"Role with name {name} already exists.")
    await client("CreateRole", RoleName="Trainer2", AssumeRolePolicyDocument=TRUST)
    await client("CreatePolicy", PolicyName="P", PolicyDocument=POLICY)
    assert (await client.refused("CreatePolicy", PolicyName="p", PolicyDocument=POLICY))[0] == "EntityAlreadyExists"


async def test_roles_change(client: Client) -> None:
    await client("UpdateRole", RoleName="Trainer", Description="d", MaxSessionDuration=7200)
    await client("UpdateAssumeRolePolicy", RoleName="Trainer", PolicyDocument=trusting("lambda.amazonaws.com"))
    await client("TagRole", RoleName="Trainer", Tags=[{"Key": "a", "Value": "c"}, {"Key": "d", "Value": "e"}])
    role = (await client("GetRole", RoleName="Trainer"))["Role"]
    assert (role["Description"], role["MaxSessionDuration"]) == ("d", 7200)
    assert "lambda" in role["AssumeRolePolicyDocument"]
    await client("UntagRole", RoleName="Trainer", TagKeys=["a"])
    assert (await client("ListRoleTags", RoleName="Trainer"))["Tags"] == [{"Key": "d", "Value": "e"}]
    twice = [{"Key": "a", "Value": "1"}, {"Key": "A", "Value": "2"}]
    for name, more in (("TagRole", {}), ("CreateRole", {"AssumeRolePolicyDocument": TRUST})):
        code, message = await client.refused(name, RoleName="Trainer", Tags=twice, **more)
        assert (code, message[:24]) == ("InvalidInput", "Duplicate tag keys found")
    for name, member in (("CreateRole", "AssumeRolePolicyDocument"), ("UpdateAssumeRolePolicy", "PolicyDocument")):
        bad = await client.refused(name, RoleName="Other", **{member: "{"})
        assert bad == ("MalformedPolicyDocument", "This policy contains invalid Json")


async def test_roles_are_listed_in_pages(client: Client) -> None:
    for name in ("A", "B"):
        await client("CreateRole", RoleName=name, Path="/team/", AssumeRolePolicyDocument=TRUST)
    first = await client("ListRoles", MaxItems=2)
    assert [role["RoleName"] for role in first["Roles"]] == ["A", "B"]
    assert first["IsTruncated"]
    second = await client("ListRoles", MaxItems=2, Marker=first["Marker"])
    assert [role["RoleName"] for role in second["Roles"]] == ["Trainer"]
    assert not second["IsTruncated"]
    _, message = await client.refused("ListRoles", Marker="abc")
    assert message.startswith("Invalid Marker: ")
    team = await client("ListRoles", PathPrefix="/team/")
    assert [role["Arn"] for role in team["Roles"]] == [f"arn:aws:iam::{ACCOUNT}:role/team/{name}" for name in "AB"]


async def test_policies_of_a_role(client: Client) -> None:
    await client("AttachRolePolicy", RoleName="Trainer", PolicyArn=FULL)
    await client("AttachRolePolicy", RoleName="Trainer", PolicyArn=FULL)
    attached = (await client("ListAttachedRolePolicies", RoleName="Trainer"))["AttachedPolicies"]
    assert attached == [{"PolicyName": "AmazonSageMakerFullAccess", "PolicyArn": FULL}]
    conflict = await client.refused("DeleteRole", RoleName="Trainer")
    assert conflict == ("DeleteConflict", "Cannot delete entity, must detach all policies first.")
    await client("DetachRolePolicy", RoleName="Trainer", PolicyArn=FULL)
    assert (await client.refused("DetachRolePolicy", RoleName="Trainer", PolicyArn=FULL))[0] == "NoSuchEntity"
    await client("PutRolePolicy", RoleName="Trainer", PolicyName="p", PolicyDocument=POLICY)
    assert (await client("ListRolePolicies", RoleName="Trainer"))["PolicyNames"] == ["p"]
    answer = await client("GetRolePolicy", RoleName="Trainer", PolicyName="p")
    assert unquote(answer["PolicyDocument"]) == POLICY
    assert (await client.refused("DeleteRole", RoleName="Trainer"))[0] == "DeleteConflict"
    await client("DeleteRolePolicy", RoleName="Trainer", PolicyName="p")
    assert (await client.refused("GetRolePolicy", RoleName="Trainer", PolicyName="p"))[0] == "NoSuchEntity"
    assert (await client.refused("DeleteRolePolicy", RoleName="Trainer", PolicyName="p"))[0] == "NoSuchEntity"
    bad = await client.refused("PutRolePolicy", RoleName="Trainer", PolicyName="p", PolicyDocument=TRUST)
    assert bad[0] == "MalformedPolicyDocument"
    assert (await client("ListInstanceProfilesForRole", RoleName="Trainer"))["InstanceProfiles"] == []
    await client("DeleteRole", RoleName="Trainer")
    assert (await client.refused("DeleteRole", RoleName="Trainer"))[0] == "NoSuchEntity"


async def test_customer_policies(client: Client) -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:policy/mine"
    unknown = await client.refused("AttachRolePolicy", RoleName="Trainer", PolicyArn=arn)
    assert unknown == ("NoSuchEntity", f"Policy {arn} does not exist or is not attachable.")
    made = (await client("CreatePolicy", PolicyName="mine", PolicyDocument=POLICY))["Policy"]
    assert (made["Arn"], made["DefaultVersionId"]) == (arn, "v1")
    assert (await client.refused("CreatePolicy", PolicyName="mine", PolicyDocument=POLICY))[0] == "EntityAlreadyExists"
    await client("AttachRolePolicy", RoleName="Trainer", PolicyArn=arn)
    assert (await client("GetPolicy", PolicyArn=arn))["Policy"]["AttachmentCount"] == 1
    version = (await client("GetPolicyVersion", PolicyArn=arn, VersionId="v1"))["PolicyVersion"]
    assert unquote(version["Document"]) == POLICY
    assert (await client.refused("GetPolicyVersion", PolicyArn=arn, VersionId="v2"))[0] == "NoSuchEntity"
    assert len((await client("ListPolicyVersions", PolicyArn=arn))["Versions"]) == 1
    assert [p["PolicyName"] for p in (await client("ListPolicies", OnlyAttached=True))["Policies"]] == ["mine"]
    assert (await client("ListPolicies", Scope="AWS"))["Policies"] == []
    assert (await client.refused("DeletePolicy", PolicyArn=arn))[0] == "DeleteConflict"
    await client("DetachRolePolicy", RoleName="Trainer", PolicyArn=arn)
    await client("DeletePolicy", PolicyArn=arn)
    assert (await client.refused("GetPolicy", PolicyArn=arn))[0] == "NoSuchEntity"


async def test_simulation_answers_for_any_role_of_the_account(client: Client) -> None:
    """What v3's ModelTrainer asks before it starts."""
    source = f"arn:aws:iam::{ACCOUNT}:role/NeverMade"
    asked = {"PolicySourceArn": source, "ActionNames": ["s3:GetObject", "sagemaker:CreateTrainingJob"]}
    answer = await client("SimulatePrincipalPolicy", **asked)
    assert [(r["EvalActionName"], r["EvalDecision"]) for r in answer["EvaluationResults"]] == [
        ("s3:GetObject", "allowed"),
        ("sagemaker:CreateTrainingJob", "allowed"),
    ]
    assert not answer["IsTruncated"]
    foreign = {**asked, "ResourceArns": ["arn:aws:sagemaker:us-east-1:111111111111:model/m"]}
    assert (await client("SimulatePrincipalPolicy", **foreign))["EvaluationResults"][0][
        "EvalDecision"
    ] == "implicitDeny"
    stranger = {**asked, "PolicySourceArn": "arn:aws:iam::111111111111:role/Trainer"}
    assert (await client.refused("SimulatePrincipalPolicy", **stranger))[0] == "NoSuchEntity"
    assert (await client.refused("SimulatePrincipalPolicy", **{**asked, "PolicySourceArn": "x"}))[0] == "InvalidInput"
    assert await client("SimulatePrincipalPolicy", **{**asked, "PolicySourceArn": USER})


async def test_users_are_who_has_a_key(client: Client) -> None:
    client.keys.create(ACCOUNT, "ada")
    client.keys.create("111111111111", "eve")
    assert (await client("GetUser"))["User"]["Arn"] == USER
    assert (await client("GetUser", UserName="ada"))["User"] == {
        "Path": "/",
        "UserName": "ada",
        "UserId": unique_id("AIDA", f"arn:aws:iam::{ACCOUNT}:user/ada"),
        "Arn": f"arn:aws:iam::{ACCOUNT}:user/ada",
        "CreateDate": 1.0,
    }
    assert (await client.refused("GetUser", UserName="eve"))[0] == "NoSuchEntity"
    assert [user["UserName"] for user in (await client("ListUsers"))["Users"]] == ["ada"]
    assert (await client.refused("GetUser", principal=SESSION))[0] == "ValidationError"


async def test_keys_are_made_and_removed(client: Client) -> None:
    first = client.keys.create(ACCOUNT, "clary")
    made = (await client("CreateAccessKey"))["AccessKey"]
    assert (made["UserName"], made["Status"]) == ("clary", "Active")
    found = client.keys.find(made["AccessKeyId"])
    assert found is not None
    assert found.secret == made["SecretAccessKey"]
    listed = (await client("ListAccessKeys", UserName="clary"))["AccessKeyMetadata"]
    assert [key["AccessKeyId"] for key in listed] == [first.access_key_id, made["AccessKeyId"]]
    assert all("SecretAccessKey" not in key for key in listed)
    await client("DeleteAccessKey", AccessKeyId=first.access_key_id)
    assert client.fronts.revoked == [first.access_key_id]
    assert client.keys.find(first.access_key_id) is None
    assert (await client.refused("DeleteAccessKey", AccessKeyId=first.access_key_id))[0] == "NoSuchEntity"
    assert (await client.refused("CreateAccessKey", UserName="nobody"))[0] == "NoSuchEntity"


async def test_a_session_neither_makes_nor_removes_lasting_keys(client: Client) -> None:
    """A training script has its role's temporary keys: it must not turn them into permanent ones, nor lock its owner out."""
    made = client.keys.create(ACCOUNT, "clary")
    delete = {"principal": SESSION, "AccessKeyId": made.access_key_id}
    assert (await client.refused("DeleteAccessKey", **delete))[0] == "AccessDenied"
    assert (await client.refused("CreateAccessKey", principal=SESSION, UserName="clary"))[0] == "AccessDenied"


async def test_keys_of_other_accounts_are_out_of_reach(client: Client) -> None:
    foreign = client.keys.create("111111111111", "eve")
    assert (await client.refused("DeleteAccessKey", AccessKeyId=foreign.access_key_id))[0] == "NoSuchEntity"
    assert client.keys.find(foreign.access_key_id) is not None
    assert (await client("ListAccessKeys", UserName="clary"))["AccessKeyMetadata"] == []
