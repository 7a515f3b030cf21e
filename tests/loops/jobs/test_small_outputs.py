"""What few small files become without a sandbox that packs them is what that sandbox makes of them."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from clary.domain.jobs.spec import Output
from clary.domain.machine.workload import SmallFile
from clary.domain.s3 import Location
from clary.loops.jobs.small_outputs import objects, tarred
from clary.toolkit import pack

TAR = Output("model", "/opt/ml/model", Location("b", "o/model.tar.gz"), always=True)
FILES = (SmallFile("a", b"a", 7, True), SmallFile("deep/b", b"bb", 8))


def members(data: bytes) -> list[dict[str, Any]]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        told = [{**each.get_info(), "content": archive.extractfile(each)} for each in archive]
        return [{**each, "content": each["content"].read() if each["content"] else None} for each in told]


@pytest.mark.parametrize("files", [FILES, ()])
def test_the_tar_is_that_of_the_sandbox(tmp_path: Path, files: tuple[SmallFile, ...]) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for each in files:
        path = source / each.path
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(each.content)
        path.chmod(0o755 if each.executable else 0o600)
        os.utime(path, (each.modified, each.modified))
    target = str(tmp_path / "made.tar.gz")
    pack.pack({"name": "model", "sources": [str(source)], "target": target, "form": "tar", "empty": True})
    assert members(tarred(files)) == members(Path(target).read_bytes())


def test_which_objects_there_are() -> None:
    plain = Output("o", "/opt/ml/output", Location("b", "o/"), packed=False)
    ((where, content, kind),) = objects(TAR, FILES)
    assert (str(where), kind, len(members(content))) == ("s3://b/o/model.tar.gz", "application/x-tar", 2)
    assert [str(each[0]) for each in objects(TAR, ())] == ["s3://b/o/model.tar.gz"]
    assert objects(Output("o", "/opt/ml/output", Location("b", "o")), ()) == []
    assert objects(plain, FILES) == [(Location("b", "o/a"), b"a", ""), (Location("b", "o/deep/b"), b"bb", "")]
    assert objects(plain, ()) == []
