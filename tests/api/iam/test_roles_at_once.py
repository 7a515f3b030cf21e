"""Several writers of one role at a time: each of them is answered, and nothing of any is lost."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

from tests.api.requests import DOCUMENT, TRUST
from tests.api.world import World

from clary.domain.resources import Record, Scope
from clary.testing.store import MemoryStore


class Yielding(MemoryStore):
    """Lets others in between a read and what follows, as a database does."""

    async def get(self, kind: str, scope: Scope, name: str) -> Record | None:
        found = await super().get(kind, scope, name)
        await asyncio.sleep(0)
        return found


async def test_writers_of_one_role_lose_nothing() -> None:
    world = World()
    world.ports = replace(world.ports, store=cast("Any", Yielding()))
    await world("iam", "CreateRole", RoleName="R", AssumeRolePolicyDocument=TRUST)
    names = [f"p{number}" for number in range(8)]
    await asyncio.gather(
        *(world("iam", "PutRolePolicy", RoleName="R", PolicyName=name, PolicyDocument=DOCUMENT) for name in names),
        *(world("iam", "TagRole", RoleName="R", Tags=[{"Key": name, "Value": "v"}]) for name in names),
    )
    assert (await world("iam", "ListRolePolicies", RoleName="R"))["PolicyNames"] == names
    assert sorted(tag["Key"] for tag in (await world("iam", "ListRoleTags", RoleName="R"))["Tags"]) == names
