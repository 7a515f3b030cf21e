"""Brings files of labels from S3 to the process that watches: those of this hour and the one before each second, all others each minute.

Owns which files were handed over: the process keeps those that it took, and a file waits in the inbox under a name that follows from its
place and ETag, so that none is counted twice. Does not know what is in them.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from clary.domain.errors import ClaryError, Denied, Invalid, NotFound
from clary.domain.monitoring.labels import hours
from clary.domain.resources import Scope
from clary.domain.s3 import Location, parse_uri
from clary.ports import Artifacts, Clock, StoredObject

log = logging.getLogger(__name__)

EVERY = 1.0  # seconds between looks at the newest hours
ALL = 60.0  # seconds between looks at all hours: labels may be late by months
LARGEST = 64 << 20  # bytes of a file


@dataclass(frozen=True, slots=True)
class LabelledEndpoint:
    """An endpoint, and the folder where its labels come."""

    scope: Scope
    endpoint: str
    folder: str


Labelled = Callable[[], Sequence[LabelledEndpoint]]  # blocking
Taken = Callable[[], set[str]]  # the names of the files that the process took; blocking


class LabelFiles:
    """`inbox` is the process's."""

    def __init__(self, inbox: Path, artifacts: Artifacts, clock: Clock, labelled: Labelled, taken: Taken) -> None:
        self._inbox = inbox
        self._artifacts = artifacts
        self._clock = clock
        self._labelled = labelled
        self._taken = taken
        self._known: set[str] | None = None
        self._warned: set[str] = set()
        self._whole: dict[LabelledEndpoint, float] = {}  # when all hours were looked through

    async def run(self) -> None:
        """For as long as the process lives. Cancel it to end it."""
        while True:
            try:
                await self.turn()
            except (OSError, ClaryError) as error:
                log.warning("labels wait: %s", error)
            await asyncio.sleep(EVERY)

    async def turn(self) -> None:
        """Hand over what is new."""
        if self._known is None:
            self._known = await asyncio.to_thread(self._taken)
        now = self._clock.now()
        for endpoint in await asyncio.to_thread(self._labelled):
            folder = parse_uri(endpoint.folder)
            places = hours(folder, now)
            if now - self._whole.get(endpoint, 0.0) >= ALL:
                self._whole[endpoint] = now
                places = [folder]
            for place in places:
                try:
                    await self._look(endpoint, place)
                except (NotFound, Denied, Invalid) as error:
                    self._warn(f"labels of endpoint {endpoint.endpoint} in {place} are not read: {error.message}")

    async def _look(self, endpoint: LabelledEndpoint, place: Location) -> None:
        assert self._known is not None
        own = self._artifacts.of(endpoint.scope.account)
        for found in await own.find(place.bucket, f"{place.key.rstrip('/')}/"):
            name = _name(endpoint, place.bucket, found)
            if name in self._known or not found.size:
                continue
            try:
                text = await own.read(place.bucket, found.key, LARGEST)
            except (NotFound, Invalid) as error:  # it goes, or stays as large as it is
                self._warn(f"labels in s3://{place.bucket}/{found.key} are not read: {error.message}")
                continue
            self._known.add(name)
            await asyncio.to_thread(self._hand_over, name, endpoint, f"s3://{place.bucket}/{found.key}", text)

    def _warn(self, words: str) -> None:
        """Once: it is tried again each time."""
        if words not in self._warned and len(self._warned) < 1000:
            self._warned.add(words)
            log.warning(words)

    def _hand_over(self, name: str, endpoint: LabelledEndpoint, uri: str, text: bytes) -> None:
        """The labels first, then the `.where`, as the process looks for it."""
        self._inbox.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self._inbox / f"{name}.jsonl").write_bytes(text)
        told = {"account": endpoint.scope.account, "region": endpoint.scope.region, "endpoint": endpoint.endpoint}
        fresh = self._inbox / f"{name}.part"
        fresh.write_text(json.dumps({**told, "truths": uri}))
        fresh.replace(self._inbox / f"{name}.where")


def _name(endpoint: LabelledEndpoint, bucket: str, found: StoredObject) -> str:
    parts = (endpoint.scope.account, endpoint.scope.region, endpoint.endpoint, bucket, found.key, found.etag)
    return f"labels-{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:40]}"
