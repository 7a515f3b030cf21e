"""Serial pipelines: what goes from one container of a model to the next, in place of an answer to the client.

Owns the passage: the next request out of an answer, and every reason why there is none. The prediction stays the same one, with its
deadline and all who wait for it. Does not know routes and HTTP. Headers, as on AWS: each container gets the Content-Type that the
one before it answered; the client's Accept is for the last alone, those before it answer in their own default (JSON).
"""

from __future__ import annotations

from collections.abc import Callable, Sized
from typing import Protocol

from clary.domain.endpoints.routes import VariantRoute
from clary.serving.answers import ModelErrors, error
from clary.serving.counters import Counters
from clary.serving.prediction import Prediction
from clary.toolkit import frames

_FIRST: dict[bytes, bytes] = {}


class Stage(Protocol):
    """A container of a pipeline: the variant in front of its replicas (`queue.Variant`)."""

    route: VariantRoute
    errors: ModelErrors
    counters: Counters
    hope: bool

    @property
    def queue(self) -> Sized: ...
    def full(self) -> bool: ...
    def accept(self, prediction: Prediction) -> None: ...


class Passage:
    """From one container to the next. `find` answers the variant of a route's key as it is now."""

    def __init__(
        self, source: Stage, find: Callable[[str], Stage | None], endpoint: str, limit: Callable[[], int]
    ) -> None:
        self._source = source
        self._find = find
        self._endpoint = endpoint
        self._limit = limit

    def refuses(self, prediction: Prediction, size: int, request_id: bytes) -> bool:
        """Whether an answer of so many bytes may not go on; then that is answered."""
        source, limit = self._source, self._limit()
        if size <= limit:
            return False
        source.counters.failed(status=413)
        prediction.settle(source.errors.too_large(size, limit, request_id), True)
        return True

    def go(self, prediction: Prediction, meta: bytes, body: bytes, request_id: bytes) -> None:
        """Queue the prediction at the next container, with this answer as its request; else answer why not."""
        source = self._source
        if self.refuses(prediction, len(body), request_id):
            return
        after = self._find(source.route.then)
        if after is None or not after.hope:
            self._unavailable(prediction, after, "has no healthy replica at the moment", request_id)
        elif after.full():
            waiting = f"has {len(after.queue)} requests waiting already, and takes no more"
            self._unavailable(prediction, after, waiting, request_id)
        else:
            prediction.meta = onward_meta(prediction.origin, meta, last=not after.route.then)
            prediction.body = body
            prediction.sent = 0.0
            after.accept(prediction)

    def _unavailable(self, prediction: Prediction, after: Stage | None, reason: str, request_id: bytes) -> None:
        (after or self._source).counters.failed(model=False)
        name = after.route.container if after is not None else f"after {self._source.route.container}"
        text = f"Container {name} of endpoint {self._endpoint} {reason}. Try again."
        prediction.settle(error(503, "ServiceUnavailable", text, request_id), False)


def first_meta(meta: bytes) -> bytes:
    """A request's meta for the first container of several: without the client's Accept."""
    found = _FIRST.get(meta)
    if found is None:
        content_type, _, headers = frames.decode_request_meta(meta)
        if len(_FIRST) >= 1024:
            _FIRST.clear()
        found = _FIRST[meta] = frames.request_meta(content_type, "", headers.items())
    return found


def onward_meta(origin: bytes, answered: bytes, *, last: bool) -> bytes:
    """The next container's, from the client's own meta (`origin`) and that of the answer before it."""
    _, accept, headers = frames.decode_request_meta(origin)
    content_type, _ = frames.decode_result_meta(answered) if answered else ("", {})
    return frames.request_meta(content_type, accept if last else "", headers.items())
