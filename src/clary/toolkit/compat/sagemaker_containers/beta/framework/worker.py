"""`worker.Response`, which older output functions return."""

from __future__ import annotations

from typing import Any


class Response:
    """A body and its content type (`mimetype`, in older scripts also named `accept`)."""

    def __init__(self, response: Any = None, accept: str = "", status: int = 200, mimetype: str = "", **_: Any) -> None:
        self.response = response
        self.mimetype = mimetype or accept
        self.status = status
