"""GET /metrics before the API: strangers learn nothing, everything else is passed on."""

from __future__ import annotations

from typing import Any, cast

import pytest

from clary.api.call import Ports
from clary.app.metrics_page import MetricsPage
from clary.domain.access.scrape_tokens import token_of
from clary.domain.errors import Unavailable
from clary.domain.metrics.openmetrics import CONTENT_TYPE
from clary.testing.clock import FakeClock
from clary.testing.datapoints import MemoryDatapoints
from clary.testing.fronts import ACCOUNT, MemoryFronts
from clary.testing.keys import MemoryKeys
from clary.testing.store import MemoryStore


class Broken(MemoryDatapoints):
    def regions(self, account: str) -> list[str]:
        raise Unavailable("the disk does not give")


class Site:
    def __init__(self, datapoints: MemoryDatapoints | None = None) -> None:
        keys, nothing = MemoryKeys(), cast("Any", None)
        pair = keys.create(ACCOUNT, "clary")
        self.token = f"Bearer {token_of(pair.access_key_id, pair.secret)}"
        self.passed: list[str] = []
        held = datapoints or MemoryDatapoints()
        ports = Ports(
            MemoryStore(), nothing, nothing, nothing, held, keys, MemoryFronts(), FakeClock(), nothing, nothing
        )
        self.page = MetricsPage(cast("Any", self._application), ports, 100)

    async def _application(self, scope: Any, receive: Any, send: Any) -> None:
        self.passed.append(scope.get("path", scope["type"]))

    async def ask(
        self, authorization: str = "", method: str = "GET", path: str = "/metrics"
    ) -> tuple[int, dict[str, str], str]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"host", b"localhost"), (b"authorization", authorization.encode())]
        scope = {"type": "http", "method": method, "path": path, "headers": headers}
        await self.page(scope, cast("Any", None), send)
        if not sent:
            return 0, {}, ""
        start, body = sent
        assert dict(start["headers"])[b"content-length"] == str(len(body["body"])).encode()
        return start["status"], {n.decode(): v.decode() for n, v in start["headers"]}, body["body"].decode()


async def test_a_key_reads() -> None:
    site = Site()
    status, headers, text = await site.ask(site.token)
    assert (status, headers["content-type"]) == (200, CONTENT_TYPE)
    assert text.endswith("# EOF\n")
    assert "clary_fronts_complete{} 1" in text


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
async def test_a_stranger_is_told_how(method: str) -> None:
    status, headers, text = await Site().ask("Bearer AKIA.0", method)
    assert (status, headers["www-authenticate"]) == (401, 'Bearer realm="clary"')
    assert "clary prometheus" in text


async def test_other_verbs_are_refused() -> None:
    site = Site()
    status, headers, _ = await site.ask(site.token, "POST")
    assert (status, headers["allow"]) == (405, "GET")


async def test_a_disk_that_fails_is_told_as_such() -> None:
    site = Site(Broken())
    status, _, text = await site.ask(site.token)
    assert (status, text) == (503, "the disk does not give\n")


async def test_everything_else_is_passed_on() -> None:
    site = Site()
    assert await site.ask(path="/") == (0, {}, "")
    assert await site.ask(path="/metrics/x") == (0, {}, "")
    await site.page({"type": "lifespan"}, cast("Any", None), cast("Any", None))
    assert site.passed == ["/", "/metrics/x", "lifespan"]
