"""For all tests: lanes, that two runs share the work, and what hypothesis may take for a fault."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# How long a value takes to make is the machine's doing, not the code's.
settings.register_profile("clary", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("clary")

MAIN, BESIDE = "main", "beside"
# Without sandboxes, servers or time limits of their own: they suffer nothing from company, and others little from theirs.
PURE = frozenset({"api", "domain", "sim", "stores", "wire"})
# Clients that wait for a server most of the time.
WAITING = frozenset({"sdk/test_flows.py"})


def lane_of(path: str, waits: bool) -> str:
    """Which of two runs a test belongs to: `path` is its file's, below tests/; `waits`: it is marked to sleep most of its time."""
    return BESIDE if waits or path in WAITING or path.partition("/")[0] in PURE else MAIN


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--lane", choices=(MAIN, BESIDE), help="only the tests of this lane: scripts/test runs both at once"
    )
    parser.addoption("--kills", type=int, default=12, help="kill -9 of processes in one run of a pipeline's execution")
    parser.addoption("--fuzz", type=float, default=20.0, help="seconds that the fuzzer over the wire tries")
    parser.addoption("--fuzz-seed", type=int, default=1, help="what its requests are made from")
    parser.addoption("--fuzz-only", type=int, default=None, help="the number of the one request to send")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = config.getoption("--lane")
    if wanted is None:
        return
    here = config.rootpath / "tests"
    lanes = {item: lane_of(item.path.relative_to(here).as_posix(), "waits" in item.keywords) for item in items}
    config.hook.pytest_deselected(items=[item for item in items if lanes[item] != wanted])
    items[:] = [item for item in items if lanes[item] == wanted]
