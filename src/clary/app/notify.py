"""Notifies a service manager: `Type=notify` of systemd, sd_notify(3). Does nothing without `NOTIFY_SOCKET`."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress

READY, STOPPING = "READY=1", "STOPPING=1"


def tell(environment: Mapping[str, str], *lines: str) -> None:
    """Send these to the socket that `NOTIFY_SOCKET` names (`@` begins an abstract one). A manager that does not listen is no fault."""
    where = environment.get("NOTIFY_SOCKET", "")
    if not where.startswith(("/", "@")):
        return
    address = f"\0{where[1:]}" if where.startswith("@") else where
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as door:
        door.sendto("\n".join(lines).encode(), address)
