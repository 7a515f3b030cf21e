"""Who waits at a socket of a process that restarts waits for a while, and is then told."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from clary.app.doors import Door
from clary.app.folders import listen_unix


async def connect(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_unix_connection(str(path))


async def test_who_waits_too_long_is_turned_away_until_there_is_a_successor(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listener = listen_unix(path, 0o600)
    door = Door(listener, hold=0.05)
    door.closed()
    waiting = [await connect(path) for _ in range(3)]
    for reader, writer in waiting:
        assert await asyncio.wait_for(reader.read(), 10) == b""  # who waited already, and
        writer.close()
    late, writer = await connect(path)
    assert await asyncio.wait_for(late.read(), 10) == b""  # who comes later
    writer.close()

    door.opened()
    door.opened()
    _, writer = await connect(path)
    served, _ = listener.accept()  # is left to the successor
    served.close()
    writer.close()
    listener.close()


async def test_a_successor_in_time_finds_everybody(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listener = listen_unix(path, 0o600)
    door = Door(listener, hold=600)
    door.closed()
    door.closed()  # died and was started: one wait
    waiting = [await connect(path) for _ in range(3)]
    door.opened()
    found: list[socket.socket] = [listener.accept()[0] for _ in waiting]
    assert len(found) == 3
    for each in found:
        each.close()
    for _, writer in waiting:
        writer.close()
    listener.close()
