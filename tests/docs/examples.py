"""Examples of the documentation, found in its pages. Pure.

A block is run when the line before its fence says so:

    <!-- runnable -->
    ```python

All runnable blocks of a page are one program, in the order of the page: a later block goes on where an earlier one ended.
`<!-- runnable: v2 -->` names the clients that it needs (v2, v3: the SageMaker SDKs; boto3 where none is named). One page, one kind.
`<!-- saved as NAME -->` before a fence makes a file that stands beside the program.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

CLIENTS = ("boto3", "v2", "v3")
_MARK = re.compile(r"<!--\s*runnable\b(?P<rest>.*)")
_FILE = re.compile(r"<!--\s*saved as (?P<name>[\w.-]+)\s*-->\s*")
_ASKS = re.compile(r"(?::\s*(?P<clients>\w+)\s*)?\s*-->\s*")


@dataclass(frozen=True, slots=True)
class Program:
    """What a page's runnable blocks amount to. Its lines have the numbers that they have in the page, so a traceback points there."""

    clients: str
    text: str


def program_of(page: str) -> Program | None:
    """The page's program; None when nothing of it is runnable. ValueError for a mark that would run nothing, or is not understood."""
    lines = page.splitlines()
    text = [""] * len(lines)
    wanted: set[str] = set()
    for number, line in enumerate(lines):
        mark = _MARK.match(line)
        if mark is None:
            continue
        asks = _ASKS.fullmatch(mark["rest"])
        clients = "boto3" if asks is None or not asks["clients"] else asks["clients"]
        if asks is None or clients not in CLIENTS:
            raise ValueError(f"line {number + 1}: {line.strip()} is not understood; clients are {', '.join(CLIENTS)}")
        end = _end(lines, number)
        text[number + 2 : end] = lines[number + 2 : end]
        wanted.add(clients)
    if not wanted:
        return None
    if len(wanted) > 1:
        raise ValueError(f"one page needs one kind of clients, not {' and '.join(sorted(wanted))}")
    return Program(wanted.pop(), "\n".join(text).rstrip() + "\n")


def files_of(page: str) -> dict[str, str]:
    """The files of a page, by name. ValueError for a mark without a block, or two of one name."""
    lines = page.splitlines()
    files: dict[str, str] = {}
    for number, line in enumerate(lines):
        mark = _FILE.fullmatch(line)
        if mark is None:
            continue
        if mark["name"] in files:
            raise ValueError(f"line {number + 1}: {mark['name']} is saved twice")
        files[mark["name"]] = "\n".join(lines[number + 2 : _end(lines, number)]) + "\n"
    return files


def _end(lines: list[str], mark: int) -> int:
    """The line that closes the block below this mark."""
    if mark + 1 >= len(lines) or lines[mark + 1].strip() != "```python":
        raise ValueError(f"line {mark + 1}: the line after a mark opens a ```python block")
    end = next((n for n in range(mark + 2, len(lines)) if lines[n].rstrip() == "```"), None)
    if end is None:
        raise ValueError(f"line {mark + 2}: this block has no end")
    return end
