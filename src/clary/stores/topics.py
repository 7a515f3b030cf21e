"""The `Topics` port over the record store: a published message is a record for each subscription."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from clary.domain.endpoints import topics
from clary.domain.errors import AlreadyExists, Invalid, NotFound
from clary.domain.resources import Query, Record, Scope
from clary.pages import everything
from clary.ports import Store

PAGE = 500


class StoredTopics:
    """See `ports.Topics`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def publish(
        self,
        topic: str,
        message: str,
        now: float,
        *,
        account: str,
        id_: str,
        subject: str = "",
        attributes: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
    ) -> int:
        scope, name, subscription = topics.parse_arn(topic)
        found = None
        if scope.account == account and not subscription:
            found = await self._store.get(topics.TOPIC, scope, name)
        if found is None:
            raise NotFound(f"Topic does not exist: {topic}")
        if len(message.encode()) > topics.LONGEST_MESSAGE:
            raise Invalid(f"Invalid parameter: Message too long: at most {topics.LONGEST_MESSAGE} bytes")
        wanted = await self._subscriptions(scope, found.arn)
        for record in topics.deliveries(found, wanted, message, now, id_, subject, dict(attributes)):
            try:
                await self._store.add(record)
            except AlreadyExists:
                continue  # the same message, published again after a crash
        return len(wanted)

    async def _subscriptions(self, scope: Scope, topic: str) -> list[Record]:
        query = Query(topics.SUBSCRIPTION, scope, where={"topic": topic}, sort_by="name", descending=False, limit=PAGE)
        return await everything(self._store, query)
