"""A control plane reduced to its loop: holds some records, acts on them, and asks for changes of those that another one holds.

`test_killed_loops.py` runs one in its own process, and one as a program that it kills.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clary.app.clock import SystemClock
from clary.domain.decisions import Decision
from clary.domain.errors import AlreadyExists, Stale
from clary.domain.resources import Record
from clary.loops.core.loop import Loop
from clary.ports import Store
from clary.stores.sql import open_store
from clary.testing.stores import HERE, record

RECORDS = 20  # that each control plane holds
CHANGES = 10  # of each record
KIND = "endpoint"


@dataclass(frozen=True)
class Make:
    """The file of this change. Its name is the key: to make it again does nothing."""

    name: str
    number: int
    asked: float


class Maker:
    """Makes a file for each change that a record asks for, and notes each run: who, when it was asked for, when it was done."""

    kind = KIND
    statuses = ("Creating",)

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runs = os.open(folder / "runs", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def observe(self, record: Record) -> int:
        return int(record.document["done"])

    def decide(self, record: Record, observation: int, now: float) -> Decision[Make]:
        document = record.document
        if observation == document["wanted"]:
            return Decision(record)
        done = replace(record, document={**document, "done": document["wanted"]})
        return Decision(done, (Make(record.name, document["wanted"], document["asked"]),))

    async def run(self, command: Make, record: Record) -> None:
        with suppress(FileExistsError):
            (self._folder / f"{command.name}-{command.number}").touch(exist_ok=False)
        line = f"{os.getpid()} {command.name} {command.number} {time.monotonic() - command.asked}\n"
        os.write(self._runs, line.encode())

    def absorb(self, record: Record, outcomes: Sequence[tuple[Make, Any]]) -> Record:
        return record


async def hold(store: Store, owner: str, own: str, folder: Path) -> None:
    """Look after the records whose names begin with `own`, made if they are not there. Until cancelled."""
    loop: Loop[Make, int] = Loop(Maker(folder), store, SystemClock(), owner)
    task = asyncio.create_task(loop.run())
    try:
        for n in range(RECORDS):
            with suppress(AlreadyExists):
                await store.add(record(f"{own}{n}", wanted=0, done=0, asked=0.0))
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def ask(store: Store, other: str, pace: float) -> None:
    """Ask for one change after the other of each of the other's records, `pace` seconds after it was asked for the one before, be it by
    a predecessor."""
    await asyncio.gather(*(_ask(store, f"{other}{n}", pace) for n in range(RECORDS)))


async def _ask(store: Store, name: str, pace: float) -> None:
    while True:
        current = await store.get(KIND, HERE, name)
        if current is None or current.document["done"] != current.document["wanted"]:
            await asyncio.sleep(0.02)
            continue
        if current.document["done"] == CHANGES:
            return
        await asyncio.sleep(current.document["asked"] + pace - time.monotonic())
        wanted = {"wanted": current.document["wanted"] + 1, "asked": time.monotonic()}
        with suppress(Stale):
            await store.save(replace(current, document={**current.document, **wanted}))


async def main(url: str, owner: str, own: str, other: str, folder: str, pace: str) -> None:
    store = open_store(url)
    await asyncio.gather(hold(store, owner, own, Path(folder)), ask(store, other, float(pace)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
