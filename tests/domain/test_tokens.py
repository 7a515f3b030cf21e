"""What the parsers of expressions share."""

from __future__ import annotations

import re

import pytest

from clary.domain.errors import Invalid
from clary.domain.tokens import Reader, Token, scan

WORDS = re.compile(r"\s*(?:([a-z]+)|(,))")


def read(match: re.Match[str]) -> tuple[str, str]:
    return ("word", match[1]) if match[1] else (",", "")


def unreadable(at: int) -> Invalid:
    return Invalid(f"at {at}")


def test_a_text_is_cut_into_tokens_with_their_places() -> None:
    assert scan(WORDS, "ab, c ", read, unreadable) == [Token("word", "ab", 0), Token(",", "", 2), Token("word", "c", 3)]
    assert scan(WORDS, "  ", read, unreadable) == []


def test_where_nothing_matches_is_told() -> None:
    with pytest.raises(Invalid, match="at 2"):
        scan(WORDS, "ab;c", read, unreadable)


def test_only_what_is_meant_is_gone_past() -> None:
    reader = Reader(scan(WORDS, "ab,", read, unreadable), 3, "too deep")
    assert not reader.take(",")
    assert not reader.take("word", "c")
    assert reader.peek() == Token("word", "ab", 0)
    assert reader.take("word", "ab")
    assert reader.take(",")
    assert reader.peek() is None
    assert not reader.take(",")


def test_nesting_has_an_end_and_is_counted_back() -> None:
    reader = Reader([], 1, "too deep")
    for _ in range(3):
        with reader.deeper():
            pass
    with reader.deeper(), pytest.raises(Invalid, match="too deep"), reader.deeper():
        pass
