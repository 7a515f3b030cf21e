"""Puts a job's channels into its folders: lists and manifests from the object store, hard links into a farm per host.

Owns which objects go where on this machine; the rules (names, shards, order) are `domain/jobs/channels.py`'s. Errors are Clary's own, in
words for the user: the job fails with a ClientError that carries them.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from clary.domain.errors import Invalid, NotFound
from clary.domain.jobs.channels import (
    MANIFEST_LIMIT,
    Channel,
    Item,
    names_under,
    no_objects,
    parse_augmented,
    parse_manifest,
    share,
)
from clary.domain.jobs.hosts import Host, receivers
from clary.domain.jobs.kinds import kind_of, spec_of
from clary.domain.resources import Record
from clary.domain.s3 import Location
from clary.loops.jobs.places import JobFolders
from clary.ports import Artifacts

# Code travels in channels (SDK v3 does `chmod +x` on it), and only an owner may do that: a channel so small is copied, a large one is
# links of blobs, which belong to the store.
COPIED_FILES = 500
TOLD = 100  # objects of a channel whose ETags the job's record keeps; of the others the digest
COPIED_BYTES = 16 << 20


class ChannelPlacer:
    """Places every channel of one attempt. Begun again after a crash it makes again what is not whole."""

    def __init__(self, artifacts: Artifacts, record: Record, where: JobFolders) -> None:
        self._artifacts = artifacts
        self._record = record
        self._spec = spec_of(record)
        self._lists = kind_of(record).lists
        self._where = where
        self._copied: list[list[str]] = []
        self._objects: dict[str, dict[str, Any]] = {}
        self._bytes = 0

    async def place(self) -> dict[str, Any]:
        """All of them; answers `{"copied": [[host, channel], ...]}`: those that are the job's own files, not links of blobs;
        `objects`: of each channel that was listed how many they were, a digest of all keys and ETags, and the first of them; and
        `bytes`: of all that was placed, each host's share counted."""
        self._copied, self._objects, self._bytes = [], {}, 0
        await asyncio.gather(*(self._channel(channel) for channel in self._spec.inputs))
        return {"copied": sorted(self._copied), "objects": self._objects, "bytes": self._bytes}

    async def _channel(self, channel: Channel) -> None:
        to = receivers(channel, self._spec.hosts)
        if channel.data_type == "AugmentedManifestFile":
            lines = parse_augmented(await self._text(channel), channel)
            for number, host in enumerate(to):
                await self._augmented(channel, host, share(lines, channel, number, len(to)))
            return
        bucket, names, sizes = await self._names(channel)
        keys = list(names)
        for number, host in enumerate(to):
            mine = share(keys, channel, number, len(to))
            if channel.mode == "Pipe":
                items = [Item(location=Location(bucket, key)) for key in mine]
                await self._pipe(channel, host, [items])
            else:
                small = (
                    len(mine) <= COPIED_FILES and sum(sizes.get(key, COPIED_BYTES + 1) for key in mine) <= COPIED_BYTES
                )
                await self._files(channel, host, bucket, {key: names[key] for key in mine}, small)

    async def _names(self, channel: Channel) -> tuple[str, Mapping[str, str], Mapping[str, int]]:
        """(bucket, key -> file name, key -> bytes where a listing told them) of all that the channel names."""
        if channel.data_type == "ManifestFile":
            prefix, names = parse_manifest(await self._text(channel), channel.uri)
            if not names:
                raise Invalid(self._nothing(channel))
            return prefix.bucket, names, {}
        try:
            found = await self._artifacts.find(channel.location.bucket, channel.location.key)
        except NotFound as error:
            raise Invalid(f"{self._nothing(channel)} ({error.message})") from None
        sizes = {entry.key: entry.size for entry in found}
        names = names_under(channel.location.key, sizes)
        if not names:
            raise Invalid(self._nothing(channel))
        self._objects[channel.name] = _told([(entry.key, entry.etag) for entry in found if entry.key in names])
        return channel.location.bucket, names, sizes

    def _nothing(self, channel: Channel) -> str:
        return no_objects(channel, self._record.scope.region, self._spec.role)

    async def _text(self, channel: Channel) -> bytes:
        try:
            return await self._artifacts.read(channel.location.bucket, channel.location.key, MANIFEST_LIMIT)
        except NotFound as error:
            raise Invalid(f"{self._nothing(channel)} ({error.message})") from None

    async def _files(self, channel: Channel, host: Host, bucket: str, names: Mapping[str, str], small: bool) -> None:
        folder = str(self._where.channel(host.name, channel.name))
        await self._fill(folder, {bucket: names})
        if channel.mode == "File" and small:
            await asyncio.to_thread(_own, folder, sorted(names.values()))
            self._copied.append([host.name, channel.name])
        if self._lists and (channel.sharded or channel.data_type == "ManifestFile"):
            text = "".join(f"{name}\n" for name in sorted(names.values()))
            await asyncio.to_thread(_write, str(self._where.manifests(host.name) / f"{channel.name}-manifest"), text)

    async def _augmented(self, channel: Channel, host: Host, lines: Sequence[Sequence[Item]]) -> None:
        await self._pipe(channel, host, lines)

    async def _pipe(self, channel: Channel, host: Host, groups: Sequence[Sequence[Item]]) -> None:
        """Objects by number (a FIFO has no file names to keep), and the list of items that the feeder follows."""
        folder = str(self._where.pipe(host.name, channel.name))
        numbered: dict[Location, str] = {}
        rows: list[str] = []
        for item in (item for group in groups for item in group):
            if item.location is None:
                rows.append(json.dumps({"text": item.text}))
            else:
                name = numbered.setdefault(item.location, f"{len(numbered):08d}")
                rows.append(json.dumps({"file": name}))
        by_bucket: dict[str, dict[str, str]] = {}
        for location, name in numbered.items():
            by_bucket.setdefault(location.bucket, {})[location.key] = name
        await self._fill(os.path.join(folder, "objects"), by_bucket)
        await asyncio.to_thread(_write, os.path.join(folder, "items.jsonl"), "".join(f"{row}\n" for row in rows))

    async def _fill(self, folder: str, objects: Mapping[str, Mapping[str, str]]) -> None:
        """A fresh folder with these objects (bucket -> key -> name): whole, or an error and the job fails."""
        await asyncio.to_thread(_fresh, folder)
        for bucket, names in objects.items():
            if names:
                await self._artifacts.place(bucket, names, folder)
        self._bytes += await asyncio.to_thread(_size, folder)


def _told(objects: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """What lineage keeps of a channel's objects."""
    text = "\n".join(f"{key}\t{etag}" for key, etag in objects)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {"count": len(objects), "digest": digest, "first": [list(each) for each in objects[:TOLD]]}


def _own(folder: str, names: Sequence[str]) -> None:
    """Copies in the place of links."""
    for name in names:
        path = os.path.join(folder, name)
        shutil.copyfile(path, f"{path}.clary-copy")
        os.replace(f"{path}.clary-copy", path)


def _size(folder: str) -> int:
    """Bytes of the files below it."""
    return sum(os.path.getsize(os.path.join(top, name)) for top, _, names in os.walk(folder) for name in names)


def _fresh(folder: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    os.chmod(folder, 0o755)  # whatever the umask is: the sandbox's user must read it


def _write(path: str, text: str) -> None:
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    os.chmod(folder, 0o755)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, 0o644)
