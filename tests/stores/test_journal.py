"""The journal's files: what is found again after a crash, a power cut, a full disk, damage."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from clary.stores import journal as journals
from clary.stores.journal import Journal, encode


def line(commit: int, blob: str = "", freed: tuple[str, ...] = ()) -> bytes:
    return encode(commit, [("add_current", {"bucket": 1, "key": b"k%d" % commit, "blob": blob})], freed)


def begun(folder: Path, commits: int = 0) -> Journal:
    found = Journal(folder)
    found.begin("index-1")
    for commit in range(1, commits + 1):
        found.append(commit, line(commit))
    return found


def told(journal: Journal) -> tuple[list[tuple[int, Any]], list[str]]:
    damage: list[str] = []
    lines = [(one.commit, one.operations[0][1]["key"]) for one in journal.lines(damage)]
    return lines, damage


def test_what_was_appended_is_found_by_the_next_process(tmp_path: Path) -> None:
    assert Journal(tmp_path).last == -1
    begun(tmp_path, 3)  # not synced, not closed: as after kill -9
    again = Journal(tmp_path)
    assert (again.identity, again.last, again.whole) == ("index-1", 3, True)
    again.append(4, line(4))
    assert told(Journal(tmp_path)) == ([(1, "k1"), (2, "k2"), (3, "k3"), (4, "k4")], [])


@pytest.mark.parametrize("torn", [b"x", b"0000", b'00000000 {"c":4,"do":[]}\n', b'12345678 {"c":4,"do"'])
def test_a_torn_end_is_cut_off(tmp_path: Path, torn: bytes) -> None:
    begun(tmp_path, 3)
    [log] = tmp_path.glob("*.log")
    with log.open("ab") as file:
        file.write(torn)
    again = Journal(tmp_path)
    assert (again.last, again.whole) == (3, True)
    again.append(4, line(4))
    assert told(Journal(tmp_path)) == ([(1, "k1"), (2, "k2"), (3, "k3"), (4, "k4")], [])


def test_a_last_line_longer_than_what_is_read_first_is_found(tmp_path: Path) -> None:
    journal = begun(tmp_path, 1)
    journal.append(2, encode(2, [("begin", {"key": b"k" * 3 * journals.TAIL})], ()))
    assert Journal(tmp_path).last == 2


def test_a_gap_is_noticed_and_mended_by_a_snapshot(tmp_path: Path) -> None:
    journal = begun(tmp_path, 3)
    journal.append(6, line(6))
    assert not journal.whole
    again = Journal(tmp_path)
    assert (again.last, again.whole) == (6, False)
    assert told(again)[1] == [f"the commits 4 to 5 are missing in {tmp_path}"]
    again.turn()
    again.snapshot(6, [("add_current", {"bucket": 1, "key": b"all"})])
    assert again.whole
    again.append(7, line(7))
    last = Journal(tmp_path)
    assert (last.identity, last.last, last.whole) == ("index-1", 7, True)
    assert told(last) == ([(6, "all"), (7, "k7")], [])
    assert len(list(tmp_path.iterdir())) == 2


def test_lines_written_while_a_snapshot_is_are_kept(tmp_path: Path) -> None:
    journal = begun(tmp_path, 3)
    journal.turn()
    journal.append(4, line(4))

    def rows() -> Any:
        journal.append(5, line(5))
        yield "add_current", {"bucket": 1, "key": b"all"}

    journal.snapshot(4, rows())
    assert told(Journal(tmp_path)) == ([(4, "all"), (5, "k5")], [])
    assert journal.whole


def test_a_snapshot_that_was_cut_off_counts_for_nothing(tmp_path: Path) -> None:
    journal = begun(tmp_path, 3)

    def rows() -> Any:
        yield "add_current", {"bucket": 1, "key": b"some"}
        raise OSError(28, "No space left on device")

    journal.turn()
    with pytest.raises(OSError, match="No space"):
        journal.snapshot(3, rows())
    again = Journal(tmp_path)
    assert told(again) == ([(1, "k1"), (2, "k2"), (3, "k3")], [])
    assert (again.last, again.whole) == (3, True)


def test_a_line_that_cannot_be_written_leaves_the_journal_not_whole(tmp_path: Path) -> None:
    journal = begun(tmp_path, 1)
    os.close(journal._file)  # as a disk that answers no write
    journal._file = os.open(tmp_path / "0000000000000001.log", os.O_RDONLY)
    journal.append(2, line(2))
    assert (journal.last, journal.whole) == (1, False)
    journal.append(3, line(3))
    journal.turn()
    journal.snapshot(3, [])
    journal.append(4, line(4))
    assert (journal.last, journal.whole) == (4, True)
    assert told(Journal(tmp_path)) == ([(4, "k4")], [])


def test_damage_is_told_by_line_and_the_rest_is_read(tmp_path: Path) -> None:
    begun(tmp_path, 3)
    [log] = tmp_path.glob("*.log")
    log.write_bytes(log.read_bytes().replace(b'"k2"', b'"x2"'))
    lines, damage = told(Journal(tmp_path))
    assert lines == [(1, "k1"), (3, "k3")]
    assert damage[0] == f"line 3 of {log} is damaged"


def test_what_the_journal_says_of_blobs(tmp_path: Path) -> None:
    a, b, c, d, e = (f"00000100{n:02x}" for n in range(5))
    journal = begun(tmp_path)
    journal.append(1, line(1, a))
    journal.append(2, line(2, b))
    journal.append(3, line(3, c, (b,)))
    journal.append(4, encode(4, [("tag_current", {"tags_": f'{{"x":"\\"blob\\":\\"{d}\\""}}', "k": b"k"})], (a, "")))
    assert journal.fates({a, b, c, d, e}) == {a: "freed", b: "freed", c: "named"}
    journal.turn()
    journal.snapshot(4, [("add_current", {"blob": c})])
    assert journal.fates({a, b, c, d, e}) == {c: "named"}


def test_it_is_overgrown_when_its_logs_are_long_or_many(tmp_path: Path) -> None:
    journal = Journal(tmp_path, shorten=1000)
    journal.begin("index-1")
    journal.append(1, line(1))
    assert not journal.overgrown()
    journal.append(2, encode(2, [("begin", {"key": b"k" * 1000})], ()))
    assert journal.overgrown()
    journal.turn()
    journal.snapshot(2, [])
    assert not journal.overgrown()
    for commit in range(3, 104):
        journal.turn()
        journal.append(commit, encode(commit, [], ()))
    assert journal.overgrown()
