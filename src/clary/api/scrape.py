"""`/metrics`: who may read it, and what stands there. The text itself is `domain/exposition.py`; HTTP is `app/metrics_page.py`."""

from __future__ import annotations

import asyncio
import base64
import binascii

from clary.api.call import Ports
from clary.domain import exposition
from clary.domain.counts import Count
from clary.domain.datapoints import Series, Summary
from clary.domain.openmetrics import Family, render
from clary.domain.resources import Scope
from clary.domain.scrape_tokens import key_id_of, same, token_of
from clary.ports import Credential, Keys

MINUTE = 60
MOST_SERIES = 2000  # of CloudWatch's in one answer


def reader(keys: Keys, authorization: str) -> Credential | None:
    """Whose metrics may be read with this Authorization header: a bearer token, or a key pair as Basic. None: nobody's."""
    scheme, _, text = authorization.partition(" ")
    text = text.strip()
    if scheme.lower() == "bearer":
        credential = keys.find(key_id_of(text))
        wanted = "" if credential is None else token_of(credential.access_key_id, credential.secret)
        return credential if wanted and same(text, wanted) else None
    if scheme.lower() == "basic":
        try:
            name, colon, secret = base64.b64decode(text, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        credential = keys.find(name) if colon else None
        return credential if credential is not None and same(secret, credential.secret) else None
    return None


async def page(ports: Ports, account: str, now: float) -> str:
    """All metrics of an account, as OpenMetrics."""
    count = await ports.fronts.counts()
    return await asyncio.to_thread(_page, ports, account, now, count)


def _page(ports: Ports, account: str, now: float, count: Count) -> str:
    """In a thread: thousands of series take a while, and the event loop has others to answer."""
    rows, left_out = _rows(ports, account, now)
    complete = Family("clary_fronts_complete", "gauge", "1 when every front answered this scrape.")
    complete.add((), int(count.complete))
    left = Family("clary_metrics_left_out", "gauge", f"Series beyond the {MOST_SERIES} that one answer has.")
    left.add((), left_out)
    own = [row for row in count.variants if row.account == account]
    return render([complete, left, *exposition.of_fronts(own), *exposition.of_metrics(rows)])


def _rows(ports: Ports, account: str, now: float) -> tuple[list[tuple[str, Series, Summary]], int]:
    """The last whole minute of every series that had something in it, and how many series were not looked at."""
    start = now // MINUTE * MINUTE - MINUTE
    wanted = [
        (Scope(account, region), series)
        for region in ports.datapoints.regions(account)
        for series in ports.datapoints.find(Scope(account, region), since=start)
        if not exposition.told_by_fronts(series)
    ]
    found = []
    for scope, series in wanted[:MOST_SERIES]:
        for _, summary in ports.datapoints.get(scope, series, start, start + MINUTE, MINUTE):
            found.append((scope.region, series, summary))
    return found, max(0, len(wanted) - MOST_SERIES)
