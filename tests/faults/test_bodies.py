"""Bodies that are programs: a pickle, an array of objects, YAML with tags. Ours reads none of them (faults.md 7)."""

from __future__ import annotations

import io
import json
import os
import pickle  # noqa: TID251 - to be refused
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from botocore.exceptions import ClientError
from tests.faults.raw import Wire
from tests.faults.scene import BUCKET, Scene, until

pytestmark = [pytest.mark.live, pytest.mark.slow]

MARK = "/tmp/it-was-run"
# the default reader of the runtime gets the body; the mark would lie in the model's own sandbox
READER = f"""
import os
def model_fn(model_dir): return 1
def predict_fn(data, model): return {{"got": type(data).__name__, "marked": os.path.exists({MARK!r})}}
"""
YAML = {
    "apply": f"!!python/object/apply:os.mkdir ['{MARK}']",
    "new": f"!!python/object/new:os.mkdir ['{MARK}']",
    "module": "!!python/name:os.system",
    "aliases": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "\n".join(f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]" for n in range(9)),
}


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (MARK,)


def array() -> bytes:
    out = io.BytesIO()
    np.save(out, np.array([Evil()], dtype=object), allow_pickle=True)
    return out.getvalue()


PICKLED = ("application/x-pickle", "application/python-pickle", "application/octet-stream", "application/x-npy")
BODIES: dict[str, tuple[str, bytes]] = {
    **{f"pickle as {kind}": (kind, pickle.dumps(Evil())) for kind in (*PICKLED, "application/json", "text/csv")},
    **{f"old pickle as {kind}": (kind, pickle.dumps(Evil(), 0)) for kind in ("text/csv", "application/json")},
    "npy of objects": ("application/x-npy", array()),
    **{
        f"YAML ({name}) as {kind}": (kind, text.encode())
        for name, text in YAML.items()
        for kind in ("application/x-yaml", "application/yaml", "text/yaml", "application/json")
    },
}


@pytest.fixture(scope="module")
def reader(scene: Scene) -> Iterator[str]:
    scene.deploy("bodies", script=READER, Environment={"SAGEMAKER_MODEL_SERVER_WORKERS": "1"})
    yield "bodies"
    scene.delete("bodies")


def test_a_request_body_is_never_run(scene: Scene, reader: str) -> None:
    """Every case is the model's error (a type or a text that its reader does not take) or bytes; none makes the folder."""
    wrong = {}
    for name, (kind, body) in BODIES.items():
        try:
            answer = scene.runtime.invoke_endpoint(EndpointName=reader, ContentType=kind, Body=body)
            got = json.loads(answer["Body"].read())
            if got != {"got": "bytes", "marked": False} and not (kind == "text/csv" and got["got"] == "ndarray"):
                wrong[name] = got
        except ClientError as error:
            if (error.response["Error"]["Code"], error.response["OriginalStatusCode"]) not in (
                ("ModelError", 400),
                ("ModelError", 415),
            ):
                wrong[name] = error.response["Error"]
    assert wrong == {}
    answer = scene.runtime.invoke_endpoint(EndpointName=reader, ContentType="application/json", Body="[1]")
    assert json.loads(answer["Body"].read())["marked"] is False


@pytest.mark.parametrize("kind", ["application/x-pickle", "application/x-yaml", "application/json", "text/plain"])
def test_an_operations_body_is_never_run(scene: Scene, kind: str) -> None:
    """The control plane's operations and the object store's documents: an error in the request's protocol, not one of ours."""
    for body in (pickle.dumps(Evil()), YAML["apply"].encode(), YAML["aliases"].encode()):
        for service, path, target in (
            ("sagemaker", "/", "SageMaker.CreateModel"),
            ("sagemaker", "/", "SageMaker.CreateTrainingJob"),
            ("logs", "/", "Logs_20140328.CreateLogGroup"),
        ):
            headers = {"Content-Type": kind, "X-Amz-Target": target}
            signed = scene.sign("POST", path, body, service, **headers)
            fields = {"Host": f"127.0.0.1:{scene.server.settings.port}", **headers, **signed}
            head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
            with Wire(scene.server.settings.port) as wire:
                wire.send(f"POST {path} HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
                answer = wire.answer()
            assert answer is not None
            assert answer.status == 400, (target, answer)
            assert answer.code, (target, answer)
    assert not os.path.exists(MARK)


def test_a_config_that_is_yaml_with_tags_is_text(scene: Scene) -> None:
    """Hyperparameters and a data channel go to the job as they are, and nothing of ours reads them on the way."""
    code = (
        "import json, os\n"
        "print('GOT', json.load(open('/opt/ml/input/config/hyperparameters.json'))['config'])\n"
        f"print('MARKED', os.path.exists({MARK!r}))\n"
    )
    scene.put("bodies/config.yaml", YAML["apply"].encode())
    channel = {
        "ChannelName": "config",
        "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/bodies/config.yaml"}},
    }
    scene.train("yaml-config", code, HyperParameters={"config": YAML["apply"]}, InputDataConfig=[channel])
    job = scene.ended("yaml-config")
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    until(lambda: "MARKED False" in scene.lines("yaml-config"), 20)
    assert f"GOT {YAML['apply']}" in scene.lines("yaml-config")
    assert not os.path.exists(MARK)
