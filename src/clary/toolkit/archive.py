"""The one extractor: a tar (plain or gzip) or a zip whose every byte is untrusted, into a folder that appears whole or not at all.

Owns the reading of gzip and tar; of a zip, the standard library reads the directory and inflates. Does not know what the files mean,
and everything in an archive that is not a regular file or a folder: links, devices, FIFOs, sparse files, absolute paths, `..`,
backslashes, NUL. The standard library's `tarfile` is not used: its filters have been bypassed (CVE-2025-4517 and relatives), and it
reads headers of any size into memory.
"""

from __future__ import annotations

import copy
import os
import shutil
import stat
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, BinaryIO, Dict, Iterator, Optional, Tuple

BLOCK = 512
CHUNK = 1 << 18
HEADER_LIMIT = 1 << 20  # bytes of one pax or long-name header
RATIO_FLOOR = 256 << 20  # the ratio is only judged above this many bytes: small things may compress well
_ZIP_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFIFO: "a FIFO",
}
_BEFORE_MEMBERS = (b"L", b"K", b"x", b"g")  # headers that say something about the member behind them

_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a FIFO",
    b"S": "a sparse file",
}


_ZIPS = (b"PK\x03\x04", b"PK\x05\x06")  # with members, and empty


class ArchiveError(Exception):
    """The archive is refused; the text is one line for the user and names the member where there is one."""


@dataclass(frozen=True)
class ArchiveLimits:
    """Caps on what an archive may become: bytes in all, entries, and bytes out per byte in. `unseen`: so many entries are written before
    all are counted; few archives have more, and only those are read twice."""

    bytes: int = 200 << 30
    entries: int = 500_000
    ratio: int = 500
    unseen: int = 10_000

    @staticmethod
    def from_json(data: Optional[Dict[str, int]]) -> ArchiveLimits:
        known = {k: int(v) for k, v in (data or {}).items() if k in ("bytes", "entries", "ratio")}
        return ArchiveLimits(**known)


@dataclass(frozen=True)
class ArchiveMember:
    """A regular file or folder: its clean relative path ('' is the root), size in bytes, permission bits, mtime."""

    path: str
    is_folder: bool
    size: int
    mode: int
    mtime: float


def extract(archive: str, target: str, limits: Optional[ArchiveLimits] = None, zips: bool = False) -> Tuple[int, int]:
    """Extract the file `archive` into the folder `target`, which must be absent or an empty folder; answers (files, bytes).

    `zips`: it may be a zip. Works in a sibling folder that is renamed at the end; after an error nothing of it is left. Raises
    ArchiveError."""
    limits = limits or ArchiveLimits()
    with open(archive, "rb") as file:
        inside = _unzip_into if zips and file.read(4) in _ZIPS else _extract_into
    staging = "{}.part-{}".format(target.rstrip("/"), os.getpid())
    shutil.rmtree(staging, ignore_errors=True)
    os.makedirs(staging)
    try:
        with open(archive, "rb") as file:
            counted = inside(file, staging, limits)
        os.rename(staging, target)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return counted


def _extract_into(file: BinaryIO, root: str, limits: ArchiveLimits) -> Tuple[int, int]:
    reader = _Reader(file, limits)
    files = total = 0
    for number, member in enumerate(_members(reader), 1):
        # To write a file takes a hundred times as long as to count it: what is too much is refused unwritten.
        if number == limits.unseen:
            with reader.ahead() as ahead:
                _count(ahead, member.size, limits.entries - number)
        if number > limits.entries:
            raise _too_many(limits.entries)
        if member.size > limits.bytes - total:
            raise ArchiveError(
                'member "{}" takes the archive over the limit of {} bytes'.format(_shown(member.path), limits.bytes)
            )
        where = os.path.join(root, member.path) if member.path else root
        try:
            if member.is_folder:
                os.makedirs(where, exist_ok=True)
            else:
                _write(where, member, reader)
                files += 1
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise ArchiveError('member "{}" is both a file and a folder'.format(_shown(member.path))) from None
        total += member.size
    return files, total


def _unzip_into(file: BinaryIO, root: str, limits: ArchiveLimits) -> Tuple[int, int]:
    try:
        with zipfile.ZipFile(file) as archive:
            return _unzip(archive, os.fstat(file.fileno()).st_size, root, limits)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        UnicodeError,
        RuntimeError,
        ValueError,
    ) as error:
        raise ArchiveError("the archive is not a sound zip: {}".format(error)) from None


def _unzip(archive: zipfile.ZipFile, packed: int, root: str, limits: ArchiveLimits) -> Tuple[int, int]:
    """What the directory says of sizes is not believed: bytes are counted as they are written."""
    infos = archive.infolist()
    if len(infos) > limits.entries:
        raise _too_many(limits.entries)
    files = total = 0
    for info in infos:
        member = _zip_member(info)
        where = os.path.join(root, member.path) if member.path else root
        try:
            if member.is_folder:
                os.makedirs(where, exist_ok=True)
                continue
            with archive.open(info) as source:
                total += _write_zipped(where, member, source, packed, total, limits)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise ArchiveError('member "{}" is both a file and a folder'.format(_shown(member.path))) from None
        files += 1
    return files, total


def _zip_member(info: zipfile.ZipInfo) -> ArchiveMember:
    shown = _shown(info.orig_filename)
    mode = info.external_attr >> 16
    kind = stat.S_IFMT(mode)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ArchiveError(
            'member "{}" is {}: not allowed'.format(shown, _ZIP_KINDS.get(kind, "neither a file nor a folder"))
        )
    if info.flag_bits & 1:
        raise ArchiveError('member "{}" is encrypted'.format(shown))
    is_folder = info.is_dir() or kind == stat.S_IFDIR
    path = _clean(info.orig_filename.encode("utf-8", "surrogateescape"), shown)
    if not path and not is_folder:
        raise ArchiveError('member "{}" has no name'.format(shown))
    return ArchiveMember(path, is_folder, info.file_size, mode & 0o777, 0.0)


def _write_zipped(
    where: str, member: ArchiveMember, source: IO[bytes], packed: int, before: int, limits: ArchiveLimits
) -> int:
    """Answers the bytes of the file."""
    size = 0
    descriptor = _open(where, 0o755 if member.mode & 0o100 else 0o644)
    try:
        while True:
            data = source.read(CHUNK)
            if not data:
                return size
            size += len(data)
            if before + size > limits.bytes:
                words = 'member "{}" takes the archive over the limit of {} bytes'
                raise ArchiveError(words.format(_shown(member.path), limits.bytes))
            if before + size > max(RATIO_FLOOR, packed * limits.ratio):
                raise ArchiveError("the archive expands more than {} times: refused as a bomb".format(limits.ratio))
            while data:
                data = data[os.write(descriptor, data) :]
    finally:
        os.close(descriptor)


def _count(reader: _Reader, size: int, room: int) -> None:
    """Refuse the archive when more than `room` members follow the one that is being read, of `size` bytes. What is damaged ends the
    count: the extraction will come to it and say so."""
    left, overrides = room, {}  # type: int, Dict[str, bytes]
    try:
        reader.skip(size + -size % BLOCK)
        while True:
            header = reader.some(BLOCK)
            if len(header) < BLOCK or not header.strip(b"\0"):
                return
            size, kind = _number(header[124:136]), header[156:157]
            if kind in _BEFORE_MEMBERS:
                _read_override(reader, kind, size, overrides)
                continue
            left -= 1
            if left < 0:
                break
            if "size" in overrides:
                size = _decimal(overrides["size"])
            overrides.clear()
            if kind != b"5":
                reader.skip(size + -size % BLOCK)
    except ArchiveError:
        return
    raise _too_many(reader.limits.entries)


def _too_many(entries: int) -> ArchiveError:
    return ArchiveError("the archive has more than {} entries".format(entries))


def _write(where: str, member: ArchiveMember, reader: _Reader) -> None:
    mode = 0o755 if member.mode & 0o100 else 0o644
    descriptor = _open(where, mode)
    try:
        left = member.size
        while left:
            data = reader.read(min(left, CHUNK))
            left -= len(data)
            while data:
                data = data[os.write(descriptor, data) :]
        reader.skip(-member.size % BLOCK)
        os.utime(descriptor, (member.mtime, member.mtime))
    finally:
        os.close(descriptor)


def _open(where: str, mode: int) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(where, flags, mode)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(where), exist_ok=True)
    except FileExistsError:
        if not os.path.isfile(where):
            raise
        os.unlink(where)  # a later member of the same name replaces the earlier one, as in every tar
    return os.open(where, flags, mode)


class _Reader:
    """Exact reads from a plain or gzip stream (of one or several gzip members), under the byte and ratio caps."""

    def __init__(self, file: BinaryIO, limits: ArchiveLimits) -> None:
        self._file = file
        self.limits = limits
        self._limit = limits.bytes + limits.entries * 4 * BLOCK  # headers and padding come on top
        self._ratio = limits.ratio
        self._in = self._out = 0
        head = file.read(2)
        file.seek(0)
        if not head:
            raise ArchiveError("the archive is empty")
        self._zip = zlib.decompressobj(31) if head == b"\x1f\x8b" else None
        self._raw = b""
        self._buffer = b""
        self._at = 0

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes; ArchiveError when the stream ends before."""
        data = self.some(size)
        if len(data) < size:
            raise ArchiveError("the archive is truncated")
        return data

    def some(self, size: int) -> bytes:
        """Up to `size` bytes; fewer only at the end of the stream."""
        have = len(self._buffer) - self._at
        if have >= size:
            data = self._buffer[self._at : self._at + size]
            self._at += size
            return data
        parts = [self._buffer[self._at :]]
        self._buffer, self._at = b"", 0
        while have < size:
            more = self._fill()
            if not more:
                break
            parts.append(more)
            have += len(more)
        whole = b"".join(parts)
        self._buffer, self._at = whole, min(size, len(whole))
        return whole[:size]

    def skip(self, size: int) -> None:
        while size:
            size -= len(self.read(min(size, CHUNK)))

    @contextmanager
    def ahead(self) -> Iterator[_Reader]:
        """Another reader of the same archive, from here on; this one stays where it is."""
        other = copy.copy(self)
        if self._zip is not None:
            other._zip = self._zip.copy()
        with open(self._file.name, "rb") as other._file:
            other._file.seek(self._file.tell())
            yield other

    def _fill(self) -> bytes:
        if self._zip is None:
            data = self._file.read(CHUNK)
            self._in += len(data)
        else:
            data = self._inflate()
        self._out += len(data)
        if self._out > self._limit:
            raise ArchiveError("the archive becomes larger than the limit")
        if self._out > RATIO_FLOOR and self._out > self._in * self._ratio:
            raise ArchiveError("the archive expands more than {} times: refused as a bomb".format(self._ratio))
        return data

    def _inflate(self) -> bytes:
        while True:
            if not self._raw:
                self._raw = self._file.read(CHUNK)
                self._in += len(self._raw)
            assert self._zip is not None
            if self._zip.eof:
                if not self._next_gzip_member():
                    return b""
            if not self._raw:
                raise ArchiveError("the archive is truncated")
            try:
                data = self._zip.decompress(self._raw, CHUNK)
            except zlib.error as error:
                raise ArchiveError("the archive is not sound gzip data: {}".format(error)) from None
            self._raw = self._zip.unconsumed_tail or self._zip.unused_data
            if data:
                return data

    def _next_gzip_member(self) -> bool:
        """After a gzip member: zero padding, the end, or another member (pigz and bgzip write several)."""
        while True:
            self._raw = self._raw.lstrip(b"\0")
            if self._raw:
                break
            self._raw = self._file.read(CHUNK)
            self._in += len(self._raw)
            if not self._raw:
                return False
        if not self._raw.startswith(b"\x1f"):
            raise ArchiveError("the archive has garbage after its end")
        self._zip = zlib.decompressobj(31)
        return True


def _members(reader: _Reader) -> Iterator[ArchiveMember]:
    """The archive's files and folders in order; the consumer reads each file's data (and padding) before the next."""
    overrides: Dict[str, bytes] = {}
    first = True
    besides = 4 * reader.limits.entries  # headers that are no members themselves
    while True:
        header = reader.some(BLOCK)
        if not header and not first:
            return  # some writers leave the two zero blocks out
        if len(header) < BLOCK:
            raise ArchiveError("the archive is truncated, or no tar")
        if not header.strip(b"\0"):
            _expect_end(reader)
            return
        if not _checksum_holds(header):
            raise ArchiveError("the archive is not a tar" if first else "a header of the archive is damaged")
        first = False
        size, kind = _number(header[124:136]), header[156:157]
        if kind in _BEFORE_MEMBERS:
            besides -= 1
            if besides < 0:
                raise ArchiveError("the archive has too many headers for its {} entries".format(reader.limits.entries))
            _read_override(reader, kind, size, overrides)
            continue
        yield _member(header, kind, size, overrides)
        overrides = {}


def _read_override(reader: _Reader, kind: bytes, size: int, overrides: Dict[str, bytes]) -> None:
    """GNU long names and pax records, for the member that follows (global pax records say nothing that matters here)."""
    if size > HEADER_LIMIT:
        raise ArchiveError("a header of the archive is larger than {} bytes".format(HEADER_LIMIT))
    data = reader.read(size)
    reader.skip(-size % BLOCK)
    if kind == b"L":
        overrides["path"] = data.rstrip(b"\0")
    elif kind == b"x":
        overrides.update(_pax(data))


def _member(header: bytes, kind: bytes, size: int, overrides: Dict[str, bytes]) -> ArchiveMember:
    name = overrides.get("path")
    if name is None:
        name = header[:100].split(b"\0", 1)[0]
        prefix = header[345:500].split(b"\0", 1)[0]
        if prefix and header[257:262] == b"ustar" and header[262:263] == b"\0":
            name = prefix + b"/" + name
    if "size" in overrides:
        size = _decimal(overrides["size"])
    shown = _shown(name.decode("utf-8", "replace"))
    if kind in _KINDS or any(key.startswith("GNU.sparse") for key in overrides):
        raise ArchiveError('member "{}" is {}: not allowed'.format(shown, _KINDS.get(kind, "a sparse file")))
    if kind not in (b"0", b"\0", b"7", b"5"):
        raise ArchiveError('member "{}" is neither a file nor a folder: not allowed'.format(shown))
    is_folder = kind == b"5" or (kind in (b"0", b"\0") and name.endswith(b"/"))
    path = _clean(name, shown)
    if not path and not is_folder:
        raise ArchiveError('member "{}" has no name'.format(shown))
    mtime = float(_number(header[136:148]) & 0xFFFFFFFF)
    return ArchiveMember(path, is_folder, 0 if is_folder else size, _number(header[100:108]) & 0o777, mtime)


def _clean(name: bytes, shown: str) -> str:
    if b"\0" in name:
        raise ArchiveError('member "{}" has a NUL in its name'.format(shown))
    if b"\\" in name:
        raise ArchiveError('member "{}" has a backslash in its name'.format(shown))
    if name.startswith(b"/") and name.strip(b"/"):  # "/" alone is the root itself: both SDKs write it when they repack
        raise ArchiveError('member "{}" has an absolute path'.format(shown))
    segments = [s for s in name.split(b"/") if s not in (b"", b".")]
    if b".." in segments:
        raise ArchiveError('member "{}" leads out of the archive'.format(shown))
    if any(len(s) > 255 for s in segments) or len(segments) > 64 or len(name) > 3072:
        raise ArchiveError('member "{}" has a name that is too long or too deep'.format(shown))
    return os.fsdecode(b"/".join(segments))


def _pax(data: bytes) -> Dict[str, bytes]:
    """`<length> <key>=<value>\\n` records."""
    found: Dict[str, bytes] = {}
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 20)
        length = _decimal(data[at:space]) if space > 0 else 0
        record = data[space + 1 : at + length]
        key, equals, value = record.partition(b"=")
        if length <= space - at + 1 or at + length > len(data) or not equals or not value.endswith(b"\n"):
            raise ArchiveError("a pax header of the archive is damaged")
        found[key.decode("utf-8", "replace")] = value[:-1]
        at += length
    return found


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 20:
        raise ArchiveError("a number in the archive's headers is damaged")
    return int(text)


def _number(field: bytes) -> int:
    """An octal field, or GNU's base-256 when its top bit is set."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
        if field[0] & 0x40:
            return 0  # negative: only times are, and they do not matter
        return value
    text = field.split(b"\0", 1)[0].strip()
    if text.strip(b"01234567"):  # int() would take signs and underscores too
        raise ArchiveError("a number in the archive's headers is damaged")
    return int(text or b"0", 8)


def _checksum_holds(header: bytes) -> bool:
    try:
        stored = int(header[148:156].split(b"\0", 1)[0].strip() or b"x", 8)
    except ValueError:
        return False
    rest = header[:148] + b" " * 8 + header[156:]
    return stored in (sum(rest), sum(b - 256 if b > 127 else b for b in rest))


def _expect_end(reader: _Reader) -> None:
    """After a zero block only zeros may follow: `cat a.tar b.tar` is refused, not half read. Reads to the gzip's checksum."""
    while True:
        data = reader.some(CHUNK)
        if not data:
            return
        if data.strip(b"\0"):
            raise ArchiveError("the archive has garbage after its end")


def _shown(name: str) -> str:
    return "".join(c if c.isprintable() else "\\x{:02x}".format(ord(c)) for c in name)[:200]
