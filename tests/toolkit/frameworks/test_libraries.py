"""The libraries of `shared_libs/`: what ModelBuilder's script copies over /lib."""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path

import pytest

from clary.toolkit.frameworks import libraries

READ_ONLY = libraries.Copy(shutil.copytree, lambda folder: False)


def test_an_empty_folder_is_copied_over_lib_without_touching_it(tmp_path: Path) -> None:
    (tmp_path / "shared_libs").mkdir()
    before = Path("/lib").stat().st_mtime
    assert READ_ONLY(tmp_path / "shared_libs", "/lib", dirs_exist_ok=True) == "/lib"
    assert Path("/lib").stat().st_mtime == before


def test_what_is_in_it_is_loaded(tmp_path: Path) -> None:
    extension = next(Path(sysconfig.get_path("stdlib"), "lib-dynload").glob("_bisect*.so"), None)
    if extension is None:
        pytest.skip("this Python has no extension module in a file of its own")
    (tmp_path / "below").mkdir()
    shutil.copy(extension, tmp_path / "below" / "libmine.so.1")
    READ_ONLY(tmp_path, "/lib/", dirs_exist_ok=True)
    assert "libmine.so.1" in Path("/proc/self/maps").read_text()


def test_one_that_is_no_library_is_named(tmp_path: Path) -> None:
    (tmp_path / "libbroken.so").write_bytes(b"text")
    with pytest.raises(OSError, match=r"A library in shared_libs cannot be loaded: .*libbroken\.so"):
        READ_ONLY(tmp_path, "/lib", dirs_exist_ok=True)


def test_other_copies_and_a_container_whose_lib_can_be_written_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "libbroken.so").write_bytes(b"text")
    READ_ONLY(tmp_path / "from", tmp_path / "to")
    assert (tmp_path / "to" / "libbroken.so").exists()
    asked = []
    libraries.Copy(lambda *given, **more: asked.append((given, more)), lambda folder: True)(
        "a", "/lib", dirs_exist_ok=True
    )
    assert asked == [(("a", "/lib"), {"dirs_exist_ok": True})]


def test_models_without_such_a_folder_change_nothing(tmp_path: Path) -> None:
    ordinary = shutil.copytree
    libraries.provide(str(tmp_path))
    assert shutil.copytree is ordinary
