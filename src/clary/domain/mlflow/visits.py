"""Who may see an MLflow server's pages: a token in a URL, good for one visit that begins soon, and the cookie of the session that follows.

Both are signed, and say for whom and until when: nothing is remembered. Source: CreatePresignedMlflowTrackingServerUrl (5 to 300 s until
the first use, sessions of 30 minutes to 12 hours). Pure.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass

EXPIRES, SESSION = 300, 43_200  # seconds, where the request says nothing
COOKIE = "clary-mlflow"
_URL, _SESSION = "url", "session"


@dataclass(frozen=True, slots=True)
class Visit:
    """`session`: seconds that the session lasts, from the first use of the URL; of a session 0. `until`: epoch seconds."""

    arn: str
    until: float
    session: float = 0.0


def token(key: bytes, visit: Visit) -> str:
    """As text that stands in URLs and cookies."""
    said = json.dumps([_URL if visit.session else _SESSION, visit.arn, visit.until, visit.session]).encode()
    return f"{_text(said)}.{_text(_mac(key, said))}"


def read(key: bytes, text: str, now: float) -> Visit | None:
    """What a token says; None for one that is not ours, or over."""
    said, _, mac = text.partition(".")
    try:
        body, found = _bytes(said), _bytes(mac)
    except ValueError:
        return None
    if not hmac.compare_digest(_mac(key, body), found):
        return None
    _, arn, until, session = json.loads(body)
    return Visit(arn, until, session) if now < until else None


def begun(visit: Visit, now: float) -> Visit:
    """The session that the visit to a URL begins."""
    return Visit(visit.arn, now + visit.session)


def _mac(key: bytes, said: bytes) -> bytes:
    return hmac.new(key, b"mlflow " + said, hashlib.sha256).digest()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
