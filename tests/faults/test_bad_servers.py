"""A container whose server does all that it should not: behind one endpoint, and as the next version of one that serves (faults.md 42)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError, EventStreamError
from tests.faults.scene import Scene, tarball, until

pytestmark = [pytest.mark.live, pytest.mark.slow]

SERVE = """#!/usr/bin/env python
import http.server, json, os, time
VERSION = open("/opt/ml/model/version").read()

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body=b"", **fields):
        self.send_response(status)
        for name, value in {"Content-Length": len(body), "Content-Type": "application/json", **fields}.items():
            if value is not None:
                self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(503 if VERSION == "sick" else 200)

    def do_POST(self):
        ask = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        do = ask.get("do", "echo")
        if do == "500" or VERSION == "broken":
            return self.answer(500, b"it broke")
        if do == "late":
            time.sleep(6)
        if do == "type":
            return self.answer(200, b"a picture", **{"Content-Type": ask["type"]})
        if do in ("endless", "endless without chunks"):
            chunked = do == "endless"
            self.close_connection = True
            self.answer(200, **{"Content-Length": None, "Transfer-Encoding": "chunked" if chunked else None})
            piece = b"x" * 65536
            try:
                while True:
                    self.wfile.write(b"10000\\r\\n" + piece + b"\\r\\n" if chunked else piece)
                    time.sleep(ask.get("pause", 0))
            except OSError:
                print("hung up on: " + do, flush=True)
            return
        if do in ("short", "nothing", "garbage"):
            self.close_connection = True
            if do == "short":
                self.answer(200, b"only this", **{"Content-Length": 1000})
            if do == "garbage":
                self.wfile.write(b"\\x00\\x01\\x02 not HTTP\\r\\n\\r\\n")
            return
        self.answer(200, json.dumps({"echo": ask.get("text"), "version": VERSION}).encode())

    def log_message(self, *arguments): pass

class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128

Server(("127.0.0.1", int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080"))), Handler).serve_forever()
"""


def model(scene: Scene, name: str, **environment: str) -> None:
    archive = tarball({"version": name, "code/serve": SERVE})
    scene.model(name, archive=archive, Environment={"SAGEMAKER_MODEL_SERVER_TIMEOUT": "3", **environment})


@pytest.fixture(scope="module")
def served(scene: Scene) -> Iterator[str]:
    model(scene, "bad-server")
    scene.config("bad-server", "bad-server")
    scene.sagemaker.create_endpoint(EndpointName="bad-server", EndpointConfigName="bad-server")
    scene.in_service("bad-server")
    yield "bad-server"
    scene.delete("bad-server")


def ask(scene: Scene, name: str, **what: Any) -> tuple[int, str, str]:
    """(status of the container or 200, its content type or our words, the body's beginning)."""
    try:
        answer = scene.runtime.invoke_endpoint(
            EndpointName=name, ContentType="application/json", Accept="application/json", Body=json.dumps(what)
        )
    except ClientError as error:
        told = error.response
        assert told["Error"]["Code"] == "ModelError"
        return int(told["OriginalStatusCode"]), str(told["OriginalMessage"]), ""
    return 200, str(answer.get("ContentType", "")), answer["Body"].read()[:100].decode()


def test_every_way_to_answer_badly_is_that_requests_own(scene: Scene, served: str) -> None:
    with scene.load(served, connections=4, pause=0.01) as load:
        load.more(20)
        assert ask(scene, served, do="500") == (500, "it broke", "")
        began = time.monotonic()
        status, words, _ = ask(scene, served, do="late")
        assert (status, "timed out" in words) == (0, True)
        assert 2.5 < time.monotonic() - began < 5.8
        for kind in (
            "image/png",
            "text/html; charset=utf-8",
            "nonsense",
            "",
        ):  # whatever the client accepts: it is told what came
            assert ask(scene, served, do="type", type=kind)[::2] == (200, "a picture")
        for do in ("endless", "endless without chunks"):
            status, words, _ = ask(scene, served, do=do)
            assert status == 413
            assert f"more than {scene.server.settings.max_answer} bytes" in words
        for do in ("short", "nothing", "garbage"):
            status, words, _ = ask(scene, served, do=do)
            assert (status, words.startswith("The model's own server gave no whole answer")) == (500, True), do
        load.more(100)
    assert load.failed == {}
    assert load.dropped == 0
    assert load.wrong == []
    assert scene.status(served)["EndpointStatus"] == "InService"


def events(scene: Scene, name: str, most: int, **what: Any) -> tuple[int, str]:
    """(bytes of the first `most` pieces, how the stream ended if it did before that)."""
    answer = scene.runtime.invoke_endpoint_with_response_stream(
        EndpointName=name, ContentType="application/json", Body=json.dumps(what)
    )
    got = pieces = 0
    try:
        for event in answer["Body"]:
            got += len(event["PayloadPart"]["Bytes"])
            pieces += 1
            if pieces == most:
                answer["Body"].close()
                return got, "closed"
    except EventStreamError as error:
        return got, str(error)
    return got, "end"


def test_streams_that_never_end_or_end_too_soon(scene: Scene, served: str) -> None:
    got, how = events(scene, served, 5, do="endless", pause=0.05)
    assert (got > 0, how) == (True, "closed")
    group = f"/aws/sagemaker/Endpoints/{served}"

    def told() -> bool:
        found = scene.logs.filter_log_events(logGroupName=group)["events"]
        return any("hung up on: endless" in event["message"] for event in found)

    until(told, 20, "the server hears that nobody reads")
    got, how = events(scene, served, 5, do="short")
    assert got == len("only this")
    assert "ModelStreamError" in how
    assert scene.invoke(served, text="x")["echo"] == "x"


def config(scene: Scene, name: str, **more: Any) -> None:
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": name,
        "InitialInstanceCount": 1,
        "InstanceType": "ml.m5.large",
        "ContainerStartupHealthCheckTimeoutInSeconds": 60,
    }
    scene.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant], **more)


@pytest.mark.waits
def test_a_next_version_that_never_passes_its_ping_takes_nothing_from_the_old_one(scene: Scene, served: str) -> None:
    model(scene, "sick")
    config(scene, "sick")
    with scene.load(served, connections=4, pause=0.2) as load:
        scene.sagemaker.update_endpoint(EndpointName=served, EndpointConfigName="sick")
        scene.in_service(served, 150)
        load.more(50)
    found = scene.status(served)
    assert found["EndpointConfigName"] == "bad-server"
    assert "did not pass the ping health check" in found["FailureReason"]
    assert load.failed == {}
    assert load.dropped == 0
    assert set(load.versions) == {"bad-server"}


def test_a_next_version_that_passes_its_ping_and_fails_every_request_is_taken_back(scene: Scene, served: str) -> None:
    """What the canary was given fails; the old fleet answers all of its own, and everything again afterwards."""
    model(scene, "broken")
    config(scene, "broken", Tags=[{"Key": "clary:rollback-on-regression", "Value": "0.01"}])
    shift = {
        "Type": "CANARY",
        "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 50},
        "WaitIntervalInSeconds": 300,
    }
    blue_green = {"TrafficRoutingConfiguration": shift, "TerminationWaitInSeconds": 0}
    with scene.load(served, connections=4, pause=0.02) as load:
        scene.sagemaker.update_endpoint(
            EndpointName=served,
            EndpointConfigName="broken",
            DeploymentConfig={"BlueGreenUpdatePolicy": blue_green},
        )
        scene.in_service(served, 120)
        before = sum(load.failed.values())
        load.more(100)
        assert sum(load.failed.values()) == before
    assert set(load.failed) == {(424, "ModelError")}
    assert load.dropped == 0
    assert load.wrong == []
    found = scene.status(served)
    assert found["EndpointConfigName"] == "bad-server"
    assert "requests to the new fleet failed" in found["FailureReason"]
