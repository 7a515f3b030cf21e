"""A variant whose workers come with demand and go without it, and that holds requests while nothing serves: serverless endpoints.

Owns the three depths of sleep as far as the front sees them. *Parked*: workers that have nothing to do block on their sockets, and
cost memory only. *Zygote only*: workers that nobody needed for `route.rest` seconds are sent away; a request that waits forks the
first again. *Away*: there is no replica; requests wait, the control plane is told and starts one. Refuses more than
`route.concurrency` requests at once. Does not know HTTP, sockets and who decides that a replica stops.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from time import perf_counter

from clary.domain.endpoints.routes import VariantRoute, VariantView
from clary.serving.answers import ModelErrors
from clary.serving.overload import TurnedAway
from clary.serving.prediction import Prediction
from clary.serving.queue import TELL_AGAIN, Around, CallingVariant
from clary.serving.replicas import Replica

SOON = 0.005  # seconds that a request waits for a busy worker before another one is made
LOOK = 1.0  # seconds between looks at who is idle


class ElasticVariant(CallingVariant):
    """Such a variant."""

    def __init__(self, route: VariantRoute, errors: ModelErrors, around: Around, demand: Callable[[], None]) -> None:
        super().__init__(route, errors, around, demand)
        self._asked = False  # `_grow` is on its way
        self._looking = False  # `_look_for_idle` is
        self._last = perf_counter()  # when somebody last came, or was still here
        self._peak = 0  # most workers busy since `_since`
        self._since = self._last
        self._setups = 0
        self._setup_seconds = 0.0
        self._spilled = 0  # requests that came while all provisioned workers had one
        self._waiting_since = 0.0  # when a request began to wait for a worker to come

    # -- arrivals -----------------------------------------------------------------------------------------------------------------

    def offer(self, prediction: Prediction) -> bool:
        limit = self.route.concurrency
        others = self.open() if limit else 0
        if limit and others >= limit:
            return False
        self._last = perf_counter()
        taken = super().offer(prediction)
        self._spilled += taken and others >= self.route.warm
        return taken

    def open(self) -> int:
        """Requests let in and not answered."""
        replicas = (*self.replicas.values(), *self.leaving)
        return len(self.queue) + sum(len(worker.flight) for replica in replicas for worker in replica.workers)

    def refused(self) -> TurnedAway:
        limit = self.route.concurrency
        if self.hope and limit and self.open() >= limit:
            return TurnedAway(
                429, "ThrottlingException", f"runs {limit} requests at once already, which is its MaxConcurrency"
            )
        return super().refused()

    def look(self) -> None:
        super().look()
        usable = [replica for replica in self.replicas.values() if not replica.draining]
        broken = bool(usable) and all(replica.failure for replica in usable)
        self.hope = self.hope or (self.route.sleeps and not broken)
        for replica in usable:
            if replica.staffed is None:
                replica.staffed = max(1, self.route.warm)
            elif replica.staffed < self.route.warm:
                replica.staff(self.route.warm)
        if broken or (not self.hope and self.queue):
            self.lost(self.empty())
        elif self.queue:
            self._ask(0.0)

    # -- demand -------------------------------------------------------------------------------------------------------------------

    def pump(self, late: bool = False) -> None:
        super().pump(late)
        busy = sum(replica.busy for replica in self.replicas.values())
        if busy > self._peak:
            self._peak = busy
        if self.queue and not self.holding:  # what is held has a worker, and goes to it in a moment
            if not self._waiting_since:
                self._waiting_since = perf_counter()
            self._ask(SOON if busy else 0.0)
        elif self._waiting_since:
            if busy:
                self._setups += 1
                self._setup_seconds += perf_counter() - self._waiting_since
            self._waiting_since = 0.0
        if not self._looking:
            self._looking = True
            self.around.later(LOOK, self._look_for_idle)

    def send_ahead(self) -> None:
        """Only once nobody else can come: until then a request that waits gets a worker of its own, however quick the others were."""
        if self.route.concurrency <= sum(len(replica.workers) for replica in self.replicas.values()):
            super().send_ahead()

    def _ask(self, seconds: float) -> None:
        if not self._asked:
            self._asked = True
            self.around.later(seconds, self._grow)

    def _grow(self) -> None:
        """Somebody waits: another worker, or, where there is no replica, a call for one."""
        self._asked = False
        if not self.queue:
            return
        replica = next((r for r in self.replicas.values() if r.loaded and not r.draining and not r.failure), None)
        if replica is not None:
            self._hire(replica)
        else:
            self.call()
        self._ask(TELL_AGAIN if replica is None else SOON)

    def _hire(self, replica: Replica) -> None:
        coming = (replica.staffed or 0) - len(replica.workers)
        if coming > 0:
            return  # those are forked right now: they may be enough
        needed = -(-len(self.queue) // replica.batch)
        most = self.route.concurrency or replica.allowed
        wanted = min(most, len(replica.workers) + needed)
        if wanted > (replica.staffed or 0):
            replica.staff(wanted)

    # -- rest ---------------------------------------------------------------------------------------------------------------------

    def _look_for_idle(self) -> None:
        """Each `rest` seconds: keep as many workers as were busy at once in that time, none if there was no request."""
        now = perf_counter()
        busy = self.busy() or bool(self.queue)
        if busy:
            self._last = now
        if now - self._since >= self.route.rest:
            keep = max(self.route.warm, self._peak)
            for replica in self.replicas.values():
                if replica.loaded and (replica.staffed or 0) > keep:
                    replica.staff(keep)
            self._since, self._peak = now, sum(replica.busy for replica in self.replicas.values())
        staffed = any((replica.staffed or 0) > self.route.warm for replica in self.replicas.values())
        self._looking = busy or staffed
        if self._looking:
            self.around.later(LOOK, self._look_for_idle)

    def model_counts(self) -> tuple[tuple[str, float], ...]:
        return ("setups", float(self._setups)), ("setup", self._setup_seconds), ("spilled", float(self._spilled))

    def view(self) -> VariantView:
        seen = super().view()
        resting = not seen.queued and not seen.in_flight
        return replace(
            seen,
            idle=perf_counter() - self._last if resting else 0.0,
            setups=self._setups,
            setup_seconds=self._setup_seconds,
        )
