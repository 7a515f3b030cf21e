"""Target tracking against the clock, in both timings by one table: what is documented in numbers of points holds in points of a minute and
of ten seconds alike. Alarms and scaling are the loops' own, over fakes; only time is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from tests.loops.scaling.test_targets import ARN, DIMENSION, NAME, RESOURCE, SCOPE, House

from clary.domain.alarms.evaluation import document
from clary.domain.alarms.turn import Command as AlarmCommand
from clary.domain.alarms.turn import SeenAlarm as AlarmSeen
from clary.domain.autoscaling import alarms
from clary.domain.autoscaling.activity import Command, SeenTarget
from clary.domain.autoscaling.record import ACTIVE, POLICY, TARGET, new_target
from clary.domain.metrics.datapoints import Datapoint, Series, nothing, single
from clary.domain.resources import Record
from clary.loops.alarms.subject import AlarmPorts, AlarmSubject
from clary.loops.core.loop import Loop
from clary.loops.scaling.targets import ScalingPorts, ScalingSubject

ZERO = 1_800_000_000.0  # the begin of a minute


class Clockwork(House):
    """The house of test_scaling.py, with its alarms and its scaling turned by hand."""

    def __init__(self, timing: str, **config: Any) -> None:
        super().__init__()
        actions: dict[str, Any] = {}
        reader = AlarmSubject(AlarmPorts(self.store, self.datapoints, self.clock, actions))
        self.watching: Loop[AlarmCommand, AlarmSeen] = Loop(reader, self.store, self.clock, "owner")
        self.subject = ScalingSubject(ScalingPorts(self.store, self.clock, reader, timing))
        self.loop: Loop[Command, SeenTarget] = Loop(self.subject, self.store, self.clock, "owner")
        actions["autoscaling"] = self.subject.tell
        self.timing, self.config = timing, config
        self.alarms: list[str] = []

    async def begin(self, low: int, high: int, count: int) -> None:
        await self.add_endpoint(count)
        target = new_target(RESOURCE, DIMENSION, "r") | {"min": low, "max": high}
        await self.store.add(Record(TARGET, SCOPE, NAME, "arn:t", ACTIVE, 0.0, 0.0, target))
        predefined = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
        config = {"TargetValue": 60.0, "PredefinedMetricSpecification": predefined, **self.config}
        request = {
            "PolicyName": "p",
            "PolicyType": "TargetTrackingScaling",
            "TargetTrackingScalingPolicyConfiguration": config,
        }
        made = alarms.requests(request, ARN, "1", self.timing, RESOURCE, DIMENSION)
        policy = {"target": NAME, "request": request, "alarms": [each["AlarmName"] for each in made]}
        await self.store.add(Record(POLICY, SCOPE, f"{NAME}|p", ARN, "", 0.0, 0.0, policy))
        for each in made:
            arn = f"arn:alarm:{each['AlarmName']}"
            state = document(each, [], self.clock.now())
            await self.store.add(Record("alarm", SCOPE, each["AlarmName"], arn, "INSUFFICIENT_DATA", 0.0, 0.0, state))
            self.alarms.append(arn)

    async def count(self) -> int:
        return (await self.asked())[1]

    async def spend(self, seconds: int, rate: float | None) -> None:
        """Seconds with so many requests each (None: nothing is measured); then everybody looks."""
        if rate is not None:
            value = seconds * rate / await self.count()
            series = Series.of("AWS/SageMaker", "InvocationsPerInstance", {"EndpointName": "e", "VariantName": "v"})
            summary = single(value) if value else nothing()
            self.datapoints.put(SCOPE, [Datapoint(series, self.clock.now(), summary, True)])
        self.clock.advance(seconds)
        for _ in range(2):
            for arn in self.alarms:
                await self.watching.turn(arn)
        for _ in range(4):
            await self.loop.turn("arn:t")
            if (await self.asked())[0] == "Updating":
                await self.settle()


@dataclass(frozen=True)
class Case:
    """`load`: (points, requests a minute in all) one after the other; `changes`: (after how many points, capacity)."""

    name: str
    load: Sequence[tuple[int, float | None]]
    changes: Sequence[tuple[int, int]]
    range: tuple[int, int, int] = (1, 10, 1)
    config: tuple[tuple[str, Any], ...] = ()


CASES = (
    Case("three points above the target, and out in proportion", [(4, 150)], [(3, 3)]),
    Case("two points above it are not enough", [(2, 150), (5, 50)], []),
    Case("a point between begins anew", [(2, 150), (1, 50), (2, 150), (1, 50)], []),
    Case("at the target is not above it", [(6, 60)], []),
    Case("never beyond the range", [(4, 6000)], [(3, 10)]),
    Case("fifteen points below nine tenths, and in by one", [(16, 100)], [(15, 3)], (1, 10, 4)),
    Case("above nine tenths nothing is scaled in", [(20, 228)], [], (1, 10, 4)),
    Case("one less would be above the target", [(20, 200)], [], (1, 10, 4)),
    Case("fourteen points are not enough", [(14, 60), (3, 240)], [], (1, 10, 4)),
    Case("idle is a zero: down to the least, five points apart", [(26, 0)], [(15, 3), (20, 2), (25, 1)], (1, 9, 4)),
    Case("a metric that stops changes nothing", [(8, 100), (20, None)], [], (1, 10, 4)),
    Case("a metric that never was changes nothing", [(20, None)], [], (1, 10, 4)),
    Case("no scale-in where it is disabled", [(20, 0)], [], (1, 10, 4), (("DisableScaleIn", True),)),
    Case("a load is answered once, a larger one in the cooldown again", [(5, 150), (5, 400)], [(3, 3), (8, 7)]),
)


@pytest.mark.parametrize("timing", ["fast", "aws"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_the_documented_cases(case: Case, timing: str) -> None:
    point = 60 if timing == "aws" else 10
    house = Clockwork(timing, **dict(case.config))
    await house.begin(*case.range)
    seen: list[tuple[float, int]] = []
    before, second = await house.count(), 0
    for points, rate in case.load:
        for _ in range(points * 10):
            await house.spend(point // 10, None if rate is None else rate / 60)
            second += point // 10
            if (now := await house.count()) != before:
                seen.append((second / point, now))
                before = now
    assert [capacity for _, capacity in seen] == [capacity for _, capacity in case.changes]
    for (at, _), (wanted, _) in zip(seen, case.changes, strict=True):
        if timing == "aws":
            assert at == wanted  # when the point ends
        else:
            assert wanted - 1 < at <= wanted  # or as soon as it is certain
