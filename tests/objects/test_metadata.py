"""An object's own headers and tags."""

from __future__ import annotations

import base64

import pytest

from clary.objects import metadata
from clary.objects.errors import S3Error


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
