"""The rules of composite alarms: `ALARM("a") AND NOT (OK(b) OR INSUFFICIENT_DATA(c))`. NOT binds closest, then AND, then OR. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from clary.domain.errors import Invalid

MOST_CHILDREN = 100
MOST_LENGTH = 10_240
_TOKEN = re.compile(r'\s*(?:(\()|(\))|"((?:[^"\\]|\\.)*)"|\'((?:[^\'\\]|\\.)*)\'|([^\s()"\']+))')
_STATES = ("ALARM", "OK", "INSUFFICIENT_DATA")

States = Mapping[str, str]
Test = Callable[[States], bool]


@dataclass(frozen=True, slots=True)
class Rule:
    """`holds` tells from the states of the children by name; a child that is not there is in no state."""

    holds: Test
    children: tuple[str, ...]


def name_of(text: str) -> str:
    """An alarm's name, from its name or ARN."""
    return text.split(":alarm:", 1)[1] if text.startswith("arn:aws") and ":alarm:" in text else text


def parse(text: str) -> Rule:
    """Invalid says where the rule cannot be read."""
    if len(text) > MOST_LENGTH:
        raise Invalid(f"AlarmRule must not exceed {MOST_LENGTH} characters; this one has {len(text)}.")
    parser = _Parser(text)
    holds = parser.either()
    if parser.at < len(parser.tokens):
        raise parser.stray()
    children = tuple(dict.fromkeys(parser.children))
    if len(children) > MOST_CHILDREN:
        raise Invalid(f"AlarmRule names {len(children)} alarms; a composite alarm may have {MOST_CHILDREN}.")
    return Rule(holds, children)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # ( | ) | name (quoted) | word
    text: str
    at: int


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = self._read(text)
        self.at = 0
        self.depth = 0
        self.children: list[str] = []

    @staticmethod
    def _read(text: str) -> list[_Token]:
        found, at = [], 0
        while text[at:].strip():
            match = _TOKEN.match(text, at)
            if match is None:
                raise Invalid(f"AlarmRule cannot be read at position {at}: {text[at : at + 20]!r}.")
            left, right, double, single, word = match.groups()
            quoted = double if double is not None else single
            kind = "(" if left else ")" if right else "name" if quoted is not None else "word"
            found.append(
                _Token(kind, re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else word or "", match.start())
            )
            at = match.end()
        return found

    def either(self) -> Test:
        tests = [self.both()]
        while self._word("OR"):
            tests.append(self.both())
        return tests[0] if len(tests) == 1 else lambda states: any(test(states) for test in tests)

    def both(self) -> Test:
        tests = [self.one()]
        while self._word("AND"):
            tests.append(self.one())
        return tests[0] if len(tests) == 1 else lambda states: all(test(states) for test in tests)

    def one(self) -> Test:
        self.depth += 1
        if self.depth > 100:
            raise Invalid("AlarmRule is nested more than 100 deep.")
        try:
            return self._one()
        finally:
            self.depth -= 1

    def _one(self) -> Test:
        if self._word("NOT"):
            inner = self.one()
            return lambda states: not inner(states)
        if self._take("("):
            inner = self.either()
            self._must(")")
            return inner
        for word, value in (("TRUE", True), ("FALSE", False)):
            if self._word(word):
                return lambda states, value=value: value  # type: ignore[misc]
        for state in _STATES:
            if self._word(state):
                self._must("(")
                child = self._child()
                self._must(")")
                return lambda states: states.get(child) == state
        raise self.stray()

    def _child(self) -> str:
        token = self._peek()
        if token is None or token.kind not in ("name", "word"):
            raise self.stray()
        self.at += 1
        child = name_of(token.text)
        self.children.append(child)
        return child

    def _peek(self) -> _Token | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def _take(self, kind: str) -> bool:
        token = self._peek()
        if token is None or token.kind != kind:
            return False
        self.at += 1
        return True

    def _word(self, word: str) -> bool:
        token = self._peek()
        if token is None or token.kind != "word" or token.text.upper() != word:
            return False
        self.at += 1
        return True

    def _must(self, kind: str) -> None:
        if not self._take(kind):
            raise self.stray()

    def stray(self) -> Invalid:
        token = self._peek()
        if token is None:
            return Invalid(
                "AlarmRule ends where a function such as ALARM(name), NOT, TRUE, FALSE or a bracket must follow."
            )
        return Invalid(
            f"AlarmRule cannot be read at position {token.at}: {self.text[token.at : token.at + 20].strip()!r}."
        )
