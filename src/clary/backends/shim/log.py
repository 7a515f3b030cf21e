"""The log of a workload, as lines of a file. Owns the line format; does not know where the file is read."""

from __future__ import annotations

import os
import time

LINE_BYTES = 256 * 1024
CUT_MARK = b" [truncated]"
TAIL_BYTES = 4096


class Log:
    """Lines to a file as `<epoch ms>\\t<text>\\n`, whole lines only, at most `limit` bytes of them."""

    def __init__(self, path: str | None, limit: int) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self.fd = os.open(path, flags, 0o600) if path else None
        self.limit = limit
        self.written = 0
        self.pieces: list[bytes] = []  # of a line whose end has not come yet
        self.size = 0  # of the pieces together
        self.cutting = False  # the rest of an overlong line is being dropped
        self.tail = b""  # of everything, for a failed start

    def feed(self, data: bytes) -> None:
        self.tail = (self.tail + data)[-TAIL_BYTES:]
        if b"\n" not in data:
            self._keep(data)
            return
        first, *lines = data.split(b"\n")
        rest = lines.pop()
        if self.cutting:
            self.cutting = False
        else:
            lines.insert(0, b"".join([*self.pieces, first]))
        self.pieces, self.size = [], 0
        self._write(lines)
        self._keep(rest)

    def close(self) -> None:
        if self.size:
            self._write([b"".join(self.pieces)])
        self.pieces, self.size = [], 0

    def note(self, text: str) -> None:
        """A line of Clary's own."""
        self._put(_stamped([text.encode()]))

    def _keep(self, data: bytes) -> None:
        if not data or self.cutting:
            return
        self.pieces.append(data)
        self.size += len(data)
        if self.size > LINE_BYTES:
            self.close()
            self.cutting = True

    def _write(self, lines: list[bytes]) -> None:
        if not lines or self.written > self.limit:
            return
        data = _stamped([line if len(line) <= LINE_BYTES else _cut(line) for line in lines])
        self.written += len(data)
        self._put(data)
        if self.written > self.limit:
            self.note(f"clary: the log of this run is larger than {self.limit} bytes; nothing more is kept")

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        while view and self.fd is not None:
            try:
                view = view[os.write(self.fd, view) :]
            except OSError:
                return  # disk full: the workload goes on, these lines are lost


def _stamped(lines: list[bytes]) -> bytes:
    stamp = b"%d\t" % int(time.time() * 1000)
    data = b"".join([stamp + line.rstrip(b"\r") + b"\n" for line in lines])
    try:
        data.decode()
    except UnicodeDecodeError:
        data = data.decode("utf-8", "replace").encode()
    return data


def _cut(line: bytes) -> bytes:
    return line[: LINE_BYTES - len(CUT_MARK)] + CUT_MARK
