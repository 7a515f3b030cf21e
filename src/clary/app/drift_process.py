"""The process that watches for drift: `python -m clary.app.drift_process FOLDER`, started by the control plane while there is captured
data.

Takes captured files out of FOLDER/inbox in order of time, counts them, removes them. It runs behind everything else (nice 19), in
bounded memory; a file that killed it three times is left out. Ends when its input ends (its parent is gone), or when nothing came for a
minute.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clary.domain.errors import ClaryError, Invalid
from clary.domain.monitoring.captured import rows_of
from clary.domain.monitoring.drift import DriftRule
from clary.domain.monitoring.watch import Judged, Watch
from clary.stores.drift import DriftStore, Standing, WatchedVariant

log = logging.getLogger(__name__)

EVERY = 0.5  # seconds between looks
REST = 60.0
MEMORY = 1 << 30
ATTEMPTS = 3
LONGEST = 64 << 20  # characters of a captured line


class Inbox:
    """The captured files that wait."""

    def __init__(self, folder: Path, store: DriftStore) -> None:
        self.folder = folder
        self._store = store

    def turn(self) -> int:
        """Count all that waits; answers how many files there were."""
        waiting = sorted(self.folder.glob("*.where"), key=_written)
        for where in waiting:
            self._take(where)
        return len(waiting)

    def _take(self, where: Path) -> None:
        records = where.with_suffix(".jsonl")
        try:
            if not self._store.applied(where.stem):
                if self._store.attempt(where.stem) <= ATTEMPTS:
                    self._count(where, records)
                else:
                    log.error("captured file %s is left out: it ended this process %d times", where.stem, ATTEMPTS)
        except (ValueError, KeyError, TypeError, FileNotFoundError, Invalid) as error:
            log.error("captured file %s is left out: %s", where.stem, error)
        where.unlink(missing_ok=True)
        records.unlink(missing_ok=True)
        self._store.forget([where.stem])

    def _count(self, where: Path, records: Path) -> None:
        told = json.loads(where.read_text())
        whose = WatchedVariant(told["account"], told["region"], told["endpoint"], told["variant"])
        standing, now = self._store.standing(whose), time.time()
        config = json.dumps([told.get("config", ""), told.get("drift", "")])
        known = standing is not None and standing.config == config
        watch = (
            Watch.read(standing.state["watch"]) if standing and known else Watch(DriftRule.read(told.get("drift", "")))
        )
        unread = standing.state["unread"] if standing and known else 0
        why, windows = "", []
        with open(records, encoding="utf-8", errors="replace") as file:
            while line := file.readline(LONGEST):
                try:
                    captured = rows_of(line)
                except Invalid as error:
                    unread, why = unread + 1, error.message
                else:
                    windows += [_window(each) for each in watch.take(captured.rows, captured.at)]
        state = {"watch": watch.document(), "unread": unread}
        shown = {
            **watch.told(),
            "config": told.get("config", ""),
            "unread": unread,
            "why": why or _why(standing, known),
        }
        self._store.save(whose, where.stem, Standing(config, state, shown, now), windows)


def _why(standing: Standing | None, known: bool) -> str:
    return str(standing.told.get("why", "")) if standing is not None and known else ""


def _window(judged: Judged) -> dict[str, Any]:
    """A judged window as it is kept: every column's distance and p, rounded."""
    columns = {name: [round(each.distance, 5), float(f"{each.p:.3g}")] for name, each in judged.columns.items()}
    return {
        "size": judged.size,
        "rows": judged.rows,
        "start": judged.start,
        "end": judged.end,
        "columns": columns,
        "found": sorted(judged.found),
        "drifting": sorted(judged.drifting),
    }


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def main(argv: Sequence[str] | None = None) -> int:
    folder = Path((argv if argv is not None else sys.argv[1:])[0])
    logging.basicConfig(stream=sys.stderr, level="INFO", format="%(asctime)s %(levelname)s drift: %(message)s")
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.nice(19)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    store = DriftStore(folder)
    inbox, idle = Inbox(folder / "inbox", store), 0.0
    while idle < REST:
        try:
            idle = 0.0 if inbox.turn() else idle + EVERY
        except (ClaryError, OSError) as error:
            log.warning("captured files wait: %s", error)
        time.sleep(EVERY)
    return 0


if __name__ == "__main__":
    sys.exit(main())
