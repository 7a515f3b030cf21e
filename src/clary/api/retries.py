"""When a client repeats a Create that has succeeded, it gets the first answer again, instead of "already exists".

An attempt may have succeeded though its answer was lost: the connection broke, or the process died between the commit and the answer. All
attempts of one call carry the same `amz-sdk-invocation-id`. The record is stored with what the call is known by (`Call.made_by`) in one
write, so whatever is there after a crash, both are. A retry is the same caller, operation, token and parameters, within `WITHIN` seconds.

The same makes a parent's children sure (a tuning job's training jobs): its loop asks again after a crash, however long that took, by a key
that follows from the parent's record. Its parameters may differ by then, where another release of Clary asks: the child is there already.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import orjson

from clary.api.call import Call, Params
from clary.domain.attempts import WITHIN
from clary.domain.errors import AlreadyExists
from clary.domain.resources import Record


def made_by(call: Call, params: Params) -> str:
    """What the record that this call makes is found by; "" for a client that does not say which attempts belong together."""
    if not call.retry_token:
        return ""
    where = (call.service, call.operation, call.scope.account, call.scope.region)
    who = (call.parent, call.retry_token) if call.parent else (call.principal, call.retry_token, params)
    text = orjson.dumps((where, who), default=_plain, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()


def _plain(value: Any) -> str:
    """Members that JSON has no word for."""
    return value.isoformat() if isinstance(value, datetime) else bytes(value).hex()


async def create(
    call: Call,
    params: Params,
    handler: Callable[[Call, Params], Awaitable[Params]],
    again: Callable[[Call, Record], Params],
) -> Params:
    """What the handler answers, or `again` of the record that an earlier attempt made. One that is said to be the first is not looked up:
    should it not be, its name is taken."""
    if call.attempt != 1 and (first := await _first(call)) is not None:
        return again(call, first)
    try:
        return await handler(call, params)
    except AlreadyExists:
        first = await _first(call)  # the attempt before was still under way
        if first is None:
            raise
        return again(call, first)


def further(call: Call, created: float) -> bool:
    """Whether a thing of that age may be this client's own first success: for what is not kept as a record with `made_by`. An attempt is
    repeated only when its answer was lost or promised that another may succeed: a further one that finds all as it wants has made it."""
    return call.attempt > 1 and abs(call.now - created) <= WITHIN


def asked_before(call: Call, params: Params, record: Record) -> bool:
    """Whether the last change that was asked of the record is this very one: its answer was lost, and another attempt asks again."""
    key = made_by(call, params)
    return bool(key) and record.document.get("asked_by") == key


def asked(call: Call, params: Params, record: Record) -> Record:
    """The changed record, with what the change is known by."""
    return replace(record, document={**record.document, "asked_by": made_by(call, params)})


async def _first(call: Call) -> Record | None:
    found = await call.store.made(call.made_by) if call.made_by else None
    return found if found is not None and (call.parent or abs(call.now - found.created) <= WITHIN) else None
