"""Blobs on the disk: durable in order, never reused, kept while somebody holds them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clary.domain.errors import NotFound
from clary.objects.blobs import LINGER, SETTLES, TINY, Blobs, Full


@pytest.fixture
def blobs(tmp_path: Path) -> Iterator[Blobs]:
    found = Blobs(tmp_path / "objects")
    yield found
    found.close()


def test_a_blob_is_there_once_settled(blobs: Blobs) -> None:
    names = [blobs.add(bytes([n]) * 10)[0] for n in range(20)]
    assert not os.path.exists(blobs.path(names[0]))
    assert blobs.settle() == {}
    for n, name in enumerate(names):
        assert blobs.read(name, 0, 100) == bytes([n]) * 10
        assert os.stat(blobs.path(name)).st_mode & 0o777 == 0o444
    assert names == sorted(set(names))


def test_ranges_are_read(blobs: Blobs) -> None:
    name = blobs.add(b"0123456789")[0]
    blobs.settle()
    assert blobs.read(name, 3, 4) == b"3456"


def test_names_are_never_used_again(tmp_path: Path) -> None:
    first = Blobs(tmp_path)
    one = first.add(b"1")[0]
    first.settle()
    os.unlink(first.path(one))
    second = Blobs(tmp_path)
    assert second.add(b"2")[0] > one
    third = Blobs(tmp_path, first_folder=99)
    assert third.add(b"3")[0][:6] == "000064"
    for each in (first, second, third):
        each.close()


def test_a_blob_that_cannot_be_written_is_named(blobs: Blobs) -> None:
    good = blobs.add(b"1")[0]
    blobs.settle()
    bad = blobs.add(b"2")[0]
    os.mkdir(blobs.path(bad))  # in its way
    refused = blobs.settle()
    assert list(refused) == [bad]
    assert blobs.read(good, 0, 1) == b"1"


def test_a_freed_blob_goes_after_a_while(blobs: Blobs) -> None:
    name = blobs.add(b"1")[0]
    blobs.settle()
    blobs.free([name, ""])
    now = time.monotonic()
    assert blobs.collect(now) == 0
    assert blobs.read(name, 0, 1) == b"1"
    assert blobs.collect(now + LINGER + 1) == 1
    assert not os.path.exists(blobs.path(name))
    blobs.free([name])
    assert blobs.collect(now + 2 * LINGER + 2) == 1  # gone already: nothing to say


def test_a_job_keeps_what_it_holds(blobs: Blobs, tmp_path: Path) -> None:
    name = blobs.add(b"held")[0]
    blobs.settle()
    blobs.link({"deep/file": name}, str(tmp_path / "farm"))
    blobs.free([name])
    blobs.collect(float("inf"))
    assert (tmp_path / "farm" / "deep" / "file").read_bytes() == b"held"


def test_links_are_made_all_or_not_at_all(blobs: Blobs, tmp_path: Path) -> None:
    name = blobs.add(b"1")[0]
    blobs.settle()
    farm = tmp_path / "farm"
    with pytest.raises(NotFound):
        blobs.link({"a/b": name, "c": "0000ff0001"}, str(farm))
    assert not farm.exists()


def test_a_second_name_has_the_same_content(blobs: Blobs) -> None:
    name = blobs.add(b"1" * 1000)[0]
    blobs.settle()
    again = blobs.again(name)
    assert os.path.samefile(blobs.path(name), blobs.path(again))


def test_below_the_mark_nothing_is_let_in(tmp_path: Path) -> None:
    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    full = Blobs(tmp_path, low_water=free * 2)
    with pytest.raises(Full, match="low_water"):
        full.check_space()
    roomy = Blobs(tmp_path)
    roomy.check_space()
    with pytest.raises(Full):
        roomy.check_space(free * 2)
    for each in (full, roomy):
        each.close()


def test_only_what_no_one_can_name_counts_as_unnamed(blobs: Blobs) -> None:
    kept, orphan, lost = (blobs.add(b"1")[0] for _ in range(3))
    blobs.settle()
    os.unlink(blobs.path(lost))
    folder = kept[:6]
    assert blobs.unnamed(folder, {kept, lost}) == (2, [], [lost])  # the orphan may be about to be named
    successor = Blobs(blobs.root)  # at once: no time need pass between two processes
    assert successor.unnamed(folder, {kept, lost}) == (2, [orphan], [lost])
    successor.close()


def test_quarantine_keeps_and_gives_back(blobs: Blobs) -> None:
    one, two, three = (blobs.add(bytes([n]) * 10)[0] for n in range(3))
    blobs.settle()
    blobs.set_aside([one, two, "00ff000001"], now=1000.7)
    blobs.set_aside([three], now=2000)
    assert [(at, os.path.basename(path)) for at, path in blobs.quarantine.held()] == [
        (1000, one), (1000, two), (2000, three),
    ]  # fmt: skip
    assert blobs.size(one) == -1
    assert blobs.bring_back([one, "00ff000001"]) == [one]
    assert blobs.read(one, 0, 10) == bytes(10)
    assert blobs.quarantine.release(before=1000) == 0
    assert blobs.quarantine.release(before=1001) == 1
    assert [os.path.basename(path) for _, path in blobs.quarantine.held()] == [three]


def test_quarantine_makes_room_the_oldest_first(tmp_path: Path) -> None:
    def free(_: Path) -> int:
        return (98 << 20) + sum(1 << 20 for name in names[:3] if not _aside(blobs, name))

    blobs = Blobs(tmp_path, low_water=100 << 20, free=free)
    names = [blobs.add(b"x")[0] for _ in range(4)]
    blobs.settle()
    for at, name in enumerate(names[:3]):
        blobs.set_aside([name], now=at)
    blobs.check_space()
    assert [os.path.basename(path) for _, path in blobs.quarantine.held()] == [names[2]]
    with pytest.raises(Full):
        blobs.check_space(5 << 20)
    assert blobs.quarantine.held() == []
    assert blobs.size(names[3]) == 1
    blobs.close()


def _aside(blobs: Blobs, name: str) -> bool:
    return any(path.endswith(name) for _, path in blobs.quarantine.held())


def test_what_is_told_of_a_full_disk_is_what_is_free(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path, low_water=100 << 20, free=lambda _: 102 << 20)
    blobs.check_space(1 << 20)
    for _ in range(3):
        with pytest.raises(Full, match="has 101 MiB free, this write takes 5 MiB, and 100 MiB are kept in reserve"):
            blobs.check_space(5 << 20)
    blobs.close()


def test_staging_is_cleaned_but_for_open_uploads(blobs: Blobs) -> None:
    path, descriptor = blobs.stage()
    os.close(descriptor)
    part, descriptor = blobs.open_part("upload.all", fresh=True)
    os.close(descriptor)
    assert blobs.clean_staging({"upload.all"}) == 1
    assert not os.path.exists(path)
    assert os.path.exists(part)


def test_a_tiny_blob_leaves_its_content_with_its_row(blobs: Blobs) -> None:
    tiny, kept = blobs.add(b"t" * TINY)
    middling, nothing = blobs.add(b"m" * (TINY + 1))
    assert (kept, nothing) == (b"t" * TINY, None)
    assert blobs.settle() == {}
    now = time.monotonic()
    assert blobs.make_durable(now) == []
    assert blobs.make_durable(now + SETTLES + 1) == [tiny]
    assert blobs.make_durable(now + SETTLES + 1) == []
    assert blobs.read(middling, 0, TINY * 2) == b"m" * (TINY + 1)


def test_what_the_disk_lost_is_restored(blobs: Blobs) -> None:
    names = [blobs.add(bytes([n]) * 100)[0] for n in range(3)]
    blobs.settle()
    os.unlink(blobs.path(names[0]))
    os.truncate(blobs.path(names[1]), 7)
    bodies = [(name, bytes([n]) * 100) for n, name in enumerate(names)]
    assert blobs.restore([*bodies, ("00ff000001", b"folder gone too")]) == 3
    for name, body in bodies:
        assert blobs.read(name, 0, 200) == body
    assert blobs.read("00ff000001", 0, 200) == b"folder gone too"
    assert set(blobs.make_durable(float("inf"))) >= set(names)
    assert blobs.add(b"later")[0] > "00ff000001"
