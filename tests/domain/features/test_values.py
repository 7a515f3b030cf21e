"""What a record may hold (`domain/features/values.py`)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.domain.features.test_online import GROUP

from clary.domain.errors import Invalid
from clary.domain.features import values
from clary.domain.features.groups import Feature

ALL = replace(
    GROUP,
    features={
        **GROUP.features,
        "f": Feature("f", "Fractional"),
        "list": Feature("list", "Integral", "List"),
        "set": Feature("set", "String", "Set"),
        "vector": Feature("vector", "Fractional", "Vector", 2),
    },
)
TEXT = replace(GROUP, features={**GROUP.features, "at": Feature("at", "String")})


def record(**given: Any) -> list[dict[str, Any]]:
    key = {str: "ValueAsString", list: "ValueAsStringList"}
    return [{"FeatureName": name, key[type(value)]: value} for name, value in {"id": "a", "at": "1", **given}.items()]


def test_values_stay_as_they_were_sent() -> None:
    given = {"n": "-0012", "f": "1e-3", "list": ["1", "1"], "set": ["a", "b"], "vector": ["1", "NaN"]}
    assert values.checked(ALL, record(**given)) == ({"id": "a", "at": "1", **given}, 1.0)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"x": "1"}, "not defined"),
        ({"n": "1.0"}, "no Integral"),
        ({"n": "9223372036854775808"}, "no Integral"),
        ({"n": "\u0663"}, "no Integral"),
        ({"f": "1,5"}, "no Fractional"),
        ({"f": "1_0"}, "no Fractional"),
        ({"f": ["1"]}, "no collection"),
        ({"list": "1"}, "give ValueAsStringList"),
        ({"set": ["a", "a"]}, "twice"),
        ({"vector": ["1"]}, "2 values; 1"),
        ({"id": ""}, "record identifier"),
        ({"at": ""}, "no Fractional"),
        ({"at": "2024-05-01T00:00:00Z"}, "no Fractional"),
        ({"at": "-1"}, "must be Unix seconds"),
        ({"at": "Infinity"}, "must be Unix seconds"),
        ({"id": "a" * 300_000}, "longer than"),
        ({"set": ["a" * 200_000, "b" * 200_000]}, "are the most"),
    ],
)
def test_what_does_not_fit_is_named(given: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        values.checked(ALL, record(**given))


def test_a_feature_stands_in_a_record_once() -> None:
    with pytest.raises(Invalid, match="twice"):
        values.checked(ALL, [*record(), *record()])
    with pytest.raises(Invalid, match="only one of them"):
        values.checked(ALL, [{"FeatureName": "n", "ValueAsString": "1", "ValueAsStringList": ["1"]}])


@pytest.mark.parametrize(("text", "at"), [("1970-01-01T00:00:01Z", 1.0), ("2024-02-29T12:00:00.250Z", 1709208000.25)])
def test_event_times_as_text(text: str, at: float) -> None:
    assert values.event_time(TEXT, text) == at


@pytest.mark.parametrize(
    "text",
    ["2024-02-30T00:00:00Z", "2024-05-01T00:00:00", "2024-05-01T00:00:00+00:00", "2024-05-01 00:00:00Z", "1", ""],
)
def test_other_texts_are_no_event_times(text: str) -> None:
    with pytest.raises(Invalid, match="yyyy-MM-dd"):
        values.event_time(TEXT, text)


def test_the_identifier_is_not_updated() -> None:
    assert values.partial(ALL, [{"FeatureName": "n", "ValueAsString": "1"}]) == {"n": "1"}
    with pytest.raises(Invalid, match="cannot be updated"):
        values.partial(ALL, [{"FeatureName": "id", "ValueAsString": "1"}])
