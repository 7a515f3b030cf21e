"""Ranges and conditional headers, without a server."""

from __future__ import annotations

import pytest
from tests.objects.test_request import call

from clary.domain.objects.items import Item
from clary.objects import conditions
from clary.objects.errors import NotModified, S3Error


@pytest.mark.parametrize(
    ("text", "size", "want"),
    [
        ("bytes=0-9", 100, (0, 10)),
        ("bytes=90-", 100, (90, 100)),
        ("bytes=-10", 100, (90, 100)),
        ("bytes=-1000", 100, (0, 100)),
        ("bytes=0-1000", 100, (0, 100)),
        ("BYTES = 1-1", 100, (1, 2)),
        ("bytes=9-1", 100, None),
        ("bytes=0-1,3-4", 100, None),
        ("bytes=0-1," * 10_000, 100, None),
        ("lines=1-2", 100, None),
        ("bytes=a-b", 100, None),
        ("bytes=-", 100, None),
        ("bytes=0-" + "9" * 20, 100, (0, 100)),
        ("bytes=5-" + "9" * 5000, 100, (5, 100)),
        ("bytes=-" + "9" * 20, 100, (0, 100)),
        ("bytes=" + "0" * 30 + "1-" + "0" * 30 + "2", 100, (1, 3)),
        ("bytes=" + "9" * 30 + "-" + "9" * 29, 100, None),
    ],
)
def test_a_range_is_one_or_none(text: str, size: int, want: tuple[int, int] | None) -> None:
    assert conditions.byte_range(text, size) == want


@pytest.mark.parametrize(
    ("text", "size"),
    [("bytes=100-", 100), ("bytes=-0", 100), ("bytes=" + "9" * 30 + "-", 100), ("bytes=0-", 0), ("bytes=-5", 0)],
)
def test_a_range_of_nothing_is_416(text: str, size: int) -> None:
    with pytest.raises(S3Error) as raised:
        conditions.byte_range(text, size)
    assert (raised.value.code, raised.value.status) == ("InvalidRange", 416)
    assert raised.value.headers == (("content-range", f"bytes */{size}"),)


BEFORE, AT, AFTER = (conditions.http_date(seconds) for seconds in (999, 1000, 1001))


@pytest.mark.parametrize(
    ("headers", "want"),
    [
        ({"if-match": '"e"'}, 200),
        ({"if-match": '"x", "e"'}, 200),
        ({"if-match": "*"}, 200),
        ({"if-match": '"x"'}, 412),
        ({"if-none-match": '"e"'}, 304),
        ({"if-none-match": 'W/"e"'}, 304),
        ({"if-none-match": '"x"'}, 200),
        ({"if-modified-since": AT}, 304),
        ({"if-modified-since": BEFORE}, 200),
        ({"if-modified-since": "nonsense"}, 200),
        ({"if-unmodified-since": AT}, 200),
        ({"if-unmodified-since": BEFORE}, 412),
        # RFC 9110 13.2.2: an ETag outweighs a date.
        ({"if-match": '"e"', "if-unmodified-since": BEFORE}, 200),
        ({"if-none-match": '"x"', "if-modified-since": AFTER}, 200),
    ],
)
def test_conditions_of_a_read(headers: dict[str, str], want: int) -> None:
    item = Item("k", "null", 1, "e", 1000.4, "b")
    try:
        conditions.check_read(call(headers), item, ())
        got: int | None = 200
    except (S3Error, NotModified) as error:
        got = error.status
    assert got == want


def test_a_copy_answers_every_condition_with_412() -> None:
    item = Item("k", "null", 1, "e", 1000.4, "b")
    for name, value in (("if-none-match", '"e"'), ("if-modified-since", AT)):
        with pytest.raises(S3Error, match="PreconditionFailed"):
            conditions.check_read(call({"x-amz-copy-source-" + name: value}), item, (), "x-amz-copy-source-")


def test_dates_are_http_s_own() -> None:
    assert conditions.http_date(0) == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert conditions.parse_date("Thu, 01 Jan 1970 00:00:10 GMT") == 10
    assert conditions.iso_date(1.9) == "1970-01-01T00:00:01.000Z"
