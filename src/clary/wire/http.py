"""The request and response values that everything in ``wire`` speaks of.

Owns: how one HTTP message looks to the protocols (raw path, raw query, headers that answer in any case, body bytes),
and the one place where other people's request objects are turned into ours. Does not know: sockets, ASGI, AWS.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urlsplit


class Headers(Mapping[str, str]):
    """Header fields by lower-case name; a field sent several times is joined by ``,`` (as SigV4 and RFC 9110 join it).

    Lookups answer in any case; with a lower-case name they cost one dict access.
    """

    __slots__ = ("_pairs", "_values")

    def __init__(self, pairs: Mapping[str, Any] | Iterable[tuple[str, Any]] = ()) -> None:
        items = pairs.items() if isinstance(pairs, Mapping) else pairs
        found: list[tuple[str, str]] = []
        values: dict[str, str] = {}
        for name, value in items:
            lower = name.lower()
            text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
            text = text.strip(" \t")
            found.append((lower, text))
            values[lower] = f"{values[lower]},{text}" if lower in values else text
        self._pairs = found
        self._values = values

    @classmethod
    def of(cls, values: dict[str, str]) -> Headers:
        """Of fields in this form already: names in lower case, each once, values without blanks around them."""
        made = cls.__new__(cls)
        made._pairs = list(values.items())
        made._values = values
        return made

    def __getitem__(self, name: str) -> str:
        values = self._values
        return values[name] if name in values else values[name.lower()]

    def get(self, name: str, default: Any = None) -> Any:
        values = self._values
        return values[name] if name in values else values.get(name.lower(), default)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self._values or name.lower() in self._values)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def all(self, name: str) -> list[str]:
        """Every value of one field, in the order sent."""
        lower = name.lower()
        return [value for key, value in self._pairs if key == lower]

    def pairs(self) -> list[tuple[str, str]]:
        """Every field as sent, names in lower case."""
        return list(self._pairs)

    def __repr__(self) -> str:
        return f"Headers({self._pairs!r})"


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came: ``path`` and ``query`` are raw (percent-encoded as sent, ``query`` without ``?``)."""

    method: str
    path: str
    query: str = ""
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Response:
    """One answer, whole: status, header fields in order, body bytes."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The first value of a field, by any case; None when it is absent."""
        lower = name.lower()
        return next((value for key, value in self.headers if key.lower() == lower), None)


def as_request(request: Any) -> Request:
    """Our Request out of ours, of any object with the same attributes, or of a mapping.

    A mapping may use the names of botocore's serializer (``url_path``, ``query_string``) or of its protocol cases
    (``uri``); a query may be a mapping, a body a string or a mapping (form fields).
    """
    if isinstance(request, Request):
        return request
    if isinstance(request, Mapping):
        known: Mapping[str, Any] = request
    else:
        names = ("method", "path", "raw_path", "uri", "url", "url_path", "query", "query_string", "headers", "body")
        known = {name: getattr(request, name) for name in names if getattr(request, name, None) is not None}
    target = _text(_first(known, "uri", "url_path", "raw_path", "path", "url") or "/")
    if "://" in target:
        parts = urlsplit(target)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    path, _, query = target.partition("?")
    more = _query_text(_first(known, "query", "query_string"))
    if more:
        query = f"{query}&{more}" if query and query != more else more
    return Request(
        method=_text(known.get("method") or "POST").upper(),
        path=path or "/",
        query=query,
        headers=_headers(known.get("headers")),
        body=_body_bytes(known.get("body")),
    )


def _first(known: Mapping[str, Any], *names: str) -> Any:
    return next((known[name] for name in names if known.get(name)), None)


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _headers(value: Any) -> Headers:
    if isinstance(value, Headers):
        return value
    if value is None:
        return Headers()
    if isinstance(value, Mapping):
        return Headers({_text(name): item for name, item in value.items()})
    return Headers([(_text(name), item) for name, item in value])


def _query_text(value: Any) -> str:
    if isinstance(value, Mapping):
        return urlencode(value, doseq=True, quote_via=quote)
    return _text(value).removeprefix("?") if value else ""


def _body_bytes(value: Any) -> bytes:
    if value is None:
        return b""
    if isinstance(value, Mapping):
        return urlencode(value, doseq=True).encode()
    if isinstance(value, str):
        return value.encode()
    return bytes(value)
