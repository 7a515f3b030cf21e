"""Addresses as values."""

from __future__ import annotations

import pytest

from clary.domain.errors import Invalid
from clary.domain.machine.addresses import Address


def test_it_is_written_down_with_its_scheme() -> None:
    assert str(Address("unix", "/run/clary/front-0.sock")) == "unix:/run/clary/front-0.sock"


@pytest.mark.parametrize(
    ("scheme", "place", "words"),
    [
        ("tls", "host:1", "'tls:host:1' has a scheme that is not supported; supported: unix"),
        ("", "/run/x", "scheme that is not supported"),
        ("unix", "run/x", "needs an absolute path"),
        ("unix", "", "needs an absolute path"),
    ],
)
def test_what_is_none_is_refused(scheme: str, place: str, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        Address(scheme, place)
