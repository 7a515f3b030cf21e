from __future__ import annotations

import json
import os
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest

from clary.toolkit import pack


def run(tmp_path: Path, form: str, *sources: Path, empty: bool = True) -> dict[str, Any]:
    target = tmp_path / ("model.tar.gz" if form == "tar" else "model")
    job = {"name": "model", "sources": [str(s) for s in sources], "target": str(target), "form": form, "empty": empty}
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"packs": [job], "report": str(tmp_path / "report.json")}))
    assert pack.main(["pack", str(spec)]) == 0
    return dict(json.loads((tmp_path / "report.json").read_text())["model"])


def folder(tmp_path: Path, name: str, **files: str) -> Path:
    made = tmp_path / name
    made.mkdir()
    for path, text in files.items():
        (made / path).write_text(text)
    return made


def test_a_tar_holds_the_contents_of_all_hosts_the_first_wins(tmp_path: Path) -> None:
    first, second = folder(tmp_path, "one", a="1", b="1"), folder(tmp_path, "two", b="2", c="2")
    (second / "deep" / "er").mkdir(parents=True)
    (second / "deep" / "er" / "d").write_text("3")
    report = run(tmp_path, "tar", first, second)
    with tarfile.open(tmp_path / "model.tar.gz") as archive:
        assert archive.getnames() == ["a", "b", "c", "deep/er/d"]
        member = archive.extractfile("b")
        assert member is not None
        assert member.read() == b"1"
        assert {entry.uid for entry in archive} == {0}
    assert (report["files"], report["bytes"]) == (4, 4)


def test_links_that_lead_out_devices_and_fifos_are_skipped_aloud(tmp_path: Path, capsys: Any) -> None:
    made = folder(tmp_path, "one", a="1")
    outside = folder(tmp_path, "outside", secret="s")
    (made / "inside").symlink_to("a")
    (made / "out").symlink_to("/etc/passwd")
    (made / "folder").symlink_to(outside)
    os.mkfifo(made / "fifo")
    report = run(tmp_path, "tar", made)
    with tarfile.open(tmp_path / "model.tar.gz") as archive:
        assert sorted(archive.getnames()) == ["a", "inside"]
        assert all(entry.isreg() for entry in archive)
    assert sorted(entry["path"] for entry in report["skipped"]) == ["fifo", "folder", "out"]
    assert "Skipped out of model: it is a symbolic link that leads out of the folder." in capsys.readouterr().out


def test_a_source_that_was_replaced_by_a_link_gives_nothing(tmp_path: Path) -> None:
    (tmp_path / "model-dir").symlink_to("/etc")
    report = run(tmp_path, "tar", tmp_path / "model-dir", tmp_path / "absent")
    assert report["files"] == 0
    assert report["skipped"][0]["why"] == "the folder was replaced by something else"


def test_nothing_makes_an_empty_tar_or_none(tmp_path: Path) -> None:
    made = folder(tmp_path, "one")
    run(tmp_path, "tar", made, empty=False)
    assert not (tmp_path / "model.tar.gz").exists()
    run(tmp_path, "tar", made, empty=True)
    with tarfile.open(tmp_path / "model.tar.gz") as archive:
        assert archive.getnames() == []


@pytest.mark.parametrize("form", ["tar", "files"])
def test_what_the_job_shut_is_opened(tmp_path: Path, form: str) -> None:
    made = folder(tmp_path, "one", a="1")
    (made / "deep").mkdir()
    (made / "deep" / "b").write_text("2")
    (made / "deep" / "b").chmod(0)
    (made / "deep").chmod(0)
    made.chmod(0o055)
    assert run(tmp_path, form, made)["files"] == 2
    # root reads without being let: what counts is that nobody has to
    modes = [stat.S_IMODE(path.stat().st_mode) & 0o700 for path in (made, made / "deep", made / "deep" / "b")]
    assert modes == [0o700, 0o700, 0o400]


def test_files_are_copied_as_they_are(tmp_path: Path) -> None:
    made = folder(tmp_path, "one", a="1")
    (made / "x").mkdir()
    (made / "x" / "b").write_text("2")
    report = run(tmp_path, "files", made)
    assert report["names"] == ["a", "x/b"]
    assert (tmp_path / "model" / "x" / "b").read_text() == "2"
