"""Work that takes longer than a turn of a loop (downloads, builds, uploads), kept beside the loop by key.

A decision that wants such work emits a command; the command calls `start`, which does nothing when the key is known. The
outcome is an observation of a later turn: `state(key)`. Nothing here is durable: after a restart the same decision starts the
same work again, so every piece of work must be idempotent.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from clary.domain.errors import ClaryError

log = logging.getLogger(__name__)

Listener = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Running:
    """Begun, not ended."""


@dataclass(frozen=True, slots=True)
class Done:
    """Ended well, with what the coroutine returned."""

    result: Any


@dataclass(frozen=True, slots=True)
class Failed:
    """Ended by an exception. `message` is for the user when `known` (one of Clary's own errors)."""

    message: str
    known: bool
    error: BaseException


State = Running | Done | Failed


class Tasks:
    """Keyed background work of one process. Call from the event loop's thread only."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        self._subjects: dict[str, str] = {}
        self._listeners: list[Listener] = []

    def watch(self, listener: Listener) -> Callable[[], None]:
        """Call `listener(subject)` when work ends; a loop gives its `wake`."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    def start(self, key: str, work: Callable[[], Coroutine[Any, Any, Any]], subject: str) -> None:
        """Begin `work()` unless the key is running or ended and not forgotten. `subject` (an ARN) is woken at its end."""
        if key in self._tasks:
            return
        task = asyncio.get_running_loop().create_task(work(), name=key)
        self._tasks[key] = task
        self._subjects[key] = subject
        task.add_done_callback(lambda ended: self._ended(key, ended))

    def state(self, key: str) -> State | None:
        """None: unknown or forgotten."""
        task = self._tasks.get(key)
        if task is None:
            return None
        if not task.done():
            return Running()
        if task.cancelled():
            return None
        error = task.exception()
        if error is None:
            return Done(task.result())
        known = isinstance(error, ClaryError)
        text = error.message if isinstance(error, ClaryError) else f"{type(error).__name__}: {error}"
        return Failed(text, known, error)

    async def settled(self, key: str) -> None:
        """Wait until that work ends, with or without an error. Unknown work is no error."""
        task = self._tasks.get(key)
        if task is not None:
            await asyncio.wait([task])

    def forget(self, key: str) -> None:
        """Drop an outcome (the work may be started again), or cancel what still runs. Unknown is fine."""
        task = self._tasks.pop(key, None)
        self._subjects.pop(key, None)
        if task is not None and not task.done():
            task.cancel()

    def forget_all(self, prefix: str) -> None:
        """`forget` every key that begins so."""
        for key in [k for k in self._tasks if k.startswith(prefix)]:
            self.forget(key)

    async def close(self) -> None:
        """Cancel all work and wait until it ends."""
        tasks = list(self._tasks.values())
        for key in list(self._tasks):
            self.forget(key)
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, key: str, task: asyncio.Task[Any]) -> None:
        if self._tasks.get(key) is not task:
            return
        if task.cancelled():
            self.forget(key)
            return
        error = task.exception()
        if error is not None and not isinstance(error, ClaryError):
            log.error("background work %s failed", key, exc_info=error)
        for listener in list(self._listeners):
            listener(self._subjects[key])
