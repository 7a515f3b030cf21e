"""FailureReason: AWS's prefixes, at most 1,024 characters, and in them the line that tells the user what broke.

A failure text and a log end differently: XGBoost's log ends in a C++ stack trace, a Python script's in its traceback, so the
exception's own line is looked for. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

LIMIT = 1024
_EXCEPTION = re.compile(r"^(?:[A-Za-z_][\w.]*\.)?[A-Za-z_]\w*(?:Error|Exception|Interrupt|Exit|Warning)\b(?::.*)?$")
_DRIVERS = "/opt/ml/input/data/sm_drivers/"
_TRACEBACK = "Traceback (most recent call last):"


def algorithm_error(exit_code: int, failure: str, tail: Sequence[str]) -> str:
    """`AlgorithmError: <output/failure, else what the log's end tells>, exit code: N`."""
    text = _of_driver(failure, tail) or failure.strip() or _from_log(tail)
    if text.startswith("ClientError: "):  # said by Clary's own part of the container: a channel that cannot be streamed
        return fitted("", text, f", exit code: {exit_code}")
    return fitted("AlgorithmError: ", text or _signal(exit_code), f", exit code: {exit_code}")


def out_of_memory(host: str, instance_type: str, memory: int) -> str:
    return fitted(
        "ClientError: ",
        f"Please use an instance type with more memory, or reduce the size of job's workload: the container on {host} was killed "
        f"at its memory limit of {memory >> 20} MiB ({instance_type})",
        ", exit code: 137",
    )


def client_error(text: str) -> str:
    return text[:LIMIT] if text.startswith("ClientError: ") else fitted("ClientError: ", text, "")


def internal_error(text: str) -> str:
    return fitted("InternalServerError: ", text, "")


def fitted(prefix: str, text: str, suffix: str) -> str:
    """The three in at most 1,024 characters; a text that is too long keeps its beginning and its end."""
    room = LIMIT - len(prefix) - len(suffix)
    if len(text) > room:
        mark = " ... "
        head = room // 3
        text = text[:head] + mark + text[-(room - head - len(mark)) :]
    return prefix + text + suffix


def _of_driver(failure: str, tail: Sequence[str]) -> str:
    """What the user's script said, where the failure file is SDK v3's: its drivers write their own traceback into it, which only
    tells that a command ended."""
    if _DRIVERS not in failure or "subprocess.CalledProcessError" not in failure:
        return ""
    ends = [number for number, line in enumerate(tail) if line.startswith("Command failed with exit code ")]
    return _from_log(tail[: ends[-1]]) if ends else ""


def _signal(exit_code: int) -> str:
    if exit_code > 128:
        return f"The training container was ended by signal {exit_code - 128} and wrote no /opt/ml/output/failure"
    return "The training container failed and wrote no /opt/ml/output/failure"


def _from_log(tail: Sequence[str]) -> str:
    """The last traceback of the log down to its exception, else the last exception line, else the last lines."""
    lines = [line.rstrip() for line in tail if line.strip()]
    for start in range(len(lines) - 1, -1, -1):
        if lines[start].endswith(_TRACEBACK):
            end = next((n for n in range(start + 1, len(lines)) if _EXCEPTION.match(lines[n])), None)
            if end is not None:
                frames = lines[max(start + 1, end - 6) : end]
                return "\n".join([lines[end], "Traceback, last frames:", *frames])
    found = next((line for line in reversed(lines) if _EXCEPTION.match(line)), None)
    return found if found is not None else "\n".join(lines[-5:])
