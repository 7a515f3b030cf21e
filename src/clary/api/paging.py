"""Lists: AWS's common filters and sorts as a `Query`, and NextTokens that are opaque, tamper-evident and bound to the filters
they were made with. Owns the token's form; knows no kind of record.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from clary.api.call import Call, Params
from clary.domain.errors import Invalid
from clary.domain.resources import Query, Record

After = tuple[float | str, str]
T = TypeVar("T")

_SORTS: Mapping[str, str] = {
    "Name": "name",
    "CreationTime": "created",
    "LastModifiedTime": "modified",
    "Status": "status",
}
_MAC = 16


def _seal(call: Call, params: Params, body: bytes) -> bytes:
    """A code over the position and everything it belongs to: operation, account, region, filters, order."""
    bound = {k: v for k, v in params.items() if k not in ("NextToken", "MaxResults")}
    where = [call.service, call.operation, call.scope.account, call.scope.region, bound]
    text = json.dumps(where, sort_keys=True, default=str).encode()
    return hmac.digest(call.settings.page_key, hashlib.sha256(text).digest() + body, "sha256")[:_MAC]


def token(call: Call, params: Params, after: After) -> str:
    """The NextToken of a page that ended at `after` (sort value, name)."""
    body = json.dumps(after).encode()
    return base64.urlsafe_b64encode(_seal(call, params, body) + body).decode()


def resume(call: Call, params: Params) -> After | None:
    """Where the page before ended. None: the first page. Invalid: not our token, or one of another list."""
    given = params.get("NextToken")
    if not given:
        return None
    try:
        raw = base64.urlsafe_b64decode(given.encode())
    except ValueError:
        raw = b""
    if base64.urlsafe_b64encode(raw).decode() != given:  # base64 has several spellings of the same bytes; ours has one
        raw = b""
    mac, body = raw[:_MAC], raw[_MAC:]
    if not body or not hmac.compare_digest(mac, _seal(call, params, body)):
        raise Invalid("Invalid NextToken: it is altered, or was made by a request with other filters.")
    value, name = json.loads(body)
    return value, name


def position(record: Record, sort_by: str) -> After:
    """(sort value, name) of a record, the order in which stores list."""
    value: float | str = getattr(record, sort_by)
    return value, record.name


def query(call: Call, params: Params, kind: str, *, sort: str = "CreationTime", order: str = "Descending") -> Query:
    """SageMaker's common list parameters as a Query. `sort` and `order` are the list's defaults, which the operation's page in
    AWS's reference tells: they differ."""
    statuses = (params["StatusEquals"],) if params.get("StatusEquals") else ()
    return Query(
        kind=kind,
        scope=call.scope_of(kind),
        name_contains=params.get("NameContains", ""),
        created_after=seconds(params.get("CreationTimeAfter")),
        created_before=seconds(params.get("CreationTimeBefore")),
        modified_after=seconds(params.get("LastModifiedTimeAfter")),
        modified_before=seconds(params.get("LastModifiedTimeBefore")),
        statuses=statuses,
        sort_by=_SORTS[params.get("SortBy", sort)],
        descending=params.get("SortOrder", order) == "Descending",
        limit=params.get("MaxResults", 10),
        after=resume(call, params),
    )


def seconds(moment: datetime.datetime | float | None) -> float | None:
    """Epoch seconds, as records keep times; `wire` hands timestamps on as datetimes."""
    return moment.timestamp() if isinstance(moment, datetime.datetime) else moment


def part(call: Call, params: Params, items: Sequence[T], size: int = 10) -> tuple[Sequence[T], dict[str, Any]]:
    """A page of what is no list of records, in the order given; `size` where MaxResults is not."""
    after = resume(call, params)
    begin = 0 if after is None else int(after[0])
    end = begin + int(params.get("MaxResults", size))
    return items[begin:end], {} if end >= len(items) else {"NextToken": token(call, params, (float(end), ""))}


async def page(
    call: Call, params: Params, wanted: Query, keep: Callable[[Record], bool] | None = None
) -> tuple[list[Record], dict[str, Any]]:
    """The records of one page, and `{"NextToken": ...}` when there are more (else `{}`). `keep` is a filter that stores do not have."""
    more, found = replace(wanted, limit=wanted.limit + 1), list[Record]()
    while True:
        records = await call.store.page(more)
        found += records if keep is None else filter(keep, records)
        if len(found) > wanted.limit or len(records) < more.limit:
            break
        more = replace(more, after=position(records[-1], wanted.sort_by))
    if len(found) <= wanted.limit:
        return found, {}
    found = found[: wanted.limit]
    return found, {"NextToken": token(call, params, position(found[-1], wanted.sort_by))}
