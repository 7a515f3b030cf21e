"""Counters of a multi-model variant's loads since the front started: what CloudWatch's model loading metrics are made of.

Owns the numbers under `VariantView.models`: `hits` and `misses` (requests that found their model loaded, or not; ModelCacheHit),
`loads`, `failures`, `unloads`, and sums of seconds: `waiting` (of requests for a load; ModelLoadingWaitTime), `downloading`
(ModelDownloadingTime), `loading` (ModelLoadingTime), `unloading` (ModelUnloadingTime). `loaded` is a gauge (LoadedModelCount).
"""

from __future__ import annotations


class Loads:
    """Plain sums; callers pass seconds."""

    __slots__ = ("downloading", "failures", "hits", "loading", "loads", "misses", "unloading", "unloads", "waiting")

    def __init__(self) -> None:
        self.hits = self.misses = self.loads = self.failures = self.unloads = 0
        self.waiting = self.downloading = self.loading = self.unloading = 0.0

    def view(self, loaded: int) -> dict[str, float]:
        return {**{name: float(getattr(self, name)) for name in self.__slots__}, "loaded": float(loaded)}
