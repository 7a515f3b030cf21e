"""Roles as values."""

from __future__ import annotations

import json

import pytest

from clary.domain.access.roles import (
    SAGEMAKER,
    assumed_arn,
    check_policy,
    default_role,
    default_role_arn,
    parse_assumed,
    parse_policy,
    parse_role,
    simulate,
    trusting,
    unique_id,
)
from clary.domain.errors import Invalid

ACCOUNT = "000000000000"


def test_the_default_role_trusts_sagemaker() -> None:
    role = default_role(ACCOUNT, 5.0)
    assert role.arn == default_role_arn(ACCOUNT, "eu-west-1") == f"arn:aws:iam::{ACCOUNT}:role/ClaryDefaultRole"
    assert (role.kind, role.scope.region, role.created) == ("role", "", 5.0)
    (statement,) = json.loads(role.document["request"]["AssumeRolePolicyDocument"])["Statement"]
    assert statement == {"Effect": "Allow", "Principal": {"Service": SAGEMAKER}, "Action": "sts:AssumeRole"}
    assert json.loads(json.dumps(role.document)) == role.document


@pytest.mark.parametrize(
    ("arn", "wanted"),
    [
        (f"arn:aws:iam::{ACCOUNT}:role/A", (ACCOUNT, "/", "A")),
        (f"arn:aws-cn:iam::{ACCOUNT}:role/service-role/x/A-b@c", (ACCOUNT, "/service-role/x/", "A-b@c")),
        (f"arn:aws:iam::{ACCOUNT}:user/A", None),
        (f"arn:aws:iam::{ACCOUNT}:role/", None),
        (f"arn:aws:iam::{ACCOUNT}:role//A", None),
        (f"arn:aws:iam::{ACCOUNT}:role/A\n", None),
        ("role", None),
    ],
)
def test_role_arns(arn: str, wanted: object) -> None:
    assert parse_role(arn) == wanted


def test_other_arns() -> None:
    assert parse_assumed(assumed_arn(ACCOUNT, "A", "me@b")) == (ACCOUNT, "A", "me@b")
    assert parse_assumed(f"arn:aws:iam::{ACCOUNT}:user/A") is None
    assert parse_policy("arn:aws:iam::aws:policy/service-role/X") == ("aws", "/service-role/", "X")
    assert parse_policy("arn:aws:iam::1:policy/X") is None
    assert len(unique_id("AROA", "x")) == 21
    assert unique_id("AROA", "x") != unique_id("AROA", "y")


@pytest.mark.parametrize(
    ("text", "trust"),
    [
        ("", True),
        ("[]", True),
        ("{}", True),
        ('{"Statement": [1]}', True),
        ('{"Version": "2020-01-01", "Statement": []}', True),
        ('{"Statement": {"Effect": "Perhaps", "Principal": "*", "Action": "*"}}', True),
        ('{"Statement": {"Effect": "Allow", "Principal": "*"}}', True),
        ('{"Statement": {"Effect": "Allow", "Action": "*"}}', True),
        ('{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}}', True),
        ('{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}}', False),
        ('{"Statement": {"Effect": "Allow", "Action": "*"}}', False),
        ("[" * 100_000, True),
    ],
)
def test_bad_documents(text: str, trust: bool) -> None:
    with pytest.raises(Invalid):
        check_policy(text, trust=trust)


def test_good_documents() -> None:
    check_policy(trusting(SAGEMAKER), trust=True)
    check_policy('{"Statement": {"Effect": "Deny", "NotAction": "s3:*", "Resource": ["*"]}}', trust=False)


@pytest.mark.parametrize(
    ("resource", "wanted"),
    [
        ("*", True),
        ("arn:aws:s3:::bucket/key", True),
        (f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:endpoint/e", True),
        ("arn:aws:sagemaker:us-east-1:111111111111:endpoint/e", False),
    ],
)
def test_an_account_is_the_boundary(resource: str, wanted: bool) -> None:
    assert simulate(ACCOUNT, resource) is wanted
