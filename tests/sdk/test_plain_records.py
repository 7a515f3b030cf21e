"""The life of plain records as boto3 sees it."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.live import Server

pytestmark = [pytest.mark.live]


def code(call: Any, **params: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**params)
    return str(caught.value.response["Error"]["Code"])


def test_a_domain_with_its_profiles_and_spaces(server: Server) -> None:
    sagemaker = server.client("sagemaker")
    settings = {"ExecutionRole": "arn:aws:iam::000000000000:role/R"}
    made = sagemaker.create_domain(DomainName="team", AuthMode="IAM", DefaultUserSettings=settings)
    which = made["DomainId"]
    assert (
        code(sagemaker.create_domain, DomainName="team", AuthMode="IAM", DefaultUserSettings=settings)
        == "ResourceInUse"
    )
    for name in ("ada", "bob", "carol"):
        sagemaker.create_user_profile(DomainId=which, UserProfileName=name, Tags=[{"Key": "k", "Value": name}])
    sagemaker.create_space(DomainId=which, SpaceName="s", OwnershipSettings={"OwnerUserProfileName": "ada"})
    pages = sagemaker.get_paginator("list_user_profiles").paginate(
        DomainIdEquals=which, PaginationConfig={"PageSize": 2}
    )
    profiles = [each for page in pages for each in page["UserProfiles"]]
    assert [each["UserProfileName"] for each in profiles] == ["ada", "bob", "carol"]
    sagemaker.update_user_profile(DomainId=which, UserProfileName="bob", UserSettings=settings)
    seen = sagemaker.describe_user_profile(DomainId=which, UserProfileName="bob")
    assert (seen["Status"], seen["UserSettings"]) == ("InService", settings)
    assert seen["LastModifiedTime"] > seen["CreationTime"]
    assert sagemaker.list_tags(ResourceArn=seen["UserProfileArn"])["Tags"] == [{"Key": "k", "Value": "bob"}]
    assert code(sagemaker.delete_domain, DomainId=which) == "ResourceInUse"
    for name in ("ada", "bob", "carol"):
        sagemaker.delete_user_profile(DomainId=which, UserProfileName=name)
    sagemaker.delete_space(DomainId=which, SpaceName="s")
    sagemaker.delete_domain(DomainId=which)
    assert code(sagemaker.describe_domain, DomainId=which) == "ResourceNotFound"
    assert sagemaker.list_domains()["Domains"] == []
