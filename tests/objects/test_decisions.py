"""The decisions that need no server: XML, conditions, ranges, addresses, checksums, names."""

from __future__ import annotations

import base64
import os
import zlib
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clary.domain.errors import Invalid
from clary.domain.objects.items import Item, successor
from clary.objects import conditions, crc, metadata, xml
from clary.objects.errors import NotModified, S3Error
from clary.objects.files import checked_names
from clary.objects.request import Call, bucket_of_host, check_bucket_name, check_key, parse_query
from clary.wire.checksums import checksum


def call(headers: dict[str, str] | None = None, path: str = "/b/k", query: str = "", method: str = "GET") -> Call:
    head = SimpleNamespace(items=lambda: list((headers or {}).items()))
    scope = SimpleNamespace(method=method, path=path, query_string=query, headers=head)
    return Call(scope, None, (), 1000.0)  # type: ignore[arg-type]


# -- XML -----------------------------------------------------------------------------------------------------------------------


def test_a_document_is_written_and_read_back() -> None:
    content = {"A": "x & <y>", "L": [{"K": "1", "V": "é"}, {"K": "2"}], "N": None, "E": "", "T": True, "I": 7}
    text = xml.document("Root", content)
    assert text.startswith(
        b'<?xml version="1.0" encoding="UTF-8"?>\n<Root xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    )
    root, found = xml.parse(text)
    assert root == "Root"
    assert found == {
        "A": ["x & <y>"], "L": [{"K": ["1"], "V": ["é"]}, {"K": ["2"]}], "E": [""], "T": ["true"], "I": ["7"],
    }  # fmt: skip


@pytest.mark.parametrize(
    "bad",
    [
        b"", b"<a>", b"<a></b>", b"x", b"<a/><b/>", b"<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>", b"<a>&nothing;</a>",
        b"<a>" * 100 + b"</a>" * 100, b"\xff\xfe\x00", b"<a>\xff</a>",
    ],
)  # fmt: skip
def test_what_is_no_document_is_refused(bad: bytes) -> None:
    with pytest.raises(xml.Malformed):
        xml.parse(bad)


@given(st.binary(max_size=200))
def test_random_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        xml.parse(data)
    except xml.Malformed:
        pass


# -- ranges and conditions -----------------------------------------------------------------------------------------------------


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


# -- addresses and names -------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    "keys",
    [
        {"k": "../x"}, {"k": "/x"}, {"k": "a//b"}, {"k": "a/./b"}, {"k": ""}, {"k": "x" * 256}, {"k": "a\0b"}, {"k": "a/"},
        {"k": "a", "k2": "a/b"}, {"k": "same", "k2": "same"},
    ],
)  # fmt: skip
def test_names_that_cannot_be_files(keys: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        checked_names(keys)


@given(st.binary(max_size=20), st.binary(max_size=3))
def test_the_successor_is_above_every_extension(prefix: bytes, more: bytes) -> None:
    above = successor(prefix)
    assert above is None or (above > prefix + more and above > prefix)


# -- checksums and metadata ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME"])
@pytest.mark.parametrize("sizes", [(1, 1), (0, 5), (5, 0), (1000, 70_000)])
def test_the_crc_of_two_pieces(algorithm: str, sizes: tuple[int, int]) -> None:
    first, second = os.urandom(sizes[0]), os.urandom(sizes[1])

    def of(data: bytes) -> bytes:
        sums = checksum(algorithm)
        sums.update(data)
        return sums.digest()

    assert crc.combine(algorithm, of(first), of(second), len(second)) == of(first + second)


def test_the_crc_agrees_with_zlib() -> None:
    whole = crc.combine("CRC32", zlib.crc32(b"ab").to_bytes(4, "big"), zlib.crc32(b"cd").to_bytes(4, "big"), 2)
    assert int.from_bytes(whole, "big") == zlib.crc32(b"abcd")


def test_only_an_objects_own_headers_are_kept() -> None:
    headers = {
        "content-type": "a/b", "content-encoding": "gzip,aws-chunked", "x-amz-meta-a": "1", "x-amz-date": "x", "authorization": "x",
        "x-amz-storage-class": "STANDARD", "cookie": "x",
    }  # fmt: skip
    assert metadata.kept_headers(headers) == {"content-type": "a/b", "content-encoding": "gzip", "x-amz-meta-a": "1"}
    assert metadata.kept_headers({"content-encoding": "aws-chunked"}) == {"content-type": "binary/octet-stream"}
    with pytest.raises(S3Error, match="MetadataTooLarge"):
        metadata.kept_headers({"x-amz-meta-a": "v" * 2048})


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"x-amz-acl": "public-read"}, "AccessControlListNotSupported"),
        ({"x-amz-grant-read": "x"}, "AccessControlListNotSupported"),
        ({"x-amz-server-side-encryption-customer-key": "x"}, "NotImplemented"),
        ({"x-amz-object-lock-mode": "GOVERNANCE"}, "NotImplemented"),
        ({"x-amz-storage-class": "SHELF"}, "InvalidArgument"),
        ({"x-amz-server-side-encryption": "rot13"}, "InvalidArgument"),
    ],
)
def test_what_would_have_to_act_is_refused(headers: dict[str, str], code: str) -> None:
    with pytest.raises(S3Error, match=code):
        metadata.check_write_headers(headers)


@pytest.mark.parametrize(
    "headers",
    [
        {"x-amz-checksum-crc32": "!"},
        {"x-amz-checksum-crc32": base64.b64encode(b"12345").decode()},
        {"x-amz-checksum-crc32": "AAAAAA==", "x-amz-checksum-sha1": "x"},
    ],
)
def test_a_checksum_that_is_none_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(S3Error, match="InvalidRequest"):
        metadata.declared_checksum(headers)


@pytest.mark.parametrize(
    "pairs",
    [[("a", "1"), ("a", "2")], [("", "x")], [("aws:x", "1")], [("k" * 129, "")], [("k", "v" * 257)], [("k", "v")] * 11],
)
def test_tags_have_rules(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(S3Error, match="InvalidTag"):
        metadata.checked_tags(pairs, 10)
