"""`decode(body, content_type)`: json, csv, npy, npz into numpy."""

from __future__ import annotations

from typing import Any, Union

from clary.toolkit import content


def decode(obj: Union[str, bytes], content_type: str) -> Any:
    """Raises UnsupportedFormat for other types."""
    return content.decode(obj.encode() if isinstance(obj, str) else obj, content_type)
