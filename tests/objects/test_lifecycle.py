"""Lifecycle rules, decided and done."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clary.domain.objects.items import Bucket, Item, Upload
from clary.objects import lifecycle
from clary.objects.assembly import Assembly
from clary.objects.auth import Authenticator
from clary.objects.blobs import Blobs
from clary.objects.context import Context
from clary.stores.index import SqlIndex
from clary.testing.clock import FakeClock
from clary.testing.keys import ACCOUNT, MemoryKeys

DAY = 86400
NOW = 20_000 * DAY + 3600.0


def rule(inner: str, prefix: str = "tmp/") -> lifecycle.Rule:
    [found] = lifecycle.rules(
        f"<LifecycleConfiguration><Rule><Status>Enabled</Status><Filter><Prefix>{prefix}</Prefix></Filter>{inner}</Rule>"
        f"<Rule><Status>Disabled</Status>{inner}</Rule></LifecycleConfiguration>"
    )
    return found


def made(age: float, key: str = "tmp/k", version: str = "v", **more: object) -> Item:
    return Item(key, version, 10, "e", NOW - age * DAY, "b", **more)  # type: ignore[arg-type]


EXPIRE = "<Expiration><Days>3</Days></Expiration>"
OLD = "<NoncurrentVersionExpiration><NoncurrentDays>2</NoncurrentDays></NoncurrentVersionExpiration>"
KEEP = OLD.replace("<NoncurrentDays>", "<NewerNoncurrentVersions>1</NewerNoncurrentVersions><NoncurrentDays>")
MARKERS = "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>"


@pytest.mark.parametrize(
    ("inner", "versions", "gone"),
    [
        (EXPIRE, [made(2.5)], []),
        (EXPIRE, [made(3)], []),  # not before the midnight after it was made, plus three days
        (EXPIRE, [made(4.5)], [("tmp/k", "")]),
        (EXPIRE, [made(4.5, key="kept/k")], []),
        (EXPIRE, [made(9, marker=True)], []),
        ("<Expiration><Date>2024-01-01T00:00:00Z</Date></Expiration>", [made(0)], [("tmp/k", "")]),
        ("<Expiration><Date>2034-01-01T00:00:00Z</Date></Expiration>", [made(0)], []),
        (OLD, [made(9)], []),
        (OLD, [made(5, version="2"), made(9, version="1", latest=False)], [("tmp/k", "1")]),
        (OLD, [made(1, version="2"), made(9, version="1", latest=False)], []),
        (
            KEEP,
            [made(5, version="3"), made(6, version="2", latest=False), made(9, version="1", latest=False)],
            [("tmp/k", "1")],
        ),
        (MARKERS, [made(0, marker=True)], [("tmp/k", "v")]),
        (MARKERS, [made(0, marker=True), made(1, version="1", latest=False)], []),
    ],
)
def test_what_a_rule_removes(inner: str, versions: list[Item], gone: list[tuple[str, str]]) -> None:
    assert lifecycle.expired(rule(inner), versions, NOW) == gone


def test_filters_of_tags_and_sizes() -> None:
    where = (
        "<Filter><And><Prefix>a/</Prefix><Tag><Key>t</Key><Value>1</Value></Tag>"
        "<ObjectSizeGreaterThan>5</ObjectSizeGreaterThan><ObjectSizeLessThan>11</ObjectSizeLessThan></And></Filter>"
    )
    [found] = lifecycle.rules(f"<L><Rule><Status>Enabled</Status>{where}{EXPIRE}</Rule></L>")
    assert found.covers(Item("a/k", "", 10, "", 0, "b", tags={"t": "1", "u": "2"}))
    assert not found.covers(Item("a/k", "", 10, "", 0, "b"))
    assert not found.covers(Item("a/k", "", 5, "", 0, "b", tags={"t": "1"}))
    assert not found.covers(Item("a/k", "", 11, "", 0, "b", tags={"t": "1"}))


@pytest.fixture
async def ctx(tmp_path: Path) -> AsyncIterator[Context]:
    blobs = Blobs(tmp_path)
    keys = MemoryKeys()
    keys.create(ACCOUNT, "clary")
    index = SqlIndex(f"sqlite:///{tmp_path}/index.db", blobs.settle)
    yield Context(index, blobs, Authenticator(keys), FakeClock(NOW))
    await index.close()
    blobs.close()


async def _put(ctx: Context, bucket: Bucket, key: str, age: float) -> None:
    await ctx.index.put(bucket.id, Item(key, "", 1, "e", NOW - age * DAY, ctx.blobs.add(b"1")[0]))


async def test_expired_objects_and_uploads_go(ctx: Context) -> None:
    bucket = await ctx.index.add_bucket("b", ACCOUNT, "us-east-1", 0)
    text = (
        "<LifecycleConfiguration><Rule><Status>Enabled</Status><Filter><Prefix>tmp/</Prefix></Filter>"
        f"{EXPIRE}{OLD}<AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload>"
        "</Rule></LifecycleConfiguration>"
    )
    await ctx.index.save_bucket("b", versioning="Enabled", documents={"lifecycle": text})
    for n in range(30):
        await _put(ctx, bucket, f"tmp/{n:02}", 9 if n % 2 else 0)
    await _put(ctx, bucket, "other", 9)
    await ctx.index.begin(Upload("u1", bucket.id, "tmp/u", NOW - 5 * DAY))
    await ctx.index.begin(Upload("u2", bucket.id, "tmp/u", NOW))
    assert await lifecycle.expire(ctx, Assembly(ctx.blobs)) == 16
    left = await ctx.index.page(bucket.id, "", "", 100)
    assert [one.key for one in left.items] == ["other", *(f"tmp/{n:02}" for n in range(0, 30, 2))]
    assert [one.id for one in await ctx.index.uploads(bucket.id, "", ("", ""), 10)] == ["u2"]
    listed = await ctx.index.versions(bucket.id, "tmp/01", ("", ""), 10)
    assert [one.marker for one in listed.items] == [True, False]


async def test_a_bucket_without_rules_is_left_alone(ctx: Context) -> None:
    bucket = await ctx.index.add_bucket("b", ACCOUNT, "us-east-1", 0)
    await _put(ctx, bucket, "tmp/k", 900)
    assert await lifecycle.expire(ctx, Assembly(ctx.blobs)) == 0
