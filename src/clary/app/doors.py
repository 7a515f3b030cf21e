"""Limits how long connections wait at a socket whose process restarts.

The supervisor holds the sockets of control plane and object store, so connections wait in the backlog while one of them is started
again. Who has waited for longer than `HOLD` is turned away (the edge answers 503, which clients ask again after), and so is everybody who
comes later, until the successor is ready. A process that few need is started when the first one comes to its socket, who waits
there as if it were being started again.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress

HOLD = 20.0  # seconds; clients wait 60 for an answer


class Door:
    """One listening socket, of a process that comes and goes. `closed` and `opened` are told by who watches the process; idempotent."""

    def __init__(self, listener: socket.socket, hold: float = HOLD) -> None:
        listener.setblocking(False)
        self._listener, self._hold = listener, hold
        self._timer: asyncio.TimerHandle | None = None
        self._turning_away = False
        self._expecting = False

    def expect(self, come: Callable[[], None]) -> None:
        """Its process is not started yet: call `come` once, when the first connection waits. Nothing happens after `opened`."""

        def first() -> None:
            self._expect_nobody()
            come()

        asyncio.get_running_loop().add_reader(self._listener, first)
        self._expecting = True

    def _expect_nobody(self) -> None:
        if self._expecting:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._expecting = False

    def closed(self) -> None:
        """Its process has died, or starts: who comes now waits, for a while."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._hold, self._turn_away)

    def opened(self) -> None:
        """Its process takes connections, or is not coming back."""
        self._expect_nobody()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._turning_away:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._turning_away = False

    def _turn_away(self) -> None:
        self._turning_away = True
        asyncio.get_running_loop().add_reader(self._listener, self._next)

    def _next(self) -> None:
        with suppress(OSError):  # somebody else was first, or it has gone
            self._listener.accept()[0].close()
