"""`/metrics`: its authentication and its content. The text itself is `domain/endpoints/exposition.py`; HTTP is `app/metrics_page.py`."""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging

from clary.api.call import Ports
from clary.domain.access.scrape_tokens import key_id_of, same, token_of
from clary.domain.endpoints import exposition
from clary.domain.metrics.counts import Count
from clary.domain.metrics.datapoints import Series, Summary
from clary.domain.metrics.openmetrics import Family, render
from clary.domain.resources import Scope
from clary.ports import Credential, Keys

log = logging.getLogger(__name__)

MINUTE = 60
SAY_AGAIN = 3600.0  # seconds between two lines of a log about what one account's answers leave out


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


class Exposition:
    """The page of each account. At most `most` series of CloudWatch's metrics are in one answer: those beyond are counted in it, and told
    in the log, once an hour for each account."""

    def __init__(self, ports: Ports, most: int) -> None:
        self._ports = ports
        self._most = most
        self._said: dict[str, float] = {}

    async def page(self, account: str, now: float) -> str:
        """All metrics of an account, as OpenMetrics."""
        count = await self._ports.fronts.counts()
        text, left_out = await asyncio.to_thread(_page, self._ports, account, now, count, self._most)
        self._say(account, left_out, now)
        return text

    def _say(self, account: str, left_out: int, now: float) -> None:
        if left_out and now - self._said.get(account, -SAY_AGAIN) >= SAY_AGAIN:
            self._said[account] = now
            log.warning(
                "/metrics of account %s leaves out %d series: an answer has at most %d (the setting metrics_series)",
                account,
                left_out,
                self._most,
            )


def _page(ports: Ports, account: str, now: float, count: Count, most: int) -> tuple[str, int]:
    """The text, and how many series were left out. In a thread: thousands take a while, and the event loop has others to answer."""
    rows, left_out = _rows(ports, account, now, most)
    complete = Family("clary_fronts_complete", "gauge", "1 when every front answered this scrape.")
    complete.add((), int(count.complete))
    left = Family("clary_metrics_left_out", "gauge", f"CloudWatch series beyond the {most} that one answer has.")
    left.add((), left_out)
    own = [row for row in count.variants if row.account == account]
    return render([complete, left, *exposition.of_fronts(own), *exposition.of_metrics(rows)]), left_out


def _rows(ports: Ports, account: str, now: float, most: int) -> tuple[list[tuple[str, Series, Summary]], int]:
    """The last whole minute of every series that had something in it, and how many series were not looked at."""
    start = now // MINUTE * MINUTE - MINUTE
    wanted = [
        (Scope(account, region), series)
        for region in ports.datapoints.regions(account)
        for series in ports.datapoints.find(Scope(account, region), since=start)
        if not exposition.told_by_fronts(series)
    ]
    found = []
    for scope, series in wanted[:most]:
        for _, summary in ports.datapoints.get(scope, series, start, start + MINUTE, MINUTE):
            found.append((scope.region, series, summary))
    return found, max(0, len(wanted) - most)
