"""Tags and ACLs of objects. Does not know: how tags are kept."""

from __future__ import annotations

from clary.objects import body
from clary.objects.buckets import accept_acl, owner_acl, parse_document, read_tags
from clary.objects.context import Context, find_item, version_headers
from clary.objects.errors import S3Error
from clary.objects.request import Call, Reply, xml_reply
from clary.objects.xml import document


async def get_tagging(ctx: Context, call: Call) -> Reply:
    bucket, item = await find_item(ctx, call)
    tags = [{"Key": key, "Value": value} for key, value in item.tags.items()]
    return xml_reply(document("Tagging", {"TagSet": {"Tag": tags}}), version_headers(bucket, item))


async def put_tagging(ctx: Context, call: Call) -> Reply:
    bucket, item = await find_item(ctx, call)
    root, content = parse_document(await body.read_document(call))
    if root != "Tagging":
        raise S3Error("MalformedXML")
    await ctx.index.tag(bucket.id, call.key, call.args.get("versionId", ""), read_tags(content, 10))
    return Reply(200, version_headers(bucket, item))


async def delete_tagging(ctx: Context, call: Call) -> Reply:
    bucket, item = await find_item(ctx, call)
    await ctx.index.tag(bucket.id, call.key, call.args.get("versionId", ""), {})
    return Reply(204, version_headers(bucket, item))


async def get_acl(ctx: Context, call: Call) -> Reply:
    bucket, _ = await find_item(ctx, call)
    return owner_acl(bucket.account)


async def put_acl(ctx: Context, call: Call) -> Reply:
    bucket, _ = await find_item(ctx, call)
    await accept_acl(call, bucket)
    return Reply(200)
