from __future__ import annotations

from typing import Any

import pytest

from clary.domain.errors import Invalid
from clary.domain.tuning import ranges
from clary.domain.tuning.ranges import Range


def continuous(low: str, high: str, scale: str = "Auto", name: str = "x") -> dict[str, Any]:
    return {"Name": name, "MinValue": low, "MaxValue": high, "ScalingType": scale}


def one(kind: str, entry: dict[str, Any]) -> Range:
    return ranges.of({kind: [entry]})[0]


@pytest.mark.parametrize(
    ("low", "high", "asked", "scale"),
    [
        ("0.001", "1", "Auto", "log"),
        ("0.0011", "1", "Auto", "linear"),
        ("0", "1000", "Auto", "linear"),
        ("-1", "1", "Auto", "linear"),
        ("1e-9", "1", "Linear", "linear"),
        ("1e-2", "1", "Logarithmic", "log"),
        ("0", "0.999", "ReverseLogarithmic", "reverse"),
    ],
)
def test_the_scale_of_a_range(low: str, high: str, asked: str, scale: str) -> None:
    assert one("ContinuousParameterRanges", continuous(low, high, asked)).scale == scale


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"ContinuousParameterRanges": [continuous("2", "1")]}, "MinValue 2 .* greater than its MaxValue 1"),
        ({"IntegerParameterRanges": [continuous("2", "1")]}, "MinValue 2 .* greater than its MaxValue 1"),
        ({"IntegerParameterRanges": [continuous("1.5", "3")]}, "'1.5' of the hyperparameter 'x' is not an integer"),
        ({"ContinuousParameterRanges": [continuous("one", "3")]}, "'one' of the hyperparameter 'x' is not a number"),
        ({"ContinuousParameterRanges": [continuous("nan", "3")]}, "'nan' .* is not a number"),
        ({"ContinuousParameterRanges": [continuous("0", "inf")]}, "'inf' .* is not a number"),
        ({"ContinuousParameterRanges": [continuous("0", "1", "Logarithmic")]}, "must be greater than 0"),
        ({"ContinuousParameterRanges": [continuous("0", "1", "ReverseLogarithmic")]}, "within 0 <= x < 1"),
        ({"ContinuousParameterRanges": [continuous("-1", "0", "ReverseLogarithmic")]}, "within 0 <= x < 1"),
        ({"IntegerParameterRanges": [continuous("0", "1", "ReverseLogarithmic")]}, "for continuous ranges"),
        ({"CategoricalParameterRanges": [{"Name": "x", "Values": []}]}, "at least one value"),
        ({"CategoricalParameterRanges": [{"Name": "x", "Values": ["a", "a"]}]}, "more than once"),
        ({"CategoricalParameterRanges": [{"Name": "x", "Values": [str(n) for n in range(31)]}]}, "at most 30"),
        (
            {
                "IntegerParameterRanges": [continuous("1", "2")],
                "CategoricalParameterRanges": [{"Name": "x", "Values": ["a"]}],
            },
            "'x' has more than one range",
        ),
        ({"IntegerParameterRanges": [continuous("1", "2", name=f"p{n}") for n in range(31)]}, "At most 30"),
        ({"AutoParameters": [{"Name": "x", "ValueHint": "1"}]}, "needs Autotune"),
    ],
)
def test_a_range_that_is_none_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        ranges.of(given)


@pytest.mark.parametrize(
    ("hint", "found"),
    [
        ("5", Range("x", "int", 1, 50)),
        ("-20", Range("x", "int", -200, -2)),
        ("0.5", Range("x", "float", 0.05, 5.0, "log")),
        ("-0.5", Range("x", "float", -5.0, -0.05)),
        ("1e3", Range("x", "float", 100.0, 10_000.0, "log")),
    ],
)
def test_autotune_looks_around_the_hint(hint: str, found: Range) -> None:
    assert ranges.of({"AutoParameters": [{"Name": "x", "ValueHint": hint}]}, autotune=True) == (found,)


@pytest.mark.parametrize("hint", ["relu", "0", "inf", ""])
def test_autotune_refuses_by_name_what_is_no_hint(hint: str) -> None:
    with pytest.raises(Invalid, match=f"'x' from the ValueHint '{hint}'"):
        ranges.of({"AutoParameters": [{"Name": "x", "ValueHint": hint}]}, autotune=True)


@pytest.mark.parametrize(
    ("of", "raw", "text"),
    [
        (Range("x", "float", 0, 1), 0.25, "0.25"),
        (Range("x", "float", 0, 1), 1, "1.0"),
        (Range("x", "int", 1, 9), 3, "3"),
        (Range("x", "categorical", choices=('"a"', "b")), '"a"', '"a"'),
        (Range("x", "float", 0.5, 0.75, "reverse"), 0.375, "0.625"),
    ],
)
def test_a_value_becomes_a_text_and_is_found_again(of: Range, raw: ranges.Raw, text: str) -> None:
    assert of.text(raw) == text
    assert of.raw(text) == raw


def test_rounding_does_not_leave_the_range() -> None:
    assert Range("x", "float", 0.1, 0.3, "reverse").text(1 - 0.3 - 1e-17) == "0.3"


@pytest.mark.parametrize(
    ("of", "text"),
    [
        (Range("x", "float", 0, 1), "1.5"),
        (Range("x", "float", 0, 1), "None"),
        (Range("x", "int", 1, 9), "2.5"),
        (Range("x", "categorical", choices=("a",)), "b"),
    ],
)
def test_another_jobs_value_outside_of_the_range_is_none_of_ours(of: Range, text: str) -> None:
    assert of.raw(text) is None


def test_a_reversed_range_is_sampled_from_its_other_end() -> None:
    sampled = Range("x", "float", 0.5, 0.75, "reverse").sampled()
    assert (sampled["low"], sampled["high"], sampled["log"]) == (0.25, 0.5, True)


def test_a_grid_has_every_combination_once() -> None:
    of = (Range("a", "categorical", choices=("1", "2")), Range("b", "categorical", choices=("x", "y", "z")))
    found = [ranges.combination(of, number) for number in range(ranges.combinations(of))]
    assert found[:4] == [{"a": "1", "b": "x"}, {"a": "1", "b": "y"}, {"a": "1", "b": "z"}, {"a": "2", "b": "x"}]
    assert len({tuple(each.values()) for each in found}) == 6
