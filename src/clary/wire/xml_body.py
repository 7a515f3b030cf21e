"""XML to and from a shape: the bodies of rest-xml, and the answers of query.

Owns: elements, attributes, flattened lists and maps, namespaces; the refusal of document types and entities. Refuses to
know: headers, operations, wrappers of answers. Text is built directly: an element tree costs several times more.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

from clary.wire.errors import SerializationError
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
from clary.wire.shapes import Member, is_flattened, member_table, members

_NO_XML = (
    r"\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff"  # what no XML 1.0 document may have, not even as a reference
)
_SPECIAL = re.compile(rf"[&<>\r{_NO_XML}]")
_SPECIAL_ATTRIBUTE = re.compile(rf'[&<>"\r\n\t{_NO_XML}]')
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#13;", "\n": "&#10;", "\t": "&#9;"}


class _NoDocumentTypes(ElementTree.TreeBuilder):
    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise SerializationError("XML with a document type is not accepted", "MalformedXML")


_document: Callable[[], Any] = _NoDocumentTypes


def load(body: bytes) -> ElementTree.Element:
    """The root element; malformed text, document types and entities are refused."""
    parser = ElementTree.XMLParser(target=_document())
    try:
        parser.feed(body)
        root: ElementTree.Element = parser.close()
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise SerializationError(f"The XML provided was not well-formed: {error}", "MalformedXML") from error
    return root


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


# -- in ---------------------------------------------------------------------------------------------------------------


def parse(shape: Any, node: ElementTree.Element) -> Any:
    """The parameter that one element means."""
    reader = _READERS.get(shape.type_name)
    if reader is not None:
        return reader(shape, node)
    return _from_text(shape, node.text or "")


def _from_text(shape: Any, text: str) -> Any:
    reader = _TEXT_READERS.get(shape.type_name)
    return text if reader is None else reader(shape, text)


def parse_members(shape: Any, node: ElementTree.Element, wanted: Any = None) -> dict[str, Any]:
    """The members of a structure (or only ``wanted``) that an element holds."""
    children: dict[str, list[ElementTree.Element]] = {}
    for child in node:
        children.setdefault(_local(child.tag), []).append(child)
    found: dict[str, Any] = {}
    for member in members(shape) if wanted is None else wanted:
        if member.shape.serialization.get("xmlAttribute"):
            _parse_attribute(member, node, found)
            continue
        # botocore's serializer names a flattened list's elements by the list, its parser by the list's member.
        nodes = children.get(_element_name(member)) or children.get(member.wire) or children.get(member.name)
        if nodes is None:
            continue
        if is_flattened(member.shape):
            found[member.name] = _READERS[f"flat {member.shape.type_name}"](member.shape, nodes)
        else:
            found[member.name] = parse(member.shape, nodes[0])
    return found


def _parse_attribute(member: Member, node: ElementTree.Element, found: dict[str, Any]) -> None:
    wanted = member.wire.rpartition(":")[2]
    for name, text in node.attrib.items():
        if _local(name) == wanted:
            found[member.name] = _from_text(member.shape, text)


def _element_name(member: Member) -> str:
    shape = member.shape
    if shape.type_name == "list" and is_flattened(shape):
        return str(shape.member.serialization.get("name") or member.wire)
    return member.wire


def _read_structure(shape: Any, node: ElementTree.Element) -> Any:
    return parse_members(shape, node)


def _read_list(shape: Any, node: ElementTree.Element) -> Any:
    member = shape.member
    return [parse(member, child) for child in node]


def _read_flat_list(shape: Any, nodes: list[ElementTree.Element]) -> Any:
    member = shape.member
    return [parse(member, node) for node in nodes]


def _read_entries(shape: Any, entries: Any) -> dict[str, Any]:
    key_name = shape.key.serialization.get("name", "key")
    value_name = shape.value.serialization.get("name", "value")
    found: dict[str, Any] = {}
    for entry in entries:
        parts = {_local(child.tag): child for child in entry}
        if key_name not in parts:
            raise SerializationError(f"A map entry lacks its <{key_name}>", "MalformedXML")
        value = parts.get(value_name)
        found[parse(shape.key, parts[key_name])] = None if value is None else parse(shape.value, value)
    return found


_READERS: dict[str, Callable[[Any, Any], Any]] = {
    "structure": _read_structure,
    "list": _read_list,
    "map": _read_entries,
    "flat list": _read_flat_list,
    "flat map": _read_entries,
}

_TEXT_READERS: dict[str, Callable[[Any, str], Any]] = {
    "boolean": lambda shape, text: parse_boolean(text.strip()),
    "integer": lambda shape, text: parse_integer(text.strip(), INTEGER_LIMIT),
    "long": lambda shape, text: parse_integer(text.strip(), LONG_LIMIT),
    "float": lambda shape, text: parse_float(text.strip()),
    "double": lambda shape, text: parse_float(text.strip()),
    "timestamp": lambda shape, text: parse_timestamp(text, shape.serialization.get("timestampFormat")),
    "blob": lambda shape, text: decode_blob(text),
}


# -- out --------------------------------------------------------------------------------------------------------------


def escape(text: str) -> str:
    """Text of an element. What XML cannot carry is replaced: a client could read nothing of the answer otherwise."""
    return _SPECIAL.sub(lambda found: _ESCAPES.get(found[0], "\ufffd"), text)


def escape_attribute(text: str) -> str:
    """Text of an attribute, between double quotes."""
    return _SPECIAL_ATTRIBUTE.sub(lambda found: _ESCAPES.get(found[0], "\ufffd"), text)


def namespace(value: Any) -> str:
    """The ``xmlns`` attribute of a model's ``xmlNamespace``, which is a URI or ``{"uri", "prefix"}``; or nothing."""
    if not value:
        return ""
    uri, prefix = (value.get("uri"), value.get("prefix")) if isinstance(value, dict) else (value, None)
    return f' xmlns{f":{prefix}" if prefix else ""}="{escape_attribute(str(uri))}"'


def write(out: list[str], shape: Any, value: Any, name: str) -> None:
    """Append the element (or, flattened, the elements) called ``name`` that hold ``value``."""
    writer = _WRITERS.get(shape.type_name)
    if writer is not None:
        writer(out, shape, value, name)
        return
    text = scalar_text(shape, value)
    tail = namespace(shape.serialization.get("xmlNamespace"))
    out.append(f"<{name}{tail}>{escape(text)}</{name}>")


def write_members(out: list[str], shape: Any, value: Any, wanted: Any = None) -> None:
    """Append the elements of a structure's members, without the element of the structure itself."""
    table = member_table(shape) if wanted is None else {member.name: member for member in wanted}
    for name, item in value.items():
        member = table.get(name)
        if item is not None and member is not None and not member.shape.serialization.get("xmlAttribute"):
            write(out, member.shape, item, _element_name(member))


def attributes(shape: Any, value: Any) -> str:
    """The attributes of a structure's element: its namespace and its ``xmlAttribute`` members."""
    text = namespace(shape.serialization.get("xmlNamespace"))
    table = member_table(shape)
    for name, item in value.items():
        member = table.get(name)
        if item is not None and member is not None and member.shape.serialization.get("xmlAttribute"):
            text += f' {member.wire}="{escape_attribute(scalar_text(member.shape, item))}"'
    return text


def scalar_text(shape: Any, value: Any) -> str:
    """A scalar as XML (and as an S3 header) spells it."""
    kind = shape.type_name
    if kind == "boolean":
        return "true" if value else "false"
    if kind == "timestamp":
        return str(format_timestamp(value, shape.serialization.get("timestampFormat", "iso8601")))
    if kind == "blob":
        return encode_blob(value)
    if kind in ("float", "double"):
        return str(special_float(value))
    return str(value)


def _write_structure(out: list[str], shape: Any, value: Any, name: str) -> None:
    out.append(f"<{name}{attributes(shape, value)}>")
    write_members(out, shape, value)
    out.append(f"</{name}>")


def _write_list(out: list[str], shape: Any, value: Any, name: str) -> None:
    member = shape.member
    if is_flattened(shape):
        for item in value:
            write(out, member, item, name)
        return
    inner = member.serialization.get("name", "member")
    out.append(f"<{name}{namespace(shape.serialization.get('xmlNamespace'))}>")
    for item in value:
        write(out, member, item, inner)
    out.append(f"</{name}>")


def _write_map(out: list[str], shape: Any, value: Any, name: str) -> None:
    key_name = shape.key.serialization.get("name", "key")
    value_name = shape.value.serialization.get("name", "value")
    flat = is_flattened(shape)
    entry = name if flat else "entry"
    space = namespace(shape.serialization.get("xmlNamespace"))
    if not flat:
        out.append(f"<{name}{space}>")
    opening = f"<{entry}{space if flat else ''}>"
    for key, item in value.items():
        out.append(opening)
        write(out, shape.key, key, key_name)
        if item is not None:
            write(out, shape.value, item, value_name)
        out.append(f"</{entry}>")
    if not flat:
        out.append(f"</{name}>")


_WRITERS: dict[str, Callable[[list[str], Any, Any, str], None]] = {
    "structure": _write_structure,
    "list": _write_list,
    "map": _write_map,
}
