"""Starts and stops Clary from a terminal or a program: in the foreground, detached, and down.

`foreground` runs the supervisor here; `detached` runs it in a session of its own and answers when it is ready; `down` ends the
one that holds the state folder. As a module (`python -m clary.app.up --settings FILE --ready-fd N`) it is the detached process.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from clary.app import folders
from clary.app.settings import Settings
from clary.domain.errors import ClaryError, Unavailable

START_WITHIN = 90.0
END_WITHIN = 30.0
_GIVEN = "/dev/stdin"  # where a detached process finds its settings
# A Popen that is dropped while its process lives warns, which is an error in strict tests.
_started: list[subprocess.Popen[bytes]] = []


def foreground(
    settings: Settings,
    report: Callable[[str], None],
    on_ready: Callable[[Settings], None] = lambda settings: None,
) -> None:
    """Until SIGTERM or Ctrl-C. Unavailable when it cannot start."""
    from clary.app.supervisor import supervise

    folders.claim(settings)
    asyncio.run(supervise(settings, report, on_ready))


def detached(settings: Settings, held: Path | None = None) -> Settings:
    """Start Clary in the background and wait until it is ready; the effective settings (real port) back. With `held`, a file, it ends by
    itself when nobody holds a lock on that any more: however its users end, it does not stay behind."""
    folders.claim(settings)
    folders.prepare_root(settings)
    read, write = os.pipe()
    log = settings.root / "logs" / "clary" / "up.log"
    argv = [sys.executable, "-m", "clary.app.up", "--dir", settings.dir, "--settings", _GIVEN, "--ready-fd", str(write)]
    with open(log, "ab") as out, _as_file(settings) as given:
        process = subprocess.Popen(
            [*argv, *(["--held", str(held)] if held else [])],
            stdin=given,
            stdout=out,
            stderr=out,
            pass_fds=(write,),
            start_new_session=True,
            cwd="/",
        )
    _started.append(process)
    os.close(write)
    try:
        told = _read_within(read, START_WITHIN)
    except BaseException:
        _give_up(process)  # Ctrl-C: who does not wait for it does not want it
        raise
    finally:
        os.close(read)
    if not told:
        _give_up(process)
        raise Unavailable(f"clary did not start; see {log}")
    answer = json.loads(told)
    if "error" in answer:
        process.wait(timeout=START_WITHIN)
        raise Unavailable(answer["error"])
    return Settings.read(Path(answer["settings"]))


def _as_file(settings: Settings) -> IO[bytes]:
    """The settings for one process alone, in memory: two starts at once on one folder must not read each other's."""
    file = os.fdopen(os.memfd_create("clary-settings"), "r+b")
    settings.write(Path(f"/proc/self/fd/{file.fileno()}"))
    return file


def _give_up(process: subprocess.Popen[bytes]) -> None:
    """A start that nobody waits for any longer: it ends in good order, and at once when it can't."""
    process.terminate()
    try:
        process.wait(timeout=END_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()


def _read_within(descriptor: int, seconds: float) -> bytes:
    """Everything written to the pipe until it is closed, or b'' when that takes too long."""
    deadline, parts = time.monotonic() + seconds, b""
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([descriptor], [], [], left)[0]:
            break
        part = os.read(descriptor, 65536)
        if not part:
            return parts
        parts += part
    return b""


def down(settings: Settings, keep_jobs: bool = False, within: float = 60.0) -> bool:
    """End the Clary of this state folder and wait for it; False when none runs."""
    holder = folders.holding(settings.root / "clary.lock")
    if not holder:
        return False
    pid = int(str(holder["pid"]))
    with suppress(ProcessLookupError):
        pidfd = os.pidfd_open(pid)
        try:
            os.kill(pid, signal.SIGUSR2 if keep_jobs else signal.SIGTERM)
            if not select.select([pidfd], [], [], within)[0]:
                raise Unavailable(f"pid {pid} did not stop within {within:g} s; `kill -9 {pid}` stops it at once")
        finally:
            os.close(pidfd)
    return True


def _end_when_let_go(held: Path) -> None:
    """Waits in a thread of its own for the lock that the users share."""
    with open(held, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        os.kill(os.getpid(), signal.SIGTERM)


def _main(argv: list[str]) -> int:
    import argparse

    parser = argparse.ArgumentParser()
    parser.add_argument("--dir", help="for those who look at processes: whose this is")
    parser.add_argument("--settings", type=Path, required=True)
    parser.add_argument("--ready-fd", type=int, required=True)
    parser.add_argument("--held", type=Path)
    given = parser.parse_args(argv)
    if given.held:
        threading.Thread(target=_end_when_let_go, args=(given.held,), daemon=True).start()
    settings = Settings.read(given.settings)
    channel = os.fdopen(given.ready_fd, "w")

    def report(sentence: str) -> None:
        print(time.strftime("%Y-%m-%dT%H:%M:%S"), sentence, flush=True)

    def tell(answer: dict[str, str]) -> None:
        """Once; the process that started us may be gone."""
        if not channel.closed:
            with suppress(BrokenPipeError):
                channel.write(json.dumps(answer))
                channel.close()

    def on_ready(effective: Settings) -> None:
        tell({"settings": str(effective.run / "settings.json")})

    try:
        foreground(settings, report, on_ready)
    except ClaryError as error:
        report(error.message)
        tell({"error": error.message})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
