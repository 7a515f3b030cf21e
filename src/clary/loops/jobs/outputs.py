"""Takes a job's results out: packs them in a sandbox, stores them, and keeps the synced folders (checkpoints,
TensorBoard) in step with S3.

Files that a job wrote are read without following a link (`untrusted.py`) or inside the packing sandbox, never otherwise.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clary import untrusted
from clary.domain.errors import Invalid, NotFound, Unavailable
from clary.domain.jobs.channels import names_under
from clary.domain.jobs.kinds import spec_of
from clary.domain.jobs.spec import Sync
from clary.domain.machine.workload import Environment
from clary.domain.resources import Record
from clary.loops.jobs import places, small_outputs
from clary.loops.jobs.places import JobFolders, JobSettings
from clary.ports import Artifacts, Backend
from clary.short_runs import how, short_run

_SETTLED = 1.0  # a file must not have changed for so many seconds before it is copied beside the run
_STATE = "sync-state.json"


class Outputs:
    """The way out, for one attempt of one job."""

    def __init__(self, backend: Backend[Any], artifacts: Artifacts, settings: JobSettings, record: Record) -> None:
        self._backend = backend
        self._artifacts = artifacts
        self._record = record
        self._spec = spec_of(record)
        self._where: JobFolders = places.places(settings, record)
        self._hosts = self._spec.hosts
        self._stored = 0  # bytes

    # -- model and output data ------------------------------------------------------------------------------------------------

    async def upload(self, environment: Environment | None, succeeded: bool, now: float) -> dict[str, Any]:
        """Everything that is to be kept; answers `artifacts`, the URI of the first output that was stored, and `stored`: bytes of all that
        was stored at the end. NotFound, Invalid from the store."""
        await self.sync_out(now, final=True)
        outputs = [output for output in self._spec.outputs if succeeded or output.failed]
        if not outputs or environment is None:
            return {"stored": self._stored}
        handles: Mapping[str, str] = self._record.document["handles"]
        of = [handles[host.name] for host in self._hosts if host.name in handles]
        small = await small_outputs.found(self._backend, of, outputs)
        if small is not None:
            staged = Path(str(self._where.top / "results-staging"))
            self._stored += await small_outputs.store(small, self._artifacts, staged)
            return {"artifacts": str(outputs[0].location), "stored": self._stored}
        workload = places.pack(self._record, environment, outputs)
        async with short_run(self._backend, workload) as ended:
            if ended.exit_code != 0:
                raise Unavailable(f"packing the results {how(ended)}")
            collected = await self._backend.collect(workload.key)
        self._stored += sum(each.size for each in collected.values())
        return {"artifacts": str(outputs[0].location), "stored": self._stored}

    # -- synced folders -------------------------------------------------------------------------------------------------------

    async def restore(self) -> None:
        """Fill the synced folders of every host from S3 before they start, where an older Clary placed their data."""
        state: dict[str, list[int]] = {}
        for sync in self._spec.syncs:
            if not sync.restore:
                continue
            try:
                found = await self._artifacts.find(sync.location.bucket, sync.location.key.rstrip("/"))
            except NotFound as error:
                raise Invalid(f"CheckpointConfig.S3Uri: {error.message}") from None
            prefix = sync.location.key.rstrip("/") + "/" if sync.location.key else ""
            sizes = {entry.key: entry.size for entry in found if entry.key.startswith(prefix)}
            names = names_under(prefix, sizes)
            farm = str(self._where.top / "restore" / sync.name)
            await asyncio.to_thread(_fresh, farm)
            if names:
                await self._artifacts.place(sync.location.bucket, names, farm)
            for host in self._hosts:
                folder = str(self._where.sync(host.name, sync.name))
                state |= await asyncio.to_thread(
                    _copy_in, farm, folder, sorted(names.values()), _mark(host.name, sync, "")
                )
        await asyncio.to_thread(self._save_state, state)

    async def sync_out(self, now: float, final: bool = False) -> None:
        """Store what is new or changed since the last time; delete in S3 what the job deleted (where the sync is two-way)."""
        syncs = [sync for sync in self._spec.syncs if final or sync.running]
        if not syncs:
            return
        if places.synced_by_value(self._record):
            for handle in self._record.document["handles"].values():
                collected = await self._backend.collect(handle)
                self._stored += sum(each.size for each in collected.values())
            return
        state = await asyncio.to_thread(self._load_state)
        for sync in syncs:
            for host in self._hosts:
                await self._sync_host(sync, host.name, state, now, final)
        await asyncio.to_thread(self._save_state, state)

    async def _sync_host(self, sync: Sync, host: str, state: dict[str, list[int]], now: float, final: bool) -> None:
        folder = str(self._where.sync(host, sync.name))
        if not os.path.isdir(folder):
            return
        there = await asyncio.to_thread(lambda: list(untrusted.walk(folder)))
        for name, found in there:
            mark = _mark(host, sync, name)
            stamp = [found.st_mtime_ns, found.st_size]
            if state.get(mark) == stamp or (not final and now - found.st_mtime < _SETTLED):
                continue
            if await self._store_synced(sync, folder, name):
                state[mark] = stamp
        if sync.restore:
            await self._delete_gone(sync, host, {name for name, _ in there}, state)

    async def _store_synced(self, sync: Sync, folder: str, name: str) -> bool:
        """Copy first: what is stored is a whole file of ours, whatever the job does to its own meanwhile."""
        staged = str(self._where.top / "sync-staging")
        try:
            await asyncio.to_thread(untrusted.copy, folder, name, staged)
        except OSError:
            return False  # it was replaced meanwhile: the next time finds it
        key = sync.location.below(*name.split("/")).key
        self._stored += os.path.getsize(staged)
        await self._artifacts.store_file(staged, sync.location.bucket, key, move=True)
        return True

    async def _delete_gone(self, sync: Sync, host: str, there: set[str], state: dict[str, list[int]]) -> None:
        start = _mark(host, sync, "")
        for mark in [mark for mark in state if mark.startswith(start) and mark[len(start) :] not in there]:
            name = mark[len(start) :]
            del state[mark]
            if not any(other.endswith(f"\0{sync.name}\0{name}") for other in state):
                await self._artifacts.delete(sync.location.bucket, sync.location.below(*name.split("/")).key)

    def _load_state(self) -> dict[str, list[int]]:
        try:
            with open(self._where.top / _STATE, encoding="utf-8") as file:
                return dict(json.load(file))
        except FileNotFoundError:
            return {}

    def _save_state(self, state: Mapping[str, Sequence[int]]) -> None:
        path = str(self._where.top / _STATE)
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            json.dump(state, file)
        os.replace(f"{path}.new", path)


def _mark(host: str, sync: Sync, name: str) -> str:
    return f"{host}\0{sync.name}\0{name}"


def _fresh(folder: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    os.chmod(folder, 0o755)


def _copy_in(farm: str, folder: str, names: Sequence[str], mark: str) -> dict[str, list[int]]:
    """Copies, not links: a job may write into its checkpoints. Answers their stamps, so that they do not count as changed."""
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    stamps: dict[str, list[int]] = {}
    for name in names:
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        shutil.copyfile(os.path.join(farm, name), path)
        found = os.stat(path)
        stamps[mark + name] = [found.st_mtime_ns, found.st_size]
    return stamps
