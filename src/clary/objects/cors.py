"""Cross-origin requests of browsers: the bucket's own CORS rules, and nothing without them.

Does not know: any operation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from clary.objects.context import Context
from clary.objects.errors import S3Error
from clary.objects.request import Call, Reply
from clary.objects.xml import first, parse


async def preflight(ctx: Context, call: Call) -> Reply:
    """OPTIONS: 200 with what is allowed, or 403."""
    method = call.header("access-control-request-method")
    wanted = [name.strip().lower() for name in call.header("access-control-request-headers").split(",") if name.strip()]
    async for rule in _rules(ctx, call, method):
        allowed = [one.lower() for one in rule.get("AllowedHeader", [])]
        if all(any(_fits(one, name) for one in allowed) for name in wanted):
            headers = _headers(call, rule)
            if wanted:
                headers.append(("access-control-allow-headers", ", ".join(wanted)))
            return Reply(200, headers)
    raise S3Error("AccessForbidden", Method=method or "OPTIONS", ResourceType="OBJECT" if call.key else "BUCKET")


async def cors_headers(ctx: Context, call: Call) -> list[tuple[str, str]]:
    """What an answer to a request with an Origin carries besides."""
    async for rule in _rules(ctx, call, call.method):
        return _headers(call, rule)
    return []


async def _rules(ctx: Context, call: Call, method: str) -> Any:
    bucket = await ctx.index.bucket(call.bucket) if call.bucket else None
    for rule in _matching(
        bucket.documents.get("cors", "") if bucket is not None else "", call.header("origin"), method
    ):
        yield rule


def _matching(text: str, origin: str, method: str) -> Iterator[dict[str, Any]]:
    if not text or not origin:
        return
    for rule in parse(text.encode())[1].get("CORSRule", []):
        if not isinstance(rule, dict) or method not in rule.get("AllowedMethod", []):
            continue
        if any(isinstance(one, str) and _fits(one, origin) for one in rule.get("AllowedOrigin", [])):
            yield rule


def _fits(pattern: str, text: str) -> bool:
    """One `*` stands for anything."""
    front, star, back = pattern.partition("*")
    return (
        text == pattern
        if not star
        else text.startswith(front) and text.endswith(back) and len(text) >= len(front) + len(back)
    )


def _headers(call: Call, rule: dict[str, Any]) -> list[tuple[str, str]]:
    anyone = "*" in rule.get("AllowedOrigin", [])
    origin = re.sub(r"[^\x21-\x7e]", "", call.header("origin"))
    headers = [
        ("access-control-allow-origin", "*" if anyone else origin),
        ("access-control-allow-methods", ", ".join(rule.get("AllowedMethod", []))),
        ("vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"),
    ]
    if not anyone:
        headers.append(("access-control-allow-credentials", "true"))
    if rule.get("ExposeHeader"):
        headers.append(("access-control-expose-headers", ", ".join(rule["ExposeHeader"])))
    if first(rule, "MaxAgeSeconds"):
        headers.append(("access-control-max-age", first(rule, "MaxAgeSeconds")))
    return headers
