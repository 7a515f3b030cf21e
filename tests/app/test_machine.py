"""The machine as far as Clary may use it."""

from __future__ import annotations

import os
from pathlib import Path

from tests.backends.test_own_limits import GIB, version_one, version_two

from clary.app.machine import Momentary, measure, within
from clary.backends.own_limits import OwnLimits, find
from clary.domain.machine.capacity import Machine
from clary.testing.clock import FakeClock

WHOLE = Machine(8, 64 * GIB, 40 * GIB, 1, 3)


def test_without_limits_it_is_the_whole_machine() -> None:
    assert within(WHOLE, OwnLimits()) == WHOLE


def test_a_container_is_the_machine(tmp_path: Path) -> None:
    assert within(WHOLE, find(str(version_two(tmp_path)))) == Machine(2, 4 * GIB, 2 * GIB, 1, 3)


def test_a_part_of_a_cpu_is_one_and_no_limit_makes_the_machine_larger(tmp_path: Path) -> None:
    limits = find(str(version_one(tmp_path, 512 * GIB, 1_250)))
    assert within(WHOLE, limits) == Machine(1, 64 * GIB, 40 * GIB, 1, 3)
    assert within(Machine(2, 8 * GIB, GIB), find(str(version_one(tmp_path, 4 * GIB, 900_000)))).cpus == 2


def test_measured() -> None:
    here = measure(2, 5)
    assert (here.gpus, here.slots) == (2, 5)
    assert 1 <= here.cpus <= len(os.sched_getaffinity(0))
    assert 0 < here.available <= here.memory


def test_in_one_moment_it_is_measured_once() -> None:
    clock, left = FakeClock(), iter((3 * GIB, 2 * GIB, GIB))
    machine = Momentary(lambda: Machine(2, 4 * GIB, next(left)), clock.monotonic, 0.2)
    assert machine().available == 3 * GIB
    clock.advance(0.1)
    assert machine().available == 3 * GIB
    clock.advance(0.1)
    assert machine().available == 2 * GIB
