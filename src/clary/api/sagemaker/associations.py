"""Associations between entities of lineage, and QueryLineage over them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from clary.api import paging, records
from clary.api.call import Call, Params
from clary.api.registry import operation
from clary.api.sagemaker.experiments import common
from clary.domain.conditions import Term
from clary.domain.errors import AlreadyExists, Invalid, NotFound
from clary.domain.lineage import entities, graph
from clary.domain.lineage.entities import ASSOCIATION, LINEAGE_TYPES
from clary.domain.lineage.graph import Edge, Found
from clary.domain.resources import Query, Record

_SORTED = {"SourceArn": "request", "DestinationArn": "request", "SourceType": "ends", "DestinationType": "ends"}
_READ = 500


async def _end(call: Call, arn: str) -> Record:
    """NotFound for what is not there, in this account and region, or cannot be an end."""
    parts = arn.rpartition(":")
    record = await call.store.by_arn(f"{parts[0]}:{parts[2].lower()}")
    if record is None or record.kind not in LINEAGE_TYPES or record.scope != call.scope:
        raise NotFound(f"Lineage entity {arn} does not exist.")
    return record


@operation("sagemaker", "AddAssociation")
async def add_association(call: Call, params: Params) -> Params:
    """Say that one entity led to another. One that would close a circle is refused."""
    source, destination = await _end(call, params["SourceArn"]), await _end(call, params["DestinationArn"])
    if source.arn == destination.arn or await _leads(call, destination.arn, source.arn):
        raise Invalid(f"An association from {source.arn} to {destination.arn} would make a circle.")
    document = entities.association_document(source, destination, params.get("AssociationType", ""), call.principal)
    name = entities.association_name(source.arn, destination.arn)
    ends = {"SourceArn": source.arn, "DestinationArn": destination.arn}
    try:
        await call.store.add(records.new(call, ASSOCIATION, name, document))
    except AlreadyExists:
        raise AlreadyExists(f"The association from {source.arn} to {destination.arn} already exists.") from None
    return ends


async def _leads(call: Call, from_: str, to: str) -> bool:
    found = await graph.walk([from_], lambda arn: neighbours(call, arn, "Descendants"), graph.DEEPEST)
    return any(to in (edge.source, edge.destination) for edge in found.edges)


@operation("sagemaker", "ListAssociations")
async def list_associations(call: Call, params: Params) -> Params:
    """Pages of associations: of either end, of types (of entities, or LineageTypes)."""
    names = ("SourceArn", "DestinationArn", "SourceType", "DestinationType", "AssociationType")
    terms = {name: params[name].lower() if name.endswith("Arn") else params[name] for name in names if params.get(name)}
    for name in ("SourceArn", "DestinationArn"):
        if name in terms:
            terms[name] = (await _end(call, params[name])).arn
    asked = {name: value for name, value in params.items() if name not in ("SortBy", "NextToken")}
    wanted = common(call, asked, ASSOCIATION, terms)
    if params.get("SortBy", "CreationTime") == "CreationTime":
        found, more = await paging.page(call, params, replace(wanted, after=paging.resume(call, params)))
        return {"AssociationSummaries": [_summary(record) for record in found], **more}
    return await _by_end(call, params, wanted)


async def _by_end(call: Call, params: Params, wanted: Query) -> Params:
    """In the order of an end: all that match are looked at."""
    place, name = _SORTED[params["SortBy"]], params["SortBy"]
    ranked = sorted(
        ((str(each.document[place].get(name, "")), each.name, each) for each in await _all(call, wanted)),
        key=lambda row: row[:2],
        reverse=wanted.descending,
    )
    after = paging.resume(call, params)
    if after is not None:
        end = (str(after[0]), after[1])
        ranked = [row for row in ranked if (row[:2] < end if wanted.descending else row[:2] > end)]
    page = ranked[: wanted.limit]
    more = {"NextToken": paging.token(call, params, page[-1][:2])} if len(ranked) > wanted.limit else {}
    return {"AssociationSummaries": [_summary(record) for _, _, record in page], **more}


async def _all(call: Call, query: Query) -> list[Record]:
    found: list[Record] = []
    query = replace(query, limit=_READ)
    while page := await call.store.page(query):
        found += page
        query = replace(query, after=paging.position(page[-1], query.sort_by))
        await asyncio.sleep(0)
    return found


def _summary(record: Record) -> Params:
    by = record.document.get("by")
    return {
        **record.document["request"],
        **record.document["ends"],
        "CreationTime": record.created,
        **({"CreatedBy": records.user_context(by)} if by else {}),
    }


@operation("sagemaker", "DeleteAssociation")
async def delete_association(call: Call, params: Params) -> Params:
    """Forget an association; its ends stay."""
    ends = [params["SourceArn"], params["DestinationArn"]]
    low = [f"{arn.rpartition(':')[0]}:{arn.rpartition(':')[2].lower()}" for arn in ends]
    record = await call.store.get(ASSOCIATION, call.scope, entities.association_name(*low))
    if record is None:
        raise NotFound(f"There is no association from {ends[0]} to {ends[1]}.")
    await records.drop(call, ASSOCIATION, record.name)
    return {"SourceArn": low[0], "DestinationArn": low[1]}


# -- QueryLineage -------------------------------------------------------------------------------------------------------------


async def neighbours(call: Call, arn: str, direction: str) -> list[Edge]:
    """The associations of an entity, in a direction or both."""
    found: list[Edge] = []
    for way, term in (("Ascendants", "DestinationArn"), ("Descendants", "SourceArn")):
        if direction in (way, "Both"):
            query = Query(ASSOCIATION, call.scope, condition=Term(term, arn), descending=False, limit=graph.MOST)
            found += [
                Edge(
                    record.document["request"]["SourceArn"],
                    record.document["request"]["DestinationArn"],
                    record.document["request"].get("AssociationType", ""),
                )
                for record in await call.store.page(query)
            ]
    return found


@operation("sagemaker", "QueryLineage")
async def query_lineage(call: Call, params: Params) -> Params:
    """What led to the entities, or came of them, nearest first."""
    if not params.get("StartArns"):
        raise Invalid("QueryLineage needs StartArns.")
    direction = params.get("Direction", "Both")
    begin = [(await _end(call, arn)).arn for arn in params["StartArns"]]
    depth = params.get("MaxDepth") or graph.DEEPEST
    found = await graph.walk(begin, lambda arn: neighbours(call, arn, direction), depth)
    vertices = [each for each in await _vertices(call, found) if graph.wanted(each, params.get("Filters") or {})]
    limit, offset = params.get("MaxResults") or 50, 0
    after = paging.resume(call, params)
    if after is not None:
        offset = int(after[0])
    page = vertices[offset : offset + limit]
    shown = [
        {"Arn": each.arn, "Type": entities.type_of(each), "LineageType": LINEAGE_TYPES[each.kind]} for each in page
    ]
    answer: Params = {
        "Vertices": shown,
        "Edges": _edges(found, begin, page) if params.get("IncludeEdges", True) else [],
    }
    if offset + limit < len(vertices):
        answer["NextToken"] = paging.token(call, params, (float(offset + limit), ""))
    return answer


async def _vertices(call: Call, found: Found) -> list[Record]:
    records_ = [await call.store.by_arn(arn) for arn in found.vertices]
    return [each for each in records_ if each is not None and each.kind in LINEAGE_TYPES]


def _edges(found: Found, begin: Sequence[str], page: Sequence[Record]) -> list[dict[str, Any]]:
    """Those between what is shown, and from where it began."""
    there = {*begin, *(each.arn for each in page)}
    return [
        {
            "SourceArn": edge.source,
            "DestinationArn": edge.destination,
            **({"AssociationType": edge.type} if edge.type else {}),
        }
        for edge in found.edges
        if edge.source in there and edge.destination in there
    ]
