"""docs/faults.md names tests that exist, for every row that is to be shown."""

from __future__ import annotations

import re

from tests.live import ROOT

TEXT = (ROOT / "docs" / "faults.md").read_text()
ROWS = {*range(1, 14), *range(15, 19), *range(20, 24), 25, *range(28, 38), 41, 42, 43, 44}


def test_every_row_has_its_test() -> None:
    named = {34} if "(34)" in TEXT else set()
    for line in TEXT.splitlines():
        if re.match(r"\| [\d, ]+ \|", line):
            named |= {int(number) for number in re.findall(r"\d+", line.split("|")[1])}
    assert named >= ROWS, sorted(ROWS - named)


def test_every_test_that_is_named_is_there() -> None:
    missing = []
    file = "test_kills.py"
    for quoted in re.findall(r"`([^`]*)`", TEXT):
        path, _, name = quoted.partition("::")
        if quoted.startswith("test_") and not quoted.endswith(".py") and "::" not in quoted:
            path, name = "test_kills.py", quoted
        file = path or file
        if not file.endswith(".py") or " " in quoted:
            continue
        found = ROOT / (file if file.startswith("tests/") else f"tests/faults/{file}")
        if not found.exists() or (name and not re.search(rf"\b(def|class) {name}\b", found.read_text())):
            missing.append(quoted)
    assert missing == []
