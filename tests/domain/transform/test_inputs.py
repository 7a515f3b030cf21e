"""Which objects a transform job reads, and what its outputs are called."""

from __future__ import annotations

import json

import pytest

from clary.domain.errors import Invalid
from clary.domain.s3 import Location
from clary.domain.transform.inputs import manifest_names, output_key, relative_names

MANIFEST = "s3://b/lists/m"


def manifest(prefix: str, *names: object) -> bytes:
    return json.dumps([{"prefix": prefix}, *names]).encode()


def test_names_are_relative_to_the_folder_and_empty_objects_are_passed_over() -> None:
    found = relative_names("in", {"in/deep/b.csv": 1, "in/a.csv": 1, "in/": 0, "in/empty.csv": 0})
    assert found == {"in/a.csv": "a.csv", "in/deep/b.csv": "deep/b.csv"}
    assert relative_names("in/a.csv", {"in/a.csv": 1}) == {"in/a.csv": "a.csv"}


def test_a_manifest_of_a_hundred_thousand_entries_names_them_all() -> None:
    names = [f"{number // 1000:03d}/{number:06d}.csv" for number in range(100_000)]
    assert manifest_names(manifest("s3://other/p/", *names), MANIFEST) == (
        "other",
        {f"p/{name}": name for name in names},
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (manifest("s3://b/lists/", "a.csv", "m"), 'The manifest "s3://b/lists/m" lists itself'),
        (b"[", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"{}", "must be a JSON list that starts with"),
        (b'["a.csv"]', "must be a JSON list that starts with"),
        (manifest("s3://b/p/", "a.csv", 7), "lists 7: after the prefix every entry is a text"),
        (manifest("s3://b/p/", ""), 'lists "": after the prefix every entry is a text'),
    ],
)
def test_a_manifest_that_cannot_be_followed_is_told(text: bytes, words: str) -> None:
    with pytest.raises(Invalid) as caught:
        manifest_names(text, MANIFEST)
    assert words in caught.value.message


def test_an_output_is_called_by_its_input() -> None:
    assert output_key(Location("b", "out/"), "deep/a.csv") == "out/deep/a.csv.out"
    assert output_key(Location("b", ""), "a.csv") == "a.csv.out"
