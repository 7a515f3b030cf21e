"""The queues of the control plane put together: asynchronous inference, and the topics that tell of it and of alarms."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from clary.app.settings import Settings
from clary.domain.alarms.turn import Act
from clary.domain.endpoints.topics import Allowed
from clary.domain.machine.capacity import Machine
from clary.domain.resources import Record
from clary.loops.alarms.courier import Courier
from clary.loops.alarms.deliveries import DeliverySubject, Send
from clary.loops.asynchronous.backlog import AsyncInference
from clary.loops.asynchronous.invocations import AsyncPorts
from clary.loops.core.loop import Loop
from clary.loops.core.samples import Samples
from clary.ports import Artifacts, Clock, Datapoints, Logs, Store
from clary.serving.predictor import FrontPredictor
from clary.stores.topics import StoredTopics


@dataclass(frozen=True, slots=True)
class World:
    """What the queues are built over."""

    store: Store
    artifacts: Artifacts
    datapoints: Datapoints
    logs: Logs
    clock: Clock


class Queues:
    """`run` answers the work that must not end; `topics` is the port that others publish through. `secret` opens the fronts."""

    def __init__(self, settings: Settings, world: World, secret: str, owner: str, measured: Callable[[], Machine]):
        store, clock = world.store, world.clock
        self.topics = StoredTopics(store)
        self._clock = clock
        self._samples = Samples(world.datapoints)
        sockets = [str(settings.front_http(index)) for index in range(settings.front_count)]
        predictor = FrontPredictor(sockets, secret, clock.now)
        ports = AsyncPorts(store, world.artifacts, predictor, self.topics, self._samples, world.logs, clock)
        folder = settings.root / "async"
        shared = bool(settings.database)
        self._inference = AsyncInference(ports, str(folder / "work"), owner, lambda: measured().cpus, shared)
        self._courier = Courier(
            world.artifacts, Allowed(settings.subscribers), str(folder / "deliveries"), store, clock
        )
        subject = DeliverySubject(self._courier.deliver, clock, self._samples)
        self._deliveries: Loop[Send, None] = Loop(subject, store, clock, owner)

    def run(self) -> tuple[Coroutine[Any, Any, None], ...]:
        return self._inference.run(), self._deliveries.run(), self._samples.run()

    async def tell(self, alarm: Record, act: Act) -> None:
        """An alarm's action: its message to the topic."""
        account = alarm.scope.account
        await self.topics.publish(
            act.action, act.message, self._clock.now(), account=account, id_=act.id, subject=act.subject
        )

    def close(self) -> None:
        self._courier.close()
