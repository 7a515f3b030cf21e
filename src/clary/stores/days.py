"""`replay_ports.Days` in a folder: a file for each variant, of fixed size, in which each minute of the day has its place.

A minute is one short write that says of itself which it is and whether it is whole, so nothing has to be kept in step with it: one that was
cut off by a failing machine is not there, and the next day's is written over it.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

from clary.domain.scaling.day import MINUTE, MINUTES, UNKNOWN, Minute

_MINUTE = struct.Struct(f"<I{MINUTE}Hff")
_SUM = struct.Struct("<I")
_SIZE = _MINUTE.size + _SUM.size
_UNKNOWN = 0xFFFF
_SUFFIX = ".day"


class FileDays:
    """See `replay_ports.Days`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, key: str, minutes: Sequence[Minute]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        file = os.open(self._path(key), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            for minute in minutes:
                os.pwrite(file, _packed(minute), minute.number % MINUTES * _SIZE)
        finally:
            os.close(file)

    def minutes(self, key: str, since: int) -> list[Minute]:
        try:
            content = self._path(key).read_bytes()
        except FileNotFoundError:
            return []
        return sorted(minute for minute in _unpacked(content) if minute.number >= since)

    def sweep(self, now: float) -> None:
        oldest = int(now // MINUTE) - MINUTES
        for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
            if not any(minute.number >= oldest for minute in _unpacked(path.read_bytes())):
                path.unlink()

    def _path(self, key: str) -> Path:
        return self._folder / (hashlib.sha256(key.encode()).hexdigest()[:32] + _SUFFIX)


def _packed(minute: Minute) -> bytes:
    counts = (_UNKNOWN if count == UNKNOWN else count for count in minute.arrivals)
    packed = _MINUTE.pack(minute.number, *counts, minute.service, minute.spread)
    return packed + _SUM.pack(zlib.crc32(packed))


def _unpacked(content: bytes) -> list[Minute]:
    """The whole ones. A place that was never written is no minute: its sum does not fit."""
    found = []
    for place in range(0, len(content) - _SIZE + 1, _SIZE):
        packed = content[place : place + _MINUTE.size]
        if _SUM.unpack_from(content, place + _MINUTE.size)[0] == zlib.crc32(packed):
            number, *counts, service, spread = _MINUTE.unpack(packed)
            arrivals = tuple(UNKNOWN if count == _UNKNOWN else count for count in counts)
            found.append(Minute(number, arrivals, service, spread))
    return found
