from __future__ import annotations

from typing import Any

import pytest

from clary.domain.endpoints.fleets import new_fleet
from clary.domain.models.containers import containers_of
from clary.domain.resources import Record, Scope

IMAGE = "xgboost:1"
ROW = {"VariantName": "A", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 2}


def model(**request: Any) -> Record:
    return Record("model", Scope("0", "r"), "m", "arn:m", "", 0.0, 0.0, {"request": request})


def test_one_container_has_no_name() -> None:
    for request in (
        {"PrimaryContainer": {"Image": IMAGE, "ContainerHostname": "mine"}},
        {"Containers": [{"Image": IMAGE, "ContainerHostname": "mine"}]},
    ):
        [container] = containers_of(model(**request))
        assert (container.hostname, container.label, container.of) == ("", "primary", 1)


def test_containers_of_a_pipeline_are_named_by_their_place() -> None:
    given = [
        {"Image": IMAGE, "Environment": {"A": "1"}},
        {"Image": IMAGE, "ContainerHostname": "mine"},
        {"Image": IMAGE},
    ]
    made = containers_of(model(Containers=given, EnableNetworkIsolation=True, ExecutionRoleArn="arn:r"))
    assert [(c.hostname, c.stage, c.of, c.direct) for c in made] == [
        ("container-1", 0, 3, False),
        ("mine", 1, 3, False),
        ("container-3", 2, 3, False),
    ]
    assert [dict(c.environment) for c in made] == [{"A": "1"}, {}, {}]
    assert all(c.isolated and c.role == "arn:r" for c in made)


@pytest.mark.parametrize("mode", ["Serial", "Direct"])
def test_only_a_serial_pipeline_has_stages(mode: str) -> None:
    given = [{"Image": IMAGE, "ContainerHostname": name} for name in "ab"]
    made = containers_of(model(Containers=given, InferenceExecutionConfig={"Mode": mode}))
    assert [c.stage for c in made] == ([0, 1] if mode == "Serial" else [0, 0])
    assert [c.direct for c in made] == [mode == "Direct"] * 2


def test_a_fleet_has_a_variant_for_each_container() -> None:
    containers = containers_of(model(Containers=[{"Image": IMAGE}, {"Image": IMAGE}]))
    rows = [ROW, {**ROW, "VariantName": "B"}]
    fleet = new_fleet("f", "c", rows, {"m": containers}, 0.0)
    assert [v.key for v in fleet.variants] == ["A/container-1", "A/container-2", "B/container-1", "B/container-2"]
    assert [[v.name for v in group] for group in fleet.groups] == [["A", "A"], ["B", "B"]]
    assert all(v.count == 2 for v in fleet.variants)
