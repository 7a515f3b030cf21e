"""systemd hears when Clary is ready."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from clary.app import notify


@pytest.mark.parametrize("abstract", [False, True])
def test_it_is_told_at_the_socket_that_it_named(tmp_path: Path, abstract: bool) -> None:
    name = f"@clary-{tmp_path.name}-{id(tmp_path)}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name[1:]}" if abstract else name)
        notify.tell({"NOTIFY_SOCKET": name}, notify.READY, "STATUS=https://h")
        manager.settimeout(10)
        assert manager.recv(4096) == b"READY=1\nSTATUS=https://h"


def test_nobody_who_listens_is_no_fault(tmp_path: Path) -> None:
    notify.tell({}, notify.READY)
    notify.tell({"NOTIFY_SOCKET": "no/path"}, notify.READY)
    notify.tell({"NOTIFY_SOCKET": str(tmp_path / "none")}, notify.READY)
