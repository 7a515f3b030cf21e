"""Two endpoints whose models compute want more CPU than the machine has: both are served, and everybody is told why not faster."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from tests.sdk.acts import PYTHON, User, until
from tests.sdk.conftest import Server
from tests.sdk.test_latency_objective import Load, decisions, load

from clary.app.machine import measure

pytestmark = [pytest.mark.live, pytest.mark.slow]

CPUS = measure().cpus
COMPUTES = """
import time

def model_fn(model_dir):
    return None

def transform_fn(model, body, content_type, accept):
    until = time.thread_time() + 0.1
    while time.thread_time() < until:
        pass
    return "slept"
"""


@pytest.fixture(scope="module")
def server(start: Callable[..., Server]) -> Server:
    return start()  # its own: what other tests' endpoints use would be theirs


def clary(server: Server, *argv: str) -> str:
    done = server.run([sys.executable, "-m", "clary.app.cli", *argv, "--dir", server.settings.dir])
    assert done.returncode == 0, done.stderr
    return done.stdout


def cut(server: Server) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(clary(server, "capacity", "--json"))["cut"]
    return rows


def counts(*loads: Load) -> list[int]:
    return [each.answered for each in loads]


def test_who_computes_shares_a_full_machine_and_both_are_served(server: Server) -> None:
    user = User(server)
    model = user.scripted({"code/inference.py": COMPUTES}, {}, PYTHON)
    tags = [{"Key": "clary:latency-objective-ms", "Value": "2000"}]
    one, two = (user.endpoint({"ModelName": model}, Tags=tags) for _ in range(2))
    clients = 3 * CPUS
    with load(user, one, clients, 0.001) as first, load(user, two, clients, 0.001) as second:
        seen = until(lambda: cut(server), lambda rows: len(rows) == 2, 120)
        assert {row["name"] for row in seen} == {one, two}
        assert all(1 <= row["workers"] < row["wanted"] for row in seen)
        assert "all CPUs are wanted" in clary(server, "capacity")
        for endpoint in (one, two):
            until(
                partial(clary, server, "why", endpoint), lambda told: "All CPUs of the machine are wanted" in told, 60
            )
        before = counts(first, second)
        until(lambda: counts(first, second), lambda now: all(b - a > 10 for a, b in zip(before, now, strict=True)), 60)
    assert (first.failed, second.failed) == ([], [])
    until(lambda: cut(server), lambda rows: rows == [], 60)
    grown = [each["to"]["count"] for name in (one, two) for each in decisions(user, name) if each["applied"]]
    assert max(grown, default=1) <= CPUS
