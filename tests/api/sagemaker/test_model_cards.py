"""Model cards, their versions and export jobs through their handlers."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.api.world import World

from clary.api.errors import translate
from clary.domain.errors import AlreadyExists, ClaryError, InUse, Invalid, NotFound
from clary.domain.registry import cards
from clary.domain.resources import Query, Scope
from clary.testing.clock import FakeClock

HERE = "arn:aws:sagemaker:eu-west-1:000000000000:model-card"
SCOPE = Scope("000000000000", "eu-west-1")


def content(words: str) -> str:
    return json.dumps({"model_overview": {"model_description": words}})


class Cards(World):
    async def ask_for(self, operation: str, **params: Any) -> dict[str, Any]:
        return await self("sagemaker", operation, **params)

    async def versions(self, **more: Any) -> list[int]:
        answer = await self.ask_for("ListModelCardVersions", ModelCardName="Churn", **more)
        return [each["ModelCardVersion"] for each in answer["ModelCardVersionSummaryList"]]

    def advance(self) -> None:
        assert isinstance(self.ports.clock, FakeClock)
        self.ports.clock.advance(1)


@pytest.fixture
async def world() -> Cards:
    world = Cards({"b": {}})
    made = await world.ask_for(
        "CreateModelCard",
        ModelCardName="Churn",
        Content=content("one"),
        ModelCardStatus="Draft",
        SecurityConfig={"KmsKeyId": "k"},
        Tags=[{"Key": "k", "Value": "v"}],
    )
    assert made == {"ModelCardArn": f"{HERE}/churn"}
    return world


async def test_a_content_makes_a_version_and_a_status_none(world: Cards) -> None:
    for change in (
        {"ModelCardStatus": "PendingReview"},
        {"Content": content("two")},
        {"ModelCardStatus": "Approved"},
        {"Content": content("three")},
        {"Content": content("three") + " "},  # says the same
    ):
        world.advance()
        await world.ask_for("UpdateModelCard", ModelCardName="Churn", **change)
    seen = [
        await world.ask_for("DescribeModelCard", ModelCardName=f"{HERE}/churn", **which)
        for which in ({"ModelCardVersion": 1}, {"ModelCardVersion": 2}, {"ModelCardVersion": 3}, {})
    ]
    assert [each["ModelCardVersion"] for each in seen] == [1, 2, 3, 3]
    assert [each["ModelCardStatus"] for each in seen] == ["PendingReview", "Approved", "Approved", "Approved"]
    assert [each["Content"] for each in seen[:3]] == [content("one"), content("two"), content("three")]
    assert seen[0]["SecurityConfig"] == {"KmsKeyId": "k"}
    assert seen[0]["CreatedBy"]["IamIdentity"]["PrincipalId"] == "clary"
    assert "ModelCardProcessingStatus" not in seen[3]


async def test_pages_of_versions(world: Cards) -> None:
    for at in range(2, 13):
        world.advance()
        await world.ask_for("UpdateModelCard", ModelCardName="Churn", Content=content(str(at)))
    for order, wanted in (("Ascending", list(range(1, 13))), ("Descending", list(range(12, 0, -1)))):
        for size in (1, 4, 5, 12, 100):
            found: list[int] = []
            token: dict[str, Any] = {}
            while True:
                page = await world.ask_for(
                    "ListModelCardVersions", ModelCardName="Churn", SortOrder=order, MaxResults=size, **token
                )
                found += [each["ModelCardVersion"] for each in page["ModelCardVersionSummaryList"]]
                if "NextToken" not in page:
                    break
                token = {"NextToken": page["NextToken"]}
            assert found == wanted, (order, size)
    await world.ask_for("UpdateModelCard", ModelCardName="Churn", ModelCardStatus="Approved")
    assert await world.versions(ModelCardStatus="Approved") == [12]
    assert len(await world.versions(ModelCardStatus="Draft", MaxResults=100)) == 11


async def test_a_change_that_died_after_its_copy_shows_nothing_twice(world: Cards) -> None:
    card = await world.store.get(cards.CARD, SCOPE, "Churn")
    assert card is not None
    left = cards.snapshot(card, "left")
    await world.store.add(replace(left, document={**left.document, "content": content("left")}))
    assert await world.versions() == [1]
    await world.ask_for("UpdateModelCard", ModelCardName="Churn", Content=content("two"))
    first = await world.ask_for("DescribeModelCard", ModelCardName="Churn", ModelCardVersion=1)
    assert first["Content"] == content("one")
    assert await world.versions(SortOrder="Ascending") == [1, 2]


@pytest.mark.parametrize("both", [{}, {"Content": "{}", "ModelCardStatus": "Draft"}])
async def test_either_content_or_status(world: Cards, both: dict[str, str]) -> None:
    with pytest.raises(Invalid, match="either Content or ModelCardStatus"):
        await world.ask_for("UpdateModelCard", ModelCardName="Churn", **both)


async def test_a_content_that_the_schema_does_not_know(world: Cards) -> None:
    wrong = json.dumps({"colour": "red"})
    for operation, more in (
        ("CreateModelCard", {"ModelCardName": "other", "ModelCardStatus": "Draft", "Content": wrong}),
        ("UpdateModelCard", {"ModelCardName": "Churn", "Content": wrong}),
        (
            "CreateModelPackage",
            {
                "ModelPackageName": "p",
                "ModelCard": {"ModelCardContent": wrong},
                "InferenceSpecification": {"Containers": []},
            },
        ),
    ):
        with pytest.raises(Invalid, match=r"does not match the schema of model cards: \$.colour"):
            await world.ask_for(operation, **more)


async def test_a_name_is_taken_until_its_card_is_gone_with_all_that_it_had(world: Cards) -> None:
    again = {"ModelCardName": "Churn", "Content": "{}", "ModelCardStatus": "Draft"}
    with pytest.raises(AlreadyExists, match="already exists") as caught:
        await world.ask_for("CreateModelCard", **again)
    assert translate("sagemaker", "CreateModelCard", caught.value)[0] == "ConflictException"
    await world.ask_for("UpdateModelCard", ModelCardName="Churn", Content=content("two"))
    await export(world)
    await world.ask_for("DeleteModelCard", ModelCardName="Churn")
    for kind in (cards.CARD, cards.VERSION, cards.EXPORT):
        assert await world.store.count(Query(kind, SCOPE)) == 0
    with pytest.raises(NotFound, match="Could not find model card"):
        await world.ask_for("DescribeModelCard", ModelCardName="Churn")
    await world.ask_for("CreateModelCard", **again)
    assert await world.versions() == [1]


async def test_a_card_that_is_being_deleted_is_not_changed(world: Cards) -> None:
    card = await world.store.get(cards.CARD, SCOPE, "Churn")
    assert card is not None
    await world.store.save(replace(card, document={**card.document, "deleting": True}))
    seen = await world.ask_for("DescribeModelCard", ModelCardName="Churn")
    assert seen["ModelCardProcessingStatus"] == "DeleteInProgress"
    for change in (world.ask_for("UpdateModelCard", ModelCardName="Churn", ModelCardStatus="Archived"), export(world)):
        with pytest.raises(InUse, match="is being deleted"):
            await change
    await world.ask_for("DeleteModelCard", ModelCardName="Churn")


async def test_lists_filter_by_status_and_name(world: Cards) -> None:
    await world.ask_for("CreateModelCard", ModelCardName="other", Content="{}", ModelCardStatus="Approved")

    async def names(**more: Any) -> list[str]:
        listed = await world.ask_for("ListModelCards", SortBy="Name", SortOrder="Ascending", **more)
        return [each["ModelCardName"] for each in listed["ModelCardSummaries"]]

    assert await names() == ["Churn", "other"]
    assert (await names(ModelCardStatus="Approved"), await names(NameContains="hur")) == (["other"], ["Churn"])


async def test_search_finds_a_card_by_what_it_is_about(world: Cards) -> None:
    about = {
        "model_package_details": {"model_package_arn": "arn:p", "model_package_group_name": "G"},
        "intended_uses": {"risk_rating": "Low"},
    }
    await world.ask_for("CreateModelCard", ModelCardName="p", Content=json.dumps(about), ModelCardStatus="Draft")

    async def found(name: str, value: str) -> list[str]:
        expression = {"Filters": [{"Name": name, "Operator": "Equals", "Value": value}]}
        answer = await world.ask_for("Search", Resource="ModelCard", SearchExpression=expression)
        return [each["ModelCard"]["ModelCardName"] for each in answer["Results"]]

    for name, value in (("ModelId", "arn:p"), ("ModelPackageGroupName", "G"), ("RiskRating", "Low")):
        assert await found(name, value) == ["p"]
    assert await found("ModelId", "other") == []
    assert sorted(await found("ModelCardStatus", "Draft")) == ["Churn", "p"]


# -- export jobs --------------------------------------------------------------------------------------------------------------------


async def export(world: Cards, **more: Any) -> str:
    given = {"ModelCardExportJobName": "job", "OutputConfig": {"S3OutputPath": "s3://b/out/"}, **more}
    made = await world.ask_for("CreateModelCardExportJob", ModelCardName="Churn", **given)
    return str(made["ModelCardExportJobArn"])


async def test_an_export_job_has_the_version_that_was_asked_for(world: Cards) -> None:
    await world.ask_for("UpdateModelCard", ModelCardName="Churn", Content=content("two"))
    arn = await export(world, ModelCardVersion=1)
    assert arn == f"{HERE}/churn/export-job/job"
    seen = await world.ask_for("DescribeModelCardExportJob", ModelCardExportJobArn=arn)
    assert (seen["Status"], seen["ModelCardVersion"]) == ("InProgress", 1)
    assert seen["OutputConfig"] == {"S3OutputPath": "s3://b/out/"}
    assert "ExportArtifacts" not in seen
    job = await world.store.by_arn(arn)
    assert job is not None
    assert cards.export_of(job).uri == "s3://b/out/Churn/1/job.pdf"
    assert cards.export_of(job).content == json.loads(content("one"))
    await export(world, ModelCardExportJobName="second")
    listed = await world.ask_for("ListModelCardExportJobs", ModelCardName="Churn", SortBy="Name", SortOrder="Ascending")
    assert [each["ModelCardExportJobName"] for each in listed["ModelCardExportJobSummaries"]] == ["job", "second"]
    first = await world.ask_for("ListModelCardExportJobs", ModelCardName="Churn", ModelCardVersion=1)
    assert [each["ModelCardVersion"] for each in first["ModelCardExportJobSummaries"]] == [1]


@pytest.mark.parametrize(
    ("more", "error", "words"),
    [
        ({"ModelCardVersion": 2}, NotFound, "has no version 2: its newest is 1"),
        ({"ModelCardVersion": 0}, NotFound, "has no version 0"),
        ({"ModelCardVersion": -(10**9)}, NotFound, "has no version"),
        ({"OutputConfig": {"S3OutputPath": "s3://nobody/out"}}, NotFound, "bucket nobody does not exist"),
        ({"OutputConfig": {"S3OutputPath": "https://example.com/x"}}, Invalid, "is not an S3 URI"),
    ],
)
async def test_what_cannot_be_exported(world: Cards, more: dict[str, Any], error: type[ClaryError], words: str) -> None:
    with pytest.raises(error, match=words):
        await export(world, **more)


async def test_a_jobs_name_is_taken(world: Cards) -> None:
    await export(world)
    with pytest.raises(AlreadyExists) as caught:
        await export(world)
    assert translate("sagemaker", "CreateModelCardExportJob", caught.value)[0] == "ConflictException"
