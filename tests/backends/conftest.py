"""A backend on this machine, and a short way to run a command in a sandbox of it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from clary.backends import host, local
from clary.backends.local import LocalBackend
from clary.domain.machine.workload import Mount, Observation, Workload

FACTS = host.find()
PYTHON = os.path.realpath(sys._base_executable)  # type: ignore[attr-defined]
needs_sandbox = pytest.mark.skipif(bool(FACTS.problem), reason=f"NO SANDBOX ON THIS MACHINE: {FACTS.problem}")


class Sandboxes:
    """Runs in sandboxes, each with a folder of its own below `folder`."""

    def __init__(self, folder: Path, control_groups: bool = True) -> None:
        self.folder = folder
        self.backend: LocalBackend = local.create(str(folder / "backend"), facts=FACTS, control_groups=control_groups)

    def workload(self, key: str, *command: str, **more: Any) -> Workload:
        root = self.folder / key
        root.mkdir(parents=True)
        prefix = os.path.dirname(os.path.dirname(PYTHON))
        base = () if prefix.startswith("/usr") else (Mount(prefix, prefix),)
        return Workload(
            key=key,
            root=str(root),
            command=command,
            environment=more.pop("environment", {}),
            mounts=(*base, *more.pop("mounts", ())),
            log_path=str(root / "log"),
            memory=more.pop("memory", 512 << 20),
            stop_grace=more.pop("stop_grace", 1.0),
            **more,
        )

    async def start(self, key: str, *command: str, **more: Any) -> str:
        return await self.backend.start(self.backend.plan(self.workload(key, *command, **more)))

    async def run(self, key: str, *command: str, seconds: float = 60, **more: Any) -> tuple[Observation, str]:
        """How it ended, and its log without the times."""
        handle = await self.start(key, *command, **more)
        return await self.ended(handle, seconds), self.log(key)

    def log(self, key: str) -> str:
        path = self.folder / key / "log"
        lines = path.read_text().splitlines() if path.exists() else []
        return "\n".join(line.partition("\t")[2] for line in lines)

    async def ended(self, handle: str, seconds: float = 60) -> Observation:
        changed = asyncio.Event()
        leave = self.backend.watch(lambda _: changed.set())
        try:
            async with asyncio.timeout(seconds):
                while True:
                    changed.clear()
                    seen = await self.backend.observe(handle)
                    assert seen is not None
                    if seen.state.is_terminal:
                        return seen
                    await changed.wait()
        finally:
            leave()

    async def shows(self, key: str, text: str, seconds: float = 30) -> None:
        """Wait until the log holds `text`."""
        async with asyncio.timeout(seconds):
            while text not in self.log(key):
                await asyncio.sleep(0.01)

    async def close(self) -> None:
        for handle in await self.backend.handles():
            await self.backend.stop(handle, 0)
            await self.ended(handle)
            await self.backend.forget(handle)
        self.backend.close()


@pytest.fixture
async def sandboxes(tmp_path: Path) -> AsyncIterator[Sandboxes]:
    made = Sandboxes(tmp_path)
    yield made
    await made.close()
