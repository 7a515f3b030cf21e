from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from clary.domain.errors import Denied, Invalid, NotFound
from clary.domain.resources import Scope

ARN = "arn:aws:sagemaker:eu-west-1:000000000000:model/m"


@pytest.fixture
async def model(ask: Any, image: str) -> str:
    await ask("CreateModel", ModelName="M", PrimaryContainer={"Image": image}, Tags=[{"Key": "first", "Value": "1"}])
    return ARN


async def test_add_list_delete(ask: Any, model: str) -> None:
    added = await ask("AddTags", ResourceArn=model, Tags=[{"Key": "b", "Value": "2"}, {"Key": "first", "Value": "one"}])
    assert added["Tags"] == [{"Key": "first", "Value": "one"}, {"Key": "b", "Value": "2"}]
    assert await ask("ListTags", ResourceArn=model) == added
    assert await ask("DeleteTags", ResourceArn=model, TagKeys=["first", "not there"]) == {}
    assert (await ask("ListTags", ResourceArn=model))["Tags"] == [{"Key": "b", "Value": "2"}]


async def test_either_spelling_of_the_name_finds_it(ask: Any, model: str) -> None:
    assert (await ask("ListTags", ResourceArn=ARN[:-1] + "M"))["Tags"]


async def test_errors(ask: Any, model: str) -> None:
    with pytest.raises(NotFound, match=r'Could not find model "arn:.*/other"'):
        await ask("ListTags", ResourceArn=ARN[:-1] + "other")
    with pytest.raises(NotFound, match="Could not find model"):
        await ask("ListTags", ResourceArn=model, _region="us-east-1")
    with pytest.raises(Denied, match="not authorized to perform: sagemaker:ListTags"):
        await ask("ListTags", ResourceArn=model, _account="111111111111")
    with pytest.raises(Invalid, match="at most 50"):
        await ask("AddTags", ResourceArn=model, Tags=[{"Key": str(n), "Value": ""} for n in range(50)])
    with pytest.raises(Invalid, match="reserved"):
        await ask("AddTags", ResourceArn=model, Tags=[{"Key": "AWS:x", "Value": ""}])
    with pytest.raises(Invalid, match="Invalid ARN"):
        await ask("ListTags", ResourceArn="model/m")


async def test_the_systems_own_tags_are_shown_and_count_towards_no_limit(ask: Any, ports: Any, model: str) -> None:
    scope = Scope("000000000000", "eu-west-1")
    record = await ports.store.get("model", scope, "M")
    tags = {"aws:clary:last-change": "2026-01-01T00:00:00Z in service"}
    await ports.store.save(replace(record, document={**record.document, "system_tags": tags}))
    await ask("AddTags", ResourceArn=model, Tags=[{"Key": str(n), "Value": ""} for n in range(49)])
    shown = (await ask("ListTags", ResourceArn=model))["Tags"]
    assert len(shown) == 51
    assert shown[-1] == {"Key": "aws:clary:last-change", "Value": "2026-01-01T00:00:00Z in service"}
    await ask("DeleteTags", ResourceArn=model, TagKeys=["aws:clary:last-change"])
    assert len((await ask("ListTags", ResourceArn=model))["Tags"]) == 51
