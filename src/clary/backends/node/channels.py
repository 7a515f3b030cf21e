"""Lays out objects that are selected (`Selected`): lists and manifests from the object store, hard links below a folder of the run.

ROOT/files/NAME/   data/ and list, or objects/ and items.jsonl (for a feeder of FIFOs)

The rules (names, shards, order) are `domain/jobs/channels.py`'s. Errors are Clary's own, in words for the user.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from clary.domain.errors import Invalid, NotFound
from clary.domain.jobs.channels import MANIFEST_LIMIT, Item, names_under, parse_augmented, parse_manifest, share
from clary.domain.machine.workload import Laid, Selected
from clary.domain.s3 import Location
from clary.ports import Artifacts

T = TypeVar("T")

# Code travels in channels (SDK v3 does `chmod +x` on it), and only an owner may do that: a channel so small is copied, a large one is
# links of blobs, which belong to the store.
COPIED_FILES = 500
COPIED_BYTES = 16 << 20
_AT_ONCE = 8  # folders that are filled side by side
TOLD = 100  # objects whose ETags are told; of the others the digest


@dataclass(frozen=True, slots=True)
class _Listing:
    """Objects of one bucket: key -> file name, key -> bytes where they were listed (`told`: key and ETag of each, in order)."""

    bucket: str
    names: Mapping[str, str]
    sizes: Mapping[str, int]
    told: Sequence[tuple[str, str]] = ()


class Selections:
    """Those of one layout: what several folders select from is listed and read once, so that their shards are of the same."""

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts
        self._free = asyncio.Semaphore(_AT_ONCE)
        self._listings: dict[tuple[str, ...], asyncio.Task[_Listing]] = {}
        self._lines: dict[tuple[str, str, tuple[str, ...]], asyncio.Task[list[list[Item]]]] = {}

    async def lay_out(
        self, folders: Mapping[str, tuple[str, Selected]], tell: Callable[[str], None]
    ) -> dict[str, Laid]:
        """Fill folders, which are there and empty (name -> path and what goes there); what became of each. Invalid, NotFound or Denied
        where that cannot be. `tell` hears what is being downloaded. When this is done, or given up, nothing of it goes on."""

        async def one(name: str, folder: str, selected: Selected) -> tuple[str, Laid]:
            async with self._free:
                tell(f"downloading {name}")
                return name, await self._folder(folder, selected)

        tasks = [asyncio.create_task(one(name, *each)) for name, each in folders.items()]
        try:
            return dict(await asyncio.gather(*tasks))
        finally:
            await _given_up([*tasks, *self._listings.values(), *self._lines.values()])

    async def _folder(self, folder: str, selected: Selected) -> Laid:
        if selected.data_type == "AugmentedManifestFile":
            lines = await self._augmented(selected)
            return await self._items(folder, selected, [item for line in _mine(lines, selected) for item in line])
        listing = await self._listing(selected)
        mine = _mine(list(listing.names), selected)
        if selected.piped:
            items = [Item(location=Location(listing.bucket, key)) for key in mine]
            return _told(await self._items(folder, selected, items), listing)
        names = {key: listing.names[key] for key in mine}
        data = os.path.join(folder, "data")
        await self._fill(data, selected, {listing.bucket: names})
        known = listing.sizes.keys() >= names.keys()  # else a manifest named them
        size = sum(map(listing.sizes.__getitem__, mine)) if known else await asyncio.to_thread(_size, data)
        small = len(mine) <= COPIED_FILES and known and size <= COPIED_BYTES
        own = selected.copies or (selected.own and small)
        if own:
            await asyncio.to_thread(_own, data, sorted(names.values()))
        text = "".join(f"{name}\n" for name in sorted(names.values()))
        await asyncio.to_thread(_write, os.path.join(folder, "list"), text)
        return _told(Laid(size, own), listing)

    async def _listing(self, selected: Selected) -> _Listing:
        key = (selected.account, str(selected.location), selected.data_type, selected.nothing)
        if key not in self._listings:
            self._listings[key] = asyncio.create_task(self._list(selected))
        return await asyncio.shield(self._listings[key])

    async def _augmented(self, selected: Selected) -> list[list[Item]]:
        key = (selected.account, str(selected.location), selected.attributes)
        if key not in self._lines:
            self._lines[key] = asyncio.create_task(self._read_lines(selected))
        return await asyncio.shield(self._lines[key])

    async def _read_lines(self, selected: Selected) -> list[list[Item]]:
        return parse_augmented(await self._text(selected), str(selected.location), selected.attributes)

    async def _list(self, selected: Selected) -> _Listing:
        where = selected.location
        if selected.data_type == "ManifestFile":
            prefix, names = parse_manifest(await self._text(selected), str(where))
            listing = _Listing(prefix.bucket, names, {})
        else:
            try:
                found = await self._artifacts.of(selected.account).find(where.bucket, where.key)
            except NotFound as error:
                raise Invalid(f"{selected.nothing} ({error.message})") from None
            sizes = {entry.key: entry.size for entry in found}
            names = names_under(where.key, sizes)
            told = [(entry.key, entry.etag) for entry in found if entry.key in names]
            listing = _Listing(where.bucket, names, sizes, told)
        if not listing.names and not selected.optional:
            raise Invalid(selected.nothing)
        return listing

    async def _text(self, selected: Selected) -> bytes:
        where = selected.location
        try:
            return await self._artifacts.of(selected.account).read(where.bucket, where.key, MANIFEST_LIMIT)
        except NotFound as error:
            raise Invalid(f"{selected.nothing} ({error.message})") from None

    async def _items(self, folder: str, selected: Selected, items: Sequence[Item]) -> Laid:
        """Objects by number (a FIFO has no file names to keep), and the list of items that the feeder follows."""
        numbered: dict[Location, str] = {}
        rows: list[str] = []
        for item in items:
            if item.location is None:
                rows.append(json.dumps({"text": item.text}))
            else:
                rows.append(json.dumps({"file": numbered.setdefault(item.location, f"{len(numbered):08d}")}))
        by_bucket: dict[str, dict[str, str]] = {}
        for location, name in numbered.items():
            by_bucket.setdefault(location.bucket, {})[location.key] = name
        objects = os.path.join(folder, "objects")
        await self._fill(objects, selected, by_bucket)
        size = await asyncio.to_thread(_size, objects)
        await asyncio.to_thread(_write, os.path.join(folder, "items.jsonl"), "".join(f"{row}\n" for row in rows))
        return Laid(size)

    async def _fill(self, folder: str, selected: Selected, objects: Mapping[str, Mapping[str, str]]) -> None:
        """A folder with these objects (bucket -> key -> name), whole."""
        await asyncio.to_thread(_make, folder)
        for bucket, names in objects.items():
            if names:
                await self._artifacts.of(selected.account).place(bucket, names, folder)


def _mine(items: Sequence[T], selected: Selected) -> list[T]:
    return share(items, *selected.sharded, seed=selected.seed) if selected.sharded else list(items)


async def _given_up(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _told(laid: Laid, listing: _Listing) -> Laid:
    """With what lineage keeps of the objects."""
    if not listing.told:
        return laid
    text = "\n".join(f"{key}\t{etag}" for key, etag in listing.told)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Laid(laid.size, laid.own, len(listing.told), digest, tuple(listing.told[:TOLD]))


def _own(folder: str, names: Sequence[str]) -> None:
    """Copies in the place of links."""
    for name in names:
        path = os.path.join(folder, name)
        shutil.copyfile(path, f"{path}.clary-copy")
        os.replace(f"{path}.clary-copy", path)


def _size(folder: str) -> int:
    """Bytes of the files below it."""
    return sum(os.path.getsize(os.path.join(top, name)) for top, _, names in os.walk(folder) for name in names)


def _make(path: str) -> None:
    os.makedirs(path)
    os.chmod(path, 0o755)  # whatever the umask is: the sandbox's user must read it


def _write(path: str, text: str) -> None:
    Path(path).write_text(text, encoding="utf-8")
    os.chmod(path, 0o644)
