"""Tokens of presigned URLs and sessions."""

from __future__ import annotations

import pytest

from clary.domain.mlflow.visits import Visit, begun, read, token

KEY = b"key"
VISIT = Visit("arn:x", 100.0, 1800.0)


def test_a_token_is_good_until_its_time_is_over() -> None:
    text = token(KEY, VISIT)
    assert read(KEY, text, 99.0) == VISIT
    assert read(KEY, text, 100.0) is None
    assert begun(VISIT, 50.0) == Visit("arn:x", 1850.0)


@pytest.mark.parametrize(
    "text", ["", ".", "a.b", "é.é", token(b"other", VISIT), token(KEY, VISIT)[:-4], "x" + token(KEY, VISIT)]
)
def test_what_is_no_token_of_ours(text: str) -> None:
    assert read(KEY, text, 1.0) is None
