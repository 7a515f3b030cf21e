"""What every operation is given, and the first question of each: may this account use this bucket?

A bucket belongs to one account and only that account may use it (policies and ACLs are kept, and grant nothing). Does not know:
any particular operation.
"""

from __future__ import annotations

from dataclasses import dataclass

from clary.domain.objects import public_buckets
from clary.domain.objects.items import Bucket, Item
from clary.object_ports import Index
from clary.objects.auth import Authenticator
from clary.objects.blobs import Blobs
from clary.objects.errors import S3Error
from clary.objects.request import Call
from clary.ports import Clock


@dataclass(frozen=True, slots=True)
class Context:
    index: Index
    blobs: Blobs
    authenticator: Authenticator
    clock: Clock


def no_such_bucket(name: str) -> S3Error:
    """404; a bucket that many notebooks know from AWS is told to be just that."""
    advice = public_buckets.advice(name)
    if advice:
        return S3Error("NoSuchBucket", f"The specified bucket does not exist. {advice}", BucketName=name)
    return S3Error("NoSuchBucket", BucketName=name)


def own(
    ctx: Context, call: Call, bucket: Bucket | None, name: str = "", header: str = "x-amz-expected-bucket-owner"
) -> Bucket:
    """The bucket, when this call may use it: NoSuchBucket, AccessDenied."""
    if bucket is None:
        raise no_such_bucket(name or call.bucket)
    if bucket.account != call.account:
        raise S3Error("AccessDenied")
    expected = call.headers.get(header)
    if expected is not None and expected != bucket.account and expected in ctx.authenticator.accounts():
        # An account that nobody here has is a constant that came along from the cloud, not another owner.
        raise S3Error("AccessDenied")
    return bucket


async def bucket_of(ctx: Context, call: Call) -> Bucket:
    return own(ctx, call, await ctx.index.bucket(call.bucket))


def version_headers(bucket: Bucket, item: Item) -> list[tuple[str, str]]:
    return [("x-amz-version-id", item.version)] if bucket.versioning else []


async def find_item(ctx: Context, call: Call) -> tuple[Bucket, Item]:
    """The object, or the version, that the call names. NoSuchKey, NoSuchVersion; 405 for a delete marker asked for by id."""
    version = call.args.get("versionId", "") if "versionId" in call.query else ""
    bucket, item = await ctx.index.find(call.bucket, call.key, version)
    bucket = own(ctx, call, bucket)
    if item is None:
        if version:
            raise S3Error("NoSuchVersion", Key=call.key, VersionId=version)
        newest = await ctx.index.newest(bucket.id, call.key) if bucket.versioning else None
        marks: tuple[tuple[str, str], ...] = ()
        if newest is not None:
            marks = (("x-amz-delete-marker", "true"), ("x-amz-version-id", newest.version))
        raise S3Error("NoSuchKey", headers=marks, Key=call.key)
    if item.marker:
        marks = (("x-amz-delete-marker", "true"), ("x-amz-version-id", item.version), ("allow", "DELETE"))
        raise S3Error("MethodNotAllowed", headers=marks, Method=call.method, ResourceType="DeleteMarker")
    return bucket, item
