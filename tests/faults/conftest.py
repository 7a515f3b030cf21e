"""Servers to be hurt: one for a module whose tests leave it whole, or one of a test's own by `start`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.faults.scene import Scene
from tests.live import Server, server, start

__all__ = ["server", "start"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 256 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk to fill")
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


@pytest.fixture(scope="session")
def shared(start: Callable[..., Server]) -> Scene:
    """The Clary that most tests here share."""
    return Scene(start())


@pytest.fixture(scope="module")
def scene(shared: Scene) -> Iterator[Scene]:
    """The shared Clary. A module leaves no endpoint in it: the next one counts processes."""
    yield shared
    rows = shared.patient.list_endpoints()["Endpoints"]
    left = [row["EndpointName"] for row in rows if row["EndpointStatus"] != "Deleting"]
    for name in left:
        shared.patient.delete_endpoint(EndpointName=name)
    assert left == [], "endpoints that tests of this module did not delete"
