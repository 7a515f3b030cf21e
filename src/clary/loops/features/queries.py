"""Runs queries over the offline stores: DuckDB in a sandbox of the query's own, over hard links of the files in S3, without a network.

`QuerySubject` plugs into `loop.Loop`; the work lies in `Tasks`, and a query that is killed in the middle is asked again: it only reads.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clary.domain.decisions import Decision
from clary.domain.errors import AlreadyExists, Invalid, NotFound, Unavailable
from clary.domain.features import queries
from clary.domain.features.queries import Answered, Ask, CreateTable, DropTable, QueryCommand, SourceTable
from clary.domain.ids import arn
from clary.domain.machine.workload import Mount, MountMode, Workload
from clary.domain.resources import KINDS, Query, Record
from clary.domain.s3 import parse_uri
from clary.loops.core import untrusted
from clary.loops.core.sandboxes import short_workload
from clary.loops.core.short_runs import end, how, run_to_end
from clary.loops.core.tasks import Done, Failed, Running, Tasks
from clary.loops.features.offline import environment_of
from clary.ports import Artifacts, Backend, Clock, Environment, Runtimes, Store

_WORK = "/opt/clary/work"
_DATA = "/opt/clary/data"
_MEMORY = 4 << 30
_DUCKDB = 2 << 30  # of it, beyond which DuckDB spills
_SECONDS = 1800.0
_END_SECONDS = 30.0
_MANY = 100_000
_REPORT = 4 << 20


@dataclass(frozen=True, slots=True)
class QueryPorts:
    store: Store
    backend: Backend[Any]
    artifacts: Artifacts
    runtimes: Runtimes
    clock: Clock


class QuerySubject:
    """`loop.Subject` of queries. `folder` is where they are laid out."""

    kind = queries.QUERY
    statuses = queries.ACTIVE

    def __init__(self, ports: QueryPorts, folder: str) -> None:
        self._ports = ports
        self._folder = Path(folder)
        self.tasks = Tasks()

    async def observe(self, record: Record) -> Answered | None:
        match self.tasks.state(record.arn):
            case Running():
                return Answered()
            case Done(result):
                return result  # type: ignore[no-any-return]
            case Failed(message):
                return Answered(failure=message)
        return None

    def decide(self, record: Record, observation: Answered | None, now: float) -> Decision[QueryCommand]:
        return queries.decide(record, observation, now)

    async def run(self, command: QueryCommand, record: Record) -> None:
        if isinstance(command, Ask):
            self.tasks.start(record.arn, lambda: self._answer(record), record.arn)
        else:
            self.tasks.forget(record.arn)

    def absorb(self, record: Record, outcomes: Sequence[tuple[QueryCommand, Any]]) -> Record:
        return record

    # -- the work ---------------------------------------------------------------------------------------------------------------

    async def _answer(self, record: Record) -> Answered:
        request, sql = record.document["request"], record.document["sql"]
        match queries.statement_of(sql, queries.database_of(request)):
            case CreateTable(table):
                await self._create(record, table)
                return Answered(columns=())
            case DropTable(database, name, lenient):
                await self._drop(record, database, name, lenient)
                return Answered(columns=())
        return await self._select(record, sql)

    async def _create(self, record: Record, table: SourceTable) -> None:
        row = KINDS[queries.TABLE]
        name, now = queries.record_name(table.database, table.name), self._ports.clock.now()
        where = arn(row.service, record.scope.region, record.scope.account, f"{row.tail}{row.separator}{name}")
        document = {**queries.table_document(table), "query": record.arn}
        made = Record(queries.TABLE, record.scope, name, where, "", now, now, document)
        try:
            await self._ports.store.add(made)
        except AlreadyExists:
            there = await self._ports.store.get(queries.TABLE, record.scope, name)
            if (
                there is None or there.document.get("query") != record.arn
            ):  # else this query was killed after it had made the table
                raise Invalid(f"AlreadyExistsException: table {name} already exists.") from None

    async def _drop(self, record: Record, database: str, name: str, lenient: bool) -> None:
        there = await self._ports.store.get(queries.TABLE, record.scope, queries.record_name(database, name))
        if there is not None:
            await self._ports.store.remove(there)
        elif not lenient:
            raise Invalid(f"TABLE_NOT_FOUND: there is no external table {database}.{name}.")

    async def _tables(self, record: Record, sql: str) -> list[SourceTable]:
        found: list[SourceTable | None] = []
        for kind, table_of in queries.TABLES.items():
            page = await self._ports.store.page(Query(kind, record.scope, limit=_MANY))
            found += [table_of(each) for each in page]
        return queries.named_in(sql, [each for each in found if each is not None])

    async def _select(self, record: Record, sql: str) -> Answered:
        folder = self._folder / record.name
        environment = await environment_of(self._ports.runtimes)
        workload = _workload(record.name, folder, environment)
        await end(self._ports.backend, workload.key, _END_SECONDS)
        try:
            scanned = await self._lay_out(record, sql, folder)
            ended = await run_to_end(self._ports.backend, workload)
            if ended.exit_code != 0:
                raise Unavailable(
                    f"The query {how(ended)}.{' It needs more memory than it may use.' if ended.oom_killed else ''}"
                )
            text = await asyncio.to_thread(untrusted.read_text, str(folder / "work"), "report.json", _REPORT)
            report = json.loads(text)
            if report.get("error"):
                return Answered(failure=str(report["error"]), scanned=scanned)
            output = parse_uri(record.document["request"]["ResultConfiguration"]["OutputLocation"])
            artifacts = self._ports.artifacts.of(record.scope.account)
            staged = str(folder / "answer.csv")
            await asyncio.to_thread(untrusted.copy, str(folder / "work"), "answer.csv", staged)
            await artifacts.store_file(staged, output.bucket, output.key, "text/csv", move=True)
            return Answered(columns=tuple((str(name), str(kind)) for name, kind in report["columns"]), scanned=scanned)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, True)

    async def _lay_out(self, record: Record, sql: str, folder: Path) -> int:
        """The tables' files and the spec; answers the files' size in bytes."""
        await asyncio.to_thread(shutil.rmtree, folder, True)
        work = folder / "work"
        await asyncio.to_thread(work.mkdir, 0o700, True)
        (folder / "data").mkdir()
        artifacts = self._ports.artifacts.of(record.scope.account)
        tables, scanned = [], 0
        for number, table in enumerate(await self._tables(record, sql)):
            names, size = await _files(artifacts, table, str(folder / "data" / str(number)))
            scanned += size
            files = [f"{_DATA}/{number}/{name}" for name in names]
            tables.append(
                {
                    "database": table.database,
                    "name": table.name,
                    "form": table.form,
                    "files": files,
                    "columns": [list(each) for each in table.columns],
                    **table.options,
                }
            )
        spec = {
            "sql": sql,
            "database": queries.database_of(record.document["request"]),
            "tables": tables,
            "output": f"{_WORK}/answer.csv",
            "report": f"{_WORK}/report.json",
            "folders": [_DATA, _WORK],
            "memory": _DUCKDB,
            "spill": f"{_WORK}/spill",
        }
        await asyncio.to_thread((work / "spec.json").write_text, json.dumps(spec))
        return scanned


async def _files(artifacts: Artifacts, table: SourceTable, folder: str) -> tuple[list[str], int]:
    """The table's files below `folder`, as names relative to it, and their bytes."""
    prefix = table.location.key.rstrip("/") + "/"
    try:
        found = await artifacts.find(table.location.bucket, prefix)
    except NotFound as error:
        raise Invalid(f"Table {table.database}.{table.name} cannot be read: {error.message}") from None
    wanted = [each for each in found if each.size and not each.key.endswith("/")]
    if table.form == "parquet":
        wanted = [each for each in wanted if each.key.endswith(".parquet")]
    names = {each.key: each.key.removeprefix(prefix) for each in wanted}
    if names:
        await artifacts.place(table.location.bucket, names, folder)
    return sorted(names.values()), sum(each.size for each in wanted)


def _workload(name: str, folder: Path, environment: Environment) -> Workload:
    mounts = (
        Mount(str(folder / "work"), _WORK, MountMode.READ_WRITE),
        Mount(str(folder / "data"), _DATA, MountMode.READ_ONLY),
    )
    run, log, spec = str(folder / "run"), str(folder / "log"), f"{_WORK}/spec.json"
    workload = short_workload(f"query-{name}", run, "query", spec, environment, mounts, log, _MEMORY, _SECONDS)
    return replace(workload, cpu=2.0, environment={**workload.environment, "HOME": _WORK})


def attach(subject: QuerySubject, wake: Callable[[str], None], store: Store) -> None:
    """Wake a query whose work has ended; end the work of one that was cancelled."""
    subject.tasks.watch(wake)

    def changed(record: Record) -> None:
        if record.kind == queries.QUERY and record.status == queries.CANCELLED:
            subject.tasks.forget(record.arn)

    store.watch(changed)
