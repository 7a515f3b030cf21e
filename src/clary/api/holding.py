"""Held Describes: clients that wait for a state sleep for 5 to 120 s between looks, so a look from one of them is answered when
the state changes, at most after `hold_seconds` (reference/sdk.md 2). A plain Describe is answered at once, always.

Who waits is told by `User-Agent`: both SageMaker SDKs name themselves, and botocore's waiters add feature id `B` to `m/`.

An SDK that shows a job's log reads it after a look at the job, so a held look keeps it silent: `followed` answers such a
client soon. SDK v2 reads every 10 s and looks every 30 s, SDK v3 does both every 5 s.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Container

from clary.api.call import Call
from clary.api.followers import Follower
from clary.domain.errors import NotFound
from clary.domain.jobs import hosts
from clary.domain.jobs import record as jobs
from clary.domain.jobs.kinds import spec_of
from clary.domain.resources import Record

FIRST_SECONDS = 5.0  # how long an SDK waits at most, from its first look at a job on, before it may read the log: its own shortest step
NEWS_SECONDS = 3.0  # how long a look of an SDK that reads the log is held at most
_TICK = 0.5  # between looks at the log's last line
_SDKS = ("lib/AWS-SageMaker-Python-SDK", "lib/AWS-SageMakerCore", "AWS-SageMaker-Python-SDK/", "AWS-SageMakerCore/")
_FEATURES = re.compile(r"(?:^|\s)m/([A-Za-z0-9,+\-]+)")


def waits(user_agent: str) -> bool:
    """Whether this client will look again and again until the state changes."""
    if _is_sdk(user_agent):
        return True
    features = _FEATURES.search(user_agent)
    return features is not None and "B" in features[1].split(",")


def _is_sdk(user_agent: str) -> bool:
    return any(name in user_agent for name in _SDKS)


async def settled(call: Call, record: Record, transient: Container[str]) -> Record | None:
    """The record once its status is no longer transient, or as it is after the hold. None: it was deleted meanwhile.

    Answers at once unless the status is transient and the client waits. One transient status after another (Updating, RollingBack)
    is one wait: the client would only sleep its 30 or 120 s again."""
    hold = call.settings.hold_seconds
    if record.status not in transient or hold <= 0 or not waits(call.user_agent):
        return record
    return await _until(call, record, hold, lambda current: current.status not in transient)


async def followed(call: Call, record: Record) -> Record | None:
    """`settled` for a job, but for an SDK that shows its log, or may (`patience`)."""
    whole = call.settings.hold_seconds
    if record.status not in jobs.ACTIVE or whole <= 0 or not _is_sdk(call.user_agent):
        return await settled(call, record, jobs.ACTIVE)
    follower = call.ports.followers.looks(call.principal, record.arn, call.now)
    if follower.reads_no_log(call.now):
        return await settled(call, record, jobs.ACTIVE)
    loop = asyncio.get_running_loop()
    began, current = loop.time(), record
    while True:
        most = patience(follower, call.now, record, current, await asyncio.to_thread(_last_line, call, current))
        left = began + (whole if most is None else min(most, whole)) - loop.time()
        if left <= 0:
            return current
        found = await _until(call, current, min(left, _TICK), lambda other: other.status not in jobs.ACTIVE)
        if found is None or found.status not in jobs.ACTIVE:
            return found
        current = found


def patience(follower: Follower, now: float, before: Record, current: Record, line: int | None) -> float | None:
    """For how many seconds a look at an active training job, made at `now`, is held at most; None: until the job ends.

    `before`: the job when the look was made; `line`: when the last line of its log was written (epoch ms), None: it has none.
    - The job's results are being stored: it ends in a moment, and its log says no more.
    - Nobody knows yet whether the client reads the log. If the job's program is silent there is nothing to show. Otherwise 5 s: if the
      job ends in that time SDK v2 is done, and else not before its next look 30 s later. The look that SDK v3 makes for its own object
      right after it created the job waits for nothing.
    - It reads the log: until there is something new to show.
    """
    phase = current.document["phase"]
    if phase not in jobs.BEFORE_RESULTS:
        return None
    if follower.read is None:
        if follower.looked == 1 and now - current.created < 1:
            return 0.0
        silent = phase == "training" and line is None
        return None if silent else max(0.0, follower.first + FIRST_SECONDS - now)
    news = _shown(current) != _shown(before) or (line is not None and line > follower.read * 1000)
    return 0.0 if news else NEWS_SECONDS


def _shown(record: Record) -> tuple[object, object]:
    return record.document["transitions"], record.document["metrics"]


def _last_line(call: Call, record: Record) -> int | None:
    """When the last line of the job's log was written, epoch ms. Streams that cannot be read have no news."""
    if "started" not in record.document:
        return None
    last = 0
    spec = spec_of(record)
    for host in spec.hosts:
        stream = hosts.stream(record.name, host.name, record.document["started"])
        with contextlib.suppress(NotFound, OSError):
            page = call.ports.logs.page(record.scope, spec.log_group, stream, limit=1, backward=True)
            last = max(last, *(event.timestamp for event in page.events), 0)
    return last or None


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
