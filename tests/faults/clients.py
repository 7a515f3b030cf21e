"""Clients that use Clary while it is hurt, and write down what they asked and were answered (`history.py`).

A client is `raw` (one attempt) or boto3 as it comes. Each of its threads works alone, on names of its own.
"""

from __future__ import annotations

import hashlib
import http.client
import itertools
import json
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from tests.faults.history import (
    DEFAULT,
    OK,
    RAW,
    REFUSED,
    UNKNOWN,
    Failed,
    History,
    Issued,
    Listed,
    Read,
    Seen,
    Write,
    Wrong,
)
from tests.faults.scene import BUCKET, PYTHON_IMAGE, Scene
from tests.live import ROLE

CALLS = "chaos-calls"  # a bucket that keeps every version
MODEL, MOVING, QUEUE = "rounds", "moving", "queue"  # endpoints
KEPT = 120  # keys and records of one client that are not deleted yet
EXCUSED = {503, 507, 424}  # Clary, or a part of it, is not there; the disk is full; a worker died with the request
JOB = """
import sys, time
print("begun")
time.sleep(float(sys.argv[2]))
with open("/opt/ml/model/done", "w") as file:
    file.write(sys.argv[1])
print("done")
"""
now = time.monotonic


@dataclass(frozen=True)
class Said:
    """What a request came to."""

    outcome: str
    began: float
    ended: float
    answer: Mapping[str, Any]
    code: str = ""


class Asker:
    """One client, and the history that it adds to."""

    def __init__(self, scene: Scene, history: History, kind: str) -> None:
        retries = {"total_max_attempts": 1} if kind == RAW else {"mode": "legacy"}
        self.kind, self.scene, self.history = kind, scene, history
        self.s3 = scene.server.client("s3", retries=retries)
        self.sagemaker = scene.server.client("sagemaker", retries=retries)
        self.runtime = scene.server.client("sagemaker-runtime", retries=retries)

    def ask(self, action: str, call: Callable[[], Mapping[str, Any]], *refusals: str) -> Said:
        """`refusals`: error codes that are a plain no. Any other error is written down."""
        began = now()
        try:
            answer = call()
            return Said(OK, began, now(), answer)
        except ClientError as error:
            status, code = (
                int(error.response["ResponseMetadata"]["HTTPStatusCode"]),
                str(error.response["Error"]["Code"]),
            )
            if code in refusals:
                return Said(REFUSED, began, now(), error.response, code)
            if status in EXCUSED:
                self.history.add(Failed(self.kind, action, status, began, now()))
            else:
                self.history.add(Wrong(self.kind, action, f"{status} {error}", now()))
            return Said(UNKNOWN, began, now(), error.response, code)
        except (BotoCoreError, OSError, http.client.HTTPException):
            self.history.add(Failed(self.kind, action, 0, began, now()))
            return Said(UNKNOWN, began, now(), {})


def digest(body: bytes) -> str:
    return f"{len(body)}:{hashlib.sha1(body).hexdigest()[:12]}"


class Objects:
    """Puts, overwrites, reads back and deletes objects."""

    def __init__(self, asker: Asker, seed: int) -> None:
        self.asker, self.who = asker, f"s3/{asker.kind}"
        self._chance = random.Random(seed)
        self._number = itertools.count()
        self.keys: deque[str] = deque()

    def turn(self) -> None:
        number = next(self._number)
        if number % 5 == 4:
            self.put(f"{self.who}/register-{number % 3}", number)
        else:
            self.keys.append(self.put(f"{self.who}/{number}", number))
        if len(self.keys) > KEPT:
            self.delete(self.keys.popleft())
        self.read(self._chance.choice(self.keys))

    def put(self, key: str, number: int) -> str:
        body = f"{key} {number} ".encode() * (1 if number % 4 else 6000)
        said = self.asker.ask("PutObject", lambda: dict(self.asker.s3.put_object(Bucket=BUCKET, Key=key, Body=body)))
        self.asker.history.add(Write(key, digest(body), said.began, said.ended, said.outcome))
        return key

    def delete(self, key: str) -> None:
        said = self.asker.ask("DeleteObject", lambda: dict(self.asker.s3.delete_object(Bucket=BUCKET, Key=key)))
        self.asker.history.add(Write(key, None, said.began, said.ended, said.outcome))

    def read(self, key: str) -> None:
        def get() -> dict[str, Any]:
            return {"body": self.asker.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()}

        said = self.asker.ask("GetObject", get, "NoSuchKey")
        if said.outcome != UNKNOWN:
            value = digest(said.answer["body"]) if said.outcome == OK else None
            self.asker.history.add(Read(key, value, said.began, said.ended))

    def last_look(self) -> None:
        """Everything that may be there is read once more, and listed."""
        for key in (*self.keys, *(f"{self.who}/register-{number}" for number in range(3))):
            self.read(key)

        def listing() -> dict[str, Any]:
            pages = self.asker.s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{self.who}/")
            return {"keys": tuple(row["Key"] for page in pages for row in page.get("Contents", ()))}

        said = self.asker.ask("ListObjectsV2", listing)
        if said.outcome == OK:
            self.asker.history.add(Listed(f"{self.who}/", said.answer["keys"], said.began, said.ended))


class Records:
    """Creates endpoint configs, once and (with other content) once more, describes, lists and deletes them."""

    def __init__(self, asker: Asker, seed: int) -> None:
        self.asker, self.who = asker, f"c-{asker.kind}"
        self._chance = random.Random(seed)
        self._number = itertools.count()
        self.names: deque[str] = deque()

    def turn(self) -> None:
        number = next(self._number)
        name = f"{self.who}-{number}"
        self.create(name, 1 + number % 7, first=True)
        self.names.append(name)
        if number % 5 == 0:
            self.create(name, 9, first=False)
        self.describe(self._chance.choice(self.names))
        if len(self.names) > KEPT:
            self.delete(self.names.popleft())
        if number % 50 == 49:
            self.listing()

    def create(self, name: str, count: int, first: bool) -> None:
        row = {"VariantName": "A", "ModelName": MODEL, "InitialInstanceCount": count, "InstanceType": "ml.m5.large"}

        def ask() -> dict[str, Any]:
            return dict(self.asker.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[row]))

        said = self.asker.ask("CreateEndpointConfig", ask, "ValidationException")
        outcome = said.outcome
        if first and outcome == REFUSED:  # a client that asks again may meet what it asked for itself
            self.asker.history.add(Failed(self.asker.kind, "CreateEndpointConfig", 400, said.began, said.ended))
            outcome = UNKNOWN
        self.asker.history.add(Write(f"config/{name}", str(count), said.began, said.ended, outcome, fresh=True))

    def describe(self, name: str) -> None:
        said = self.asker.ask(
            "DescribeEndpointConfig",
            lambda: dict(self.asker.sagemaker.describe_endpoint_config(EndpointConfigName=name)),
            "ValidationException",
        )
        if said.outcome != UNKNOWN:
            found = said.outcome == OK
            value = str(said.answer["ProductionVariants"][0]["InitialInstanceCount"]) if found else None
            self.asker.history.add(Read(f"config/{name}", value, said.began, said.ended))

    def delete(self, name: str) -> None:
        said = self.asker.ask(
            "DeleteEndpointConfig",
            lambda: dict(self.asker.sagemaker.delete_endpoint_config(EndpointConfigName=name)),
            "ValidationException",
        )
        outcome = UNKNOWN if said.outcome == REFUSED else said.outcome  # it may be gone by a first attempt
        self.asker.history.add(Write(f"config/{name}", None, said.began, said.ended, outcome))

    def listing(self) -> None:
        def ask() -> dict[str, Any]:
            pages = self.asker.sagemaker.get_paginator("list_endpoint_configs").paginate(NameContains=f"{self.who}-")
            return {"names": [row["EndpointConfigName"] for page in pages for row in page["EndpointConfigs"]]}

        said = self.asker.ask("ListEndpointConfigs", ask)
        if said.outcome == OK:
            keys = tuple(f"config/{name}" for name in said.answer["names"])
            self.asker.history.add(Listed(f"config/{self.who}-", keys, said.began, said.ended))

    def last_look(self) -> None:
        for name in self.names:
            self.describe(name)
        self.listing()


class Jobs:
    """Training jobs, two at a time, looked at all the while."""

    def __init__(self, asker: Asker, seed: int) -> None:
        self.asker = asker
        self._chance = random.Random(seed)
        self._number = itertools.count()
        self.open: dict[str, str] = {}  # that may be there -> outcome of its creation
        self.ended: dict[str, Mapping[str, Any]] = {}
        uri = asker.scene.put("code/chaos/main.py", JOB.encode()).rpartition("/")[0] + "/"
        source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
        self._channels = [{"ChannelName": "code", "DataSource": {"S3DataSource": source}}]

    def turn(self) -> None:
        if len(self.open) < 2:
            self.create(f"j-{next(self._number)}")
        for name in list(self.open):
            self.look(name)

    def create(self, name: str) -> None:
        seconds = f"{self._chance.uniform(0.2, 2.0):.2f}"
        algorithm = {
            "TrainingImage": PYTHON_IMAGE,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["python3", "-u", "/opt/ml/input/data/code/main.py"],
            "ContainerArguments": [name, seconds],
        }

        def ask() -> dict[str, Any]:
            return dict(
                self.asker.sagemaker.create_training_job(
                    TrainingJobName=name,
                    RoleArn=ROLE,
                    AlgorithmSpecification=algorithm,
                    InputDataConfig=self._channels,
                    OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/output"},
                    StoppingCondition={"MaxRuntimeInSeconds": 600},
                    ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
                )
            )

        said = self.asker.ask("CreateTrainingJob", ask, "ResourceInUse")
        if said.outcome == REFUSED:
            self.asker.history.add(Failed(self.asker.kind, "CreateTrainingJob", 400, said.began, said.ended))
        self.open[name] = OK if said.outcome == OK else UNKNOWN

    def look(self, name: str) -> None:
        said = self.asker.ask(
            "DescribeTrainingJob",
            lambda: dict(self.asker.sagemaker.describe_training_job(TrainingJobName=name)),
            "ValidationException",
            "ResourceNotFound",
        )
        if said.outcome == UNKNOWN:
            return
        if said.outcome == REFUSED:
            if self.open.pop(name) == OK:
                self.asker.history.add(Wrong(self.asker.kind, "DescribeTrainingJob", f"{name} is lost", now()))
            return
        status = str(said.answer["TrainingJobStatus"])
        self.asker.history.add(Seen("job", name, status, now(), str(said.answer.get("FailureReason", ""))))
        if status in ("Completed", "Failed", "Stopped"):
            self.ended[name] = said.answer
            del self.open[name]


class Calls:
    """Asynchronous invocations, each with a number that its answer has to tell."""

    def __init__(self, asker: Asker) -> None:
        self.asker = asker
        self._number = itertools.count()
        self.outcomes: dict[str, str] = {}
        self.places: dict[str, str] = {}  # key of an answer, or of a failure -> call

    def turn(self) -> None:
        call = str(next(self._number))
        body = json.dumps({"number": call})
        said = self.asker.ask(
            "InvokeEndpointAsync",
            lambda: dict(
                self.asker.runtime.invoke_endpoint_async(EndpointName=QUEUE, Body=body, ContentType="application/json")
            ),
        )
        self.outcomes[call] = said.outcome
        if said.outcome == OK:
            self.asker.history.add(Issued("inference", str(said.answer["InferenceId"]), call))
            self.asker.history.add(Issued("output", str(said.answer["OutputLocation"]), call))
            for member in ("OutputLocation", "FailureLocation"):
                self.places[str(said.answer[member]).partition(f"{CALLS}/")[2]] = call


class Changes:
    """Updates an endpoint from one model to another and back, and its count up and down in between."""

    def __init__(self, asker: Asker) -> None:
        self.asker = asker
        self._number = itertools.count()
        self.done = self.taken_back = 0
        self.count = 1

    def turn(self) -> None:
        number = next(self._number)
        config, count = f"{MOVING}-{'ab'[number // 2 % 2]}", 1 + number // 2 % 2
        sagemaker = self.asker.sagemaker
        if number % 2:
            row = {"VariantName": "AllTraffic", "DesiredInstanceCount": count}
            said = self.asker.ask(
                "UpdateEndpointWeightsAndCapacities",
                lambda: dict(
                    sagemaker.update_endpoint_weights_and_capacities(
                        EndpointName=MOVING, DesiredWeightsAndCapacities=[row]
                    )
                ),
                "ValidationException",
            )
        else:
            said = self.asker.ask(
                "UpdateEndpoint",
                lambda: dict(
                    sagemaker.update_endpoint(
                        EndpointName=MOVING, EndpointConfigName=config, RetainAllVariantProperties=True
                    )
                ),
                "ValidationException",
            )
        seen = self.settled()
        if seen is not None and said.outcome == OK:
            self._judge(seen, None if number % 2 else config, count)

    def settled(self, seconds: float = 120.0) -> Mapping[str, Any] | None:
        """Its description when nothing is on its way; None when that is not so in time."""
        until = now() + seconds
        while now() < until:
            said = self.asker.ask(
                "DescribeEndpoint", lambda: dict(self.asker.sagemaker.describe_endpoint(EndpointName=MOVING))
            )
            if said.outcome == OK:
                status, why = str(said.answer["EndpointStatus"]), str(said.answer.get("FailureReason", ""))
                self.asker.history.add(Seen("endpoint", MOVING, status, now(), why))
                if status in ("InService", "OutOfService", "Failed", "UpdateRollbackFailed"):
                    self.count = int(said.answer["ProductionVariants"][0]["DesiredInstanceCount"])
                    return said.answer
            time.sleep(0.3)  # between two looks, as a waiter does: each is a request that the checker judges
        self.asker.history.add(Wrong(self.asker.kind, "DescribeEndpoint", f"not settled in {seconds:g} s", now()))
        return None

    def _judge(self, seen: Mapping[str, Any], config: str | None, count: int) -> None:
        self.done += 1
        if seen.get("FailureReason"):  # taken back, and it says why
            self.taken_back += 1
            return
        found = seen["EndpointConfigName"] if config else seen["ProductionVariants"][0]["DesiredInstanceCount"]
        if found != (config or count):
            what = f"{config or count} was acknowledged, and {found} is there"
            self.asker.history.add(Wrong(self.asker.kind, "UpdateEndpoint", what, now()))


class Predictions:
    """By boto3: each answer has to be that of its own request."""

    def __init__(self, asker: Asker, endpoint: str, versions: tuple[str, ...]) -> None:
        self.asker, self.endpoint, self.versions = asker, endpoint, versions
        self._number = itertools.count()

    def turn(self) -> None:
        text = f"{self.asker.kind} {next(self._number)}"

        def ask() -> dict[str, Any]:
            return self.asker.scene.invoke(self.endpoint, self.asker.runtime, text=text)

        said = self.asker.ask("InvokeEndpoint", ask)
        if said.outcome == OK:
            judge(self.asker.history, self.asker.kind, said.answer, text, self.versions)


def judge(history: History, kind: str, answer: Mapping[str, Any], text: str, versions: tuple[str, ...]) -> None:
    if answer.get("echo") == text and answer.get("version") in versions:
        history.predicted()
    else:
        history.add(Wrong(kind, "InvokeEndpoint", f"{text!r} was answered with {answer}", now()))


class RawPredictions:
    """Over one connection that is kept, without a client's retries; requests are signed beforehand."""

    SIGNED_FOR = 30.0

    def __init__(self, scene: Scene, history: History, number: int) -> None:
        self._scene, self._history, self._number = scene, history, number
        self._path = f"/endpoints/{MODEL}/invocations"
        self._connection: http.client.HTTPConnection | None = None
        self._requests: list[tuple[str, bytes, dict[str, str]]] = []
        self._signed = -self.SIGNED_FOR
        self._turns = itertools.count()

    def turn(self) -> None:
        if now() - self._signed > self.SIGNED_FOR:
            self._sign()
        text, body, headers = self._requests[next(self._turns) % len(self._requests)]
        began = now()
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection("127.0.0.1", self._scene.server.settings.port, timeout=70)
            self._connection.request("POST", self._path, body, headers)
            answer = self._connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            self._connection = None
            self._history.add(Failed(RAW, "InvokeEndpoint", 0, began, now()))
            return
        if answer.status == 200:
            judge(self._history, RAW, json.loads(content), text, (MODEL,))
        elif answer.status in EXCUSED:
            self._history.add(Failed(RAW, "InvokeEndpoint", answer.status, began, now()))
        else:
            self._history.add(Wrong(RAW, "InvokeEndpoint", f"{answer.status} {content[:300]!r}", now()))

    def _sign(self) -> None:
        self._requests, self._signed = [], now()
        for place in range(8):
            text = f"connection {self._number}, {place}"
            body = json.dumps({"text": text}).encode()
            host = f"127.0.0.1:{self._scene.server.settings.port}"
            headers = {"Content-Type": "application/json", "Host": host}
            self._requests.append((text, body, {**headers, **self._scene.sign("POST", self._path, body, **headers)}))


class Crowd:
    """All of them, each in a thread, until `stop`."""

    def __init__(self, scene: Scene, history: History, seed: int) -> None:
        raw, default = (
            lambda: Asker(Scene(scene.server), history, RAW),
            lambda: Asker(Scene(scene.server), history, DEFAULT),
        )
        self.objects = [Objects(raw(), seed), Objects(default(), seed + 1)]
        self.records = [Records(raw(), seed + 2), Records(default(), seed + 3)]
        self.jobs, self.calls, self.changes = Jobs(default(), seed + 4), Calls(default()), Changes(raw())
        moving = (f"{MOVING}-a", f"{MOVING}-b")
        turns: list[tuple[Callable[[], None], float]] = [
            *((each.turn, 0.04) for each in self.objects),
            *((each.turn, 0.1) for each in self.records),
            (self.jobs.turn, 0.25),
            (self.calls.turn, 0.5),
            (self.changes.turn, 1.0),
            (Predictions(default(), MODEL, (MODEL,)).turn, 0.05),
            (Predictions(default(), MOVING, moving).turn, 0.1),
            *((RawPredictions(scene, history, number).turn, 0.02) for number in range(3)),
        ]
        self._stop = threading.Event()
        self.broken: list[BaseException] = []
        self._threads = [threading.Thread(target=self._keep, args=(turn, pause), daemon=True) for turn, pause in turns]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(150)
            if thread.is_alive():
                raise AssertionError("a client was never answered")
        if self.broken:
            raise self.broken[0]

    def _keep(self, turn: Callable[[], None], pause: float) -> None:
        try:
            while not self._stop.is_set():
                turn()
                self._stop.wait(pause)
        except BaseException as error:  # told by `stop`, in the thread that waits
            self.broken.append(error)
            raise
