"""A log that is too long begins anew under the hands of who writes it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clary.app.rotation import rotate


def test_a_short_one_is_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    log.write_bytes(b"12345")
    assert not rotate(log, longest=5)
    assert (log.read_bytes(), os.listdir(tmp_path)) == (b"12345", ["part.log"])


def test_its_writer_goes_on_at_the_beginning_and_one_old_one_is_kept(tmp_path: Path) -> None:
    log, old = tmp_path / "part.log", tmp_path / "part.log.1"
    with log.open("ab", buffering=0) as writer:
        for words in (b"first\n", b"second\n", b"third\n"):
            writer.write(words)
            assert rotate(log, longest=5)
            assert (log.read_bytes(), old.read_bytes()) == (b"", words)
        writer.write(b"now\n")
    assert log.read_bytes() == b"now\n"
    assert sorted(os.listdir(tmp_path)) == ["part.log", "part.log.1"]
    assert old.stat().st_mode & 0o777 == 0o600


def test_one_that_cannot_be_kept_stays_as_it_was(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    log.write_bytes(b"words")
    (tmp_path / "part.log.new").mkdir()
    with pytest.raises(IsADirectoryError):
        rotate(log, longest=1)
    assert log.read_bytes() == b"words"
