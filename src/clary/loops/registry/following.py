"""Moves endpoints that follow an alias: `loop.Subject` of model package groups. The group is the parent of the models and configs that are
made for it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Any

from clary.domain import ids
from clary.domain.alarms import evaluation
from clary.domain.decisions import Decision, Unable
from clary.domain.endpoints import life
from clary.domain.errors import ClaryError, Stale, Unavailable
from clary.domain.registry import aliases, following
from clary.domain.registry.following import Follower, Move, Seen
from clary.domain.resources import KINDS, Query, Record
from clary.loops.core.loop import Loop
from clary.pages import pages
from clary.ports import Clock, Operations, Store

log = logging.getLogger(__name__)
GROUP = "model-package-group"


class FollowingSubject:
    """See `domain/registry/following.py`."""

    kind = GROUP
    statuses = ("Completed", "")

    def __init__(self, store: Store, operations: Operations, clock: Clock) -> None:
        self._store = store
        self._operations = operations
        self._clock = clock

    async def observe(self, record: Record) -> Seen:
        held: dict[str, int] = record.document.get("aliases", {})
        if not held and not record.document.get("followed"):
            return Seen()
        followers = [await self._follower(endpoint, alias) for endpoint, alias in await self._endpoints(record)]
        versions = {}
        for number in sorted(set(held.values())):
            package = await self._store.get("model-package", record.scope, f"{record.name}/{number}")
            if package is not None:
                versions[number] = package
        return Seen(tuple(followers), versions)

    async def _endpoints(self, group: Record) -> list[tuple[Record, str]]:
        """All endpoints that follow an alias of the group, by name."""
        found: list[tuple[Record, str]] = []
        query = Query("endpoint", group.scope, sort_by="name", descending=False, limit=200)
        async for page in pages(self._store, query):
            for endpoint in page:
                follows = aliases.follows(endpoint)
                if follows is not None and follows[0].lower() == group.name.lower():
                    found.append((endpoint, follows[1]))
        return found

    async def _follower(self, endpoint: Record, alias: str) -> Follower:
        config = await self._store.get(
            "endpoint-config", endpoint.scope, life.config_of(endpoint, life.plant_of(endpoint))
        )
        models: dict[str, Record] = {}
        request: dict[str, Any] = dict(config.document["request"]) if config is not None else {}
        for row in (*request.get("ProductionVariants", ()), *request.get("ShadowProductionVariants", ())):
            model = await self._store.get("model", endpoint.scope, row.get("ModelName", ""))
            if model is not None:
                models[row["VariantName"]] = model
        guards = [
            following.guard_name(endpoint.name, row["VariantName"]) for row in request.get("ProductionVariants", ())
        ]
        there = [name for name in guards if await self._store.get(evaluation.KIND, endpoint.scope, name) is not None]
        return Follower(endpoint, alias, config, models, tuple(there))

    def decide(self, record: Record, observation: Seen, now: float) -> Decision[Move]:
        return following.decide(record, observation)

    async def run(self, command: Move, record: Record) -> Unable | None:
        """Unable with the API's words. What is only away for now is an exception, and tried again."""
        call = self._operations.call
        try:
            for key, params in command.models:
                await call("sagemaker", "CreateModel", params, parent=record, key=key)
            key = f"follow {command.config}"
            await call("sagemaker", "CreateEndpointConfig", command.request, parent=record, key=key)
            await call("sagemaker", "UpdateEndpoint", command.update, parent=record)
        except (Unavailable, Stale):
            raise
        except ClaryError as error:
            log.warning("%s: endpoint %s stays as it is: %s", record.arn, command.endpoint, error.message)
            return Unable(error.message)
        log.info("%s: endpoint %s moves to version %d", record.arn, command.endpoint, command.version)
        return None

    def absorb(self, record: Record, outcomes: Sequence[tuple[Move, Unable | None]]) -> Record:
        for move, outcome in outcomes:
            record = following.moved(record, move, outcome, self._clock.now())
        return record


def attach(loop: Loop[Move, Seen], store: Store) -> Callable[[], None]:
    """Wake a group when an endpoint that follows it changes, or one of its versions. The way to stop."""

    def changed(record: Record) -> None:
        name = ""
        if record.kind == "endpoint":
            with contextlib.suppress(ClaryError):
                name = (aliases.follows(record) or ("", ""))[0]
        elif record.kind == "model-package":
            name = str(record.document.get("group", ""))
        if name:
            loop.wake(arn_of(record, name))

    return store.watch(changed)


def arn_of(record: Record, group: str) -> str:
    """The ARN of a group in the record's account and region."""
    return ids.arn("sagemaker", record.scope.region, record.scope.account, f"{KINDS[GROUP].tail}/{group}")
