"""Open multipart uploads on the disk: where a part is written, and how the parts become one file.

A part whose size fits the upload's rhythm is written at its place in one file, so that completing copies nothing; any other goes to
a file of its own and is copied into place (in the kernel) at the end. The file of places may become a blob only while nothing
else writes to it. Does not know: HTTP, rows.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from clary.domain.objects.items import Part
from clary.objects.blobs import Blobs
from clary.objects.files import MODE, copy_range, unlink

SMALLEST_PART = 5 << 20


@dataclass(slots=True)
class _Open:
    unit: int = 0
    placed: set[int] = field(default_factory=set)
    writing: int = 0
    frozen: bool = False  # it is being completed: nothing more may go into the file of places
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


def main_file(upload: str) -> str:
    return f"{upload}.all"


class Assembly:
    """What this process knows of open uploads beyond their rows. Belongs to one event loop."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._open: dict[str, _Open] = {}

    def lock(self, upload: str, parts: Sequence[Part]) -> asyncio.Lock:
        """Held while an upload is completed or aborted."""
        return self._state(upload, parts).lock

    def _state(self, upload: str, parts: Sequence[Part]) -> _Open:
        state = self._open.get(upload)
        if state is None:
            state = self._open[upload] = _Open()
            placed = [part for part in parts if part.file == main_file(upload)]
            state.placed = {part.number for part in placed}
            state.unit = next((part.offset // (part.number - 1) for part in placed if part.number > 1), 0)
            state.unit = state.unit or max((part.size for part in placed), default=0)
        return state

    def reserve(self, upload: str, parts: Sequence[Part], number: int, size: int) -> tuple[str, int, str, int]:
        """Where part `number` goes: (file, offset, path, descriptor). Call `written` when it has been written or given up."""
        state = self._state(upload, parts)
        if not state.unit and size >= SMALLEST_PART:
            state.unit = size
        if state.unit and size <= state.unit and number not in state.placed and not state.frozen:
            name, offset = main_file(upload), (number - 1) * state.unit
            path, descriptor = self._blobs.open_part(name, fresh=True)
            state.placed.add(number)
            state.writing += 1
            return name, offset, path, descriptor
        name = f"{upload}.{number}.{secrets.token_hex(4)}"
        path, descriptor = self._blobs.open_part(name, fresh=True)
        return name, 0, path, descriptor

    def written(self, upload: str, file: str, number: int, kept: bool) -> None:
        state = self._open.get(upload)
        if file == main_file(upload):
            if state is not None:
                state.writing -= 1
                if not kept:
                    state.placed.discard(number)
        elif not kept:
            unlink(f"{self._blobs.staging}/{file}")

    async def join(self, upload: str, parts: Sequence[Part]) -> str:
        """One synced file of these parts in this order, as a new blob; the parts' own files stay. With the upload's lock held."""
        state = self._state(upload, parts)
        state.frozen = True
        try:
            return await asyncio.get_running_loop().run_in_executor(None, self._join, upload, parts, not state.writing)
        finally:
            state.frozen = False

    def _join(self, upload: str, parts: Sequence[Part], quiet: bool) -> str:
        offsets = _offsets(parts)
        main = main_file(upload)
        in_place = [part for part in parts if part.file == main]
        keep = quiet and bool(in_place) and all(part.offset == offsets[part.number] for part in in_place)
        if keep:
            path, descriptor = self._blobs.open_part(main, fresh=False)
            moving: Sequence[Part] = [part for part in parts if part.file != main]
        else:
            path, descriptor = self._blobs.open_part(f"{upload}.{secrets.token_hex(4)}", fresh=True)
            moving = parts
        try:
            for part in moving:
                source = os.open(f"{self._blobs.staging}/{part.file}", os.O_RDONLY | os.O_CLOEXEC)
                try:
                    copy_range(source, descriptor, part.offset, offsets[part.number], part.size)
                finally:
                    os.close(source)
            os.ftruncate(descriptor, sum(part.size for part in parts))
            os.fchmod(descriptor, MODE)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return self._blobs.take(path, keep=keep)

    def forget(self, upload: str, parts: Iterable[Part]) -> None:
        """The upload ended: delete its files."""
        self._open.pop(upload, None)
        self._blobs.drop_parts({part.file for part in parts} | {main_file(upload)})


def _offsets(parts: Sequence[Part]) -> dict[int, int]:
    offsets: dict[int, int] = {}
    at = 0
    for part in parts:
        offsets[part.number] = at
        at += part.size
    return offsets
