"""Counters of a multi-model variant's loads since the front started: what CloudWatch's model loading metrics are made of.

Owns the numbers under `VariantView.models` and `VariantCounts.models`: `hits` and `misses` (requests that found their model loaded, or
not; ModelCacheHit), `loads`, `failures`, `unloads`, `waits` (requests that waited for a load that came) and sums of seconds: `waiting`
(of these requests; ModelLoadingWaitTime), `downloading` (ModelDownloadingTime, of `downloads`), `loading` (ModelLoadingTime, of `loads`),
`unloading` (ModelUnloadingTime, of `unloads`).
"""

from __future__ import annotations


class Loads:
    """Plain sums; callers pass seconds."""

    __slots__ = (
        "downloading",
        "downloads",
        "failures",
        "hits",
        "loading",
        "loads",
        "misses",
        "unloading",
        "unloads",
        "waiting",
        "waits",
    )

    def __init__(self) -> None:
        self.hits = self.misses = self.loads = self.failures = self.unloads = self.downloads = self.waits = 0
        self.waiting = self.downloading = self.loading = self.unloading = 0.0

    def counts(self) -> tuple[tuple[str, float], ...]:
        return tuple((name, float(getattr(self, name))) for name in self.__slots__)
