"""Tags of alarms and dashboards, by ARN."""

from __future__ import annotations

from clary.api import tagging
from clary.api.call import Call
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


tagging.register("cloudwatch", "ResourceARN", _find, "an alarm or a dashboard")
