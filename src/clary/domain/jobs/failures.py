"""FailureReason: AWS's prefix, then the line of output that shows the cause; at most 1,024 characters.

A failure text and a log end differently: XGBoost's log ends in a C++ stack trace, a Python script's in its traceback, so the
exception's own line is looked for. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

LIMIT = 1024
_EXCEPTION = re.compile(r"^(?:[A-Za-z_][\w.]*\.)?[A-Za-z_]\w*(?:Error|Exception|Interrupt|Exit|Warning)\b(?::.*)?$")
_DRIVERS = "/opt/ml/input/data/sm_drivers/"
_GENERIC = "Training Execution failed. For more details, see CloudWatch logs"
_EXECUTING = "Executing command: "
_COMMAND_ENDED = re.compile(r"Command failed with exit code ")
_GAVE_UP = re.compile(r"\++ handle_error$")
_TRACED = re.compile(r"\++ ")  # the shell's `set -x`
_PREAMBLE = "Setting up environment variables"  # of SDK v3's script, which shows the container's configuration before and after it
_SHOWN = re.compile(r'[A-Z][A-Z0-9_]*=|\{"|/opt/ml/input/config/\w+\.json:$|Environment Variables:$')
_LINE = 250  # characters of one line that is told without an exception: the cause is not in a kilobyte of configuration
_DIED = re.compile(r"died with <Signals\.(\w+): \d+>")
_TRACEBACK = "Traceback (most recent call last):"


def algorithm_error(exit_code: int, failure: str, tail: Sequence[str]) -> str:
    """`AlgorithmError: <output/failure, else what the log's end tells>, exit code: N`."""
    text = _of_driver(failure, tail) or failure.strip() or _from_log(tail)
    if text.startswith("ClientError: "):  # said by Clary's own part of the container: a channel that cannot be streamed
        return fitted("", text, f", exit code: {exit_code}")
    return fitted("AlgorithmError: ", text or _signal(exit_code), f", exit code: {exit_code}")


def processing_error(exit_code: int, message: str, tail: Sequence[str]) -> str:
    """AWS's two forms: `AlgorithmError: See job logs for more information` beside an exit message, which tells the cause; and
    `AlgorithmError: , exit code: N`, to which the last line of the log's traceback is added, as it tells nothing by itself."""
    if message.startswith(
        "ClientError: "
    ):  # said by Clary's own part of the container: an input that cannot be streamed
        return fitted("", message.strip(), f", exit code: {exit_code}")
    if message.strip():
        return "AlgorithmError: See job logs for more information"
    cause = _from_log(tail)
    cause = cause.partition("\n")[0] if _EXCEPTION.match(cause.partition("\n")[0]) else cause.rpartition("\n")[2]
    return fitted(f"AlgorithmError: , exit code: {exit_code}", f": {cause}" if cause else "", "")


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
    """What went wrong in the user's part, where the failure file is SDK v3's: its drivers write that a command ended, or nothing but
    "see the logs"."""
    generic = failure.startswith(_GENERIC)
    if not generic and (_DRIVERS not in failure or "subprocess.CalledProcessError" not in failure):
        return ""
    mark = _GAVE_UP if generic else _COMMAND_ENDED
    end = next((number for number in range(len(tail) - 1, -1, -1) if mark.match(tail[number])), None)
    if end is None:
        return ""
    said = [line for line in tail[:end] if not _TRACED.match(line)]
    begun = next((number for number in range(len(said) - 1, -1, -1) if said[number].startswith(_EXECUTING)), None)
    own = said if begun is None else said[begun + 1 :]
    pip = [line for line in own if line.startswith("ERROR: ")]
    if generic and pip:
        return "\n".join(pip[-2:])
    if any(line.strip() for line in own) or begun is None:
        return _from_log(own)
    signal = _DIED.search(failure)
    how = f"was ended by {signal[1]}" if signal is not None else "failed and said nothing"
    program, _, rest = said[begun][len(_EXECUTING) :].partition(" ")
    command = _shortened(f"{program.rpartition('/')[2]} {rest}")
    return f"The command {command} {how}"


def _of_script(lines: Sequence[str]) -> Sequence[str]:
    """What of a log's end is the user's, where SDK v3's script is what ran: behind its last command, or without what it shows of the
    container's configuration. All of the log of any other container."""
    begun = next((number for number in range(len(lines) - 1, -1, -1) if lines[number].startswith(_EXECUTING)), None)
    if begun is None and _PREAMBLE not in lines:
        return lines
    own = lines if begun is None else lines[begun + 1 :]
    return [line for line in own if not _TRACED.match(line) and not (begun is None and _SHOWN.match(line))]


def _shortened(line: str) -> str:
    return line if len(line) <= _LINE else f"{line[: _LINE - 4]} ..."


def _signal(exit_code: int) -> str:
    if exit_code > 128:
        return f"The training container was ended by signal {exit_code - 128} and wrote no /opt/ml/output/failure"
    return "The training container failed and wrote no /opt/ml/output/failure"


def _from_log(tail: Sequence[str]) -> str:
    """The last traceback of the log down to its exception, else the last exception line, else the last lines."""
    lines = _of_script([line.rstrip() for line in tail if line.strip()])
    for start in range(len(lines) - 1, -1, -1):
        if lines[start].endswith(_TRACEBACK):
            end = next((n for n in range(start + 1, len(lines)) if _EXCEPTION.match(lines[n])), None)
            if end is not None:
                frames = lines[max(start + 1, end - 6) : end]
                return "\n".join([lines[end], "Traceback, last frames:", *frames])
    found = next((line for line in reversed(lines) if _EXCEPTION.match(line)), None)
    return found if found is not None else "\n".join(map(_shortened, lines[-5:]))
