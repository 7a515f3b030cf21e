"""Tables: what fits is shown whole, what does not is cut, wrapped or left out."""

from __future__ import annotations

import pytest

from clary.app.cli.tables import cut, table

NAME = "sagemaker-xgboost-2026-11-27-17-19-23-123"
HEADINGS = ("endpoint", "config", "rps", "why")
ROWS = [
    [NAME, NAME, "12.5", "a policy said so, and there was room for two more of them"],
    ["iris", "iris-config", "-", "in service"],
]


def test_nothing_is_cut_where_nobody_looks() -> None:
    first, second, third = table(HEADINGS, ROWS).splitlines()
    assert first.split() == ["ENDPOINT", "CONFIG", "RPS", "WHY"]
    assert second == f"{NAME}  {NAME}  12.5  {ROWS[0][3]}"
    assert third == f"{'iris':<41}  {'iris-config':<41}     -  in service"


@pytest.mark.parametrize("room", [200, 120, 80, 60, 50])
def test_no_line_is_wider_than_the_terminal(room: int) -> None:
    shown = table(HEADINGS, ROWS, room, ("config",))
    assert max(len(line) for line in shown.splitlines()) <= room
    assert "12.5" in shown
    for word in ROWS[0][3].split():
        assert word in shown, "a sentence is wrapped, not cut"
    assert ("CONFIG" in shown) == (room >= 60)


def test_a_sentence_goes_on_below_itself() -> None:
    lines = table(("name", "why"), [["a", "one two three four five six seven"]], 30).splitlines()
    assert lines == ["NAME  WHY", "a     one two three four five", "      six seven"]


def test_columns_go_one_by_one() -> None:
    row = [["n" * 30, "1", "2", "3"]]
    heads = ("name", "queued", "busy", "ready")
    assert table(heads, row, 34, ("busy", "queued")).splitlines()[0].split() == ["NAME", "QUEUED", "BUSY", "READY"]
    assert table(heads, row, 28, ("busy", "queued")).splitlines()[0].split() == ["NAME", "QUEUED", "READY"]
    assert table(heads, row, 20, ("busy", "queued")).splitlines()[0].split() == ["NAME", "READY"]


def test_times_are_not_cut() -> None:
    shown = table(("when", "what"), [["2026-11-27 17:19:23", "n" * 40]], 35)
    assert shown.splitlines()[1] == "2026-11-27 17:19:23  nnnnnn..nnnnnn"


def test_an_empty_table_has_its_headings() -> None:
    assert table(("name", "why"), [], 10) == "NAME  WHY"


def test_a_name_keeps_both_ends() -> None:
    assert cut(NAME, 12) == "sagem..3-123"
    assert cut("short", 5) == "short"
