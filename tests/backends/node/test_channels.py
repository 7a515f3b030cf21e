"""Selected objects: which, in which folder, under which names; listed once; and whose fault it is where that cannot be."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from clary.backends.node.channels import COPIED_BYTES, COPIED_FILES, TOLD
from clary.backends.node.layout import NodePorts, lay_out
from clary.domain.errors import ClaryError, Denied, Invalid, Unavailable
from clary.domain.machine.workload import Files, Laid, Selected, Workload
from clary.domain.s3 import Location
from clary.ports import StoredObject
from clary.stores.logs import FileLogs
from clary.testing.memory_artifacts import MemoryArtifacts

PLAIN = Selected("0", Location("b", "d/"), nothing="nothing there")


class Store(MemoryArtifacts):
    """Counts what it is asked. `full`: the disk is, when objects are placed; `held`: placing waits for it. What lies below `late/` is
    listed when something is being placed."""

    def __init__(self, objects: Mapping[str, bytes]) -> None:
        super().__init__({"b": objects}, "0")
        self.listed, self.opened, self.full = 0, 0, False
        self.held: asyncio.Event | None = None
        self.asked, self.given_up = asyncio.Event(), 0

    def of(self, account: str) -> MemoryArtifacts:
        self.account = account
        return self

    async def find(self, bucket: str, prefix: str, limit: int | None = None) -> list[StoredObject]:
        self.listed += 1
        await asyncio.sleep(0)  # so that others ask meanwhile
        if prefix == "late/":
            await self.asked.wait()
        return await super().find(bucket, prefix, limit)

    async def read(self, bucket: str, key: str, limit: int) -> bytes:
        self.opened += 1
        await asyncio.sleep(0)
        return await super().read(bucket, key, limit)

    async def place(self, bucket: str, keys: Mapping[str, str], folder: str) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.asked.set()
        if self.held:
            try:
                await self.held.wait()
            except asyncio.CancelledError:
                self.given_up += 1
                raise
        await super().place(bucket, keys, folder)


async def lay(
    folder: Path, store: Store, selected: Mapping[str, Selected], phases: list[str] | None = None
) -> Mapping[str, Laid]:
    files = tuple(Files(name, "/x", selected=each) for name, each in selected.items())
    ports = NodePorts(store, FileLogs(folder / "logs"))
    tell = (phases if phases is not None else []).append
    return (await lay_out(Workload("k", (), {}, files=files), {}, str(folder), str, ports, tell)).laid


def names(folder: Path, part: str) -> list[str]:
    top = folder / "files" / part / "data"
    return sorted(str(path.relative_to(top)) for path in top.rglob("*") if path.is_file())


async def test_what_lies_below_a_prefix_and_what_is_told_of_it(tmp_path: Path) -> None:
    store, phases = Store({"d/a": b"1", "d/x/b": b"22", "d/": b"", "dx": b"3"}), list[str]()
    laid = await lay(tmp_path, store, {"one": PLAIN}, phases)
    assert names(tmp_path, "one") == ["a", "x/b"]
    assert (tmp_path / "files/one/list").read_text() == "a\nx/b\n"
    told = (("d/a", hashlib.md5(b"1").hexdigest()), ("d/x/b", hashlib.md5(b"22").hexdigest()))
    digest = hashlib.sha256("\n".join(f"{key}\t{etag}" for key, etag in told).encode()).hexdigest()
    assert laid == {"one": Laid(3, False, 2, digest, told)}
    assert phases == ["laying out one", "downloading one"]


async def test_what_lineage_keeps_is_bounded_and_its_digest_is_of_all(tmp_path: Path) -> None:
    objects = {f"d/{number:04d}": b"x" for number in range(TOLD + 5)}
    one = (await lay(tmp_path / "1", Store(objects), {"one": PLAIN}))["one"]
    other = (await lay(tmp_path / "2", Store({**objects, f"d/{TOLD + 1:04d}": b"y"}), {"one": PLAIN}))["one"]
    assert (one.count, len(one.first)) == (TOLD + 5, TOLD)
    assert one.first == other.first
    assert one.digest != other.digest


@pytest.mark.parametrize("seed", [None, 7])
async def test_shards_are_of_one_listing(tmp_path: Path, seed: int | None) -> None:
    store = Store({f"d/{number}": b"x" for number in range(7)})
    parts = {f"h{number}": replace(PLAIN, sharded=(number, 3), seed=seed) for number in range(3)}
    await lay(tmp_path, store, parts)
    assert store.listed == 1
    found = [names(tmp_path, part) for part in parts]
    assert sorted(name for part in found for name in part) == [str(number) for number in range(7)]
    assert (found == [["0", "3", "6"], ["1", "4"], ["2", "5"]]) is (seed is None)


async def test_a_manifest_names_objects_and_is_read_once(tmp_path: Path) -> None:
    store = Store({"d/a": b"1", "d/b": b"2", "m": json.dumps([{"prefix": "s3://b/d/"}, "b", "a"]).encode()})
    listed = Selected("0", Location("b", "m"), "ManifestFile")
    laid = await lay(tmp_path, store, {"one": listed, "two": replace(listed, sharded=(1, 2))})
    assert (names(tmp_path, "one"), names(tmp_path, "two"), store.opened) == (["a", "b"], ["a"], 1)
    assert (laid["one"].count, laid["one"].digest) == (0, "")
    empty = Store({"m": json.dumps([{"prefix": "s3://b/d/"}]).encode()})
    with pytest.raises(Invalid, match="nothing there"):
        await lay(tmp_path, empty, {"one": replace(listed, nothing="nothing there")})


async def test_for_a_feeder_objects_have_numbers_and_an_order(tmp_path: Path) -> None:
    lines = [{"source-ref": "s3://b/d/b", "label": 1}, {"source-ref": "s3://b/d/a", "label": "cat"}]
    lines.append({"source-ref": "s3://b/d/b", "label": 2})
    store = Store({"d/a": b"1", "d/b": b"22", "m": "\n".join(map(json.dumps, lines)).encode()})
    listed = Selected("0", Location("b", "m"), "AugmentedManifestFile", ("source-ref", "label"), piped=True)
    parts = {"all": listed, "second": replace(listed, sharded=(1, 2)), "plain": replace(PLAIN, piped=True)}
    laid = await lay(tmp_path, store, parts)
    items = {part: (tmp_path / "files" / part / "items.jsonl").read_text().splitlines() for part in parts}
    first, second = '{"file": "00000000"}', '{"file": "00000001"}'
    assert items["all"] == [first, '{"text": "1"}', second, '{"text": "cat"}', first, '{"text": "2"}']
    assert items["second"] == [first, '{"text": "cat"}']
    assert items["plain"] == [first, second]
    assert (tmp_path / "files/all/objects/00000000").read_bytes() == b"22"
    assert (laid["all"].size, laid["second"].size, laid["plain"].size, laid["plain"].count) == (3, 1, 3, 2)
    assert (store.opened, store.listed) == (1, 1)


@pytest.mark.parametrize(
    ("objects", "own"),
    [
        ({"d/a": b"1"}, True),
        ({"d/a": b"1" * (COPIED_BYTES + 1)}, False),
        ({f"d/{number}": b"" for number in range(COPIED_FILES + 1)}, False),
    ],
)
async def test_small_data_is_the_runs_own(tmp_path: Path, objects: Mapping[str, bytes], own: bool) -> None:
    laid = await lay(tmp_path, Store(objects), {"one": replace(PLAIN, own=True), "two": PLAIN})
    assert (laid["one"].own, laid["two"].own) == (own, False)
    mode = os.stat(next((tmp_path / "files/one/data").iterdir())).st_mode
    assert bool(mode & 0o200) is own, "a copy may be written, an object not"


@pytest.mark.parametrize(
    ("selected", "kind", "said"),
    [
        (replace(PLAIN, location=Location("b", "none")), Invalid, "nothing there"),
        (replace(PLAIN, location=Location("none", "d/")), Invalid, "nothing there .The specified bucket"),
        (replace(PLAIN, location=Location("b", "none"), data_type="ManifestFile"), Invalid, "nothing there"),
        (replace(PLAIN, location=Location("b", "d/a"), data_type="ManifestFile"), Invalid, "is not JSON"),
        (replace(PLAIN, account="1"), Denied, "another account"),
        (replace(PLAIN, location=Location("b", "bad/")), Invalid, "cannot be a file"),
    ],
)
async def test_the_users_faults_are_told_in_words(
    tmp_path: Path, selected: Selected, kind: type[ClaryError], said: str
) -> None:
    store = Store({"d/a": b"x", "bad/../x": b"1"})
    store.owners["b"] = "0"
    with pytest.raises(kind, match=said):
        await lay(tmp_path, store, {"one": selected})


async def test_a_full_disk_is_not_the_users_fault_and_the_rest_is_given_up(tmp_path: Path) -> None:
    store = Store({"d/a": b"x"})
    store.full = True
    with pytest.raises(Unavailable, match="No space left"):
        await lay(tmp_path, store, {"one": PLAIN})
    store.full, store.held = False, asyncio.Event()
    with pytest.raises(Invalid, match="nothing there"):
        await lay(tmp_path, store, {"one": PLAIN, "two": replace(PLAIN, location=Location("b", "late/"))})
    assert store.given_up == 1
    store.held.set()
    assert (await lay(tmp_path, store, {"one": PLAIN}))["one"].count == 1, "it can be done again"


async def test_who_stops_a_layout_finds_nothing_going_on(tmp_path: Path) -> None:
    store = Store({"d/a": b"x"})
    store.held = asyncio.Event()
    task = asyncio.create_task(lay(tmp_path, store, {f"h{number}": PLAIN for number in range(20)}))
    await store.asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert 0 < store.given_up <= 8
    assert len(asyncio.all_tasks()) == 1
