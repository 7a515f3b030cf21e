"""kill -9 of each process while it is needed: what was answered stays, what runs goes on, what was lost says so (faults.md 34)."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import BotoCoreError, ClientError
from tests.faults.scene import BUCKET, PYTHON_IMAGE, Asked, Scene, until
from tests.live import ROLE, Server

from clary.app import up

pytestmark = [pytest.mark.live, pytest.mark.slow]

COUNTING = """
import time
for number in range(60):
    print("line", number)
    time.sleep(0.1)
open("/opt/ml/model/result", "w").write("whole")
"""


@pytest.fixture(scope="module")
def served(scene: Scene) -> Iterator[str]:
    scene.deploy("served")
    yield "served"
    scene.delete("served")


def zygotes(scene: Scene, where: str = "") -> list[int]:
    """The first process of each replica: it has no zygote for a parent."""
    found = scene.sandboxed("clary.toolkit.zygote", where)
    pids = {p.pid for p in found}
    return [p.pid for p in found if p.parent not in pids]


def workers(scene: Scene) -> list[int]:
    first = set(zygotes(scene))
    return [p.pid for p in scene.sandboxed("clary.toolkit.zygote") if p.parent in first]


def failure(call: Callable[[], Any]) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        call()
    return dict(caught.value.response)


def asked(scene: Scene, name: str, **ask: Any) -> Asked:
    """A prediction in a thread."""
    client = scene.server.client("sagemaker-runtime", read_timeout=70)
    return Asked(lambda: scene.invoke(name, client, **ask))


# -- the control plane ------------------------------------------------------------------------------------------------------------


def test_no_prediction_fails_while_the_control_plane_is_killed(scene: Scene, served: str) -> None:
    before = zygotes(scene), workers(scene)
    with scene.load(served) as load:
        for _ in range(2):
            old = scene.kill("control")
            assert scene.status(served)["EndpointStatus"] == "InService"  # a client that tries again sees nothing of it
            assert scene.back("control", old) < 10
            load.more(200)
    assert load.failed == {}
    assert load.dropped == 0
    assert load.wrong == []
    assert (zygotes(scene), workers(scene)) == before  # adopted: nothing was started again


@pytest.mark.parametrize("name", ["control", "objects"])
def test_who_comes_while_a_process_is_away_waits_and_is_answered(scene: Scene, name: str) -> None:
    """The supervisor holds the socket. It is stopped, so that nothing is started again before somebody waits."""
    asks = {"control": scene.sagemaker.list_endpoints, "objects": scene.s3.list_buckets}  # these clients ask once
    supervisor, old = scene.supervisor(), scene.pid(name)
    os.kill(supervisor, signal.SIGSTOP)
    try:
        os.kill(old, signal.SIGKILL)
        until(lambda: dead(old), 10, f"{name} is dead")
        # The edge notices the end of its connections before it gets another request: one that met one of those would be 503.
        until(lambda: not connected(scene, name), 10, "the edge knows")
        waiting = [Asked(asks[name]) for _ in range(3)]
        until(lambda: queued(scene, name) >= 3, 20, "three wait in the backlog")
        assert all(each.thread.is_alive() for each in waiting)
    finally:
        os.kill(supervisor, signal.SIGCONT)
    for each in waiting:
        assert each.wait(30).answer, each.error or each.broken
    scene.back(name, old)


def dead(pid: int) -> bool:
    """Whether nobody runs under that number, or somebody who has ended and was not waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def _sockets(scene: Scene, name: str) -> list[list[str]]:
    """Lines of /proc/net/unix about a process's socket: of its listener, and of each connection to it that has not been closed there."""
    path = str(getattr(scene.server.settings, f"{name}_socket"))
    return [line.split() for line in Path("/proc/net/unix").read_text().splitlines() if line.endswith(path)]


def connected(scene: Scene, name: str) -> int:
    """Connections that somebody reads."""
    return len([fields for fields in _sockets(scene, name) if fields[5] == "03"])


def queued(scene: Scene, name: str) -> int:
    """Connections in the backlog."""
    return len([fields for fields in _sockets(scene, name) if fields[5] == "02"])


def test_a_client_with_nothing_set_sees_nothing_of_killed_processes(scene: Scene) -> None:
    """boto3's own retries are enough: what was under way is asked again, what comes later waits."""
    clients = {
        service: boto3.client(
            service,
            region_name="us-east-1",
            endpoint_url=scene.server.settings.endpoint,
            aws_access_key_id=scene.server.key.access_key_id,
            aws_secret_access_key=scene.server.key.secret,
        )
        for service in ("sagemaker", "s3")
    }
    failed: list[str] = []
    made: Counter[str] = Counter()
    stop = threading.Event()

    def create(number: int) -> None:
        clients["sagemaker"].create_model(
            ModelName=f"plain-{number}", ExecutionRoleArn=ROLE, PrimaryContainer={"Image": PYTHON_IMAGE}
        )

    def put(number: int) -> None:
        clients["s3"].put_object(Bucket=BUCKET, Key=f"plain/{number}", Body=str(number).encode() * 1000)

    def keep(name: str, work: Callable[[int], None]) -> None:
        while not stop.is_set():
            made[name] += 1
            try:
                work(made[name])
            except (ClientError, BotoCoreError) as error:
                failed.append(f"{name} {made[name]}: {error}")

    threads = [threading.Thread(target=keep, args=work, daemon=True) for work in (("create", create), ("put", put))]
    for thread in threads:
        thread.start()
    for _ in range(6):
        for name in ("control", "objects"):
            enough = {each: count + 5 for each, count in made.items()}
            until(lambda enough=enough: all(made[each] >= count for each, count in enough.items()), 30)
            scene.back(name, scene.kill(name))
    stop.set()
    for thread in threads:
        thread.join(60)
    assert failed == []
    pages = scene.sagemaker.get_paginator("list_models").paginate(NameContains="plain-")
    names = [row["ModelName"] for page in pages for row in page["Models"]]
    assert sorted(names) == sorted(f"plain-{number}" for number in range(1, made["create"] + 1))  # each once


def test_no_request_is_missing_in_the_metrics_when_the_control_plane_is_killed(scene: Scene) -> None:
    scene.deploy("counted")
    watch = scene.server.client("cloudwatch")
    began = datetime.now(UTC).replace(second=0, microsecond=0)

    def counted() -> float:
        answer = watch.get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName="Invocations",
            Dimensions=[{"Name": "EndpointName", "Value": "counted"}, {"Name": "VariantName", "Value": "AllTraffic"}],
            StartTime=began,
            EndTime=began + timedelta(minutes=20),
            Period=60,
            Statistics=["Sum"],
        )
        return float(sum(point["Sum"] for point in answer["Datapoints"]))

    asked = 0
    for _ in range(3):
        for _ in range(30):
            scene.invoke("counted", text="x")
            asked += 1
        old = scene.kill("control")
        for _ in range(30):
            scene.invoke("counted", text="x")
            asked += 1
        scene.back("control", old)
        until(lambda asked=asked: counted() == asked, 20, f"{asked} requests are counted")  # type: ignore[misc]
    scene.delete("counted")


def test_a_job_goes_on_while_the_control_plane_is_killed(scene: Scene) -> None:
    scene.train("goes-on", COUNTING)
    for printed in (0, 5, 40):
        until(lambda printed=printed: printed == 0 or f"line {printed}" in scene.lines("goes-on"), 60)
        scene.back("control", scene.kill("control"))
    job = scene.ended("goes-on")
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    numbers = [line for line in scene.lines("goes-on") if line.startswith("line ")]
    assert numbers == [f"line {number}" for number in range(60)]  # one run, and no line lost or doubled
    assert job["ModelArtifacts"]["S3ModelArtifacts"].startswith("s3://")
    until(lambda: not scene.sandboxed("line", "goes-on"), 30, "nothing is left of the job")


def test_a_job_is_started_once_however_its_start_is_cut_off(scene: Scene) -> None:
    """Killed right behind each Create: the successor finds the run of its predecessor, or starts it. The jobs are short, so that
    the kills meet their ends, too: what packs the results is found again, or done again."""
    marks = []
    for number in range(6):
        name = f"once-{number}"
        scene.train(name, "import time; print('begun'); time.sleep(0.3)")
        time.sleep(0.13 * number)  # a different place of the start each time
        scene.back("control", scene.kill("control"))
        marks.append(name)
    for name in marks:
        job = scene.ended(name)
        assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
        assert scene.lines(name).count("begun") == 1


def test_an_endpoint_is_created_although_the_control_plane_is_killed(scene: Scene) -> None:
    scene.deploy("killed-creating", wait=False)
    for pause in (0.0, 0.3, 0.6):
        time.sleep(pause)  # another place of the start each time
        scene.back("control", scene.kill("control"))
    scene.in_service("killed-creating")
    assert scene.invoke("killed-creating", text="x")["version"] == "killed-creating"
    replicas = os.path.join(scene.root, "backend", "own", "replica-")
    mine = [p for p in zygotes(scene, replicas) if "killed-creating" in _environment(p)]
    assert len(mine) == 1, "the replica was started twice"
    scene.delete("killed-creating")
    until(lambda: not [p for p in zygotes(scene) if "killed-creating" in _environment(p)], 20, "its replica is gone")


def _environment(pid: int) -> str:
    """What tells whose replica that is: its mounts name the model."""
    with open(Path("/proc", str(pid), "root", "opt/ml/model/version")) as file:
        return file.read()


def test_an_update_goes_through_although_the_control_plane_is_killed(scene: Scene) -> None:
    scene.deploy("old")
    scene.model("new")
    scene.config("new", "new", count=2)
    with scene.load("old") as load:
        scene.sagemaker.update_endpoint(EndpointName="old", EndpointConfigName="new")
        for pause in (0.0, 0.4, 0.8):
            time.sleep(pause)  # another place of the update each time
            scene.back("control", scene.kill("control"))
        scene.in_service("old")
        until(lambda: not [p for p in zygotes(scene) if _environment(p) == "old"], 30, "the old fleet is gone")
        load.more(200)
    assert load.failed == {}
    assert load.dropped == 0
    assert set(load.versions) == {"old", "new"}
    assert scene.invoke("old", text="x")["version"] == "new"
    assert len([p for p in zygotes(scene) if _environment(p) == "new"]) == 2
    scene.patient.delete_endpoint(EndpointName="old")
    until(lambda: not [p for p in zygotes(scene) if _environment(p) == "new"], 30, "everything of it is gone")


# -- workers, replicas, shims -----------------------------------------------------------------------------------------------------


def test_a_killed_worker_costs_its_own_request_only(scene: Scene, served: str) -> None:
    with scene.load(served, connections=8) as load:
        error = failure(lambda: scene.invoke(served, do="die"))
        load.more(50)
    assert error["Error"]["Code"] == "ModelError"
    assert error["OriginalStatusCode"] == 500
    assert served in error["LogStreamArn"]
    assert load.failed == {}
    until(lambda: len(workers(scene)) == 2, 30, "a worker was forked in its place")


def test_a_killed_replica_comes_back(scene: Scene, served: str) -> None:
    (old,) = zygotes(scene)
    running = asked(scene, served, do="sleep", seconds=30)
    until(lambda: scene_busy(scene, served), 30)
    began = time.monotonic()
    os.kill(old, signal.SIGKILL)
    error = running.wait().error
    assert error, running.broken
    assert error["Error"]["Code"] == "ModelError"
    patient = scene.server.client("sagemaker-runtime", retries={"mode": "standard", "total_max_attempts": 10})
    assert scene.invoke(served, patient, text="again")["echo"] == "again"
    assert time.monotonic() - began < 20
    (new,) = zygotes(scene)
    assert new != old
    assert scene.status(served)["EndpointStatus"] == "InService"


def scene_busy(scene: Scene, name: str) -> bool:
    """Whether a worker sleeps in a request: it waits in nanosleep, not for its socket."""
    for pid in workers(scene):
        with open(f"/proc/{pid}/wchan") as file:
            if "nanosleep" in file.read():
                return True
    return False


@pytest.mark.waits
def test_kills_again_and_again_take_no_healthy_replica_away(scene: Scene) -> None:
    """One of two replicas every few seconds, at last both at once: whoever served comes back at once, and the endpoint is never out of
    service. Lost is what was in flight at the killed one, and nothing else."""
    scene.deploy("again-and-again", count=2)
    mine = partial(_zygotes_of, scene, "again-and-again")
    took = []
    with scene.load("again-and-again", connections=8, pause=0.1) as load:
        for number in range(9):
            victims = sorted(mine())
            assert len(victims) == 2
            killed = set(victims) if number == 8 else {victims[number % 2]}
            for pid in killed:
                os.kill(pid, signal.SIGKILL)
            began = time.monotonic()
            until(lambda killed=killed: len(_ready(scene, mine() - killed)) == 2, 30, "both are there again")  # type: ignore[misc]
            took.append(time.monotonic() - began)
            assert scene.status("again-and-again")["EndpointStatus"] == "InService"
            time.sleep(max(0.0, 3.0 - took[-1]))  # it serves for a while: that is what is forgiven for
        load.more(100)
    assert {status for status, _ in load.failed} <= {424}, load.failed
    assert sum(load.failed.values()) <= 10 * 8, load.failed
    assert load.dropped == 0
    # each in the time of a start; when every further death cost a doubled wait, the last of them took 8 s and more beside it
    assert max(took[4:8]) < 3 * min(took) + 3, took
    scene.delete("again-and-again")


def _zygotes_of(scene: Scene, version: str) -> set[int]:
    found = set()
    for pid in zygotes(scene, "/own/replica-"):
        with suppress(OSError):
            if _environment(pid) == version:
                found.add(pid)
    return found


def _ready(scene: Scene, pids: set[int]) -> set[int]:
    """Those that have forked both of their workers."""
    parents = [p.parent for p in scene.sandboxed("clary.toolkit.zygote") if p.parent in pids]
    return {pid for pid in pids if parents.count(pid) >= 2}


def test_a_killed_shim_takes_its_replica_along_and_another_comes(scene: Scene, served: str) -> None:
    old = set(zygotes(scene))
    (shim,) = [
        p.pid for p in scene.everyone().values() if "backends.shim" in p.command and "/own/replica-" in p.command
    ]
    os.kill(shim, signal.SIGKILL)
    until(lambda: zygotes(scene) and not old & set(zygotes(scene)), 30, "another replica")
    scene.in_service(served)
    patient = scene.server.client("sagemaker-runtime", retries={"mode": "standard", "total_max_attempts": 10})
    assert scene.invoke(served, patient, text="again")["echo"] == "again"
    assert len(zygotes(scene)) == 1


def test_a_killed_shim_fails_its_job_with_a_reason(scene: Scene) -> None:
    scene.train("shimless", "import time; print('begun'); time.sleep(120)")
    until(lambda: "begun" in scene.lines("shimless"), 60)
    os.kill(scene.shim("main.py"), signal.SIGKILL)
    job = scene.ended("shimless", 20)
    assert job["TrainingJobStatus"] == "Failed"
    assert "lost" in job["FailureReason"]
    until(lambda: not scene.sandboxed("begun"), 30, "its process went with it")


# -- fronts and the edge ----------------------------------------------------------------------------------------------------------


def test_a_killed_front_answers_503_and_later_requests_wait(scene: Scene, served: str) -> None:
    running = asked(scene, served, do="sleep", seconds=30)
    until(lambda: scene_busy(scene, served), 30)
    old = scene.kill("front-0")
    error = running.wait(10).error  # so the edge knows, and writes nothing more to connections of the dead one
    later = [asked(scene, served, text=str(number)) for number in range(8)]  # while nobody accepts
    assert error, running.broken
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert error["Error"]["Code"] == "ServiceUnavailable"
    answers = [each.wait(10).answer for each in later]
    assert [answer.get("echo") for answer in answers] == [str(number) for number in range(8)]
    scene.back("front-0", old)


def test_load_over_a_killed_front_loses_only_what_was_in_it(scene: Scene, served: str) -> None:
    with scene.load(served) as load:
        for _ in range(3):
            scene.back("front-0", scene.kill("front-0"))
            load.more(300)
    assert set(load.failed) <= {(503, "ServiceUnavailable")}
    assert sum(load.failed.values()) <= 3 * 64
    assert load.dropped == 0
    assert load.wrong == []


def test_no_request_fails_when_a_front_is_ended_in_good_order(scene: Scene, served: str) -> None:
    with scene.load(served) as load:
        for _ in range(2):
            old = scene.kill("front-0", signal.SIGTERM)
            scene.back("front-0", old)
            load.more(300)
    assert load.failed == {}
    assert load.dropped == 0


def test_a_killed_edge_is_replaced_whole(scene: Scene, served: str) -> None:
    old_workers = [p.pid for p in scene.everyone().values() if p.command.startswith("nginx: worker")]
    for _ in range(2):
        old = scene.kill("nginx")
        patient = scene.server.client("sagemaker-runtime", retries={"mode": "standard", "total_max_attempts": 10})
        assert scene.invoke(served, patient, text="x")["echo"] == "x"
        assert scene.back("nginx", old) < 5
    now = [p for p in scene.everyone().values() if p.command.startswith("nginx")]
    assert not set(old_workers) & {p.pid for p in now}
    assert len([p for p in now if "master" in p.command]) == 1
    with scene.load(served, connections=16) as load:
        load.more(200)
    assert load.failed == {}
    assert load.dropped == 0


# -- the object store -------------------------------------------------------------------------------------------------------------


def test_no_answered_object_is_lost_when_the_store_is_killed(scene: Scene) -> None:
    answered: dict[str, bytes] = {}
    stop = threading.Event()
    surprises: list[BaseException] = []

    def put(number: int) -> None:
        client = scene.server.client("s3", retries={"mode": "standard", "total_max_attempts": 8})
        count = 0
        while not stop.is_set():
            key, body = f"kept/{number}/{count}", f"{number}-{count}".encode() * (200_000 if count % 5 == 0 else 10)
            try:
                client.put_object(Bucket=BUCKET, Key=key, Body=body)
                answered[key] = body
            except (ClientError, BotoCoreError) as error:
                surprises.append(error)
            count += 1

    threads = [threading.Thread(target=put, args=(n,), daemon=True) for n in range(6)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        enough = len(answered) + 60
        until(lambda enough=enough: len(answered) >= enough, 30)
        assert scene.back("objects", scene.kill("objects")) < 5
    stop.set()
    for thread in threads:
        thread.join(30)
    assert len(answered) >= 180
    assert len(surprises) <= 3 * 6
    pages = scene.s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="kept/")
    listed = {row["Key"]: row["Size"] for page in pages for row in page.get("Contents", [])}
    assert {key for key in answered if listed.get(key) != len(answered[key])} == set()
    for key, body in answered.items():
        assert scene.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == body
    staging = scene.server.settings.root / "objects" / "staging"
    until(lambda: not list(staging.iterdir()), 30, "what was being written is swept")


# -- all of it --------------------------------------------------------------------------------------------------------------------


def test_everything_comes_back_after_clary_up_itself_is_killed(start: Callable[..., Server]) -> None:
    scene = Scene(start())
    scene.deploy("again")
    scene.train("runs-on", COUNTING)
    until(lambda: "line 3" in scene.lines("runs-on"), 60)
    replicas = zygotes(scene)
    supervisor = scene.supervisor()
    os.kill(supervisor, signal.SIGKILL)
    own = ("clary.app.", "nginx")
    until(
        lambda: not [p for p in scene.everyone().values() if any(o in p.command for o in own)], 10, "all went with it"
    )

    settings = scene.server.settings
    began = time.monotonic()
    up.detached(settings)
    assert time.monotonic() - began < 40
    scene.in_service("again")
    patient = scene.server.client("sagemaker-runtime", retries={"mode": "standard", "total_max_attempts": 10})
    assert scene.invoke("again", patient, text="x")["echo"] == "x"
    assert zygotes(scene, "/own/replica-") == replicas  # shims outlive the supervisor: adopted
    job = scene.ended("runs-on")
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    numbers = [line for line in scene.lines("runs-on") if line.startswith("line ")]
    assert numbers == [f"line {number}" for number in range(60)]

    up.down(settings)
    assert scene.everyone() == {}, "an orderly end leaves nothing"
    assert not settings.run.exists()


def test_everything_at_once(start: Callable[..., Server]) -> None:
    """Power goes: supervisor, control plane, store, front, nginx, shims and sandboxes, all by SIGKILL."""
    scene = Scene(start())
    scene.deploy("again")
    scene.train("cut-off", "import time; print('begun'); time.sleep(600)")
    until(lambda: "begun" in scene.lines("cut-off"), 60)
    for pid in sorted(scene.everyone()):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    until(lambda: not scene.everyone(), 30, "all gone")
    holder = json.loads((scene.server.settings.root / "clary.lock").read_text())
    assert holder["pid"], "the stale lock file is still there"

    up.detached(scene.server.settings)
    scene.in_service("again", 30)
    patient = scene.server.client("sagemaker-runtime", retries={"mode": "standard", "total_max_attempts": 10})
    until(lambda: scene.invoke("again", patient, text="x")["echo"] == "x", 30)
    job = scene.ended("cut-off", 30)
    assert job["TrainingJobStatus"] == "Failed"
    assert "lost" in job["FailureReason"]
    up.down(scene.server.settings)
    assert scene.everyone() == {}
