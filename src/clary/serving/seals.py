"""A fast check of signatures: the repeated parts of a client's `Authorization` header are computed once.

Owns an accelerator, not a rule: it says yes only where `wire.sigv4.check` would (the same canonical request under the same key, host
and every `x-amz-*` header signed, the clock within five minutes, the body's hash as stated), and says nothing otherwise; the caller
then asks `check`, which also words the refusal. Does not know where keys come from.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any

from clary.serving.keys import KeyCache, SigningKey
from clary.serving.request import Incoming
from clary.wire.sigv4 import SKEW, ClaimedIdentity, Signed

MOST_SEALS = 4096
MOST_SHAPES = 64
MOST_STAMPS = 1024
SIGNATURE = 64  # hex digits at the end of the header


class _Seal:
    """What all requests of one client on one day, with the same signed headers, have in common."""

    __slots__ = (
        "date",
        "generation",
        "inner",
        "key",
        "outer",
        "region",
        "scope",
        "shapes",
        "signed",
        "template",
        "token",
        "values",
    )

    def __init__(self, claim: ClaimedIdentity, key: SigningKey, generation: int) -> None:
        names = claim.signed_headers.split(";")
        lines = "".join(name.replace("%", "%%") + ":%s\n" for name in names)
        self.template = f"POST\n%s\n\n{lines}\n{claim.signed_headers.replace('%', '%%')}\n%s"
        self.values: Callable[[Mapping[str, str]], Any] = itemgetter(*names)
        self.signed = frozenset(names)
        self.date = claim.date
        self.token = claim.token
        self.key = key
        self.generation = generation
        self.region = claim.region
        self.scope = f"{claim.date}/{claim.region}/{claim.service}/aws4_request\n"
        self.shapes: set[tuple[str, ...]] = set()  # header names seen together that leave no x-amz-* unsigned
        padded = key.key.ljust(64, b"\0")  # HMAC by hand: its two keyed halves are the same for every request
        self.inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded))
        self.outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in padded))


class Seals:
    """Known seals by the part of the header before the signature."""

    def __init__(self, keys: KeyCache) -> None:
        self._keys = keys
        self._seals: dict[str, _Seal] = {}
        self._stamps: dict[str, float] = {}

    def remember(self, request: Signed, claim: ClaimedIdentity, key: SigningKey) -> None:
        """A request was found right by `check`: the next one like it will be quicker."""
        header = request.headers.get("authorization")
        if header is None or request.query or not header.endswith(claim.signature) or len(claim.signature) != SIGNATURE:
            return
        if ";" not in claim.signed_headers or "host" not in claim.signed_headers.split(";"):
            return
        if len(self._seals) >= MOST_SEALS:
            self._seals.clear()
        self._seals[header[:-SIGNATURE]] = _Seal(claim, key, self._keys.generation)

    def verify(self, request: Incoming, now: float) -> tuple[SigningKey, str] | None:
        """The key that signed this request, and the region it was signed for; None when the long way must decide."""
        headers = request.headers
        header = headers.get("authorization")
        if header is None or request.query:
            return None
        seal = self._seals.get(header[:-SIGNATURE])
        if seal is None or seal.generation != self._keys.generation:
            return None
        stamp = headers.get("x-amz-date")
        if stamp is None or headers.get("x-amz-security-token") != seal.token or not self._timely(stamp, seal, now):
            return None
        shape = tuple(headers)
        if shape not in seal.shapes and not self._admit(shape, seal):
            return None
        digest = request.digest or hashlib.sha256(request.body).hexdigest()
        request.digest = digest
        if headers.get("x-amz-content-sha256", digest) != digest:
            return None
        try:
            canonical = seal.template % (request.path, *seal.values(headers), digest)
            text = f"AWS4-HMAC-SHA256\n{stamp}\n{seal.scope}{hashlib.sha256(canonical.encode()).hexdigest()}"
            inner = seal.inner.copy()
            inner.update(text.encode())
            outer = seal.outer.copy()
            outer.update(inner.digest())
            if hmac.compare_digest(outer.hexdigest(), header[-SIGNATURE:]):
                return seal.key, seal.region
        except (KeyError, TypeError):  # a signed header is not there; a signature that is not ASCII
            pass
        return None

    def _timely(self, stamp: str, seal: _Seal, now: float) -> bool:
        signed = self._stamps.get(stamp)
        if signed is None:
            try:
                signed = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
            except ValueError:
                return False
            if len(self._stamps) >= MOST_STAMPS:
                self._stamps.clear()
            self._stamps[stamp] = signed
        return -SKEW <= now - signed <= SKEW and stamp.startswith(seal.date)

    @staticmethod
    def _admit(shape: tuple[str, ...], seal: _Seal) -> bool:
        if any(name.startswith("x-amz-") and name not in seal.signed for name in shape):
            return False
        if len(seal.shapes) >= MOST_SHAPES:
            seal.shapes.clear()
        seal.shapes.add(shape)
        return True
