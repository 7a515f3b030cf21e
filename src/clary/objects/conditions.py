"""Conditional requests and ranges, decided from headers alone (RFC 9110 13 and 14, as S3 reads them).

Owns: precedence of the four conditions, the one range that S3 serves, HTTP dates. Does not know: where an object is.
"""

from __future__ import annotations

from calendar import timegm
from email.utils import formatdate, parsedate
from functools import lru_cache

from clary.domain.objects.items import ALWAYS, Condition, Item
from clary.objects.errors import NotModified, S3Error
from clary.objects.request import Call, strip_quotes

LONGEST_POSITION = 19  # digits; no object is as large


@lru_cache(maxsize=8192)
def http_date(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)


def iso_date(seconds: float) -> str:
    """2026-11-24T08:30:00.000Z: S3's dates have milliseconds, which are zero."""
    return _iso(int(seconds))


@lru_cache(maxsize=8192)
def _iso(seconds: int) -> str:
    from time import gmtime

    return "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.000Z".format(*gmtime(seconds)[:6])


def parse_date(text: str) -> int | None:
    """Epoch seconds of an HTTP date; None when it is none (a condition with it is ignored)."""
    fields = parsedate(text)
    return timegm((*fields[:6], 0, 0, 0)) if fields else None


def check_read(call: Call, item: Item, headers: tuple[tuple[str, str], ...], prefix: str = "") -> None:
    """PreconditionFailed or NotModified, unless the object may be read. `prefix` picks the copy-source family of headers (whose
    failures are all 412)."""
    match, none = call.header(prefix + "if-match"), call.header(prefix + "if-none-match")
    since, unmodified = call.header(prefix + "if-modified-since"), call.header(prefix + "if-unmodified-since")
    if not (match or none or since or unmodified):
        return
    modified = int(item.modified)
    if match:
        if not _matches(match, item.etag):
            raise S3Error("PreconditionFailed", Condition="If-Match")
    elif unmodified:
        date = parse_date(unmodified)
        if date is not None and modified > date:
            raise S3Error("PreconditionFailed", Condition="If-Unmodified-Since")
    if none:
        if _matches(none, item.etag):
            if prefix:
                raise S3Error("PreconditionFailed", Condition="If-None-Match")
            raise NotModified(headers)
    elif since:
        date = parse_date(since)
        if date is not None and modified <= date:
            if prefix:
                raise S3Error("PreconditionFailed", Condition="If-Modified-Since")
            raise NotModified(headers)


def _matches(listed: str, etag: str) -> bool:
    return any(strip_quotes(one.strip().removeprefix("W/")) in ("*", etag) for one in listed.split(","))


def write_condition(call: Call) -> Condition:
    """If-Match and If-None-Match of a write."""
    match, none = call.header("if-match"), call.header("if-none-match")
    if not match and not none:
        return ALWAYS
    if none and strip_quotes(none) != "*":
        raise S3Error("NotImplemented", "If-None-Match of a write takes only *", Header="If-None-Match")
    if match and none:
        raise S3Error("NotImplemented", "A write takes If-Match or If-None-Match, not both", Header="If-Match")
    return Condition(match=strip_quotes(match), absent=bool(none))


def byte_range(text: str, size: int) -> tuple[int, int] | None:
    """(start, end exclusive) of a Range header; None when it asks for all of it or is not understood (S3 then answers all, and so
    it does for several ranges). InvalidRange when nothing of it is there."""
    unit, _, spec = text.partition("=")
    if unit.strip().lower() != "bytes" or "," in spec:
        return None
    low, dash, high = spec.strip().partition("-")
    low, high = low.strip(), high.strip()
    if not dash or not (low or high) or any(part and not (part.isascii() and part.isdecimal()) for part in (low, high)):
        return None
    if low:
        start, end = _position(low), min(_position(high) + 1, size) if high else size
        if high and _behind(low, high):
            return None
    else:
        start, end = max(size - _position(high), 0), size
        if _position(high) == 0:
            start = size
    if start >= size:
        raise S3Error(
            "InvalidRange",
            headers=(("content-range", f"bytes */{size}"),),
            ActualObjectSize=str(size),
            RangeRequested=text,
        )
    return start, end


def _position(digits: str) -> int:
    """A number of any length; beyond every object's size they are all alike."""
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) < LONGEST_POSITION else 10**LONGEST_POSITION


def _behind(low: str, high: str) -> bool:
    """Whether the last byte of a range stands before its first."""
    low, high = low.lstrip("0"), high.lstrip("0")
    return (len(high), high) < (len(low), low)


def copy_range(text: str, size: int) -> tuple[int, int]:
    """x-amz-copy-source-range: bytes=first-last, both required and inside the source."""
    unit, _, spec = text.partition("=")
    low, _, high = spec.partition("-")
    if unit != "bytes" or not low.isdecimal() or not high.isdecimal() or int(low) > int(high):
        raise S3Error(
            "InvalidArgument",
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based "
            "offsets of the first and last bytes to copy",
            ArgumentName="x-amz-copy-source-range",
            ArgumentValue=text,
        )
    if int(high) >= size:
        raise S3Error(
            "InvalidArgument", f"Range specified is not valid for source object of size: {size}",
            ArgumentName="x-amz-copy-source-range", ArgumentValue=text,
        )  # fmt: skip
    return int(low), int(high) + 1
