"""The setting `egress`."""

from __future__ import annotations

import pytest

from clary.domain.errors import Invalid
from clary.domain.jobs.egress import check_egress


def test_hosts_and_prefixes() -> None:
    check_egress(("data.example.org", "*.example.org:8443", "192.0.2.1", "https://h.org/", "http://h.org:80/public/"))


@pytest.mark.parametrize(
    "entry", ["", "*", "http://", "https://h.org/public", "https://u:p@h.org/", "h.org/x", "ftp://h.org/", "a b"]
)
def test_what_is_neither(entry: str) -> None:
    with pytest.raises(Invalid, match="egress"):
        check_egress((entry,))
