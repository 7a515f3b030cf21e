"""The background work of transform jobs: places the objects that a job reads, stores its outputs, writes what it captures.

Inputs are hard links of blobs and outputs are taken over by the object store (both copies where the S3 is another's), so no bytes of
the data pass through this process. Every piece can be done again from its beginning: which objects there are is written down once, and
an output that went to the store is marked before it goes.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from clary.domain.errors import Denied, Invalid, NotFound
from clary.domain.resources import Record
from clary.domain.s3 import Location
from clary.domain.transform import inputs
from clary.domain.transform import request as requests
from clary.loops.transform.places import TransformFolders, TransformSettings, folders
from clary.ports import Artifacts, Clock

PLACED = 1000  # objects that are placed by one call
STORED = 8  # outputs that are stored beside each other


class TransformObject(NamedTuple):
    """One object of a job. `name` is relative to the prefix."""

    number: int
    key: str
    name: str


class TransformWork:
    """Of all jobs of this process."""

    def __init__(self, artifacts: Artifacts, settings: TransformSettings, clock: Clock) -> None:
        self._artifacts = artifacts
        self._settings = settings
        self._clock = clock
        self._known: dict[str, list[TransformObject]] = {}  # job's id -> its objects, while it is active

    def begin(self, name: str, record: Record) -> Any:
        """The coroutine of that piece of work."""
        return {"place": self.place, "publish": self.publish, "finish": self.finish}[name](record)

    def forget(self, record: Record) -> None:
        self._known.pop(str(record.document["id"]), None)

    # -- what it reads ------------------------------------------------------------------------------------------------------------

    async def place(self, record: Record) -> dict[str, Any]:
        """List the objects and put them where the driver reads them. Invalid, for the user, where there are none or one is missing."""
        where = folders(self._settings, record)
        if await asyncio.to_thread(os.path.exists, where.objects):
            return {"objects": len(await self._entries(record))}
        artifacts = self._artifacts.of(record.scope.account)
        bucket, names = await self._names(record, artifacts)
        if not names:
            raise Invalid(inputs.nothing_found(requests.source(record.document["request"])["S3Uri"]))
        await asyncio.to_thread(_fresh, where)
        entries = [TransformObject(number, key, name) for number, (key, name) in enumerate(names.items())]
        for some in _chunks(entries, PLACED):
            try:
                await artifacts.place(bucket, {entry.key: str(entry.number) for entry in some}, str(where.data))
            except (NotFound, Denied) as error:
                raise Invalid(f"An object of TransformInput cannot be read: {error.message}") from None
        kept = await asyncio.to_thread(_written, where, entries)
        if not kept:
            raise Invalid(inputs.nothing_found(requests.source(record.document["request"])["S3Uri"]))
        return {"objects": len(kept)}

    async def _names(self, record: Record, artifacts: Artifacts) -> tuple[str, Mapping[str, str]]:
        request = record.document["request"]
        source, place = requests.source(request), requests.input_place(request)
        try:
            if source["S3DataType"] == "ManifestFile":
                text = await artifacts.read(place.bucket, place.key, inputs.MANIFEST_LIMIT)
                return await asyncio.to_thread(inputs.manifest_names, text, source["S3Uri"])
            found = await artifacts.find(place.bucket, place.key)
        except NotFound as error:
            raise Invalid(f"{inputs.nothing_found(source['S3Uri'])} ({error.message})") from None
        except Denied as error:
            raise Invalid(f"TransformInput cannot be read: {error.message}") from None
        return place.bucket, inputs.relative_names(place.key, {entry.key: entry.size for entry in found})

    async def _entries(self, record: Record) -> list[TransformObject]:
        id_ = str(record.document["id"])
        if id_ not in self._known:
            self._known[id_] = await asyncio.to_thread(_read, folders(self._settings, record))
        return self._known[id_]

    # -- what it writes -----------------------------------------------------------------------------------------------------------

    async def publish(self, record: Record) -> dict[str, Any]:
        """Give the outputs that are complete to the object store."""
        where = folders(self._settings, record)
        numbers = await asyncio.to_thread(complete, where)
        entries = {entry.number: entry for entry in await self._entries(record)}
        for some in _chunks(numbers, STORED):
            await asyncio.gather(*(self._store(record, where, entries[number]) for number in some))
        return {"stored": len(numbers)}

    async def _store(self, record: Record, where: TransformFolders, entry: TransformObject) -> None:
        request = record.document["request"]
        place = requests.output_place(request)
        mark = Path(where.stored / str(entry.number))
        await asyncio.to_thread(mark.touch)
        await self._put(
            record, str(where.out / str(entry.number)), Location(place.bucket, inputs.output_key(place, entry.name)),
            request["TransformOutput"].get("Accept") or "",
        )  # fmt: skip

    async def _put(self, record: Record, path: str, to: Location, content_type: str) -> None:
        artifacts = self._artifacts.of(record.scope.account)
        try:
            await artifacts.store_file(path, to.bucket, to.key, content_type, move=True)
        except (NotFound, Denied) as error:
            raise Invalid(f"The output {to} cannot be stored: {error.message}") from None

    async def finish(self, record: Record) -> dict[str, Any]:
        """See which outputs are stored, and write what is captured of them."""
        where = folders(self._settings, record)
        stored = {int(name) for name in await asyncio.to_thread(os.listdir, where.stored)}
        entries = [entry for entry in await self._entries(record) if entry.number in stored]
        place = requests.capture_place(record.document["request"])
        if place is not None and entries:
            await self._capture(record, where, place, entries)
        return {"stored": len(entries)}

    async def _capture(
        self, record: Record, where: TransformFolders, place: Location, entries: Sequence[TransformObject]
    ) -> None:
        request = record.document["request"]
        given, made = inputs.capture_manifests(
            requests.input_place(request).bucket,
            [entry.key for entry in entries],
            requests.output_place(request),
            [entry.name for entry in entries],
        )
        at = datetime.fromtimestamp(float(record.document["started"]), UTC).strftime("%Y/%m/%d/%H")
        name = f"{uuid.uuid5(uuid.NAMESPACE_URL, record.arn + str(record.document['id']))}.json"
        for kind, text in (("input", given), ("output", made)):
            path = Path(where.top / f"captured-{kind}")
            await asyncio.to_thread(path.write_bytes, text)
            await self._put(record, str(path), place.below(kind, at, name), "application/json")


def complete(where: TransformFolders) -> list[int]:
    """The numbers of outputs that are complete, and not stored yet."""
    try:
        return sorted(int(name) for name in os.listdir(where.out) if name.isdecimal())
    except FileNotFoundError:
        return []


def _chunks(items: Sequence[Any], size: int) -> Any:
    return (items[start : start + size] for start in range(0, len(items), size))


def _fresh(where: TransformFolders) -> None:
    shutil.rmtree(where.top, ignore_errors=True)
    for folder in (where.top, where.given, where.data, where.out, where.stored):
        Path(folder).mkdir(parents=True, exist_ok=True)
        Path(folder).chmod(0o755)  # whatever the umask is: the sandbox's user must read it


def _written(where: TransformFolders, entries: Sequence[TransformObject]) -> list[TransformObject]:
    """Write down which objects there are, at once and for good: those that have content."""
    kept = [entry for entry in entries if os.stat(where.data / str(entry.number)).st_size]
    if not kept:
        return []
    part = Path(f"{where.objects}.part")
    with part.open("w", encoding="utf-8") as file:
        for entry in kept:
            file.write(json.dumps(entry._asdict()) + "\n")
        file.flush()
        os.fsync(file.fileno())
    part.chmod(0o644)
    part.rename(where.objects)
    return kept


def _read(where: TransformFolders) -> list[TransformObject]:
    with open(where.objects, encoding="utf-8") as file:
        return [TransformObject(**json.loads(line)) for line in file]
