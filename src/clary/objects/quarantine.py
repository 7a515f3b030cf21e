"""Quarantine: keeps blobs that nothing names for a day before they are deleted.

Owns the folder `quarantine/SINCE/BLOB`. Does not know: why a blob is there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from clary.objects.files import unlink


class Quarantine:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def take(self, blobs: Mapping[str, str], now: float) -> None:
        """Move these files (blob -> path) in (`now`: epoch seconds)."""
        folder = self._folder / str(int(now))
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for blob, path in blobs.items():
            with suppress(FileNotFoundError):
                os.rename(path, folder / blob)

    def held(self) -> list[tuple[int, str]]:
        """(since when, path) of what is there, the oldest first."""
        folders = sorted((int(name), name) for name in self._list() if name.isdecimal())
        return [(at, f"{self._folder}/{name}/{one}") for at, name in folders for one in self._list(name)]

    def release(self, before: float) -> int:
        """Remove for good what came in before then (epoch seconds); how many."""
        gone = [path for at, path in self.held() if at < before]
        for path in gone:
            unlink(path)
        self._drop_empty()
        return len(gone)

    def empty(self, wanted: Callable[[], bool]) -> bool:
        """Remove one after another, the oldest first, while more room is wanted; whether any went."""
        gone = False
        for _, path in self.held():
            if not wanted():
                break
            unlink(path)
            gone = True
        if gone:
            self._drop_empty()
        return gone

    def give_back(self, blobs: Mapping[str, str]) -> list[str]:
        """Move these (blob -> path) out again; which were there."""
        aside = {os.path.basename(path): path for _, path in self.held()}
        found = [blob for blob in blobs if blob in aside]
        for blob in found:
            os.makedirs(os.path.dirname(blobs[blob]), 0o700, exist_ok=True)
            os.rename(aside[blob], blobs[blob])
        return found

    def _list(self, name: str = "") -> list[str]:
        try:
            return sorted(os.listdir(self._folder / name))
        except FileNotFoundError:
            return []

    def _drop_empty(self) -> None:
        for name in self._list():
            with suppress(OSError):
                os.rmdir(self._folder / name)
