"""Members of a rest message that live outside its body: path labels, query, header fields, the status.

Owns: their text forms in both directions (lists in headers, HTTP dates, ``jsonvalue``, prefix headers). Does not know:
bodies, and which operation is meant. Header values that could split a header are refused both ways.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

import orjson

from clary.wire.errors import SerializationError
from clary.wire.http import Headers
from clary.wire.scalars import (
    INTEGER_LIMIT,
    LONG_LIMIT,
    decode_blob,
    encode_blob,
    format_timestamp,
    parse_boolean,
    parse_float,
    parse_integer,
    parse_timestamp,
    special_float,
)
from clary.wire.shapes import Member, Places, is_json_header

_BREAKS = re.compile(r"[\r\n\0]")
_NEEDS_QUOTES = re.compile(r'[",]')


def decode(text: str) -> str:
    """Percent-decode once; bytes that are not UTF-8 are refused, and ``+`` stays ``+``."""
    if "%" not in text:
        return text
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError as error:
        raise SerializationError(f"Not UTF-8 when decoded: {text!r:.60}") from error


def query_pairs(query: str) -> list[tuple[str, str]]:
    """The decoded pairs of a raw query, in order; ``+`` is a space, as in forms."""
    pairs = []
    for part in query.split("&"):
        if part:
            name, _, value = part.partition("=")
            pairs.append((decode(name.replace("+", " ")), decode(value.replace("+", " "))))
    return pairs


# -- in ---------------------------------------------------------------------------------------------------------------


def parse_scalar(shape: Any, text: str, default_form: str) -> Any:
    """The value of a label, a query parameter or a header field."""
    kind = shape.type_name
    if kind == "string":
        return text
    if kind == "boolean":
        return parse_boolean(text)
    if kind == "integer":
        return parse_integer(text, INTEGER_LIMIT)
    if kind == "long":
        return parse_integer(text, LONG_LIMIT)
    if kind in ("float", "double"):
        return parse_float(text)
    if kind == "timestamp":
        return parse_timestamp(text, shape.serialization.get("timestampFormat", default_form))
    return decode_blob(text) if kind == "blob" else text


def parse_query(places: Places, query: str, found: dict[str, Any]) -> None:
    """Put the members that live in the query into ``found``; parameters no member asks for go to the query map."""
    values: dict[str, list[str]] = {}
    for name, value in query_pairs(query):
        values.setdefault(name, []).append(value)
    for name, wire, shape in places.query:
        texts = values.get(wire)
        if texts is None:
            continue
        if shape.type_name == "list":
            found[name] = [parse_scalar(shape.member, text, "iso8601") for text in texts]
        else:
            found[name] = parse_scalar(shape, texts[0], "iso8601")
    if places.query_map is not None and values:
        # What no member names. botocore's published cases want a map of lists to hold all when nothing else is left; no
        # service here has a query map, so that is the only authority.
        taken = {member.wire for member in places.query}
        rest = {name: texts for name, texts in values.items() if name not in taken}
        if places.query_map.shape.value.type_name == "list":
            found[places.query_map.name] = rest or values
        elif rest:
            found[places.query_map.name] = {name: texts[0] for name, texts in rest.items()}


def parse_headers(places: Places, headers: Headers, found: dict[str, Any]) -> None:
    """Put the members that live in header fields into ``found``."""
    for name, wire, shape in places.header:
        text = headers.get(wire)
        if text is not None and (text or shape.type_name == "string"):
            found[name] = parse_header(shape, text)
        elif text is not None and shape.type_name == "list":
            found[name] = []
    for name, prefix, _shape in places.header_maps:
        rest = {field[len(prefix) :]: text for field, text in headers.items() if field.startswith(prefix)}
        if rest:
            found[name] = rest


def parse_header(shape: Any, text: str) -> Any:
    """The value of one header field (its lines joined by commas)."""
    if shape.type_name == "list":
        return _parse_header_list(shape.member, text)
    if is_json_header(shape):
        try:
            return orjson.loads(decode_blob(text))
        except orjson.JSONDecodeError as error:
            raise SerializationError("A header does not hold base64 of JSON") from error
    return parse_scalar(shape, text, "rfc822")


def _parse_header_list(shape: Any, text: str) -> list[Any]:
    if shape.type_name == "timestamp":
        parts = [part.strip() for part in text.split(",")]
        if shape.serialization.get("timestampFormat", "rfc822") == "rfc822":
            parts = [", ".join(parts[at : at + 2]) for at in range(0, len(parts), 2)]
        return [parse_scalar(shape, part, "rfc822") for part in parts]
    if '"' not in text:
        return [parse_scalar(shape, part.strip(), "rfc822") for part in text.split(",")]
    return [parse_scalar(shape, part, "rfc822") for part in _quoted_parts(text)]


def _quoted_parts(text: str) -> Iterable[str]:
    """Comma-separated values, some of them quoted strings with backslash escapes (RFC 9110, 5.6.4)."""
    at, end = 0, len(text)
    while at <= end:
        while at < end and text[at] in " \t":
            at += 1
        if at < end and text[at] == '"':
            at += 1
            part: list[str] = []
            while at < end and text[at] != '"':
                if text[at] == "\\" and at + 1 < end:
                    at += 1
                part.append(text[at])
                at += 1
            if at >= end:
                raise SerializationError("A quoted header value has no end")
            at = text.find(",", at)
            yield "".join(part)
            if at < 0:
                return
        else:
            stop = text.find(",", at)
            yield text[at : stop if stop >= 0 else end].strip()
            if stop < 0:
                return
            at = stop
        at += 1


# -- out --------------------------------------------------------------------------------------------------------------


def write_headers(places: Places, result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The header fields of a result, named as the model names them."""
    written: list[tuple[str, str]] = []
    for member in places.header:
        value = result.get(member.name)
        if value is None or (member.shape.type_name == "list" and not value):
            continue
        text = clean(header_text(member.shape, value))
        written.append((str(member.shape.serialization.get("name", member.name)), text))
    for member in places.header_maps:
        prefix = str(member.shape.serialization.get("name", ""))
        for key, value in (result.get(member.name) or {}).items():
            if value is not None:
                written.append((clean(prefix + str(key)), clean(str(value))))
    return written


def clean(text: str) -> str:
    """The text, unless it would end a header line early."""
    if _BREAKS.search(text):
        raise SerializationError("A header value holds a line break or NUL", "InvalidArgument")
    return text


def header_text(shape: Any, value: Any) -> str:
    """One value as a header field holds it."""
    kind = shape.type_name
    if kind == "list":
        return ", ".join(_list_item(shape.member, item) for item in value if item is not None)
    if is_json_header(shape):
        return encode_blob(orjson.dumps(value))
    if kind == "boolean":
        return "true" if value else "false"
    if kind == "timestamp":
        return str(format_timestamp(value, shape.serialization.get("timestampFormat", "rfc822")))
    if kind in ("float", "double"):
        return str(special_float(value))
    return encode_blob(value) if kind == "blob" else str(value)


def _list_item(shape: Any, value: Any) -> str:
    text = header_text(shape, value)
    if shape.type_name == "string" and _NEEDS_QUOTES.search(text):
        text = text.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{text}"'
    return text


def label_members(places: Places, labels: Mapping[str, str], found: dict[str, Any]) -> None:
    """Put the members that live in the path into ``found``; ``labels`` are still percent-encoded."""
    for wire, text in labels.items():
        member: Member | None = places.uri.get(wire)
        if member is not None:
            found[member.name] = parse_scalar(member.shape, decode(text), "iso8601")
