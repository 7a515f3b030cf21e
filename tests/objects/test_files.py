"""Object names that a file system cannot hold."""

from __future__ import annotations

import pytest

from clary.domain.errors import Invalid
from clary.objects.files import checked_names


@pytest.mark.parametrize(
    "keys",
    [
        {"k": "../x"}, {"k": "/x"}, {"k": "a//b"}, {"k": "a/./b"}, {"k": ""}, {"k": "x" * 256}, {"k": "a\0b"}, {"k": "a/"},
        {"k": "a", "k2": "a/b"}, {"k": "same", "k2": "same"},
    ],
)  # fmt: skip
def test_names_that_cannot_be_files(keys: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        checked_names(keys)
