from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

import pytest

from clary.api.call import ApiSettings, Call, Ports
from clary.api.holding import settled, waits
from clary.domain.resources import Record, Scope

RECORD = Record("endpoint", Scope("0", "r"), "e", "arn:e", "Creating", 1.0, 1.0, {})


@pytest.mark.parametrize(
    ("agent", "wanted"),
    [
        ("Boto3/1.42 md/Botocore#1.44.5 ua/2.1 m/b,N,g,Z,B,E cfg/retry-mode#standard", True),
        ("Boto3/1.42 md/Botocore#1.44.5 ua/2.1 m/b,N,g,Z,E cfg/retry-mode#standard", False),
        ("aws-cli/1.46 md/awscrt#0.27 m/B", True),
        ("Boto3/1.42 lib/AWS-SageMaker-Python-SDK#2.257.7", True),
        ("Boto3/1.42 lib/AWS-SageMakerCore#2.27.0", True),
        ("Boto3/1.42", False),
        ("m/Bx,aB", False),
        ("", False),
    ],
)
def test_who_waits(agent: str, wanted: bool) -> None:
    assert waits(agent) is wanted


@pytest.mark.parametrize("hold", [0.0, 0.05])
async def test_the_hold_ends(ports: Ports, hold: float) -> None:
    held = replace(ports, settings=ApiSettings(hold_seconds=hold))
    stored = await held.store.add(RECORD)
    call = Call(held, "sagemaker", "DescribeEndpoint", Scope("0", "r"), "p", user_agent="m/B")
    async with asyncio.timeout(2):
        found = await settled(call, stored, ("Creating",))
    assert found == stored
    assert cast("Any", held.store)._listeners == []


async def test_one_transient_status_after_another_is_one_wait(ports: Ports) -> None:
    stored = await ports.store.add(RECORD)
    call = Call(
        replace(ports, settings=ApiSettings(hold_seconds=10)), "sagemaker", "D", RECORD.scope, "p", user_agent="m/B"
    )
    async with asyncio.timeout(60):
        held = asyncio.create_task(settled(call, stored, ("Creating", "Updating")))
        await asyncio.sleep(0)
        stored = await ports.store.save(replace(stored, status="Updating"))
        assert not (await asyncio.wait({held}, timeout=0.05))[0]
        await ports.store.save(replace(stored, status="InService"))
        found = await held
    assert found is not None
    assert found.status == "InService"
