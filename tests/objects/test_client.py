"""Our own store as Artifacts, in this process: the server on a unix socket."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from granian.constants import Interfaces
from granian.server.embed import Server as Granian

from clary.domain.errors import Denied, Invalid, NotFound, Unavailable
from clary.domain.objects.items import Item
from clary.objects.blobs import Blobs
from clary.objects.client import OwnArtifacts
from clary.objects.server import Server
from clary.stores.index import SqlIndex
from clary.testing.artifacts import BUCKET, ArtifactsConformance
from clary.testing.clock import FakeClock
from clary.testing.keys import ACCOUNT, MemoryKeys

SECRET = b"s" * 32


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    blobs = Blobs(tmp_path / "store")
    server = Server(
        SqlIndex(f"sqlite:///{tmp_path}/store/index.db", blobs.settle), blobs, MemoryKeys(), FakeClock(), SECRET
    )
    await server.start()
    granian = Granian(server, uds=tmp_path / "s", interface=Interfaces.RSGI, websockets=False, log_enabled=False)
    serving = asyncio.create_task(granian.serve())
    await server.context.index.add_bucket(BUCKET, ACCOUNT, "us-east-1", 0)
    yield server
    granian.stop()
    await asyncio.wait([serving], timeout=10)
    await server.stop()


@pytest.fixture
def artifacts(server: Server, tmp_path: Path) -> OwnArtifacts:
    return OwnArtifacts(str(tmp_path / "s"), SECRET, ACCOUNT)


@pytest.mark.filterwarnings("ignore:.*experimental.*")
class TestOwnArtifacts(ArtifactsConformance):
    async def test_placed_files_are_hard_links(self, artifacts: OwnArtifacts, tmp_path: Path) -> None:
        await artifacts.store_file(self._file(tmp_path, "f", b"1"), BUCKET, "linked")
        await artifacts.place(BUCKET, {"linked": "linked"}, str(tmp_path / "farm"))
        assert (tmp_path / "farm" / "linked").stat().st_nlink == 2

    async def test_a_moved_file_becomes_the_blob(self, artifacts: OwnArtifacts, tmp_path: Path) -> None:
        path = self._file(tmp_path, "f", b"1")
        inode = os.stat(path).st_ino
        await artifacts.store_file(path, BUCKET, "inode", move=True)
        await artifacts.place(BUCKET, {"inode": "inode"}, str(tmp_path / "farm"))
        assert (tmp_path / "farm" / "inode").stat().st_ino == inode

    async def test_what_a_killed_store_had_taken_over_is_stored_once(
        self, artifacts: OwnArtifacts, server: Server, tmp_path: Path
    ) -> None:
        """It died between the commit and its answer: who asks again finds the file in place, and the key has one version."""
        bucket = await server.context.index.bucket(BUCKET)
        assert bucket is not None
        await server.context.index.save_bucket(BUCKET, "Enabled")
        path = self._file(tmp_path, "f", b"1")
        first = await artifacts._ask("store", bucket=BUCKET, key="once", path=path, content_type="", move=True)
        assert os.path.exists(path), "until who asked has the answer"
        assert await artifacts.store_file(path, BUCKET, "once", move=True) == first
        assert not os.path.exists(path)
        assert len((await server.context.index.versions(bucket.id, "once", ("", ""), 10)).items) == 1

    async def test_what_a_killed_store_had_half_placed_is_placed(self, artifacts: OwnArtifacts, tmp_path: Path) -> None:
        for name in ("a", "b"):
            await artifacts.store_file(self._file(tmp_path, "f", name.encode()), BUCKET, f"half/{name}")
        (tmp_path / "half" / "deep").mkdir(parents=True)
        (tmp_path / "half" / "deep" / "a").write_bytes(b"half a cop")
        await artifacts.place(BUCKET, {"half/a": "deep/a", "half/b": "deep/b"}, str(tmp_path / "half"))
        assert [(tmp_path / "half" / "deep" / name).read_bytes() for name in "ab"] == [b"a", b"b"]

    async def test_a_file_with_two_names_is_copied(self, artifacts: OwnArtifacts, tmp_path: Path) -> None:
        path = self._file(tmp_path, "f", b"before")
        os.link(path, tmp_path / "g")
        await artifacts.store_file(path, BUCKET, "two", move=True)
        assert not os.path.exists(path)
        (tmp_path / "g").write_bytes(b"behind")
        assert await artifacts.read(BUCKET, "two", 10) == b"before"

    @pytest.mark.parametrize("move", [True, False])
    async def test_what_is_no_plain_file_is_refused(self, artifacts: OwnArtifacts, tmp_path: Path, move: bool) -> None:
        (tmp_path / "secret").write_bytes(b"host file")
        (tmp_path / "link").symlink_to(tmp_path / "secret")
        os.mkfifo(tmp_path / "fifo")
        (tmp_path / "folder").mkdir()
        for name in ("link", "fifo", "folder"):
            with pytest.raises(Invalid, match="not a plain file"):
                await artifacts.store_file(str(tmp_path / name), BUCKET, "k", move=move)
        with pytest.raises(NotFound, match="missing"):
            await artifacts.store_file(str(tmp_path / "missing"), BUCKET, "k", move=move)
        assert (tmp_path / "secret").read_bytes() == b"host file"

    async def test_ten_thousand_objects_are_placed_in_a_moment(
        self, artifacts: OwnArtifacts, server: Server, tmp_path: Path
    ) -> None:
        ctx = server.context
        bucket = await ctx.index.bucket(BUCKET)
        assert bucket is not None
        for start in range(0, 10_000, 1000):
            puts = [
                ctx.index.put(bucket.id, Item(f"k/{n}", "", 1, "e", 0, ctx.blobs.add(b"1")[0]))
                for n in range(start, start + 1000)
            ]
            await asyncio.gather(*puts)
        began = time.perf_counter()
        await artifacts.place(BUCKET, {f"k/{n}": f"k/{n}" for n in range(10_000)}, str(tmp_path / "farm"))
        took = time.perf_counter() - began
        assert len(os.listdir(tmp_path / "farm" / "k")) == 10_000
        assert took < 6  # 0.3 s on a quiet machine; asking for each would take 10 s

    async def test_another_accounts_bucket_is_denied(self, artifacts: OwnArtifacts, server: Server) -> None:
        await server.context.index.add_bucket("theirs", "111111111111", "us-east-1", 0)
        assert not await artifacts.exists("theirs")
        with pytest.raises(Denied):
            await artifacts.find("theirs", "")

    async def test_a_wrong_secret_opens_nothing(self, artifacts: OwnArtifacts, tmp_path: Path) -> None:
        stranger = OwnArtifacts(str(tmp_path / "s"), b"x" * 32, ACCOUNT)
        with pytest.raises(Unavailable, match="403"):
            await stranger.exists(BUCKET)

    async def test_a_public_bucket_of_aws_is_explained(self, artifacts: OwnArtifacts) -> None:
        with pytest.raises(NotFound, match="AWS's public buckets"):
            await artifacts.find("sagemaker-sample-data-us-east-1", "")

    async def test_stats_tell_the_disk(self, artifacts: OwnArtifacts) -> None:
        stats = await artifacts.stats()
        assert 0 < stats["free"] <= stats["size"]


async def test_a_store_that_dies_within_a_request_is_asked_again(tmp_path: Path) -> None:
    asked = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await reader.readuntil(b"}")
        asked += 1
        if asked == 2:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 4\r\n\r\ntr")
        if asked == 3:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 4\r\n\r\ntrue")
        writer.close()

    async with await asyncio.start_unix_server(answer, tmp_path / "s"):
        assert await OwnArtifacts(str(tmp_path / "s"), SECRET, ACCOUNT).exists(BUCKET)
    assert asked == 3
