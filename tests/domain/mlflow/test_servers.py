"""Records of MLflow servers, and what Create and Update take."""

from __future__ import annotations

from typing import Any

import pytest

from clary.domain.errors import IllegalTransition, Invalid
from clary.domain.lifecycle import MlflowFact
from clary.domain.mlflow import servers
from clary.domain.resources import Record, Scope

REQUEST = {"ArtifactStoreUri": "s3://b/runs", "RoleArn": "arn:aws:iam::000000000000:role/r"}


def server(status: str = "Created", **request: Any) -> Record:
    document = servers.document({**REQUEST, **request}, "abc", [], "me")
    arn = "arn:aws:sagemaker:us-east-1:000000000000:mlflow-tracking-server/t"
    return Record(servers.SERVER, Scope("000000000000", "us-east-1"), "t", arn, status, 0.0, 0.0, document)


def test_a_size_gives_more_of_everything_than_the_one_before() -> None:
    sizes = [servers.size_of(server(TrackingServerSize=name)) for name in ("Small", "Medium", "Large")]
    assert [(each.memory, each.cpu, each.workers) for each in sizes] == sorted(
        (each.memory, each.cpu, each.workers) for each in sizes
    )
    assert servers.size_of(server()) == sizes[0]


def test_its_pages_lie_where_no_bucket_does() -> None:
    assert servers.prefix(server()) == "/_mlflow/abc"


@pytest.mark.parametrize(
    ("request_", "registers"),
    [
        ({}, False),
        ({"AutomaticModelRegistration": False}, False),
        ({"AutomaticModelRegistration": True}, True),
        ({"ModelRegistrationMode": "AutoModelRegistrationEnabled"}, True),
        ({"ModelRegistrationMode": "AutoModelRegistrationDisabled"}, False),
    ],
)
def test_which_register_models(request_: dict[str, Any], registers: bool) -> None:
    assert servers.registers(server(**request_)) is registers


@pytest.mark.parametrize("params", [{"ArtifactStoreUri": "/tmp/x"}, {"WeeklyMaintenanceWindowStart": "Sometimes"}])
def test_what_is_refused(params: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        servers.check(params)
    servers.check({**REQUEST, "WeeklyMaintenanceWindowStart": "Sun:23:59"})


def test_one_that_stops_cannot_be_updated() -> None:
    stopping = servers.advanced(server(), MlflowFact.STOP_ASKED, 5.0)
    assert (stopping.status, stopping.modified, stopping.document["since"]) == ("Stopping", 5.0, 5.0)
    with pytest.raises(IllegalTransition):
        servers.advanced(stopping, MlflowFact.UPDATE_ASKED, 6.0)
