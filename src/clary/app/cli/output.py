"""How commands speak: tables for people, JSON for programs, one line for errors. Owns the exit codes.

Text that came from elsewhere (log lines, names, messages) goes through `say`, `warn` or `plain`: nothing in it can drive a terminal.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

from clary.app.cli import tables

FAILED, USAGE, NOT_RUNNING, NOT_FOUND, UNWELL = 1, 2, 3, 4, 5
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code != 0x09}
_IN_LINES = {code: shown for code, shown in _CONTROL.items() if code != 0x0A}


class CommandRefused(RuntimeError):
    """A command cannot be done: one sentence with advice, and the exit code."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class NobodyReads(Exception):
    """The reader of our output (head, less) ended. Not an OSError: Typer answers those with exit code 1."""


def explain(error: Exception) -> int:
    """Say in one line what went wrong; the exit code. Raises what nobody foresaw."""
    from clary.app.settings import SettingError
    from clary.domain.errors import ClaryError

    if isinstance(error, CommandRefused):
        print(f"clary: {plain(error.message)}", file=sys.stderr)
        return error.code
    if isinstance(error, ClaryError | SettingError):
        print(f"clary: {plain(str(error))}", file=sys.stderr)
        # A setting that is named as a flag was given as one.
        return USAGE if isinstance(error, SettingError) and str(error).startswith("--") else FAILED
    if isinstance(error, OSError):
        where = f"{plain(str(error.filename))}: " if error.filename else ""
        print(f"clary: {where}{error.strerror or error}", file=sys.stderr)
        return FAILED
    raise error


def plain(text: str) -> str:
    """Text without anything that a terminal obeys: control characters become visible (tabs stay)."""
    return text.translate(_CONTROL)


def lines(text: str) -> str:
    """The same of several lines."""
    return text.translate(_IN_LINES)


def say_json(value: Any) -> None:
    """One JSON document on standard output."""
    narrow = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    drive(json.dumps(value, indent=2 if sys.stdout.isatty() else None, default=str, ensure_ascii=narrow))


def say(text: str = "") -> None:
    """Lines for a person. Control characters in them become visible."""
    drive(lines(text))


def drive(text: str) -> None:
    """The same as it is: for colours and the like of our own, around text that went through `plain`."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise NobodyReads from None


def warn(text: str) -> None:
    """A word to the person, beside what a program reads from standard output."""
    print(f"clary: {plain(text)}", file=sys.stderr, flush=True)


def table(headings: Sequence[str], rows: Iterable[Sequence[object]], spare: Sequence[str] = ()) -> str:
    """A table that fits the terminal, if it goes to one. `spare`: columns that may be left out there, first one first."""
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    return tables.table(headings, [[plain(str(cell)) for cell in row] for row in rows], room, spare)


def size(count: float) -> str:
    """Bytes for people: 1.5 GiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"


def counted(number: int, noun: str) -> str:
    """1 time, 2 times."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def words(message: str) -> str:
    """A message for a terminal; further lines of it are indented, so that none can pass for a line of its own."""
    return "\n    ".join(plain(line) for line in message.replace("#011", "  ").split("\n"))


def age(then: float, now: float) -> str:
    """How long ago: 12s, 5m, 3h, 2d."""
    seconds = max(0, int(now - then))
    for most, unit, divisor in ((120, "s", 1), (7200, "m", 60), (172_800, "h", 3600)):
        if seconds < most:
            return f"{seconds // divisor}{unit}"
    return f"{seconds // 86_400}d"


def clock(ms: int, now: float) -> str:
    """Epoch milliseconds as local time of day, with the date where it is another than today's."""
    then, today = time.localtime(ms / 1000), time.localtime(now)
    date = "" if then[:3] == today[:3] else time.strftime("%Y-%m-%d ", then)
    return date + time.strftime("%H:%M:%S", then) + f".{ms % 1000:03d}"
