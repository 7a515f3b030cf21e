"""What a job wrote is read below its folder only, and never through a link."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clary import untrusted


def test_only_regular_files_below_the_folder(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    (inside / "deep").mkdir(parents=True)
    (inside / "deep/file").write_text("text")
    (tmp_path / "secret").write_text("secret")
    (inside / "link").symlink_to(tmp_path / "secret")
    (inside / "folder").symlink_to(tmp_path)
    os.mkfifo(inside / "fifo")
    assert untrusted.read_text(str(inside), "deep/file", 3) == "tex"
    for path in ("link", "folder/secret", "fifo", "../secret", "deep/../../secret", str(tmp_path / "secret"), "never"):
        assert untrusted.read_text(str(inside), path, 100) == ""
    with pytest.raises(OSError, match="does not lie below"):
        untrusted.copy(str(inside), "../secret", str(tmp_path / "copy"))
    assert [name for name, _ in untrusted.walk(str(inside))] == ["deep/file"]
    assert [name for name, _ in untrusted.walk_below(str(inside), "deep")] == ["deep/file"]
    for path in ("folder", "..", "deep/file", "never", "deep//"):
        assert list(untrusted.walk_below(str(inside), path)) == []


def test_a_second_name_is_the_same_file_and_never_a_links(tmp_path: Path) -> None:
    (tmp_path / "made").write_text("made")
    (tmp_path / "link").symlink_to("/etc/passwd")
    for _ in range(2):
        untrusted.link(str(tmp_path), "made", str(tmp_path / "staged"))
    assert (tmp_path / "staged").samefile(tmp_path / "made")
    with pytest.raises(OSError, match="symbolic link"):
        untrusted.link(str(tmp_path), "link", str(tmp_path / "other"))


@pytest.mark.parametrize(
    ("data", "text"), [(b"abc", "abc"), ("ab\N{EURO SIGN}".encode()[:4], "ab"), (b"a\xff", None), (b"", "")]
)
def test_a_text_is_utf8_or_none(data: bytes, text: str | None) -> None:
    assert untrusted.utf8(data, 4) == text
