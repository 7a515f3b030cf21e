"""A short workload run to its end, from background work: start (or find), wait, answer how it ended, forget it.

The key makes it idempotent: begun again after a crash it finds the same run.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any

from clary.domain.errors import InUse, Invalid, Unavailable
from clary.domain.machine.workload import Observation, RunState, Workload
from clary.ports import Backend

_END_SECONDS = 30.0
_LOOK = 1.0  # seconds between looks when no event tells


async def run_to_end(backend: Backend[Any], workload: Workload) -> Observation:
    """How it ended. The backend's own errors (Unschedulable) go through; a cancelled wait stops the run."""
    ended = asyncio.Event()
    unwatch = backend.watch(lambda handle: ended.set())
    handle = ""
    try:
        handle = await backend.start(backend.plan(workload))
        return await _wait(backend, handle, ended)
    except asyncio.CancelledError:
        if handle:
            await backend.stop(handle, 0.0)
        raise
    finally:
        unwatch()


@asynccontextmanager
async def short_run(
    backend: Backend[Any], workload: Workload, secrets: Mapping[str, str] = MappingProxyType({})
) -> AsyncIterator[Observation]:
    """A run by value from its start to its end, and, inside, how it ended: it can be read and collected until the way out, where it is
    forgotten. For the rest see `kept_run`."""
    try:
        yield await kept_run(backend, workload, secrets)
    finally:
        await end(backend, workload.key, _END_SECONDS)


async def kept_run(
    backend: Backend[Any], workload: Workload, secrets: Mapping[str, str] = MappingProxyType({})
) -> Observation:
    """A run by value from its start to its end: how it ended. It is there until somebody ends it (`end`). Whatever a predecessor began
    under its key is ended first. Invalid where its data could not be laid out, Unavailable where we are at fault; Unschedulable from the
    backend. A cancelled wait leaves it."""
    await end(backend, workload.key, _END_SECONDS)
    return _checked(await _run(backend, workload, secrets))


def _checked(ended: Observation) -> Observation:
    if ended.failure is not None:
        raise Invalid(ended.failure.message) if ended.failure.client else Unavailable(ended.failure.message)
    return ended


async def found_run(backend: Backend[Any], workload: Workload) -> Observation:
    """The same of a run whose key says all that it leaves: what a predecessor began goes on, and what it brought to a good end is taken."""
    seen = await backend.observe(workload.key)
    if seen is None or (seen.state.is_terminal and seen.exit_code != 0):
        return await kept_run(backend, workload)
    return _checked(await _run(backend, workload))


async def _run(
    backend: Backend[Any], workload: Workload, secrets: Mapping[str, str] = MappingProxyType({})
) -> Observation:
    ended = asyncio.Event()
    unwatch = backend.watch(lambda handle: ended.set())
    try:
        handle = await backend.start(backend.plan(workload), secrets)
        return await _wait(backend, handle, ended, forget=False)
    finally:
        unwatch()


def how(run: Observation) -> str:
    """How a run ended that did not do what it should, as the end of a sentence."""
    if run.exit_code is None:
        return "was cut off: its process is not there any more"
    return f"ended with exit code {run.exit_code} {run.detail}".strip()


async def _wait(backend: Backend[Any], handle: str, ended: asyncio.Event, forget: bool = True) -> Observation:
    while True:
        ended.clear()
        seen = await backend.observe(handle)
        if seen is None or seen.state.is_terminal:
            if forget:
                await _forget(backend, handle)
            return seen or Observation(RunState.LOST)
        try:
            await asyncio.wait_for(ended.wait(), _LOOK)
        except TimeoutError:
            pass


async def _forget(backend: Backend[Any], handle: str) -> None:
    """A run is told to have ended a moment before its shim has left; until then it cannot be forgotten."""
    for _ in range(100):
        try:
            await backend.forget(handle)
        except InUse:
            await asyncio.sleep(0.02)
        else:
            return


async def end(backend: Backend[Any], handle: str, seconds: float, forget: bool = True) -> None:
    """Kill a run, wait until it is gone (at most `seconds`) and forget it. Unknown is fine."""
    told = asyncio.Event()
    unwatch = backend.watch(lambda _: told.set())
    try:
        await backend.stop(handle, 0.0)
        async with asyncio.timeout(seconds):
            await _wait(backend, handle, told, forget)
    finally:
        unwatch()
