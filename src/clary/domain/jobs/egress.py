"""What `clary data fetch` may reach: the setting `egress`, a list of hosts and URL prefixes. Pure.

An entry is a host (`data.example.org`), a host and its subdomains (`*.example.org`), either with a port, or a URL prefix
(`https://data.example.org/public/`). A host alone means https only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from clary.domain.errors import Invalid

PROGRAM = "clary.toolkit.fetch"  # the one that is told of the list
VARIABLE = "CLARY_EGRESS"
_HOST = re.compile(r"(?:\*\.)?[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::\d{1,5})?")


def check_egress(entries: Sequence[str], place: str = "egress") -> None:
    """Invalid for an entry that is neither a host nor a URL prefix."""
    for entry in entries:
        parts = urlsplit(entry)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
        if not (
            _HOST.fullmatch(entry) or (whole and parts.path.endswith("/") and not parts.query and not parts.fragment)
        ):
            raise Invalid(
                f"{place}: {entry!r} is neither a host (data.example.org, *.example.org:8443) nor a URL prefix that ends in / "
                "(https://data.example.org/public/)"
            )
