"""The name that a job's code gets by its content."""

from __future__ import annotations

import pytest

from clary.domain.errors import NotFound
from clary.domain.s3 import Location
from clary.loops.jobs.code import code_files
from clary.testing.memory_artifacts import MemoryArtifacts

SOURCE = Location("b", "p/sourcedir.tar.gz")


async def test_the_digest_is_of_the_object_its_content_and_the_account() -> None:
    artifacts = MemoryArtifacts({"b": {SOURCE.key: b"1", "q/sourcedir.tar.gz": b"1"}})
    first = await code_files(artifacts, "1", SOURCE)
    assert first == await code_files(artifacts, "1", SOURCE)
    assert first.archives == {"code": SOURCE}
    others = [
        await code_files(artifacts, "2", SOURCE),
        await code_files(artifacts, "1", Location("b", "q/sourcedir.tar.gz")),
    ]
    artifacts.buckets["b"][SOURCE.key] = b"2"
    others.append(await code_files(artifacts, "1", SOURCE))
    assert len({first.digest, *(each.digest for each in others)}) == 4


async def test_an_archive_that_is_not_there_is_said() -> None:
    with pytest.raises(NotFound, match=r"p/sourcedir\.tar\.gz"):
        await code_files(MemoryArtifacts({"b": {}}), "1", SOURCE)
