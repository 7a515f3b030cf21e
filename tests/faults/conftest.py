"""Servers to be hurt: one for a module whose tests leave it whole, or one of a test's own by `start`."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.faults.scene import Scene
from tests.live import Server, server, start

__all__ = ["server", "start"]


@pytest.fixture(scope="session")
def scene(start: Callable[..., Server]) -> Scene:
    """The Clary that most tests here share; each leaves it serving."""
    return Scene(start())
