from __future__ import annotations

import pytest

from clary.domain.errors import Invalid
from clary.domain.s3 import Location, parse_uri


@pytest.mark.parametrize(
    ("uri", "bucket", "key"),
    [
        ("s3://b/a/c.csv", "b", "a/c.csv"),
        ("s3://b", "b", ""),
        ("https://s3-us-west-2.amazonaws.com/b/a/c.csv", "b", "a/c.csv"),
        ("https://s3.us-west-2.amazonaws.com/b/a", "b", "a"),
        ("https://s3.amazonaws.com/b", "b", ""),
        ("https://b.s3.eu-west-1.amazonaws.com/a/c", "b", "a/c"),
        ("https://b.s3.amazonaws.com/a", "b", "a"),
        ("https://my.b.s3-eu-west-1.amazonaws.com/a", "my.b", "a"),
        ("https://my.s3.b.s3.us-east-1.amazonaws.com/a", "my.s3.b", "a"),
        ("https://b.s3.cn-north-1.amazonaws.com.cn/a", "b", "a"),
    ],
)
def test_every_form_of_uri_that_notebooks_use(uri: str, bucket: str, key: str) -> None:
    assert parse_uri(uri) == Location(bucket, key)


@pytest.mark.parametrize(
    "uri",
    ["b/a", "https://example.com/b/a", "http://169.254.169.254/x", "file:///etc/passwd", "https://s3.amazonaws.com/"],
)
def test_what_is_no_s3_uri_is_refused(uri: str) -> None:
    with pytest.raises(Invalid):
        parse_uri(uri)
