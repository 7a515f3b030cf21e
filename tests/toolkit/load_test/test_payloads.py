"""Archives of sample payloads, good and bad."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from clary.toolkit.failure import UserError
from clary.toolkit.load_test import payloads


def put(folder: Path, files: dict[str, bytes], link: str = "") -> str:
    with tarfile.open(folder / "payload.tar.gz", "w:gz") as tar:
        for name, body in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
        if link:
            info = tarfile.TarInfo("linked.csv")
            info.type, info.linkname = tarfile.SYMTYPE, link
            tar.addfile(info)
    return str(folder)


def test_each_file_is_a_payload_and_links_are_none(tmp_path: Path) -> None:
    folder = put(tmp_path, {"a.csv": b"1", "in/b.json": b"{}", ".DS_Store": b"x"}, link="/etc/passwd")
    found = payloads.read(folder, ["text/csv", "application/json"])
    assert [(each.name, each.body, each.content_type) for each in found] == [
        ("a.csv", b"1", "text/csv"),
        ("in/b.json", b"{}", "application/json"),
    ]


@pytest.mark.parametrize(
    ("name", "types", "wanted"),
    [
        ("a.csv", ["text/libsvm"], "text/libsvm"),
        ("a.json", ["text/csv", "application/json"], "application/json"),
        ("a.bin", ["text/csv", "application/json"], "text/csv"),
        ("a.jsonl", [], "application/jsonlines"),
        ("a", [], "application/octet-stream"),
    ],
)
def test_content_types(name: str, types: list[str], wanted: str) -> None:
    assert payloads.content_type(name, types) == wanted


def test_what_is_no_archive_or_empty(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there are 0 files"):
        payloads.read(str(tmp_path), [])
    (tmp_path / "payload.tar.gz").write_bytes(b"not one")
    with pytest.raises(UserError, match="cannot be read"):
        payloads.read(str(tmp_path), [])
    with pytest.raises(UserError, match="has no file"):
        payloads.read(put(tmp_path, {}), [])


def test_a_payload_that_is_too_large(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at most 25 MiB"):
        payloads.read(put(tmp_path, {"a.csv": b"0" * (payloads.LARGEST + 1)}), [])
