"""`GET /metrics`: what Prometheus scrapes."""

from __future__ import annotations

from collections.abc import Mapping

from clary.api import scrape
from clary.api.call import Ports
from clary.app.keyed_page import Application, KeyedPage
from clary.domain.metrics.openmetrics import CONTENT_TYPE

PATH = "/metrics"


class MetricsPage(KeyedPage):
    """`series`: how many of CloudWatch's one answer has at most."""

    def __init__(self, application: Application, ports: Ports, series: int) -> None:
        exposition = scrape.Exposition(ports, series)

        async def render(account: str, _: Mapping[str, str]) -> str:
            return await exposition.page(account, ports.clock.now())

        super().__init__(application, ports.keys, PATH, CONTENT_TYPE, render)
