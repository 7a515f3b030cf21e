"""Tables of plain text that fit the terminal: what each column needs, what is cut, wrapped or left out where there is less room.

Pure: the caller says how wide the terminal is (None: nobody looks, so nothing is cut).
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

GAP = "  "
LEAST_NAME, LEAST_PROSE = 12, 24  # columns of text are not made narrower than that
CUT = ".."

Row = Sequence[str]


def table(headings: Row, cells: Sequence[Row], room: int | None = None, spare: Sequence[str] = ()) -> str:
    """Columns no wider than their contents; numbers to the right. `spare`: headings of columns that are left out, first one first,
    where `room` is too small for all."""
    kept = list(range(len(headings)))
    for heading in spare:
        if room is None or _wide(floors(headings, cells, kept)) <= room:
            break
        kept.remove(headings.index(heading))
    headings, cells = [headings[at] for at in kept], [[row[at] for at in kept] for row in cells]
    widths = _widths(headings, cells)
    if room is not None:
        widths = narrowed(widths, floors(headings, cells, range(len(headings))), room)
    right = [_numbers(cells, at) for at in range(len(headings))]
    prose = _prose(cells)
    lines = [_line([heading.upper() for heading in headings], widths, right)]
    for row in cells:
        lines += _lines(row, widths, right, prose)
    return "\n".join(lines)


def narrowed(widths: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """Widths that fit, taken from whatever column is furthest above its least."""
    found = list(widths)
    for _ in range(max(0, _wide(found) - room)):
        at = max(range(len(found)), key=lambda at: found[at] - least[at])
        if found[at] <= least[at]:
            break
        found[at] -= 1
    return found


def floors(headings: Row, cells: Sequence[Row], kept: Sequence[int]) -> list[int]:
    """The least width of each kept column: all of a number or a time, some of a text."""
    widths, last = _widths(headings, cells), len(headings) - 1
    least = []
    for at in kept:
        short = LEAST_PROSE if at == last and _prose(cells) else LEAST_NAME
        whole = not any(letter.isalpha() for row in cells for letter in row[at]) or _numbers(cells, at)
        least.append(widths[at] if whole else min(widths[at], max(len(headings[at]), short)))
    return least


def cut(text: str, width: int) -> str:
    """Both ends of a text: names begin with what they are and end with when they were made."""
    if len(text) <= width:
        return text
    head = (width - len(CUT) + 1) // 2
    return text[:head] + CUT + text[len(text) - (width - len(CUT) - head) :]


def _lines(row: Row, widths: Sequence[int], right: Sequence[bool], prose: bool) -> list[str]:
    if not prose or len(row[-1]) <= widths[-1]:
        return [_line(row, widths, right)]
    first, *more = textwrap.wrap(row[-1], widths[-1], break_on_hyphens=False) or [""]
    indent = " " * (_wide(widths) - widths[-1])
    return [_line([*row[:-1], first], widths, right), *(indent + line for line in more)]


def _line(row: Row, widths: Sequence[int], right: Sequence[bool]) -> str:
    parts = (cut(cell, width) for cell, width in zip(row, widths, strict=True))
    aligned = (
        part.rjust(width) if number else part.ljust(width)
        for part, width, number in zip(parts, widths, right, strict=True)
    )
    return GAP.join(aligned).rstrip()


def _wide(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _widths(headings: Row, cells: Sequence[Row]) -> list[int]:
    return [max(len(row[at]) for row in [headings, *cells]) for at in range(len(headings))]


def _prose(cells: Sequence[Row]) -> bool:
    """Whether the last column is sentences rather than names."""
    return any(" " in row[-1] for row in cells) and not _numbers(cells, -1)


def _numbers(cells: Sequence[Row], at: int) -> bool:
    return bool(cells) and all(_number(row[at]) for row in cells)


def _number(cell: str) -> bool:
    return cell == "-" or cell.rstrip("%smGMKiB ").replace(".", "", 1).isdigit()
