"""CloudWatch's metric math: expressions over time series, parsed to a tree and computed. Pure.

A value is a number, a series (time -> value) or a list of named series. Operators and functions work on whole series: where both
sides are series, at the times that both have. Comparisons and AND, OR answer 1 and 0. The functions are in `metric_functions.py`.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from clary.domain.datapoints import Series
from clary.domain.errors import Invalid
from clary.domain.tokens import Reader, scan

Points = Mapping[float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """A series and what it is called; of one that was read as it is, what of."""

    points: Points
    label: str = ""
    series: Series | None = None
    stat: str = ""


Value = float | Line | list[Line] | str


@dataclass(frozen=True, slots=True)
class Frame:
    """What an expression is computed in: the results of queries by id, in their order (`metrics`: those of metrics alone), lines
    found by searches, the times of the windows asked for, and the periods of metrics by id."""

    results: Mapping[str, Value]
    metrics: tuple[str, ...] = ()
    found: Mapping[tuple[str, str, int], list[Line]] = field(default_factory=dict)
    times: tuple[float, ...] = ()
    period: int = 60
    periods: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Name:
    id: str


@dataclass(frozen=True, slots=True)
class Literal:
    value: float | str


@dataclass(frozen=True, slots=True)
class Array:
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Binary:
    symbol: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class CallOf:
    function: str
    arguments: tuple[Node, ...]


Node = Name | Literal | Array | Binary | CallOf

_TOKEN = re.compile(
    r"\s*(?:(\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+)|([A-Za-z_][A-Za-z0-9_]*)|'([^']*)'|\"([^\"]*)\"|(>=|<=|==|!=|&&|\|\||[-+*/^()\[\],<>]))"
)
_LEVELS: Sequence[Mapping[str, str]] = (
    {"OR": "OR", "||": "OR"},
    {"AND": "AND", "&&": "AND"},
    {"==": "==", "!=": "!=", "<": "<", ">": ">", "<=": "<=", ">=": ">="},
    {"+": "+", "-": "-"},
    {"*": "*", "/": "/"},
)
_DEEPEST = 50


def parse(text: str) -> Node:
    """Invalid says where the expression cannot be read."""
    parser = _Parser(text)
    node = parser.level(0)
    if parser.at < len(parser.tokens):
        raise parser.stray()
    return node


def walk(node: Node) -> list[Node]:
    """The node and all below it."""
    below: Sequence[Node] = ()
    match node:
        case Array(items):
            below = items
        case Binary(_, left, right):
            below = (left, right)
        case CallOf(_, arguments):
            below = arguments
        case Name() | Literal():
            pass
    return [node, *(each for child in below for each in walk(child))]


def _read(match: re.Match[str]) -> tuple[str, str]:
    """Kinds: number | word | text | mark."""
    number, word, single, double, mark = match.groups()
    quoted = single if single is not None else double
    kind = "number" if number else "word" if word else "mark" if mark else "text"
    return kind, number or word or mark or quoted or ""


class _Parser(Reader):
    def __init__(self, text: str) -> None:
        self.text = text
        tokens = scan(_TOKEN, text, _read, self._unreadable)
        super().__init__(tokens, _DEEPEST, f"it is nested more than {_DEEPEST} deep")

    def level(self, number: int) -> Node:
        """Operators of this level and of those that bind closer."""
        if number == len(_LEVELS):
            return self._power()
        node = self.level(number + 1)
        while (
            (token := self.peek()) is not None
            and token.kind in ("mark", "word")
            and token.text.upper() in _LEVELS[number]
        ):
            self.at += 1
            node = Binary(_LEVELS[number][token.text.upper()], node, self.level(number + 1))
        return node

    def _power(self) -> Node:
        with self.deeper():
            if self.take("mark", "-"):
                return Binary("-", Literal(0.0), self._power())
            node = self._one()
            return Binary("^", node, self._power()) if self.take("mark", "^") else node

    def _one(self) -> Node:
        token = self.peek()
        if token is None:
            raise self.stray()
        self.at += 1
        if token.kind == "number":
            return Literal(float(token.text))
        if token.kind == "text":
            return Literal(token.text)
        if token.kind == "word":
            if self.take("mark", "("):
                return CallOf(token.text.upper(), self._list(")"))
            return Name(token.text)
        if token.text == "(":
            node = self.level(0)
            self._must(")")
            return node
        if token.text == "[":
            return Array(self._list("]"))
        self.at -= 1
        raise self.stray()

    def _list(self, end: str) -> tuple[Node, ...]:
        if self.take("mark", end):
            return ()
        items = [self.level(0)]
        while self.take("mark", ","):
            items.append(self.level(0))
        self._must(end)
        return tuple(items)

    def _must(self, mark: str) -> None:
        if not self.take("mark", mark):
            raise self.stray()

    def stray(self) -> Invalid:
        token = self.peek()
        if token is None:
            return Invalid("it ends too early")
        return self._unreadable(token.at)

    def _unreadable(self, at: int) -> Invalid:
        return Invalid(f"it cannot be read at position {at}: {self.text[at : at + 20].strip()!r}")


# -- operators ---------------------------------------------------------------------------------------------------------------------

Operation = Callable[[float, float], float | None]


def _divide(left: float, right: float) -> float | None:
    return left / right if right else None


def _power(left: float, right: float) -> float | None:
    try:
        raised = left**right
    except (OverflowError, ZeroDivisionError):
        return None
    return raised if isinstance(raised, float) else None


OPERATIONS: Mapping[str, Operation] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divide,
    "^": _power,
    "<": lambda a, b: float(a < b),
    ">": lambda a, b: float(a > b),
    "<=": lambda a, b: float(a <= b),
    ">=": lambda a, b: float(a >= b),
    "==": lambda a, b: float(a == b),
    "!=": lambda a, b: float(a != b),
    "AND": lambda a, b: float(bool(a) and bool(b)),
    "OR": lambda a, b: float(bool(a) or bool(b)),
}


def combine(symbol: str, left: Value, right: Value) -> Value:
    """One operator on whole values. What has no result (a division by zero) has no point."""
    compute = OPERATIONS[symbol]
    if isinstance(left, str) or isinstance(right, str):
        raise Invalid(f"the operator {symbol} does not work on text")
    if isinstance(left, list):
        if isinstance(right, list):
            raise Invalid(f"the operator {symbol} does not work on two lists of series")
        return [Line(_points(compute, line, right), line.label) for line in left]
    if isinstance(right, list):
        return [Line(_points(compute, left, line), line.label) for line in right]
    if isinstance(left, Line) or isinstance(right, Line):
        label = left.label if isinstance(left, Line) else right.label if isinstance(right, Line) else ""
        return Line(_points(compute, left, right), label)
    result = compute(left, right)
    if result is None or math.isinf(result):
        raise Invalid(f"{left:g} {symbol} {right:g} has no result")
    return result


def _points(compute: Operation, left: float | Line, right: float | Line) -> Points:
    if isinstance(left, Line) and isinstance(right, Line):
        pairs = [(at, value, right.points[at]) for at, value in left.points.items() if at in right.points]
    elif isinstance(left, Line):
        assert isinstance(right, float)
        pairs = [(at, value, right) for at, value in left.points.items()]
    else:
        assert isinstance(right, Line)
        pairs = [(at, left, value) for at, value in right.points.items()]
    computed = ((at, compute(one, other)) for at, one, other in pairs)
    return {at: value for at, value in computed if value is not None and math.isfinite(value)}
