"""`replay_ports.Replays` in a process of its own, which gives way to everything else: `python -m clary.app.replays` reads a day and writes
scores. The kernel ends it when its CPU is used up, or when the control plane has died; the event loop only waits.
"""

from __future__ import annotations

import asyncio
import base64
import ctypes
import json
import os
import resource
import signal
import sys
import time
from array import array
from collections.abc import Sequence

from clary.domain.errors import Unavailable
from clary.domain.scaling.candidates import BUDGET, Setup
from clary.domain.scaling.day import MOST, UNKNOWN, Day
from clary.domain.scaling.replay import play_all
from clary.domain.scaling.tournament import Score
from clary.replay_ports import Replayed

PATIENCE = 600.0  # seconds: on a machine that has other work, a process that gives way may get none
_PR_SET_PDEATHSIG = 1
_LEAST = 19  # niceness
_TOLD = 300  # characters of what a process that failed had to say


class ProcessReplays:
    """One process for each day. `budget` is its CPU in seconds, `command` what runs it."""

    def __init__(self, budget: int = BUDGET, patience: float = PATIENCE, command: Sequence[str] = ()) -> None:
        self._budget, self._patience = budget, patience
        self._command = tuple(command) or (sys.executable, "-m", "clary.app.replays")

    async def play(self, day: Day, setup: Setup) -> Replayed:
        question = await asyncio.to_thread(asked, day, setup)
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                str(self._budget),
                str(os.getpid()),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            raise Unavailable(f"the replay could not be started: {error.strerror}") from error
        try:
            out, err = await asyncio.wait_for(process.communicate(question), self._patience)
        except TimeoutError as error:
            raise Unavailable(f"the replay was not done after {self._patience:g} s") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
            raise Unavailable(f"the replay was ended: it may use {self._budget} s of CPU")
        if process.returncode:
            last = err.decode(errors="replace").strip().rpartition("\n")[2][:_TOLD]
            raise Unavailable(f"the replay failed with status {process.returncode}: {last}")
        return answered(out)


def asked(day: Day, setup: Setup) -> bytes:
    """The question as the process reads it."""
    counts = array("H", (MOST + 1 if count == UNKNOWN else count for count in day.arrivals))
    document = {
        "begin": day.begin,
        "arrivals": base64.b64encode(counts.tobytes()).decode(),
        "services": list(day.services),
        "setup": list(setup),
    }
    return json.dumps(document).encode()


def read(question: bytes) -> tuple[Day, Setup]:
    document = json.loads(question)
    counts = array("H")
    counts.frombytes(base64.b64decode(document["arrivals"]))
    arrivals = [UNKNOWN if count > MOST else count for count in counts]
    setup = Setup(*document["setup"])
    day = Day(document["begin"], arrivals, [(service, spread) for service, spread in document["services"]])
    return day, setup._replace(starts=tuple(setup.starts))


def answered(answer: bytes) -> Replayed:
    """Unavailable when that is no answer."""
    try:
        document = json.loads(answer)
        scores = {str(name): Score(float(cost), float(late)) for name, (cost, late) in document["scores"].items()}
        return Replayed(scores, float(document["cpu"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unavailable("the replay answered something that is no score") from error


def give_way(budget: int, parent: int) -> None:
    """Everything else first; no more CPU than that; not without the parent."""
    os.nice(_LEAST)
    resource.setrlimit(resource.RLIMIT_CPU, (budget, budget))
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before that was said
        sys.exit(1)


def main(argv: Sequence[str]) -> int:
    give_way(int(argv[0]), int(argv[1]))
    scores = play_all(*read(sys.stdin.buffer.read()))
    print(json.dumps({"scores": scores, "cpu": time.process_time()}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
