"""The conformance class of the `Artifacts` port."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from clary.domain.errors import Invalid, NotFound
from clary.ports import Artifacts

BUCKET = "conformance"


class ArtifactsConformance:
    """Inherit, and give the implementation as the fixture `artifacts`, over a store that has an empty bucket `BUCKET`."""

    @staticmethod
    def _file(folder: Path, name: str, content: bytes) -> str:
        path = folder / name
        path.write_bytes(content)
        return str(path)

    async def test_a_bucket_exists_or_not(self, artifacts: Artifacts) -> None:
        assert await artifacts.exists(BUCKET)
        assert not await artifacts.exists("no-such-bucket-here")

    async def test_a_bucket_is_made_once(self, artifacts: Artifacts, tmp_path: Path) -> None:
        name = "conformance-made"
        await artifacts.make(name, "us-east-1")
        await artifacts.store_file(self._file(tmp_path, "kept", b"kept"), name, "kept")
        await artifacts.make(name, "us-east-1")
        assert await artifacts.exists(name)
        assert [found.key for found in await artifacts.find(name, "")] == ["kept"]

    async def test_a_stored_file_is_found_and_read(self, artifacts: Artifacts, tmp_path: Path) -> None:
        content = os.urandom(100_000)
        path = self._file(tmp_path, "a", content)
        etag = await artifacts.store_file(path, BUCKET, "read/one file+é.bin", "text/x-one")
        assert etag == hashlib.md5(content).hexdigest()
        assert await artifacts.read(BUCKET, "read/one file+é.bin", len(content)) == content
        [found] = await artifacts.find(BUCKET, "read/")
        assert (found.key, found.size, found.etag) == ("read/one file+é.bin", len(content), etag)
        assert Path(path).read_bytes() == content

    async def test_an_object_tells_its_size_and_type_without_its_content(
        self, artifacts: Artifacts, tmp_path: Path
    ) -> None:
        etag = await artifacts.store_file(self._file(tmp_path, "h", b"12345"), BUCKET, "head/é", "text/csv")
        found = await artifacts.head(BUCKET, "head/é")
        assert (found.key, found.size, found.etag, found.content_type) == ("head/é", 5, etag, "text/csv")
        for bucket, key in ((BUCKET, "head"), ("no-such-bucket-here", "head/é")):
            with pytest.raises(NotFound):
                await artifacts.head(bucket, key)

    async def test_a_moved_file_is_gone(self, artifacts: Artifacts, tmp_path: Path) -> None:
        path = self._file(tmp_path, "moved", b"moved")
        await artifacts.store_file(path, BUCKET, "moved", move=True)
        assert not Path(path).exists()
        assert await artifacts.read(BUCKET, "moved", 100) == b"moved"

    async def test_what_is_stored_does_not_change_with_its_file(self, artifacts: Artifacts, tmp_path: Path) -> None:
        path = self._file(tmp_path, "kept", b"as it was")
        await artifacts.store_file(path, BUCKET, "kept")
        Path(path).write_bytes(b"changed!!")
        assert await artifacts.read(BUCKET, "kept", 100) == b"as it was"

    async def test_a_large_object_is_not_read(self, artifacts: Artifacts, tmp_path: Path) -> None:
        await artifacts.store_file(self._file(tmp_path, "large", b"x" * 101), BUCKET, "large")
        with pytest.raises(Invalid, match="101"):
            await artifacts.read(BUCKET, "large", 100)

    async def test_what_is_not_there_is_not_found(self, artifacts: Artifacts, tmp_path: Path) -> None:
        with pytest.raises(NotFound):
            await artifacts.read(BUCKET, "missing", 100)
        with pytest.raises(NotFound):
            await artifacts.find("no-such-bucket-here", "")
        with pytest.raises(NotFound):
            await artifacts.store_file(self._file(tmp_path, "f", b"1"), "no-such-bucket-here", "key")
        assert await artifacts.find(BUCKET, "nothing/") == []

    async def test_listings_are_in_byte_order(self, artifacts: Artifacts, tmp_path: Path) -> None:
        keys = ["order/a-b", "order/a/b", "order/a.b", "order/aa", "order/B", "order/é"]
        for key in keys:
            await artifacts.store_file(self._file(tmp_path, "f", b"1"), BUCKET, key)
        assert [one.key for one in await artifacts.find(BUCKET, "order/")] == sorted(keys, key=str.encode)

    async def test_a_part_of_what_is_there_can_be_asked_for(self, artifacts: Artifacts, tmp_path: Path) -> None:
        for name in "abc":
            await artifacts.store_file(self._file(tmp_path, "f", b"1"), BUCKET, f"part/{name}")
        for limit, found in ((1, 1), (2, 2), (3, 3), (4, 3), (None, 3)):
            assert len(await artifacts.find(BUCKET, "part/", limit)) == found
        assert await artifacts.find(BUCKET, "parting/", 1) == []

    async def test_names_that_nothing_can_have_are_not_found(self, artifacts: Artifacts) -> None:
        assert not await artifacts.exists("../..")
        for bucket, key in ((BUCKET, ""), ("../..", "key")):
            with pytest.raises(NotFound):
                await artifacts.head(bucket, key)

    async def test_a_deleted_object_is_gone(self, artifacts: Artifacts, tmp_path: Path) -> None:
        await artifacts.store_file(self._file(tmp_path, "f", b"1"), BUCKET, "deleted")
        await artifacts.delete(BUCKET, "deleted")
        await artifacts.delete(BUCKET, "deleted")
        with pytest.raises(NotFound):
            await artifacts.read(BUCKET, "deleted", 10)

    async def test_objects_are_placed_as_read_only_files(self, artifacts: Artifacts, tmp_path: Path) -> None:
        for name in ("x", "y/z"):
            await artifacts.store_file(self._file(tmp_path, "f", name.encode()), BUCKET, f"place/{name}")
        folder = tmp_path / "placed"
        await artifacts.place(BUCKET, {"place/x": "x", "place/y/z": "deep/er/z"}, str(folder))
        assert (folder / "x").read_bytes() == b"x"
        assert (folder / "deep" / "er" / "z").read_bytes() == b"y/z"
        assert (folder / "x").stat().st_mode & 0o777 == 0o444
        await artifacts.delete(BUCKET, "place/x")
        assert (folder / "x").read_bytes() == b"x"

    async def test_placing_is_all_or_nothing(self, artifacts: Artifacts, tmp_path: Path) -> None:
        await artifacts.store_file(self._file(tmp_path, "f", b"1"), BUCKET, "whole/one")
        folder = tmp_path / "whole"
        folder.mkdir()
        (folder / "mine").write_bytes(b"mine")
        with pytest.raises(NotFound):
            await artifacts.place(BUCKET, {"whole/one": "sub/one", "whole/two": "two"}, str(folder))
        assert sorted(os.listdir(folder)) == ["mine"]

    @pytest.mark.parametrize("path", ["../out", "/etc/x", "a//b", "a/./b", "", "s" * 256, "a/"])
    async def test_a_path_that_is_no_file_name_is_refused(
        self, artifacts: Artifacts, tmp_path: Path, path: str
    ) -> None:
        await artifacts.store_file(self._file(tmp_path, "f", b"1"), BUCKET, "bad/name")
        with pytest.raises(Invalid, match="bad/name"):
            await artifacts.place(BUCKET, {"bad/name": path}, str(tmp_path / "bad"))

    async def test_a_key_cannot_be_a_file_and_a_folder(self, artifacts: Artifacts, tmp_path: Path) -> None:
        for key in ("tree", "tree/leaf"):
            await artifacts.store_file(self._file(tmp_path, "f", b"1"), BUCKET, key)
        with pytest.raises(Invalid, match='"tree"'):
            await artifacts.place(BUCKET, {"tree": "tree", "tree/leaf": "tree/leaf"}, str(tmp_path / "tree"))
