"""kill -9 of each process while models of a multi-model endpoint are being loaded: loads go on or begin again, others never notice."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.faults.scene import BUCKET, PYTHON_IMAGE, Asked, Scene, tarball, until
from tests.live import ROLE

pytestmark = [pytest.mark.live, pytest.mark.slow]

MODEL = """
import json, os, time
time.sleep(float(open("/opt/ml/models/" + __file__.split("/")[4] + "/model/seconds").read()))
def model_fn(model_dir):
    return open(os.path.join(model_dir, "name")).read()
def transform_fn(model, body, content_type, accept):
    ask = json.loads(body)
    if ask.get("do") == "sleep":
        time.sleep(30)
    return json.dumps({"model": model, "pid": os.getpid()})
"""
NAME = "many"


def put(scene: Scene, name: str, seconds: float = 0.0) -> None:
    archive = tarball({"code/inference.py": MODEL, "name": name, "seconds": str(seconds)})
    scene.put(f"many/{name}", archive)


@pytest.fixture(scope="module")
def many(scene: Scene) -> Iterator[Scene]:
    container = {"Image": PYTHON_IMAGE, "Mode": "MultiModel", "ModelDataUrl": f"s3://{BUCKET}/many/"}
    scene.sagemaker.create_model(ModelName=NAME, ExecutionRoleArn=ROLE, PrimaryContainer=container)
    scene.config(NAME, NAME)
    scene.sagemaker.create_endpoint(EndpointName=NAME, EndpointConfigName=NAME)
    scene.in_service(NAME)
    for name in ("quick", "other"):
        put(scene, name)
    yield scene
    scene.delete(NAME)


class AskedModel(Asked):
    """A request for a model in a thread, by a client that tries once (or, `patient`, as often as boto3 does)."""

    def __init__(self, scene: Scene, model: str, patient: bool = False, **body: Any) -> None:
        retries = {"mode": "standard", "total_max_attempts": 10 if patient else 1}
        client = scene.server.client("sagemaker-runtime", read_timeout=70, retries=retries)

        def call() -> dict[str, Any]:
            answer = client.invoke_endpoint(
                EndpointName=NAME, TargetModel=model, ContentType="application/json", Body=json.dumps(body)
            )
            return dict(json.loads(answer["Body"].read()))

        super().__init__(call)

    @property
    def model(self) -> str:
        return str(self.wait().answer.get("model", self.error or self.broken))


def processes(scene: Scene) -> list[int]:
    """The zygote and its models, host pids, the zygote first."""
    found = scene.sandboxed("clary.toolkit.zygote", "/opt/ml/models") or scene.sandboxed("clary.toolkit.zygote")
    pids = {p.pid for p in found}
    return [p.pid for p in sorted(found, key=lambda p: (p.parent in pids, p.pid))]


def loading(scene: Scene) -> bool:
    """Whether a model sleeps while it is loaded (or predicts), and does not wait for its socket."""
    for pid in processes(scene)[1:]:
        try:
            with open(f"/proc/{pid}/wchan") as file:
                if "nanosleep" in file.read():
                    return True
        except FileNotFoundError:
            continue
    return False


def test_a_load_is_held_while_the_control_plane_is_away(many: Scene) -> None:
    put(many, "held")
    assert AskedModel(many, "quick").model == "quick"
    old = many.kill("control")
    asked = [AskedModel(many, "held") for _ in range(4)]
    quick = AskedModel(many, "quick")  # is loaded: it needs no control plane
    assert quick.model == "quick"
    many.back("control", old)
    assert [each.model for each in asked] == ["held"] * 4
    assert len({each.answer["pid"] for each in asked}) == 1


def test_a_load_goes_on_although_the_control_plane_is_killed(many: Scene) -> None:
    put(many, "goes-on", 3)
    asked = AskedModel(many, "goes-on")
    until(lambda: loading(many), 20)
    many.back("control", many.kill("control"))
    assert asked.model == "goes-on"


def test_a_killed_front_finds_the_models_that_are_loaded(many: Scene) -> None:
    put(many, "survives", 3)
    before = AskedModel(many, "quick").wait().answer
    asked = AskedModel(many, "survives", patient=True)
    until(lambda: loading(many), 20)
    many.back("front-0", many.kill("front-0"))
    assert asked.model == "survives"
    assert AskedModel(many, "quick", patient=True).wait().answer == before, "it was not loaded again"


def test_a_killed_model_costs_its_own_requests_only(many: Scene) -> None:
    AskedModel(many, "quick").wait()
    other = AskedModel(many, "other").wait().answer
    known = set(processes(many))
    put(many, "victim")
    assert AskedModel(many, "victim").model == "victim"
    running = AskedModel(many, "victim", do="sleep")
    until(lambda: loading(many), 20)
    (pid,) = set(processes(many)) - known
    os.kill(pid, signal.SIGKILL)
    running.wait(20)
    assert running.error["Error"]["Code"] == "ModelError"
    assert AskedModel(many, "other").wait().answer == other
    assert AskedModel(many, "victim").model == "victim"


def test_a_model_that_is_killed_while_it_is_loaded_is_an_error_of_its_own(many: Scene) -> None:
    other = AskedModel(many, "other").wait().answer
    known = set(processes(many))
    put(many, "unborn", 5)
    asked = AskedModel(many, "unborn")
    until(lambda: loading(many), 20)
    (pid,) = set(processes(many)) - known
    os.kill(pid, signal.SIGKILL)
    asked.wait(20)
    assert asked.error["Error"]["Code"] == "ModelError"
    assert "was ended by SIGKILL" in asked.error["OriginalMessage"]
    assert AskedModel(many, "other").wait().answer == other


def test_a_killed_replica_comes_back_and_loads_what_is_asked_for(many: Scene) -> None:
    put(many, "again", 2)
    asked = AskedModel(many, "again", patient=True)
    until(lambda: loading(many), 20)
    old = processes(many)[0]
    began = time.monotonic()
    os.kill(old, signal.SIGKILL)
    assert asked.model == "again"
    assert time.monotonic() - began < 30
    assert AskedModel(many, "quick", patient=True).model == "quick"
    assert old not in processes(many)
