"""What the tests of faults are played with: a running Clary's processes, a model that does what it is told, jobs, and a steady load.

`Scene` sees Clary from outside only: its state folder, /proc, and the API. Nothing here knows which answer a test wants.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import re
import signal
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError
from tests.live import ROLE, Server

from clary.app import up

BUCKET = "faults"
PYTHON_IMAGE = "236514542706.dkr.ecr.us-east-1.amazonaws.com/sagemaker-base-python:1.0"
ACTOR = """
import json, os, signal, socket, threading, time
LEAK = []
def threads(most, end):
    threading.stack_size(64 << 10)
    for made in range(most):
        try:
            threading.Thread(target=end.wait, daemon=True).start()
        except RuntimeError as error:
            return {"made": made, "error": str(error)}
    return {"made": most, "error": ""}
def model_fn(model_dir):
    return open(os.path.join(model_dir, "version")).read()
def transform_fn(model, body, content_type, accept):
    ask = json.loads(body)
    do = ask.get("do", "echo")
    if do == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if do == "sleep":
        time.sleep(ask["seconds"])
    if do == "spin":
        while True:
            pass
    if do == "leak":
        while True:
            LEAK.append(bytearray(8 << 20))
    if do == "fork":  # each child has threads, which count too: thousands of copies of a worker take long
        made = 0
        try:
            while True:
                if os.fork() == 0:
                    threads(ask["threads"], threading.Event())
                    time.sleep(600)
                made += 1
        except OSError as error:
            return json.dumps({"made": made, "error": str(error)})
    if do == "threads":
        end, before = threading.Event(), threading.active_count()
        made = threads(1 << 20, end)
        end.set()
        while threading.active_count() > before:
            time.sleep(0.01)
        return json.dumps(made)
    if do == "leak a little":
        LEAK.append(b"x" * ask["bytes"])
    if do == "orphan":
        if os.fork() == 0:
            time.sleep(600)
        os.kill(os.getpid(), signal.SIGKILL)
    if do == "python":
        names = {}
        exec(ask["code"], names)
        return json.dumps({"answer": names.get("answer")})
    return json.dumps({"echo": ask.get("text"), "version": model, "pid": os.getpid()})
"""


def until(condition: Callable[[], Any], seconds: float = 30.0, what: str = "") -> Any:
    """The first true answer of `condition`; AssertionError when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what or condition}")
        time.sleep(0.02)
    return found


def tarball(files: Mapping[str, str | bytes]) -> bytes:
    """A .tar.gz of regular files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def fill(folder: Path, leave: int) -> Path:
    """Take the disk's space but for so many bytes."""
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    path = folder / "filler"
    with path.open("wb") as file, contextlib.suppress(OSError):
        os.posix_fallocate(file.fileno(), 0, free - leave) if leave else to_the_brim(file)
    return path


def to_the_brim(file: Any) -> None:
    """Write until nothing more fits."""
    for size in (1 << 20, 4096):
        with contextlib.suppress(OSError):
            while True:
                os.write(file.fileno(), bytes(size))


@dataclass
class Seen:
    """A process of a state folder: host pid, command line, parent."""

    pid: int
    command: str
    parent: int
    mounts: str = ""


def _processes() -> Iterator[Seen]:
    """All processes that are not zombies. `mounts` are the folders that a sandbox has mounted, by their paths on the host."""
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        with contextlib.suppress(OSError):
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                command = file.read().replace(b"\0", b" ").decode(errors="replace").strip()
            with open(f"/proc/{entry}/mountinfo", "rb") as file:
                mounts = "\n".join(line.split()[3].decode(errors="replace") for line in file)
            with open(f"/proc/{entry}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
            if fields[0] != "Z":
                yield Seen(int(entry), command, int(fields[1]), mounts)


def shim_of(seen: Seen, everyone: Mapping[int, Seen]) -> Seen | None:
    """The shim above a process."""
    here: Seen | None = seen
    while here is not None and "clary.backends.shim" not in here.command:
        here = everyone.get(here.parent)
    return here


class Scene:
    """One running Clary."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.s3 = server.client("s3")
        self.sagemaker = server.client("sagemaker")
        # What a restart answers with 503 is asked again, for longer than boto3 does by itself.
        self.patient = server.client("sagemaker", retries={"mode": "standard", "total_max_attempts": 10})
        self.runtime = server.client("sagemaker-runtime", read_timeout=70)
        self.logs = server.client("logs", retries={"mode": "standard", "total_max_attempts": 10})
        with contextlib.suppress(self.s3.exceptions.BucketAlreadyOwnedByYou):
            self.s3.create_bucket(Bucket=BUCKET)

    # -- processes ----------------------------------------------------------------------------------------------------------------

    @property
    def root(self) -> str:
        return str(self.server.settings.root)

    def pids(self) -> dict[str, dict[str, Any]]:
        """Clary's own processes by name, as the supervisor notes them."""
        path = self.server.settings.run / "processes.json"
        return dict(json.loads(path.read_text()))

    def supervisor(self) -> int:
        return int(json.loads((self.server.settings.root / "clary.lock").read_text())["pid"])

    def pid(self, name: str) -> int:
        """Of one of Clary's own processes; waits for it while it is being started again."""
        return int(until(lambda: self.pids().get(name, {}).get("pid"), 20, f"there is a {name}"))

    def kill(self, name: str, number: int = signal.SIGKILL) -> int:
        """Signal one of Clary's own processes."""
        pid = self.pid(name)
        os.kill(pid, number)
        return pid

    def back(self, name: str, old: int, seconds: float = 20.0) -> float:
        """Wait until a successor of that process is ready; how long that took."""
        began = time.monotonic()

        def ready() -> bool:
            with contextlib.suppress(ValueError, KeyError, FileNotFoundError):
                row = self.pids()[name]
                return row["pid"] not in (0, old) and bool(row["ready"])
            return False

        until(ready, seconds, f"{name} is ready again")
        return time.monotonic() - began

    def up_again(self) -> None:
        """Kill `clary up`, which takes its own processes along, and start it as a user would."""
        os.kill(self.supervisor(), signal.SIGKILL)
        own = ("clary.app.", "nginx")
        until(
            lambda: not [p for p in self.everyone().values() if any(o in p.command for o in own)],
            10,
            "all went with it",
        )
        up.detached(self.server.settings)

    def everyone(self) -> dict[int, Seen]:
        """Every process that has to do with this state folder: named on its command line, mounted from it, or a child of such a one."""
        # Whole names of folders: `clary1` is not `clary10`, where another test's Clary may be.
        ours = re.compile(
            "|".join(rf"{re.escape(path)}(?![\w-])" for path in (self.root, str(self.server.settings.run)))
        )
        known = {seen.pid: seen for seen in _processes() if seen.pid != os.getpid()}
        found = {p: s for p, s in known.items() if ours.search(s.command) or ours.search(s.mounts)}
        while more := {p: s for p, s in known.items() if s.parent in found and p not in found}:
            found |= more  # nginx's workers tell no path
        return found

    def sandboxed(self, what: str, where: str = "") -> list[Seen]:
        """Processes in sandboxes whose command line contains `what`, oldest first; `where` is part of a mounted path."""
        found = [p for p in self.everyone().values() if what in p.command and "bwrap" not in p.command.split(" ")[0]]
        return sorted((p for p in found if (where or self.root) in p.mounts), key=lambda p: p.pid)

    def shim(self, what: str, where: str = "") -> int:
        """The one process that looks after the sandbox of `sandboxed(what, where)`."""
        everyone = self.everyone()
        above = (shim_of(seen, everyone) for seen in self.sandboxed(what, where))
        (found,) = {shim.pid for shim in above if shim is not None}
        return found

    # -- models and endpoints -----------------------------------------------------------------------------------------------------

    def put(self, key: str, data: bytes) -> str:
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=data)
        return f"s3://{BUCKET}/{key}"

    def model(self, name: str, script: str = ACTOR, archive: bytes | None = None, **more: Any) -> None:
        """A model of the generic Python runtime; its version is its name."""
        data = tarball({"version": name, "code/inference.py": script}) if archive is None else archive
        environment = more.pop("Environment", {"SAGEMAKER_MODEL_SERVER_WORKERS": "2"})
        container = {
            "Image": PYTHON_IMAGE,
            "ModelDataUrl": self.put(f"models/{name}.tar.gz", data),
            "Environment": environment,
        }
        self.sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container, **more)

    def config(self, name: str, model: str, count: int = 1, kind: str = "ml.m5.large") -> None:
        variant = {
            "VariantName": "AllTraffic",
            "ModelName": model,
            "InitialInstanceCount": count,
            "InstanceType": kind,
        }
        self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])

    def deploy(self, name: str, count: int = 1, wait: bool = True, kind: str = "ml.m5.large", **more: Any) -> None:
        """Model, config and endpoint of one name."""
        self.model(name, **more)
        self.config(name, name, count, kind)
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
        if wait:
            self.in_service(name)

    def status(self, name: str) -> dict[str, Any]:
        return dict(self.patient.describe_endpoint(EndpointName=name))

    def in_service(self, name: str, seconds: float = 120.0) -> None:
        found = self.settled(name, seconds)
        assert found["EndpointStatus"] == "InService", found.get("FailureReason")

    def settled(self, name: str, seconds: float = 120.0) -> dict[str, Any]:
        """The endpoint's description when nothing is on its way any more."""
        found: dict[str, Any] = {}

        def done() -> bool:
            found.update(self.status(name))
            return found["EndpointStatus"] in ("InService", "Failed")

        until(done, seconds, f"endpoint {name} settles")
        return found

    def invoke(self, name: str, client: Any = None, **ask: Any) -> dict[str, Any]:
        answer = (client or self.runtime).invoke_endpoint(
            EndpointName=name, ContentType="application/json", Body=json.dumps(ask)
        )
        return dict(json.loads(answer["Body"].read()))

    def delete(self, name: str) -> None:
        self.patient.delete_endpoint(EndpointName=name)

        def gone() -> bool:
            listed = self.patient.list_endpoints(NameContains=name)["Endpoints"]
            return name not in [row["EndpointName"] for row in listed]

        until(gone, 30, f"endpoint {name} is deleted")
        self.patient.delete_endpoint_config(EndpointConfigName=name)
        self.patient.delete_model(ModelName=name)

    # -- jobs ---------------------------------------------------------------------------------------------------------------------

    def train(self, name: str, code: str, runtime: int = 600, **more: Any) -> None:
        """A training job that runs this Python program, alone."""
        algorithm = {
            "TrainingImage": PYTHON_IMAGE,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["python3", "-u", "/opt/ml/input/data/code/main.py"],
            **more.pop("AlgorithmSpecification", {}),
        }
        uri = self.put(f"code/{name}/main.py", code.encode()).rpartition("/")[0] + "/"
        source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
        channels = [{"ChannelName": "code", "DataSource": {"S3DataSource": source}}, *more.pop("InputDataConfig", [])]
        more.setdefault("ResourceConfig", {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1})
        self.sagemaker.create_training_job(
            TrainingJobName=name,
            RoleArn=ROLE,
            AlgorithmSpecification=algorithm,
            InputDataConfig=channels,
            OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/output"},
            StoppingCondition={"MaxRuntimeInSeconds": runtime},
            **more,
        )

    def job(self, name: str) -> dict[str, Any]:
        return dict(self.patient.describe_training_job(TrainingJobName=name))

    def ended(self, name: str, seconds: float = 120.0) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def done() -> bool:
            found.update(self.job(name))
            return found["TrainingJobStatus"] in ("Completed", "Failed", "Stopped")

        until(done, seconds, f"job {name} ends")
        return found

    def lines(self, job: str) -> list[str]:
        """What a job printed, [] before it began."""
        group = "/aws/sagemaker/TrainingJobs"
        try:
            streams = self.logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{job}/")["logStreams"]
        except self.logs.exceptions.ResourceNotFoundException:
            return []
        found: list[str] = []
        for stream in streams:
            token: dict[str, str] = {}
            while True:
                page = self.logs.get_log_events(
                    logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True, **token
                )
                found += [event["message"] for event in page["events"]]
                if token.get("nextToken") == page["nextForwardToken"]:
                    break
                token = {"nextToken": page["nextForwardToken"]}
        return found

    # -- load ---------------------------------------------------------------------------------------------------------------------

    def sign(self, method: str, path: str, body: bytes, service: str = "sagemaker", **headers: str) -> dict[str, str]:
        """Headers of a signed request to this server."""
        request = AWSRequest(method, self.server.settings.endpoint + path, headers=headers, data=body)
        key = self.server.key
        SigV4Auth(Credentials(key.access_key_id, key.secret), service, "us-east-1").add_auth(request)
        return dict(request.headers.items())

    @contextlib.contextmanager
    def load(self, endpoint: str, connections: int = 64, pause: float = 0.0) -> Iterator[Load]:
        """Predictions over that many connections for as long as the block lasts, `pause` seconds after each answer."""
        running = Load(self, endpoint, connections, pause)
        running.start()
        try:
            yield running
        finally:
            running.stop()


class Asked:
    """A call in a thread, which boto3 makes: its answer, or the error it got."""

    def __init__(self, call: Callable[[], dict[str, Any]]) -> None:
        self.answer: dict[str, Any] = {}
        self.error: dict[str, Any] = {}
        self.broken: BotoCoreError | None = None

        def run() -> None:
            try:
                self.answer = call()
            except ClientError as error:
                self.error = dict(error.response)
            except BotoCoreError as error:
                self.broken = error

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    def wait(self, seconds: float = 70.0) -> Self:
        self.thread.join(seconds)
        assert not self.thread.is_alive(), "never answered"
        return self


@dataclass
class Load:
    """A steady load: every connection sends its next request when it has an answer. `answers` counts (status, error code)."""

    scene: Scene
    endpoint: str
    connections: int
    pause: float
    answers: Counter[tuple[int, str]] = field(default_factory=Counter)
    dropped: int = 0  # connections that ended without an answer to what was written
    versions: Counter[str] = field(default_factory=Counter)
    seconds: list[tuple[float, float]] = field(default_factory=list)  # (when answered, how long it took)
    wrong: list[bytes] = field(default_factory=list)
    _stop: bool = False
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        self.more(self.connections)

    def more(self, count: int, seconds: float = 30.0) -> None:
        """Wait for that many further answers."""
        before = self.total
        until(lambda: self.total >= before + count, seconds, f"{count} more answers to the load")

    def stop(self) -> None:
        self._stop = True
        assert self._thread is not None
        self._thread.join(75)
        assert not self._thread.is_alive(), "a request of the load was never answered"

    @property
    def total(self) -> int:
        return sum(self.answers.values())

    @property
    def failed(self) -> dict[tuple[int, str], int]:
        return {answer: count for answer, count in self.answers.items() if answer[0] != 200}

    def slowest(self, since: float = 0.0) -> float:
        return max((took for when, took in self.seconds if when >= since), default=0.0)

    async def _run(self) -> None:
        await asyncio.gather(*(self._connection(number) for number in range(self.connections)))

    async def _connection(self, number: int) -> None:
        path = f"/endpoints/{self.endpoint}/invocations"
        settings = self.scene.server.settings
        ask = {"text": str(number)}
        body = json.dumps(ask).encode()
        headers = {"Content-Type": "application/json", "Host": f"127.0.0.1:{settings.port}"}
        signed = self.scene.sign("POST", path, body, **headers)
        head = "".join(f"{k}: {v}\r\n" for k, v in {**headers, **signed, "Content-Length": str(len(body))}.items())
        request = f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body
        while not self._stop:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", settings.port)
            except OSError:
                self.dropped += 1
                await asyncio.sleep(0.01)
                continue
            try:
                while not self._stop:
                    began = time.monotonic()
                    writer.write(request)
                    if await self._answer(reader, ask, began):
                        break
                    if self.pause:
                        await asyncio.sleep(self.pause)
            except (OSError, asyncio.IncompleteReadError, ValueError, IndexError):
                self.dropped += 1
            finally:
                writer.close()

    async def _answer(self, reader: asyncio.StreamReader, ask: Mapping[str, Any], began: float) -> bool:
        """Read one answer; whether the connection closes after it."""
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        status = int(lines[0].split()[1])
        body = await reader.readexactly(int(fields["content-length"]))
        now = time.monotonic()
        self.seconds.append((now, now - began))
        self.answers[status, fields.get("x-amzn-errortype", "")] += 1
        if status == 200:
            answer = json.loads(body)
            self.versions[str(answer.get("version"))] += 1
            if answer.get("echo") != ask.get("text"):
                self.wrong.append(body)
        return fields.get("connection", "").lower() == "close"
