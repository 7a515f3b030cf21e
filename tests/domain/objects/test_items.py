"""The order of keys, as lists walk it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clary.domain.objects.items import successor


@given(st.binary(max_size=20), st.binary(max_size=3))
def test_the_successor_is_above_every_extension(prefix: bytes, more: bytes) -> None:
    above = successor(prefix)
    assert above is None or (above > prefix + more and above > prefix)
