"""Reading an expression token by token: what alarm rules, metric math and its searches share. Each has its own grammar and words. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from clary.domain.errors import Invalid


@dataclass(frozen=True, slots=True)
class Token:
    """`kind` is the grammar's; `at` is where it begins in the text."""

    kind: str
    text: str
    at: int


def scan(
    pattern: re.Pattern[str],
    text: str,
    read: Callable[[re.Match[str]], tuple[str, str]],
    unreadable: Callable[[int], Invalid],
) -> list[Token]:
    """The tokens of a text. `read` makes kind and text of a match; `unreadable` is raised for a place where nothing matches."""
    found, at, end = [], 0, len(text.rstrip())
    while at < end:
        match = pattern.match(text, at)
        if match is None:
            raise unreadable(at)
        found.append(Token(*read(match), match.start()))
        at = match.end()
    return found


class Reader:
    """Tokens and the place in them; a grammar's parser is one. `too_deep` is told of what is nested more than `deepest` times."""

    def __init__(self, tokens: Sequence[Token], deepest: int, too_deep: str) -> None:
        self.tokens = tokens
        self.at = 0
        self._depth = 0
        self._deepest = deepest
        self._too_deep = too_deep

    def peek(self) -> Token | None:
        """The next token; None at the end."""
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def take(self, kind: str, text: str | None = None) -> bool:
        """Whether the next token is of that kind, and that text if one is named; if so, go past it."""
        token = self.peek()
        if token is None or token.kind != kind or text not in (None, token.text):
            return False
        self.at += 1
        return True

    @contextmanager
    def deeper(self) -> Iterator[None]:
        """One level of nesting."""
        self._depth += 1
        if self._depth > self._deepest:
            raise Invalid(self._too_deep)
        try:
            yield
        finally:
            self._depth -= 1
