"""Rows of use, grouped and priced."""

from __future__ import annotations

import pytest

from clary.domain.costs.kept import DAY
from clary.domain.costs.report import Prices, check_group, prices, report
from clary.domain.costs.use import Use, UseRow
from clary.domain.errors import Invalid

ROWS = [
    UseRow("endpoint", "shop", "1", "r", DAY * 5, Use(3600, 7200, 3600, 0, 0), {"team": "a"}),
    UseRow("endpoint", "shop", "1", "r", DAY * 6, Use(3600, 7200, 3600, 0, 0), {"team": "a"}),
    UseRow("training job", "nightly", "1", "r", DAY * 6 + 7, Use(10, 3600, 80, 3600, 1 << 30), {}),
]


def test_days_of_one_endpoint_are_one_group_and_the_largest_comes_first() -> None:
    told = report(ROWS, "name", 0, None)
    assert [(group["kind"], group["name"], group["vcpu_seconds"]) for group in told["groups"]] == [
        ("endpoint", "shop", 14400),
        ("training job", "nightly", 3600),
    ]
    assert told["total"]["vcpu_seconds"] == 18000
    assert "cost" not in told["total"]


def test_what_was_before_is_left_out_by_whole_days() -> None:
    told = report(ROWS, "kind", DAY * 6 + 100, None)
    assert {group["kind"]: group["vcpu_seconds"] for group in told["groups"]} == {
        "endpoint": 7200,
        "training job": 3600,
    }


def test_prices_decide_what_comes_first() -> None:
    told = report(ROWS, "tag:team", 0, Prices(vcpu_hour=1, gpu_hour=10, gb_data=2))
    assert [(group["tag:team"], group["cost"]) for group in told["groups"]] == [("(no tag)", 13.0), ("a", 4.0)]
    assert told["total"]["cost"] == 17.0


@pytest.mark.parametrize(
    ("table", "words"), [({"cpu": "1"}, "no price 'cpu'"), ({"gb_hour": "-1"}, "gb_hour is a number")]
)
def test_what_is_no_price_is_named(table: dict[str, str], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        prices(table)
    assert prices({}) is None


@pytest.mark.parametrize("by", ["", "tag:", "size"])
def test_a_strange_group_is_refused(by: str) -> None:
    with pytest.raises(Invalid, match="grouped by"):
        check_group(by)
