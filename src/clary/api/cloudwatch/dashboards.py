"""CloudWatch's dashboards: records of an account, in all its regions. Clary does not draw them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from clary.api import paging, records, tagging
from clary.api.call import Call, Params
from clary.api.errors import ApiError
from clary.api.registry import operation
from clary.domain.errors import Invalid, InvalidValue, NotFound
from clary.domain.metrics.dashboards import KIND, NAME, problems, words
from clary.domain.resources import Query, Record
from clary.guarded import MADE_OR_CHANGED, until_first

PAGE = 1000
MOST_DELETED = 100


@operation("cloudwatch", "PutDashboard")
async def put_dashboard(call: Call, params: Params) -> Params:
    """Make or replace a dashboard; tags apply to a new one only."""
    name, body = params["DashboardName"], params["DashboardBody"]
    if not NAME.fullmatch(name):
        raise InvalidValue(
            f"The value {name[:255]} for field DashboardName is invalid: it must be 1 to 255 letters, digits, '-' and '_'."
        )
    found = problems(body)
    if found:
        told = [{"DataPath": problem.path, "Message": problem.message} for problem in found]
        raise ApiError("InvalidParameterInput", words(found), members={"dashboardValidationMessages": told})
    document = {"request": {"DashboardName": name, "DashboardBody": body}}

    async def attempt() -> None:
        known = await call.store.get(KIND, call.scope_of(KIND), name)
        if known is None:
            tags = tagging.checked(params.get("Tags"))
            await call.store.add(records.new(call, KIND, name, {**document, "tags": tags}))
        else:
            await call.store.save(replace(known, modified=call.now, document={**known.document, **document}))

    await until_first(attempt, f"Dashboard {name}", MADE_OR_CHANGED)
    return {"DashboardValidationMessages": []}


@operation("cloudwatch", "GetDashboard")
async def get_dashboard(call: Call, params: Params) -> Params:
    """A dashboard's body, unchanged."""
    record = await call.store.get(KIND, call.scope_of(KIND), params["DashboardName"])
    if record is None:
        raise NotFound(f"Dashboard {params['DashboardName']} does not exist")
    return {"DashboardArn": call.shown(record.arn), "DashboardName": record.name, "DashboardBody": _body(record)}


@operation("cloudwatch", "ListDashboards")
async def list_dashboards(call: Call, params: Params) -> Params:
    """Dashboards by name, optionally those with a prefix, in pages of 1000."""
    prefix = params.get("DashboardNamePrefix", "")
    try:
        after = paging.resume(call, params)
    except Invalid as error:
        raise ApiError("InvalidParameterValue", error.message) from None
    entries: list[Params] = []
    while True:
        query = Query(KIND, call.scope_of(KIND), prefix, sort_by="name", descending=False, limit=PAGE, after=after)
        found = await call.store.page(query)
        for record in found:
            if len(entries) == PAGE and record.name.startswith(prefix):
                last = str(entries[-1]["DashboardName"])
                return {"DashboardEntries": entries, "NextToken": paging.token(call, params, (last, last))}
            if record.name.startswith(prefix):
                entries.append(_entry(call, record))
        if len(found) < PAGE:
            return {"DashboardEntries": entries}
        after = paging.position(found[-1], "name")


@operation("cloudwatch", "DeleteDashboards")
async def delete_dashboards(call: Call, params: Params) -> Params:
    """Delete these dashboards; if one does not exist, the answer is an error, after the others are deleted."""
    names = list(dict.fromkeys(params["DashboardNames"]))
    if not names:
        raise InvalidValue("DashboardNames is empty: name at least one dashboard.")
    if len(names) > MOST_DELETED:
        raise Invalid(f"{MOST_DELETED} dashboards can be deleted in one call; these are {len(names)}.")
    missing = []
    for name in names:
        try:
            await records.drop(call, KIND, name)
        except NotFound:
            missing.append(name)
    if missing:
        raise ApiError("ResourceNotFound", f"Dashboards do not exist: {', '.join(missing)}", 404)
    return {}


def _body(record: Record) -> str:
    return str(record.document["request"]["DashboardBody"])


def _entry(call: Call, record: Record) -> Params:
    return {
        "DashboardName": record.name,
        "DashboardArn": call.shown(record.arn),
        "LastModified": datetime.fromtimestamp(record.modified, UTC),
        "Size": len(_body(record).encode()),
    }
