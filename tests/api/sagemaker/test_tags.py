from __future__ import annotations

from typing import Any

import pytest

from clary.domain.errors import Denied, Invalid, NotFound

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
    with pytest.raises(Denied, match="not authorized to perform: sagemaker:ListTags"):
        await ask("ListTags", ResourceArn=model, _account="111111111111")
    with pytest.raises(Invalid, match="at most 50"):
        await ask("AddTags", ResourceArn=model, Tags=[{"Key": str(n), "Value": ""} for n in range(50)])
    with pytest.raises(Invalid, match="reserved"):
        await ask("AddTags", ResourceArn=model, Tags=[{"Key": "AWS:x", "Value": ""}])
    with pytest.raises(Invalid, match="Invalid ARN"):
        await ask("ListTags", ResourceArn="model/m")
