"""The XML that S3 speaks, from nested dicts and back.

Owns: escaping, repeated elements, and reading small documents safely (no entities, capped depth). Does not know: what any
document means. botocore's parser is the oracle in the tests.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from xml.parsers import expat

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
DEEPEST = 24
_ODD = re.compile("[&<>\r\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_NAMES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


class Malformed(ValueError):
    """Not an XML document that we read."""


def escape(text: str) -> str:
    """Text between tags. Control characters become references, as S3 writes them: clients that must read keys with such
    characters ask for encoding-type=url."""
    return _ODD.sub(lambda found: _NAMES.get(found[0]) or f"&#{ord(found[0])};", text) if _ODD.search(text) else text


def document(root: str, content: Mapping[str, Any], namespace: str = NAMESPACE) -> bytes:
    """A whole document. A list repeats its element; a name of "@xmlns:..."-like attributes goes on the element; None is left out;
    "" gives an empty element; bytes are XML already."""
    parts: list[str] = []
    _write(parts, content)
    opened = f'{root} xmlns="{namespace}"' if namespace else root
    return f"{HEAD}<{opened}>{''.join(parts)}</{root}>".encode("utf-8", "surrogatepass")


def _write(parts: list[str], content: Mapping[str, Any]) -> None:
    for name, value in content.items():
        for one in value if isinstance(value, list | tuple) else (value,):
            if one is None:
                continue
            attributes = ""
            if isinstance(one, Mapping):
                attributes = "".join(f' {key[1:]}="{escape(text)}"' for key, text in one.items() if key[0] == "@")
                inner: list[str] = []
                _write(inner, {key: item for key, item in one.items() if key[0] != "@"})
                text = "".join(inner)
            elif isinstance(one, bool):
                text = "true" if one else "false"
            else:
                text = escape(one) if isinstance(one, str) else str(one)
            parts.append(f"<{name}{attributes}>{text}</{name}>")


def parse(body: bytes) -> tuple[str, dict[str, Any]]:
    """(root, content): elements with children are dicts, others text; every name maps to the list of what stood under it.
    Prefixes and namespaces are dropped. Malformed for anything else, and for documents with a DTD."""
    stack: list[tuple[str, dict[str, Any], list[str]]] = [("", {}, [])]

    def begin(name: str, _: dict[str, str]) -> None:
        if len(stack) > DEEPEST:
            raise Malformed("nested too deeply")
        stack.append((name.rpartition("}")[2].rpartition(":")[2], {}, []))

    def end(_: str) -> None:
        name, children, text = stack.pop()
        stack[-1][1].setdefault(name, []).append(children or "".join(text))

    def refuse(*_: Any) -> None:
        raise Malformed("a document type declaration is not accepted")

    parser = expat.ParserCreate(namespace_separator="}")
    parser.StartElementHandler, parser.EndElementHandler = begin, end
    parser.CharacterDataHandler = lambda data: stack[-1][2].append(data)
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        raise Malformed(str(error)) from error
    [(root, [content])] = stack[0][1].items()
    return root, content if isinstance(content, dict) else {}


def first(content: Mapping[str, Any], name: str, default: str = "") -> str:
    """The text of the first element of that name."""
    found = content.get(name)
    return found[0] if found and isinstance(found[0], str) else default
