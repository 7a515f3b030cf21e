"""Large answers that are wanted whole, and how much of them one front may hold at a time.

Does not know who wants them, and why.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast


class Gathered:
    """All of an answer, or its first `most` bytes, for who can do nothing with pieces; copied as they come, so that no moment is long."""

    def __init__(
        self,
        size: int,
        done: Callable[[bytes], None],
        broken: Callable[[], None] = lambda: None,
        head: bytes = b"",
    ) -> None:
        self._whole = bytearray(len(head) + size)
        self._whole[: len(head)] = head
        self._place = len(head)
        self._done = done
        self._broken = broken

    def piece(self, data: bytes) -> None:
        place = self._place
        data = data[: len(self._whole) - place]
        self._whole[place : place + len(data)] = data
        self._place = place + len(data)

    def end(self) -> None:
        # its user treats it as bytes: a copy would be the long moment that is to be avoided
        self._done(cast(bytes, self._whole))

    def broke(self) -> None:
        self._broken()


class GatherRoom:
    """Bytes that may be gathered in one front at a time."""

    __slots__ = ("_left",)

    def __init__(self, most: int = 64 << 20) -> None:
        self._left = most

    def take(self, size: int) -> bool:
        """Whether there was room for so many more."""
        if size > self._left:
            return False
        self._left -= size
        return True

    def give(self, size: int) -> None:
        self._left += size
