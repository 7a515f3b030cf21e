"""A variant with instances whose replicas may all go, while it has a latency objective: requests wait then, and one comes.

Owns the hold of requests and the call for a replica. Does not know who decides that the last one goes, and when.
"""

from __future__ import annotations

from clary.serving.prediction import Prediction
from clary.serving.queue import TELL_AGAIN, CallingVariant


class Sleeper(CallingVariant):
    """Such a variant."""

    _calling = False

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
        self.call()
        self._calling = True
        self.around.later(TELL_AGAIN, self._call_again)

    def _call_again(self) -> None:
        self._calling = False
        if not any(not replica.draining for replica in self.replicas.values()):
            self._call()
