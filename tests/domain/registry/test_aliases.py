"""Aliases of versions, as a group's record keeps them."""

from __future__ import annotations

from typing import Any

import pytest

from clary.domain.errors import Invalid
from clary.domain.registry import aliases
from clary.domain.resources import Record, Scope


def record(kind: str = "model-package-group", **document: Any) -> Record:
    return Record(kind, Scope("0", "r"), "G", "arn", "Completed", 0.0, 0.0, document)


def test_an_alias_moves_and_a_version_has_what_was_said_last() -> None:
    group = aliases.set_to(record(versions=3), 1, ("champion", "stable"))
    assert aliases.of(group, 1) == ("champion", "stable")
    group = aliases.set_to(group, 2, ("champion",))
    assert (aliases.of(group, 1), aliases.of(group, 2)) == (("stable",), ("champion",))
    assert (aliases.version_of(group, "champion"), aliases.version_of(group, "none")) == (2, None)
    group = aliases.set_to(group, 1, ("old",))
    assert aliases.of(group, 1) == ("old",)
    assert aliases.of(aliases.set_to(group, 1, ()), 1) == ()
    assert group.document["versions"] == 3


@pytest.mark.parametrize("value", ["", " ", "7", "a/b", "a@b", "a" * 64, "ok -bad"])
def test_what_is_no_alias(value: str) -> None:
    with pytest.raises(Invalid, match="must be one alias or several"):
        aliases.parsed(value)


def test_aliases_in_a_tag() -> None:
    assert aliases.parsed(" champion  blue champion") == ("champion", "blue")


@pytest.mark.parametrize("value", ["", "group", "group@", "@a", "group@7", "a b@c", "group@a@b"])
def test_what_cannot_be_followed(value: str) -> None:
    with pytest.raises(Invalid, match="must be GROUP@ALIAS"):
        aliases.followed(value)
    assert aliases.follows(record("endpoint", tags=[{"Key": aliases.FOLLOW, "Value": value}])) is None


def test_what_an_endpoint_follows() -> None:
    assert aliases.follows(record("endpoint", tags=[{"Key": aliases.FOLLOW, "Value": "G@a"}])) == ("G", "a")
    assert aliases.follows(record("endpoint")) is None
