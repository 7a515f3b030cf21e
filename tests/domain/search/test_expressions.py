"""What matches a SearchExpression, over documents; and that a store's share of it never leaves out what matches."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clary.domain.conditions import holds
from clary.domain.errors import Invalid
from clary.domain.resources import Record, Scope
from clary.domain.search.expressions import (
    DEEPEST,
    MOST,
    OPERATORS,
    Filter,
    Named,
    Property,
    matches,
    parse,
    sortable,
    values,
)
from clary.domain.search.plan import Kept, condition

JOB = {
    "Name": "Job-1",
    "Made": 1_700_000_000.0,
    "Params": {"eta": "0.1", "objective": "binary:logistic", "depth": "10"},
    "Count": 2,
    "Spot": True,
    "Channels": [
        {"ChannelName": "train", "Uri": "s3://b/train", "Sizes": [1, 2]},
        {"ChannelName": "test", "Uri": "s3://b/test"},
    ],
    "Tags": [{"Key": "team", "Value": "red"}, {"Key": "a.b", "Value": ""}],
    "Metrics": [{"MetricName": "loss", "Max": 0.5}],
    "Learned": {"lr": {"NumberValue": 0.01}, "kind": {"StringValue": "sgd"}},
}
TYPES = {"Made": "time", "Count": "number", "Spot": "flag", "Learned": "any"}


def resolve(name: str, within: str) -> Property:
    words = name.split(".")
    if within:
        return Property(name, tuple(words[1:] if words[0] == within else words), flat=False)
    if words[0] not in JOB:
        raise Invalid(f"Unknown property name: '{name}'")
    if words[0] == "Tags" and len(words) > 1:
        return Property(name, ("Tags", Named("Key", ".".join(words[1:])), "Value"), flat=False)
    if words[0] == "Metrics":
        return Property(name, ("Metrics", Named("MetricName", words[1]), words[2]), "number", flat=False)
    return Property(name, tuple(words), TYPES.get(words[0], "text"), flat=words[0] != "Channels")


def found(*filters: tuple[str, ...], operator: str = "And", **more: Any) -> bool:
    given = [dict(zip(("Name", "Operator", "Value"), each, strict=False)) for each in filters]
    return matches(parse({"Filters": given, "Operator": operator, **more}, resolve), JOB)


@pytest.mark.parametrize(
    ("name", "operator", "value", "wanted"),
    [
        ("Name", "Equals", "Job-1", True),
        ("Name", "Equals", "job-1", False),
        ("Name", "NotEquals", "Job-1", False),
        ("Name", "NotEquals", "x", True),
        ("Params.other", "NotEquals", "x", True),
        ("Name", "Contains", "ob-", True),
        ("Name", "Contains", "x", False),
        ("Name", "In", "x, Job-1", True),
        ("Name", "In", "x,y", False),
        ("Params.eta", "Equals", "0.1", True),
        ("Params.eta", "GreaterThan", "0.09", True),
        ("Params.depth", "LessThan", "9", False),  # as numbers, not as text
        ("Params.objective", "GreaterThan", "a", True),
        ("Params.objective", "GreaterThan", "1", False),  # text is no number
        ("Count", "Equals", "2.0", True),
        ("Count", "GreaterThanOrEqualTo", "2", True),
        ("Count", "LessThan", "2", False),
        ("Count", "In", "1,2", True),
        ("Made", "Equals", "2023-11-14T22:13:20Z", True),
        ("Made", "GreaterThan", "2023-11-14T22:13:19", True),
        ("Made", "LessThanOrEqualTo", "2023-11-14T23:13:20+01:00", True),
        ("Spot", "Equals", "true", True),
        ("Spot", "Equals", "False", False),
        ("Channels.Uri", "Equals", "s3://b/test", True),
        ("Channels.Sizes", "Equals", "2", True),
        ("Channels.Uri", "NotEquals", "s3://b/test", False),  # one of them is
        ("Tags.team", "Equals", "red", True),
        ("Tags.a.b", "Equals", "", True),
        ("Tags.none", "Equals", "red", False),
        ("Metrics.loss.Max", "LessThan", "0.6", True),
        ("Metrics.auc.Max", "LessThan", "0.6", False),
        ("Learned.lr", "GreaterThan", "0.001", True),
        ("Learned.kind", "Equals", "sgd", True),
    ],
)
def test_operators(name: str, operator: str, value: str, wanted: bool) -> None:
    assert found((name, operator, value)) is wanted


def test_existence() -> None:
    assert found(("Params.eta", "Exists"))
    assert not found(("Params.gamma", "Exists"))
    assert found(("Params.gamma", "NotExists"))
    assert not found(("Tags.team", "NotExists"))


def test_equals_is_what_is_meant_without_an_operator() -> None:
    assert matches(parse({"Filters": [{"Name": "Name", "Value": "Job-1"}]}, resolve), JOB)


def test_and_or_and_sub_expressions() -> None:
    yes, no = ("Name", "Equals", "Job-1"), ("Name", "Equals", "x")
    assert not found(yes, no)
    assert found(yes, no, operator="Or")
    assert found()
    sub = {"Filters": [{"Name": "Name", "Operator": "Equals", "Value": "Job-1"}]}
    assert found(no, operator="Or", SubExpressions=[{"SubExpressions": [sub]}])
    assert not found(no, SubExpressions=[sub])


def test_nested_filters_hold_for_one_element() -> None:
    def nested(channel: str, uri: str) -> bool:
        filters = [{"Name": "Channels.ChannelName", "Value": channel}, {"Name": "Uri", "Value": uri}]
        return found(NestedFilters=[{"NestedPropertyName": "Channels", "Filters": filters}])

    assert nested("train", "s3://b/train")
    assert not nested("train", "s3://b/test")


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ({"Filters": [{"Name": "None", "Value": "1"}]}, "Unknown property name: 'None'"),
        (
            {"Filters": [{"Name": "Count", "Operator": "GreaterThan", "Value": "many"}]},
            "'many' for Count is not a number",
        ),
        ({"Filters": [{"Name": "Made", "Value": "noon"}]}, "is not a time"),
        ({"Filters": [{"Name": "Spot", "Value": "yes"}]}, "neither true nor false"),
        ({"Filters": [{"Name": "Name", "Operator": "Equals"}]}, "needs a Value"),
        ({"Filters": [{"Name": "Name", "Operator": "Exists", "Value": "1"}]}, "takes no Value"),
        ({"Filters": [{"Name": "Name", "Value": "1"}] * (MOST + 1)}, f"at most {MOST} conditions"),
    ],
)
def test_bad_expressions(expression: dict[str, Any], why: str) -> None:
    with pytest.raises(Invalid, match=why):
        parse(expression, resolve)


def test_expressions_nest_so_deep() -> None:
    deep: dict[str, Any] = {}
    for _ in range(DEEPEST + 1):
        deep = {"SubExpressions": [deep]}
    with pytest.raises(Invalid, match=f"at most {DEEPEST} SubExpressions"):
        parse(deep, resolve)


def test_values_sort_as_numbers_then_as_text() -> None:
    assert sorted([None, "b", "10", 9, {"NumberValue": 1.5}, "a"], key=sortable) == [
        None,
        {"NumberValue": 1.5},
        9,
        "10",
        "a",
        "b",
    ]
    assert list(values(JOB, ("Channels", "Sizes"))) == [1, 2]


# -- the store's share ----------------------------------------------------------------------------------------------------------

KEPT = Kept(
    {"Name": "name", "Made": "created"},
    terms=("Channels.ChannelName",),
    verbatim=("Params", "Count", "Spot", "Channels", "Learned"),
)
_NAMES = ["Name", "Made", "Params.eta", "Params.none", "Count", "Spot", "Channels.Uri", "Tags.team", "Learned.lr"]
_VALUES = ["Job-1", "job", "0.1", "2", "2.0", "true", "s3://b/test", "red", "0.01", "1700000000", 'q"\\é\n']
_texts = st.one_of(st.sampled_from(_VALUES), st.text(max_size=5))


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    texts = st.sampled_from(_VALUES)
    return {
        "Params": draw(st.dictionaries(st.sampled_from(["eta", "none"]), texts, max_size=2)),
        "Count": draw(st.sampled_from([1, 2, 2.0])),
        "Spot": draw(st.booleans()),
        "Channels": [{"ChannelName": "c", "Uri": draw(texts)}],
        "Learned": {"lr": {"NumberValue": draw(st.sampled_from([0.01, 2.0]))}},
    }


@given(
    documents(),
    st.lists(st.tuples(st.sampled_from(_NAMES), st.sampled_from(OPERATORS), _texts), max_size=3),
    st.booleans(),
)
def test_no_match_is_left_out_by_the_store(
    request: dict[str, Any], asked: list[tuple[str, str, str]], any_of: bool
) -> None:
    filters = [
        {"Name": name, "Operator": operator} | ({} if operator.endswith("Exists") else {"Value": value})
        for name, operator, value in asked
    ]
    try:
        expression = parse({"Filters": filters, "Operator": "Or" if any_of else "And"}, resolve)
    except Invalid:
        return
    tags = [{"Key": "team", "Value": "red"}]
    document = {"request": request, "tags": tags, "terms": {"Channels.ChannelName": ["c"]}}
    record = Record("x", Scope("0", "r"), "Job-1", "arn", "", 1_700_000_000.0, 1.0, document)
    shown = {**request, "Name": "Job-1", "Made": 1_700_000_000.0, "Tags": tags}
    known = condition(expression, KEPT)
    if matches(expression, shown):
        assert known is None or holds(known, record, json.dumps(document, ensure_ascii=False))


def test_what_the_store_is_asked() -> None:
    def asked(name: str, operator: str = "Equals", value: str = "1") -> str:
        part: Any = parse({"Filters": [{"Name": name, "Operator": operator, "Value": value}]}, resolve)
        assert isinstance(part.parts[0], Filter)
        return repr(condition(part, KEPT))

    assert asked("Name") == "Column(column='name', operator='=', value='1')"
    assert asked("Tags.team") == "Term(key='Tags.team', value='1')"
    assert asked("Channels.ChannelName") == "Term(key='Channels.ChannelName', value='1')"
    assert asked("Params.eta") == "Member(path=('request', 'Params', 'eta'), value='1')"
    assert asked("Params.eta", "Contains") == "Text(text='1')"
    assert asked("Channels.Uri", value='a"b') == 'Text(text=\'"a\\\\"b"\')'
    assert asked("Params.eta", "GreaterThan") == "Ordered(path=('request', 'Params', 'eta'), operator='>', value=1.0)"
    assert asked("Params.eta", "GreaterThan", "a") == "None"
