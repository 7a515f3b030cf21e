"""A small writer of PDF 1.4 (ISO 32000-1): text in the standard fonts Helvetica and Helvetica-Bold, lines and filled boxes, A4 pages. Pure.

The standard fonts have the characters of Windows' code page 1252. Others are written as their code, such as `\\u4e2d`, and
`Writer.replaced` tells that there were some. Widths are those of Adobe's font metrics, in thousandths of the size.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

WIDTH, HEIGHT, MARGIN = 595, 842, 56  # points
_REGULAR = (
    "278 278 355 556 556 889 667 191 333 333 389 584 278 333 278 278 556 556 556 556 556 556 556 556 556 556 278 278 584 584 584 556 "
    "1015 667 667 722 722 667 611 778 722 278 500 667 556 833 722 778 667 778 722 667 611 722 667 944 667 667 611 278 278 278 469 556 "
    "333 556 556 500 556 556 278 556 556 222 222 500 222 833 556 556 556 556 333 500 278 556 500 722 500 500 500 334 260 334 584"
)
_WIDTHS = {chr(32 + at): int(width) for at, width in enumerate(_REGULAR.split())}
_OTHER = 722  # of the characters that the table does not have, about the widest
_BOLDER = 1.08  # how much wider the bold font is at most, in a line of text


def shown(text: str) -> str:
    """The text in characters that the fonts have."""
    return "".join(_character(each) for each in text)


def _character(each: str) -> str:
    if each in "\t\r\n" or ord(each) < 32:
        return " "
    try:
        each.encode("cp1252")
    except UnicodeEncodeError:
        return f"\\u{ord(each):04x}"
    return each


def width(text: str, size: float, bold: bool = False) -> float:
    """Points that a line of text is wide, or a little less."""
    return sum(_WIDTHS.get(each, _OTHER) for each in text) * size / 1000 * (_BOLDER if bold else 1)


def lines(text: str, size: float, room: float, bold: bool = False) -> Iterator[str]:
    """The text in lines that fit into so many points, broken at blanks; a word that is too long is cut."""
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if width(longer, size, bold) <= room:
                line = longer
                continue
            if line:
                yield line
            *whole, line = _cut(word, size, room, bold)
            yield from whole
        yield line


def _cut(word: str, size: float, room: float, bold: bool) -> list[str]:
    """A word in parts that fit."""
    parts, start, used = [], 0, 0.0
    for at, each in enumerate(word):
        wide = width(each, size, bold)
        if used + wide > room and at > start:
            parts.append(word[start:at])
            start, used = at, 0.0
        used += wide
    return [*parts, word[start:]]


class Writer:
    """Pages from top to bottom. Coordinates are points from the left and from the bottom, as in PDF."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.replaced = False
        self._pages: list[list[str]] = []
        self.y = 0.0
        self.page()

    def page(self) -> None:
        """Begin a page."""
        self._pages.append([])
        self.y = HEIGHT - MARGIN

    def need(self, points: float) -> None:
        """Begin a page unless there is so much room on this one."""
        if self.y - points < MARGIN:
            self.page()

    def text(self, text: str, size: float = 10, *, bold: bool = False, left: float = MARGIN, before: float = 0) -> None:
        """A paragraph, with some room before it."""
        plain = "\n".join(shown(part) for part in text.split("\n"))
        self.replaced = self.replaced or (plain.count("\\u") > text.count("\\u"))
        self.y -= before
        for line in lines(plain, size, WIDTH - MARGIN - left, bold):
            self.need(size * 1.35)
            self.y -= size * 1.35
            self.put(line, left, self.y, size, bold=bold)

    def put(self, line: str, x: float, y: float, size: float = 8, *, bold: bool = False) -> None:
        """One line of text at a place."""
        escaped = shown(line).replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
        self._draw(f"BT /F{2 if bold else 1} {size:g} Tf {x:.2f} {y:.2f} Td ({escaped}) Tj ET")

    def line(self, points: list[tuple[float, float]]) -> None:
        """A line through these points."""
        if len(points) > 1:
            way = " ".join(f"{x:.2f} {y:.2f} {'l' if at else 'm'}" for at, (x, y) in enumerate(points))
            self._draw(f"{way} S")

    def box(self, x: float, y: float, wide: float, high: float) -> None:
        """A filled box; negative heights go down."""
        self._draw(f"0.35 0.5 0.75 rg {x:.2f} {y:.2f} {wide:.2f} {high:.2f} re f 0 g")

    def _draw(self, command: str) -> None:
        self._pages[-1].append(command)

    def document(self) -> bytes:
        """The whole file."""
        fonts = [
            f"<< /Type /Font /Subtype /Type1 /BaseFont /{name} /Encoding /WinAnsiEncoding >>".encode()
            for name in ("Helvetica", "Helvetica-Bold")
        ]
        first = 6  # catalogue, pages, two fonts and the title come before the pages
        kids = " ".join(f"{first + 2 * at} 0 R" for at in range(len(self._pages)))
        title = b"\xfe\xff" + self.title.encode("utf-16-be")
        objects = [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            f"<< /Type /Pages /Kids [{kids}] /Count {len(self._pages)} >>".encode(),
            *fonts,
            f"<< /Title <{title.hex()}> /Producer (Clary) >>".encode(),
        ]
        for at, page in enumerate(self._pages):
            content = zlib.compress("\n".join(page).encode("cp1252"))
            objects.append(
                f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {WIDTH} {HEIGHT}] /Resources << /Font << /F1 3 0 R /F2 4 0 R >> >> "
                f"/Contents {first + 2 * at + 1} 0 R >>".encode()
            )
            head = f"<< /Length {len(content)} /Filter /FlateDecode >>\nstream\n".encode()
            objects.append(head + content + b"\nendstream")
        return _file(objects)


def _file(objects: list[bytes]) -> bytes:
    out, places = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"), []
    for number, each in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n".encode() + each + b"\nendobj\n"
    table = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(f"{place:010d} 00000 n \n".encode() for place in places)
    out += f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R /Info 5 0 R >>\nstartxref\n{table}\n%%EOF\n".encode()
    return bytes(out)
