"""Predictions of asynchronous endpoints, for the loop that works off their queues. Protocol and its values; the conformance class is
in `clary.testing`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Asked:
    """One prediction for an asynchronous endpoint. `id` names the attempt: the same id joins a prediction that runs already, or gets
    its answer. `timeout` in seconds."""

    account: str
    region: str
    endpoint: str
    id: str
    timeout: float
    content_type: str = ""
    accept: str = ""
    attributes: str = ""
    inference: str = ""


@dataclass(frozen=True, slots=True)
class Predicted:
    """What came of it. `status` 200: the file has `size` bytes of `content_type`. Else `code` is AWS's error, `message` what a client
    would have read, `original` the model's own words."""

    status: int
    content_type: str = ""
    variant: str = ""
    size: int = 0
    code: str = ""
    message: str = ""
    original: str = ""


class Predictor(Protocol):
    """Predictions of asynchronous endpoints, for the loop that works off their queues."""

    async def predict(self, asked: Asked, source: str, target: str) -> Predicted:
        """Have the file `source` predicted; a good answer's body is in the file `target`. Unavailable: the endpoint's home front is
        away, has no replica, or went away before it answered; the same `id` may be sent again."""
        ...
