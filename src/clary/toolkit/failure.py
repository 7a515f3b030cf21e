"""How a run that failed tells why, in the 1,024 characters that FailureReason shows.

Owns the shape of `/opt/ml/output/failure` and the search for the line that matters in a script's last words: the line with the
exception, then the end of the user's own traceback (with XGBoost the last lines of a log are only a C++ stack trace). Pure.
"""

from __future__ import annotations

import importlib
import os
import re
import signal
import time
import traceback
from types import TracebackType
from typing import List, Optional, Sequence, Type


class UserError(Exception):
    """The job as asked for cannot run; the text is for the user and stands alone (no traceback)."""


def log(text: str) -> None:
    """A line in the form of the containers' own log lines."""
    print("[{}:INFO] {}".format(time.strftime("%Y-%m-%d:%H:%M:%S"), text), flush=True)


MESSAGE_BYTES = 1024


def exit_message(words: str, base: str = "/opt/ml") -> None:
    """What a processing job says about its end: AWS shows its first kilobyte as ExitMessage. No character is cut in two."""
    os.makedirs(os.path.join(base, "output"), exist_ok=True)
    with open(os.path.join(base, "output", "message"), "wb") as file:
        file.write(words.encode("utf-8")[:MESSAGE_BYTES].decode("utf-8", "ignore").encode("utf-8"))


LIMIT = 960  # characters: the service puts `AlgorithmError: ` before and `, exit code: N` after, within 1,024
_IMPORTLIB = os.path.dirname(importlib.__file__)
_HEAD = "Traceback (most recent call last):"
_MISSING = re.compile(r"ModuleNotFoundError: No module named '([\w.]+)'")
_HINTS = (
    (
        re.compile(r"\[Errno (?:27|28|122)\]"),
        "a host may write as much as VolumeSizeInGB of its job, in one file or in all: ask for more.",
    ),
    (
        re.compile(r"Failed to load csv data .*could not convert string to float"),
        "CSV for training has no header line, and numbers only, the label first.",
    ),
)
_EXCEPTION = re.compile(r"^[A-Za-z_][\w.]*(?::|$)")


def script_failure(exit_code: int, stderr: str, command: str) -> str:
    """The toolkit's text for a user script that ended with a code other than 0."""
    closing = '"\nCommand "{}"'.format(shorten(command, 180))
    opening = 'ExecuteUserScriptError:\nExitCode {}\nErrorMessage "'.format(exit_code)
    words = essence(stderr, LIMIT - len(opening) - len(closing)) or _signal(exit_code)
    return opening + words + closing


def _signal(exit_code: int) -> str:
    """What ended a script that said nothing, where its exit code tells: 139 is a crash of native code."""
    try:
        return "The script was ended by {}".format(signal.Signals(exit_code - 128).name) if exit_code > 128 else ""
    except ValueError:
        return ""


def essence(stderr: str, limit: int) -> str:
    """The exception's line and the tail of its traceback; without a traceback the last lines."""
    lines = [line.rstrip() for line in stderr.replace("\r", "\n").split("\n")]
    starts = [i for i, line in enumerate(lines) if line.strip() == _HEAD]
    if not starts:
        return tail([line for line in lines if line.strip()], limit)
    block = lines[starts[-1] + 1 :]
    end = next(
        (i for i, line in enumerate(block) if line and not line.startswith(" ") and _EXCEPTION.match(line)), None
    )
    if end is None:
        return tail([_HEAD, *block], limit)
    message = [block[end]]
    for line in block[end + 1 :]:  # the message's further lines, as long as they look like one
        if not line.strip() or line.startswith(("Stack trace", "  [bt]", "[bt]")):
            break
        message.append(line)
    text = shorten("\n".join(message), max(200, limit // 2))
    frames = tail(block[:end], limit - len(text) - len(_HEAD) - 2)
    return "{}\n{}\n{}".format(text, _HEAD, frames) if frames else text


def advice(text: str) -> str:
    """What to do about a failure that everybody meets, for the log; nothing about others."""
    found = _MISSING.search(text)
    if found is not None:
        return (
            "Hint: this environment has no module '{}': name its package in requirements.txt beside the script, or put the file "
            "beside the script (both travel with source_dir).".format(found.group(1))
        )
    return next(("Hint: " + hint for mark, hint in _HINTS if mark.search(text)), "")


def tail(lines: Sequence[str], limit: int) -> str:
    """The last whole lines that fit."""
    kept: List[str] = []
    room = limit
    for line in reversed(lines):
        if len(line) + 1 > room:
            if not kept:
                kept.append(line[-limit:] if limit > 0 else "")
            break
        kept.append(line)
        room -= len(line) + 1
    return "\n".join(reversed(kept))


def shorten(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."


def user_traceback(kind: Type[BaseException], error: BaseException, trace: Optional[TracebackType], own: str) -> str:
    """A traceback from the user's first frame on: without those of the toolkit (files under the folder `own`) and of the import
    system that led there."""
    first = trace
    while first is not None and _leads_in(first.tb_frame.f_code.co_filename, own):
        first = first.tb_next
    return "".join(traceback.format_exception(kind, error, first))


def _leads_in(filename: str, own: str) -> bool:
    return filename.startswith((own, "<frozen importlib")) or os.path.dirname(filename) == _IMPORTLIB
