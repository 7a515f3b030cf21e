"""Buckets: making, finding, removing them, and their sub-resources.

Owns: which sub-resources are kept as given, which are answered as AWS answers them when unset, and which are refused because
keeping them without acting on them would be a lie. Does not know: objects.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson

from clary.domain.attempts import WITHIN, attempt_of
from clary.domain.objects.items import Bucket, BucketTaken
from clary.objects import body, conditions
from clary.objects.context import Context, bucket_of
from clary.objects.errors import S3Error
from clary.objects.metadata import checked_tags
from clary.objects.request import Call, Reply, check_bucket_name, xml_reply
from clary.objects.xml import Malformed, document, first, parse

DEFAULT_REGION = "us-east-1"
_XSI = {"@xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance", "@xsi:type": "CanonicalUser"}


async def list_buckets(ctx: Context, call: Call) -> Reply:
    args = call.args
    prefix, token = args.get("prefix", ""), args.get("continuation-token", "")
    limit = call.number("max-buckets", 10000, 1, 10000)
    region = args.get("bucket-region", "")
    found = [
        bucket
        for bucket in await ctx.index.buckets(call.account)
        if bucket.name.startswith(prefix) and bucket.name > token and region in ("", bucket.region)
    ]
    page = found[:limit]
    content = {
        "Owner": {"ID": call.account, "DisplayName": call.account},
        "Buckets": {
            "Bucket": [
                {"Name": one.name, "CreationDate": conditions.iso_date(one.created), "BucketRegion": one.region}
                for one in page
            ]
        },
        "ContinuationToken": page[-1].name if len(found) > limit else None,
        "Prefix": prefix or None,
    }
    return xml_reply(document("ListAllMyBucketsResult", content))


async def create_bucket(ctx: Context, call: Call) -> Reply:
    check_bucket_name(call.bucket)
    if call.header("x-amz-acl", "private") != "private":
        raise S3Error("AccessControlListNotSupported")
    if call.header("x-amz-bucket-object-lock-enabled").lower() == "true":
        raise S3Error("NotImplemented", "Object lock is not implemented by Clary's object store.")
    sent = await body.read_document(call) if call.header("content-length", "0") != "0" else b""
    root, content = _parse(sent) if sent.strip() else ("CreateBucketConfiguration", {})
    if root != "CreateBucketConfiguration":
        raise S3Error("MalformedXML")
    region = first(content, "LocationConstraint") or DEFAULT_REGION
    region = "eu-west-1" if region == "EU" else region
    try:
        ctx.blobs.check_space()
        await ctx.index.add_bucket(call.bucket, call.account, region, call.now)
    except BucketTaken as error:
        if error.account != call.account:
            raise S3Error("BucketAlreadyExists", BucketName=call.bucket) from error
        bucket = await ctx.index.bucket(call.bucket)
        # us-east-1 answers 200 when the owner asks again; elsewhere a client that asks again for the bucket it has made does not fail.
        again = (
            bucket is not None and bucket.region == region and (region == DEFAULT_REGION or _just_made(call, bucket))
        )
        if not again:
            raise S3Error("BucketAlreadyOwnedByYou", BucketName=call.bucket) from error
    return Reply(200, [("location", f"/{call.bucket}")])


def _just_made(call: Call, bucket: Bucket) -> bool:
    """Whether this is a further attempt of a client, at a bucket not older than its call can be."""
    return attempt_of(call.header("amz-sdk-request")) > 1 and abs(call.now - bucket.created) <= WITHIN


async def head_bucket(ctx: Context, call: Call) -> Reply:
    bucket = await bucket_of(ctx, call)
    return Reply(
        200,
        [
            ("x-amz-bucket-region", bucket.region),
            ("content-type", "application/xml"),
            ("x-amz-access-point-alias", "false"),
        ],
    )


async def delete_bucket(ctx: Context, call: Call) -> Reply:
    await bucket_of(ctx, call)
    await ctx.index.remove_bucket(call.bucket)
    return Reply(204)


async def get_location(ctx: Context, call: Call) -> Reply:
    bucket = await bucket_of(ctx, call)
    # The only answer of S3's whose root element is the value.
    text = document("LocationConstraint", {}).decode().removesuffix("</LocationConstraint>")
    region = "" if bucket.region == DEFAULT_REGION else bucket.region
    return xml_reply(f"{text}{region}</LocationConstraint>".encode())


async def get_versioning(ctx: Context, call: Call) -> Reply:
    bucket = await bucket_of(ctx, call)
    return xml_reply(document("VersioningConfiguration", {"Status": bucket.versioning or None}))


async def put_versioning(ctx: Context, call: Call) -> Reply:
    await bucket_of(ctx, call)
    root, content = _parse(await body.read_document(call))
    status = first(content, "Status")
    if root != "VersioningConfiguration" or status not in ("Enabled", "Suspended"):
        raise S3Error(
            "MalformedXML" if status or root != "VersioningConfiguration" else "IllegalVersioningConfigurationException"
        )
    if first(content, "MfaDelete") == "Enabled":
        raise S3Error("NotImplemented", "MFA delete is not implemented by Clary's object store.")
    await ctx.index.save_bucket(call.bucket, versioning=status)
    return Reply(200)


# -- sub-resources that are documents ------------------------------------------------------------------------------------------

Check = Callable[[dict[str, Any]], None]


def _anything(_: dict[str, Any]) -> None:
    return None


def _only_empty(what: str) -> Check:
    def check(content: dict[str, Any]) -> None:
        if content:
            raise S3Error(
                "NotImplemented", f"{what} is not implemented by Clary's object store; only an empty one is accepted."
            )

    return check


def _tags(content: dict[str, Any]) -> None:
    read_tags(content, 50)


def _lifecycle(content: dict[str, Any]) -> None:
    for rule in content.get("Rule", [""]):
        if not isinstance(rule, dict) or first(rule, "Status") not in ("Enabled", "Disabled"):
            raise S3Error("MalformedXML")
        if "Transition" in rule or "NoncurrentVersionTransition" in rule:
            raise S3Error(
                "NotImplemented",
                "Lifecycle transitions are not implemented: Clary's object store has one storage tier.",
            )


@dataclass(frozen=True, slots=True)
class Document:
    """A sub-resource kept as text: its root element, the error (or the XML) that answers when it is unset, what is checked."""

    name: str
    root: str
    unset_error: str = ""
    unset: dict[str, Any] | None = None
    check: Check = _anything


DOCUMENTS = {
    document.name: document
    for document in (
        Document("tagging", "Tagging", "NoSuchTagSet", check=_tags),
        Document("cors", "CORSConfiguration", "NoSuchCORSConfiguration"),
        Document("lifecycle", "LifecycleConfiguration", "NoSuchLifecycleConfiguration", check=_lifecycle),
        Document(
            "encryption", "ServerSideEncryptionConfiguration",
            unset={
                "Rule": {
                    "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"},
                    "BucketKeyEnabled": False,
                }
            },
        ),
        Document("ownershipControls", "OwnershipControls", unset={"Rule": {"ObjectOwnership": "BucketOwnerEnforced"}}),
        Document(
            "publicAccessBlock", "PublicAccessBlockConfiguration",
            unset=dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True),
        ),
        Document("requestPayment", "RequestPaymentConfiguration", unset={"Payer": "BucketOwner"}),
        Document("notification", "NotificationConfiguration", unset={}, check=_only_empty("Bucket notification")),
        Document("logging", "BucketLoggingStatus", unset={}, check=_only_empty("Bucket logging")),
        Document("accelerate", "AccelerateConfiguration", unset={}, check=_only_empty("Transfer acceleration")),
        Document("website", "WebsiteConfiguration", "NoSuchWebsiteConfiguration", check=_only_empty("A bucket website")),
        Document("replication", "ReplicationConfiguration", "ReplicationConfigurationNotFoundError", check=_only_empty("Replication")),
        Document("object-lock", "ObjectLockConfiguration", "ObjectLockConfigurationNotFoundError", check=_only_empty("Object lock")),
    )
}  # fmt: skip


def get_document(kind: Document) -> Callable[[Context, Call], Awaitable[Reply]]:
    async def get(ctx: Context, call: Call) -> Reply:
        bucket = await bucket_of(ctx, call)
        kept = bucket.documents.get(kind.name)
        if kept is not None:
            return xml_reply(kept.encode())
        if kind.unset is None:
            raise S3Error(kind.unset_error, BucketName=call.bucket)
        return xml_reply(document(kind.root, kind.unset))

    return get


def put_document(kind: Document) -> Callable[[Context, Call], Awaitable[Reply]]:
    async def put(ctx: Context, call: Call) -> Reply:
        await bucket_of(ctx, call)
        sent = await body.read_document(call)
        root, content = _parse(sent)
        if root != kind.root:
            raise S3Error("MalformedXML")
        kind.check(content)
        await ctx.index.save_bucket(call.bucket, documents={kind.name: sent.decode("utf-8", "replace")})
        return Reply(204 if kind.name == "tagging" else 200)

    return put


def delete_document(kind: Document) -> Callable[[Context, Call], Awaitable[Reply]]:
    async def remove(ctx: Context, call: Call) -> Reply:
        await bucket_of(ctx, call)
        await ctx.index.save_bucket(call.bucket, documents={kind.name: None})
        return Reply(204)

    return remove


async def get_policy(ctx: Context, call: Call) -> Reply:
    bucket = await bucket_of(ctx, call)
    kept = bucket.documents.get("policy")
    if kept is None:
        raise S3Error("NoSuchBucketPolicy", BucketName=call.bucket)
    return Reply(200, [("content-type", "application/json")], kept.encode())


async def put_policy(ctx: Context, call: Call) -> Reply:
    """Kept as a record: only the owner's account may use a bucket, whatever its policy grants."""
    await bucket_of(ctx, call)
    sent = await body.read_document(call)
    try:
        policy = orjson.loads(sent)
    except orjson.JSONDecodeError as error:
        raise S3Error("MalformedPolicy", "Policies must be valid JSON and the first byte must be '{'") from error
    if not isinstance(policy, dict) or not policy.get("Statement"):
        raise S3Error("MalformedPolicy", "Missing required field Statement")
    await ctx.index.save_bucket(call.bucket, documents={"policy": sent.decode("utf-8", "replace")})
    return Reply(204)


async def delete_policy(ctx: Context, call: Call) -> Reply:
    await bucket_of(ctx, call)
    await ctx.index.save_bucket(call.bucket, documents={"policy": None})
    return Reply(204)


async def get_policy_status(ctx: Context, call: Call) -> Reply:
    bucket = await bucket_of(ctx, call)
    if "policy" not in bucket.documents:
        raise S3Error("NoSuchBucketPolicy", BucketName=call.bucket)
    return xml_reply(document("PolicyStatus", {"IsPublic": False}))


# -- access control lists ------------------------------------------------------------------------------------------------------


def owner_acl(account: str) -> Reply:
    owner = {"ID": account, "DisplayName": account}
    grant = {"Grantee": {**_XSI, **owner}, "Permission": "FULL_CONTROL"}
    return xml_reply(document("AccessControlPolicy", {"Owner": owner, "AccessControlList": {"Grant": grant}}))


async def get_acl(ctx: Context, call: Call) -> Reply:
    return owner_acl((await bucket_of(ctx, call)).account)


async def put_acl(ctx: Context, call: Call) -> Reply:
    bucket = await bucket_of(ctx, call)
    await accept_acl(call, bucket)
    return Reply(200)


async def accept_acl(call: Call, bucket: Bucket) -> None:
    """Only what says what is true anyhow: the owner has full control. Else AccessControlListNotSupported."""
    canned = call.header("x-amz-acl")
    if any(name.startswith("x-amz-grant-") for name in call.headers) or canned not in (
        "",
        "private",
        "bucket-owner-full-control",
    ):
        raise S3Error("AccessControlListNotSupported")
    if canned:
        return
    root, content = _parse(await body.read_document(call))
    if root != "AccessControlPolicy":
        raise S3Error("MalformedXML")
    for listed in content.get("AccessControlList", []):
        for grant in listed.get("Grant", []) if isinstance(listed, dict) else []:
            [grantee] = grant.get("Grantee", [{}]) if isinstance(grant, dict) else [{}]
            if not isinstance(grantee, dict) or first(grantee, "ID") != bucket.account:
                raise S3Error("AccessControlListNotSupported")


# -- reading documents ---------------------------------------------------------------------------------------------------------


def _parse(sent: bytes) -> tuple[str, dict[str, Any]]:
    try:
        return parse(sent)
    except Malformed as error:
        raise S3Error("MalformedXML") from error


def read_tags(content: dict[str, Any], most: int) -> dict[str, str]:
    """<TagSet><Tag><Key/><Value/></Tag>...</TagSet>"""
    sets = content.get("TagSet", [])
    if len(sets) != 1:
        raise S3Error("MalformedXML")
    tags = sets[0].get("Tag", []) if isinstance(sets[0], dict) else []
    if not all(isinstance(tag, dict) and "Key" in tag for tag in tags):
        raise S3Error("MalformedXML")
    return checked_tags([(first(tag, "Key"), first(tag, "Value")) for tag in tags], most)


parse_document = _parse
