"""The quick way to read a request: one that differs from an earlier one in its date, its signature, its model and its body only.

Owns an accelerator, not a rule: what it reads is, byte for byte and at the same places, a request that httptools parsed before, except
letters and digits where there were letters and digits, and a name without blanks where there was one. About everything else it says
nothing; the caller then asks httptools, which also finds what is wrong. Does not know connections and what a request means.
"""

from __future__ import annotations

import re

from clary.serving.request import Incoming

LONGEST = 1 << 13  # bytes of a request that is remembered
MOST = 4096  # requests remembered
ALIKE = 4  # of the same length: so many clients' ways to write it
SELDOM = 16  # where there are more, only every so many-th takes the place of another
SIGNATURE = 64  # hex digits at the end of Authorization
VOLATILE = (  # fields that are another in every request of one client
    "x-amz-date",
    "x-amz-content-sha256",
    "amz-sdk-invocation-id",
    "x-amzn-sagemaker-inference-id",
)
NAMES = (
    "x-amzn-sagemaker-target-model",
)  # fields that are another in many requests, of any characters that can be seen
_visible = re.compile(rb"[!-~]+").fullmatch
_TELLING = (  # fields that change how the connection or the body is read
    "connection",
    "expect",
    "proxy-connection",
    "trailer",
    "transfer-encoding",
    "upgrade",
)


class _Pattern:
    """A request that was parsed: the bytes that must be the same, and the places that need not."""

    __slots__ = ("body", "headers", "method", "path", "pieces", "query", "spans")

    def __init__(self, data: bytes, request: Incoming, body: int, spans: list[tuple[int, int, str, str]]) -> None:
        self.method = request.method
        self.path = request.path
        self.query = request.query
        self.headers = dict(request.headers)
        self.body = body
        self.spans = sorted(spans)
        edges = [0, *(edge for span in self.spans for edge in span[:2]), body]
        self.pieces = [(start, data[start:end]) for start, end in zip(edges[::2], edges[1::2], strict=True)]

    def read(self, data: bytes) -> Incoming | None:
        for start, piece in self.pieces:
            if not data.startswith(piece, start):
                return None
        request = Incoming()
        headers = request.headers = self.headers.copy()
        for start, end, name, before in self.spans:
            value = data[start:end]
            if not (_visible(value) if name in NAMES else _plain(value)):
                return None
            headers[name] = before + value.decode("ascii")
        request.method = self.method
        request.path = self.path
        request.query = self.query
        request.body = data[self.body :]
        request.size = len(request.body)
        return request


def _plain(value: bytes) -> bool:
    """Whether it is of ASCII letters and digits, or groups of them (a UUID)."""
    return value.isalnum() or value.replace(b"-", b"").isalnum()


class Heads:
    """Requests that were parsed, by their length."""

    def __init__(self) -> None:
        self._patterns: dict[int, list[_Pattern]] = {}
        self._count = 0
        self._missed = 0

    def read(self, data: bytes) -> Incoming | None:
        """The request that `data` is, just one and whole; None when httptools must look."""
        for pattern in self._patterns.get(len(data), ()):
            request = pattern.read(data)
            if request is not None:
                return request
        return None

    def learn(self, data: bytes, request: Incoming) -> None:
        """httptools read this request, whose connection stays open, out of `data`, at its beginning."""
        if len(data) > LONGEST or request.method != "POST":
            return
        alike = self._patterns.get(len(data), [])
        if len(alike) >= ALIKE:
            self._missed += 1
            if self._missed % SELDOM:
                return
        pattern = _pattern(data, request)
        if pattern is None:
            return
        if self._count >= MOST:
            self._patterns.clear()
            self._count = 0
        if len(alike) >= ALIKE:
            alike.pop(0)
        else:
            self._count += 1
        self._patterns[len(data)] = [*alike, pattern]


def _pattern(data: bytes, request: Incoming) -> _Pattern | None:
    headers = request.headers
    body = data.find(b"\r\n\r\n") + 4
    if headers.get("content-length") != str(len(data) - body) or any(name in headers for name in _TELLING):
        return None
    head = data[:body]
    spans = []
    for name in ("authorization", *VOLATILE, *NAMES):
        text = headers.get(name)
        if text is None:
            continue
        value = text.encode("latin-1")
        place = head.find(b": %b\r\n" % value) + 2
        varying = value[-SIGNATURE:] if name == "authorization" else value
        if place < 2 or head.count(value) != 1 or not (_visible if name in NAMES else _plain)(varying):
            return None
        end = place + len(value)
        spans.append((end - len(varying), end, name, text[: len(value) - len(varying)]))
    return _Pattern(data, request, body, spans) if spans else None
