"""Image names given to runtimes: kept, changed, and seen by others without a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from clary.backends.image_names import ImageNames
from clary.domain.errors import Unavailable


def test_names_are_kept_and_seen_by_others(tmp_path: Path) -> None:
    mine, other = ImageNames(tmp_path / "images.json"), ImageNames(tmp_path / "images.json")
    assert other.all() == {}
    mine.add("my-model", "python")
    mine.add("my-net", "pytorch")
    assert other.all() == {"my-model": "python", "my-net": "pytorch"}
    mine.add("my-model", "sklearn")
    assert other.all()["my-model"] == "sklearn"
    assert other.remove("my-net")
    assert not other.remove("my-net")
    assert mine.all() == {"my-model": "sklearn"}


def test_without_a_file_there_are_none() -> None:
    assert ImageNames().all() == {}


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_broken_file_is_told_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "images.json").write_text(text)
    with pytest.raises(Unavailable, match=r"images\.json"):
        ImageNames(tmp_path / "images.json").all()
