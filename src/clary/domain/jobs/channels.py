"""A job's input: which objects a channel names, how they are shared out to hosts, and under which file names.

Pure: it is given listings and manifests and answers names. Who lists and links is `backends/node/channels.py`. The rules are those
of the S3DataSource and Channel pages of AWS (S3Prefix, ManifestFile, AugmentedManifestFile; File, FastFile, Pipe).
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from clary.domain.errors import Invalid
from clary.domain.s3 import Location, parse_uri

T = TypeVar("T")

MANIFEST_LIMIT = 64 << 20
SEGMENT_LIMIT = 255  # bytes, NAME_MAX of every file system we link on


@dataclass(frozen=True, slots=True)
class Channel:
    """One entry of InputDataConfig with its defaults filled in. `mode` is File | FastFile | Pipe; `groups` empty means all."""

    name: str
    location: Location
    uri: str
    mode: str
    data_type: str = "S3Prefix"
    distribution: str = "FullyReplicated"
    attributes: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    content_type: str | None = None
    compression: str = "None"
    wrapper: str = "None"
    seed: int | None = None
    local_path: str = ""  # its folder in the container, where that is not the usual one

    @property
    def path(self) -> str:
        return self.local_path or f"/opt/ml/input/data/{self.name}"

    @property
    def sharded(self) -> bool:
        return self.distribution == "ShardedByS3Key"


def channels(request: Mapping[str, Any]) -> tuple[Channel, ...]:
    """The channels of a CreateTrainingJob request. Invalid in AWS's words where the combination is not allowed."""
    default_mode = request["AlgorithmSpecification"]["TrainingInputMode"]
    found = tuple(_channel(entry, default_mode) for entry in request.get("InputDataConfig") or ())
    names = [channel.name for channel in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Invalid(f"Duplicate channel name {twice[0]!r} in InputDataConfig.")
    for channel in found:
        check(channel)
    return found


def _channel(entry: Mapping[str, Any], default_mode: str) -> Channel:
    source = entry["DataSource"].get("S3DataSource")
    if source is None:
        raise Invalid(f"Channel {entry['ChannelName']!r} needs DataSource.S3DataSource.")
    return Channel(
        name=entry["ChannelName"],
        location=parse_uri(source["S3Uri"]),
        uri=source["S3Uri"],
        mode=entry.get("InputMode") or default_mode,
        data_type=source["S3DataType"],
        distribution=source.get("S3DataDistributionType") or "FullyReplicated",
        attributes=tuple(source.get("AttributeNames") or ()),
        groups=tuple(source.get("InstanceGroupNames") or ()),
        content_type=entry.get("ContentType"),
        compression=entry.get("CompressionType") or "None",
        wrapper=entry.get("RecordWrapperType") or "None",
        seed=(entry.get("ShuffleConfig") or {}).get("Seed"),
    )


def check(channel: Channel, whose: str = "") -> None:
    """Invalid for a combination that AWS does not allow; `whose` is how the message begins."""
    whose = whose or f"Channel {channel.name!r}"
    if channel.name in (".", ".."):
        raise Invalid(f"Channel name {channel.name!r} cannot be a folder.")
    if channel.data_type not in ("S3Prefix", "ManifestFile", "AugmentedManifestFile"):
        raise Invalid(f"{whose}: S3DataType {channel.data_type} is not supported by Clary.")
    if channel.data_type == "AugmentedManifestFile":
        if channel.mode != "Pipe":
            raise Invalid(f"{whose}: an AugmentedManifestFile can only be used with Pipe input mode.")
        if not channel.attributes:
            raise Invalid(f"{whose}: an AugmentedManifestFile needs AttributeNames.")
    elif channel.attributes:
        raise Invalid(f"{whose}: AttributeNames go with S3DataType AugmentedManifestFile only.")
    if channel.mode == "FastFile" and channel.data_type != "S3Prefix":
        raise Invalid(f"{whose}: FastFile input mode supports S3DataType S3Prefix only.")
    if channel.compression != "None" and channel.mode != "Pipe":
        raise Invalid(f"{whose}: CompressionType {channel.compression} is supported in Pipe input mode only.")


def no_objects(channel: Channel, region: str, role: str) -> str:
    """AWS's own text for a source without objects."""
    return (
        f'No S3 objects found under S3 URL "{channel.uri}" given in input data source. Please ensure that the bucket exists in the '
        f'selected region ({region}), that objects exist under that S3 prefix, and that the role "{role}" has "s3:ListBucket" '
        f'permissions on bucket "{channel.location.bucket}".'
    )


# -- which objects ------------------------------------------------------------------------------------------------------------


def names_under(prefix: str, sizes: Mapping[str, int]) -> dict[str, str]:
    """Key -> file name of the objects that a listing of `prefix` found (key -> bytes), in key order.

    Below a folder the folder's name goes; where the prefix ends inside a segment (or names one object) the name starts at that
    segment. Empty keys that end in '/' are the consoles' folder marks and name nothing."""
    folder = prefix if not prefix or prefix.endswith("/") else f"{prefix}/"
    start = prefix.rfind("/") + 1
    names: dict[str, str] = {}
    for key in sorted(sizes):
        if key.endswith("/") and sizes[key] == 0:
            continue
        names[key] = key[len(folder) :] if key.startswith(folder) else key[start:]
    check_names(names)
    return names


def parse_manifest(text: bytes, uri: str) -> tuple[Location, dict[str, str]]:
    """A ManifestFile: `[{"prefix": "s3://b/p/"}, "rel", ...]` -> (where, key -> file name)."""
    try:
        entries = json.loads(text)
    except ValueError as error:
        raise Invalid(f'The manifest "{uri}" is not JSON: {error}.') from None
    if not isinstance(entries, list) or not entries or not isinstance(entries[0], dict) or "prefix" not in entries[0]:
        raise Invalid(f'The manifest "{uri}" must be a JSON list that starts with {{"prefix": "s3://..."}}.')
    bad = next((entry for entry in entries[1:] if not isinstance(entry, str)), None)
    if bad is not None:
        raise Invalid(f'The manifest "{uri}" lists {json.dumps(bad)[:80]}: after the prefix every entry is a text.')
    prefix = parse_uri(str(entries[0]["prefix"]))
    # "s3://b/p" and "/a.csv" make the key p/a.csv as well; a file's name has no such slash
    names = {prefix.key + entry: entry.lstrip("/") for entry in entries[1:]}
    check_names(names)
    return prefix, names


@dataclass(frozen=True, slots=True)
class Item:
    """One record of an augmented manifest: an object, or a text."""

    location: Location | None = None
    text: str | None = None


def parse_augmented(text: bytes, uri: str, attributes: Sequence[str]) -> list[list[Item]]:
    """The lines of an AugmentedManifestFile: per line one item per attribute, in the order of AttributeNames. Values of `...-ref`
    attributes are objects."""
    lines: list[list[Item]] = []
    for number, line in enumerate(text.decode("utf-8", "replace").splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if not isinstance(entry, dict):
            raise Invalid(f'Line {number} of the augmented manifest "{uri}" is not a JSON object.')
        missing = next((name for name in attributes if name not in entry), None)
        if missing is not None:
            raise Invalid(f'Line {number} of the augmented manifest "{uri}" lacks the attribute {missing!r}.')
        lines.append([_item(name, entry[name]) for name in attributes])
    return lines


def _item(name: str, value: Any) -> Item:
    if name.endswith("-ref"):
        return Item(location=parse_uri(str(value)))
    return Item(text=value if isinstance(value, str) else json.dumps(value, separators=(",", ":")))


def share(items: Sequence[T], host: int, hosts: int, seed: int | None = None) -> list[T]:
    """What host number `host` of `hosts` gets of a channel that is sharded: every n-th of the sorted (or shuffled) items."""
    if seed is not None:
        items = list(items)
        random.Random(seed).shuffle(items)
    return list(items[host::hosts])


# -- names of files -----------------------------------------------------------------------------------------------------------


def check_names(names: Mapping[str, str]) -> None:
    """Invalid, naming the key, for an object whose name no file can have."""
    for key, name in names.items():
        problem = _name_problem(name)
        if problem:
            raise Invalid(f"The object with key {json.dumps(key)} cannot be a file: {problem}.")
    _check_folders(names)


def _name_problem(name: str) -> str:
    for segment in name.split("/"):
        if segment == "":
            return "its name is empty or has an empty part"
        if segment in (".", ".."):
            return f"its name has the part {segment!r}"
        if len(segment.encode()) > SEGMENT_LIMIT:
            return f"a part of its name is longer than {SEGMENT_LIMIT} bytes"
        if "\0" in segment:
            return "its name has a NUL"
    return ""


def _check_folders(names: Mapping[str, str]) -> None:
    """No two objects of one name, and none that is the folder of another."""
    by_name: dict[str, str] = {}
    folders: set[str] = set()
    for key, name in names.items():
        if name in by_name:
            raise Invalid(
                f"The objects with keys {json.dumps(by_name[name])} and {json.dumps(key)} would be one file, {json.dumps(name)}."
            )
        by_name[name] = key
        head = name.rpartition("/")[0]
        while head and head not in folders:
            folders.add(head)
            head = head.rpartition("/")[0]
    for name, key in by_name.items():
        if name in folders:
            raise Invalid(
                f"The object with key {json.dumps(key)} cannot be a file: it is also a folder of another object."
            )
