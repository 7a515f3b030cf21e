"""A call's bucket, path, arguments and names, without a server."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from clary.objects.errors import S3Error
from clary.objects.request import Call, bucket_of_host, check_bucket_name, check_key, parse_query


def call(headers: dict[str, str] | None = None, path: str = "/b/k", query: str = "", method: str = "GET") -> Call:
    head = SimpleNamespace(items=lambda: list((headers or {}).items()))
    scope = SimpleNamespace(method=method, path=path, query_string=query, headers=head)
    return Call(scope, None, (), 1000.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("host", "bucket"),
    [
        ("127.0.0.1:4600", ""),
        ("localhost:4600", ""),
        ("clary.example", ""),
        ("s3.amazonaws.com", ""),
        ("s3.us-east-1.amazonaws.com", ""),
        ("s3-us-west-2.amazonaws.com", ""),
        ("b.s3.amazonaws.com", "b"),
        ("my.dotted.s3.eu-west-1.amazonaws.com:443", "my.dotted"),
        ("b.s3-eu-west-1.amazonaws.com", "b"),
        ("b.s3.dualstack.eu-west-1.amazonaws.com", "b"),
        ("b.s3.cn-north-1.amazonaws.com.cn", "b"),
        ("b.localhost:4600", "b"),
        ("B.LocalHost", "b"),
        ("s3.localhost", ""),
        ("s3.us-east-1.localhost:4600", ""),
        ("b.s3.localhost", "b"),
        ("b.s3.us-east-1.localhost", "b"),
        ("a.b.clary.example:4600", "a.b"),
        ("1.127.0.0.1", ""),
        ("", ""),
    ],
)
def test_the_bucket_of_a_host(host: str, bucket: str) -> None:
    assert bucket_of_host(host, ("clary.example", "127.0.0.1")) == bucket


def test_a_path_is_split_once() -> None:
    found = call(path="/b/a//b/../c")
    assert (found.bucket, found.key) == ("b", "a//b/../c")
    assert (call(path="/b/").key, call(path="/").bucket, call(path="/b//x").key) == ("", "", "/x")
    hosted = call({"host": "b.localhost"}, path="/a/b")
    assert (hosted.bucket, hosted.key) == ("b", "a/b")
    assert call(path="/b/ü +1").path == "/b/%C3%BC%20%2B1"


def test_arguments_are_decoded() -> None:
    assert parse_query("a=1%2B+2&b&c=&%64=%e9%80%80&X-Amz-Signature=1") == {"a": "1+ 2", "b": "", "c": "", "d": "退"}


@pytest.mark.parametrize("text", ["x", "-1", "99999999999999", "1.5"])
def test_a_number_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(S3Error, match="InvalidArgument"):
        call(query=f"max-keys={text}").number("max-keys", 1, 0, 1000)


@pytest.mark.parametrize("name", ["abc", "a-b.c", "sagemaker-us-east-1-000000000000", "1bucket", "a" * 63])
def test_good_bucket_names(name: str) -> None:
    check_bucket_name(name)


@pytest.mark.parametrize(
    "name",
    ["ab", "a" * 64, "Bad", "a_b", "-ab", "ab-", "a..b", "a.-b", "192.168.5.4", "xn--a", "a-s3alias", "%2e%2e", ".."],
)
def test_bad_bucket_names(name: str) -> None:
    with pytest.raises(S3Error, match="InvalidBucketName"):
        check_bucket_name(name)


def test_a_key_has_1024_bytes() -> None:
    check_key("é" * 512)
    with pytest.raises(S3Error, match="KeyTooLongError"):
        check_key("é" * 513)
