"""A page that is read with a key, before the API: an ASGI application that answers its path and passes everything else on."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import parse_qsl

from clary.api import scrape
from clary.domain.errors import ClaryError, Denied, InUse, Invalid, NotFound
from clary.ports import Keys
from clary.wire.asgi import Receive, Scope, Send

log = logging.getLogger(__name__)

PLAIN = "text/plain; charset=utf-8"
CHALLENGES = [("www-authenticate", 'Basic realm="clary"'), ("www-authenticate", 'Bearer realm="clary"')]

_STATUSES: Mapping[type[ClaryError], int] = {Invalid: 400, Denied: 403, NotFound: 404, InUse: 409}
Answer = tuple[int, str, list[tuple[str, str]], str]  # status, content type, further headers, body
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Render = Callable[
    [str, Mapping[str, str]], Awaitable[str]
]  # an account and what is asked (the URL's query) -> its page


class KeyedPage:
    """The page and the application behind it."""

    def __init__(
        self, application: Application, keys: Keys, path: str, kind: str, render: Render, act: Render | None = None
    ) -> None:
        """`act` does what a POST asks, and answers the page after it."""
        self._application = application
        self._keys = keys
        self._path = path
        self._kind = kind
        self._ways = {"GET": render} if act is None else {"GET": render, "POST": act}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != self._path:
            await self._application(scope, receive, send)
            return
        given = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        status, kind, more, text = await self._answer(scope["method"], given.get(b"authorization", ""), _asked(scope))
        body = text.encode()
        headers = [("content-type", kind), ("content-length", str(len(body))), ("cache-control", "no-store"), *more]
        if status != 200:
            headers.append(("connection", "close"))  # its body, if it has one, is not read
        pairs = [(name.encode(), value.encode()) for name, value in headers]
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, method: str, authorization: str, asked: Mapping[str, str]) -> Answer:
        """Who asks comes before what is asked: a stranger learns nothing."""
        credential = scrape.reader(self._keys, authorization)
        if credential is None:
            who = "a bearer token (`clary prometheus` prints one) or a key pair as user name and password"
            return 401, PLAIN, CHALLENGES, f"{self._path} needs a key: {who}.\n"
        if method not in self._ways:
            return 405, PLAIN, [("allow", ", ".join(self._ways))], f"{self._path} is read with GET.\n"
        try:
            return 200, self._kind, [], await self._ways[method](credential.account, asked)
        except (Invalid, Denied, NotFound, InUse) as error:
            return next(s for kind, s in _STATUSES.items() if isinstance(error, kind)), PLAIN, [], f"{error}\n"
        except ClaryError as error:
            log.warning("%s cannot be told: %s", self._path, error)
            return 503, PLAIN, [], f"{error}\n"


def _asked(scope: Scope) -> dict[str, str]:
    return dict(parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True))
