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


def names(found: list[tuple[str, os.stat_result, bytes]] | None) -> list[tuple[str, bytes]] | None:
    return None if found is None else sorted((name, content) for name, _, content in found)


def test_few_small_plain_files_are_read_at_once(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "m" / "deep" / "empty").mkdir(parents=True)
    (root / "m" / "a").write_bytes(b"a")
    (root / "m" / "deep" / "b").write_bytes(b"bb")
    read = untrusted.plain_files
    assert names(read(str(root), "m", 4, 3)) == [("a", b"a"), ("deep/b", b"bb")]
    assert names(read(str(root), "m/deep", 9, 9)) == [("b", b"bb")]
    assert read(str(root), "m/deep/empty", 0, 0) == []
    assert read(str(root), "never/there", 9, 9) == []
    assert read(str(root), "m", 3, 3) is None, "one entry more"
    assert read(str(root), "m", 4, 2) is None, "one byte more"


def test_links_and_what_is_no_file_are_never_read_at_once(tmp_path: Path) -> None:
    root, secret = tmp_path / "root", tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("secret")
    for name in ("file", "folder", "fifo", "bytes", "good"):
        (root / name).mkdir(parents=True)
    (root / "file" / "link").symlink_to(secret / "key")
    (root / "folder" / "link").symlink_to(secret)
    (root / "replaced").symlink_to(secret)
    os.mkfifo(root / "fifo" / "f")
    Path(os.fsdecode(os.fsencode(root / "bytes") + b"/\xff")).write_text("x")
    for path in ("file", "folder", "replaced", "fifo", "bytes", "replaced/key", "..", "good/..", "good//", "file/link"):
        assert untrusted.plain_files(str(root), path, 99, 99) is None, path
    (tmp_path / "other").symlink_to(root)
    assert untrusted.plain_files(str(tmp_path / "other"), "good", 99, 99) is None
