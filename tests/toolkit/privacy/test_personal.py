"""Columns that look like personal data, and those that do not."""

from __future__ import annotations

from typing import Any

import pytest

from clary.toolkit.privacy.personal import pointed


@pytest.mark.parametrize(
    ("column", "values", "kind"),
    [
        ("contact", ["ada@example.org", "b.c@example.co.uk"], "e-mail address"),
        ("note", ["write to ada@example.org"] + ["nothing"] * 20, "e-mail address"),
        ("x", ["+49 30 1234567", "+1 212 555 0100"], "telephone number"),
        ("x", ["192.0.2.1", "2001:db8::1"], "network address"),
        ("x", ["DE89370400440532013000", "GB82 WEST 1234 5698 7654 32"], "account number"),
        ("x", ["4111 1111 1111 1111"], "account number"),
        ("x", ["078-05-1120"], "national or tax number"),
        ("lastName", ["x"], "name of a person"),
        ("user.first_name", ["x"], "name of a person"),
        ("Date of birth", ["1815-12-10"], "date of birth"),
        ("zip", ["10115"], "postal address"),
        ("religion", ["x"], "special category"),
    ],
)
def test_it_is_pointed_to(column: str, values: list[str], kind: str) -> None:
    assert kind in {each.kind for each in pointed([{column: value} for value in values])}


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("x", [0.5, 1.25, 3.0]),
        ("count", list(range(100_000, 100_050))),
        ("day", ["2024-01-01", "2024-02-29"]),
        ("version", ["1.2.3", "2.0.11"]),
        ("colour", ["red", "blue"]),
        ("card_like", ["4111 1111 1111 1112"]),
        ("number", ["DE89370400440532013001"]),
        ("description", ["a long text, and nothing in it"]),
        ("nested", [{"email": "a@example.org"}]),
        ("missing", [None, ""]),
    ],
)
def test_it_is_not(column: str, values: list[Any]) -> None:
    assert pointed([{column: value} for value in values]) == []


def test_the_most_certain_first() -> None:
    rows = [{"email": f"u{n}@example.org", "note": "a@example.org" if n % 10 == 0 else "-"} for n in range(100)]
    assert [(each.column, each.share) for each in pointed(rows)] == [("email", 1.0), ("note", 0.1)]
