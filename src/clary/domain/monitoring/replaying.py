"""Captured requests that are asked again, and how two answers to the same request compare. Pure."""

from __future__ import annotations

import base64
import binascii
import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clary.domain.errors import Invalid

TORN = "torn or of another format"
ONE_SIDE = "without its request or its answer"
ENCODED = "in another encoding"
TOLERANCE = 1e-6
_DEEPEST = 50  # levels of JSON that are looked into
_QUANTILES = (("p50", 0.5), ("p99", 0.99))


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """A captured request, and what was answered. `content_type` and `accept`: of the two bodies."""

    event: str
    content_type: str
    body: bytes
    accept: str
    answer: bytes


@dataclass(frozen=True, slots=True)
class ReplayedAnswer:
    """What was answered this time, or the error that came instead; `seconds`: from the request to the whole answer."""

    seconds: float
    body: bytes = b""
    error: str = ""


@dataclass(frozen=True, slots=True)
class AnswerComparison:
    """`largest`: the largest difference of two numbers at the same place; None where the answers have not the same form."""

    same: bool
    largest: float | None


def recorded(line: str) -> RecordedRequest:
    """The request of a captured line. Invalid says which of the three reasons keeps it from being asked again."""
    try:
        record = json.loads(line)
        data, event = record["captureData"], str(record["eventMetadata"]["eventId"])
        sides = [data.get(name) for name in ("endpointInput", "endpointOutput")]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Invalid(TORN) from None
    if not all(isinstance(side, dict) for side in sides):
        raise Invalid(ONE_SIDE)
    (kind, body), (accept, answer) = (_side(side) for side in sides)
    return RecordedRequest(event, kind, body, accept, answer)


def _side(side: Mapping[str, Any]) -> tuple[str, bytes]:
    text, encoding = side.get("data"), side.get("encoding")
    if not isinstance(text, str):
        raise Invalid(TORN)
    kind = str(side.get("observedContentType") or "application/octet-stream")
    if encoding in ("CSV", "JSON"):
        return kind, text.encode("utf-8", "surrogatepass")
    if encoding != "BASE64":
        raise Invalid(ENCODED)
    try:
        return kind, base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Invalid(ENCODED) from None


# -- answers ----------------------------------------------------------------------------------------------------------------------


def compared(one: bytes, other: bytes, tolerance: float = TOLERANCE) -> AnswerComparison:
    """Two answers: the same where they are equal byte by byte, or have the same form and numbers that differ by at most `tolerance`, or by
    that share of the larger one."""
    if one == other:
        return AnswerComparison(True, 0.0)
    left, right = _values(one), _values(other)
    if left is None or right is None or len(left) != len(right):
        return AnswerComparison(False, None)
    same, largest = True, 0.0
    for (place, a), (there, b) in zip(left, right, strict=True):
        if place != there:
            return AnswerComparison(False, None)
        if isinstance(a, float) and isinstance(b, float):
            same = same and (a == b or math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance))
            largest = max(largest, abs(a - b)) if math.isfinite(a - b) else largest
        else:
            same = same and a == b
    return AnswerComparison(same, largest)


def _values(body: bytes) -> list[tuple[str, float | str]] | None:
    """Every value with its place, of JSON or CSV; None of what is neither."""
    try:
        text = body.decode()
        try:
            return list(_walked(json.loads(text), "", 0))
        except (ValueError, RecursionError):
            rows = [row for row in csv.reader(io.StringIO(text.strip())) if row]
            return [(f"{n}.{m}", _value(each)) for n, row in enumerate(rows) for m, each in enumerate(row)]
    except (UnicodeDecodeError, csv.Error):
        return None


def _walked(found: Any, place: str, depth: int) -> Iterator[tuple[str, float | str]]:
    if depth > _DEEPEST:
        raise ValueError("too deep")
    if isinstance(found, dict):
        for key in sorted(found):
            yield from _walked(found[key], f"{place}.{key}", depth + 1)
    elif isinstance(found, list):
        for number, each in enumerate(found):
            yield from _walked(each, f"{place}.{number}", depth + 1)
    else:
        yield place, found if isinstance(found, str) else _value(json.dumps(found))


def _value(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text.strip()


# -- the report -------------------------------------------------------------------------------------------------------------------


def answers_told(given: Sequence[tuple[RecordedRequest, ReplayedAnswer]], tolerance: float) -> dict[str, Any]:
    """How what was answered compares with what was captured."""
    pairs = [compared(asked.answer, came.body, tolerance) for asked, came in given if not came.error]
    numbers = [each.largest for each in pairs if each.largest is not None]
    same = sum(each.same for each in pairs)
    return {
        "same": same,
        "differed": len(pairs) - same,
        "other_form": sum(each.largest is None for each in pairs),
        "failed": len(given) - len(pairs),
        "largest_difference": max(numbers, default=None),
        "mean_difference": sum(numbers) / len(numbers) if numbers else None,
    }


def latency_told(given: Sequence[ReplayedAnswer]) -> dict[str, float | None]:
    """Milliseconds, of the requests that were answered."""
    took = sorted(each.seconds * 1000 for each in given if not each.error)
    if not took:
        return dict.fromkeys(("mean", *dict(_QUANTILES)))
    quantiles = {name: took[min(len(took) - 1, math.ceil(share * len(took)) - 1)] for name, share in _QUANTILES}
    return {name: round(value, 3) for name, value in {"mean": sum(took) / len(took), **quantiles}.items()}


def hour_told(group: Mapping[str, Any] | None, replicas: int) -> dict[str, float] | None:
    """What an hour of so many replicas has of the machine, by the costs of those that were measured; None where nothing was counted."""
    if group is None or not group.get("seconds"):
        return None
    share = 3600 * replicas / float(group["seconds"])
    names = {"vcpu_hours": "vcpu_seconds", "gb_hours": "gb_seconds", "gpu_hours": "gpu_seconds"}
    told = {name: round(float(group[of]) * share / 3600, 4) for name, of in names.items()}
    return {**told, **({"cost": round(float(group["cost"]) * share, 6)} if "cost" in group else {})}
