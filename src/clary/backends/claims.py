"""Numbers out of a range, each owned by at most one run at a time: user ids of sandboxes, GPUs. Kept on disk, so that a successor
knows them; taken with O_EXCL, so that no two take the same. Does not know what a number is used for."""

from __future__ import annotations

import os
from pathlib import Path

from clary.backends.state import Base
from clary.domain.errors import Unschedulable


class Claims:
    """`folder/<number>` holds the owner: the run's folder, from `base` on. A claim whose owner's folder is gone may be taken."""

    def __init__(self, folder: Path, first: int, last: int, base: Base) -> None:
        self._folder = folder
        self._base = base
        self._first, self._last = first, last
        self._next = first

    def take(self, owner: str) -> int:
        """A number for `owner`. Unschedulable when all are in use."""
        number = self._free(owner)
        if number is None and self.sweep():
            number = self._free(owner)
        if number is None:
            raise Unschedulable(f"all of {self._first} to {self._last} are in use ({self._folder})")
        self._next = number + 1
        return number

    def release(self, number: int, owner: str) -> None:
        """Idempotent; another owner's claim stays."""
        path = self._folder / str(number)
        try:
            if path.read_text() == self._base.kept(owner):
                path.unlink()
        except FileNotFoundError:
            pass

    def owned(self, owner: str) -> list[int]:
        return sorted(int(path.name) for path in self._taken() if _content(path) == self._base.kept(owner))

    def sweep(self) -> int:
        """Give back what belongs to folders that are gone; how many that were."""
        stale = [path for path in self._taken() if not os.path.isdir(self._base.found(_content(path)))]
        for path in stale:
            path.unlink(missing_ok=True)
        return len(stale)

    def _taken(self) -> list[Path]:
        return [path for path in self._folder.iterdir() if path.name.isdigit()] if self._folder.is_dir() else []

    def _free(self, owner: str) -> int | None:
        self._folder.mkdir(parents=True, exist_ok=True)
        size = self._last - self._first + 1
        for step in range(size):
            number = self._first + (self._next - self._first + step) % size
            temporary = self._folder / f".{os.urandom(8).hex()}"
            temporary.write_text(self._base.kept(owner))
            try:
                os.link(temporary, self._folder / str(number))  # whole at once: a claim is never seen without its owner
            except FileExistsError:
                continue
            finally:
                temporary.unlink()
            return number
        return None


def _content(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""
