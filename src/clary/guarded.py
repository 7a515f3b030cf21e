"""The one way to write what was read before: compare, and when another writer was first, try again.

`Store.save` and `Store.remove` compare the version that was read, `Store.add` the name. Who loses reads again, decides again and writes
again; nothing of the lost try may remain. Each try is the caller's function; how often, and what is said in the end, is decided here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from clary.domain.errors import AlreadyExists, ClaryError, Stale

T = TypeVar("T")

TRIES = 20
CHANGED: tuple[type[ClaryError], ...] = (Stale,)
MADE_OR_CHANGED: tuple[type[ClaryError], ...] = (
    AlreadyExists,
    Stale,
)  # for a write that makes the record where it is not there


async def until_first(
    attempt: Callable[[], Awaitable[T]], what: str = "The record", lost: tuple[type[ClaryError], ...] = CHANGED
) -> T:
    """What `attempt` (read, decide, write) answers, the first time that no other writer was first. All that else stops it is raised at
    once. Stale, which names `what`, after so many tries: others write it all the time."""
    for _ in range(TRIES):
        try:
            return await attempt()
        except lost:
            continue
    raise Stale(f"{what} is being changed by another request; try again.")
