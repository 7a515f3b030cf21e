"""The lineage group of an account: one, which is there from its first lineage entity on. Nothing is stored of it."""

from __future__ import annotations

from clary.api import paging
from clary.api.call import Call, Params
from clary.api.registry import operation
from clary.domain.errors import NotFound
from clary.domain.lineage.entities import GROUP
from clary.domain.resources import Query

_ENTITIES = ("artifact", "action", "context")


@operation("sagemaker", "DescribeLineageGroup")
async def describe_lineage_group(call: Call, params: Params) -> Params:
    """NotFound for any other name, and before anything was recorded."""
    created = await _created(call)
    if params.get("LineageGroupName") != GROUP or created is None:
        arn = call.arn("lineage-group", params.get("LineageGroupName") or "")
        raise NotFound(f'Could not find lineage group "{arn}". An account has one, {GROUP}, once it has lineage.')
    return _summary(call, created)


@operation("sagemaker", "ListLineageGroups")
async def list_lineage_groups(call: Call, params: Params) -> Params:
    """The one group, or none."""
    created = await _created(call)
    after, before = paging.seconds(params.get("CreatedAfter")), paging.seconds(params.get("CreatedBefore"))
    there = created is not None and (after is None or created > after) and (before is None or created < before)
    by = {"Name": "LineageGroupName"}.get(params.get("SortBy", ""), "CreationTime")
    found = [_summary(call, created)] if created is not None and there else []
    found.sort(key=lambda group: group[by], reverse=params.get("SortOrder") == "Descending")
    shown, more = paging.part(call, params, found)
    return {"LineageGroupSummaries": list(shown), **more}


async def _created(call: Call) -> float | None:
    """When the account's first entity was made."""
    found = []
    for kind in _ENTITIES:
        query = Query(kind, call.scope_of(kind), sort_by="created", descending=False, limit=1)
        found += [record.created for record in await call.store.page(query)]
    return min(found, default=None)


def _summary(call: Call, created: float) -> Params:
    arn = call.arn("lineage-group", GROUP)
    return {"LineageGroupArn": arn, "LineageGroupName": GROUP, "CreationTime": created, "LastModifiedTime": created}
