"""`decode` and `encode`, as in the inference toolkit."""

from __future__ import annotations

from typing import Any, Union

from clary.toolkit import content


def decode(obj: Union[str, bytes], content_type: str) -> Any:
    """json, csv, npy, npz into numpy."""
    return content.decode(obj.encode() if isinstance(obj, str) else obj, content_type)


def encode(array_like: Any, content_type: str) -> Union[str, bytes]:
    """Text for json and csv, bytes for npy."""
    body, chosen = content.encode(array_like, content_type)
    return body.decode() if chosen in content.TEXT else body
