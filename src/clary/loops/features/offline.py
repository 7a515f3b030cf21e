"""Writes batches of history as Parquet files into S3. The files of a batch have the same keys when it is written again, so a crash between
the upload and the word that it is done doubles nothing. pyarrow lives in a sandbox, never here.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

from clary.domain.errors import Unavailable
from clary.domain.features import offline
from clary.domain.features.groups import Group
from clary.domain.machine.workload import Mount, MountMode, Workload
from clary.feature_ports import Batch
from clary.loops.core.sandboxes import short_workload
from clary.loops.core.short_runs import end, how, run_to_end
from clary.ports import Artifacts, Backend, Environment, Runtimes

RUNTIME = "features"
_WORK = "/opt/clary/work"
_MEMORY = 2 << 30
_SECONDS = 600.0
_END_SECONDS = 30.0


async def environment_of(runtimes: Runtimes) -> Environment:
    """What reads and writes Parquet. Invalid with the builder's words."""
    return await runtimes.ensure(next(each for each in runtimes.all() if each.name == RUNTIME))


class OfflineWriter:
    """`folder` is where batches are laid out, one after the other for each group."""

    def __init__(self, backend: Backend[Any], artifacts: Artifacts, runtimes: Runtimes, folder: str) -> None:
        self._backend = backend
        self._artifacts = artifacts
        self._runtimes = runtimes
        self._folder = Path(folder)

    async def prepare(self) -> Environment:
        """The environment that writes, built where it is not there yet. Invalid with the builder's words."""
        return await environment_of(self._runtimes)

    async def write(self, group: Group, batch: Batch) -> None:
        """Every line of the batch is in S3 when this is done. ClaryError otherwise."""
        assert group.offline is not None
        environment = await self.prepare()
        folder = self._folder / group.key
        workload = _workload(group.key, folder, environment)
        await end(self._backend, workload.key, _END_SECONDS)  # what a predecessor began writes into the same folder
        names = await asyncio.to_thread(_lay_out, folder, group, batch)
        ended = await run_to_end(self._backend, workload)
        if ended.exit_code != 0:
            said = await asyncio.to_thread(_last_words, folder)
            raise Unavailable(f"writing the Parquet files {how(ended)}{said}.")
        artifacts = self._artifacts.of(group.account)
        for number, name in enumerate(names):
            key = group.offline.below(name).key
            await artifacts.store_file(str(folder / "work" / f"{number}.parquet"), group.offline.bucket, key, move=True)
        await asyncio.to_thread(shutil.rmtree, folder, True)

    async def forget(self, group: Group) -> None:
        """Remove what is left of a group's work."""
        await end(self._backend, _key(group.key), _END_SECONDS)
        await asyncio.to_thread(shutil.rmtree, self._folder / group.key, True)


def _key(group: str) -> str:
    return f"features-{group}"


def _workload(key: str, folder: Path, environment: Environment) -> Workload:
    work = Mount(str(folder / "work"), _WORK, MountMode.READ_WRITE)
    run, log, spec = str(folder / "run"), str(folder / "log"), f"{_WORK}/spec.json"
    return short_workload(_key(key), run, "features", spec, environment, (work,), log, _MEMORY, _SECONDS)


def _lay_out(folder: Path, group: Group, batch: Batch) -> list[str]:
    """The rows and the spec for the sandbox; answers the files' names below the group's folder in S3, in the order of their numbers."""
    shutil.rmtree(folder, ignore_errors=True)
    work = folder / "work"
    work.mkdir(parents=True, mode=0o700)
    newest: dict[str, float] = {}
    for line in batch.lines:
        where = offline.partition(line.history.event)
        newest[where] = max(newest.get(where, 0.0), line.history.event)
    numbers = {where: number for number, where in enumerate(newest)}
    with open(work / "rows.jsonl", "w", encoding="utf-8") as file:
        for line in batch.lines:
            history = line.history
            row = {
                "file": numbers[offline.partition(history.event)],
                "values": history.values,
                "written": line.written,
                "invoked": history.invoked,
                "deleted": history.deleted,
            }
            file.write(json.dumps(row) + "\n")
    spec = {
        "columns": offline.columns(group.features),
        "rows": f"{_WORK}/rows.jsonl",
        "files": [f"{_WORK}/{number}.parquet" for number in range(len(newest))],
    }
    (work / "spec.json").write_text(json.dumps(spec))
    return [f"{where}/{offline.file_name(at, f'{batch.group} {batch.name} {where}')}" for where, at in newest.items()]


def _last_words(folder: Path) -> str:
    """The last line that the run wrote, for the reason."""
    try:
        lines = (folder / "log").read_text(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return f": {lines[-1].partition(chr(9))[2]}" if lines else ""
