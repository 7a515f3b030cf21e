"""Which Python replicas run under: the machine's newest for a built-in algorithm's models, Clary's own for a program of the user's."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.live import Server
from tests.sdk.acts import XGBOOST, User, channel, targz, unique

from clary.backends.images import runtimes
from clary.backends.interpreters import Interpreter, newer, own
from clary.backends.runtimes import create
from clary.domain.machine.workload import ENVIRONMENT

pytestmark = [pytest.mark.live, pytest.mark.slow]

ROWS = "".join(f"{n % 2},{n % 2 + n % 7 / 10},{n % 5}\n" for n in range(100))
CODE = """
import sys, xgboost

def model_fn(model_dir):
    return None

def transform_fn(model, body, content_type, accept):
    return "{}.{} {}".format(*sys.version_info[:2], xgboost.__version__)
"""


@pytest.fixture(scope="module")
def python() -> Interpreter:
    found = newer(os.environ["PATH"])
    if found is None:
        pytest.skip("no newer Python than Clary's own is on PATH: there is only one to serve with")
    return found


@pytest.fixture(scope="module")
def artifact(user: User) -> str:
    """Of a job of the built-in algorithm."""
    data = user.put(f"{unique('rows')}/train.csv", ROWS)
    parameters = {"objective": "binary:logistic", "num_round": "5"}
    done = user.train(
        XGBOOST, HyperParameters=parameters, InputDataConfig=[channel("train", data, ContentType="text/csv")]
    )
    uri: str = done["ModelArtifacts"]["S3ModelArtifacts"]
    return uri


def test_a_job_trains_with_the_version_of_clarys_own(user: User, artifact: str) -> None:
    """As the model's file tells it: three small integers of UBJSON."""
    found = re.search(rb"version\[#L.{8}i(.)i(.)i(.)}", user.untar(artifact)["xgboost-model"], re.DOTALL)
    assert found is not None
    [runtime] = [each for each in runtimes() if each.name == "xgboost"]
    assert ".".join(str(part[0]) for part in found.groups()) == runtime.version


def release(python: Interpreter) -> str:
    return "{}.{}".format(*python.release)


def interpreters(user: User, name: str) -> set[str]:
    """The Pythons of the environments that the replicas of an endpoint were started in, as their starts are recorded."""
    found = set()
    for path in user.server.settings.root.rglob("shim/spec.json"):
        spec = json.loads(path.read_text())
        if name in (spec.get("log") or "") and "clary.toolkit.prepare" not in spec["command"]:
            options = (path.parent / "bwrap.args").read_text().split("\0")
            libraries = Path(options[options.index(ENVIRONMENT) - 1]) / "lib"
            found.add(next(libraries.glob("python3.*")).name.removeprefix("python"))
    return found


def test_a_built_in_model_is_served_by_the_newest_python(user: User, artifact: str, python: Interpreter) -> None:
    endpoint = user.endpoint({"ModelName": user.model(XGBOOST, artifact)})
    low, high = (float(user.ask(endpoint, body, ContentType="text/csv")) for body in ("0,2", "1.3,2"))
    assert low < 0.5 < high
    assert interpreters(user, endpoint) == {release(python)}
    user.sm.delete_endpoint(EndpointName=endpoint)


def test_a_program_runs_under_clarys_own(user: User, python: Interpreter) -> None:
    model = user.scripted({"code/inference.py": CODE}, {"SAGEMAKER_PROGRAM": "inference.py"}, XGBOOST)
    endpoint = user.endpoint({"ModelName": model})
    assert user.ask(endpoint, "x", ContentType="text/csv").startswith(f"{release(own())} ".encode())
    assert interpreters(user, endpoint) == {release(own())}
    user.sm.delete_endpoint(EndpointName=endpoint)


def test_without_an_index_the_environment_that_trains_serves(
    start: Callable[..., Server], user: User, artifact: str, python: Interpreter, tmp_path: Path
) -> None:
    """Nothing of the newer environment is there, and nothing can be had."""
    shared, here = user.server.settings.environments_folder, tmp_path / "environments"
    [runtime] = [each for each in runtimes() if each.name == "xgboost"]
    nothing: Any = None
    known = create(str(shared), nothing, environment=dict(os.environ))
    built = known.built(runtime)
    assert built is not None  # it trained the artifact
    folder = known.place(built).path
    here.mkdir(mode=0o700)
    shutil.copytree(folder, here / Path(folder).name, symlinks=True)
    shutil.copy(f"{folder}.json", here)
    nowhere = {"UV_INDEX_URL": "http://127.0.0.1:9/simple", "UV_CACHE_DIR": str(tmp_path / "cache")}
    alone = User(start(nowhere, environments=str(here)))
    endpoint = alone.endpoint({"ModelName": alone.model(XGBOOST, alone.put("model.tar.gz", user.get(artifact)))})
    assert 0 < float(alone.ask(endpoint, "0,2", ContentType="text/csv")) < 0.5
    assert interpreters(alone, endpoint) == {release(own())}
    logged = alone.logs.filter_log_events(
        logGroupName=f"/aws/sagemaker/Endpoints/{endpoint}", logStreamNames=["preparation"]
    )
    assert any("Until Clary starts again, the runtime xgboost serves under" in e["message"] for e in logged["events"])


@pytest.mark.parametrize("program", [False, True])
def test_models_of_a_multi_model_endpoint(user: User, artifact: str, python: Interpreter, program: bool) -> None:
    """The code that an archive brings is the container's where that names a program, and else runs where the algorithm does."""
    prefix = unique("models")
    user.put(f"{prefix}/coded.tar.gz", targz({"code/inference.py": CODE}))
    if not program:
        user.put(f"{prefix}/plain.tar.gz", user.get(artifact))
    given = {"SAGEMAKER_PROGRAM": "inference.py"} if program else {}
    model = user.model(XGBOOST, f"s3://{user.bucket}/{prefix}/", given, Mode="MultiModel")
    endpoint = user.endpoint({"ModelName": model})
    expected = release(own()) if program else release(python)
    assert interpreters(user, endpoint) == {expected}
    assert user.ask(endpoint, "x", TargetModel="coded.tar.gz", ContentType="text/csv").startswith(
        f"{expected} ".encode()
    )
    if not program:
        assert 0 < float(user.ask(endpoint, "0,2", TargetModel="plain.tar.gz", ContentType="text/csv")) < 0.5
    user.sm.delete_endpoint(EndpointName=endpoint)
