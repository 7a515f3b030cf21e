"""GET /capacity: with a key, of the account whose key it is."""

from __future__ import annotations

import json
from typing import Any, cast

from clary.app.capacity_page import CapacityPage
from clary.domain.access.scrape_tokens import token_of
from clary.domain.machine.capacity import Book, Claim, Fit, Machine, Owner
from clary.domain.machine.instances import GIB
from clary.domain.machine.machines import new_record, row_of
from clary.testing.fronts import ACCOUNT
from clary.testing.keys import MemoryKeys

BOOK = Book(
    Machine(2, 8 * GIB, 4 * GIB, name="here", zone="a"),
    "fit",
    100.0,
    replicas=(Claim("r", (Fit(1.0, GIB, 0),), 50.0, 7, Owner("endpoint", "shop", ACCOUNT)),),
)


async def ask(authorization: str, keys: MemoryKeys, path: str = "/capacity") -> tuple[int, str]:
    sent: list[Any] = []
    passed: list[str] = []

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        passed.append(scope["path"])

    async def send(message: Any) -> None:
        sent.append(message)

    page = CapacityPage(behind, keys, lambda: BOOK, lambda: [row_of(new_record(BOOK.machine, 90.0))])
    headers = [(b"authorization", authorization.encode())]
    await page({"type": "http", "method": "GET", "path": path, "headers": headers}, cast("Any", None), send)
    return (sent[0]["status"], sent[1]["body"].decode()) if sent else (0, passed[0])


async def test_a_key_reads_its_accounts_names() -> None:
    keys = MemoryKeys()
    for account, name in ((ACCOUNT, "shop"), ("111111111111", "(another account)")):
        pair = keys.create(account, "clary")
        status, text = await ask(f"Bearer {token_of(pair.access_key_id, pair.secret)}", keys)
        assert status == 200
        assert [row["name"] for row in json.loads(text)["holders"]] == [name]
        [row] = json.loads(text)["machines"]
        assert (row["name"], row["zone"], row["state"], row["here"], row["cpus"]) == ("here", "a", "Ready", True, 2)


async def test_a_stranger_learns_nothing_and_all_else_is_passed_on() -> None:
    status, text = await ask("Bearer x", MemoryKeys())
    assert status == 401
    assert "shop" not in text
    assert await ask("", MemoryKeys(), "/metrics") == (0, "/metrics")
