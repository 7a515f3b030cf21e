"""Timestamps, numbers, booleans and blobs between text and Python.

Owns: AWS's three timestamp forms, the special floats, base64. What comes in wrong raises SerializationError; what goes
out is a value that the body formats can print. Does not know: shapes and bodies.
"""

from __future__ import annotations

import binascii
import datetime
import math
from email.utils import formatdate, parsedate_to_datetime
from typing import Any

from clary.wire.errors import SerializationError

_UTC = datetime.UTC
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=_UTC)
_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_TRUE_FALSE = {"true": True, "false": False}
INTEGER_LIMIT = 1 << 31
LONG_LIMIT = 1 << 63


def aware(value: Any) -> datetime.datetime:
    """A UTC datetime from a datetime (naive means UTC), epoch seconds, or text in any of the three forms."""
    if isinstance(value, datetime.datetime):
        return value.replace(tzinfo=_UTC) if value.tzinfo is None else value
    if isinstance(value, str):
        return parse_timestamp(value)
    return from_epoch(value)


def from_epoch(value: float) -> datetime.datetime:
    """A UTC datetime from epoch seconds, rounded to microseconds."""
    try:
        if isinstance(value, int):
            return _EPOCH + datetime.timedelta(seconds=value)
        return _EPOCH + datetime.timedelta(microseconds=round(value * 1_000_000))
    except (OverflowError, ValueError) as error:
        raise SerializationError(f"Timestamp out of range: {value!r:.60}") from error


def parse_timestamp(text: str, form: str | None = None) -> datetime.datetime:
    """A UTC datetime from text: epoch seconds, ISO 8601 or RFC 822 (``form`` is a hint, all three are understood)."""
    text = text.strip()
    try:
        if text[:1].isdigit() and "-" in text[1:11] and form != "unixTimestamp":
            moment = datetime.datetime.fromisoformat(text)
        elif text[:1].isalpha():
            if not text.isascii():
                raise ValueError(text)
            moment = parsedate_to_datetime(text)
        else:
            number = float(text)
            return from_epoch(int(number) if number.is_integer() else number)
        moment = moment.replace(tzinfo=_UTC) if moment.tzinfo is None else moment
        return moment.astimezone(_UTC)
    except (ValueError, TypeError, OverflowError, IndexError) as error:
        raise SerializationError(f"Invalid timestamp: {text!r:.60}") from error


def epoch(value: Any) -> int | float:
    """Epoch seconds; an int when whole, else a float rounded once, to microseconds."""
    gap = aware(value) - _EPOCH
    seconds = gap.days * 86400 + gap.seconds
    return (seconds * 1_000_000 + gap.microseconds) / 1_000_000 if gap.microseconds else seconds


def iso8601(value: Any) -> str:
    """``2026-11-24T08:00:00Z``, with a fraction when there is one."""
    moment = aware(value).astimezone(_UTC)
    text = moment.replace(tzinfo=None).isoformat()
    if moment.microsecond:
        text = text.rstrip("0")
    return text + "Z"


def rfc822(value: Any) -> str:
    """``Tue, 24 Nov 2026 08:00:00 GMT``; seconds only, as HTTP dates are."""
    return formatdate(math.floor(epoch(value)), usegmt=True)


def format_timestamp(value: Any, form: str) -> str | int | float:
    """The value in the model's ``timestampFormat``: ``iso8601``, ``rfc822`` or ``unixTimestamp``."""
    if form == "iso8601":
        return iso8601(value)
    return rfc822(value) if form == "rfc822" else epoch(value)


def parse_integer(text: str, limit: int = LONG_LIMIT) -> int:
    """An integer within ``[-limit, limit)`` from its decimal text."""
    if len(text) > 20 or not text.removeprefix("-").isdecimal() or not text.isascii():
        raise SerializationError(f"Not an integer: {text!r:.60}")
    return bounded(int(text), limit)


def bounded(value: int, limit: int) -> int:
    """The value itself, when it fits its type."""
    if not -limit <= value < limit:
        raise SerializationError(f"Number out of range: {value!r:.60}")
    return value


def parse_float(text: str) -> float:
    """A float from its text, ``NaN`` and the infinities spelled as AWS does."""
    if text in _SPECIAL:
        return _SPECIAL[text]
    try:
        number = float(text)
    except ValueError as error:
        raise SerializationError(f"Not a number: {text!r:.60}") from error
    if not math.isfinite(number):
        raise SerializationError(f"Not a number: {text!r:.60}")
    return number


def special_float(value: float) -> float | str:
    """The float, or its name when JSON and XML have no number for it."""
    number = float(value)
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else ("Infinity" if number > 0 else "-Infinity")


def parse_boolean(text: str) -> bool:
    """``true`` or ``false``, in any case."""
    found = _TRUE_FALSE.get(text.lower())
    if found is None:
        raise SerializationError(f"Not a boolean: {text!r:.60}")
    return found


def decode_blob(text: str) -> bytes:
    """Bytes from base64; white space is ignored, anything else that is not base64 is refused."""
    try:
        return binascii.a2b_base64("".join(text.split()), strict_mode=True)
    except ValueError as error:
        raise SerializationError("Invalid base64 in a blob") from error


def encode_blob(value: Any) -> str:
    """Base64 of bytes, of a string's UTF-8, or of what a file-like has left."""
    return binascii.b2a_base64(as_bytes(value), newline=False).decode("ascii")


def as_bytes(value: Any) -> bytes:
    """The bytes of a blob given as bytes, text, or something with ``read``."""
    if isinstance(value, str):
        return value.encode()
    if hasattr(value, "read"):
        return as_bytes(value.read())
    return bytes(value)
