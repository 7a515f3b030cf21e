"""A walk through lineage, nearest first, that ends whatever the graph looks like."""

from __future__ import annotations

import datetime
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clary.domain.lineage.entities import LINEAGE_TYPES, type_of
from clary.domain.resources import Record

DEEPEST = 10
MOST = 2000  # vertices of a walk


@dataclass(frozen=True, slots=True)
class Edge:
    source: str  # ARNs
    destination: str
    type: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """`vertices` without those that the walk began at, nearest first; `edges` that it went along."""

    vertices: tuple[str, ...]
    edges: tuple[Edge, ...]


async def walk(begin: Sequence[str], neighbours: Callable[[str], Awaitable[Sequence[Edge]]], depth: int) -> Found:
    """Every vertex within `depth` edges, at most MOST of them, each once."""
    seen = dict.fromkeys(begin)
    edges: dict[Edge, None] = {}
    level = list(seen)
    for _ in range(depth):
        following: list[str] = []
        for arn in level:
            for edge in await neighbours(arn):
                if len(seen) >= MOST:
                    break
                edges[edge] = None
                other = edge.destination if edge.source == arn else edge.source
                if other not in seen:
                    seen[other] = None
                    following.append(other)
        level = following
    return Found(tuple(arn for arn in seen if arn not in begin), tuple(edges))


def wanted(record: Record, filters: Mapping[str, Any]) -> bool:
    """QueryFilters."""
    if filters.get("Types") and type_of(record) not in filters["Types"]:
        return False
    if filters.get("LineageTypes") and LINEAGE_TYPES[record.kind] not in filters["LineageTypes"]:
        return False
    for name, at in (("Created", record.created), ("Modified", record.modified)):
        after, before = _seconds(filters.get(f"{name}After")), _seconds(filters.get(f"{name}Before"))
        if (after is not None and at <= after) or (before is not None and at >= before):
            return False
    properties = record.document.get("request", {}).get("Properties") or {}
    return all(properties.get(key) == value for key, value in (filters.get("Properties") or {}).items())


def _seconds(moment: Any) -> float | None:
    return moment.timestamp() if isinstance(moment, datetime.datetime) else moment
