"""Who decided on a version, when, and with which words. A package's document keeps all decisions (`approvals`) and all changes of its
life cycle (`stages`). Pure."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

TAG = "aws:clary:approval"


def decided(document: Mapping[str, Any], status: str, words: str, by: str, now: float) -> dict[str, Any]:
    """The document with one more decision. `by` is the ARN of who decided, `now` epoch seconds."""
    decision = {"status": status, "description": words, "by": by, "at": now}
    system = {**document.get("system_tags", {}), TAG: said(decision)}
    return {**document, "approvals": [*document.get("approvals", ()), decision], "system_tags": system}


def staged(document: Mapping[str, Any], cycle: Mapping[str, Any], by: str, now: float) -> dict[str, Any]:
    """The document with one more life cycle that it was given: a stage, its status, words. `by` is an ARN, `now` epoch seconds."""
    return {**document, "stages": [*document.get("stages", ()), {**cycle, "by": by, "at": now}]}


def said(decision: Mapping[str, Any]) -> str:
    """One decision as text: `Approved by alice at 2026-12-02T18:00:00Z: better`."""
    at = datetime.datetime.fromtimestamp(decision["at"], datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    words = f": {decision['description']}" if decision["description"] else ""
    return f"{decision['status']} by {str(decision['by']).rpartition('/')[2]} at {at}{words}"
