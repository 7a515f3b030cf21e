"""granian on a listening socket that the supervisor holds: connections wait in its backlog while the process behind it restarts."""

from __future__ import annotations

from typing import Any

from granian._granian import SocketHolder
from granian.server.embed import Server


class Granian(Server):
    """granian on a listening unix socket that is open already; with `held` None on what `options` say."""

    def __init__(self, target: Any, held: int | None, backlog: int = 4096, **options: Any) -> None:
        super().__init__(target, backlog=backlog, websockets=False, log_access=False, **options)
        self._held = held

    def _init_shared_socket(self) -> None:
        if self._held is None:
            super()._init_shared_socket()  # type: ignore[no-untyped-call]
            return
        self._shd = SocketHolder(self._held, True, self.backlog)  # type: ignore[assignment,call-arg]
        self._sfd = self._held  # type: ignore[assignment]

    @property
    def _bind_addr_fmt(self) -> str:
        return str(super()._bind_addr_fmt) if self._held is None else f"socket {self._held}"
