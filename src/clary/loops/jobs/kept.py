"""Failed jobs whose sandboxes stay for a look (`clary shell JOB`): the last few, then the oldest goes.

Owns `kept.json` in a job's folder: the handles of its hosts' runs, which the backend still knows, and when it failed. Refuses to
know which jobs fail.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clary.ports import Backend
from clary.short_runs import end

MARK = "kept.json"
_SECONDS = 30.0  # until a run that is given up must be gone


class KeptJobs:
    """`folder` is that of all jobs, `most` how many are kept."""

    def __init__(self, folder: str, most: int, backend: Backend[Any]) -> None:
        self._folder = Path(folder)
        self._most = most
        self._backend = backend

    async def keep(self, job: Path, handles: Sequence[str], now: float) -> bool:
        """Keep this one's folder and runs, which have ended, and give up those beyond the bound. False: it is not kept."""
        if not self._most or await self._backend.observe(handles[0]) is None:
            return False
        await asyncio.to_thread(_mark, job, handles, now)
        for path, kept in sorted(self._kept(), key=lambda item: -float(item[1]["at"]))[self._most :]:
            for handle in kept["handles"]:
                await end(self._backend, handle, _SECONDS)
            await asyncio.to_thread(shutil.rmtree, str(path), True)
        return True

    def _kept(self) -> list[tuple[Path, dict[str, Any]]]:
        return [(path.parent, json.loads(path.read_text())) for path in self._folder.glob(f"*/{MARK}")]


def _mark(job: Path, handles: Sequence[str], now: float) -> None:
    job.mkdir(parents=True, exist_ok=True)
    part = job / f"{MARK}.part"
    part.write_text(json.dumps({"handles": list(handles), "at": now}))
    part.rename(job / MARK)
