from __future__ import annotations

import datetime
import string
from typing import Any

import pytest

from clary.domain.errors import Invalid


async def names(ask: Any, **params: Any) -> tuple[list[str], str | None]:
    page = await ask("ListModels", **params)
    return [m["ModelName"] for m in page["Models"]], page.get("NextToken")


@pytest.fixture
async def models(ask: Any, image: str, clock: Any) -> None:
    for n in range(25):
        clock.advance(1)
        name = f"m{n:02}" if n % 5 else f"Special-{n:02}"
        await ask("CreateModel", ModelName=name, PrimaryContainer={"Image": image})


async def test_pages_join_without_loss_or_double(ask: Any, models: None) -> None:
    for order in ("Ascending", "Descending"):
        for sort in ("Name", "CreationTime"):
            seen: list[str] = []
            token: dict[str, str] = {}
            while True:
                found, following = await names(ask, MaxResults=7, SortBy=sort, SortOrder=order, **token)
                seen += found
                if following is None:
                    break
                assert len(found) == 7
                token = {"NextToken": following}
            assert len(seen) == len(set(seen)) == 25
            if sort == "Name":
                assert seen == sorted(seen, reverse=order == "Descending")


async def test_newest_first_ten_at_a_time_by_default(ask: Any, models: None) -> None:
    found, token = await names(ask)
    assert found[0] == "m24"
    assert len(found) == 10
    assert token is not None


async def test_filters(ask: Any, models: None, clock: Any) -> None:
    assert (await names(ask, NameContains="special"))[0] == [f"Special-{n:02}" for n in (20, 15, 10, 5, 0)]
    middle = datetime.datetime.fromtimestamp(clock.now() - 12, datetime.UTC)  # as wire hands timestamps on
    after = (await names(ask, CreationTimeAfter=middle, MaxResults=100))[0]
    before = (await names(ask, CreationTimeBefore=middle, MaxResults=100))[0]
    assert (len(after), len(before)) == (12, 12)


LETTERS = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"


def altered(token: str) -> list[str]:
    """The token with one bit of one letter changed, for each letter: the last one carries bits that no byte uses."""
    letters = [(at, LETTERS.index(letter)) for at, letter in enumerate(token) if letter != "="]
    return [token[:at] + LETTERS[number ^ 1] + token[at + 1 :] for at, number in letters]


async def test_a_token_belongs_to_its_filters_and_to_nobody_else(ask: Any, models: None) -> None:
    _, token = await names(ask, MaxResults=5)
    assert token is not None
    await names(ask, MaxResults=9, NextToken=token)  # the size of a page may change
    assert token.endswith("=")
    for bad in (
        {"NextToken": token, "NameContains": "m"},
        {"NextToken": token, "SortOrder": "Ascending"},
        {"NextToken": token, "_account": "111111111111"},
        {"NextToken": token, "_region": "us-east-2"},
        {"NextToken": token + "!"},
        {"NextToken": f" {token}"},
        *({"NextToken": other} for other in altered(token)),
        {"NextToken": "!!!"},
        {"NextToken": "é"},
    ):
        with pytest.raises(Invalid, match="NextToken"):
            await names(ask, MaxResults=5, **bad)
    with pytest.raises(Invalid, match="NextToken"):
        await ask("ListEndpointConfigs", NextToken=token)
