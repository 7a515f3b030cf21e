from __future__ import annotations

import json
from typing import Any

import pytest

from clary.domain.errors import Invalid
from clary.domain.jobs.channels import Item, channels, names_under, parse_augmented, parse_manifest, share
from clary.domain.s3 import Location


@pytest.mark.parametrize(
    ("prefix", "keys", "names"),
    [
        ("d/train", ["d/train/a.csv", "d/train/x/b.csv"], ["a.csv", "x/b.csv"]),
        ("d/train/", ["d/train/a.csv"], ["a.csv"]),
        ("d/train/a.csv", ["d/train/a.csv"], ["a.csv"]),
        ("d/tr", ["d/train/a.csv", "d/trial.csv"], ["train/a.csv", "trial.csv"]),
        ("d/train", ["d/train/a.csv", "d/train-2/b.csv"], ["a.csv", "train-2/b.csv"]),
        ("", ["a.csv", "x/b.csv"], ["a.csv", "x/b.csv"]),
    ],
)
def test_names_below_a_prefix(prefix: str, keys: list[str], names: list[str]) -> None:
    assert sorted(names_under(prefix, dict.fromkeys(keys, 1)).values()) == sorted(names)


def test_folder_marks_of_consoles_name_nothing() -> None:
    assert names_under("d", {"d/": 0, "d/x/": 0, "d/a": 3}) == {"d/a": "a"}


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"d/x/../y": 1}, "d/x/../y"),
        ({"d/./y": 1}, "d/./y"),
        ({"d//y": 1}, "d//y"),
        ({"d/y/": 5}, "d/y/"),
        ({"d/" + "n" * 256: 1}, "n" * 256),
        ({"d/a": 1, "d/a/b": 1}, '"d/a"'),
        ({"d/a\0b": 1}, "d/a\\u0000b"),
    ],
)
def test_keys_that_cannot_be_files_are_named(keys: dict[str, int], named: str) -> None:
    with pytest.raises(Invalid) as caught:
        names_under("d/", keys)
    assert named in caught.value.message


def test_a_manifest_lists_relative_names() -> None:
    where, names = parse_manifest(b'[{"prefix": "s3://b/p/"}, "a.csv", "x/b.csv"]', "s3://b/m")
    assert where == Location("b", "p/")
    assert names == {"p/a.csv": "a.csv", "p/x/b.csv": "x/b.csv"}


def test_a_manifest_may_have_the_slash_with_its_names() -> None:
    where, names = parse_manifest(b'[{"prefix": "s3://b/p"}, "/a.csv", "/x/b.csv"]', "s3://b/m")
    assert where == Location("b", "p")
    assert names == {"p/a.csv": "a.csv", "p/x/b.csv": "x/b.csv"}


@pytest.mark.parametrize(
    "text", [b"", b"{}", b"[]", b'["a"]', b'[{"prefix": "s3://b/p/"}, 3]', b'[{"prefix": "s3://b/p/"}, "../x"]']
)
def test_a_manifest_that_is_none_is_refused(text: bytes) -> None:
    with pytest.raises(Invalid):
        parse_manifest(text, "s3://b/m")


def test_augmented_lines_follow_the_attributes_in_order() -> None:
    text = b'{"label": {"a": 1}, "source-ref": "s3://x/1.jpg"}\n\n{"label": "cat", "source-ref": "s3://x/2.jpg"}\n'
    assert parse_augmented(text, "s3://b/m", ("source-ref", "label")) == [
        [Item(Location("x", "1.jpg")), Item(text='{"a":1}')],
        [Item(Location("x", "2.jpg")), Item(text="cat")],
    ]


@pytest.mark.parametrize("text", [b"x", b"[1]", b'{"label": 1}'])
def test_augmented_lines_that_lack_something_are_named(text: bytes) -> None:
    with pytest.raises(Invalid, match="Line 1"):
        parse_augmented(text, "s3://b/m", ("source-ref", "label"))


def test_shards_are_a_partition_and_shuffling_is_by_seed() -> None:
    items = list("abcdefg")
    parts = [share(items, host, 3) for host in range(3)]
    assert parts == [["a", "d", "g"], ["b", "e"], ["c", "f"]]
    shuffled = [share(items, host, 3, seed=7) for host in range(3)]
    assert sorted(item for part in shuffled for item in part) == items
    assert shuffled == [share(items, host, 3, seed=7) for host in range(3)]
    assert shuffled != parts


def entry(name: str = "train", **changes: Any) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": "s3://b/d", **changes.pop("source", {})}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}, **changes}


def wanted(*entries: dict[str, Any], mode: str = "File") -> dict[str, Any]:
    return {"AlgorithmSpecification": {"TrainingInputMode": mode}, "InputDataConfig": list(entries)}


def test_a_channel_may_have_its_own_mode() -> None:
    first, second = channels(wanted(entry("a"), entry("b", InputMode="Pipe", CompressionType="Gzip")))
    assert (first.mode, first.compression, second.mode, second.compression) == ("File", "None", "Pipe", "Gzip")


@pytest.mark.parametrize(
    "bad",
    [
        [entry("a"), entry("a")],
        [entry("..")],
        [entry(CompressionType="Gzip")],
        [entry(source={"S3DataType": "Converse"})],
        [entry(source={"AttributeNames": ["x"]})],
        [entry(source={"S3DataType": "AugmentedManifestFile", "AttributeNames": ["x"]})],
        [entry(source={"S3DataType": "AugmentedManifestFile"}, InputMode="Pipe")],
        [entry(source={"S3DataType": "ManifestFile"}, InputMode="FastFile")],
        [{"ChannelName": "a", "DataSource": {}}],
    ],
)
def test_combinations_that_aws_refuses(bad: list[dict[str, Any]]) -> None:
    with pytest.raises(Invalid):
        channels(wanted(*bad))


def test_a_manifest_of_a_hundred_thousand_entries_names_them_all() -> None:
    names = [f"{number // 1000}/{number}.csv" for number in range(100_000)]
    text = json.dumps([{"prefix": "s3://b/p/"}, *names]).encode()
    where, found = parse_manifest(text, "s3://b/m")
    assert where == Location("b", "p/")
    assert found == {f"p/{name}": name for name in names}
