"""The process that watches for drift: `python -m clary.app.drift_process FOLDER`, started by the control plane while there is captured
data.

Takes captured files, and files of labels, out of FOLDER/inbox in order of time, counts them, removes them. Labels are joined to what was
predicted for their requests (by inference id, else event id), whichever of both comes first. It runs behind everything else (nice 19), in
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
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from clary.domain.errors import ClaryError, Invalid
from clary.domain.monitoring import labels
from clary.domain.monitoring.captured import CapturedRows, Row, rows_of
from clary.domain.monitoring.drift import DriftRule
from clary.domain.monitoring.performance import Performance
from clary.domain.monitoring.quality import LabelRule, worse_than_before
from clary.domain.monitoring.watch import Judged, Watch
from clary.domain.s3 import Location
from clary.stores.drift import AnsweredRequest, DriftStore, Joined, Standing, WatchedVariant

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
                    told = json.loads(where.read_text())
                    if told.get("truths"):
                        self._label(where.stem, told, records)
                    else:
                        self._count(where.stem, told, records)
                else:
                    log.error("captured file %s is left out: it ended this process %d times", where.stem, ATTEMPTS)
        except (ValueError, KeyError, TypeError, AttributeError, FileNotFoundError, Invalid) as error:
            log.error("captured file %s is left out: %s", where.stem, error)
        where.unlink(missing_ok=True)
        records.unlink(missing_ok=True)
        self._store.forget([where.stem])

    def _count(self, file: str, told: Mapping[str, Any], records: Path) -> None:
        whose = WatchedVariant(told["account"], told["region"], told["endpoint"], told["variant"])
        standing, now = self._store.standing(whose), time.time()
        config = json.dumps([told.get("config", ""), told.get("drift", ""), told.get("labels", "")])
        known = standing is not None and standing.config == config
        watch = (
            Watch.read(standing.state["watch"]) if standing and known else Watch(DriftRule.read(told.get("drift", "")))
        )
        unread = standing.state["unread"] if standing and known else 0
        why, windows, answered = "", [], []
        rule = LabelRule.read(told.get("labels", ""))
        performance = self._performance(whose, config, rule)
        with open(records, encoding="utf-8", errors="replace") as captures:
            while line := captures.readline(LONGEST):
                try:
                    captured = rows_of(line)
                except Invalid as error:
                    unread, why = unread + 1, error.message
                else:
                    windows += [_window(each) for each in watch.take(captured.rows, captured.at)]
                    answered += _answered(captured, whose.variant, config, rule, performance)
        joined = self._join_early(whose, config, performance, answered)
        state = {"watch": watch.document(), "unread": unread}
        shown = {
            **watch.told(),
            "config": told.get("config", ""),
            "unread": unread,
            "why": why or _why(standing, known),
            "labels_folder": rule.folder or _labels_folder(told),
            "labels": performance.told(),
            "worse_than_before": self._compared(whose, {config: performance}),
        }
        self._store.save(whose, file, Standing(config, state, shown, now), windows, joined)

    def _join_early(
        self, whose: WatchedVariant, config: str, performance: Performance, answered: Sequence[AnsweredRequest]
    ) -> Joined:
        """Captured requests with the labels that came before them."""
        early = self._store.early(whose, [each.id for each in answered])
        for each in answered:
            if each.id in early:
                performance.join(each.predictions, early[each.id], each.rows, each.at)
        kept = [replace(each, label=early.get(each.id)) for each in answered]
        return Joined(kept, met=list(early), quality={(whose.variant, config): performance.document()})

    def _performance(self, whose: WatchedVariant, config: str, rule: LabelRule) -> Performance:
        found = self._store.quality(whose, config)
        return Performance.of(rule) if found is None else Performance.read(rule, found)

    def _compared(self, whose: WatchedVariant, fresh: Mapping[str, Performance]) -> bool | None:
        """Whether the newest config is worse than the one before; `fresh` has those that changed just now."""
        kept = {
            config: Performance.read(LabelRule.read(json.loads(config)[2]), state)
            for config, state in self._store.qualities(whose).items()
        }
        return worse_than_before([each.quality for each in {**kept, **fresh}.values()])

    def _label(self, file: str, told: Mapping[str, Any], records: Path) -> None:
        """Join a file of labels of an endpoint."""
        whose, now = WatchedVariant(told["account"], told["region"], told["endpoint"], ""), time.time()
        given, torn = labels.truths(records.read_text(encoding="utf-8", errors="replace"))
        if torn:
            log.warning("%s: %d lines are no labels", told["truths"], torn)
        answered = self._store.answered(whose, list(given))
        performances: dict[tuple[str, str], Performance] = {}
        fresh = []
        for id_, each in answered.items():
            key = each.variant, each.config
            if key not in performances:
                rule = LabelRule.read(json.loads(each.config)[2])
                performances[key] = self._performance(replace(whose, variant=each.variant), each.config, rule)
            if each.label is None:
                performances[key].join(each.predictions, given[id_], each.rows, each.at)
                fresh.append(replace(each, label=given[id_]))
            elif list(each.label) != given[id_]:
                performances[key].quality.conflicts += 1
        shown = {}
        for (variant, config), performance in performances.items():
            standing = self._store.standing(replace(whose, variant=variant))
            if standing is not None and standing.config == config:
                shown[variant] = {**standing.told, "labels": performance.told()}
        for variant in {variant for variant, _ in performances}:
            of = replace(whose, variant=variant)
            standing = self._store.standing(of)
            if standing is not None:
                ours = {config: each for (name, config), each in performances.items() if name == variant}
                compared = self._compared(of, ours)
                shown[variant] = {**shown.get(variant, standing.told), "worse_than_before": compared}
        documents = {key: each.document() for key, each in performances.items()}
        early = {id_: label for id_, label in given.items() if id_ not in answered}
        self._store.save_labels(whose, file, Joined(fresh, early, (), documents, shown), now)


def _answered(
    captured: CapturedRows, variant: str, config: str, rule: LabelRule, performance: Performance
) -> list[AnsweredRequest]:
    """What was predicted for a request; nothing where its answer was not captured."""
    column = rule.prediction or next((n for row in captured.rows for n in row if n.startswith("output.")), "")
    rows: list[Row] = [row for row in captured.rows if column in row]
    if not rows:
        return []
    predictions = [row[column] for row in rows]
    asked = performance.answer(predictions, rows, captured.at)
    id_ = captured.inference or captured.event
    return [AnsweredRequest(id_, variant, config, captured.at, predictions, rows=asked)]


def _labels_folder(told: Mapping[str, Any]) -> str:
    """Below the destination of the capture, which the key of a captured file begins with."""
    if "bucket" not in told:
        return ""
    top = told["key"].rpartition(f"{told['endpoint']}/{told['variant']}/")[0].rstrip("/")
    return str(Location(told["bucket"], top).below("ground-truth", told["endpoint"]))


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
