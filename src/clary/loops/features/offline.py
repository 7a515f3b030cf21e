"""Writes batches of history as Parquet files into S3. The files of a batch have the same keys when it is written again, so a crash between
the upload and the word that it is done doubles nothing. pyarrow lives in a sandbox, never here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from clary.domain.errors import Unavailable
from clary.domain.features import offline
from clary.domain.features.groups import Group
from clary.domain.machine.workload import Environment, Files, MountMode, Result, Workload
from clary.feature_ports import Batch
from clary.loops.core.sandboxes import short_workload
from clary.ports import Backend, Runtimes
from clary.short_runs import end, how, short_run

RUNTIME = "features"
_WORK = "/opt/clary/work"
_MEMORY = 2 << 30
_SECONDS = 600.0
_WORDS = 4096  # bytes of its output in which its last line is looked for
_END_SECONDS = 30.0


async def environment_of(runtimes: Runtimes) -> Environment:
    """What reads and writes Parquet. Invalid with the builder's words."""
    return await runtimes.ensure(next(each for each in runtimes.all() if each.name == RUNTIME))


class OfflineWriter:
    """Batches of a group are written one after the other."""

    def __init__(self, backend: Backend[Any], runtimes: Runtimes) -> None:
        self._backend = backend
        self._runtimes = runtimes

    async def prepare(self) -> Environment:
        """The environment that writes, built where it is not there yet. Invalid with the builder's words."""
        return await environment_of(self._runtimes)

    async def write(self, group: Group, batch: Batch) -> None:
        """Every line of the batch is in S3 when this is done. ClaryError otherwise."""
        workload = _workload(group, batch, await self.prepare())
        async with short_run(self._backend, workload) as ended:
            if ended.exit_code != 0:
                last = (await self._backend.read(workload.key, "", "", _WORDS)).strip().rpartition("\n")[2]
                raise Unavailable(f"writing the Parquet files {how(ended)}{f': {last}' if last else ''}.")
            stored = await self._backend.collect(workload.key)
            missing = [str(each.to) for each in workload.results if str(each.to) not in stored]
            if missing:
                raise Unavailable(f"writing the Parquet files left nothing for {missing[0]}.")

    async def forget(self, group: Group) -> None:
        """Remove what is left of a group's work."""
        await end(self._backend, _key(group.key), _END_SECONDS)


def _key(group: str) -> str:
    return f"features-{group}"


def _workload(group: Group, batch: Batch, environment: Environment) -> Workload:
    """The rows and the spec for the sandbox, and the object that each file becomes."""
    assert group.offline is not None
    newest: dict[str, float] = {}
    for line in batch.lines:
        where = offline.partition(line.history.event)
        newest[where] = max(newest.get(where, 0.0), line.history.event)
    numbers = {where: number for number, where in enumerate(newest)}
    spec = {
        "columns": offline.columns(group.features),
        "rows": f"{_WORK}/rows.jsonl",
        "files": [f"{_WORK}/{number}.parquet" for number in range(len(newest))],
    }
    texts = {"rows.jsonl": "".join(_rows(batch, numbers)), "spec.json": json.dumps(spec)}
    results = [
        Result(
            "work",
            f"{numbers[where]}.parquet",
            group.account,
            group.offline.below(f"{where}/{offline.file_name(at, f'{batch.group} {batch.name} {where}')}"),
        )
        for where, at in newest.items()
    ]
    work = (Files("work", _WORK, MountMode.READ_WRITE, texts),)
    told = f"{_WORK}/spec.json"
    return short_workload(_key(group.key), "features", told, environment, work, _MEMORY, _SECONDS, results)


def _rows(batch: Batch, numbers: Mapping[str, int]) -> Iterator[str]:
    for line in batch.lines:
        history = line.history
        row = {
            "file": numbers[offline.partition(history.event)],
            "values": history.values,
            "written": line.written,
            "invoked": history.invoked,
            "deleted": history.deleted,
        }
        yield json.dumps(row) + "\n"
