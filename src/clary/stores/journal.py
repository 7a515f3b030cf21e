"""The journal of the object index: what every commit did, in files beside the blobs, so that the index can be made again from them.

A line is a checksum and JSON. A log file `COMMIT.log` is named by its first commit and grows; a snapshot `COMMIT.snapshot` holds the
rows as they were at a commit and stands for every line up to it. Owns: the files, their checksums, what is missing or torn. A line is
written before its commit is answered and synced a little later (`sync`). Does not know: SQL, what an operation means.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from clary.domain.objects.items import Fate

log = logging.getLogger("clary.journal")
FORMAT = 1
SHORTEN = 64 << 20  # bytes of logs from which a snapshot is worth its reading
MOST_LOGS = 100  # each start begins a new one
TAIL = 64 << 10
# Names of blobs as they stand in a line: an operation's value, or the list of those that the commit freed. Text of users cannot look
# like it, since quotes within JSON's texts are escaped.
_NAMED = re.compile(rb'"blob":"([0-9a-f]{10})"|"freed":\[([^\]]*)\]')

Operation = tuple[str, Mapping[str, Any]]  # a statement's name and its values


@dataclass(frozen=True, slots=True)
class JournalLine:
    """One commit (of a log), or one operation of a snapshot; both have the commit's number."""

    commit: int
    operations: Sequence[Operation]


class Journal:
    """The files of one index. `append`, `sync` and `snapshot` may run in different threads."""

    def __init__(self, folder: Path, shorten: int = SHORTEN) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder, self._shorten = folder, shorten
        self._lock = threading.Lock()
        self._file = -1
        self._size = 0  # of the file that grows, up to its last whole line
        self._dirty = False
        self._begin_file = True
        self.identity = ""  # of the index it belongs to; "" when there is no journal
        self.last = -1  # the last commit that it holds; -1 when there is no journal
        self.whole = False  # whether nothing is missing between its beginning and `last`
        self._look()

    # -- what is there ---------------------------------------------------------------------------------------------------------

    def _files(self, kind: str) -> list[tuple[int, Path]]:
        found = [path for path in self.folder.glob(f"*.{kind}") if re.fullmatch("[0-9a-f]{16}", path.stem)]
        return sorted((int(path.stem, 16), path) for path in found)

    def _look(self) -> None:
        """Find identity, last commit and gaps; cut a torn end off."""
        snapshots, logs = self._files("snapshot"), self._files("log")
        for left in self.folder.glob("*.new"):
            left.unlink()
        covered, first = (snapshots[-1][0] if snapshots else -1), True
        for at, (begins, path) in enumerate(logs):
            head, last, size = _ends(path, begins)
            if at == len(logs) - 1 and size < path.stat().st_size:
                log.warning("cut %d torn bytes off the end of %s", path.stat().st_size - size, path)
                os.truncate(path, size)
            if head is None:
                continue
            self.identity = head
            if first and covered < 0:
                covered, first = (0 if begins <= 1 else -1), False
            if covered >= 0 and begins <= covered + 1:
                covered = max(covered, last)
            self.last = max(self.last, last)
        if snapshots:
            head = _head(snapshots[-1][1])
            self.identity = self.identity or head or ""
            self.last = max(self.last, snapshots[-1][0])
        self.whole = covered >= self.last >= 0

    @property
    def held(self) -> int:
        """Bytes of all its files."""
        return sum(path.stat().st_size for kind in ("log", "snapshot") for _, path in self._files(kind))

    def overgrown(self) -> bool:
        """Whether a snapshot would make it much shorter."""
        logs = [path.stat().st_size for _, path in self._files("log")]
        rows = sum(path.stat().st_size for _, path in self._files("snapshot"))
        return len(logs) > MOST_LOGS or sum(logs) > max(self._shorten, 2 * rows)

    # -- writing ---------------------------------------------------------------------------------------------------------------

    def begin(self, identity: str) -> None:
        """The journal of this index, which holds nothing yet."""
        self.identity, self.last, self.whole = identity, 0, True

    def append(self, commit: int, line: bytes) -> None:
        """Write a line; it outlives the process from now on, and the machine after the next `sync`. Never fails: a line that could
        not be written (a full disk) leaves the journal not `whole`, and a snapshot mends that."""
        with self._lock:
            if commit != self.last + 1:  # a gap shows between files, which are read by their ends at start
                self.whole, self._begin_file = False, True
            try:
                if self._begin_file:
                    self._open(commit)
                _write(self._file, line)
                self._size += len(line)
                self.last, self._dirty = commit, True
            except OSError as error:
                if self.whole:
                    log.error("the journal cannot be written (%s): a snapshot will make up for it", error.strerror)
                self.whole, self._begin_file = False, True
                if self._file >= 0:
                    with suppress(OSError):
                        os.ftruncate(self._file, self._size)

    def _open(self, first: int) -> None:
        """A new log file, with the lock held."""
        if self._file >= 0:
            os.fdatasync(self._file)
            os.close(self._file)
            self._file = -1
        path = self.folder / f"{first:016x}.log"
        flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC | os.O_APPEND
        self._file, self._size = os.open(path, flags, 0o600), 0
        head = _line({"journal": FORMAT, "index": self.identity})
        _write(self._file, head)
        self._size, self._begin_file, self._dirty = len(head), False, True
        _sync_folder(self.folder)

    def sync(self) -> None:
        """What was appended survives a power cut."""
        with self._lock:
            descriptor, self._dirty, dirty = os.dup(self._file) if self._file >= 0 else -1, False, self._dirty
        if descriptor < 0:
            return
        done = not dirty
        try:
            if dirty:
                os.fdatasync(descriptor)
                done = True
        finally:
            os.close(descriptor)
            self._dirty = self._dirty or not done

    def turn(self) -> None:
        """The next line begins a file of its own: what came before can be removed once a snapshot covers it."""
        with self._lock:
            self._begin_file = True

    def snapshot(self, commit: int, operations: Iterable[Operation]) -> None:
        """Write the rows as of `commit`, then remove what it stands for. Call `turn` before the rows are read. OSError."""
        path = self.folder / f"{commit:016x}.snapshot"
        fresh = path.with_suffix(".new")
        count = 0
        with open(fresh, "wb") as file:
            file.write(_line({"journal": FORMAT, "index": self.identity}))
            for operation in operations:
                file.write(_line({"do": [_plain(operation)]}))
                count += 1
            file.write(_line({"end": count}))
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
        _sync_folder(self.folder)
        with self._lock:
            self.last = max(self.last, commit)
        logs = self._files("log")
        ends = [*(begins - 1 for begins, _ in logs[1:]), None]
        for (_, old), end in zip(logs, ends, strict=True):
            if (end is not None and end <= commit) or (end is None and self._closed(commit)):
                old.unlink()
        for covered, old in self._files("snapshot"):
            if covered < commit:
                old.unlink()
        with self._lock:
            self.whole = self._unbroken(commit)

    def _closed(self, commit: int) -> bool:
        """Whether the newest log has ended by `turn`, with nothing behind `commit` in it."""
        with self._lock:
            return self._begin_file and self.last <= commit

    def _unbroken(self, commit: int) -> bool:
        logs = self._files("log")
        return self.last == commit or (bool(logs) and logs[0][0] <= commit + 1)

    def close(self) -> None:
        self.sync()
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
            self._file, self._begin_file = -1, True

    # -- reading ---------------------------------------------------------------------------------------------------------------

    def lines(self, damage: list[str]) -> Iterator[JournalLine]:
        """All operations, oldest first: those of the newest snapshot, then of every later commit. What is damaged or missing is
        left out and told in `damage`."""
        snapshots = self._files("snapshot")
        at = 0
        if snapshots:
            at, path = snapshots[-1]
            yield from _of_snapshot(at, path, damage)
        for _, path in self._files("log"):
            for number, told in enumerate(_read(path), 1):
                if told is None:
                    damage.append(f"line {number} of {path} is damaged")
                elif "c" in told and told["c"] > at:
                    if told["c"] != at + 1:
                        damage.append(f"the commits {at + 1} to {told['c'] - 1} are missing in {self.folder}")
                    at = told["c"]
                    yield JournalLine(at, [(name, values) for name, values in told["do"]])

    def fates(self, blobs: set[str]) -> dict[str, Fate]:
        """What the journal says last of these blobs: named by a row, or freed. Those that it never mentions are left out."""
        known: dict[str, Fate] = {}
        wanted = {blob.encode() for blob in blobs}
        for kind in ("snapshot", "log"):
            for _, path in self._files(kind):
                with suppress(FileNotFoundError), open(path, "rb") as file:
                    for line in file:
                        _tell(line, wanted, known)
        return known


def encode(commit: int, operations: Sequence[Operation], freed: Sequence[str]) -> bytes:
    """A commit as a line."""
    return _line({"c": commit, "do": [_plain(one) for one in operations], "freed": [blob for blob in freed if blob]})


def _plain(operation: Operation) -> tuple[str, dict[str, Any]]:
    """Keys are bytes in the index and text here."""
    name, values = operation
    return name, {key: value.decode() if isinstance(value, bytes) else value for key, value in values.items()}


def _line(value: Mapping[str, Any]) -> bytes:
    text = orjson.dumps(value)
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _parse(line: bytes) -> dict[str, Any] | None:
    """None for a line that is torn or changed."""
    if len(line) < 11 or line[-1:] != b"\n" or line[8:9] != b" ":
        return None
    text = line[9:-1]
    try:
        if int(line[:8], 16) != zlib.crc32(text):
            return None
        told: dict[str, Any] = orjson.loads(text)
    except ValueError:
        return None
    return told


def _read(path: Path) -> Iterator[dict[str, Any] | None]:
    with open(path, "rb") as file:
        for line in file:
            yield _parse(line)


def _of_snapshot(commit: int, path: Path, damage: list[str]) -> Iterator[JournalLine]:
    count = ended = 0
    for number, told in enumerate(_read(path), 1):
        if told is None:
            damage.append(f"line {number} of {path} is damaged")
        elif "do" in told:
            count += 1
            yield JournalLine(commit, [(name, values) for name, values in told["do"]])
        ended = told is not None and told.get("end") == count
    if not ended:
        damage.append(f"{path} is not whole")


def _head(path: Path) -> str | None:
    """The identity in its first line."""
    with open(path, "rb") as file:
        told = _parse(file.readline())
    return str(told["index"]) if told is not None and "index" in told else None


def _ends(path: Path, begins: int) -> tuple[str | None, int, int]:
    """(identity or None, last commit, bytes up to the end of the last whole line) of a log, read from its end."""
    head, size = _head(path), path.stat().st_size
    with open(path, "rb") as file:
        reach = TAIL
        while True:
            file.seek(max(0, size - reach))
            lines = file.read().splitlines(keepends=True)
            whole = size <= reach
            end = size
            for line in reversed(lines if whole else lines[1:]):
                told = _parse(line)
                if told is not None:
                    return head, int(told.get("c", begins - 1)), end
                end -= len(line)
            if whole:
                return head, begins - 1, 0
            reach *= 8


def _tell(line: bytes, wanted: set[bytes], known: dict[str, Fate]) -> None:
    for found in _NAMED.finditer(line):
        if found[1] is not None:
            if found[1] in wanted:
                known[found[1].decode()] = "named"
        else:
            for blob in found[2].replace(b'"', b"").split(b","):
                if blob in wanted:
                    known[blob.decode()] = "freed"


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
