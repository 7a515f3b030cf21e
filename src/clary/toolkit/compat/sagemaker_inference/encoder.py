"""`encode(array_like, content_type)`: json, csv, npy."""

from __future__ import annotations

from typing import Any, Union

from clary.toolkit import content


def encode(array_like: Any, content_type: str) -> Union[str, bytes]:
    """Text for json and csv, bytes for npy. Raises UnsupportedFormat for other types."""
    body, chosen = content.encode(array_like, content_type)
    return body.decode() if chosen in content.TEXT else body
