"""Records of what was used: of the replicas of an endpoint by the day, and of a job that was deleted. Pure.

The document: `of` (kind, as users know it, and name), `tags`, `days` (UTC date -> Use), and of replicas `until`: all that their machine
gave before that moment is counted. `counted` takes pieces of time in, and passes over what is counted already: a piece that is told
twice (by two control planes, or again after a crash) counts once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from clary.domain.costs.use import Use, UseRow, given
from clary.domain.grants import Grant
from clary.domain.ids import arn as make_arn
from clary.domain.resources import Record, Scope

KIND = "used"
DAY = 86_400.0
KEPT_DAYS = 400  # of one record
_NOUNS = {"transform fleet": "transform job"}


@dataclass(frozen=True, slots=True)
class Piece:
    """A size that was given from one moment to another (epoch seconds)."""

    begin: float
    end: float
    cpu: float
    memory: int
    gpus: int


def piece(grant: Grant, begin: float, end: float) -> Piece:
    """What a grant gave meanwhile."""
    return Piece(begin, end, grant.cpu, grant.memory, grant.gpus)


def of_replicas(grant: Grant) -> Record:
    """A new record for all replicas of the endpoint that a grant is for, on the grant's machine."""
    mark = hashlib.sha256(f"{grant.arn}\n{grant.machine}".encode()).hexdigest()[:32]
    of = {"kind": _NOUNS.get(grant.kind, grant.kind), "name": grant.name}
    return _record(Scope(grant.account, grant.region), mark, {"of": of, "tags": {}, "days": {}}, grant.since)


def of_deleted(job_id: str, row: UseRow) -> Record:
    """What a job used that is deleted now."""
    of = {"kind": row.kind, "name": row.name}
    document = {"of": of, "tags": dict(row.tags), "at": row.at, "days": {_day(row.at): row.use.to_json()}}
    return _record(Scope(row.account, row.region), f"job-{job_id}", document, row.at)


def _record(scope: Scope, name: str, document: Mapping[str, Any], at: float) -> Record:
    return Record(
        KIND, scope, name, make_arn("clary", scope.region, scope.account, f"{KIND}/{name}"), "", at, at, document
    )


def counted(record: Record, pieces: Iterable[Piece], now: float, tags: Mapping[str, str] | None) -> Record:
    """The record with these pieces, of all replicas of its endpoint, up to `now`. `tags`: the endpoint's; None: it is gone, and its last
    ones stay."""
    document = record.document
    until = float(document.get("until", 0.0))
    days = {day: Use.from_json(stored) for day, stored in document["days"].items()}
    for each in pieces:
        begin = max(each.begin, until)
        while begin < min(each.end, now):
            end = min(each.end, now, (begin // DAY + 1) * DAY)
            day = _day(begin)
            days[day] = days.get(day, Use()).plus(given(end - begin, each.cpu, each.memory, each.gpus))
            begin = end
    kept = {day: days[day].to_json() for day in sorted(days)[-KEPT_DAYS:]}
    told = document["tags"] if tags is None else dict(tags)
    return replace(record, modified=now, document={**document, "days": kept, "until": max(until, now), "tags": told})


def rows(record: Record) -> Sequence[UseRow]:
    """What a record tells: a row for each day."""
    document, scope = record.document, record.scope
    of, tags = document["of"], document["tags"]
    return [
        UseRow(
            of["kind"],
            of["name"],
            scope.account,
            scope.region,
            float(document.get("at", _start(day))),
            Use.from_json(stored),
            tags,
        )
        for day, stored in document["days"].items()
    ]


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")


def _start(day: str) -> float:
    return datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
