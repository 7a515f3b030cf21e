"""What a backup says of itself."""

from __future__ import annotations

import json

import pytest

from clary.app.backup.manifest import KeptFile, Manifest, name_at
from clary.domain.errors import Unavailable

ONE = Manifest(
    name="2026-12-02T10-00-00Z",
    clary="1.0",
    account="1",
    index="i",
    files={"records.db": KeptFile("aa", 10), "keys/master": KeptFile("bb", 3, 0o600, 7)},
    blobs={"0000010001": KeptFile("aa", 10), "0000010002": KeptFile("cc", 5)},
    parts={"u.1": KeptFile("dd", 1)},
)


def test_it_is_read_as_it_was_written() -> None:
    assert Manifest.parse(ONE.dump(), "here") == ONE


def test_contents_count_once() -> None:
    assert ONE.contents() == {"aa": 10, "bb": 3, "cc": 5, "dd": 1}


def test_names_sort_by_time() -> None:
    assert name_at(1796205600.9) == "2026-12-02T10-00-00Z" < name_at(1796205601)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"format": 1}', ONE.dump()[:-9], ONE.dump().replace(b'"sha256"', b'"md5"')]
)
def test_what_is_torn_is_told(data: bytes) -> None:
    with pytest.raises(Unavailable, match=r"^here is damaged"):
        Manifest.parse(data, "here")


def test_a_newer_format_is_told() -> None:
    newer = {**json.loads(ONE.dump()), "format": 2}
    with pytest.raises(Unavailable, match="has format 2, and this Clary reads 1"):
        Manifest.parse(json.dumps(newer).encode(), "here")
