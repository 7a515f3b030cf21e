"""`GET /metrics` before the API: an ASGI application that answers this path and passes everything else on."""

from __future__ import annotations

import logging

from clary.api import scrape
from clary.api.call import Ports
from clary.domain.errors import ClaryError
from clary.domain.openmetrics import CONTENT_TYPE
from clary.wire.asgi import Application, Receive, Scope, Send

log = logging.getLogger(__name__)

PATH = "/metrics"
PLAIN = "text/plain; charset=utf-8"
CHALLENGES = [("www-authenticate", 'Basic realm="clary"'), ("www-authenticate", 'Bearer realm="clary"')]
WHO = "/metrics needs a key: a bearer token (`clary prometheus` prints one) or a key pair as user name and password.\n"

Answer = tuple[int, str, list[tuple[str, str]], str]  # status, content type, further headers, body


class MetricsPage:
    """The page and the application behind it."""

    def __init__(self, application: Application, ports: Ports) -> None:
        self._application = application
        self._ports = ports

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH:
            await self._application(scope, receive, send)
            return
        given = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        status, kind, more, text = await self._answer(scope["method"], given.get(b"authorization", ""))
        body = text.encode()
        headers = [("content-type", kind), ("content-length", str(len(body))), ("cache-control", "no-store"), *more]
        if status != 200:
            headers.append(("connection", "close"))  # its body, if it has one, is not read
        pairs = [(name.encode(), value.encode()) for name, value in headers]
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, method: str, authorization: str) -> Answer:
        """Who asks comes before what is asked: a stranger learns nothing."""
        credential = scrape.reader(self._ports.keys, authorization)
        if credential is None:
            return 401, PLAIN, CHALLENGES, WHO
        if method != "GET":
            return 405, PLAIN, [("allow", "GET")], "/metrics is read with GET.\n"
        try:
            return 200, CONTENT_TYPE, [], await scrape.page(self._ports, credential.account, self._ports.clock.now())
        except ClaryError as error:
            log.warning("/metrics cannot be told: %s", error)
            return 503, PLAIN, [], f"{error}\n"
