"""Security tokens: the caller's identity, and temporary credentials. Source: STS API reference.

GetCallerIdentity reads nothing but the call: the SDKs' telemetry asks it all the time.
"""

from __future__ import annotations

import asyncio

from clary.api.call import Call, Params
from clary.api.registry import operation
from clary.domain.access.roles import MAX_SESSION, assumed_arn, parse_assumed, parse_role, role_arn, unique_id
from clary.domain.errors import Denied, Invalid
from clary.domain.ids import belongs, stored
from clary.ports import Credential

SESSION_SECONDS = 43_200  # GetSessionToken's default
CHAINED_SECONDS = 3600  # the most that a session may give another one


@operation("sts", "GetCallerIdentity")
async def get_caller_identity(call: Call, params: Params) -> Params:
    return {"UserId": _user_id(call.principal), "Account": call.scope.account, "Arn": call.principal}


@operation("sts", "AssumeRole")
async def assume_role(call: Call, params: Params) -> Params:
    """Temporary credentials of any role of the caller's account, also of one that was not created: as everywhere in Clary, a
    role ARN of the account is enough."""
    arn, session = params["RoleArn"], params["RoleSessionName"]
    role = parse_role(arn)
    if role is None or not belongs(arn, call.scope.region):
        raise Invalid(f"{arn} is invalid")
    account, _, name = role
    if account != call.scope.account:
        raise Denied(f"User: {call.principal} is not authorized to perform: sts:AssumeRole on resource: {arn}")
    for member in ("Policy", "PolicyArns"):
        if params.get(member):
            raise Invalid(f"{member} is not available here: sessions are not restricted further than their account.")
    seconds = params.get("DurationSeconds", MAX_SESSION)
    if seconds > CHAINED_SECONDS and parse_assumed(call.principal):
        raise Invalid(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"
        )
    record = await call.store.get("role", call.scope_of("role"), name)
    if record is not None and seconds > record.document["request"]["MaxSessionDuration"]:
        raise Invalid("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
    principal = call.shown(assumed_arn(account, name, session))
    made = await asyncio.to_thread(call.ports.keys.issue, account, principal, float(seconds), call.now)
    identity = {"SourceIdentity": params["SourceIdentity"]} if params.get("SourceIdentity") else {}
    return {
        "Credentials": _credentials(made),
        **identity,
        "AssumedRoleUser": {"AssumedRoleId": f"{unique_id('AROA', stored(arn))}:{session}", "Arn": principal},
    }


@operation("sts", "GetSessionToken")
async def get_session_token(call: Call, params: Params) -> Params:
    if parse_assumed(call.principal):
        raise Denied("Cannot call GetSessionToken with session credentials")
    seconds = params.get("DurationSeconds", SESSION_SECONDS)
    made = await asyncio.to_thread(call.ports.keys.issue, call.scope.account, call.principal, float(seconds), call.now)
    return {"Credentials": _credentials(made)}


def _credentials(made: Credential) -> Params:
    return {
        "AccessKeyId": made.access_key_id,
        "SecretAccessKey": made.secret,
        "SessionToken": made.session_token,
        "Expiration": made.expires,
    }


def _user_id(principal: str) -> str:
    assumed = parse_assumed(principal)
    if assumed is None:
        return unique_id("AIDA", stored(principal))
    account, role, session = assumed
    return f"{unique_id('AROA', role_arn(account, '/', role))}:{session}"
