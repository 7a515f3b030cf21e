from __future__ import annotations

import pytest

from clary.domain.attempts import attempt_of


@pytest.mark.parametrize(
    ("header", "attempt"),
    [
        ("attempt=2; max=5", 2),
        ("ttl=20200101T000000Z; attempt=3;max=3", 3),
        ("", 0),
        ("attempt=x", 0),
        ("preattempt=2", 0),
    ],
)
def test_attempts_are_read(header: str, attempt: int) -> None:
    assert attempt_of(header) == attempt
