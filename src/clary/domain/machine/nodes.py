"""Nodes: machines that joined an installation. How they are called, by what they are known, and the tokens with which they join. Pure.

A node's name is part of the keys of the runs that are placed on it (`KEY@NODE`), so that whoever has a run's handle knows where it is, and
what one run left for another is looked for on the same machine.

A join token is `EXPIRES.NONCE.AUTHORITY.MAC`: until when it holds (epoch seconds), a number that is used once, the SHA-256 of the
certificate of the installation's authority, by which the node knows whom it talks to, and a MAC with a key that only heads have.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass

from clary.domain.errors import Denied, Invalid

NODE, HEAD = (
    "clary://node/",
    "clary://head/",
)  # what the URI in a certificate (its subject's alternative name) begins with
TOKEN_SECONDS = 900.0
CERTIFICATE_SECONDS = 86_400.0
RENEW_SECONDS = CERTIFICATE_SECONDS / 2  # before its end a certificate is renewed
SUSPECT = 2.0  # seconds without a word after which nothing new is placed on a node
LEASE = 30.0  # seconds without a head's word after which a node ends its jobs
LEAST_LOST = (
    40.0  # seconds: a node may only be given up, and its jobs started elsewhere, when it has certainly ended them
)
AT = "@"
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")


def check_name(name: str) -> str:
    """The name itself. Invalid for one that no node can have."""
    if not _NAME.fullmatch(name):
        raise Invalid(
            f"{name!r} cannot be a node's name: use at most 63 lower-case letters, digits, '-' and '.', with a letter or digit at both ends"
        )
    return name


def key_on(key: str, node: str) -> str:
    """The key of a run on that node; on the head's own machine ("") it is the key itself."""
    return f"{key}{AT}{node}" if node else key


def node_of(key: str) -> str:
    """Where the run of that key, or handle, is; "" on the head's own machine."""
    return key.rpartition(AT)[2] if AT in key else ""


def named(uri: str, whose: str) -> str:
    """The name in a certificate's URI of that sort (`NODE` or `HEAD`); "" where it is none."""
    name = uri.removeprefix(whose) if uri.startswith(whose) else ""
    return name if _NAME.fullmatch(name) else ""


@dataclass(frozen=True, slots=True)
class JoinToken:
    """See the module. `authority` and `nonce` are hexadecimal."""

    expires: int
    nonce: str
    authority: str
    mac: str = ""

    def __str__(self) -> str:
        return f"{self.expires}.{self.nonce}.{self.authority}.{self.mac}"

    def sealed(self, key: bytes) -> JoinToken:
        return JoinToken(self.expires, self.nonce, self.authority, self._mac(key))

    def check(self, key: bytes, now: float) -> None:
        """Denied unless a head made it and it still holds. Whether it was used is the store's to say."""
        if not hmac.compare_digest(self.mac, self._mac(key)):
            raise Denied("the join token is not one of this installation: `clary node token` on a head makes one")
        if now >= self.expires:
            raise Denied("the join token is too old: `clary node token` on a head makes another one")

    def _mac(self, key: bytes) -> str:
        return hmac.digest(key, f"{self.expires}.{self.nonce}.{self.authority}".encode(), "sha256").hex()


def new_token(authority: str, nonce: str, key: bytes, now: float) -> JoinToken:
    """One that holds from now on for a quarter of an hour. `nonce` is random."""
    return JoinToken(int(now + TOKEN_SECONDS), nonce, authority).sealed(key)


def parse_token(text: str) -> JoinToken:
    """Invalid for what is no token."""
    parts = re.fullmatch(r"([0-9]{1,12})\.([0-9a-f]{32})\.([0-9a-f]{64})\.([0-9a-f]{64})", text.strip())
    if parts is None:
        raise Invalid("that is no join token: `clary node token` on a head makes one")
    return JoinToken(int(parts[1]), parts[2], parts[3], parts[4])


def parse_place(text: str) -> tuple[str, int]:
    """`HOST:PORT`. Invalid for anything else."""
    host, colon, port = text.rpartition(":")
    if not host or not colon or not port.isdigit() or int(port) > 65535:
        raise Invalid(f"{text!r} is no HOST:PORT, such as 10.0.0.5:4610")
    return host.strip("[]"), int(port)
