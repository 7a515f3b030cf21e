"""How a client of AWS's SDKs says that it asks again: `amz-sdk-request: attempt=2; max=5`. Source: the SDKs' common retry headers."""

from __future__ import annotations

import re

WITHIN = 3600.0  # seconds that a call's first success is remembered for its retries; the SDKs' longest settings give up sooner
_ATTEMPT = re.compile(r"(?:^|;)\s*attempt=(\d{1,6})\s*(?:;|$)")


def attempt_of(header: str) -> int:
    """Which attempt this is, counted from 1; 0 when the header does not say."""
    found = _ATTEMPT.search(header)
    return int(found[1]) if found else 0
