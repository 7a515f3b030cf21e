"""A multi-model variant: a queue per model, and which replicas each model is loaded in.

Owns the way of a request to the queue of its model, when a model gets a place (the first request for it, or when it is hot), what
those who wait are told when it cannot be loaded, and the limits of all queues together. A `TargetQueue` is a variant of its own with the
copies of one model for replicas, so batches hold requests of one model only. Does not know how a copy is loaded (`copies.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from time import perf_counter

from clary.domain.endpoints.routes import ReplicaRoute, VariantRoute, VariantView
from clary.domain.endpoints.target_models import Placement
from clary.serving import spread
from clary.serving.answers import ModelErrors, error
from clary.serving.copies import ASKING, Copy, Loads, MultiReplica
from clary.serving.prediction import Prediction
from clary.serving.questions import TargetQuestions
from clary.serving.queue import Around, Variant
from clary.serving.replicas import Replica

PATIENCE = 60.0  # seconds a request waits for its model to be loaded (AWS)
BROKEN_SECONDS = 2.0  # a model that could not be loaded is not tried again so soon
MOST_BROKEN = 1000
STAY_SECONDS = 15.0  # a hot model that got no further place does without for so long


class TargetQueue(Variant):
    """The queue of one model. Its `replicas` are copies."""

    def __init__(self, parent: MultiVariant, model: str) -> None:
        self.parent = parent
        self._bytes = 0
        super().__init__(parent.route, parent.errors, parent.around)
        self.counters = parent.counters
        self.most_answer, self.answer_setting = parent.most_answer, parent.answer_setting
        self.model = model
        self.broken = (0.0, 0, "")  # until when, and what every request is told
        self._spread_at = 0.0

    @property
    def queued_bytes(self) -> int:
        return self._bytes

    @queued_bytes.setter
    def queued_bytes(self, value: int) -> None:
        self.parent.queued_bytes += value - self._bytes
        self._bytes = value

    @property
    def asked(self) -> bool:
        return bool(self.queue)

    @property
    def live(self) -> bool:
        """Whether some process serves it."""
        return any(copy.count and copy.usable for copy in self.places)

    @property
    def places(self) -> list[Copy]:
        return [copy for copy in self.replicas.values() if isinstance(copy, Copy)]

    def pump(self, late: bool = False) -> None:
        super().pump(late)
        if self.queue:
            self._place()
        elif not self.route.cached:
            self._unload_idle()
        elif self.parent.short:
            self.parent.relieve()

    def expire(self, now: float) -> bool:
        if not self.live:
            while self.queue and self.queue[0].arrived + PATIENCE <= now:
                self._not_ready(self._next())
        armed = super().expire(now)
        self.held_for = 0  # it was reckoned from the arrivals of all models together
        if self.queue:
            self._place()
        return armed

    # -- places -------------------------------------------------------------------------------------------------------------------

    def _place(self) -> None:
        """Somebody waits: see that the model is loaded somewhere, and somewhere else too when it is hot."""
        places = self.places
        if any(copy.placing for copy in places):
            return
        replicas = self.parent.serving()
        if not self.live:
            chosen = spread.first(self.model, {key: replica.in_flight() for key, replica in replicas.items()})
        else:
            now = perf_counter()
            if now - self.queue[0].arrived < spread.HOT_SECONDS or now < self._spread_at:
                return
            self._spread_at = now + spread.PAUSE_SECONDS
            have = {copy.route.id: copy.count for copy in places}
            chosen = spread.further(self.model, {k: (have.get(k, 0), r.allowed) for k, r in replicas.items()})
        if chosen is not None:
            self._copy(replicas[chosen]).place()

    def _copy(self, replica: MultiReplica) -> Copy:
        copy = replica.copy(self)
        self.replicas[replica.route.id] = copy
        return copy

    def _unload_idle(self) -> None:
        """ModelCacheSetting Disabled: nobody asks for it at the moment, so it goes."""
        for copy in self.places:
            for worker in list(copy.idle):
                copy.unload(worker)

    # -- what copies say ----------------------------------------------------------------------------------------------------------

    def joined(self, copy: Copy) -> None:
        """A process is there (the pump follows)."""
        self.replicas[copy.route.id] = copy
        self.broken = (0.0, 0, "")
        now = perf_counter()
        self.parent.loads.waits += len(self.queue)
        self.parent.loads.waiting += sum(now - prediction.arrived for prediction in self.queue)
        self.look()

    def moved(self, copy: Copy) -> None:
        """A process came or went."""
        if copy.home.copies.get(self.model) is not copy and self.replicas.get(copy.route.id) is copy:
            del self.replicas[copy.route.id]
        if self.queue:
            self.pump()
        self.parent.settle(self)

    def not_placed(self, copy: Copy, placement: Placement) -> None:
        """There is no such object, or it could not be looked for."""
        self._spread_at = perf_counter() + STAY_SECONDS
        status, code = (503, "ServiceUnavailable") if placement.again else (400, "ValidationError")
        for prediction in [] if self.live else self.empty():
            self.counters.failed(status, model=False)
            prediction.settle(error(status, code, placement.refused, self.around.request_id()), False)
        copy.changed()

    def failed(self, copy: Copy, status: int, text: str) -> None:
        """The model could not be loaded: those who wait for it learn why, and so do requests of the next moment."""
        self._spread_at = perf_counter() + STAY_SECONDS
        if not self.live:
            self.broken = (perf_counter() + BROKEN_SECONDS, status, text)
            for prediction in self.empty():
                self.refuse(prediction)
        copy.changed()

    # -- answers ------------------------------------------------------------------------------------------------------------------

    def refuse(self, prediction: Prediction) -> None:
        """The model is broken."""
        _, status, text = self.broken
        self.counters.failed(status)
        said = f"Failed to load model {self.model}: {text}".encode()
        prediction.settle(self.errors.answered(status, said, self.around.request_id()), False)

    def _next(self) -> Prediction:
        prediction = self.queue.popleft()
        self.queued_bytes -= len(prediction.body)
        return prediction

    def time_out(self, prediction: Prediction) -> None:
        if prediction.sent or self.live:
            super().time_out(prediction)
        else:
            self._not_ready(prediction)

    def _not_ready(self, prediction: Prediction) -> None:
        """Its time is up and the model is not loaded; loading goes on."""
        if prediction.done:
            return
        if any(copy.placing == ASKING for copy in self.places):
            self.counters.failed(503, model=False)
            text = "Clary's control plane is restarting, and the model is not loaded yet. Try again."
            prediction.settle(error(503, "ServiceUnavailable", text, self.around.request_id()), False)
            return
        self.counters.failed(429, model=False)
        text = f"Model {self.model} is still being loaded. Try again."
        prediction.settle(error(429, "ModelNotReadyException", text, self.around.request_id()), False)


class MultiVariant(Variant):
    """A variant whose requests each name a model. Requests pass through `targets`; its own queue stays empty."""

    def __init__(
        self,
        route: VariantRoute,
        errors: ModelErrors,
        around: Around,
        endpoint: tuple[str, str, str],
        questions: TargetQuestions,
    ) -> None:
        super().__init__(route, errors, around)
        self.targets: dict[str, TargetQueue] = {}
        self.loads = Loads()
        self._endpoint = endpoint
        self._questions = questions

    def replica(self, route: ReplicaRoute, changed: Callable[[], None]) -> Replica:
        return MultiReplica(route, self, changed, self._endpoint, self.target, self._questions, self.loads)

    def target(self, model: str) -> TargetQueue:
        known = self.targets.get(model)
        if known is None:
            known = self.targets[model] = TargetQueue(self, model)
            known.passage = self.passage
        return known

    def homes(self) -> list[MultiReplica]:
        return [replica for replica in self.replicas.values() if isinstance(replica, MultiReplica)]

    def serving(self) -> dict[str, MultiReplica]:
        """The replicas that models may be loaded in."""
        return {replica.route.id: replica for replica in self.homes() if replica.serves}

    # -- requests -----------------------------------------------------------------------------------------------------------------

    def offer(self, prediction: Prediction) -> bool:
        target = self.targets.get(prediction.model)
        if target is not None and target.full():
            return False
        return super().offer(prediction)

    def accept(self, prediction: Prediction) -> None:
        target = self.target(prediction.model)
        if target.broken[0]:
            if perf_counter() < target.broken[0]:
                target.refuse(prediction)
                return
            target.broken = (0.0, 0, "")
        if target.live:
            self.loads.hits += 1
        else:
            self.loads.misses += 1
        target.accept(prediction)

    def waiting(self) -> int:
        return sum(len(target.queue) for target in self.targets.values())

    def pump(self, late: bool = False) -> None:
        for target in list(self.targets.values()):
            target.route, target.passage = self.route, self.passage
            if target.queue:
                target.pump()

    def settle(self, target: TargetQueue) -> None:
        """Forget a model that nobody asks for and that is loaded nowhere."""
        if target.queue or target.replicas or any(copy.workers for copy in target.leaving):
            return
        remembered = target.broken[0] and len(self.targets) < MOST_BROKEN
        if not remembered and self.targets.get(target.model) is target:
            del self.targets[target.model]

    # -- memory -------------------------------------------------------------------------------------------------------------------

    @property
    def short(self) -> bool:
        """Whether some replica has less memory than its models wait for."""
        return any(replica.short for replica in self.homes())

    def relieve(self) -> None:
        for replica in self.homes():
            replica.relieve()

    # -- changes of the route -----------------------------------------------------------------------------------------------------

    def retire(self, replica: Replica) -> None:
        super().retire(replica)
        if isinstance(replica, MultiReplica):
            for copy in list(replica.copies.values()):
                target = self.targets.get(copy.target.model)
                if target is not None and target.replicas.get(copy.route.id) is copy:
                    del target.replicas[copy.route.id]
                    target.leaving.append(copy)
            self.leaving = [each for each in self.leaving if isinstance(each, MultiReplica) and each.copies]
            self.pump()

    def empty(self) -> list[Prediction]:
        return [prediction for target in list(self.targets.values()) for prediction in target.empty()]

    def busy(self) -> bool:
        return any(target.queue or target.busy() for target in self.targets.values())

    def model_counts(self) -> tuple[tuple[str, float], ...]:
        return self.loads.counts()

    def loaded(self, serving: Iterable[Replica]) -> tuple[float, ...]:
        return tuple(float(replica.loaded_models()) for replica in serving if isinstance(replica, MultiReplica))

    def view(self) -> VariantView:
        homes = self.homes()
        loaded = sum(replica.loaded_models() for replica in homes)
        return replace(
            super().view(),
            queued=self.waiting(),
            in_flight=sum(replica.in_flight() for replica in homes),
            models={**dict(self.model_counts()), "loaded": float(loaded)},
        )
