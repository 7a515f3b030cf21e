"""The life of plain records as boto3 sees it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.live import ROLE, ROOT, Server

from clary.app import up

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


def test_a_code_repository_and_an_image(server: Server) -> None:
    sagemaker = server.client("sagemaker")
    where = {"RepositoryUrl": "https://example.com/r.git", "Branch": "main"}
    secret = "arn:aws:secretsmanager:us-east-1:000000000000:secret:s"
    made = sagemaker.create_code_repository(CodeRepositoryName="ours", GitConfig=where)
    sagemaker.update_code_repository(CodeRepositoryName="ours", GitConfig={"SecretArn": secret})
    seen = sagemaker.describe_code_repository(CodeRepositoryName="ours")
    assert (seen["CodeRepositoryArn"], seen["GitConfig"]) == (made["CodeRepositoryArn"], {**where, "SecretArn": secret})
    listed = sagemaker.list_code_repositories(NameContains="our")["CodeRepositorySummaryList"]
    assert [each["GitConfig"]["Branch"] for each in listed] == ["main"]
    sagemaker.delete_code_repository(CodeRepositoryName="ours")
    with pytest.raises(ClientError, match="Cannot find CodeRepository"):  # what Terraform looks for
        sagemaker.describe_code_repository(CodeRepositoryName="ours")

    role = "arn:aws:iam::000000000000:role/R"
    sagemaker.create_image(ImageName="ours", RoleArn=role, Description="d", DisplayName="n")
    sagemaker.get_waiter("image_created").wait(ImageName="ours")
    sagemaker.update_image(ImageName="ours", DeleteProperties=["Description"], DisplayName="m")
    seen = sagemaker.describe_image(ImageName="ours")
    assert (seen["ImageStatus"], seen["DisplayName"], "Description" in seen) == ("CREATED", "m", False)
    assert [each["ImageName"] for each in sagemaker.list_images()["Images"]] == ["ours"]
    sagemaker.delete_image(ImageName="ours")
    sagemaker.get_waiter("image_deleted").wait(ImageName="ours")
    assert code(sagemaker.describe_image, ImageName="ours") == "ResourceNotFound"


def test_a_hub_and_the_versions_of_what_it_holds(server: Server) -> None:
    sagemaker = server.client("sagemaker")
    sagemaker.create_hub(HubName="ours", HubDescription="d", HubSearchKeywords=["k"])
    content = {"HubName": "ours", "HubContentType": "Model", "HubContentName": "net"}
    whole = {**content, "DocumentSchemaVersion": "2.0.0", "HubContentDocument": "{}"}
    for version in ("1.0.0", "1.10.0", "1.9.0"):
        sagemaker.import_hub_content(**whole, HubContentVersion=version)
    assert code(sagemaker.import_hub_content, **whole, HubContentVersion="1.9.0") == "ResourceInUse"
    newest = sagemaker.describe_hub_content(**content)
    assert (newest["HubContentVersion"], newest["HubContentStatus"], newest["HubContentDocument"]) == (
        "1.10.0",
        "Available",
        "{}",
    )
    contents = sagemaker.list_hub_contents(HubName="ours", HubContentType="Model")["HubContentSummaries"]
    assert [each["HubContentVersion"] for each in contents] == ["1.10.0"]
    versions = sagemaker.list_hub_content_versions(**content, MinVersion="1.9.0")["HubContentSummaries"]
    assert {each["HubContentVersion"] for each in versions} == {"1.9.0", "1.10.0"}
    sagemaker.update_hub_content(**content, HubContentVersion="1.9.0", HubContentDescription="older")
    assert sagemaker.describe_hub_content(**content, HubContentVersion="1.9.0")["HubContentDescription"] == "older"
    assert code(sagemaker.delete_hub, HubName="ours") == "ResourceInUse"
    for version in ("1.0.0", "1.10.0", "1.9.0"):
        sagemaker.delete_hub_content(**content, HubContentVersion=version)
    assert code(sagemaker.describe_hub_content, **content) == "ResourceNotFound"
    sagemaker.delete_hub(HubName="ours")
    assert sagemaker.list_hubs()["HubSummaries"] == []


def test_versions_aliases_and_policies_by_the_cli_over_a_restart(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(dir=str(tmp_path / "state"))

    def aws(*words: str) -> Any:
        done = server.run([str(ROOT / ".venv-cli" / "bin" / "aws"), "sagemaker", *words, "--output", "json"])
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout or "{}")

    version = ("--image-name", "ours")
    aws("create-image", *version, "--role-arn", ROLE)
    made = aws("create-image-version", *version, "--base-image", "sagemaker-xgboost:1.7-1", "--aliases", "a", "b")
    assert made["ImageVersionArn"].endswith(":image-version/ours/1")
    aws("create-image-version", *version, "--base-image", "other:2")
    aws("update-image-version", *version, "--version-number", "2", "--aliases-to-add", "c", "--horovod")
    aws("create-model-package-group", "--model-package-group-name", "group")
    policy = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]})
    aws("put-model-package-group-policy", "--model-package-group-name", "group", "--resource-policy", policy)
    up.down(server.settings)
    server = start(dir=str(tmp_path / "state"))
    seen = aws("describe-image-version", *version, "--alias", "c")
    assert (seen["Version"], seen["BaseImage"], seen["Horovod"]) == (2, "other:2", True)
    assert aws("list-aliases", *version)["SageMakerImageVersionAliases"] == ["a", "b", "c"]
    listed = aws("list-image-versions", *version, "--sort-by", "VERSION", "--sort-order", "ASCENDING")
    assert [each["Version"] for each in listed["ImageVersions"]] == [1, 2]
    kept = aws("get-model-package-group-policy", "--model-package-group-name", "group")["ResourcePolicy"]
    assert kept == policy
    assert aws("list-resource-catalogs")["ResourceCatalogs"] == []
    aws("delete-image-version", *version, "--alias", "c")
    assert aws("list-aliases", *version)["SageMakerImageVersionAliases"] == ["a", "b"]
    aws("delete-model-package-group-policy", "--model-package-group-name", "group")
    up.down(server.settings)


def test_a_reference_to_a_public_content(server: Server) -> None:
    sagemaker = server.client("sagemaker")
    public = "arn:aws:sagemaker:us-east-1:aws:hub-content/SageMakerPublicHub/Model/bert"
    sagemaker.create_hub(HubName="refers", HubDescription="d")
    sagemaker.create_hub_content_reference(HubName="refers", SageMakerPublicHubContentArn=public, MinVersion="1.0.0")
    which = {"HubName": "refers", "HubContentType": "ModelReference", "HubContentName": "bert"}
    sagemaker.update_hub_content_reference(**which, MinVersion="1.2.0")
    seen = sagemaker.describe_hub_content(**which)
    assert (seen["SageMakerPublicHubContentArn"], seen["ReferenceMinVersion"]) == (public, "1.2.0")
    assert code(sagemaker.delete_hub_content_reference, **{**which, "HubContentType": "Model"}) == "ResourceNotFound"
    sagemaker.delete_hub_content_reference(**which)
    sagemaker.delete_hub(HubName="refers")
