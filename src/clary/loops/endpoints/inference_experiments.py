"""Runs inference experiments: `loop.Subject`. The experiment is the parent of the configs, and of the endpoint, that it makes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from clary.domain.decisions import Decision, Unable
from clary.domain.endpoints import inference_experiments
from clary.domain.endpoints.inference_experiments import Serve, Served
from clary.domain.errors import ClaryError, Stale, Unavailable
from clary.domain.resources import Record
from clary.loops.core.loop import Loop
from clary.ports import Clock, Operations, Store

log = logging.getLogger(__name__)


class InferenceExperimentSubject:
    """See `domain/endpoints/inference_experiments.py`."""

    kind = inference_experiments.KIND
    statuses = inference_experiments.ACTIVE

    def __init__(self, store: Store, operations: Operations, clock: Clock) -> None:
        self._store = store
        self._operations = operations
        self._clock = clock
        self.by_endpoint: dict[
            tuple[str, str, str], str
        ] = {}  # account, region, endpoint -> ARN of who was looked at last

    async def observe(self, record: Record) -> Served | None:
        name = record.document["request"]["EndpointName"]
        self.by_endpoint[record.scope.account, record.scope.region, name] = record.arn
        endpoint = await self._store.get("endpoint", record.scope, name)
        if endpoint is None:
            return None
        config = await self._store.get("endpoint-config", endpoint.scope, inference_experiments.config_of(endpoint))
        return inference_experiments.served(endpoint, config)

    def decide(self, record: Record, observation: Served | None, now: float) -> Decision[Serve]:
        return inference_experiments.decide(record, observation, now)

    async def run(self, command: Serve, record: Record) -> Unable | None:
        """Unable with the API's words. What is only away for now is an exception, and tried again."""
        call = self._operations.call
        of = {"EndpointName": command.endpoint, "EndpointConfigName": command.config}
        try:
            await call(
                "sagemaker", "CreateEndpointConfig", command.request, parent=record, key=f"config {command.config}"
            )
            if command.new:
                await call("sagemaker", "CreateEndpoint", of, parent=record, key=f"endpoint {command.config}")
            else:
                await call("sagemaker", "UpdateEndpoint", of, parent=record)
        except (Unavailable, Stale):
            raise
        except ClaryError as error:
            log.warning("%s: endpoint %s stays as it is: %s", record.arn, command.endpoint, error.message)
            return Unable(error.message)
        return None

    def absorb(self, record: Record, outcomes: Sequence[tuple[Serve, Unable | None]]) -> Record:
        for command, outcome in outcomes:
            record = inference_experiments.absorbed(record, command, outcome, self._clock.now())
        return record


def attach(subject: InferenceExperimentSubject, loop: Loop[Serve, Served | None], store: Store) -> Callable[[], None]:
    """Wake an experiment when its endpoint changes. The way to stop."""

    def changed(record: Record) -> None:
        if record.kind == "endpoint":
            arn = subject.by_endpoint.get((record.scope.account, record.scope.region, record.name))
            if arn is not None:
                loop.wake(arn)

    return store.watch(changed)
