"""The PDF of a card, read back by the rules of the format: the table of places, the pages, the text on them."""

from __future__ import annotations

import re
import zlib
from typing import Any

import pytest
from tests.domain.registry.test_card_content import WHOLE

from clary.domain.registry.card_pages import pages
from clary.domain.registry.pdf import MARGIN, WIDTH, Writer, lines, width


def read(document: bytes) -> tuple[int, str]:
    """Pages, and all text in the order in which it was put."""
    assert document.startswith(b"%PDF-1.4\n")
    table = int(document.rpartition(b"startxref\n")[2].split()[0])
    head = re.match(rb"xref\n0 (\d+)\n", document[table:])
    assert head is not None
    entries = document[table + head.end() :].split(b"\n")[: int(head[1])]
    for number, entry in enumerate(entries[1:], 1):
        assert len(entry) == 19
        place = int(entry[:10])
        assert document[place:].startswith(f"{number} 0 obj\n".encode())
    found = []
    for length, start in [(int(m[1]), m.end()) for m in re.finditer(rb"/Length (\d+) [^>]*>>\nstream\n", document)]:
        assert document[start + length :].startswith(b"\nendstream")
        content = zlib.decompress(document[start : start + length]).decode("cp1252")
        texts = re.findall(r"Td \((.*)\) Tj ET", content)
        found += [re.sub(r"\\(.)", r"\1", each) for each in texts]
    count = re.search(rb"/Count (\d+)", document)
    assert count is not None
    return int(count[1]), "\n".join(found)


def test_all_of_a_card_is_on_its_pages() -> None:
    count, text = read(pages("churn", 3, "Approved", WHOLE))
    assert text.startswith("churn\nModel card, version 3: Approved\nModel overview\nModel description: d")
    for words in (
        "- s3://b/m.tar.gz",
        "Risk rating: Low",
        "accuracy: 0.9 (n)",
        "fair: True",
        "roc",
        "confusion",
        "Colour: red",
    ):
        assert words in text
    assert count == 2


def test_a_long_card_has_many_pages_and_loses_nothing() -> None:
    words = [f"word{at}" for at in range(3000)]
    count, text = read(pages("long", 1, "Draft", {"business_details": {"business_problem": " ".join(words)}}))
    assert count > 3
    assert [each for each in text.split() if each.startswith("word")] == words


@pytest.mark.parametrize("odd", ["<script>alert(1)</script>", "a) Tj ET (b", "back\\slash", "ümläut €", "x" * 5000])
def test_odd_texts_are_shown_as_they_are(odd: str) -> None:
    _, text = read(pages("odd", 1, "Draft", {"intended_uses": {"intended_uses": odd}}))
    assert odd in text.replace("\n", "").replace("Intended uses: ", "", 1)
    assert "do not have" not in text


def test_characters_that_the_fonts_lack_are_told() -> None:
    _, text = read(pages("中", 1, "Draft", {"model_overview": {"model_name": "模型 model"}}))
    assert text.startswith("\\u4e2d\n")
    assert "Model name: \\u6a21\\u578b model" in text
    assert "Characters that the fonts of this document do not have" in text


@pytest.mark.parametrize("value", [[[0, 0]], [[0, 0, 0], [1, 1, 1]], [], [[1, 1], [1, 1]]])
def test_a_graph_that_cannot_be_drawn_is_written(value: Any) -> None:
    metric = {"name": "m", "type": "linear_graph", "value": value}
    content = {"evaluation_details": [{"name": "n", "metric_groups": [{"name": "g", "metric_data": [metric]}]}]}
    assert "m" in read(pages("odd", 1, "Draft", content))[1]


def test_lines_fit() -> None:
    for line in lines("The quick brown fox " * 20 + "W" * 300, 10, 200):
        assert width(line, 10) <= 200


def test_the_title_is_any_text() -> None:
    writer = Writer("模型 (1)")
    writer.text("x", left=MARGIN, size=10)
    assert ("\ufeff模型 (1)".encode("utf-16-be").hex()).encode() in writer.document()
    assert WIDTH == 595
