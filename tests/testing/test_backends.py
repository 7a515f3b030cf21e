"""The fake in memory keeps the contract that the real backends keep."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clary.domain.machine.workload import Laid, RunState
from clary.ports import Backend
from clary.testing.backends import BUCKET, BackendConformance, MemoryBackend


class TestMemoryBackend(BackendConformance):
    def backend(self, folder: Path) -> Backend[Any]:
        return MemoryBackend()

    def again(self, backend: Backend[Any], folder: Path) -> Backend[Any]:
        return backend

    async def let(self, backend: Backend[Any], handle: str, exit_code: int) -> None:
        assert isinstance(backend, MemoryBackend)
        backend.finish(handle, exit_code)

    async def lay(self, backend: Backend[Any], handle: str, laid: Mapping[str, Laid]) -> None:
        assert isinstance(backend, MemoryBackend)
        backend.finish(handle, 0, laid=laid)

    async def leave(self, backend: Backend[Any], handle: str, files: str, path: str, text: str) -> None:
        assert isinstance(backend, MemoryBackend)
        backend.left[handle, files, path] = text

    def state(self, backend: Backend[Any], folder: Path) -> Any:
        assert isinstance(backend, MemoryBackend)
        return (
            dict(backend._runs),
            dict(backend.workloads),
            list(backend.stops),
            dict(backend.written),
            dict(backend.sizes),
        )

    async def pack(self, backend: Backend[Any], key: str, members: Mapping[str, str]) -> None:
        assert isinstance(backend, MemoryBackend)
        backend.contents = {f"model/{path}": text for path, text in members.items()}
        backend.refusal = f"ClientError: Cannot extract s3://{BUCKET}/{key}: no." if "../weights" in members else ""

    async def test_it_can_lose_a_run(self, tmp_path: Path) -> None:
        backend = MemoryBackend()
        handle = await self.begin(backend, self.workload(tmp_path, "sleep 60"))
        backend.lose(handle)
        assert (await self.ended(backend, handle)).state is RunState.LOST
