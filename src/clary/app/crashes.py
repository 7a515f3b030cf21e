"""The last time that one of Clary's own processes ended without being told to: for `clary doctor`."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from clary.app.settings import Settings

FILE = "crash.json"


@dataclass(frozen=True, slots=True)
class Crash:
    """`at`: epoch seconds; `how`: a sentence with what it wrote last."""

    at: float
    process: str
    how: str


def note(settings: Settings, crash: Crash) -> None:
    """In place of the one before. Not on a full disk: then it is told in the log only."""
    path = _path(settings)
    with suppress(OSError):
        path.with_suffix(".new").write_text(json.dumps(asdict(crash)))
        path.with_suffix(".new").replace(path)


def last(settings: Settings) -> Crash | None:
    with suppress(OSError, ValueError, TypeError, KeyError):
        said = json.loads(_path(settings).read_text())
        return Crash(float(said["at"]), str(said["process"]), str(said["how"]))
    return None


def _path(settings: Settings) -> Path:
    return settings.log("x").parent / FILE
