"""The room of drift: the loop that runs the process which watches, and the page that `clary drift` reads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from clary.app.given import Given
from clary.app.keyed_page import Application, KeyedPage
from clary.domain.resources import Scope
from clary.loops.monitoring.drift import DriftWatch, Told
from clary.loops.monitoring.labels import LabelFiles, LabelledEndpoint
from clary.ports import Keys
from clary.stores import drift as kept

PATH = "/drift"
FOLDER = "drift"  # in the state folder
_MODULE = "clary.app.drift_process"
_WINDOWS = 200  # of each variant that the page shows


def room(given: Given) -> tuple[Coroutine[Any, Any, None], ...]:
    """See `given.Room`."""
    folder, ports = given.settings.root / FOLDER, given.ports
    labels = LabelFiles(
        folder / "inbox", ports.artifacts, ports.clock, partial(_labelled, folder), partial(kept.taken, folder)
    )
    return DriftWatch(folder, _MODULE, partial(_changed, folder), ports.datapoints).run(), labels.run()


def _labelled(folder: Path) -> Sequence[LabelledEndpoint]:
    return [LabelledEndpoint(Scope(of.account, of.region), of.endpoint, place) for of, place in kept.labelled(folder)]


def _changed(folder: Path, since: float) -> Sequence[Told]:
    found = kept.changed(folder, since)
    return [Told(Scope(of.account, of.region), of.endpoint, of.variant, at, told) for of, at, told in found]


class DriftPage(KeyedPage):
    """`GET /drift?region=R&endpoint=NAME`: what is watched of an account, as JSON."""

    def __init__(self, application: Application, keys: Keys, folder: Path) -> None:
        async def render(account: str, asked: Mapping[str, str]) -> str:
            look = partial(kept.look, folder, account, asked.get("region", ""), asked.get("endpoint", ""), _WINDOWS)
            return json.dumps({"variants": await asyncio.to_thread(look)}) + "\n"

        super().__init__(application, keys, PATH, "application/json", render)
