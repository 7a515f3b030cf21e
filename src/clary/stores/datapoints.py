"""The `Datapoints` port over small files: one file of fixed-size samples per series, bounded, appended as they come.

Enough for what jobs report of their metrics. A series is a namespace, a metric and its dimensions, in an account and region; its
file is named by their hash, and `<hash>.json` beside it tells them in words. Refuses to know statistics and alarms.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import threading
from collections.abc import Mapping
from pathlib import Path

from clary.domain.resources import Scope

SAMPLE = struct.Struct("<dd")  # at (epoch seconds), value
MOST_SAMPLES = 1 << 17  # 2 MiB a series; beyond it the older half goes


class FileDatapoints:
    """`ports.Datapoints` over a folder. Samples may come in any order of time."""

    def __init__(self, root: str | os.PathLike[str], most: int = MOST_SAMPLES) -> None:
        self._root = Path(root)
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._most = most
        self._lock = threading.Lock()

    def put(
        self, scope: Scope, namespace: str, metric: str, dimensions: Mapping[str, str], value: float, at: float
    ) -> None:
        path = self._path(scope, namespace, metric, dimensions)
        with self._lock:
            if not path.exists():
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                words = {"namespace": namespace, "metric": metric, "dimensions": dict(dimensions)}
                path.with_suffix(".json").write_text(json.dumps(words))
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                size = os.fstat(descriptor).st_size
                if size % SAMPLE.size:  # a write that a crash cut short
                    size -= size % SAMPLE.size
                    os.ftruncate(descriptor, size)
                os.write(descriptor, SAMPLE.pack(at, value))
            finally:
                os.close(descriptor)
            if size // SAMPLE.size >= self._most:
                self._halve(path)

    def get(
        self, scope: Scope, namespace: str, metric: str, dimensions: Mapping[str, str], start: float, end: float
    ) -> list[tuple[float, float]]:
        """(at, value) with start <= at < end, in order of time."""
        try:
            content = self._path(scope, namespace, metric, dimensions).read_bytes()
        except FileNotFoundError:
            return []
        whole = len(content) - len(content) % SAMPLE.size
        return sorted((at, value) for at, value in SAMPLE.iter_unpack(content[:whole]) if start <= at < end)

    def _path(self, scope: Scope, namespace: str, metric: str, dimensions: Mapping[str, str]) -> Path:
        series = json.dumps([scope.account, scope.region, namespace, metric, sorted(dimensions.items())])
        return self._root / (hashlib.sha256(series.encode()).hexdigest()[:32] + ".samples")

    def _halve(self, path: Path) -> None:
        content = path.read_bytes()
        temporary = path.with_suffix(".new")
        temporary.write_bytes(content[-(self._most // 2) * SAMPLE.size :])
        temporary.rename(path)
