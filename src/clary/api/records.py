"""Finds and changes records, with AWS's errors when they do not exist (reference/sagemaker.md 1.3)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from clary.api.call import Call
from clary.domain.access.roles import parse_role
from clary.domain.errors import AlreadyExists, Invalid, NotFound
from clary.domain.ids import belongs
from clary.domain.resources import KINDS, Record
from clary.guarded import until_first


async def find(call: Call, kind: str, name: str) -> Record:
    """The caller's record of that kind and name. NotFound: `Could not find endpoint "ARN".`"""
    record = await call.store.get(kind, call.scope_of(kind), name)
    if record is None:
        raise NotFound(f'Could not find {KINDS[kind].label} "{call.arn(kind, name)}".')
    return record


async def any_case(call: Call, kind: str, name: str) -> Record | None:
    """The caller's record of that name, letters' case aside; None: there is none. SageMaker's ARNs are in lower case, so that no two names
    differ in case alone, and its SDKs ask by the ARN's last part (the result of an `@step`, a job's run). Go on with the record's name."""
    record = await call.store.get(kind, call.scope_of(kind), name)
    if record is not None:
        return record
    record = await call.store.by_arn(call.arn(kind, name))
    return record if record is not None and record.kind == kind else None


async def named(call: Call, kind: str, name: str) -> Record:
    """The same for an ARN, or a name in any case. NotFound also for an ARN of another kind, account or region: nothing is shared."""
    if not name.startswith("arn:"):
        record = await any_case(call, kind, name)
        return record if record is not None else await find(call, kind, name)
    arn, _, tail = name.rpartition(":")
    record = await call.store.by_arn(f"{arn}:{tail.lower()}")
    if record is None or record.kind != kind or record.scope != call.scope_of(kind):
        raise NotFound(f'Could not find {KINDS[kind].label} "{name}".')
    return record


def user_context(principal: str) -> dict[str, object]:
    """Who did it, as AWS's UserContext."""
    return {"IamIdentity": {"Arn": principal, "PrincipalId": principal.rpartition("/")[2]}}


async def add(call: Call, record: Record, taken: str = "", alone: str = "") -> Record:
    """Store the new record that a Create is about, with a value that it shall have `alone`. AlreadyExists: `taken`, or `Cannot create
    already existing endpoint "ARN".` A child tells whose it is by `parent` in its document."""
    if call.parent:
        record = replace(record, document={**record.document, "parent": call.parent})
    try:
        return await call.store.add(record, call.made_by, alone)
    except AlreadyExists:
        words = taken or f'Cannot create already existing {KINDS[record.kind].label} "{record.arn}".'
        raise AlreadyExists(words) from None


def new(call: Call, kind: str, name: str, document: Mapping[str, object], status: str = "") -> Record:
    """A record of this call's account, region and time, not stored yet."""
    return Record(kind, call.scope_of(kind), name, call.arn(kind, name), status, call.now, call.now, document)


async def amend(call: Call, read: Callable[[], Awaitable[Record]], change: Callable[[Record], Record]) -> Record:
    """Read, change, save; again when another writer was first. `read` is an async function that answers the record or raises."""

    async def attempt() -> Record:
        return await call.store.save(change(await read()))

    return await until_first(attempt)


async def drop(call: Call, kind: str, name: str, check: Callable[[Record], Awaitable[None]] | None = None) -> Record:
    """Delete a record that nothing has to be undone for. `check` may raise; it is asked again when another writer was first."""

    async def attempt() -> Record:
        record = await find(call, kind, name)
        if check is not None:
            await check(record)
        await call.store.remove(record)
        return record

    return await until_first(attempt)


def check_role(call: Call, arn: str) -> None:
    """Invalid, in AWS's words, unless SageMaker may take this role: any of the caller's account (`domain/access/roles.py`)."""
    role = parse_role(arn)
    if role is None or role[0] != call.scope.account or not belongs(arn, call.scope.region):
        raise Invalid(
            f"Could not assume role {arn}. Please ensure that the role exists and allows principal 'sagemaker.amazonaws.com' to "
            "assume the role."
        )
