"""Servers to be hurt: one for a module whose tests leave it whole, or one of a test's own by `start`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.faults.scene import Scene
from tests.live import Server, server, start

__all__ = ["server", "start"]


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
