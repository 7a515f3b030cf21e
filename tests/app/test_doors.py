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


async def test_the_first_who_comes_is_told_of_once_and_waits_for_the_process(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listener = listen_unix(path, 0o600)
    door, came = Door(listener, hold=600), asyncio.Event()
    starts: list[str] = []

    def start() -> None:
        starts.append("started")
        came.set()

    door.expect(start)
    await asyncio.sleep(0)
    assert not starts
    waiting = [await connect(path) for _ in range(3)]
    await asyncio.wait_for(came.wait(), 10)
    door.closed()  # it has a process
    door.opened()
    found = [listener.accept()[0] for _ in waiting]
    assert (len(found), starts) == (3, ["started"])
    for each in (*found, *(writer for _, writer in waiting)):
        each.close()
    listener.close()


async def test_a_door_that_nobody_came_to_expects_nobody_when_all_ends(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listener = listen_unix(path, 0o600)
    door, starts = Door(listener), list[str]()
    door.expect(lambda: starts.append("started"))
    door.opened()
    _, writer = await connect(path)
    await asyncio.sleep(0.01)
    assert not starts
    writer.close()
    listener.close()
