"""The sweep: quarantines or removes blobs that no row names.

A blob that the journal says was deleted is removed. One that the journal says is named is proof that the index lost rows: nothing
is touched. What the journal never heard of (writes that a crash cut off) goes into quarantine for a day, unless it is more than a
small share of all: then something else is wrong, and nothing is touched either. Does not know: the index, the journal, requests.
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import orjson

from clary.objects.context import Context

log = logging.getLogger("clary.objects")
QUARANTINED = 24 * 3600.0
SHARE = 0.01  # of all blobs may go into quarantine at once
ALWAYS = 64  # so many may in any case: the writes that were under way at a crash
TOLD = "sweep.json"


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep found: blobs in all, removed, in quarantine now, and named but missing. `stopped` says why nothing was moved."""

    at: float  # epoch seconds
    blobs: int
    removed: int
    quarantined: int
    missing: tuple[str, ...] = ()
    stopped: str = ""


async def sweep(ctx: Context) -> Swept:
    loop, blobs = asyncio.get_running_loop(), ctx.blobs
    count = 0
    missing: list[str] = []
    unnamed: list[str] = []
    for folder in await loop.run_in_executor(None, blobs.folders):
        named = set(await ctx.index.blobs_between(folder, folder + "g"))
        there, odd, gone = await loop.run_in_executor(None, blobs.unnamed, folder, named)
        # A blob may have been freed between the two looks.
        still = set(await ctx.index.blobs_between(folder, folder + "g")) if gone else set()
        count, unnamed, missing = count + there, unnamed + odd, missing + [blob for blob in gone if blob in still]
        await asyncio.sleep(0.001)
    back = set(await loop.run_in_executor(None, blobs.bring_back, missing)) if missing else set()
    fates = await ctx.index.fates(set(unnamed))
    freed = [blob for blob in unnamed if fates.get(blob) == "freed"]
    unheard = [blob for blob in unnamed if blob not in fates]
    await loop.run_in_executor(None, blobs.remove, freed)
    stopped = _why_not(count, len(unheard), sum(fate == "named" for fate in fates.values()))
    if unheard and not stopped:
        await loop.run_in_executor(None, blobs.set_aside, unheard, ctx.clock.now())
    held = await loop.run_in_executor(None, blobs.quarantine.held)
    lost = tuple(blob for blob in missing if blob not in back)
    return Swept(ctx.clock.now(), count, len(freed), len(held), lost, stopped)


def _why_not(count: int, unheard: int, known: int) -> str:
    """Why nothing may be moved; "" when it may."""
    if known:
        return (
            f"The object index lost {known} of {count} blobs that its journal knows: objects are missing, their content is kept. Stop "
            "Clary and run `clary objects rebuild`, which makes the index again from its journal."
        )
    if unheard > max(ALWAYS, count * SHARE):
        return (
            f"No object names {unheard} of {count} blobs, and the journal does not know them: that is more than a crash leaves. They "
            "stay where they are. Is the object index that of these blobs? If a newer copy of index.db and journal/ is at hand, put "
            "it back."
        )
    return ""


def report(swept: Swept, root: Path) -> None:
    """Into the log, and for `clary doctor`."""
    if swept.removed:
        log.info("removed %d blobs that were deleted before", swept.removed)
    if swept.quarantined:
        log.warning("%d blobs that no object names are in %s for a day", swept.quarantined, root / "quarantine")
    for blob in swept.missing:
        log.error("blob %s is missing on the disk: the objects that name it cannot be read", blob)
    if swept.stopped:
        log.error("the sweep stopped: %s", swept.stopped)
    fresh = root / f"{TOLD}.new"
    with suppress(OSError):  # of a full disk: the log has it
        fresh.write_bytes(orjson.dumps(swept))
        os.replace(fresh, root / TOLD)
