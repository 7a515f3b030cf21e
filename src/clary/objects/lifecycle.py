"""What lifecycle rules expire: objects by age or date, old versions, lone delete markers, unfinished uploads.

Owns: reading a bucket's rules and doing what they say, in pages. Runs in the daily housekeeping. Does not know: requests.
Rounding as S3's: an object's age counts from the midnight (UTC) after it was made.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from clary.domain.objects.items import Bucket, Item
from clary.objects.assembly import Assembly
from clary.objects.context import Context
from clary.objects.xml import first, parse

DAY = 86400
PAGE = 500


@dataclass(frozen=True, slots=True)
class Rule:
    """One enabled rule. Days are None where it does not say; `date` is epoch seconds."""

    prefix: str
    tags: dict[str, str]
    larger: int
    smaller: int | None
    days: int | None
    date: float | None
    lone_markers: bool
    old_days: int | None
    old_kept: int
    upload_days: int | None

    def covers(self, item: Item) -> bool:
        return (
            item.key.startswith(self.prefix)
            and all(item.tags.get(key) == value for key, value in self.tags.items())
            and (item.marker or (item.size > self.larger and (self.smaller is None or item.size < self.smaller)))
        )


def rules(text: str) -> list[Rule]:
    """The enabled rules of a LifecycleConfiguration document."""
    found = parse(text.encode())[1].get("Rule", [])
    return [_rule(one) for one in found if isinstance(one, dict) and first(one, "Status") == "Enabled"]


def _rule(one: dict[str, Any]) -> Rule:
    where = _child(one, "Filter")
    where = _child(where, "And") or where
    expiration, old = _child(one, "Expiration"), _child(one, "NoncurrentVersionExpiration")
    tags = {first(tag, "Key"): first(tag, "Value") for tag in where.get("Tag", []) if isinstance(tag, dict)}
    date = first(expiration, "Date")
    return Rule(
        prefix=first(where, "Prefix") or first(one, "Prefix"),
        tags=tags,
        larger=int(first(where, "ObjectSizeGreaterThan", "-1")),
        smaller=_number(where, "ObjectSizeLessThan"),
        days=_number(expiration, "Days"),
        date=datetime.fromisoformat(date).timestamp() if date else None,
        lone_markers=first(expiration, "ExpiredObjectDeleteMarker") == "true",
        old_days=_number(old, "NoncurrentDays"),
        old_kept=_number(old, "NewerNoncurrentVersions") or 0,
        upload_days=_number(_child(one, "AbortIncompleteMultipartUpload"), "DaysAfterInitiation"),
    )


def _child(one: dict[str, Any], name: str) -> dict[str, Any]:
    found = one.get(name, [""])[0]
    return found if isinstance(found, dict) else {}


def _number(one: dict[str, Any], name: str) -> int | None:
    text = first(one, name)
    return int(text) if text.isdecimal() else None


def due(since: float, days: int, now: float) -> bool:
    """Whether `days` have passed since the midnight after `since`."""
    return now >= (int(since) // DAY + 1 + days) * DAY


def expired(rule: Rule, versions: list[Item], now: float) -> list[tuple[str, str]]:
    """What of one key's versions (newest first) the rule removes: (key, version), version '' for an ordinary delete."""
    gone: list[tuple[str, str]] = []
    newest = versions[0]
    old = rule.days is not None and due(newest.modified, rule.days, now)
    old = old or (rule.date is not None and now >= rule.date)
    if old and newest.latest and not newest.marker and rule.covers(newest):
        gone.append((newest.key, ""))
    if newest.marker and len(versions) == 1 and rule.lone_markers and newest.key.startswith(rule.prefix):
        gone.append((newest.key, newest.version))
    if rule.old_days is not None:
        for at, item in enumerate(versions[1:]):
            # A version is old since the next newer one was made.
            if at >= rule.old_kept and rule.covers(item) and due(versions[at].modified, rule.old_days, now):
                gone.append((item.key, item.version))
    return gone


async def expire(ctx: Context, assembly: Assembly) -> int:
    """Do what every bucket's rules say; how many versions and uploads went."""
    count = 0
    for account in sorted(ctx.authenticator.accounts()):
        for listed in await ctx.index.buckets(account):
            bucket = await ctx.index.bucket(listed.name)
            if bucket is not None and "lifecycle" in bucket.documents:
                for rule in rules(bucket.documents["lifecycle"]):
                    count += await _apply(ctx, assembly, bucket, rule)
    return count


async def _apply(ctx: Context, assembly: Assembly, bucket: Bucket, rule: Rule) -> int:
    now = ctx.clock.now()
    count = 0
    mark = ("", "")
    held: list[Item] = []
    while True:
        page = await ctx.index.versions(bucket.id, rule.prefix, mark, PAGE)
        held += page.items
        mark = (page.next, page.next_version)
        groups = list(_by_key(held))
        held = groups.pop() if page.next and groups else []  # a key's versions may go on in the next page
        for versions in groups:
            gone = expired(rule, versions, now)
            if gone:
                for written in await ctx.index.remove(bucket.id, gone, now):
                    ctx.blobs.free(written.freed)
                count += len(gone)
        if not page.next:
            break
    if rule.upload_days is not None:
        count += await _abort_uploads(ctx, assembly, bucket, rule.prefix, rule.upload_days, now)
    return count


async def _abort_uploads(ctx: Context, assembly: Assembly, bucket: Bucket, prefix: str, days: int, now: float) -> int:
    count = 0
    for upload in await ctx.index.uploads(bucket.id, prefix, ("", ""), 10_000):
        if due(upload.initiated, days, now):
            parts = await ctx.index.parts(upload.id)
            async with assembly.lock(upload.id, parts):
                if await ctx.index.abort(upload.id):
                    assembly.forget(upload.id, parts)
                    count += 1
    return count


def _by_key(items: list[Item]) -> Iterator[list[Item]]:
    group: list[Item] = []
    for item in items:
        if group and group[0].key != item.key:
            yield group
            group = []
        group.append(item)
    if group:
        yield group
