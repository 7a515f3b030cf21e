"""A user's requirements.txt with the files that it includes (`-r`), as one text. Pure: who calls it reads the files."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping

from clary.domain.errors import Invalid

_INCLUDE = re.compile(r"^(?:-r\s*|--requirement[=\s]\s*)(\S+)$")
NAME = "requirements.txt"
_MOST = 100  # files
LIMIT = 1 << 20  # bytes that are read of one
_REQUIREMENT_OPTION = re.compile(
    r"^(--index-url|-i|--extra-index-url|--find-links|-f|--trusted-host|--pre|--prefer-binary)\b"
)


def whole(text: str, read: Callable[[str], str], name: str = NAME) -> str:
    """`text`, the content of the file `name`, with every line that includes a file of the same source replaced by that. `read` answers
    a file by its path in the source, '' when there is none. Invalid names the line of what cannot be included."""
    return _whole(text, read, name, [])


def _whole(text: str, read: Callable[[str], str], name: str, seen: list[str]) -> str:
    lines: list[str] = []
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        found = _INCLUDE.match(line.split(" #", 1)[0].strip())
        if found is None:
            lines.append(line)
            continue
        path = posixpath.normpath(posixpath.join(posixpath.dirname(name), found[1]))
        inside = "" if path.startswith(("/", "..")) else read(path)
        if not inside:
            raise Invalid(f"{name} line {number}: {found[1][:100]!r} is not in the source, or empty.")
        seen.append(path)
        if len(seen) > _MOST:
            raise Invalid(f"{name} line {number}: more than {_MOST} files are included.")
        lines.append(_whole(inside, read, path, seen).rstrip("\n") + "\n")
    return "".join(lines)


def unread(known: Mapping[str, str]) -> str | None:
    """The next file of the source that is to be read (path -> content of those that were); None when that is all. Not all of them can be
    included: `whole` says so."""

    def read(path: str) -> str:
        if path not in known:
            raise _UnreadFile(path)
        return known[path]

    try:
        whole(read(NAME), read)
    except _UnreadFile as missing:
        return str(missing)
    except Invalid:
        return None
    return None


class _UnreadFile(Exception):
    """Its path."""


def checked(text: str) -> str:
    """A user's requirements.txt as it may be built: packages and indexes, nothing that reads this machine's files.

    The environment is built outside the sandbox, so `-r`, `-c`, `-e` and local paths are refused (ClientError's text)."""
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#", 1)[0].strip() if not line.strip().startswith("#") else ""
        if not words:
            continue
        option = words.startswith("-") and not _REQUIREMENT_OPTION.match(words)
        local = words.startswith((".", "/", "~", "file:")) or "file:" in words
        if option or local:
            raise Invalid(
                f"requirements.txt line {number}: {words[:100]!r} is not supported: only package names, versions, URLs, "
                "index options and further files of the source (-r) are."
            )
    return text
