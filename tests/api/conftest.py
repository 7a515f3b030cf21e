from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from clary.api import handlers
from clary.api.call import ApiSettings, Ports
from clary.api.dispatch import answer
from clary.ports import Runtime
from clary.testing.clock import FakeClock
from clary.testing.features import MemoryFeatures
from clary.testing.memory_artifacts import MemoryArtifacts
from clary.testing.store import MemoryStore

ACCOUNT, REGION = "000000000000", "eu-west-1"
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
DIGEST = f"sha256:{'0d' * 32}"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/any"

Ask = Callable[..., Awaitable[dict[str, Any]]]


class Images:
    """Runtimes that know one image; the handlers under test ask nothing else of the port."""

    runtime = Runtime("xgboost", "xgboost", "xgboost", ("sagemaker-xgboost", "xgboost"))

    def resolve(self, image: str) -> Runtime | None:
        return self.runtime if image.rpartition("/")[2].split(":")[0] in self.runtime.repositories else None

    def digest(self, image: str) -> str:
        return DIGEST if self.resolve(image) is not None else ""

    def all(self) -> list[Runtime]:
        return [self.runtime]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def ports(clock: FakeClock) -> Ports:
    handlers.load()
    nothing = cast("Any", None)  # these handlers touch records and objects only
    return Ports(
        store=MemoryStore(),
        artifacts=MemoryArtifacts({"b": {"m.tar.gz": b"1", "small.tar.gz": b"1", "model.tar.gz": b"1"}}, ACCOUNT),
        runtimes=cast("Any", Images()),
        logs=nothing,
        datapoints=nothing,
        keys=nothing,
        fronts=nothing,
        clock=clock,
        topics=nothing,
        features=MemoryFeatures(),
        settings=ApiSettings(page_key=b"k", hold_seconds=5.0),
    )


@pytest.fixture
def ask(ports: Ports) -> Ask:
    """`await ask("CreateModel", ModelName=...)` as the default account; `_account`, `_agent` and `_region` change who asks."""

    async def call(operation: str, **params: Any) -> dict[str, Any]:
        account, agent = params.pop("_account", ACCOUNT), params.pop("_agent", "Boto3/1.42")
        region = params.pop("_region", REGION)
        return await answer(
            ports,
            "sagemaker",
            operation,
            params,
            account=account,
            region=region,
            principal=f"arn:aws:iam::{account}:user/clary",
            user_agent=agent,
        )

    return call


@pytest.fixture
def image() -> str:
    return IMAGE


@pytest.fixture
async def config(ask: Ask) -> str:
    """A model `m` and an endpoint config `c` of one variant."""
    await ask("CreateModel", ModelName="m", PrimaryContainer={"Image": IMAGE, "ModelDataUrl": "s3://b/m.tar.gz"})
    await ask(
        "CreateEndpointConfig",
        EndpointConfigName="c",
        ProductionVariants=[
            {"VariantName": "AllTraffic", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
        ],
    )
    return "c"
