"""Requests that are nearly good. `inside` changes what is signed: such a request is sound HTTP, and must be answered. `outside` changes
the bytes of a whole signed request: it must be answered or hung up on. Both draw from a `Random` only: the same seed, the same request."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlencode

import cbor2
from tests.fuzz.corpus import Sample

_NUMBERS = (0, -1, 1, 2**31, 2**63 - 1, -(2**63), 2**64, 10**40, 1e308, -0.0, 5e-324, 253_402_300_800)
_WORDS = (
    "",
    "x",
    "\0",
    "\ud800",
    "😀" * 20,
    "../../etc/passwd",
    "%00",
    "arn:aws:iam::000000000000:role/R",
    "s3://fuzz/a",
    "a" * 70_000,
    "{",
    "NaN",
)
_BYTES = (
    b"\0",
    b"\xff\xfe",
    b"\r\n",
    b"\n",
    b"%",
    b"&",
    b"=",
    b"<",
    b">",
    b"{",
    b"[" * 3000,
    b'"',
    b";",
    b"\x80",
    b"A" * 9000,
    b"&#0;",
    b"<!DOCTYPE a [<!ENTITY b 'c'>]>",
)
_HEADERS = (
    ("Content-Type", "application/x-amz-json-1.1"),
    ("Content-Type", "application/x-www-form-urlencoded; charset=utf-16"),
    ("Content-Type", "multipart/form-data; boundary=x"),
    ("Content-Type", "application/cbor"),
    ("Accept", "\xff"),
    ("Accept-Encoding", "identity, *;q=0"),
    ("Content-Encoding", "gzip"),
    ("Content-Encoding", "aws-chunked"),
    ("Expect", "100-continue"),
    ("Range", "bytes=99999999999999999999-"),
    ("If-Modified-Since", "yesterday"),
    ("X-Amz-Target", "SageMaker.NoSuchThing"),
    ("X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
    ("X-Amz-Decoded-Content-Length", "99999999999999999999"),
    ("X-Amz-Trailer", "x-amz-checksum-crc32"),
    ("X-Amz-Copy-Source", "/%2e%2e/x"),
    ("X-Amz-Tagging", "a=b&a=b&%00"),
    ("X-Amz-Sdk-Checksum-Algorithm", "NOPE"),
    ("X-Amz-Checksum-Crc32", "!!!!"),
    ("X-Amz-Query-Mode", "true"),
    ("Smithy-Protocol", "rpc-v2-cbor"),
    ("Content-MD5", "x"),
    ("X-Amzn-SageMaker-Session-Id", "x" * 2000),
    ("X-Amzn-SageMaker-Custom-Attributes", "\x7f"),
    ("Cookie", "a=b" * 3000),
)
_LINES = (
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: \x0bchunked",
    b"Content-Length: 5",
    b"Content-Length: -1",
    b"Content-Length: 99999999999999999999999",
    b"Host: evil",
    b"Expect: 100-continue",
    b"Connection: Upgrade, HTTP2-Settings",
    b"Upgrade: h2c",
    b" folded: line",
    b"NoColon",
    b": noname",
    b"X: " + b"y" * 70_000,
)


def inside(chance: random.Random, sample: Sample, others: Sequence[Sample]) -> Sample:
    """One to three changes of what a client would still sign and send."""
    for _ in range(chance.randint(1, 3)):
        change = chance.choices((_body, _body, _query, _path, _header, _method, _spliced), (4, 4, 2, 1, 2, 0.3, 0.5))[0]
        sample = change(chance, sample, others)
    return sample


def _body(chance: random.Random, sample: Sample, others: Sequence[Sample]) -> Sample:
    kind = sample.header("content-type").lower()
    tree: Callable[[random.Random, bytes], bytes] | None = None
    if "json" in kind:
        tree = _json
    elif "cbor" in kind:
        tree = _cbor
    elif "form" in kind:
        tree = _form
    elif sample.body.startswith(b"<"):
        tree = _xml
    if tree is not None and chance.random() < 0.7:
        try:
            return replace(sample, body=tree(chance, sample.body))
        except (ValueError, TypeError, RecursionError, cbor2.CBORError):
            pass  # an earlier change left nothing to be read
    return replace(sample, body=blown(chance, sample.body))


def _json(chance: random.Random, body: bytes) -> bytes:
    made = json.dumps(_tree(chance, json.loads(body or b"{}")))
    return made.replace('"__deep"', "[" * 4000 + "]" * 4000).encode("utf-8", "surrogatepass")


def _cbor(chance: random.Random, body: bytes) -> bytes:
    made = _tree(chance, cbor2.loads(body) if body else {})
    if chance.random() < 0.2:
        return chance.choice(
            (
                b"\x9f" * 3000,
                b"\x5b" + b"\xff" * 8,
                b"\xbf\x61a",
                b"\xd8\x20" * 500 + b"\xf6",
                b"\xfb\x7f\xf8" + b"\0" * 6,
            )
        )
    return cbor2.dumps(made).replace(b"\x66__deep", b"\x81" * 3000 + b"\xf6")


def _form(chance: random.Random, body: bytes) -> bytes:
    pairs = parse_qsl(body.decode("latin-1"), keep_blank_values=True)
    return urlencode(_pairs(chance, pairs), errors="surrogatepass").encode()


def _pairs(chance: random.Random, pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    pairs = list(pairs) or [("a", "b")]
    at = chance.randrange(len(pairs))
    name, value = pairs[at]
    what = chance.randrange(7)
    if what == 0:
        del pairs[at]
    elif what == 1:
        pairs.insert(at, pairs[at])
    elif what == 2:
        pairs[at] = (name, chance.choice(_WORDS))
    elif what == 3:
        pairs[at] = (name, str(chance.choice(_NUMBERS)))
    elif what == 4:
        pairs[at] = (name + chance.choice((".member.999999999", ".entry.1.key", ".", "[]", ".1", ".member.0")), value)
    elif what == 5:
        pairs += [(f"{name}.member.{n}", "x") for n in range(chance.choice((10, 2000)))]
    else:
        pairs[at] = (chance.choice(_WORDS), value)
    return pairs


def _xml(chance: random.Random, body: bytes) -> bytes:
    parts = body.split(b"<")
    at = chance.randrange(len(parts))
    what = chance.randrange(6)
    if what == 0:
        del parts[at]
    elif what == 1:
        parts.insert(at, parts[at])
    elif what == 2:
        parts[at] += chance.choice(_BYTES)
    elif what == 3:
        parts[at] += b"a>" * 2000
    elif what == 4:
        return b'<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;&b;">]>' + body.replace(b">", b">&d;", 1)
    else:
        tag = chance.choice((b"a>", b"a xmlns='b'>", b"![CDATA[", b"?php ", b"!--"))
        parts = [b"", *([tag] * 3000), *parts]
    return b"<".join(parts)


def _tree(chance: random.Random, value: Any) -> Any:
    """The value with one thing in it changed."""
    holders: list[Any] = []

    def look(each: Any) -> None:
        if isinstance(each, dict | list) and each:
            holders.append(each)
            for below in each.values() if isinstance(each, dict) else each:
                look(below)

    look(value)
    if not holders:
        return chance.choice((value, [], {}, "__deep", None, 1, *_WORDS))
    holder = chance.choice(holders)
    at = chance.choice(list(holder)) if isinstance(holder, dict) else chance.randrange(len(holder))
    what = chance.randrange(9)
    if what == 0:
        del holder[at]
    elif what == 1:
        holder[at] = chance.choice(_NUMBERS)
    elif what == 2:
        holder[at] = chance.choice(_WORDS)
    elif what == 3:
        holder[at] = chance.choice((None, True, False, [], {}, [[]], {"": {}}))
    elif what == 4:
        holder[at] = [holder[at]] * chance.choice((2, 60, 3000))
    elif what == 5:
        holder[at] = "__deep"
    elif what == 6:
        holder[at] = {"a": holder[at]}
    elif isinstance(holder, dict):
        holder[chance.choice(_WORDS)] = holder.pop(at)
    else:
        holder.insert(at, chance.choice(_WORDS))
    return value


def _query(chance: random.Random, sample: Sample, others: Sequence[Sample]) -> Sample:
    path, _, query = sample.target.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    if chance.random() < 0.5:
        pairs.append(
            chance.choice(
                [
                    ("uploads", ""),
                    ("versionId", "x"),
                    ("partNumber", "99999999999"),
                    ("max-keys", "-1"),
                    ("Action", "ListUsers"),
                    ("acl", ""),
                    ("list-type", "2"),
                    ("encoding-type", "url"),
                    ("X-Amz-Signature", "x"),
                    ("continuation-token", "\xff"),
                    ("select", ""),
                ]
            )
        )
    else:
        pairs = _pairs(chance, pairs)
    return replace(sample, target=path + "?" + urlencode(pairs, errors="surrogatepass")[:20_000])


def _path(chance: random.Random, sample: Sample, others: Sequence[Sample]) -> Sample:
    path, mark, query = sample.target.partition("?")
    at = chance.randint(0, len(path))
    piece = chance.choice(
        (
            "/",
            "//",
            "/../",
            "/./",
            "%00",
            "%2e%2e/",
            "%ff",
            "%E2%82%AC",
            "%",
            "%zz",
            "a" * 1100,
            ";",
            "*",
            "+",
            "%0d%0a",
            "\\",
            ":",
            "@",
        )
    )
    kept = path[:at] + piece + path[at + chance.choice((0, 0, 1, 5)) :]
    return replace(
        sample,
        target="/" + kept.lstrip("/") + mark + query
        if chance.random() < 0.9
        else chance.choice(("/", "/endpoints//invocations", "/fuzz//", "/-/x")) + mark + query,
    )


def _header(chance: random.Random, sample: Sample, others: Sequence[Sample]) -> Sample:
    headers = list(sample.headers)
    what = chance.randrange(4)
    if headers and what == 0:
        del headers[chance.randrange(len(headers))]
    elif headers and what == 1:
        at = chance.randrange(len(headers))
        headers[at] = (
            headers[at][0],
            chance.choice(
                ("", "x", "-1", "\xe9", "a" * 5000, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "UNSIGNED-PAYLOAD")
            ),
        )
    else:
        name, value = chance.choice(_HEADERS)
        headers = [(key, each) for key, each in headers if key.lower() != name.lower()]
        headers.append((name, value))
    return replace(sample, headers=tuple(headers))


def _method(chance: random.Random, sample: Sample, others: Sequence[Sample]) -> Sample:
    return replace(sample, method=chance.choice(("GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH", "BREW")))


def _spliced(chance: random.Random, sample: Sample, others: Sequence[Sample]) -> Sample:
    """The body of one, the rest of another."""
    return replace(sample, body=chance.choice(list(others)).body)


def blown(chance: random.Random, data: bytes) -> bytes:
    """Bytes with one to four places changed."""
    found = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(found))
        what = chance.randrange(6)
        if what == 0 and found:
            found[min(at, len(found) - 1)] ^= 1 << chance.randrange(8)
        elif what == 1:
            found[at:at] = chance.choice(_BYTES)
        elif what == 2:
            del found[at : at + chance.choice((1, 4, 50))]
        elif what == 3:
            found[at:at] = found[max(0, at - chance.choice((1, 20, 200))) : at]
        elif what == 4 and chance.random() < 0.5:
            del found[at:]
        else:
            found[at : at + 1] = str(chance.choice(_NUMBERS)).encode()
    return bytes(found)


def outside(chance: random.Random, raw: bytes) -> bytes:
    """A whole request, broken as bytes: its head's lines, its lengths, or anything."""
    what = chance.randrange(7)
    head, blank, body = raw.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    at = chance.randrange(len(lines))
    if what == 0:
        lines.insert(max(1, at), chance.choice(_LINES))
    elif what == 1:
        lines.append(lines[at])
    elif what == 2:
        del lines[at]
    elif what == 3:
        lines[at] = blown(chance, lines[at])
    elif what == 4:
        lines[0] = (
            lines[0].rsplit(b" ", 1)[0]
            + b" "
            + chance.choice((b"HTTP/1.0", b"HTTP/0.9", b"HTTP/3.0", b"HTTP/1.1x", b""))
        )
    elif what == 5:
        size = chance.choice((b"5", b"ffffffffffffffff", b"-1", b"0;x=" + b"y" * 5000, b"zz"))
        kept = [line for line in lines if not line.lower().startswith(b"content-length")]
        return b"\r\n".join([*kept, b"Transfer-Encoding: chunked"]) + blank + size + b"\r\n" + body + b"\r\n0\r\n\r\n"
    else:
        return blown(chance, raw)
    return b"\r\n".join(lines) + blank + body
