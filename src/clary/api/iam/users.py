"""Users and their key pairs. Every permanent key pair belongs to a user; this module creates and removes pairs in `keys/`."""

from __future__ import annotations

import asyncio

from clary.api.call import Call, Params
from clary.api.iam.roles import cut
from clary.api.registry import operation
from clary.domain.access.roles import parse_assumed, unique_id
from clary.domain.errors import Denied, Invalid, NotFound
from clary.ports import Credential


@operation("iam", "GetUser")
async def get_user(call: Call, params: Params) -> Params:
    name = _named(call, params)
    pairs = await _pairs(call, name)
    if not pairs and name != _own(call):
        raise NotFound(f"The user with name {name} cannot be found.")
    return {"User": _user_words(call, name, pairs)}


@operation("iam", "ListUsers")
async def list_users(call: Call, params: Params) -> Params:
    everyone: dict[str, list[Credential]] = {}
    for pair in await _pairs(call):
        everyone.setdefault(_name(pair), []).append(pair)
    names = sorted(everyone) if params.get("PathPrefix", "/") == "/" else []  # every user's path is /
    return cut(call, params, "Users", [_user_words(call, name, everyone[name]) for name in names])


@operation("iam", "ListAccessKeys")
async def list_access_keys(call: Call, params: Params) -> Params:
    pairs = await _pairs(call, _named(call, params))
    return cut(call, params, "AccessKeyMetadata", [_key_words(pair) for pair in pairs])


@operation("iam", "CreateAccessKey")
async def create_access_key(call: Call, params: Params) -> Params:
    """A further pair of a user."""
    _no_session(call)
    name = _named(call, params)
    if name != _own(call) and not await _pairs(call, name):
        raise NotFound(f"The user with name {name} cannot be found.")
    made = await asyncio.to_thread(call.ports.keys.create, call.scope.account, name)
    return {"AccessKey": {**_key_words(made), "SecretAccessKey": made.secret}}


@operation("iam", "DeleteAccessKey")
async def delete_access_key(call: Call, params: Params) -> Params:
    """Every process refuses it from then on."""
    _no_session(call)
    key = params["AccessKeyId"]
    if key not in {pair.access_key_id for pair in await _pairs(call, params.get("UserName", ""))}:
        raise NotFound(f"The Access Key with id {key} cannot be found.")
    await asyncio.to_thread(call.ports.keys.revoke, key)
    await call.ports.fronts.revoke(key)
    return {}


def _no_session(call: Call) -> None:
    """A training script has its role's temporary keys: it must not make lasting ones of them, nor lock its owner out."""
    if parse_assumed(call.principal):
        raise Denied(f"User: {call.principal} is not authorized to perform: iam:{call.operation}")


def _own(call: Call) -> str:
    return call.principal.partition(":user/")[2]


def _named(call: Call, params: Params) -> str:
    name = params.get("UserName") or _own(call)
    if not name:
        raise Invalid("Must specify userName when calling with non-User credentials")
    return str(name)


def _name(pair: Credential) -> str:
    return pair.principal.partition(":user/")[2]


async def _pairs(call: Call, name: str = "") -> list[Credential]:
    """The account's permanent pairs, of one user or of all."""
    known = await asyncio.to_thread(call.ports.keys.all)
    return [pair for pair in known if pair.account == call.scope.account and name in ("", _name(pair))]


def _user_words(call: Call, name: str, pairs: list[Credential]) -> Params:
    arn = f"arn:aws:iam::{call.scope.account}:user/{name}"
    created = min((float(pair.tags["created"]) for pair in pairs), default=0.0)
    return {
        "Path": "/",
        "UserName": name,
        "UserId": unique_id("AIDA", arn),
        "Arn": call.shown(arn),
        "CreateDate": created,
    }


def _key_words(pair: Credential) -> Params:
    return {
        "UserName": _name(pair),
        "AccessKeyId": pair.access_key_id,
        "Status": "Active",
        "CreateDate": float(pair.tags["created"]),
    }
