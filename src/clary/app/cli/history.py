"""`clary history`: every step of an endpoint's changes, from its log stream `history`. A deleted one's history stays."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any

from clary.app.cli.client import Client
from clary.app.cli.output import NOT_FOUND, CommandRefused, say, say_json, table
from clary.app.cli.site import here
from clary.domain.names import RETRAINING_STREAM, history_group

STREAM = "history"
ENDS = frozenset({"in service", "rolled back", "rollback failed", "failed", "out of service"})


def history(directory: str | None, endpoint: str, *, as_json: bool) -> None:
    site = here(directory)
    client = site.client()
    retrainings = stream_of(client, endpoint, RETRAINING_STREAM)
    steps = sorted([*steps_of(client, endpoint), *retrainings], key=lambda step: float(step["at"]))
    if not steps:
        listed = site.typed("ps")
        raise CommandRefused(f"there is no history of an endpoint {endpoint!r}: `{listed}` lists endpoints", NOT_FOUND)
    if as_json:
        say_json(steps)
    else:
        say(words(steps))


def steps_of(client: Client, endpoint: str) -> list[dict[str, Any]]:
    """Every step that is still kept, oldest first, as a document; [] where there are none."""
    return stream_of(client, endpoint, STREAM)


def stream_of(client: Client, endpoint: str, stream: str) -> list[dict[str, Any]]:
    """The same of another stream: that of retrainings."""
    return steps(client.stream(history_group(endpoint.rpartition("/")[2]), stream))


def steps(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lines as steps. A line that was written twice (its save was lost) counts once; what others wrote into the stream is left out."""
    found: dict[tuple[float, int], dict[str, Any]] = {}
    for event in events:
        try:
            line = json.loads(event["message"])
            key = (float(line["created"]), int(line["n"]))
        except (ValueError, KeyError, TypeError):
            continue
        found.setdefault(key, {"at": event["timestamp"] / 1000, **line})
    return list(found.values())


def words(steps: list[dict[str, Any]]) -> str:
    """A table: when, how long after the change was asked, what, why."""
    rows = []
    began, created = 0.0, None
    for step in steps:
        if step["what"].startswith("retraining"):
            rows.append((when(step["at"]), "", step["what"], step["config"], "", one_line(step["why"], 900)))
            continue
        if step["what"].endswith("asked") or step["created"] != created:
            began, created = step["at"], step["created"]
        after = f"+{step['at'] - began:.1f}s" if step["at"] > began else ""
        rows.append((when(step["at"]), after, step["what"], step["config"], step["status"], one_line(step["why"])))
    return table(("when", "after", "what", "config", "status", "why"), rows, ("config", "status"))


def when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def one_line(text: str, most: int = 160) -> str:
    """The end of a traceback says what happened; the whole stands in --json and in FailureReason."""
    joined = " ".join(text.split())
    return joined if len(joined) <= most else joined[: most // 2 - 2] + " ... " + joined[-most // 2 :]
