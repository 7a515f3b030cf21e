from __future__ import annotations

import pytest
from tests.live import server, start

__all__ = ["server", "start"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A run may be as long as it is asked to be."""
    for item in items:
        if item.path.name == "test_wire.py" and item.path.parent.name == "fuzz":
            item.add_marker(pytest.mark.timeout(config.getoption("--fuzz") + 300))
