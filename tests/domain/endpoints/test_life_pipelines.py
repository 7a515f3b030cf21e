"""Endpoints whose model has several containers: what their parts do together, as `endpoints.decide` has it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.domain.endpoints.test_life import World

from clary.domain.endpoints.commands import SeenEndpoint, StartReplica, StopReplica
from clary.domain.endpoints.fleets import Fleet, new_fleet
from clary.domain.endpoints.life import asked_capacity, asked_update, retained
from clary.domain.endpoints.routes import EndpointView, VariantView
from clary.domain.models.containers import Container


def pipeline(
    name: str = "f1", count: int = 1, direct: bool = False, timeouts: tuple[str, ...] = ("30", "120")
) -> Fleet:
    row = {"VariantName": "A", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": count}
    containers = [
        Container(
            "m",
            "xgboost:1",
            f"s3://b/{hostname}.tar.gz",
            environment={"SAGEMAKER_MODEL_SERVER_TIMEOUT": timeout},
            hostname=hostname,
            of=2,
            stage=0 if direct else stage,
            direct=direct,
        )
        for stage, (hostname, timeout) in enumerate(zip(("wash", "predict"), timeouts, strict=True))
    ]
    return new_fleet(name, f"config-{name}", [row], {"m": containers}, 1000.0)


class Pipes(World):
    """A world that also sees what waits, by route key."""

    def __init__(self, first: Fleet) -> None:
        super().__init__(first)
        self.waiting: dict[str, int] = {}

    def seen(self) -> SeenEndpoint:
        seen = super().seen()
        if seen.view is None:
            return seen
        waiting = tuple(VariantView("A", key=key, queued=queued) for key, queued in self.waiting.items())
        return replace(seen, view=replace(seen.view, variants=seen.view.variants + waiting))

    def of_container(self, hostname: str, fleet: str) -> list[str]:
        variants = [v for f in self.plant.fleets if f.id == fleet for v in f.variants]
        return [r.id for v in variants if v.container.hostname == hostname for r in v.replicas]


@pytest.fixture
def world() -> Pipes:
    world = Pipes(pipeline(count=2))
    world.settle()
    return world


def test_every_container_has_its_own_replicas_and_model(world: Pipes) -> None:
    assert world.record.status == "InService"
    starts = world.of(StartReplica)
    assert sorted(c.container.hostname for c in starts) == ["predict", "predict", "wash", "wash"]
    assert len({c.id for c in starts}) == 4
    assert {c.container.artifact for c in starts} == {"s3://b/wash.tar.gz", "s3://b/predict.tar.gz"}


def test_the_route_leads_from_container_to_container(world: Pipes) -> None:
    assert world.route is not None
    first, second = world.route.variants
    assert (first.key, first.container, first.entry, first.then) == ("A/wash@f1", "wash", True, second.key)
    assert (second.key, second.container, second.entry, second.then) == ("A/predict@f1", "predict", False, "")
    assert first.timeout == second.timeout == 120.0, "one deadline for the whole"


def test_the_route_of_direct_containers_leads_nowhere() -> None:
    world = Pipes(pipeline(direct=True))
    world.settle()
    assert world.route is not None
    assert [(v.container, v.entry, v.direct, v.then, v.timeout) for v in world.route.variants] == [
        ("wash", True, True, "", 30.0),
        ("predict", True, True, "", 120.0),
    ]


def test_an_endpoint_fails_with_the_container_that_did_not_come_up() -> None:
    world = Pipes(pipeline())
    inner = world.run

    def run(command: Any) -> Any:
        if isinstance(command, StartReplica):
            world.broken["A"] = "traceback" if command.container.hostname == "predict" else ""
        return inner(command)

    world.run = run  # type: ignore[method-assign]
    world.settle()
    assert world.record.status == "Failed"
    assert world.plant.failure.startswith(
        "The predict container for production variant A did not pass the ping health check."
    )
    assert "/predict in /aws/sagemaker/Endpoints/e" in world.plant.failure


def test_a_variant_without_one_of_its_containers_serves_nobody(world: Pipes) -> None:
    world.broken["A"] = "exit"
    for id_ in world.of_container("predict", "f1"):
        world.end(id_, exit_code=1)
    for _ in range(20):
        world.now += 5
        world.turn()
    assert world.record.status == "OutOfService"


def test_later_containers_work_on_until_what_their_fleet_began_is_done(world: Pipes) -> None:
    wash, predict = world.of_container("wash", "f1"), world.of_container("predict", "f1")
    world.views[wash[0]] = replace(world.views[wash[0]], in_flight=1)
    world.record = asked_update(world.record, pipeline("f2", timeouts=("30", "121")), {}, world.now)
    world.settle()

    def taking() -> set[str]:
        assert world.route is not None
        return {r.id for v in world.route.variants if v.fleet == "config-f1" for r in v.replicas if not r.draining}

    assert taking() == set(predict), "the request in the first container will want the second"
    world.views[wash[0]] = replace(world.views[wash[0]], in_flight=0)
    world.waiting["A/predict@f1"] = 1
    world.settle()
    assert {c.id for c in world.of(StopReplica)} == set(wash)
    assert taking() == set(predict)
    world.waiting.clear()
    world.settle()
    assert {c.id for c in world.of(StopReplica)} == {*wash, *predict}
    assert world.record.status == "InService"


def test_counts_and_weights_are_of_the_whole_variant(world: Pipes) -> None:
    world.record = asked_capacity(
        world.record, [{"VariantName": "A", "DesiredInstanceCount": 3, "DesiredWeight": 0.5}], world.now
    )
    world.settle()
    assert len(world.ready()) == 6
    assert world.route is not None
    assert [v.weight for v in world.route.variants] == [0.5, 0.5]
    assert world.plant.serving is not None
    kept = retained(pipeline("f2"), world.plant.serving, ())
    assert [(v.count, v.weight) for v in kept.variants] == [(3, 0.5), (3, 0.5)]


def test_a_view_of_another_variant_does_not_count() -> None:
    seen = SeenEndpoint(view=EndpointView("", "", "e", 1, (VariantView("A", key="A@1", queued=3),)))
    assert (seen.queued("A@1"), seen.queued("A@2"), SeenEndpoint().queued("A@1")) == (3, 0, 0)


CANARY = {
    "BlueGreenUpdatePolicy": {
        "TrafficRoutingConfiguration": {
            "Type": "CANARY",
            "WaitIntervalInSeconds": 5,
            "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 50},
        }
    }
}
ROLLING = {
    "RollingUpdatePolicy": {
        "MaximumBatchSize": {"Type": "INSTANCE_COUNT", "Value": 1},
        "WaitIntervalInSeconds": 5,
    }
}


@pytest.mark.parametrize("config", [{}, CANARY, ROLLING], ids=["at once", "canary", "rolling"])
def test_at_every_step_of_a_rollout_what_a_first_container_holds_finds_a_second(config: dict[str, Any]) -> None:
    world = Pipes(pipeline(count=2))
    world.settle()
    world.record = asked_update(world.record, pipeline("f2", count=2), config, world.now)
    for _ in range(300):
        world.turn()
        world.now += 0.5
        assert world.route is not None
        for fleet in ("f1", "f2"):
            first, second = (
                [v for v in world.route.variants if v.key == f"A/{name}@{fleet}"] for name in ("wash", "predict")
            )
            if any(r.id in world.views for v in first for r in v.replicas if v.share or r.draining):
                assert any(not r.draining for v in second for r in v.replicas), fleet
        if world.record.status == "InService":
            break
    assert world.record.status == "InService"
    assert world.plant.serving is not None
    assert world.plant.serving.id == "f2"
