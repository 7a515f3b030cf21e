"""Anything is killed or paused at any time while clients put, create, train, call, update and predict; then what was acknowledged is
looked at, and the history is checked (faults.md 34). `scripts/test --chaos MINUTES` is the same for longer, with the clock and the disk.

15 faults by default; CLARY_FAULT_ROUNDS asks for more, CLARY_FAULT_SEED repeats a run.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest
from tests.faults import checker, tally
from tests.faults.chaos import Chaos, furnish, rounds
from tests.faults.history import OK, History, Write
from tests.faults.scene import Scene
from tests.live import Server

from clary.app import up

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(600)]

ROUNDS = int(os.environ.get("CLARY_FAULT_ROUNDS") or 15)


def test_whatever_is_killed_nothing_answered_is_lost_and_nothing_is_doubled(start: Callable[..., Server]) -> None:
    seed = int(os.environ.get("CLARY_FAULT_SEED") or time.time())
    print("CLARY_FAULT_SEED", seed)
    scene, history = Scene(start()), History()
    furnish(scene)
    crowd = rounds(Chaos(scene, history), seed, (), lambda number: number >= ROUNDS)
    print(tally.table(tally.rows(history)))
    violations = checker.check(history)
    assert violations == [], "\n".join(str(violation) for violation in (f"CLARY_FAULT_SEED={seed}", *violations))
    assert len([write for write in history.of(Write) if write.outcome == OK]) > ROUNDS
    assert crowd.jobs.ended
    assert crowd.calls.places
    assert crowd.changes.done
    up.down(scene.server.settings)
    assert scene.everyone() == {}, seed
