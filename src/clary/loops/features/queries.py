"""Runs queries over the offline stores: DuckDB in a sandbox of the query's own, over hard links of the files in S3, without a network.

`QuerySubject` plugs into `loop.Loop`; the work lies in `Tasks`, and a query that is killed in the middle is asked again: it only reads.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from clary.domain.decisions import Decision
from clary.domain.errors import AlreadyExists, Invalid, NotFound, Unavailable
from clary.domain.features import queries
from clary.domain.features.queries import Answered, Ask, CreateTable, DropTable, QueryCommand, SourceTable
from clary.domain.ids import arn
from clary.domain.machine.workload import Environment, Files, MountMode, Objects, Result, Workload
from clary.domain.resources import KINDS, Query, Record
from clary.domain.s3 import parse_uri
from clary.loops.core.sandboxes import short_workload
from clary.loops.core.tasks import Done, Failed, Running, Tasks
from clary.loops.features.offline import environment_of
from clary.ports import Artifacts, LoopPorts, Store
from clary.short_runs import how, short_run

_WORK = "/opt/clary/work"
_DATA = "/opt/clary/data"
_MEMORY = 4 << 30
_DUCKDB = 2 << 30  # of it, beyond which DuckDB spills
_SECONDS = 1800.0
_MANY = 100_000
_REPORT = 4 << 20


class QuerySubject:
    """`loop.Subject` of queries."""

    kind = queries.QUERY
    statuses = queries.ACTIVE

    def __init__(self, ports: LoopPorts) -> None:
        self._ports = ports
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
        environment = await environment_of(self._ports.runtimes)
        sources = await self._tables(record, sql)
        tables, objects, scanned = await self._laid(record, sources)
        backend, workload = self._ports.backend, _workload(record, sql, environment, tables, objects)
        async with short_run(backend, workload) as ended:
            if ended.exit_code != 0:
                raise Unavailable(
                    f"The query {how(ended)}.{' It needs more memory than it may use.' if ended.oom_killed else ''}"
                )
            report = json.loads(await backend.read(workload.key, "work", "report.json", _REPORT))
            if report.get("error"):
                return Answered(failure=_by_location(str(report["error"]), sources), scanned=scanned)
            if not await backend.collect(workload.key):
                raise Unavailable("The query left no answer.")
        return Answered(columns=tuple((str(name), str(kind)) for name, kind in report["columns"]), scanned=scanned)

    async def _laid(
        self, record: Record, sources: Sequence[SourceTable]
    ) -> tuple[list[dict[str, Any]], list[Objects], int]:
        """The tables as the run is told of them, the objects that lie in its folder, and their size in bytes."""
        artifacts = self._ports.artifacts.of(record.scope.account)
        tables, objects, scanned = list[dict[str, Any]](), list[Objects](), 0
        for number, table in enumerate(sources):
            keys, size = await _keys(artifacts, table)
            scanned += size
            objects.append(Objects(record.scope.account, table.location.bucket, keys, str(number)))
            tables.append(
                {
                    "database": table.database,
                    "name": table.name,
                    "form": table.form,
                    "files": [f"{_DATA}/{number}/{name}" for name in sorted(keys.values())],
                    "columns": [list(each) for each in table.columns],
                    **table.options,
                }
            )
        return tables, objects, scanned


def _by_location(words: str, sources: Sequence[SourceTable]) -> str:
    """What the query says, with the objects' own names in the place of the paths that they have in its sandbox."""
    for number, table in enumerate(sources):
        words = words.replace(f"{_DATA}/{number}/", f"{str(table.location).rstrip('/')}/")
    return words


async def _keys(artifacts: Artifacts, table: SourceTable) -> tuple[dict[str, str], int]:
    """The table's objects, key -> name below its folder, and their bytes."""
    prefix = table.location.key.rstrip("/") + "/"
    try:
        found = await artifacts.find(table.location.bucket, prefix)
    except NotFound as error:
        raise Invalid(f"Table {table.database}.{table.name} cannot be read: {error.message}") from None
    wanted = [each for each in found if each.size and not each.key.endswith("/")]
    if table.form == "parquet":
        wanted = [each for each in wanted if each.key.endswith(".parquet")]
    return {each.key: each.key.removeprefix(prefix) for each in wanted}, sum(each.size for each in wanted)


def _workload(
    record: Record,
    sql: str,
    environment: Environment,
    tables: Sequence[Mapping[str, Any]],
    objects: Sequence[Objects],
) -> Workload:
    spec = {
        "sql": sql,
        "database": queries.database_of(record.document["request"]),
        "tables": tables,
        "output": f"{_WORK}/answer",
        "form": record.document.get("form", ""),
        "compression": record.document.get("compression", ""),
        "report": f"{_WORK}/report.json",
        "folders": [_DATA, _WORK],
        "memory": _DUCKDB,
        "spill": f"{_WORK}/spill",
    }
    files = (
        Files("work", _WORK, MountMode.READ_WRITE, {"spec.json": json.dumps(spec)}),
        Files("data", _DATA, objects=tuple(objects)),
    )
    output = parse_uri(record.document["request"]["ResultConfiguration"]["OutputLocation"])
    kind = "binary/octet-stream" if record.document.get("form") else "text/csv"
    answer = Result("work", "answer", record.scope.account, output, kind)
    told = f"{_WORK}/spec.json"
    workload = short_workload(
        f"query-{record.name}", "query", told, environment, files, _MEMORY, _SECONDS, results=(answer,)
    )
    return replace(workload, cpu=2.0, environment={**workload.environment, "HOME": _WORK})


def attach(subject: QuerySubject, wake: Callable[[str], None], store: Store) -> None:
    """Wake a query whose work has ended; end the work of one that was cancelled."""
    subject.tasks.watch(wake)

    def changed(record: Record) -> None:
        if record.kind == queries.QUERY and record.status == queries.CANCELLED:
            subject.tasks.forget(record.arn)

    store.watch(changed)
