"""GET /costs: with a key, of the account whose key it is."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from tests.domain.jobs.test_life import NOW, training

from clary.app.cli import cost
from clary.app.costs import CostsPage
from clary.domain.access.scrape_tokens import token_of
from clary.domain.costs import kept
from clary.domain.costs.report import Prices
from clary.testing.clock import FakeClock
from clary.testing.fronts import ACCOUNT
from clary.testing.grants import grant
from clary.testing.keys import MemoryKeys
from clary.testing.store import MemoryStore


async def ask(query: str, account: str = ACCOUNT) -> tuple[int, str]:
    sent: list[Any] = []
    keys, store = MemoryKeys(), MemoryStore()
    pair = keys.create(account, "clary")
    await store.add(training("Completed", ended=NOW + 91, tags=[{"Key": "team", "Value": "shop"}]))
    counted = kept.counted(
        kept.of_replicas(grant("r", since=NOW)), [kept.Piece(NOW, NOW + 10, 1, 1 << 30, 0)], NOW + 10, {}
    )
    await store.add(counted)

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)

    page = CostsPage(behind, store, keys, FakeClock(NOW), Prices(vcpu_hour=18.0))
    headers = [(b"authorization", f"Bearer {token_of(pair.access_key_id, pair.secret)}".encode())]
    scope = {"type": "http", "method": "GET", "path": "/costs", "query_string": query.encode(), "headers": headers}
    await page(scope, cast("Any", None), send)
    return sent[0]["status"], sent[1]["body"].decode()


async def test_jobs_and_endpoints_of_the_account_are_told() -> None:
    status, text = await ask("")
    told = json.loads(text)
    assert status == 200
    assert [(row["kind"], row["name"], row["vcpu_seconds"], row["cost"]) for row in told["groups"]] == [
        ("training job", "Job", 200, 1.0),
        ("endpoint", "shop", 10, 0.05),
    ]
    shown = cost.text(told)
    assert "total" in shown
    assert "1.0500" in shown
    status, text = await ask("by=tag%3Ateam")
    assert [row["tag:team"] for row in json.loads(text)["groups"]] == ["shop", "(no tag)"]


async def test_another_account_learns_nothing() -> None:
    _, text = await ask("", "111111111111")
    assert json.loads(text)["groups"] == []
    assert cost.text(json.loads(text)) == "nothing was used"


@pytest.mark.parametrize("query", ["by=size", "since=yesterday", "since=nan", "since=-1"])
async def test_a_bad_question_is_told(query: str) -> None:
    status, _ = await ask(query)
    assert status == 400
