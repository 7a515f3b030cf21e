"""The conformance class of the `Index` port."""

from __future__ import annotations

import asyncio

import pytest

from clary.domain.objects.items import (
    Bucket,
    BucketMissing,
    BucketNotEmpty,
    BucketTaken,
    Condition,
    ConditionFailed,
    Item,
    KeyMissing,
    Part,
    Upload,
    UploadMissing,
)
from clary.object_ports import Index

ACCOUNT = "000000000000"


def item(key: str, blob: str = "b", **more: object) -> Item:
    return Item(key, "", 1, f"etag-{blob}", 10.0, blob, **more)  # type: ignore[arg-type]


async def keys(index: Index, bucket: Bucket, prefix: str = "", delimiter: str = "", limit: int = 1000) -> list[str]:
    """Every entry of a listing read in pages, checked to come in byte order."""
    found: list[str] = []
    after = ""
    while True:
        page = await index.page(bucket.id, prefix, after, limit, delimiter)
        assert len(page.items) + len(page.prefixes) <= limit
        found += sorted([one.key for one in page.items] + page.prefixes, key=str.encode)
        after = page.next
        if not after:
            return found


class IndexConformance:
    """Inherit, and give an empty implementation as the fixture `index`."""

    @pytest.fixture
    async def bucket(self, index: Index) -> Bucket:
        return await index.add_bucket("b", ACCOUNT, "eu-west-1", 5.0)

    # -- buckets ---------------------------------------------------------------------------------------------------------------

    async def test_a_bucket_is_found_by_name_and_account(self, index: Index, bucket: Bucket) -> None:
        found = await index.bucket("b")
        assert found == bucket
        assert (found.account, found.region, found.created, found.versioning) == (ACCOUNT, "eu-west-1", 5.0, "")
        assert await index.bucket("c") is None
        await index.add_bucket("a", ACCOUNT, "us-east-1", 6.0)
        assert [one.name for one in await index.buckets(ACCOUNT)] == ["a", "b"]
        assert await index.buckets("111111111111") == []

    async def test_a_name_is_taken_once(self, index: Index, bucket: Bucket) -> None:
        with pytest.raises(BucketTaken) as raised:
            await index.add_bucket("b", "111111111111", "us-east-1", 7.0)
        assert raised.value.account == ACCOUNT

    async def test_documents_are_merged(self, index: Index, bucket: Bucket) -> None:
        await index.save_bucket("b", documents={"cors": "<c/>", "policy": "{}"})
        await index.save_bucket("b", versioning="Enabled", documents={"policy": None})
        found = await index.bucket("b")
        assert found is not None
        assert (found.versioning, found.documents) == ("Enabled", {"cors": "<c/>"})
        with pytest.raises(BucketMissing):
            await index.save_bucket("c", versioning="Enabled")

    async def test_only_an_empty_bucket_goes(self, index: Index, bucket: Bucket) -> None:
        await index.put(bucket.id, item("k"))
        with pytest.raises(BucketNotEmpty):
            await index.remove_bucket("b")
        await index.remove(bucket.id, [("k", "")], 20.0)
        await index.begin(Upload("u", bucket.id, "k", 1.0))
        await index.remove_bucket("b")
        assert await index.bucket("b") is None
        with pytest.raises(BucketMissing):
            await index.remove_bucket("b")
        with pytest.raises(BucketMissing):
            await index.put(bucket.id, item("k"))
        again = await index.add_bucket("b", ACCOUNT, "us-east-1", 9.0)
        assert await index.upload(again.id, "k", "u") is None

    # -- objects ---------------------------------------------------------------------------------------------------------------

    async def test_an_object_is_given_back_as_stored(self, index: Index, bucket: Bucket) -> None:
        stored = Item(
            "ü/\x01 k", "", 5_000_000_000, "e-2", 10.5, "blob", {"content-type": "a/b", "x-amz-meta-x": "é"},
            "CRC32:aa==:COMPOSITE", {"k": "v"}, (4_999_999_999, 1),
        )  # fmt: skip
        await index.put(bucket.id, stored)
        owner, found = await index.find("b", "ü/\x01 k")
        assert owner is not None
        assert owner.id == bucket.id
        assert found is not None
        assert found.version == "null"
        for name in (
            "key",
            "size",
            "etag",
            "modified",
            "blob",
            "headers",
            "checksum",
            "tags",
            "parts",
            "marker",
            "latest",
        ):
            assert getattr(found, name) == getattr(stored, name), name
        assert await index.find("b", "other") == (owner, None)
        assert await index.find("c", "k") == (None, None)

    async def test_an_overwrite_frees_the_old_blob(self, index: Index, bucket: Bucket) -> None:
        assert (await index.put(bucket.id, item("k", "one"))).freed == ()
        assert (await index.put(bucket.id, item("k", "two"))).freed == ("one",)
        [removed, missing] = await index.remove(bucket.id, [("k", ""), ("never", "")], 20.0)
        assert removed.freed == ("two",)
        assert missing.freed == ()

    async def test_conditions_are_kept_in_the_transaction(self, index: Index, bucket: Bucket) -> None:
        absent = Condition(absent=True)
        written = await asyncio.gather(
            *(index.put(bucket.id, item("k", f"{n}"), absent) for n in range(20)), return_exceptions=True
        )
        assert sum(isinstance(one, ConditionFailed) for one in written) == 19
        _, found = await index.find("b", "k")
        assert found is not None
        with pytest.raises(ConditionFailed):
            await index.put(bucket.id, item("k", "x"), Condition(match="other"))
        await index.put(bucket.id, item("k", "y"), Condition(match=found.etag))
        with pytest.raises(ConditionFailed) as raised:
            await index.put(bucket.id, item("none", "x"), Condition(match="*"))
        assert not raised.value.exists
        with pytest.raises(ConditionFailed):
            await index.remove(bucket.id, [("k", "")], 1.0, Condition(match="other"))

    async def test_tags_are_replaced(self, index: Index, bucket: Bucket) -> None:
        await index.put(bucket.id, item("k", tags={"a": "1"}))
        await index.tag(bucket.id, "k", "", {"b": "2"})
        _, found = await index.find("b", "k")
        assert found is not None
        assert found.tags == {"b": "2"}
        for key, version in (("none", ""), ("k", "other")):
            with pytest.raises(KeyMissing):
                await index.tag(bucket.id, key, version, {})

    async def test_blobs_of_many_keys(self, index: Index, bucket: Bucket) -> None:
        await asyncio.gather(*(index.put(bucket.id, item(f"k{n}", f"blob{n}")) for n in range(300)))
        found = await index.blobs_of(bucket.id, [*(f"k{n}" for n in range(300)), "none"])
        assert found == {f"k{n}": f"blob{n}" for n in range(300)}

    async def test_bodies_are_kept_until_forgotten(self, index: Index, bucket: Bucket) -> None:
        for n, blob in enumerate(("0000010001", "0000010002", "0000010003", "00000a0004")):
            await index.put(bucket.id, item(f"k{n}", blob), body=bytes([n]) * 10)
        with pytest.raises(ConditionFailed):
            await index.put(bucket.id, item("k0", "0000010009"), Condition(absent=True), body=b"x")
        await index.put(bucket.id, item("k1", "0000010005"))
        await index.remove(bucket.id, [("k2", "")], 20.0)
        assert await index.bodies("", 10) == [("0000010001", b"\0" * 10), ("00000a0004", b"\3" * 10)]
        assert await index.bodies("", 1) == [("0000010001", b"\0" * 10)]
        await index.forget_bodies(["0000010001", "0000010777"])
        assert await index.bodies("", 10) == [("00000a0004", b"\3" * 10)]

    async def test_named_blobs_are_listed(self, index: Index, bucket: Bucket) -> None:
        await index.save_bucket("b", versioning="Enabled")
        for blob in ("0000010001", "0000010002", "0000020001"):
            await index.put(bucket.id, item("k", blob))
        assert sorted(await index.blobs_between("000001", "000001g")) == ["0000010001", "0000010002"]

    async def test_the_journal_says_nothing_of_blobs_that_it_never_heard_of(self, index: Index, bucket: Bucket) -> None:
        await index.put(bucket.id, item("k", "0000010001"))
        await index.keep()
        assert await index.fates({"0000ff0001"}) == {}
        assert await index.fates(set()) == {}

    # -- listings --------------------------------------------------------------------------------------------------------------

    async def test_keys_come_in_byte_order(self, index: Index, bucket: Bucket) -> None:
        names = ["a-b", "a.b", "a/b", "aa", "B", "é", "日本", "\U0001f33f", "a\x01", "a", "a/b/c", "\uffff"]
        for name in names:
            await index.put(bucket.id, item(name))
        for limit in (1, 2, 3, 1000):
            assert await keys(index, bucket, limit=limit) == sorted(names, key=str.encode)

    async def test_prefixes_and_delimiters(self, index: Index, bucket: Bucket) -> None:
        names = [f"p/{n:03}" for n in range(300)] + ["a-b", "a/b", "aa", "q/r/s", "q/r/t", "q/u", "z", "q//x"]
        await asyncio.gather(*(index.put(bucket.id, item(name)) for name in names))
        for limit in (1, 2, 5, 1000):
            assert await keys(index, bucket, "", "/", limit) == ["a-b", "a/", "aa", "p/", "q/", "z"]
            assert await keys(index, bucket, "q/", "/", limit) == ["q//", "q/r/", "q/u"]
            assert await keys(index, bucket, "a", "-", limit) == ["a-", "a/b", "aa"]
            assert await keys(index, bucket, "p/01", limit=limit) == [f"p/{n:03}" for n in range(10, 20)]
        assert await keys(index, bucket, "none") == []

    async def test_a_page_starts_behind_a_key(self, index: Index, bucket: Bucket) -> None:
        for name in ("a", "b", "b/1", "c"):
            await index.put(bucket.id, item(name))
        page = await index.page(bucket.id, "", "b", 10)
        assert [one.key for one in page.items] == ["b/1", "c"]
        page = await index.page(bucket.id, "", "bb", 10)
        assert [one.key for one in page.items] == ["c"]
        page = await index.page(bucket.id, "b", "a", 1)
        assert ([one.key for one in page.items], page.next) == (["b"], "b")
        assert (await index.page(bucket.id, "", "", 0)).items == []

    # -- versions --------------------------------------------------------------------------------------------------------------

    async def test_versions_are_kept_and_promoted(self, index: Index, bucket: Bucket) -> None:
        await index.put(bucket.id, item("k", "zero"))
        await index.save_bucket("b", versioning="Enabled")
        one = (await index.put(bucket.id, item("k", "one"))).version
        two = (await index.put(bucket.id, item("k", "two"))).version
        [gone] = await index.remove(bucket.id, [("k", "")], 20.0)
        assert gone.marker
        assert gone.freed == ()
        assert (await index.find("b", "k"))[1] is None
        newest = await index.newest(bucket.id, "k")
        assert newest is not None
        assert newest.marker
        listed = await index.versions(bucket.id, "", ("", ""), 10)
        assert [(v.version, v.marker, v.latest) for v in listed.items] == [
            (gone.version, True, True), (two, False, False), (one, False, False), ("null", False, False),
        ]  # fmt: skip
        assert [v.blob for v in listed.items] == ["", "two", "one", "zero"]
        for version, blob in ((one, "one"), (two, "two"), ("null", "zero")):
            _, found = await index.find("b", "k", version)
            assert found is not None
            assert (found.blob, found.latest) == (blob, False)
        assert (await index.find("b", "k", "none"))[1] is None
        assert await keys(index, bucket) == []
        [back] = await index.remove(bucket.id, [("k", gone.version)], 21.0)
        assert back.marker
        _, current = await index.find("b", "k")
        assert current is not None
        assert current.version == two
        [dropped] = await index.remove(bucket.id, [("k", two)], 22.0)
        assert dropped.freed == ("two",)
        _, current = await index.find("b", "k")
        assert current is not None
        assert current.version == one
        [middle] = await index.remove(bucket.id, [("k", "null")], 23.0)
        assert middle.freed == ("zero",)

    async def test_suspended_versioning_replaces_the_null_version(self, index: Index, bucket: Bucket) -> None:
        await index.save_bucket("b", versioning="Enabled")
        kept = (await index.put(bucket.id, item("k", "one"))).version
        await index.save_bucket("b", versioning="Suspended")
        assert (await index.put(bucket.id, item("k", "two"))).version == "null"
        assert (await index.put(bucket.id, item("k", "three"))).freed == ("two",)
        [gone] = await index.remove(bucket.id, [("k", "")], 20.0)
        assert (gone.version, gone.marker, gone.freed) == ("null", True, ("three",))
        listed = await index.versions(bucket.id, "", ("", ""), 10)
        assert [(v.version, v.marker) for v in listed.items] == [("null", True), (kept, False)]

    async def test_versions_are_listed_in_pages(self, index: Index, bucket: Bucket) -> None:
        await index.save_bucket("b", versioning="Enabled")
        made = [
            (key, (await index.put(bucket.id, item(key, f"{key}{n}"))).version)
            for key in ("a", "b/1", "b/2", "c")
            for n in range(3)
        ]
        await index.remove(bucket.id, [("b/1", "")], 20.0)
        for limit in (1, 2, 5, 100):
            found: list[tuple[str, str]] = []
            mark = ("", "")
            while True:
                page = await index.versions(bucket.id, "", mark, limit)
                found += [(v.key, v.version) for v in page.items]
                mark = (page.next, page.next_version)
                if not page.next:
                    break
            assert len(found) == 13
            assert set(made) < set(found)
            assert [key for key, _ in found] == sorted(key for key, _ in found)
        odd = await index.versions(bucket.id, "", ("b/1", "no version's name"), 100)
        assert [v.key for v in odd.items] == ["b/2"] * 3 + ["c"] * 3
        rolled = await index.versions(bucket.id, "", ("", ""), 100, "/")
        assert (len(rolled.items), rolled.prefixes) == (6, ["b/"])

    @pytest.mark.parametrize("limit", [1, 2, 3, 5])
    async def test_a_bucket_is_emptied_page_by_page(self, index: Index, bucket: Bucket, limit: int) -> None:
        """As clients do it: what a page shows is removed before the next one is asked for, from where that page ended."""
        for key in "abc":
            await index.put(bucket.id, item(key, f"{key}-null"))
        await index.save_bucket("b", versioning="Enabled")
        for n in range(3):
            for key in "abc":
                await index.put(bucket.id, item(key, f"{key}{n}"))
        await index.save_bucket("b", versioning="Suspended")  # the null version is now the newest of "b"
        await index.put(bucket.id, item("b", "b-null-again"))
        seen, mark = 0, ("", "")
        while True:
            page = await index.versions(bucket.id, "", mark, limit)
            seen += len(page.items)
            await index.remove(bucket.id, [(v.key, v.version) for v in page.items], 20.0)
            mark = (page.next, page.next_version)
            if not page.next:
                break
        assert seen == 12
        assert (await index.versions(bucket.id, "", ("", ""), 100)).items == []

    # -- multipart -------------------------------------------------------------------------------------------------------------

    async def test_an_upload_becomes_an_object(self, index: Index, bucket: Bucket) -> None:
        upload = Upload("u1", bucket.id, "k", 7.0, {"content-type": "a/b"}, {"t": "1"}, "CRC32", "COMPOSITE")
        await index.begin(upload)
        assert await index.upload(bucket.id, "k", "u1") == upload
        assert await index.upload(bucket.id, "other", "u1") is None
        first, again = Part(1, 5, "e1", 8.0, "f1", 0, "CRC32:a"), Part(1, 6, "e2", 9.0, "f2", 10)
        assert await index.add_part("u1", first) is None
        assert await index.add_part("u1", again) == first
        await index.add_part("u1", Part(3, 1, "e3", 9.0, "f3", 0))
        assert [part.number for part in await index.parts("u1")] == [1, 3]
        assert await index.files() == {"f2", "f3"}
        await index.put(bucket.id, item("k", "old"))
        with pytest.raises(ConditionFailed):
            await index.complete(upload, item("k", "new"), Condition(absent=True))
        assert (await index.complete(upload, item("k", "new"))).freed == ("old",)
        with pytest.raises(UploadMissing):
            await index.complete(upload, item("k", "new"))
        with pytest.raises(UploadMissing):
            await index.add_part("u1", first)
        assert await index.files() == set()

    async def test_uploads_are_listed_and_aborted(self, index: Index, bucket: Bucket) -> None:
        for id, key in (("u2", "a"), ("u1", "a"), ("u3", "b")):
            await index.begin(Upload(id, bucket.id, key, 1.0))
        listed = await index.uploads(bucket.id, "", ("", ""), 10)
        assert [(u.key, u.id) for u in listed] == [("a", "u1"), ("a", "u2"), ("b", "u3")]
        assert [u.id for u in await index.uploads(bucket.id, "", ("a", "u1"), 10)] == ["u2", "u3"]
        assert [u.id for u in await index.uploads(bucket.id, "", ("a", ""), 10)] == ["u3"]
        assert [u.id for u in await index.uploads(bucket.id, "a", ("", ""), 1)] == ["u1"]
        assert await index.abort("u1")
        assert not await index.abort("u1")
