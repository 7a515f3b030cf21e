"""A container beside a sandbox, with an engine that is a shell script: how they start, end and outlive each other."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.backends.conftest import FACTS, Sandboxes, needs_sandbox

from clary.backends import local
from clary.backends.containers import Engine
from clary.backends.state import Folder
from clary.domain.machine.workload import ContainerImage

pytestmark = [
    needs_sandbox,
    pytest.mark.skipif(os.geteuid() != 0, reason="a container's network is entered by root only"),
]

ENGINE = """#!/bin/sh
cd {folder}
echo "$1" >> told
case $1 in
run) echo "container speaks"; echo $$ > pid; until [ -e end ]; do sleep 0.05; done; exit "$(cat end)" ;;
inspect) cat pid ;;
stop) echo 0 > end ;;
esac
"""


@pytest.fixture
async def sandboxes(tmp_path: Path) -> AsyncIterator[Sandboxes]:
    path = tmp_path / "engine"
    path.write_text(ENGINE.format(folder=tmp_path))
    path.chmod(0o755)
    made = Sandboxes(tmp_path)
    made.backend = local.create(str(tmp_path / "backend"), facts=FACTS, engine=Engine((str(path),)))
    yield made
    (tmp_path / "end").write_text("0")
    await made.close()


async def begin(sandboxes: Sandboxes, script: str, **more: Any) -> str:
    image = ContainerImage("image", ("serve",), {"COLOUR": "blue"})
    handle = await sandboxes.start("k", "/bin/sh", "-c", script, container=image, **more)
    await sandboxes.shows("k", "container speaks")
    return handle


def told(sandboxes: Sandboxes) -> list[str]:
    """What the engine was told, without the questions whether the container lives, which come at any time."""
    return [word for word in (sandboxes.folder / "told").read_text().split() if word != "inspect"]


async def test_the_container_goes_with_the_sandbox(sandboxes: Sandboxes) -> None:
    seen = await sandboxes.ended(await begin(sandboxes, "echo in the sandbox; exit 4"))
    assert (seen.exit_code, seen.detail) == (4, "")
    assert "in the sandbox" in sandboxes.log("k")
    assert told(sandboxes) == ["rm", "run", "rm"]


async def test_the_sandbox_goes_with_the_container(sandboxes: Sandboxes) -> None:
    handle = await begin(sandboxes, "echo ready; exec sleep 600")
    await sandboxes.shows("k", "ready")
    (sandboxes.folder / "end").write_text("5")
    assert (await sandboxes.ended(handle)).detail == "the container ended with exit code 5"


async def test_a_container_that_never_starts(sandboxes: Sandboxes) -> None:
    (sandboxes.folder / "end").write_text("125")
    handle = await sandboxes.start("k", "/bin/sh", "-c", "sleep 600", container=ContainerImage("image", ("serve",), {}))
    assert (await sandboxes.ended(handle)).detail == "the container ended with exit code 125"


async def test_a_stop_is_told_to_both_in_turn(sandboxes: Sandboxes) -> None:
    handle = await begin(
        sandboxes, "trap 'echo sandbox first; exit 0' TERM; echo ready; while :; do sleep 0.05; done", stop_grace=20.0
    )
    await sandboxes.shows("k", "ready")
    await sandboxes.backend.stop(handle)
    seen = await sandboxes.ended(handle)
    assert (seen.stopped, seen.exit_code) == (True, 0)
    assert "sandbox first" in sandboxes.log("k")
    assert told(sandboxes)[-2:] == ["stop", "rm"]


async def test_a_killed_shim_leaves_no_container(sandboxes: Sandboxes) -> None:
    handle = await begin(sandboxes, "echo ready; exec sleep 600")
    await sandboxes.shows("k", "ready")
    before = told(sandboxes).count("rm")
    said = Folder.of(str(sandboxes.folder / "k")).read("run.json")
    assert said is not None
    os.kill(int(said["pid"]), signal.SIGKILL)
    async with asyncio.timeout(30):
        while (seen := await sandboxes.backend.observe(handle)) is None or not seen.state.is_terminal:
            await asyncio.sleep(0.02)
    assert told(sandboxes).count("rm") > before
