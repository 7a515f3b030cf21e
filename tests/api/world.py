"""Every handler over the ports in memory: what a client of the whole API would meet, without a wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from clary.api import handlers
from clary.api.call import ApiSettings, Params, Ports
from clary.api.dispatch import answer
from clary.api.errors import translate
from clary.api.functions import FunctionsDoor
from clary.domain.endpoints.topics import Allowed
from clary.domain.errors import ClaryError
from clary.stores.topics import StoredTopics
from clary.testing.clock import FakeClock
from clary.testing.datapoints import MemoryDatapoints
from clary.testing.features import MemoryFeatures
from clary.testing.fronts import MemoryFronts
from clary.testing.functions import MemoryFunctions
from clary.testing.keys import MemoryKeys
from clary.testing.logs import MemoryLogs
from clary.testing.memory_artifacts import MemoryArtifacts
from clary.testing.runtimes import MemoryRuntimes
from clary.testing.store import MemoryStore

ACCOUNT, REGION = "000000000000", "eu-west-1"


def door() -> FunctionsDoor:
    """Functions that answer their events."""
    found = FunctionsDoor()
    found.open(MemoryFunctions())
    return found


class World:
    """`await world("logs", "CreateLogGroup", logGroupName="g")`; `buckets` are what is in the object store."""

    def __init__(
        self, buckets: Mapping[str, Mapping[str, bytes]] | None = None, store: MemoryStore | None = None
    ) -> None:
        handlers.load()
        self.store = store = store or MemoryStore()
        self.ports = Ports(
            store=store,
            artifacts=MemoryArtifacts(buckets, ACCOUNT),
            runtimes=MemoryRuntimes(),
            logs=MemoryLogs(),
            datapoints=MemoryDatapoints(),
            keys=MemoryKeys(),
            fronts=MemoryFronts(),
            clock=FakeClock(),
            topics=StoredTopics(store),
            features=MemoryFeatures(),
            functions=door(),
            settings=ApiSettings(
                page_key=b"k", hold_seconds=0.0, longest_poll=0.0, subscribers=Allowed(("http://127.0.0.1/",))
            ),
        )

    @property
    def now(self) -> float:
        return self.ports.clock.now()

    async def __call__(self, service: str, operation: str, **params: Any) -> Params:
        region, account = params.pop("_region", REGION), params.pop("_account", ACCOUNT)
        return await self.ask(service, operation, params, region, account)

    async def ask(
        self, service: str, operation: str, params: Params, region: str = REGION, account: str = ACCOUNT
    ) -> Params:
        """The same, with the parameters as they are."""
        principal = f"arn:aws:iam::{account}:user/clary"
        return await answer(
            self.ports,
            service,
            operation,
            params,
            account=account,
            region=region,
            principal=principal,
            user_agent="Boto3",
        )

    async def refused(self, service: str, operation: str, **params: Any) -> tuple[str, str]:
        """The code and the message of the error that it answers."""
        with pytest.raises(ClaryError) as caught:
            await self(service, operation, **params)
        return translate(service, operation, caught.value)[:2]
