"""Logs of a node: files as ever, which the node's runs write, and how far of each stream the head has been told.

`pending` answers what it has not been told yet; `told` notes that it has. A stream that was told whole, and that nobody wrote for a week,
is removed: the head keeps it.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clary.domain.errors import NotFound
from clary.domain.resources import Scope
from clary.stores.logs import FileLogs

PIECE = 1 << 20  # bytes of one stream at a time
WEEK = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class Piece:
    """Whole lines (ms, text) of a stream, which lie from byte `begin` to byte `end` of its file here."""

    scope: Scope
    group: str
    stream: str
    begin: int
    end: int
    lines: tuple[tuple[int, str], ...]

    def asked(self) -> Mapping[str, Any]:
        """As JSON, for the head."""
        return {
            "account": self.scope.account,
            "region": self.scope.region,
            "group": self.group,
            "stream": self.stream,
            "begin": self.begin,
            "end": self.end,
            "lines": self.lines,
        }


class NodeLogs(FileLogs):
    """`ports.Logs` of a node. `notes` is a file of its own beside them."""

    def __init__(self, root: Path, notes: Path) -> None:
        super().__init__(root)
        self._notes = notes
        self._guard = threading.Lock()
        self._done: dict[str, list[Any]] = json.loads(notes.read_text()) if notes.exists() else {}

    def open(self, scope: Scope, group: str, stream: str, now: float) -> str:
        path = super().open(scope, group, stream, now)
        with self._guard:
            if path not in self._done:
                self._done[path] = [scope.account, scope.region, group, stream, 0]
                self._save()
        return path

    def pending(self) -> list[Piece]:
        """The next piece of each stream that has one."""
        with self._guard:
            known = list(self._done.items())
        pieces = []
        for path, (account, region, group, stream, begin) in known:
            if os.path.exists(path) and os.path.getsize(path) > begin:
                lines, end = self.read(path, begin, PIECE)
                if lines:
                    pieces.append(Piece(Scope(account, region), group, stream, begin, end, tuple(lines)))
        return pieces

    def told(self, piece: Piece) -> None:
        path = self.path(piece.scope, piece.group, piece.stream)
        with self._guard:
            self._done[path][4] = piece.end
            self._save()

    def sweep(self, now: float) -> None:
        with self._guard:
            for path, (account, region, group, stream, begin) in list(self._done.items()):
                try:
                    state = os.stat(path)
                except FileNotFoundError:
                    del self._done[path]
                    continue
                if now - state.st_mtime > WEEK and state.st_size <= begin:
                    try:
                        self.drop_stream(Scope(account, region), group, stream)
                    except NotFound:
                        pass
                    del self._done[path]
            self._save()

    def _save(self) -> None:
        part = self._notes.with_suffix(".part")
        part.write_text(json.dumps(self._done))
        part.rename(self._notes)
