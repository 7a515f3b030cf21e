"""The `Logs` port over plain files: `<root>/<account>/<region>/<group>/<stream>.log`, names percent-encoded.

A group's folder also has `group.json` (name, creation, retention, tags) and `streams` (creation times, one line per stream). All
the rest that a listing shows is read from the files themselves, so that a workload's shim only has to append lines.

Does not know CloudWatch's tokens and filter patterns (`api/logs/groups.py`, `domain/logs/filters.py`).
"""

from __future__ import annotations

import fcntl
import heapq
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from clary.domain.errors import AlreadyExists, NotFound
from clary.domain.logs.lines import PLAIN, LogEvent, LogGroup, LogMatches, LogPage, LogSettings, LogStream
from clary.domain.resources import Scope
from clary.stores import logfile
from clary.stores.logfile import Line
from clary.stores.lognames import SUFFIX, Births, encode_name, file_name

PAGE_BYTES = 1 << 20  # of answer, as AWS
EVENT_OVERHEAD = 26  # bytes that AWS counts for an event beside its text
SEARCH_BYTES = 16 << 20  # of file looked through in one search: a quarter of a second
REORDER_BYTES = 64 << 20  # a larger file takes no events older than its last
DAY_MS = 86_400_000
_ASIDE = ".dying-"  # groups that are being made or removed


class FileLogs:
    """`ports.Logs`. `stream_limit` is how many bytes of a stream are kept: beyond it, `sweep` gives back the oldest."""

    def __init__(self, root: str | os.PathLike[str], stream_limit: int = 4 << 30) -> None:
        self._root = Path(root)
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._limit = stream_limit
        self._lock = threading.RLock()
        self._births: dict[Path, Births] = {}
        self._ends: dict[str, tuple[int, int, int | None, int | None]] = {}  # path -> size, mtime, first ms, last ms

    # -- writing ---------------------------------------------------------------------------------------------------------------

    def open(self, scope: Scope, group: str, stream: str, now: float) -> str:
        with self._lock:
            folder = self._folder(scope, group)
            if not folder.exists():
                self.add_group(scope, group, now, {})
            path = folder / file_name(stream)
            self._make_stream(folder, stream, now, written=True)
            return str(path)

    def path(self, scope: Scope, group: str, stream: str) -> str:
        return str(self._stream(scope, group, stream))

    def append(self, scope: Scope, group: str, stream: str, lines: Sequence[tuple[int, str]]) -> int:
        with self._lock:
            path = self._stream(scope, group, stream)
            last = self._edges(path)[1]
            lines = sorted(lines, key=lambda line: line[0])
            older = [line for line in lines if last is not None and line[0] < last]
            newer = lines[len(older) :]
            if older:
                births = self._births_of(path.parent)
                if births.written(stream) or logfile.size(str(path)) > REORDER_BYTES:
                    _append(path, newer)
                    return len(older)
                _merge(path, older)
            _append(path, newer)
            return 0

    def add_group(
        self, scope: Scope, group: str, now: float, tags: Mapping[str, str], settings: LogSettings = PLAIN
    ) -> None:
        with self._lock:
            folder = self._folder(scope, group)
            if folder.exists():
                raise AlreadyExists("The specified log group already exists")
            document = {"name": group, "created": int(now * 1000), "retention": None, "tags": dict(tags)}
            fresh = _aside(folder)  # renamed when it is whole: who is killed before leaves what a sweep removes
            fresh.mkdir(mode=0o700, parents=True)
            _save(fresh, {**document, "settings": asdict(settings)})
            fresh.rename(folder)

    def add_stream(self, scope: Scope, group: str, stream: str, now: float) -> None:
        with self._lock:
            folder = self._known(scope, group)
            if (folder / file_name(stream)).exists():
                raise AlreadyExists("The specified log stream already exists")
            self._make_stream(folder, stream, now, written=False)

    def drop_group(self, scope: Scope, group: str) -> None:
        with self._lock:
            folder = self._known(scope, group)
            self._births.pop(folder, None)
            # Renamed first: a half-removed group is never seen, and a writer that still has a file open is harmless.
            dying = _aside(folder)
            folder.rename(dying)
            shutil.rmtree(dying)

    def drop_stream(self, scope: Scope, group: str, stream: str) -> None:
        with self._lock:
            path = self._stream(scope, group, stream)
            path.unlink()
            self._ends.pop(str(path), None)

    def set_group(
        self,
        scope: Scope,
        group: str,
        retention: int | None,
        tags: Mapping[str, str],
        settings: LogSettings | None = None,
    ) -> None:
        with self._lock:
            folder = self._known(scope, group)
            changed = {"retention": retention, "tags": dict(tags)}
            _save(folder, {**_load(folder), **changed, **({"settings": asdict(settings)} if settings else {})})

    def sweep(self, now: float) -> None:
        for folder in self._root.glob("*/*/*/"):
            if folder.name.startswith(_ASIDE):
                with self._lock:  # not one that is just being made
                    shutil.rmtree(folder, ignore_errors=True)
                continue
            retention = _load(folder).get("retention")
            for entry in os.scandir(folder):
                if not entry.name.endswith(SUFFIX):
                    continue
                before = max(0, entry.stat().st_size - self._limit)
                if retention:
                    before = max(before, logfile.seek(entry.path, int(now * 1000) - retention * DAY_MS))
                if before > logfile.origin(entry.path):
                    logfile.give_back(entry.path, before)
                    self._ends.pop(entry.path, None)

    # -- reading ---------------------------------------------------------------------------------------------------------------

    def tail(self, scope: Scope, group: str, stream: str, lines: int) -> list[str]:
        try:
            path = str(self._stream(scope, group, stream))
        except NotFound:
            return []
        found: list[str] = []
        for line in logfile.backward(path, logfile.whole(path), logfile.origin(path)):
            if len(found) == lines:
                break
            found.append(logfile.decode(line.text))
        return found[::-1]

    def read(self, path: str, offset: int, limit: int) -> tuple[list[tuple[int, str]], int]:
        found: list[tuple[int, str]] = []
        for line in logfile.forward(path, offset):
            found.append((line.ms, logfile.decode(line.text)))
            if line.end - offset >= limit:
                return found, line.end
            last = line.end
        return found, last if found else offset

    def groups(self, scope: Scope, prefix: str = "") -> list[LogGroup]:
        folder = self._region(scope)
        if not folder.exists():
            return []
        found = (_load(path) for path in folder.iterdir() if not path.name.startswith("."))
        names = sorted(str(document["name"]) for document in found if document)
        return [self.group(scope, name) for name in names if name.startswith(prefix)]

    def group(self, scope: Scope, group: str) -> LogGroup:
        folder = self._known(scope, group)
        document = _load(folder)
        stored = sum(_used(entry.stat()) for entry in os.scandir(folder) if entry.name.endswith(SUFFIX))
        settings = LogSettings(**document.get("settings", {}))  # groups of before have none
        return LogGroup(group, document["created"], document["retention"], document["tags"], stored, settings)

    def streams(self, scope: Scope, group: str, prefix: str = "") -> list[LogStream]:
        folder = self._known(scope, group)
        with self._lock:
            births = self._births_of(folder)
            found = []
            for entry in os.scandir(folder):
                name = births.name(entry.name) if entry.name.endswith(SUFFIX) else None
                if name is None or not name.startswith(prefix):
                    continue
                state = entry.stat()
                first, last = self._edges(Path(entry.path))
                created = births.created(name) or int(state.st_ctime * 1000)
                ingested = int(state.st_mtime * 1000) if last is not None else None
                found.append(LogStream(name, created, first, last, ingested, _used(state)))
        return sorted(found, key=lambda stream: stream.name)

    def page(
        self,
        scope: Scope,
        group: str,
        stream: str,
        *,
        limit: int,
        position: int | None = None,
        backward: bool = False,
        start: int = 0,
        end: int | None = None,
    ) -> LogPage:
        path = str(self._stream(scope, group, stream))
        low = logfile.seek(path, start) if start > 0 else logfile.origin(path)
        high = logfile.seek(path, end) if end is not None else logfile.whole(path)
        if backward:
            position = high if position is None else max(low, min(position, high))
            lines = _take(logfile.backward(path, position, low), limit)[::-1]
            first = lines[0].start if lines else position
            return LogPage([_event(line) for line in lines], first, position)
        position = low if position is None else max(low, logfile.align(path, position))
        lines = _take(logfile.forward(path, position, high), limit)
        return LogPage([_event(line) for line in lines], position, lines[-1].end if lines else position)

    def search(
        self,
        scope: Scope,
        group: str,
        streams: Sequence[str],
        *,
        matches: Callable[[str], bool],
        limit: int,
        after: tuple[int, str, int] | None = None,
        start: int = 0,
        end: int | None = None,
    ) -> LogMatches:
        folder = self._known(scope, group)
        begin = max(start, after[0]) if after else start
        found: list[tuple[str, LogEvent]] = []
        answered = looked = 0
        for stream, line in self._merged(folder, sorted(streams), begin, end):
            place = (line.ms, stream, line.start)
            if after is not None and place <= after:
                continue
            text = logfile.decode(line.text)
            looked += line.end - line.start
            if matches(text):
                found.append((stream, _event(line)))
                answered += len(line.text) + EVENT_OVERHEAD
            if len(found) >= limit or answered >= PAGE_BYTES or looked >= SEARCH_BYTES:
                return LogMatches(found, place)
        return LogMatches(found)

    def _merged(self, folder: Path, streams: Sequence[str], start: int, end: int | None) -> Iterator[tuple[str, Line]]:
        """Lines of these streams by (ms, stream, position). A stream is read only when its time has come."""
        heap: list[tuple[int, str, int, Iterator[Line] | None, Line | None]] = []
        for stream in streams:
            first, last = self._edges(folder / file_name(stream))
            if first is not None and last is not None and last >= start and (end is None or first < end):
                heap.append((max(first, start), stream, -1, None, None))
        heapq.heapify(heap)
        while heap:
            _, stream, _, lines, line = heapq.heappop(heap)
            if lines is None:
                path = str(folder / file_name(stream))
                lines = logfile.forward(path, logfile.seek(path, start))
            elif line is not None:
                yield stream, line
            following = next(lines, None)
            if following is not None and (end is None or following.ms < end):
                heapq.heappush(heap, (following.ms, stream, following.start, lines, following))

    # -- names and folders -----------------------------------------------------------------------------------------------------

    def _region(self, scope: Scope) -> Path:
        return self._root / encode_name(scope.account) / encode_name(scope.region)

    def _folder(self, scope: Scope, group: str) -> Path:
        return self._region(scope) / encode_name(group)

    def _known(self, scope: Scope, group: str) -> Path:
        folder = self._folder(scope, group)
        if not folder.exists():
            raise NotFound("The specified log group does not exist.")
        return folder

    def _stream(self, scope: Scope, group: str, stream: str) -> Path:
        path = self._known(scope, group) / file_name(stream)
        if not path.exists():
            raise NotFound("The specified log stream does not exist.")
        return path

    def _make_stream(self, folder: Path, stream: str, now: float, *, written: bool) -> None:
        path = folder / file_name(stream)
        if path.exists() and (not written or self._births_of(folder).written(stream)):
            return
        self._births_of(folder).add(stream, int(now * 1000), written)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))

    def _births_of(self, folder: Path) -> Births:
        births = self._births.get(folder)
        if births is None:
            births = self._births[folder] = Births(folder / "streams")
        births.refresh()
        return births

    def _edges(self, path: Path) -> tuple[int | None, int | None]:
        """Times of the first and the last event, kept until the file changes."""
        name = str(path)
        try:
            state = os.stat(name)
        except FileNotFoundError:
            return None, None
        kept = self._ends.get(name)
        if kept is None or kept[:2] != (state.st_size, state.st_mtime_ns):
            begin, end = logfile.origin(name), logfile.whole(name)
            first = next(logfile.forward(name, begin, end), None)
            last = next(logfile.backward(name, end, begin), None) if first else None
            kept = (state.st_size, state.st_mtime_ns, first.ms if first else None, last.ms if last else None)
            self._ends[name] = kept
        return kept[2], kept[3]


def _aside(folder: Path) -> Path:
    """A name beside a group's that no reader takes for one."""
    return folder.with_name(f"{_ASIDE}{os.getpid()}-{os.urandom(4).hex()}")


def _load(folder: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads((folder / "group.json").read_bytes())
        return document
    except FileNotFoundError:
        return {}


def _save(folder: Path, document: Mapping[str, Any]) -> None:
    temporary = folder / ".group.json"
    with open(temporary, "w") as file:
        json.dump(document, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(folder / "group.json")


def _append(path: Path, lines: Sequence[tuple[int, str]]) -> None:
    if not lines:
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        view = memoryview(b"".join(logfile.encode(ms, text) for ms, text in lines))
        while view:
            view = view[os.write(descriptor, view) :]
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def _merge(path: Path, lines: Sequence[tuple[int, str]]) -> None:
    """Put events among older ones of a file that nobody has open: a new file in its place. Equal times: after those there."""
    name = str(path)
    kept = ((line.ms, logfile.decode(line.text)) for line in logfile.forward(name, logfile.origin(name)))
    temporary = path.with_suffix(".new")
    with open(temporary, "wb") as file:
        for ms, text in heapq.merge(kept, lines, key=lambda line: line[0]):
            file.write(logfile.encode(ms, text))
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)


def _take(lines: Iterator[Line], limit: int) -> list[Line]:
    taken: list[Line] = []
    weight = 0
    for line in lines:
        weight += len(line.text) + EVENT_OVERHEAD
        if taken and weight > PAGE_BYTES:
            break
        taken.append(line)
        if len(taken) >= limit:
            break
    return taken


def _event(line: Line) -> LogEvent:
    return LogEvent(line.ms, logfile.decode(line.text), line.ms, line.start)


def _used(state: os.stat_result) -> int:
    """Bytes of events that are still there: a file's size without its hole."""
    return min(state.st_size, state.st_blocks * 512)
