"""Held Describes: clients that wait for a state sleep for 5 to 120 s between looks, so a look from one of them is answered when
the state changes, at most after `hold_seconds` (reference/sdk.md 2). A plain Describe is answered at once, always.

Who waits is told by `User-Agent`: both SageMaker SDKs name themselves, and botocore's waiters add feature id `B` to `m/`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Container

from clary.api.call import Call
from clary.domain.resources import Record

_SDKS = ("lib/AWS-SageMaker-Python-SDK", "lib/AWS-SageMakerCore", "AWS-SageMaker-Python-SDK/", "AWS-SageMakerCore/")
_FEATURES = re.compile(r"(?:^|\s)m/([A-Za-z0-9,+\-]+)")


def waits(user_agent: str) -> bool:
    """Whether this client will look again and again until the state changes."""
    if any(name in user_agent for name in _SDKS):
        return True
    features = _FEATURES.search(user_agent)
    return features is not None and "B" in features[1].split(",")


async def settled(call: Call, record: Record, transient: Container[str]) -> Record | None:
    """The record once its status is no longer transient, or as it is after the hold. None: it was deleted meanwhile.

    Answers at once unless the status is transient and the client waits. One transient status after another (Updating, RollingBack)
    is one wait: the client would only sleep its 30 or 120 s again."""
    hold = call.settings.hold_seconds
    if record.status not in transient or hold <= 0 or not waits(call.user_agent):
        return record
    return await _until(call, record, hold, lambda current: current.status not in transient)


async def gone(call: Call, record: Record, seconds: float = 2.0) -> None:
    """Return once the record was removed, at most after `seconds`: what is deleted in milliseconds is not listed after the answer.
    Answers at once where holding is turned off."""
    deadline = asyncio.get_running_loop().time() + min(seconds, call.settings.hold_seconds)
    current: Record | None = record
    while current is not None and (left := deadline - asyncio.get_running_loop().time()) > 0:
        current = await _until(call, current, left, lambda found: False)


async def _until(call: Call, record: Record, hold: float, done: Callable[[Record], bool]) -> Record | None:
    """The record once it is `done`, or as it is after `hold` seconds; None when it is gone."""
    changed = asyncio.Event()

    def listener(other: Record) -> None:
        if other.arn == record.arn:
            changed.set()

    unwatch = call.store.watch(listener)
    try:
        async with asyncio.timeout(hold):
            while True:
                current = await call.store.get(record.kind, record.scope, record.name)
                if current is None or done(current):
                    return current
                await changed.wait()
                changed.clear()
    except TimeoutError:
        return await call.store.get(record.kind, record.scope, record.name)
    finally:
        unwatch()
