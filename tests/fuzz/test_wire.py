"""The fuzzer over the wire: 20 s of it here, as long as wanted by `scripts/test --fuzz SECONDS [SEED [NUMBER]]`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from tests.faults.scene import Scene
from tests.fuzz.corpus import BUCKET, ENDPOINT, samples
from tests.fuzz.drive import Fuzzer, Target
from tests.live import Server

GOOD = (
    "sts.GetCallerIdentity/query",
    "s3.list_buckets",
    "sagemaker.DescribeEndpoint/json",
    "sagemaker-runtime.InvokeEndpoint/rest-json",
)


def resident(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * 4096


@pytest.fixture(scope="module")
def target(start: Callable[..., Server]) -> Target:
    """A Clary with a bucket and an endpoint in service."""
    server = start(hold_describes=False)
    scene = Scene(server)
    scene.s3.create_bucket(Bucket=BUCKET)
    scene.deploy(ENDPOINT)
    server.client("sagemaker-featurestore-runtime").batch_get_record(
        Identifiers=[{"FeatureGroupName": "none", "RecordIdentifiersValueAsString": ["1"]}]
    )  # starts the process that starts on demand, so that it is among those that must stay
    known = {sample.name: sample for sample in reversed(samples())}

    def pids() -> dict[str, int]:
        return {name: int(row["pid"]) for name, row in scene.pids().items()}

    return Target(
        int(server.settings.port),
        server.key.access_key_id,
        server.key.secret,
        pids,
        resident,
        tuple(known[name] for name in GOOD),
    )


@pytest.mark.live
@pytest.mark.slow
def test_every_door_withstands_requests_that_are_nearly_good(target: Target, request: pytest.FixtureRequest) -> None:
    seconds, seed, only = (
        request.config.getoption("--fuzz"),
        request.config.getoption("--fuzz-seed"),
        request.config.getoption("--fuzz-only"),
    )
    fuzzer = Fuzzer(target, seed)
    asyncio.run(fuzzer.run(seconds, only))
    print(fuzzer.report())
    assert not fuzzer.faults, fuzzer.report()
    assert only is not None or fuzzer.sent >= 200
    assert only is not None or {200, 400, 403} <= fuzzer.answers.keys()
