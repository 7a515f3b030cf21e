"""Asks the operator's databases for a job's inputs, in a sandbox of Clary's own beside the job's: the job sees the rows, not who asks.
What Athena is asked is a query execution like any other, which its own loop answers.

Every query of an attempt is asked, then its files are stored below its folder in S3, in the place of those of an earlier attempt. A piece
that was cut off is asked again from its beginning: it only reads. What fails stores nothing.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from clary.domain.errors import AlreadyExists, Invalid, Unschedulable
from clary.domain.features import queries
from clary.domain.ids import arn
from clary.domain.jobs import datasets
from clary.domain.jobs.datasets import SourceQuery
from clary.domain.jobs.kinds import spec_of
from clary.domain.machine.workload import Environment, Files, Mount, MountMode, Result, Workload
from clary.domain.resources import KINDS, Record
from clary.loops.core.sandboxes import short_workload
from clary.loops.jobs import places
from clary.loops.jobs.places import JobSettings
from clary.ports import Artifacts, LoopPorts
from clary.short_runs import how, short_run

RUNTIME = "sources"
_FILES = {"PARQUET": "0000_part_00.parquet", "JSON": "0000_part_00.json.gz", "TEXTFILE": "0000_part_00.txt.gz"}
_LOOK = 0.2  # seconds between looks at a query execution
_WORK = "/opt/clary/work"
_FOLDER, _SPEC = "work", "SPEC"  # names of its files, and of the secret in them
_MEMORY = 1 << 30
_SECONDS = 6 * 3600.0
_REPORT = 4 << 20


class Datasets:
    """The queries of one job."""

    def __init__(self, ports: LoopPorts, settings: JobSettings, record: Record, say: Callable[[str], None]) -> None:
        self._ports = ports
        self._settings = settings
        self._record = record
        self._say = say
        self._artifacts: Artifacts = ports.artifacts.of(record.scope.account)

    async def place(self) -> dict[str, Any]:
        """All of them, one after the other; answers `rows` by input of a database."""
        asked = spec_of(self._record).queries
        for query in asked:
            if query.database:
                await self._athena(query)
        named = [query for query in asked if not query.database]
        return {"rows": await self._sources(named)} if named else {"rows": {}}

    async def _athena(self, query: SourceQuery) -> None:
        """Record the query, or find the one that a predecessor recorded, and wait for its end."""
        where = query.location.below(_FILES[query.form])
        fresh = _execution(self._record, query, str(where), self._ports.clock.now())
        try:
            await self._ports.store.add(fresh)
        except AlreadyExists:
            pass
        while (found := await self._ports.store.get(fresh.kind, fresh.scope, fresh.name)) is not None:
            if found.status == queries.SUCCEEDED:
                self._say(f"Athena answered query {fresh.name}, stored as {where}")
                return
            if found.status not in queries.ACTIVE:
                raise Invalid(f"Athena cannot answer: {found.document.get('failure') or 'the query was cancelled'}")
            await asyncio.sleep(_LOOK)
        raise Invalid(f"The query execution {fresh.name} was deleted.")

    async def _sources(self, asked: Sequence[SourceQuery]) -> dict[str, int]:
        runtime = next(each for each in self._ports.runtimes.all() if each.name == RUNTIME)
        environment = await self._ports.runtimes.ensure(runtime, log=self._say)
        rows: dict[str, int] = {}
        for query in asked:
            report = await self._ask(query, environment)
            rows[query.input] = int(report["rows"])
            self._say(
                f"{query.source} answered {report['rows']} rows, stored as {len(report['files'])} files in {query.location}"
            )
        return rows

    async def _ask(self, query: SourceQuery, environment: Environment) -> Mapping[str, Any]:
        source = self._settings.sources.get(query.source)
        if source is None:
            raise Invalid(f"There is no source {query.source!r} any more: see [sources.NAME] in clary.toml.")
        workload = self._workload(query, source, environment)
        backend = self._ports.backend
        async with short_run(backend, workload, {_SPEC: _spec(query, source)}) as run:
            if run.exit_code != 0:
                raise Unschedulable(f"asking {query.source} {how(run)}")
            report: dict[str, Any] = json.loads(await backend.read(workload.key, _FOLDER, "report.json", _REPORT))
            if "error" in report:
                raise Invalid(f"The source {query.source!r} cannot answer: {report['error']}")
            await backend.collect(workload.key)
            await self._remove_others(query, report["files"])
            return report

    async def _remove_others(self, query: SourceQuery, files: Sequence[str]) -> None:
        """What an earlier attempt stored in the place of the answer."""
        bucket, key = query.location.bucket, query.location.key
        for old in await self._artifacts.find(bucket, key):
            if old.key.removeprefix(key) not in files:
                await self._artifacts.delete(bucket, old.key)

    def _workload(self, query: SourceQuery, url: str, environment: Environment) -> Workload:
        """Where the database is and who asks it is a secret beside it. The folder of a database file or a socket on this host is the
        operator's, and stays a path."""
        files = Files(_FOLDER, _WORK, MountMode.READ_WRITE, secrets={"spec.json": _SPEC}, folders=("files",))
        answer = Result(_FOLDER, "files", self._record.scope.account, query.location, tree=True, given=True)
        key = places.key(self._record, f"dataset-{query.input}")
        short = short_workload(
            key, "sources", f"{_WORK}/spec.json", environment, (files,), _MEMORY, _SECONDS, (answer,)
        )
        path = urlsplit(url).path
        beside = str(Path(path).parent) if urlsplit(url).scheme == "sqlite" else datasets.socket_folder(url)
        mounts = (Mount(beside, beside),) if beside else ()
        disk = places.volume(self._settings, spec_of(self._record))
        return replace(short, mounts=mounts, network=not beside, disk=disk)


def executions(record: Record, attempt: int) -> list[str]:
    """The names of the query executions of an attempt."""
    return [_name(record, query, attempt) for query in spec_of(record).queries if query.database]


def _name(record: Record, query: SourceQuery, attempt: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{record.document['id']} {attempt} {query.input}"))


def _execution(record: Record, query: SourceQuery, where: str, now: float) -> Record:
    """As StartQueryExecution would record it, but for the form of its answer."""
    name, row = _name(record, query, int(record.document["attempt"])), KINDS[queries.QUERY]
    request = {
        "QueryString": query.sql,
        "QueryExecutionContext": {"Database": query.database, "Catalog": datasets.CATALOG},
        "ResultConfiguration": {"OutputLocation": where},
    }
    document = {
        "request": request,
        "sql": query.sql,
        "by": spec_of(record).role,
        "form": query.form,
        "compression": query.compression,
    }
    tail = f"{row.tail}{row.separator}{name}"
    made = arn(row.service, record.scope.region, record.scope.account, tail)
    return Record(queries.QUERY, record.scope, name, made, queries.QUEUED, now, now, document)


def _spec(query: SourceQuery, url: str) -> str:
    return json.dumps(
        {
            "url": url,
            "sql": query.sql,
            "form": query.form,
            "compression": query.compression,
            "folder": f"{_WORK}/files",
            "report": f"{_WORK}/report.json",
        }
    )
