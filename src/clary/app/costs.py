"""What jobs and endpoints cost: the room that counts it, and `GET /costs`, which tells an account's own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from dataclasses import replace
from typing import Any

from clary.app.given import Given
from clary.app.keyed_page import Application, KeyedPage
from clary.domain.costs import kept, report
from clary.domain.costs.jobs import of_job
from clary.domain.costs.report import Prices
from clary.domain.costs.use import UseRow
from clary.domain.errors import Invalid
from clary.domain.jobs.kinds import JOB_KINDS
from clary.domain.jobs.record import ACTIVE
from clary.domain.lifecycle import JobStatus
from clary.domain.resources import Query, Record, Scope
from clary.loops.costs.meter import Meter
from clary.pages import pages
from clary.ports import Clock, Keys, Store

_PAGE = 1000
_ANY = Scope("", "")  # replaced by each of the account's
_ENDED = tuple(str(status) for status in JobStatus if status not in ACTIVE)


def room(given: Given) -> Iterable[Coroutine[Any, Any, None]]:
    """The meter."""
    return (Meter(given.ports.store, given.ledger, given.ports.clock).run(),)


class CostsPage(KeyedPage):
    """Asked by `by` (what rows are grouped by: `domain/costs/report.py`) and `since` (epoch seconds)."""

    def __init__(self, application: Application, store: Store, keys: Keys, clock: Clock, prices: Prices | None) -> None:
        async def render(account: str, asked: Mapping[str, str]) -> str:
            by, since = report.check_group(asked.get("by", "name")), _seconds(asked.get("since", "0"))
            told = [row async for row in rows(store, account, since, clock.now())]
            return json.dumps(report.report(told, by, since, prices)) + "\n"

        super().__init__(application, keys, report.PATH, "application/json", render)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e11:
        raise Invalid(f"since takes epoch seconds, not {text!r}")
    return seconds


async def rows(store: Store, account: str, since: float, now: float) -> AsyncIterator[UseRow]:
    """What an account's jobs and endpoints used, of all regions: jobs as they stand, replicas and deleted jobs as it was kept. Jobs that
    did not change since are passed over."""
    day = since // kept.DAY * kept.DAY - 1.0
    for kind in JOB_KINDS:
        for statuses, after in ((ACTIVE, None), (_ENDED, day)):
            async for record in _all(store, Query(kind, _ANY, statuses=statuses, modified_after=after), account):
                row = of_job(record, now)
                if row is not None:
                    yield row
    async for record in _all(store, Query(kept.KIND, _ANY, modified_after=day), account):
        for row in kept.rows(record):
            yield row


async def _all(store: Store, query: Query, account: str) -> AsyncIterator[Record]:
    """Every record that it finds, in all regions of the account."""
    for scope in await store.scopes(query.kind):
        if scope.account != account:
            continue
        query = replace(query, scope=scope, sort_by="name", descending=False, limit=_PAGE, after=None)
        async for page in pages(store, query):
            for record in page:
                yield record
