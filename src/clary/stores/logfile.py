"""One stream's file of lines `<epoch ms>\\t<text>\\n`: reading it from any place, in both directions, in bounded memory.

Lines are in order of time; a line's place is its byte offset. A writer (a workload's shim, `logs.FileLogs`) appends whole
lines; a last line without its newline is still being written and is not shown. The front of a file may have been given back to
the filesystem (a hole): offsets stay what they were.

A message with a newline inside is stored with NUL escapes (`escape`), because the newline ends the line.
Does not know groups, streams and AWS.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
from collections.abc import Iterator
from typing import NamedTuple

MAX_LINE = 256 << 10  # bytes; longer lines are cut
CUT = b" [truncated]"
SLACK = 64  # a writer's own mark may stand behind MAX_LINE bytes
BLOCK = 64 << 10
FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE = 1, 2
PAGE = 4096


class Line(NamedTuple):
    """A line from byte `start` up to byte `end` (behind its newline). `text` is raw: `decode` makes it a message."""

    start: int
    end: int
    ms: int
    text: bytes


def encode(ms: int, message: str) -> bytes:
    """The line of a message, cut to MAX_LINE."""
    raw = message.encode("utf-8", "replace")
    if b"\n" in raw or b"\0" in raw:
        raw = raw.replace(b"\0", b"\x000").replace(b"\n", b"\0n")
    if len(raw) > MAX_LINE:
        raw = raw[: MAX_LINE - len(CUT)].decode("utf-8", "ignore").rstrip("\0").encode() + CUT
    return b"%d\t%s\n" % (ms, raw)


def decode(text: bytes) -> str:
    if b"\0" in text:
        text = text.replace(b"\0n", b"\n").replace(b"\x000", b"\0")
    return text.decode("utf-8", "replace")


def size(path: str) -> int:
    """0 for a file that is not there."""
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def origin(path: str) -> int:
    """Where the first line begins: 0, or behind the hole."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return 0
    try:
        data = os.lseek(descriptor, 0, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:  # nothing but a hole, or empty
            return os.fstat(descriptor).st_size
        return 0
    finally:
        os.close(descriptor)
    return 0 if data == 0 else _next_line(path, data - 1)


def forward(path: str, offset: int, stop: int | None = None) -> Iterator[Line]:
    """Whole lines that begin at `offset`, a line's beginning, or later, and before `stop`."""
    position = offset  # where the current line begins
    at = offset  # where the next block is read
    rest = b""
    dropped = 0  # bytes of the current line that are no longer kept
    while stop is None or position < stop:
        block = _read(path, at, BLOCK)
        if not block:
            return
        at += len(block)
        data = rest + block
        begin = 0
        while (newline := data.find(b"\n", begin)) >= 0:
            end = position + dropped + newline + 1 - begin
            line = _parse(position, end, data[begin:newline])
            position, begin, dropped = end, newline + 1, 0
            if line is not None:
                yield line
            if stop is not None and position >= stop:
                return
        rest = data[begin:]
        if len(rest) > 2 * MAX_LINE:
            dropped += len(rest) - 2 * MAX_LINE
            rest = rest[: 2 * MAX_LINE]


def backward(path: str, before: int, floor: int) -> Iterator[Line]:
    """Whole lines that end at `before` or earlier and begin at `floor` or later, last one first."""
    end = before  # where the current line ends, behind its newline
    at = before - 1
    tail = b""  # the current line from `at` on, without its newline
    while at > floor:
        begin = max(floor, at - BLOCK)
        parts = (_read(path, begin, at - begin) + tail).split(b"\n")
        starts = list(itertools.accumulate((len(part) + 1 for part in parts[:-1]), initial=begin))
        for start, text in zip(reversed(starts[1:]), reversed(parts[1:]), strict=True):
            line = _parse(start, end, text)
            end = start
            if line is not None:
                yield line
        tail = parts[0][: 2 * MAX_LINE]
        at = begin
    line = _parse(floor, end, tail)
    if line is not None:
        yield line


def whole(path: str) -> int:
    """Where the last whole line ends."""
    end = size(path)
    while end > 0:
        begin = max(0, end - BLOCK)
        newline = _read(path, begin, end - begin).rfind(b"\n")
        if newline >= 0:
            return begin + newline + 1
        end = begin
    return 0


def seek(path: str, ms: int) -> int:
    """Where the first line of this time or later begins; the end of the last whole line when there is none."""
    low, high = origin(path), whole(path)
    while high - low > BLOCK:
        middle = (low + high) // 2
        line = next(forward(path, _next_line(path, middle), high), None)
        if line is not None and line.ms < ms:
            low = line.start
        else:
            high = middle
    for line in forward(path, low):
        if line.ms >= ms:
            return line.start
        low = line.end
    return low


def give_back(path: str, before: int) -> bool:
    """Free the disk space of what lies before this offset, in place: writers that have the file open do not notice."""
    length = before // PAGE * PAGE
    if length == 0:
        return False
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fallocate = ctypes.CDLL(None, use_errno=True).fallocate
        fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
        done = fallocate(descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, length)
        return bool(done == 0)
    finally:
        os.close(descriptor)


def align(path: str, offset: int) -> int:
    """The offset itself when a line begins there, else where the next one does."""
    return offset if offset <= 0 or _read(path, offset - 1, 1) in (b"\n", b"") else _next_line(path, offset)


def _next_line(path: str, offset: int) -> int:
    """Where the first line behind `offset` begins."""
    at = offset
    while block := _read(path, at, BLOCK):
        newline = block.find(b"\n")
        if newline >= 0:
            return at + newline + 1
        at += len(block)
    return at


def _parse(start: int, end: int, raw: bytes) -> Line | None:
    """None for what is no line: a torn write, the rest of a hole."""
    head, tab, text = raw.partition(b"\t")
    if not tab or not head.isdigit():
        return None
    if len(text) > MAX_LINE + SLACK or end - start > len(raw) + 1:
        text = text[: MAX_LINE - len(CUT)] + CUT
    return Line(start, end, int(head), text)


def _read(path: str, offset: int, length: int) -> bytes:
    # A file is opened for each block: a search through thousands of streams holds no descriptors.
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return b""
    try:
        return os.pread(descriptor, length, offset)
    finally:
        os.close(descriptor)
