"""The live status under `clary up` in a terminal: one block that is redrawn, while sentences scroll above it.

Reads what `clary ps` reads, from a thread of its own: it must never hold up the supervisor.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from clary.app.cli.client import SOON
from clary.app.cli.listing import processes_of
from clary.app.cli.output import CommandRefused, age, plain
from clary.app.cli.site import Site
from clary.app.settings import Settings

EVERY = 1.0


class Status:
    """Begins with `start`, once Clary is ready; `say` prints a sentence above the block; `stop` leaves the terminal as it was."""

    def __init__(self) -> None:
        self._live = Live(console=Console(highlight=False), auto_refresh=False, transient=True)
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def say(self, sentence: str) -> None:
        line = f"{time.strftime('%H:%M:%S')}  {plain(sentence)}"
        self._live.console.print(Text(line))

    def start(self, settings: Settings, facts: dict[str, object]) -> None:
        self._live.start()
        self._thread = threading.Thread(target=self._watch, args=(Site(settings, facts),), daemon=True, name="status")
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join(5)
            self._live.stop()

    def _watch(self, site: Site) -> None:
        began, client = time.time(), site.client(SOON)
        while not self._ended.wait(EVERY):
            try:
                endpoints = list(client.pages("sagemaker", "ListEndpoints", "Endpoints", {"MaxResults": 100}))
                asked = {"MaxResults": 100, "SortOrder": "Descending", "StatusEquals": "InProgress"}
                jobs = list(client.pages("sagemaker", "ListTrainingJobs", "TrainingJobSummaries", asked))
                lines: Sequence[str] = (named("endpoints", endpoints, "Endpoint"), named("jobs", jobs, "TrainingJob"))
            except CommandRefused:  # it starts or stops: what is not ready stands in the first line
                lines = ("the API does not answer now",)
            text = block(site.settings.endpoint, time.time() - began, processes_of(site), lines)
            self._live.update(Text(text), refresh=True)


def block(endpoint: str, seconds: float, processes: Mapping[str, Any], lines: Sequence[str]) -> str:
    """What is shown: a line for Clary itself, then those."""
    unready = [name for name, row in processes.items() if not row["ready"]]
    ready = f"{len(processes)} processes ready" if processes else "no process is ready"
    health = "waiting for " + ", ".join(unready) if unready else ready
    return "\n".join([f"Clary at {endpoint}, up {age(0, seconds)}, {health}", *lines])


def named(title: str, items: Sequence[Mapping[str, Any]], kind: str) -> str:
    """One line of what there is of a kind, with statuses."""
    shown = ", ".join(f"{item[f'{kind}Name']} {item[f'{kind}Status']}" for item in items[:5])
    more = f" and {len(items) - 5} more" if len(items) > 5 else ""
    return f"{title}: {plain(shown) or 'none'}{more}"
