"""A replay in a process of its own, which gives way to everything else: `python -m clary.app.replays` reads a question and writes what was
played. The kernel ends it when its CPU is used up, or when who asked has died.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from clary.domain.errors import Unavailable
from clary.domain.objectives.what_if import Both, Known, WhatIf, play_both
from clary.domain.scaling.recorded import Point, Service, day_of
from clary.domain.scaling.replay import Bin, Played

BUDGET = 120  # seconds of CPU
PATIENCE = 900.0  # seconds: on a machine that has other work, a process that gives way may get none
_PR_SET_PDEATHSIG = 1
_LEAST = 19  # niceness
_TOLD = 300  # characters of what a process that failed had to say


class Question(NamedTuple):
    """The load by seconds and by minutes, what requests took, the variant, and what is asked."""

    begin: float
    end: float
    seconds: Sequence[Point]
    minutes: Sequence[Point]
    services: Sequence[Service]
    known: Known
    asked: WhatIf
    width: int


def ask(
    question: Question, budget: int = BUDGET, patience: float = PATIENCE, command: Sequence[str] = ()
) -> Both | None:
    """Play it; None where no request came. Unavailable, with the reason, when that failed. `budget`: seconds of CPU that it may take,
    `command` what runs it."""
    argv = [*(command or (sys.executable, "-m", "clary.app.replays")), str(budget), str(os.getpid())]
    try:
        done = subprocess.run(argv, input=packed(question), capture_output=True, timeout=patience, check=False)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"the replay was not done after {patience:g} s") from error
    except OSError as error:
        raise Unavailable(f"the replay could not be started: {error.strerror}") from error
    if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        raise Unavailable(f"the replay was ended: it may use {budget} s of CPU; --since names a shorter time")
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2][:_TOLD]
        raise Unavailable(f"the replay failed with status {done.returncode}: {last}")
    return answered(done.stdout)


def packed(question: Question) -> bytes:
    document = {**question._asdict(), "known": asdict(question.known), "asked": asdict(question.asked)}
    return json.dumps(document).encode()


def unpacked(text: bytes) -> Question:
    document: dict[str, Any] = json.loads(text)
    known, asked = document["known"], document["asked"]
    return Question(
        **{
            **document,
            "seconds": [(at, count) for at, count in document["seconds"]],
            "minutes": [(at, count) for at, count in document["minutes"]],
            "services": [Service(*each) for each in document["services"]],
            "known": Known(
                **{
                    **known,
                    "starts": tuple(known["starts"]),
                    "replicas": tuple((at, value) for at, value in known["replicas"]),
                }
            ),
            "asked": WhatIf(**{**asked, "policies": tuple(asked["policies"])}),
        }
    )


def answered(answer: bytes) -> Both | None:
    """Unavailable when that is no answer."""
    try:
        document: Mapping[str, Any] | None = json.loads(answer)
        if document is None:
            return None
        return Both(*(_played(document[name]) for name in Both._fields))
    except (ValueError, KeyError, TypeError) as error:
        raise Unavailable("the replay answered something that is no result") from error


def _played(row: Sequence[Any]) -> Played:
    cost, late, most, bins = row
    return Played(float(cost), float(late), int(most), tuple(Bin(*each) for each in bins))


def give_way(budget: int, parent: int) -> None:
    """Everything else first; no more CPU than that; not without the parent."""
    os.nice(_LEAST)
    resource.setrlimit(resource.RLIMIT_CPU, (budget, budget))
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before that was said
        sys.exit(1)


def main(argv: Sequence[str]) -> int:
    give_way(int(argv[0]), int(argv[1]))
    question = unpacked(sys.stdin.buffer.read())
    day = day_of(question.seconds, question.minutes, question.services, question.begin, question.end)
    both = play_both(day, question.known, question.asked, question.width)
    print(json.dumps(both._asdict() if both is not None else None))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
