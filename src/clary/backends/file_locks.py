"""Waiting for a file's lock without holding up the end of the process that waits."""

from __future__ import annotations

import asyncio
import fcntl
import os
import threading
from collections.abc import Callable
from contextlib import suppress


async def locked(file: int, on_wait: Callable[[], None]) -> None:
    """Until this open file has its exclusive lock; `on_wait` is called once where somebody else has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        on_wait()
        await _taken(file)


async def _taken(file: int) -> None:
    # In a thread that nobody waits for: one of asyncio's own would keep an interrupted process until the other has let go.
    loop = asyncio.get_running_loop()
    has = loop.create_future()
    own = os.dup(file)  # the caller may close its number before the thread has begun

    def told() -> None:
        if not has.done():
            has.set_result(None)

    def take() -> None:
        fcntl.flock(own, fcntl.LOCK_EX)
        os.close(own)
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(told)

    threading.Thread(target=take, name="file lock", daemon=True).start()
    await has
