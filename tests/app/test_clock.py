"""By how much the clock was set while no control plane ran."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from clary.app.clock import Steps, boot_id
from clary.testing.clock import FakeClock


def test_what_was_set_while_nobody_ran_is_told_once(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "clock.json"
    assert Steps(path, clock, "boot").away == 0.0, "nothing is known"
    clock.advance(500)  # time goes by
    assert Steps(path, clock, "boot").away == 0.0
    clock.jump(-3600)
    clock.advance(7)
    assert Steps(path, clock, "boot").away == -3600.0
    assert Steps(path, clock, "boot").away == 0.0


def test_of_another_start_of_the_machine_nothing_is_known(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "clock.json"
    Steps(path, clock, "boot")
    clock.jump(3600)
    assert Steps(path, clock, "another").away == 0.0
    assert boot_id() == boot_id()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"boot": "boot", "offset": "x"}', '{"boot": "boot"}', "1"])
def test_a_note_that_cannot_be_read_says_nothing(tmp_path: Path, text: str) -> None:
    clock, path = FakeClock(), tmp_path / "clock.json"
    path.write_text(text)
    assert Steps(path, clock, "boot").away == 0.0
    assert json.loads(path.read_text())["boot"] == "boot"


async def test_what_is_set_while_it_runs_is_noted_for_the_loops_have_seen_it(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "clock.json"
    steps = Steps(path, clock, "boot")
    before = path.read_text()
    clock.jump(86400)
    task = asyncio.create_task(steps.keep())
    async with asyncio.timeout(20):
        while path.read_text() == before:
            await asyncio.sleep(0.005)
    task.cancel()
    assert Steps(path, clock, "boot").away == 0.0


async def test_a_disk_that_takes_no_note_is_no_fault(tmp_path: Path) -> None:
    steps = Steps(tmp_path / "no such folder" / "clock.json", FakeClock(), "boot")
    assert steps.away == 0.0
