"""Who the caller is, and temporary credentials."""

from __future__ import annotations

from typing import Any, cast

import pytest

from clary.api import handlers
from clary.api.call import Call, Params, Ports
from clary.api.errors import translate
from clary.api.registry import find
from clary.domain.access.roles import default_role
from clary.domain.errors import ClaryError
from clary.domain.resources import Scope
from clary.testing.keys import MemoryKeys
from clary.testing.store import MemoryStore

ACCOUNT = "000000000000"
USER = f"arn:aws:iam::{ACCOUNT}:user/clary"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/Trainer/me"
NOW = 1_800_000_000.0


class Client:
    def __init__(self) -> None:
        handlers.load()
        nothing = cast(Any, None)
        self.store, self.keys = MemoryStore(), MemoryKeys()
        self.ports = Ports(
            self.store, nothing, nothing, nothing, nothing, self.keys, nothing, nothing, nothing, nothing
        )

    async def __call__(self, name: str, principal: str = USER, **params: Any) -> Params:
        operation = find("sts", name)
        assert operation is not None
        call = Call(self.ports, "sts", name, Scope(ACCOUNT, "us-east-1"), principal, now=NOW)
        return await operation.handler(call, params)

    async def refused(self, name: str, principal: str = USER, **params: Any) -> str:
        with pytest.raises(ClaryError) as caught:
            await self(name, principal, **params)
        return translate("sts", name, caught.value)[0]


@pytest.fixture
def client() -> Client:
    return Client()


async def test_a_user_knows_who_they_are(client: Client) -> None:
    answer = await client("GetCallerIdentity")
    assert (answer["Account"], answer["Arn"]) == (ACCOUNT, USER)
    assert answer["UserId"].startswith("AIDA")


async def test_a_session_knows_its_role(client: Client) -> None:
    answer = await client("GetCallerIdentity", SESSION)
    assert answer["Arn"] == SESSION
    assert answer["UserId"].startswith("AROA")
    assert answer["UserId"].endswith(":me")


async def test_a_role_is_assumed_for_a_while(client: Client) -> None:
    answer = await client("AssumeRole", RoleArn=f"arn:aws:iam::{ACCOUNT}:role/x/Trainer", RoleSessionName="me")
    made = answer["Credentials"]
    assert answer["AssumedRoleUser"]["Arn"] == SESSION
    assert made["Expiration"] == NOW + 3600
    found = client.keys.find(made["AccessKeyId"], made["SessionToken"])
    assert found is not None
    assert (found.secret, found.principal, found.account) == (made["SecretAccessKey"], SESSION, ACCOUNT)


async def test_what_cannot_be_assumed(client: Client) -> None:
    await client.store.add(default_role(ACCOUNT, NOW))
    own = {"RoleArn": f"arn:aws:iam::{ACCOUNT}:role/ClaryDefaultRole", "RoleSessionName": "me"}
    assert await client("AssumeRole", **own)
    assert await client.refused("AssumeRole", **own, DurationSeconds=7200) == "ValidationError"
    assert await client.refused("AssumeRole", **own, Policy="{}") == "ValidationError"
    assert await client.refused("AssumeRole", **{**own, "RoleArn": "arn:aws:iam::role"}) == "ValidationError"
    other = {**own, "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/Trainer"}
    assert await client("AssumeRole", **other, DurationSeconds=7200)
    assert await client.refused("AssumeRole", SESSION, **other, DurationSeconds=3601) == "ValidationError"
    assert await client("AssumeRole", SESSION, **other, DurationSeconds=3600)
    foreign = {**own, "RoleArn": "arn:aws:iam::111111111111:role/Trainer"}
    assert await client.refused("AssumeRole", **foreign) == "AccessDenied"


async def test_session_tokens(client: Client) -> None:
    made = (await client("GetSessionToken"))["Credentials"]
    assert made["Expiration"] == NOW + 43_200
    found = client.keys.find(made["AccessKeyId"], made["SessionToken"])
    assert found is not None
    assert found.principal == USER
    assert await client.refused("GetSessionToken", SESSION) == "AccessDenied"
