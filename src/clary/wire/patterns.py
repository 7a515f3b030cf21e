"""The patterns of service models, which are Java's, as something that matches in bounded time here.

Owns: the translation (``\\p{Alnum}``, ``\\uXXXX``, repetitions beyond RE2's thousand) and the choice of engine. Refuses to
know: shapes. RE2 runs whatever it can compile, in linear time. Look-around, which it lacks, goes to the standard
library's engine, on short input only: the few patterns that need it are simple, and a test walks them all.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

import re2

LONGEST_FOR_LOOKAROUND = 4096

_CLASSES = {
    "Alnum": "a-zA-Z0-9",
    "Alpha": "a-zA-Z",
    "Digit": "0-9",
    "Upper": "A-Z",
    "Lower": "a-z",
    "ASCII": "\\x00-\\x7F",
    "Print": "\\x20-\\x7E",
    "Graph": "\\x21-\\x7E",
    "Punct": "!-/:-@\\[-`{-~",
    "Space": "\\s",
    "Blank": " \\t",
}
_PLANES = (
    # Surrogate pairs, and a five-digit escape that Java would not read as meant: both say "beyond the first plane".
    ("\\uD800\\uDC00-\\uDBFF\\uDFFF", "\\x{10000}-\\x{10FFFF}"),
    ("\\u10000-\\u10FFFF", "\\x{10000}-\\x{10FFFF}"),
)
_REPEAT = re.compile(r"\{(\d+),(\d+)\}")
_PROPERTY = re.compile(r"\\p\{(?:Is)?(\w+)\}")
_UNICODE = re.compile(r"\\u([0-9A-Fa-f]{4})")
_RE2_REPEATS = 1000
_SHORT = 64  # characters


def fits(pattern: str, text: str) -> bool:
    """Whether a whole text matches a model's pattern. Names come again and again: the answers for short ones are remembered."""
    return _remembered(pattern, text) if len(text) <= _SHORT else matcher(pattern)(text)


@lru_cache(maxsize=8192)
def _remembered(pattern: str, text: str) -> bool:
    return matcher(pattern)(text)


@lru_cache(maxsize=4096)
def matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a whole text matches a model's pattern, as a function."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 64 << 20
    try:
        compiled = re2.compile(translate(pattern), options)
    except re2.error:
        slow = re.compile(_for_python(pattern))
        return lambda text: len(text) > LONGEST_FOR_LOOKAROUND or slow.fullmatch(text) is not None
    return lambda text: compiled.fullmatch(text) is not None


def translate(pattern: str) -> str:
    """The pattern in RE2's spelling. An upper bound beyond RE2's limit is dropped: the shape's own length stays."""
    for java, here in _PLANES:
        pattern = pattern.replace(java, here)
    pattern = _UNICODE.sub(lambda found: f"\\x{{{found[1]}}}", pattern)
    pattern = _REPEAT.sub(lambda found: f"{{{found[1]},}}" if int(found[2]) > _RE2_REPEATS else found[0], pattern)
    return _replace_properties(pattern)


def _for_python(pattern: str) -> str:
    pattern = _replace_properties(pattern)
    return pattern.replace("\\A", "").replace("\\z", "\\Z")


def _replace_properties(pattern: str) -> str:
    """POSIX properties as ranges, bracketed where they do not stand in a bracket already."""
    out: list[str] = []
    at, inside = 0, False
    while at < len(pattern):
        found = _PROPERTY.match(pattern, at)
        if found and found[1] in _CLASSES:
            ranges = _CLASSES[found[1]]
            out.append(ranges if inside else f"[{ranges}]")
            at = found.end()
            continue
        if pattern[at] == "\\":
            out.append(pattern[at : at + 2])
            at += 2
            continue
        if pattern[at] == "[":
            inside = True
        elif pattern[at] == "]":
            inside = False
        out.append(pattern[at])
        at += 1
    return "".join(out)
