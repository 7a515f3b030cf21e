"""A variant with instances whose replicas may all go, while it has a latency objective: requests wait then, and one comes.

Owns the hold of requests and the call for a replica. Refuses to know who decides that the last one goes, and when.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from clary.domain.routes import VariantRoute
from clary.serving.answers import ModelErrors
from clary.serving.elastic import TELL_AGAIN, Later
from clary.serving.prediction import Prediction
from clary.serving.queue import Variant


class Sleeper(Variant):
    """`demand` tells the control plane that the variant needs a replica."""

    def __init__(
        self,
        route: VariantRoute,
        errors: ModelErrors,
        request_id: Callable[[], bytes],
        soon: Callable[[Callable[[], None]], object],
        arm: Callable[[Variant], None],
        later: Later,
        demand: Callable[[], None],
    ) -> None:
        super().__init__(route, errors, request_id, soon, arm, later)
        self._demand = demand
        self._told = -TELL_AGAIN
        self._calling = False

    def accept(self, prediction: Prediction) -> None:
        super().accept(prediction)
        if not self.replicas:
            self._call()

    def look(self) -> None:
        super().look()
        if self.hope or not self.route.sleeps:
            return
        self.hope = not any(replica.failure for replica in self.replicas.values() if not replica.draining)
        if self.queue:
            self._call()

    def _call(self) -> None:
        """Somebody waits and nothing serves: say so, again and again until something does."""
        if self._calling or not self.queue:
            return
        now = perf_counter()
        if now - self._told >= TELL_AGAIN:
            self._told = now
            self._demand()
        self._calling = True
        self._later(TELL_AGAIN, self._call_again)

    def _call_again(self) -> None:
        self._calling = False
        if not any(not replica.draining for replica in self.replicas.values()):
            self._call()
