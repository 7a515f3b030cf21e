"""Numbers have one owner at a time, whoever asks at once, whoever died."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clary.backends.claims import Claims
from clary.backends.state import Base
from clary.domain.errors import Unschedulable


def owner(folder: Path, name: str) -> str:
    (folder / name).mkdir(exist_ok=True)
    return str(folder / name)


def test_distinct_until_released(tmp_path: Path) -> None:
    claims = Claims(tmp_path / "claims", 5, 7, Base(tmp_path))
    owners = [owner(tmp_path, name) for name in "abc"]
    assert sorted(claims.take(each) for each in owners) == [5, 6, 7]
    with pytest.raises(Unschedulable, match="5 to 7"):
        claims.take(owner(tmp_path, "d"))
    (number,) = claims.owned(owners[1])
    claims.release(number, owners[0])  # not the owner
    assert claims.owned(owners[1]) == [number]
    claims.release(number, owners[1])
    claims.release(number, owners[1])
    assert claims.take(owner(tmp_path, "d")) == number


def test_zero_is_a_number_too(tmp_path: Path) -> None:
    claims = Claims(tmp_path / "gpus", 0, 1, Base(tmp_path))
    assert {claims.take(owner(tmp_path, "a")), claims.take(owner(tmp_path, "b"))} == {0, 1}


def test_what_a_gone_folder_owned_is_free(tmp_path: Path) -> None:
    claims = Claims(tmp_path / "claims", 1, 1, Base(tmp_path))
    claims.take(owner(tmp_path, "a"))
    (tmp_path / "a").rmdir()
    assert claims.take(owner(tmp_path, "b")) == 1


def test_many_at_once_over_one_folder(tmp_path: Path) -> None:
    """Each with an object of its own, as processes would be."""
    owners = [owner(tmp_path, str(number)) for number in range(40)]
    with ThreadPoolExecutor(8) as threads:
        taken = list(threads.map(lambda each: Claims(tmp_path / "claims", 1, 40, Base(tmp_path)).take(each), owners))
    assert sorted(taken) == list(range(1, 41))
    assert all(
        Claims(tmp_path / "claims", 1, 40, Base(tmp_path)).owned(each) == [number]
        for each, number in zip(owners, taken, strict=True)
    )


def test_a_folder_that_was_moved_has_the_same_owners(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    Claims(tmp_path / "one" / "claims", 1, 2, Base(tmp_path / "one")).take(owner(tmp_path / "one", "a"))
    (tmp_path / "one").rename(tmp_path / "two")
    moved = Claims(tmp_path / "two" / "claims", 1, 2, Base(tmp_path / "two"))
    assert moved.owned(str(tmp_path / "two" / "a")) == [1]
    assert moved.sweep() == 0
    moved.release(1, str(tmp_path / "two" / "a"))
    assert moved.take(owner(tmp_path / "two", "b")) == 1
