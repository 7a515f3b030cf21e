"""Answers that a client may come back for: how long and how many are kept."""

from __future__ import annotations

from clary.serving import joins


def key(number: int) -> joins.JoinKey:
    return joins.JoinKey(("a", "r", "e"), "/", str(number), "00")


def test_answers_are_kept_for_a_minute() -> None:
    memory = joins.Joins()
    memory.keep(key(1), b"answer", 100.0)
    assert memory.answer(key(1), 159.9) == b"answer"
    assert memory.answer(key(1), 160.0) is None
    assert len(memory) == 0


def test_the_memory_of_answers_is_bounded() -> None:
    memory = joins.Joins()
    for number in range(joins.KEPT_NUMBER + 10):
        memory.keep(key(number), b"x", 0.0)
    assert len(memory) == joins.KEPT_NUMBER
    assert memory.answer(key(0), 0.0) is None
    big = bytes(joins.KEPT_BYTES // 5)
    for number in range(10):
        memory.keep(key(-1 - number), big, 0.0)
    assert len(memory) <= 5
    assert memory.answer(key(-10), 0.0) == big
