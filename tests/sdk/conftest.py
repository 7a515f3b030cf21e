"""One server for the whole folder, and who uses it."""

from typing import Any

import pytest
from tests.live import ACCEPTANCE, ROLE, ROOT, Server, server, start
from tests.sdk.acts import User

__all__ = ["ACCEPTANCE", "ROLE", "ROOT", "Server", "server", "start"]


@pytest.fixture(scope="module")
def user(server: Server) -> User:
    return User(server)


@pytest.fixture(scope="module")
def scaling(server: Server) -> Any:
    return server.client("application-autoscaling")
