"""What only a `Single` asks of its variant: requests of sessions, and answers in pieces.

Owns who gets such a request (the worker that holds its session, or any idle one) and what its answer does. Does not know plain
predictions (`queue.py`), the table of sessions (`sessions.py`) and the events of a stream (`streams.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from clary.serving.answers import stream_head
from clary.serving.prediction import Prediction, Single
from clary.serving.replicas import Replica
from clary.serving.streams import BROKEN, Stream
from clary.serving.workers import Worker
from clary.toolkit import frames

if TYPE_CHECKING:
    from clary.serving.queue import Variant

OWN_MOST = 64  # requests of sessions that wait for one worker


class Singles:
    """The single predictions of one variant."""

    def __init__(
        self,
        variant: Variant,
        request_id: Callable[[], bytes],
        later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self._variant = variant
        self._request_id = request_id
        self._later = later

    def seat(self, replica: str, pid: int) -> Worker | None:
        """The worker of that pid, if it is there and takes requests."""
        known = self._variant.replicas.get(replica)
        if known is None or known.draining:
            return None
        return next((w for w in known.workers if w.pid == pid and not (w.dying or w.dismissed)), None)

    def offer_to(self, worker: Worker, prediction: Single) -> bool:
        """Take in a request that no other worker can answer; False when enough wait for this one."""
        if worker.flight:
            if not worker.wait_for(prediction, OWN_MOST, self._variant.route.queue_bytes):
                return False
            self._variant.arrived(prediction)
            self._variant.watch()
        else:
            self._variant.arrived(prediction)
            self._variant.watch()
            worker.replica.take(worker)
            worker.give_single(prediction, True)
        return True

    def give(self, prediction: Single, replica: Replica) -> None:
        """To a worker of this replica; a session that begins stays where it is sent, so it goes where the fewest were begun."""
        if prediction.session:
            worker = min(
                (w for r in self._variant.replicas.values() if r.spare() for w in r.idle), key=lambda w: w.seated
            )
            worker.seated += 1
            worker.replica.take(worker)
        else:
            worker = replica.take_idle()
        worker.give_single(prediction, self._variant.passage is None)

    def finish(self, prediction: Prediction, status: int, meta: bytes, body: bytes, now: float) -> bool:
        """What only a `Single` asks of an answer; whether it is answered by that."""
        assert isinstance(prediction, Single)
        if not 200 <= status < 300 or self._variant.passage is not None:
            return False
        self._hear(prediction, meta)
        if not isinstance(prediction, Stream):
            return False
        self._open(prediction, meta)
        if body:
            prediction.part(body, now)
        prediction.finish()
        self._variant.counters.record(now - prediction.arrived, now - prediction.sent, prediction.spent)
        return True

    def begin(self, prediction: Stream, meta: bytes) -> None:
        """The model answers in pieces, and the first one is made."""
        self._hear(prediction, meta)
        self._open(prediction, meta)

    def _hear(self, prediction: Single, meta: bytes) -> None:
        if prediction.heard is not None and prediction.worker is not None and self._variant.route.entry:
            prediction.heard((self._variant.route.key, *prediction.worker.place), meta)

    def _open(self, prediction: Stream, meta: bytes) -> None:
        head = b"%b%b\r\n\r\n" % (stream_head(self._variant.route.name, meta), self._request_id())
        prediction.begin(head, self._variant.route.container, self._variant.route.timeout, self._later)

    def end(self, prediction: Stream, how: int, data: bytes, now: float) -> None:
        """The model made its last piece, or broke, or stopped as it was told."""
        if prediction.done:
            return
        counters = self._variant.counters
        if how == frames.LAST:
            if data:
                prediction.part(data, now)
            prediction.finish()
        else:
            counters.errors_5xx += 1
            counters.model_errors += 1
            prediction.break_off("StreamBroken", BROKEN.format(reason=data.decode("utf-8", "replace")))
        counters.record(now - prediction.arrived, now - prediction.sent, prediction.spent)

    def stranded(self, predictions: Iterable[Single]) -> None:
        """The worker that held their sessions is gone."""
        for prediction in predictions:
            self._variant.counters.failed(400, model=False)
            prediction.settle(self._variant.errors.no_session(prediction.session, self._request_id()), False)
