"""The rules of composite alarms: `ALARM("a") AND NOT (OK(b) OR INSUFFICIENT_DATA(c))`. NOT binds closest, then AND, then OR. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from clary.domain.errors import Invalid
from clary.domain.tokens import Reader, scan

MOST_CHILDREN = 100
MOST_LENGTH = 10_240
_DEEPEST = 100
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


def _read(match: re.Match[str]) -> tuple[str, str]:
    """Kinds: ( | ) | name (quoted) | word."""
    left, right, double, single, word = match.groups()
    quoted = double if double is not None else single
    kind = "(" if left else ")" if right else "name" if quoted is not None else "word"
    return kind, re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else word or ""


class _Parser(Reader):
    def __init__(self, text: str) -> None:
        def unreadable(at: int) -> Invalid:
            return Invalid(f"AlarmRule cannot be read at position {at}: {text[at : at + 20]!r}.")

        self.text = text
        self.children: list[str] = []
        super().__init__(
            scan(_TOKEN, text, _read, unreadable), _DEEPEST, f"AlarmRule is nested more than {_DEEPEST} deep."
        )

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
        with self.deeper():
            return self._one()

    def _one(self) -> Test:
        if self._word("NOT"):
            inner = self.one()
            return lambda states: not inner(states)
        if self.take("("):
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
        token = self.peek()
        if token is None or token.kind not in ("name", "word"):
            raise self.stray()
        self.at += 1
        child = name_of(token.text)
        self.children.append(child)
        return child

    def _word(self, word: str) -> bool:
        token = self.peek()
        if token is None or token.kind != "word" or token.text.upper() != word:
            return False
        self.at += 1
        return True

    def _must(self, kind: str) -> None:
        if not self.take(kind):
            raise self.stray()

    def stray(self) -> Invalid:
        token = self.peek()
        if token is None:
            return Invalid(
                "AlarmRule ends where a function such as ALARM(name), NOT, TRUE, FALSE or a bracket must follow."
            )
        return Invalid(
            f"AlarmRule cannot be read at position {token.at}: {self.text[token.at : token.at + 20].strip()!r}."
        )
