"""The token that lets a program read `/metrics` of an account, and do nothing else: made from a key pair, gone with it. Pure."""

from __future__ import annotations

import hmac

_PURPOSE = b"clary /metrics"


def token_of(access_key_id: str, secret: str) -> str:
    """The bearer token of a key pair."""
    return f"{access_key_id}.{hmac.digest(secret.encode(), _PURPOSE, 'sha256').hex()}"


def key_id_of(token: str) -> str:
    """The key pair that a token says it is of."""
    return token.partition(".")[0]


def same(given: str, wanted: str) -> bool:
    """Whether they are equal, in a time that tells nothing of where they differ."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), wanted.encode())
