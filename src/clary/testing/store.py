"""The record store in memory: the same answers as the SQL one (it passes the same conformance class), nothing kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace

from clary.domain.conditions import holds
from clary.domain.errors import AlreadyExists, Stale
from clary.domain.grants import Grant, GrantChange, Granted
from clary.domain.resources import Lease, Query, Record, Scope

Key = tuple[str, str, str, str]


def _key(record: Record) -> Key:
    return record.kind, record.scope.account, record.scope.region, record.name


def _copy(record: Record, version: int) -> Record:
    """As if it went through the database: JSON values only, nothing shared with the caller."""
    return replace(record, document=json.loads(json.dumps(record.document)), version=version)


class MemoryStore:
    """Implements `ports.Store` and `ports.Grants`."""

    def __init__(self) -> None:
        self._records: dict[Key, Record] = {}
        self._made: dict[str, Key] = {}
        self._alone: dict[Key, Key] = {}
        self._leases: dict[Key, tuple[str, float]] = {}
        self._listeners: list[Callable[[Record], None]] = []
        self._stores = [self]  # those on the same records
        self._machines: dict[str, int] = {}
        self._grants: dict[str, Grant] = {}
        self._grant_listeners: list[Callable[[GrantChange], None]] = []

    def beside(self) -> MemoryStore:
        """A second store on the same records, as another control plane has it: each hears what the other writes."""
        other = MemoryStore()
        other._records, other._made, other._leases = self._records, self._made, self._leases
        other._alone = self._alone
        other._machines, other._grants = self._machines, self._grants
        other._stores = self._stores
        self._stores.append(other)
        return other

    def copy(self) -> MemoryStore:
        """Another store with the same records, which nobody watches."""
        other = MemoryStore()
        other._records = dict(self._records)
        other._machines, other._grants = dict(self._machines), dict(self._grants)
        return other

    async def get(self, kind: str, scope: Scope, name: str) -> Record | None:
        return self._records.get((kind, scope.account, scope.region, name))

    async def by_arn(self, arn: str) -> Record | None:
        return next((r for r in self._records.values() if r.arn == arn), None)

    async def made(self, by: str) -> Record | None:
        return self._records.get(self._made[by]) if by in self._made else None

    async def add(self, record: Record, made_by: str = "", alone: str = "") -> Record:
        key = _key(record)
        value = (*key[:3], alone)
        if (
            (alone and value in self._alone)
            or key in self._records
            or any(r.arn == record.arn for r in self._records.values())
        ):
            raise AlreadyExists(f"{record.kind} {record.name} exists")
        if made_by:
            self._made[made_by] = key
        if alone:
            self._alone[value] = key
        return self._put(_copy(record, 1))

    async def save(self, record: Record, lease: Lease | None = None, change: GrantChange | None = None) -> Record:
        self._guard(record, lease)
        if change is not None:
            await self.write(change)
        return self._put(_copy(record, record.version + 1))

    async def remove(self, record: Record, lease: Lease | None = None) -> None:
        self._guard(record, lease)
        del self._records[_key(record)]
        for by in [by for by, key in self._made.items() if key == _key(record)]:
            del self._made[by]
        for value in [value for value, holder in self._alone.items() if holder == _key(record)]:
            del self._alone[value]
        self._leases.pop(_key(record), None)
        self._tell(replace(record, version=record.version + 1))

    async def page(self, query: Query) -> list[Record]:
        records = self._matching(query)
        records.sort(key=lambda r: (getattr(r, query.sort_by), r.name), reverse=query.descending)
        if query.after is not None:
            end = tuple(query.after)
            records = [
                r
                for r in records
                if ((getattr(r, query.sort_by), r.name) < end) is query.descending
                and (getattr(r, query.sort_by), r.name) != end
            ]
        return records[: query.limit]

    async def count(self, query: Query) -> int:
        return len(self._matching(query))

    async def scopes(self, kind: str) -> list[Scope]:
        found = {(r.scope.account, r.scope.region) for r in self._records.values() if r.kind == kind}
        return [Scope(*each) for each in sorted(found)]

    async def claim(
        self,
        kind: str,
        owner: str,
        now: float,
        lease_seconds: float,
        statuses: Sequence[str],
        limit: int,
        arns: Sequence[str] = (),
    ) -> list[Lease]:
        found: list[Lease] = []
        candidates = [(self._leases.get(key, ("", 0.0))[1], key) for key, r in self._records.items() if r.kind == kind]
        for _, key in sorted(candidates):
            record = self._records[key]
            holder, until = self._leases.get(key, ("", 0.0))
            if record.status not in statuses or (arns and record.arn not in arns):
                continue
            if holder not in ("", owner) and until > now:
                continue
            if len(found) < limit:
                self._leases[key] = (owner, now + lease_seconds)
                found.append(Lease(record, owner, now + lease_seconds))
        return found

    async def release(self, lease: Lease) -> None:
        key = _key(lease.record)
        if self._leases.get(key, ("", 0.0))[0] == lease.owner:
            del self._leases[key]

    def watch(self, listener: Callable[[Record], None]) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    async def granted(self, machine: str) -> Granted:
        found = (grant for grant in self._grants.values() if grant.machine == machine)
        grants = tuple(sorted(found, key=lambda grant: (grant.since, grant.key)))
        return Granted(machine, self._machines.get(machine, 0), grants)

    async def write(self, change: GrantChange) -> None:
        version = self._machines.get(change.machine, 0)
        if change.take and version != change.version:
            raise Stale(f"what was given of the machine {change.machine} changed since it was read")
        for key in change.release:
            gone = self._grants.pop(key, None)
            if gone is not None and gone.machine in self._machines:
                self._machines[gone.machine] += 1
        for grant in change.take:
            before = self._grants.get(grant.key)
            self._grants[grant.key] = replace(grant, version=before.version + 1 if before else 1)
        if change.take:
            self._machines[change.machine] = self._machines.get(change.machine, 0) + 1
        for listener in list(self._grant_listeners):
            listener(change)

    def watch_grants(self, listener: Callable[[GrantChange], None]) -> Callable[[], None]:
        self._grant_listeners.append(listener)
        return lambda: self._grant_listeners.remove(listener) if listener in self._grant_listeners else None

    async def close(self) -> None:
        self._listeners.clear()
        self._grant_listeners.clear()
        self._stores.remove(self)

    def _guard(self, record: Record, lease: Lease | None) -> None:
        stored = self._records.get(_key(record))
        if stored is None or stored.version != record.version:
            raise Stale(f"{record.arn} changed since it was read")
        if lease is not None and self._leases.get(_key(record), ("", 0.0))[0] != lease.owner:
            raise Stale(f"the lease on {record.arn} is gone")

    def _put(self, record: Record) -> Record:
        self._records[_key(record)] = record
        self._tell(record)
        return record

    def _tell(self, record: Record) -> None:
        self._hear(record)
        for other in self._stores:
            if other is not self:
                asyncio.get_running_loop().call_soon(other._hear, record)

    def _hear(self, record: Record) -> None:
        for listener in list(self._listeners):
            listener(record)

    def _matching(self, query: Query) -> list[Record]:
        return [r for r in self._records.values() if _matches(r, query)]


def _matches(record: Record, query: Query) -> bool:
    def within(value: float, after: float | None, before: float | None) -> bool:
        return (after is None or value > after) and (before is None or value < before)

    return (
        record.kind == query.kind
        and record.scope == query.scope
        and query.name_contains.lower() in record.name.lower()
        and within(record.created, query.created_after, query.created_before)
        and within(record.modified, query.modified_after, query.modified_before)
        and (not query.statuses or record.status in query.statuses)
        and all(record.document.get(k) == v for k, v in query.where.items())
        and (query.condition is None or holds(query.condition, record, json.dumps(record.document)))
    )
