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
