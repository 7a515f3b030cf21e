"""CloudWatch Logs filter patterns: what FilterLogEvents matches. Pure: a pattern becomes a function from message to bool.

Source: "Filter pattern syntax" of the CloudWatch Logs user guide. Three forms: terms (`ERROR -timeout`, `?a ?b`, `"a phrase"`,
`%regex%`), JSON (`{ $.level = "error" && $.code >= 500 }`) and space-delimited (`[ip, user, ..., status = 4*, bytes > 1000]`).
Regular expressions are RE2's, so that no expression can hang anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import re2

from clary.domain.errors import Invalid

Matcher = Callable[[str], bool]
Test = Callable[[Any], bool]  # of one value; absent values are _ABSENT

_ABSENT = object()
_DEPTH = 32
_TERM = re.compile(r'\s*([?-]?)("(?:[^"\\]|\\.)*"|%(?:[^%\\]|\\.)*%|[^\s"]+)(?=\s|$)')
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<op>&&|\|\||<=|>=|!=|=|<|>|\(|\)|,|\.\.\.)
    | (?P<text>"(?:[^"\\]|\\.)*")
    | (?P<regex>%(?:[^%\\]|\\.)*%)
    | (?P<path>\$(?:\.[\w\-*$@]+|\[(?:\d+|\*|'[^']*'|"[^"]*")\])+)
    | (?P<word>[^\s=!<>&|(),"\[\]{}]+)
    )""",
    re.VERBOSE,
)
_STEP = re.compile(r"""\.([\w\-*$@]+)|\[(\d+|\*|'[^']*'|"[^"]*")\]""")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_FIELD = re.compile(r'"((?:[^"\\]|\\.)*)"|\[([^\]]*)\]|(\S+)')


def compile_pattern(pattern: str) -> Matcher:
    """The matcher of a filter pattern; an empty one matches everything. Invalid when it is not one."""
    text = pattern.strip()
    if not text:
        return lambda message: True
    if text.startswith("{"):
        return _json_matcher(text)
    if text.startswith("["):
        return _field_matcher(text)
    return _term_matcher(text)


# -- terms -------------------------------------------------------------------------------------------------------------------------


def _term_matcher(text: str) -> Matcher:
    every: list[Matcher] = []
    anyone: list[Matcher] = []
    position = 0
    while position < len(text):
        found = _TERM.match(text, position)
        if found is None:
            raise _bad(text)
        sign, term = found.groups()
        if term.startswith("%") and term.endswith("%") and len(term) > 2:
            test = _regex(term)
        else:
            test = _contains(_unquote(term) if term.startswith('"') else term)
        if sign == "?":
            anyone.append(test)
        else:
            every.append(_negate(test) if sign == "-" else test)
        position = found.end()
    if not every:
        return lambda message: any(test(message) for test in anyone)
    # AWS ignores `?` terms that stand beside others.
    return lambda message: all(test(message) for test in every)


def _contains(term: str) -> Matcher:
    return lambda message: term in message


def _negate(test: Matcher) -> Matcher:
    return lambda message: not test(message)


def _regex(token: str) -> Matcher:
    try:
        expression = re2.compile(token[1:-1])
    except re2.error as error:
        raise Invalid(f"Invalid regular expression in filter pattern: {token}: {error}") from error
    return lambda message: expression.search(message) is not None


def _unquote(token: str) -> str:
    return re.sub(r"\\(.)", r"\1", token[1:-1])


def _bad(text: str) -> Invalid:
    return Invalid(f"Invalid filter pattern: {text[:200]!r}")


# -- expressions: a recursive descent over tokens, shared by the JSON and the space-delimited form -------------------------------


class _Tokens:
    """(kind, text) pairs with look-ahead. Whatever is no token raises Invalid."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._all: list[tuple[str, str]] = []
        self._at = 0
        position = 0
        while position < len(text.rstrip()):
            found = _TOKEN.match(text, position)
            if found is None or found.lastgroup is None:
                raise _bad(text)
            self._all.append((found.lastgroup, found.group(found.lastgroup)))
            position = found.end()

    def peek(self, ahead: int = 0) -> tuple[str, str]:
        at = self._at + ahead
        return self._all[at] if at < len(self._all) else ("end", "")

    def take(self) -> tuple[str, str]:
        token = self.peek()
        self._at += 1
        return token

    def accept(self, *texts: str) -> bool:
        kind, text = self.peek()
        if kind in ("op", "word") and text.upper() in texts:
            self._at += 1
            return True
        return False

    def bad(self) -> Invalid:
        return _bad(self._text)


Clause = Callable[[Any], bool]  # of the parsed document, or of the field
Atom = Callable[[_Tokens], Clause]


def _expression(tokens: _Tokens, atom: Atom, depth: int = 0) -> Clause:
    if depth > _DEPTH:
        raise tokens.bad()
    clauses = [_conjunction(tokens, atom, depth)]
    while tokens.accept("||"):
        clauses.append(_conjunction(tokens, atom, depth))
    return clauses[0] if len(clauses) == 1 else lambda subject: any(clause(subject) for clause in clauses)


def _conjunction(tokens: _Tokens, atom: Atom, depth: int) -> Clause:
    clauses = [_factor(tokens, atom, depth)]
    while tokens.accept("&&"):
        clauses.append(_factor(tokens, atom, depth))
    return clauses[0] if len(clauses) == 1 else lambda subject: all(clause(subject) for clause in clauses)


def _factor(tokens: _Tokens, atom: Atom, depth: int) -> Clause:
    if tokens.accept("("):
        clause = _expression(tokens, atom, depth + 1)
        if not tokens.accept(")"):
            raise tokens.bad()
        return clause
    return atom(tokens)


def _comparison(tokens: _Tokens) -> Test:
    """Operator and value, such as `>= 500`, `= "a*"`, `IS NULL`."""
    if tokens.accept("IS"):
        return _is(tokens)
    if tokens.accept("NOT"):
        if not tokens.accept("EXISTS"):
            raise tokens.bad()
        return lambda value: value is _ABSENT
    if tokens.accept("EXISTS"):
        return lambda value: value is not _ABSENT
    kind, operator = tokens.take()
    if kind != "op" or operator not in ("=", "!=", "<", "<=", ">", ">="):
        raise tokens.bad()
    kind, literal = tokens.take()
    if operator in ("=", "!="):
        if kind not in ("text", "word", "regex"):
            raise tokens.bad()
        test = _equals(kind, literal)
        return test if operator == "=" else lambda value: value is not _ABSENT and not test(value)
    if kind != "word" or _NUMBER.fullmatch(literal) is None:
        raise tokens.bad()
    return _compares(operator, float(literal))


def _is(tokens: _Tokens) -> Test:
    for word, wanted in (("NULL", None), ("TRUE", True), ("FALSE", False)):
        if tokens.accept(word):
            return lambda value, wanted=wanted: value is wanted  # type: ignore[misc]
    raise tokens.bad()


def _equals(kind: str, literal: str) -> Test:
    if kind == "regex":
        search = _regex(literal)
        return lambda value: isinstance(value, str | int | float) and search(_plain(value))
    if kind == "word" and _NUMBER.fullmatch(literal):
        number = float(literal)
        return lambda value: _number(value) == number
    text = _unquote(literal) if kind == "text" else literal
    if "*" in text:
        wild = re2.compile("(?s)" + ".*".join(re2.escape(part) for part in text.split("*")))
        return lambda value: isinstance(value, str | int | float) and wild.fullmatch(_plain(value)) is not None
    return lambda value: isinstance(value, str | int | float) and _plain(value) == text


def _compares(operator: str, bound: float) -> Test:
    def test(value: Any) -> bool:
        number = _number(value)
        if number is None:
            return False
        return {"<": number < bound, "<=": number <= bound, ">": number > bound, ">=": number >= bound}[operator]

    return test


def _number(value: Any) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return float(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else None


def _plain(value: str | int | float) -> str:
    return value if isinstance(value, str) else json.dumps(value)


# -- JSON ------------------------------------------------------------------------------------------------------------------------


def _json_matcher(text: str) -> Matcher:
    if not text.endswith("}"):
        raise _bad(text)
    tokens = _Tokens(text[1:-1])
    clause = _expression(tokens, _json_atom)
    if tokens.peek()[0] != "end":
        raise _bad(text)

    def matches(message: str) -> bool:
        if not message.lstrip().startswith("{"):
            return False
        try:
            return clause(json.loads(message))
        except (ValueError, RecursionError):
            return False

    return matches


def _json_atom(tokens: _Tokens) -> Clause:
    kind, path = tokens.take()
    if kind != "path":
        raise tokens.bad()
    steps = [_step(found) for found in _STEP.finditer(path)]
    test = _comparison(tokens)
    return lambda document: any(test(value) for value in _select([document], steps))


def _step(found: re.Match[str]) -> str | int:
    name, index = found.groups()
    if name is not None:
        return str(name)
    if index == "*":
        return "*"
    return int(index) if index.isdigit() else index[1:-1]


def _select(values: Sequence[Any], steps: Sequence[str | int]) -> Sequence[Any]:
    for step in steps:
        values = [found for value in values for found in _children(value, step)]
    return values or [_ABSENT]


def _children(value: Any, step: str | int) -> Sequence[Any]:
    if step == "*":
        if isinstance(value, dict):
            return list(value.values())
        return value if isinstance(value, list) else []
    if isinstance(step, int):
        return [value[step]] if isinstance(value, list) and step < len(value) else []
    return [value[step]] if isinstance(value, dict) and step in value else []


# -- space-delimited ---------------------------------------------------------------------------------------------------------------


def _field_matcher(text: str) -> Matcher:
    if not text.endswith("]"):
        raise _bad(text)
    tokens = _Tokens(text[1:-1])
    before: list[Test] = []
    after: list[Test] | None = None
    while True:
        if tokens.accept("..."):
            if after is not None:
                raise _bad(text)
            after = []
        else:
            (before if after is None else after).append(_field(tokens))
        if tokens.peek()[0] == "end":
            break
        if not tokens.accept(","):
            raise _bad(text)
    rest = after or []
    wanted = len(before) + len(rest)

    def matches(message: str) -> bool:
        fields = [next(part for part in found if part is not None) for found in _split(message)]
        if len(fields) < wanted or (after is None and len(fields) != wanted):
            return False
        ends = fields[len(fields) - len(rest) :]
        return all(test(value) for test, value in zip((*before, *rest), (*fields[: len(before)], *ends), strict=True))

    return matches


def _split(message: str) -> Sequence[tuple[str | None, ...]]:
    return [found.groups() for found in _FIELD.finditer(message)]


def _field(tokens: _Tokens) -> Test:
    """A field's name alone, or conditions on it: `status = 4*`, `w1 = ERROR || w1 = WARN`."""
    kind, name = tokens.peek()
    if kind == "word" or name == "(":
        at_end = kind == "word" and _names_only(tokens)
        if at_end:
            return lambda value: True
        return _expression(tokens, _field_atom)
    raise tokens.bad()


def _names_only(tokens: _Tokens) -> bool:
    """Take a field's name when nothing is asked of it."""
    kind, text = tokens.peek(1)
    if kind == "end" or text == ",":
        tokens.take()
        return True
    return False


def _field_atom(tokens: _Tokens) -> Clause:
    kind, _ = tokens.take()
    if kind != "word":
        raise tokens.bad()
    return _comparison(tokens)
