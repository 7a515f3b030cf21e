"""CloudWatch's metric math: expressions over time series, parsed to a tree and computed. Pure.

A value is a number, a series (time -> value) or a list of named series. Operators and functions work on whole series: where both
sides are series, at the times that both have. Comparisons and AND, OR answer 1 and 0. The functions are in `metrics/functions.py`.

What an expression may take is bounded: its length (CloudWatch's 2,048 characters), how deep it is nested, the series of a list
(CloudWatch's 500), and by a `Budget` the datapoints that all expressions of a call read and make.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from clary.domain.errors import Invalid
from clary.domain.metrics.datapoints import Series
from clary.domain.tokens import Reader, scan

Points = Mapping[float, float]


@dataclass(frozen=True, slots=True)
class LabelledSeries:
    """A series and what it is called; of one that was read as it is, what of."""

    points: Points
    label: str = ""
    series: Series | None = None
    stat: str = ""


Value = float | LabelledSeries | list[LabelledSeries] | str

LONGEST = 2_048  # characters of an expression
MOST_SERIES = 500  # of a list
MOST_POINTS = 2_000_000  # read and made for one call: some 200 MB while they are held, about a second's work


class Budget:
    """How many datapoints the expressions of a call may still read and make."""

    def __init__(self, points: int = MOST_POINTS) -> None:
        self._points = self._left = points

    def spend(self, points: int) -> None:
        """Invalid when that is more than there is."""
        self._left -= points
        if self._left < 0:
            raise Invalid(
                f"these metrics and expressions need more than {self._points:,} datapoints together: ask for fewer, for a longer "
                "Period or for a shorter time"
            )


def size(value: Value) -> int:
    """What a value counts in a budget: its datapoints, and one for each series."""
    if isinstance(value, LabelledSeries):
        return len(value.points) + 1
    return sum(len(line.points) + 1 for line in value) if isinstance(value, list) else 1


@dataclass(frozen=True, slots=True)
class Frame:
    """What an expression is computed in: the results of queries by id, in their order (`metrics`: those of metrics alone), lines
    found by searches, the times of the windows asked for, the periods of metrics by id, and what may be spent."""

    results: Mapping[str, Value]
    metrics: tuple[str, ...] = ()
    found: Mapping[tuple[str, str, int], list[LabelledSeries]] = field(default_factory=dict)
    times: tuple[float, ...] = ()
    period: int = 60
    periods: Mapping[str, int] = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget)


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
_OPERATORS: Mapping[str, tuple[str, int]] = {  # as written -> symbol, how close it binds
    **dict.fromkeys(("OR", "||"), ("OR", 0)),
    **dict.fromkeys(("AND", "&&"), ("AND", 1)),
    **{mark: (mark, 2) for mark in ("==", "!=", "<", ">", "<=", ">=")},
    **{mark: (mark, 3) for mark in "+-"},
    **{mark: (mark, 4) for mark in "*/"},
}
_DEEPEST = 50


def parse(text: str) -> Node:
    """Invalid says where the expression cannot be read."""
    if len(text) > LONGEST:
        raise Invalid(f"it has {len(text):,} characters; an expression has {LONGEST:,} at most")
    parser = _Parser(text)
    node = parser.either()
    if parser.at < len(parser.tokens):
        raise parser.stray()
    return node


def walk(node: Node) -> list[Node]:
    """The node and all below it, each before what is below it."""
    found: list[Node] = []
    waiting = [node]
    while waiting:
        each = waiting.pop()
        found.append(each)
        match each:
            case Array(items):
                waiting += reversed(items)
            case Binary(_, left, right):
                waiting += (right, left)
            case CallOf(_, arguments):
                waiting += reversed(arguments)
            case Name() | Literal():
                pass
    return found


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

    def either(self, least: int = 0) -> Node:
        """Operators that bind as close as `least` or closer. A chain of any length makes a tree that leans to the left."""
        node = self._power()
        while (found := self._operator()) is not None and found[1] >= least:
            self.at += 1
            node = Binary(found[0], node, self.either(found[1] + 1))
        return node

    def _operator(self) -> tuple[str, int] | None:
        token = self.peek()
        return _OPERATORS.get(token.text.upper()) if token is not None and token.kind in ("mark", "word") else None

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
            node = self.either()
            self._must(")")
            return node
        if token.text == "[":
            return Array(self._list("]"))
        self.at -= 1
        raise self.stray()

    def _list(self, end: str) -> tuple[Node, ...]:
        if self.take("mark", end):
            return ()
        items = [self.either()]
        while self.take("mark", ","):
            items.append(self.either())
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
        return [LabelledSeries(_points(compute, line, right), line.label) for line in left]
    if isinstance(right, list):
        return [LabelledSeries(_points(compute, left, line), line.label) for line in right]
    if isinstance(left, LabelledSeries) or isinstance(right, LabelledSeries):
        label = (
            left.label if isinstance(left, LabelledSeries) else right.label if isinstance(right, LabelledSeries) else ""
        )
        return LabelledSeries(_points(compute, left, right), label)
    result = compute(left, right)
    if result is None or math.isinf(result):
        raise Invalid(f"{left:g} {symbol} {right:g} has no result")
    return result


def _points(compute: Operation, left: float | LabelledSeries, right: float | LabelledSeries) -> Points:
    if isinstance(left, LabelledSeries) and isinstance(right, LabelledSeries):
        pairs = [(at, value, right.points[at]) for at, value in left.points.items() if at in right.points]
    elif isinstance(left, LabelledSeries):
        assert isinstance(right, float)
        pairs = [(at, value, right) for at, value in left.points.items()]
    else:
        assert isinstance(right, LabelledSeries)
        pairs = [(at, left, value) for at, value in right.points.items()]
    computed = ((at, compute(one, other)) for at, one, other in pairs)
    return {at: value for at, value in computed if value is not None and math.isfinite(value)}
