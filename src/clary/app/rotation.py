"""Rotates Clary's own logs: one that is too long is started again, and its old content is kept once, beside it, as NAME.log.1.

Its writers are not asked: all have it open for appending. (Renaming takes a writer that opens it again, and nginx's workers may not
look into the state folder.) What is written between the last read and the cut, some microseconds, is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

LONGEST = 64 << 20  # bytes: of the access log, 200,000 requests
EVERY = 5.0  # seconds between two looks
PIECE = 1 << 20


def rotate(path: Path, longest: int = LONGEST) -> bool:
    """Rotate `path` if it is too long; whether it was. OSError when that fails; the file is then unchanged."""
    if path.stat().st_size <= longest:
        return False
    old, new = path.with_name(f"{path.name}.1"), path.with_name(f"{path.name}.new")
    old.unlink(missing_ok=True)  # first: on a full disk there is room for one of them only
    try:
        with path.open("rb+", buffering=0) as source, new.open("wb", buffering=0) as target:
            new.chmod(0o600)
            while piece := source.read(PIECE):
                target.write(piece)
            source.truncate(0)
        new.replace(old)
    except OSError:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        raise
    return True


async def keep_short(folder: Path, report: Callable[[str], None]) -> None:
    """Look at the logs in `folder` for ever. A log that cannot be rotated is told of once, until it can."""
    failed: set[Path] = set()
    while True:
        for path in sorted(folder.glob("*.log")):
            try:
                await asyncio.to_thread(rotate, path)
                failed.discard(path)
            except OSError as error:
                if path not in failed:
                    report(f"{path} cannot be kept short: {error.strerror}")
                failed.add(path)
        await asyncio.sleep(EVERY)
