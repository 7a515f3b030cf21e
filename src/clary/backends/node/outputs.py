"""Stores the results of runs by value. All of it may be repeated: it writes the same objects again.

ROOT/staged   a result on its way into the object store
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from clary import untrusted
from clary.backends.node.layout import kept_folder
from clary.domain.errors import Unavailable
from clary.domain.machine.workload import Collected, Result
from clary.domain.s3 import Location
from clary.ports import Artifacts


async def store(root: str, results: Sequence[Result], artifacts: Artifacts) -> dict[str, Collected]:
    """What the run left, stored: URI -> object. But for what is synced (`syncs.py`)."""
    stored: dict[str, Collected] = {}
    for result in results:
        if result.synced:
            continue
        for each in await asyncio.to_thread(_files, root, result):
            made = await _store(root, each, artifacts)
            if made is not None:
                stored[str(each.to)] = made
    return stored


def _files(root: str, result: Result) -> list[Result]:
    """One for each file, in order."""
    if not result.tree:
        return [result]
    names = sorted(name for name, _ in untrusted.walk_below(kept_folder(root, result.files), result.path))
    start = f"{result.path}/" if result.path else ""
    return [
        replace(result, path=name, tree=False, to=Location(result.to.bucket, result.to.key + name.removeprefix(start)))
        for name in names
    ]


async def _store(root: str, result: Result, artifacts: Artifacts) -> Collected | None:
    """None: it left nothing there. What is stored is whole and ours: a copy, or the file that nobody writes any more."""
    staged = str(Path(root) / "staged")
    take = untrusted.link if result.given else untrusted.copy
    try:
        await asyncio.to_thread(take, kept_folder(root, result.files), result.path, staged)
        size = os.path.getsize(staged)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unavailable(f"{result.path} could not be copied: {error}") from error
    to = result.to
    etag = await artifacts.of(result.account).store_file(staged, to.bucket, to.key, result.content_type, move=True)
    return Collected(etag, size)
