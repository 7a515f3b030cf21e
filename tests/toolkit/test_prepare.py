"""The entry that unpacks archives in the sandbox: exit codes and the one line for the user."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

from clary.toolkit import prepare


def _archive(path: Path, name: str) -> None:
    with tarfile.open(path, "w:gz") as tar:
        info = tarfile.TarInfo(name)
        info.size = 3
        tar.addfile(info, io.BytesIO(b"abc"))


def test_every_target_is_there(tmp_path: Path) -> None:
    _archive(tmp_path / "a.tar.gz", "m")
    _archive(tmp_path / "b.tar.gz", "n")
    jobs = [{"archive": str(tmp_path / f"{x}.tar.gz"), "target": str(tmp_path / x)} for x in "ab"]
    (tmp_path / "spec.json").write_text(json.dumps(jobs))
    command = [sys.executable, "-m", "clary.toolkit.prepare", str(tmp_path / "spec.json")]
    assert subprocess.run(command, timeout=30, capture_output=True).returncode == 0
    assert (tmp_path / "a/m").read_bytes() == (tmp_path / "b/n").read_bytes() == b"abc"


def test_a_refusal_is_one_line_beside_the_target(tmp_path: Path) -> None:
    _archive(tmp_path / "a.tar.gz", "../m")
    job = {"archive": str(tmp_path / "a.tar.gz"), "target": str(tmp_path / "out/model"), "name": "s3://b/model.tar.gz"}
    (tmp_path / "out").mkdir()
    assert prepare.prepare(job) == 3
    text = (tmp_path / "out/prepare-error").read_text()
    assert text == 'ClientError: Cannot extract s3://b/model.tar.gz: member "../m" leads out of the archive.'
    assert not (tmp_path / "out/model").exists()


def test_limits_come_from_the_spec(tmp_path: Path) -> None:
    _archive(tmp_path / "a.tar.gz", "m")
    error = tmp_path / "why"
    job = {
        "archive": str(tmp_path / "a.tar.gz"),
        "target": str(tmp_path / "a"),
        "limits": {"bytes": 2},
        "error": str(error),
    }
    assert prepare.prepare(job) == 3
    assert "over the limit of 2 bytes" in error.read_text()


def test_an_archive_that_is_absent(tmp_path: Path) -> None:
    job = {"archive": str(tmp_path / "none"), "target": str(tmp_path / "a")}
    assert prepare.prepare(job) == 3
    assert "No such file" in (tmp_path / "prepare-error").read_text()
