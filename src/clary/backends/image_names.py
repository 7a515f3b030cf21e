"""Image names that this Clary's user gave to runtimes, beside those that it ships: one small file of the state folder.

Read again whenever it changed, so that a running control plane and the command line agree without a word to each other. Refuses to
know what a runtime is.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path

from clary.domain.errors import Unavailable


class ImageNames:
    """Repository name -> runtime's name. Without a path there are none."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._seen: tuple[int, int] = (0, 0)
        self._names: Mapping[str, str] = {}

    def all(self) -> Mapping[str, str]:
        if self._path is None:
            return {}
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return {}
        if (status.st_mtime_ns, status.st_ino) != self._seen:
            self._names = self._read(self._path)
            self._seen = (status.st_mtime_ns, status.st_ino)
        return self._names

    def add(self, repository: str, runtime: str) -> None:
        self._change({repository: runtime})

    def remove(self, repository: str) -> bool:
        """Whether it was there."""
        if repository not in self.all():
            return False
        self._change({repository: None})
        return True

    def _change(self, changes: Mapping[str, str | None]) -> None:
        assert self._path is not None
        with open(self._path.with_suffix(".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            merged = {**self.all(), **changes}
            part = self._path.with_suffix(".part")
            with part.open("w") as file:
                json.dump({name: to for name, to in sorted(merged.items()) if to is not None}, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            part.rename(self._path)

    @staticmethod
    def _read(path: Path) -> Mapping[str, str]:
        try:
            found = json.loads(path.read_text())
        except ValueError as error:
            raise Unavailable(f"{path} is not readable as JSON ({error}); correct it or remove it") from error
        if not isinstance(found, dict):
            raise Unavailable(f"{path} must be one JSON object: image repository -> runtime; correct it or remove it")
        return {str(name): str(to) for name, to in found.items()}
