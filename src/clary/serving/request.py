"""A whole request as the front handles it.

Owns the form in which `wire.sigv4` checks it. Does not know how it was read.
"""

from __future__ import annotations

import hashlib

LARGE = 1 << 20  # bytes of a body that is put together, and hashed, in a thread


class Incoming:
    """A whole request, in the form that `wire.sigv4` checks: raw path and query, lower-case header names, fields sent twice joined
    with a comma. `size` is the body's length even where the body was too large to be kept (then `body` is empty and `oversize`
    set), `chunks` what a large body was read in, until it is put together."""

    __slots__ = ("body", "chunks", "digest", "headers", "method", "oversize", "path", "query", "size")

    def __init__(self) -> None:
        self.method = ""
        self.path = ""
        self.query = ""
        self.headers: dict[str, str] = {}
        self.body = b""
        self.chunks: list[bytes] = []
        self.digest = ""  # SHA-256 of the body in hex, once somebody needed it
        self.size = 0
        self.oversize = False

    def gather(self) -> None:
        """Put a large body together."""
        chunks, self.chunks = self.chunks, []
        if chunks:
            self.body = b"".join(chunks)

    def settle(self) -> None:
        """Put a large body together and hash it. It takes milliseconds, and does not hold the interpreter's lock: for a thread."""
        self.gather()
        self.digest = hashlib.sha256(self.body).hexdigest()
