"""A backend that runs nothing, but lays files out and stores results as a node does: what tests of loops look into."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from clary.backends.node.layout import NodePorts, content_of, lay_out, names_of, placed, small_of, text_of
from clary.backends.node.models import NodeModels
from clary.backends.node.outputs import store
from clary.backends.node.syncs import Syncs
from clary.domain.errors import Denied, Invalid, NotFound, Unavailable
from clary.domain.machine.workload import (
    Collected,
    Environment,
    ModelFiles,
    Observation,
    RunFailure,
    RunState,
    SmallFile,
    Workload,
)
from clary.ports import Artifacts, Environments, Logs
from clary.testing.backends import MemoryBackend


class LayingBackend(MemoryBackend):
    """`workloads` has runs by value with their folders as mounts, once they are laid out."""

    def __init__(self, folder: Path, artifacts: Artifacts, logs: Logs, environments: Environments) -> None:
        super().__init__()
        self._folder = folder
        self._ports = NodePorts(artifacts, logs, environments)
        self._syncs = Syncs()
        self._layouts: dict[str, asyncio.Task[None]] = {}
        self._made = NodeModels(folder, self, self._ports)

    def _root_of(self, key: str) -> str:
        known = self.workloads.get(key)
        return known.root if known and known.root else str(self._folder / key)

    async def start(self, request: Workload, secrets: Mapping[str, str] = MappingProxyType({})) -> str:
        if not request.by_value:
            return await super().start(request, secrets)
        if request.key not in self._runs:
            self.secrets[request.key] = dict(secrets)
            self.sizes[request.key] = (request.cpu, request.memory)
            self._change(request.key, Observation(RunState.STARTING))
            self._layouts[request.key] = asyncio.create_task(self._lay_out(request))
        return request.key

    async def stop(self, handle: str, grace: float | None = None) -> None:
        layout = self._layouts.get(handle)
        if layout is not None and not layout.done():
            layout.cancel()
            self._change(handle, Observation(RunState.EXITED, stopped=True, ended_at=1.0))
        await super().stop(handle, grace)

    async def forget(self, handle: str) -> None:
        await super().forget(handle)
        self._layouts.pop(handle, None)

    async def read(self, handle: str, files: str, path: str, limit: int) -> str:
        return text_of(self._root_of(handle), files, path, limit) if handle in self._runs else ""

    async def content(self, handle: str, files: str, path: str, limit: int) -> bytes:
        return content_of(self._root_of(handle), files, path, limit) if handle in self._runs else b""

    async def names(self, handle: str, files: str, path: str) -> tuple[str, ...]:
        return names_of(self._root_of(handle), files, path) if handle in self._runs else ()

    async def small(self, handle: str, files: str, path: str) -> tuple[SmallFile, ...] | None:
        if handle not in self._runs or not self._runs[handle].state.is_terminal or handle in self.large:
            return None
        return small_of(self._root_of(handle), files, path)

    async def model(self, digest: str) -> Mapping[str, Any] | None:
        return self._made.found(digest)

    async def make_model(self, model: ModelFiles, opener: Environment | None, seconds: float) -> Mapping[str, Any]:
        return await self._made.make(model, opener, seconds)

    async def collect(self, handle: str) -> Mapping[str, Collected]:
        if handle not in self._runs:
            raise NotFound(f"no run {handle!r} to collect the results of")
        self.collected.append(handle)
        workload, root, running = (
            self.workloads[handle],
            self._root_of(handle),
            not self._runs[handle].state.is_terminal,
        )
        artifacts = self._ports.artifacts
        synced = await self._syncs.collect(workload, root, self._root_of, artifacts, running, time.time())
        return synced if running else {**synced, **await store(root, workload.results, artifacts)}

    async def _lay_out(self, asked: Workload) -> None:
        root = str(self._folder / asked.key)
        try:
            made = await lay_out(asked, self.secrets[asked.key], root, self._root_of, self._ports, lambda _: None)
        except (Invalid, NotFound, Denied, Unavailable) as error:
            failure = RunFailure(error.message, not isinstance(error, Unavailable))
            self._change(asked.key, Observation(RunState.EXITED, ended_at=1.0, detail=error.message, failure=failure))
            return
        self.workloads[asked.key] = replace(placed(asked, root, self._folder, self._root_of), log_path=made.log)
        if not asked.command:
            self._change(asked.key, Observation(RunState.EXITED, ended_at=1.0, exit_code=0, laid=made.laid))
            return
        self._change(asked.key, Observation(RunState.RUNNING, started_at=0.0, pid=1))
