"""What a replica's processes are told, and what they find in their sandbox, when the model's code is a server of its own."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from clary.domain.endpoints.commands import StartReplica
from clary.domain.machine.addresses import Address
from clary.domain.machine.capacity import Fit
from clary.domain.machine.workload import Environment, Files, Workload
from clary.domain.models.containers import Container
from clary.domain.resources import Record, Scope
from clary.loops.endpoints import replica_places
from clary.loops.endpoints.replica_places import ServingSettings
from clary.ports import Runtime
from clary.testing.runtimes import PYTHON

SETTINGS = ServingSettings(lambda name: 0, "http://127.0.0.1:1")
FRONT = Address("unix", "/run/clary/front-0.sock")
RECORD = Record("endpoint", Scope("000000000000", "us-east-1"), "e", "arn", "Creating", 0.0, 0.0, {})
FILES = Files("spec", "/opt/clary/spec")
FIT = Fit(cpu=2.0, memory=1 << 30, gpus=0)


def start(isolated: bool = False, **prepared: Any) -> StartReplica:
    said = {
        "model": "k/out/model",
        "code": "",
        "code_dir": "/opt/ml/model/code",
        "program": "serve",
        **prepared,
    }
    container = Container("m", "python", isolated=isolated)
    return StartReplica("r-1", "secret", "e", "v", container, said, "ml.m5.large", 16, 60.0)


def spec(command: StartReplica) -> Any:
    return json.loads(replica_places.replica_spec(command, FRONT, PYTHON, FIT)).get("server")


def mounts(command: StartReplica) -> dict[str, str]:
    workload = replica_places.replica_workload(
        command, RECORD, SETTINGS, PYTHON, Environment("python", "0"), FIT, FILES, {}
    )
    assert workload.mounts == ()
    return {files.target: files.model for files in workload.files}


@pytest.mark.parametrize("image", ["", "docker.io/own/server:1"])
def test_an_authority_is_a_text_that_a_container_has_too(image: str) -> None:
    settings = dataclasses.replace(SETTINGS, ca_bundle=lambda: "PEM")
    made = replica_places.replica_workload(
        start(image=image), RECORD, settings, PYTHON, Environment("python", "0"), FIT, FILES, {}
    )
    assert made.mounts == ()
    assert {files.name: files.texts for files in made.files}["certificates"] == {"ca.pem": "PEM"}
    assert made.environment["AWS_CA_BUNDLE"] == "/opt/clary/certificates/ca.pem"
    if image:
        assert made.container is not None
        assert "certificates" in made.container.files
        assert made.container.environment["AWS_CA_BUNDLE"] == made.environment["AWS_CA_BUNDLE"]


@pytest.mark.parametrize(("isolated", "port"), [(False, 0), (True, 8080)])
def test_a_server_gets_the_port_that_its_network_allows(isolated: bool, port: int) -> None:
    said = spec(start(isolated, server=["/opt/ml/model/code/serve"]))
    assert (said["command"], said["folder"], said["port"]) == (["/opt/ml/model/code/serve"], "/opt/ml/model/code", port)


def test_a_command_without_code_runs_in_the_models_folder() -> None:
    assert spec(start(server=["/bin/sh", "-c", "x"], code_dir=""))["folder"] == "/opt/ml/model"


def test_a_model_without_a_server_is_told_of_none() -> None:
    assert spec(start()) is None
    assert spec(start(server=[])) is None
    assert "/opt/program" not in mounts(start())


@pytest.mark.parametrize(("code", "source"), [("", "k/model/code"), ("k/out/code", "k/code")])
def test_the_code_is_also_where_examples_of_own_containers_look(code: str, source: str) -> None:
    assert mounts(start(server=["x"], code=code))["/opt/program"] == source


XGBOOST = dataclasses.replace(PYTHON, framework="xgboost", algorithm="xgboost")


@pytest.mark.parametrize(
    ("prepared", "connects"),
    [({}, False), ({"program": "inference.py"}, True), ({"server": ["x"]}, True), ({"image": "my/own:1"}, True)],
)
def test_only_a_built_in_algorithm_opens_no_connection(prepared: dict[str, Any], connects: bool) -> None:
    def connecting(runtime: Runtime) -> bool:
        command = start(**{"program": "", **prepared})
        made = replica_places.replica_workload(
            command, RECORD, SETTINGS, runtime, Environment("python", "0"), FIT, FILES, {}
        )
        return made.connects

    assert connecting(XGBOOST) is connects
    assert connecting(PYTHON)


def container(isolated: bool = False) -> Workload:
    command = dataclasses.replace(
        start(isolated, image="my/own:1", program="", code_dir=""),
        container=Container("m", "my/own:1", environment={"COLOUR": "blue", "PATH": "/mine"}, isolated=isolated),
    )
    keys = {"AWS_ACCESS_KEY_ID": "id"}
    return replica_places.replica_workload(
        command, RECORD, SETTINGS, PYTHON, Environment("python", "0"), FIT, FILES, keys
    )


@pytest.mark.parametrize("isolated", [False, True])
def test_a_real_image_runs_beside_a_sandbox_that_shares_its_network(isolated: bool) -> None:
    workload = container(isolated)
    image = workload.container
    assert image is not None
    assert workload.network, "it is the container's network that the sandbox enters"
    assert image.network is not isolated
    assert (image.image, image.command) == ("my/own:1", ("serve",))
    assert (image.files, image.mounts) == (("model",), ())


def test_a_real_image_sees_what_the_user_gave_and_nothing_of_clarys_own() -> None:
    image = container().container
    assert image is not None
    seen = dict(image.environment)
    assert (seen["COLOUR"], seen["PATH"], seen["AWS_ACCESS_KEY_ID"]) == ("blue", "/mine", "id")
    assert seen["SAGEMAKER_BIND_TO_PORT"] == "8080"
    assert not [name for name in seen if name.startswith("CLARY_") or name == "PYTHONPATH"]


def test_what_passes_its_requests_on_starts_no_server() -> None:
    said = spec(start(image="my/own:1", server=[]))
    assert (said["command"], said["port"]) == ([], 8080)


@pytest.mark.parametrize("said", ["k/out/model", "/old/place/models/k/out/model"])
def test_a_model_is_looked_for_where_the_folder_of_models_is_now(said: str) -> None:
    """A record of an older Clary holds the whole path; the folder may have been moved since."""
    found = mounts(start(model=said, code=said, additional={"more": said}))
    assert found["/opt/ml/model"] == found["/opt/ml/code"] == "k/model"
    assert found["/opt/ml/additional-model-data-sources/more"] == "k/model"
