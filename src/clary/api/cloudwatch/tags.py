"""Tags of alarms and dashboards, by ARN."""

from __future__ import annotations

from clary.api import tagging
from clary.api.call import Call, Params
from clary.api.registry import operation
from clary.domain.errors import NotFound
from clary.domain.ids import belongs, stored
from clary.domain.resources import Record

TAGGED = ("alarm", "dashboard")


async def _find(call: Call, arn: str) -> Record:
    whole = arn.count(":") >= 5 and belongs(arn, call.scope.region)
    record = await call.store.by_arn(stored(arn) if arn.split(":")[3] == "" else arn) if whole else None
    if record is None or record.kind not in TAGGED or record.scope != call.scope_of(record.kind):
        raise NotFound(f"There is no alarm or dashboard {arn} in {call.scope.region}.")
    return record


@operation("cloudwatch", "TagResource")
async def tag_resource(call: Call, params: Params) -> Params:
    """Add or overwrite tags of an alarm or a dashboard."""
    await tagging.add(call, lambda: _find(call, params["ResourceARN"]), params["Tags"])
    return {}


@operation("cloudwatch", "UntagResource")
async def untag_resource(call: Call, params: Params) -> Params:
    """Remove tags of an alarm or a dashboard; keys that do not exist are ignored."""
    await tagging.remove(call, lambda: _find(call, params["ResourceARN"]), params["TagKeys"])
    return {}


@operation("cloudwatch", "ListTagsForResource")
async def list_tags_for_resource(call: Call, params: Params) -> Params:
    """The tags of an alarm or a dashboard."""
    record = await _find(call, params["ResourceARN"])
    return {"Tags": list(record.document.get("tags", []))}
