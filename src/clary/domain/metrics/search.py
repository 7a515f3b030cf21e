"""SEARCH of metric math: which series a text finds. Pure (AWS's user guide, "Search expression syntax").

`{Namespace,Dimension,...} terms`: series of that namespace with exactly those dimensions, of which the terms hold. Without the part in
brackets all series are looked through. A term is a word (in any name or value of the series, in any case), a text in double quotes (a
name or value that is exactly this), or either behind `MetricName=`, `Namespace=` or a dimension's name. Terms stand beside each other
or with AND, OR, NOT and brackets; NOT binds closest, then AND.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from clary.domain.errors import Invalid
from clary.domain.metrics.datapoints import Series
from clary.domain.tokens import Reader, Token, scan

MOST = 500  # series that a search finds
LONGEST = 1_024  # characters
_DEEPEST = 50
_SCHEMA = re.compile(r'\s*\{((?:[^"}]|"[^"]*")*)\}(.*)', re.S)
_NAME = re.compile(r'\s*(?:"([^"]+)"|([^,"]*[^,"\s]))\s*(?:,|$)')
_TOKEN = re.compile(r'\s*(?:([()])|(?:"([^"]*)"|([^\s"()={}]+))(\s*=)?)')

Test = Callable[[Series], bool]


@dataclass(frozen=True, slots=True)
class Search:
    """`namespace` "" is every one; `dimensions` None: any."""

    namespace: str
    dimensions: frozenset[str] | None
    fits: Test

    def found(self, known: Sequence[Series]) -> list[Series]:
        held = (each for each in known if not self.namespace or each.namespace == self.namespace)
        return [each for each in held if self._has_dimensions(each) and self.fits(each)][:MOST]

    def _has_dimensions(self, series: Series) -> bool:
        return self.dimensions is None or {name for name, _ in series.dimensions} == self.dimensions


def parse(text: str) -> Search:
    """Invalid says where the text cannot be read."""
    if len(text) > LONGEST:
        raise Invalid(f"SEARCH has a text of {len(text):,} characters; it may have {LONGEST:,}")
    match = _SCHEMA.fullmatch(text)
    names = _names(match[1]) if match is not None else []
    parser = _Parser(match[2] if match is not None else text)
    if match is None and not parser.tokens:
        raise Invalid("SEARCH needs a search term: {AWS/SageMaker,EndpointName,VariantName} Invocations")
    fits = parser.either() if parser.tokens else lambda series: True
    if parser.at < len(parser.tokens):
        raise parser.stray()
    if match is None:
        return Search("", None, fits)
    return Search(names[0], frozenset(names[1:]), fits)


def _names(text: str) -> list[str]:
    """Of a namespace and dimensions; those with commas or blanks are in quotes."""
    found, at = [], 0
    while at < len(text):
        match = _NAME.match(text, at)
        if match is None:
            break
        found.append(match[1] or match[2].strip())
        at = match.end()
    if not found or at < len(text):
        raise Invalid(
            f"SEARCH: {{{text}}} is not a namespace and names of dimensions with commas between them, such as "
            "{AWS/SageMaker,EndpointName,VariantName}"
        )
    return found


def _read(match: re.Match[str]) -> tuple[str, str]:
    """Kinds: ( | ) | text (quoted) | word | key (before =)."""
    mark, quoted, word, equals = match.groups()
    kind = mark or ("key" if equals else "text" if quoted is not None else "word")
    return kind, mark or (quoted if quoted is not None else word)


class _Parser(Reader):
    def __init__(self, text: str) -> None:
        def unreadable(at: int) -> Invalid:
            return Invalid(f"SEARCH cannot be read at {text[at : at + 20].strip()!r}")

        tokens = scan(_TOKEN, text, _read, unreadable)
        super().__init__(tokens, _DEEPEST, f"SEARCH is nested more than {_DEEPEST} deep")

    def either(self, key: str = "") -> Test:
        tests = [self.all(key)]
        while self.take("word", "OR"):
            tests.append(self.all(key))
        return tests[0] if len(tests) == 1 else lambda series: any(test(series) for test in tests)

    def all(self, key: str) -> Test:
        tests = [self.one(key)]
        while self.take("word", "AND") or self._more():
            tests.append(self.one(key))
        return tests[0] if len(tests) == 1 else lambda series: all(test(series) for test in tests)

    def one(self, key: str) -> Test:
        with self.deeper():
            return self._one(key)

    def _one(self, key: str) -> Test:
        if self.take("word", "NOT"):
            inner = self.one(key)
            return lambda series: not inner(series)
        token = self.peek()
        if token is None or token.kind == ")" or (token.kind == "key" and key) or self._reserved(token):
            raise self.stray()
        self.at += 1
        if token.kind == "key":
            return self.one(token.text)
        if token.kind == "(":
            inner = self.either(key)
            if not self.take(")"):
                raise self.stray()
            return inner
        return _exact(key, token.text) if token.kind == "text" else _part(key, token.text.lower())

    def _more(self) -> bool:
        """Whether another term stands here, without AND before it."""
        token = self.peek()
        return token is not None and token.kind != ")" and not (token.kind == "word" and token.text == "OR")

    def _reserved(self, token: Token) -> bool:
        return token.kind == "word" and token.text in ("AND", "OR")

    def stray(self) -> Invalid:
        token = self.peek()
        if token is None:
            return Invalid("SEARCH ends where a term must follow")
        return Invalid(f"SEARCH cannot be read at {token.text!r}")


def _held(series: Series) -> Mapping[str, str]:
    return {"Namespace": series.namespace, "MetricName": series.metric, **dict(series.dimensions)}


def _values(series: Series, key: str) -> list[str]:
    """What a term may be found in: names of dimensions too, where it is behind no name."""
    held = _held(series)
    if key:
        return [held[key]] if key in held else []
    return [*held.values(), *(name for name, _ in series.dimensions)]


def _exact(key: str, wanted: str) -> Test:
    return lambda series: wanted in _values(series, key)


def _part(key: str, wanted: str) -> Test:
    return lambda series: any(wanted in value.lower() for value in _values(series, key))
