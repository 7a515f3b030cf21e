"""The file names of log groups and streams, and when streams were created.

A name becomes a file's name by percent-encoding; one that is too long for that becomes a hash, and the group's `streams` file, which
lists every stream that was made, tells what it stands for. Does not know what is in the streams.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from urllib.parse import quote, unquote

from clary.stores.logfile import size

LONGEST_NAME = 240  # bytes of an encoded name; longer ones become a hash
SUFFIX = ".log"


class Births:
    """A group's `streams` file: `<created ms>\\t<encoded name>\\t<w>\\n`, the last line of a name counts. w: a workload writes it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self._known: dict[str, tuple[int, bool]] = {}
        self._hashed: dict[str, str] = {}

    def refresh(self) -> None:
        length = size(str(self._path))
        if length == self._read:
            return
        with open(self._path, "rb") as file:
            file.seek(self._read)
            for line in file.read(length - self._read).splitlines():
                created, _, rest = line.decode().partition("\t")
                if not created.isdigit():  # a write that a crash cut short
                    continue
                encoded, _, mark = rest.partition("\t")
                name = unquote(encoded)
                self._known[name] = (int(created), mark == "w")
                if file_name(name).startswith("~"):
                    self._hashed[file_name(name)] = name
        self._read = length

    def add(self, name: str, created: int, written: bool) -> None:
        known = self._known.get(name)
        created = known[0] if known and (self._path.parent / file_name(name)).exists() else created
        line = f"{created}\t{quote(name, safe='')}\t{'w' if written else ''}\n".encode()
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, line)
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        self.refresh()

    def name(self, file_name: str) -> str | None:
        return self._hashed.get(file_name) if file_name.startswith("~") else unquote(file_name.removesuffix(SUFFIX))

    def created(self, name: str) -> int | None:
        known = self._known.get(name)
        return known[0] if known else None

    def written(self, name: str) -> bool:
        known = self._known.get(name)
        return bool(known and known[1])


def encode_name(name: str) -> str:
    """A folder's or file's name for any text: no separators, no leading dot, never empty, never too long."""
    encoded = quote(name, safe="")
    if encoded[:1] in (".", "~"):
        encoded = f"%{ord(encoded[0]):02X}{encoded[1:]}"
    if len(encoded) > LONGEST_NAME:
        return "~" + hashlib.sha256(name.encode()).hexdigest()
    return encoded or "%"


def file_name(stream: str) -> str:
    return encode_name(stream) + SUFFIX
