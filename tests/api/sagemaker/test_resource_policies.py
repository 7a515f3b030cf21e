"""Policies are kept with their resource and shown."""

from __future__ import annotations

import pytest
from tests.api.house import house
from tests.api.requests import DOCUMENT
from tests.api.world import World

from clary.domain.errors import Invalid, NotFound

HERE = "arn:aws:sagemaker:eu-west-1:000000000000"


@pytest.mark.parametrize(
    ("noun", "member", "name", "arn"),
    [
        ("ModelPackageGroup", "ModelPackageGroupName", "G", "ModelPackageGroupArn"),
        ("Endpoint", "EndpointName", "e", "EndpointArn"),
    ],
)
async def test_a_policy_is_kept_shown_and_removed(noun: str, member: str, name: str, arn: str) -> None:
    world = await house()
    which = {member: name}
    put = await world("sagemaker", f"Put{noun}Policy", **which, ResourcePolicy=DOCUMENT)
    assert put[arn].endswith(f"/{name.lower()}")
    assert (await world("sagemaker", f"Get{noun}Policy", **which))["ResourcePolicy"] == DOCUMENT
    described = await world("sagemaker", f"Describe{noun}", **which)
    assert DOCUMENT not in described.values()
    await world("sagemaker", f"Delete{noun}Policy", **which)
    for verb in ("Get", "Delete"):
        with pytest.raises(NotFound, match="Cannot find resource policy"):
            await world("sagemaker", f"{verb}{noun}Policy", **which)


@pytest.mark.parametrize("text", ["nonsense", "[]", "{}", '{"Statement": []}', "[" * 5000])
async def test_what_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="ResourcePolicy must be a policy"):
        await (await house())("sagemaker", "PutModelPackageGroupPolicy", ModelPackageGroupName="G", ResourcePolicy=text)


async def test_what_is_not_there() -> None:
    world = World()
    with pytest.raises(NotFound, match="Cannot find Model Package Group"):
        await world("sagemaker", "GetModelPackageGroupPolicy", ModelPackageGroupName="none")
    with pytest.raises(NotFound, match="lineage group"):
        await world("sagemaker", "GetLineageGroupPolicy", LineageGroupName="none")
    assert await world("sagemaker", "ListResourceCatalogs") == {"ResourceCatalogs": []}
