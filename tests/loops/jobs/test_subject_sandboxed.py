"""The job loop with the local backend: real sandboxes, real signals, and users' code that means harm."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.loops.house import SCOPE, SKLEARN, House, channel, tar

from clary.backends import host, local
from clary.backends.local import LocalBackend
from clary.backends.node.layout import NodePorts
from clary.domain.jobs import record as jobs
from clary.domain.jobs import training
from clary.domain.resources import Record
from clary.stores.logs import FileLogs
from clary.testing.memory_artifacts import MemoryArtifacts
from clary.testing.runtimes import OwnInterpreter

FACTS = host.find()
pytestmark = pytest.mark.skipif(bool(FACTS.problem), reason=f"NO SANDBOX ON THIS MACHINE: {FACTS.problem}")


class RealHouse(House):
    def __init__(self, tmp_path: Path) -> None:
        self.files, runtimes = FileLogs(tmp_path / "logs"), OwnInterpreter()
        stored = MemoryArtifacts({"b": {}, "out": {}})
        ports = NodePorts(stored, self.files, runtimes)
        self.local: LocalBackend = local.create(str(tmp_path / "backend"), facts=FACTS, ports=ports)
        super().__init__(tmp_path, artifacts=stored, backend=self.local, logs=self.files, runtimes=runtimes)

    async def script(self, name: str, code: str, **changes: Any) -> None:
        self.objects["b"][f"{name}/sourcedir.tar.gz"] = tar(train__py=code)
        parameters = {
            "sagemaker_program": "train.py",
            "sagemaker_submit_directory": f"s3://b/{name}/sourcedir.tar.gz",
        }
        await self.create(name, SKLEARN, HyperParameters=parameters, **changes)

    async def command(self, name: str, script: str, **changes: Any) -> None:
        spec = {"ContainerEntrypoint": ["/bin/bash", "-c", script], **changes.pop("spec", {})}
        await self.create(name, SKLEARN, spec=spec, **changes)

    def log(self, name: str) -> list[str]:
        streams = self.files.streams(SCOPE, training.LOG_GROUP, f"{name}/")
        return [line for each in streams for line in self.files.tail(SCOPE, training.LOG_GROUP, each.name, 1000)]

    async def said(self, name: str, line: str) -> None:
        await self.started_by_handle(name)
        await self.until(lambda: line in self.log(name))

    async def started_by_handle(self, name: str) -> str:
        async with asyncio.timeout(30):
            while not (record := await self.record(name)).document["handles"]:
                await asyncio.sleep(0.01)
        return str(record.document["handles"]["algo-1"])

    def packed(self, name: str, what: str = "model") -> dict[str, bytes]:
        with tarfile.open(fileobj=io.BytesIO(self.objects["out"][f"{name}/output/{what}.tar.gz"])) as archive:
            return {entry.name: archive.extractfile(entry).read() for entry in archive}  # type: ignore[union-attr]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[RealHouse]:
    made = RealHouse(tmp_path)
    made.open()
    yield made
    await made.close()
    for handle in await made.local.handles():
        await made.local.stop(handle, 0.0)
    made.local.close()


async def finished(house: RealHouse, name: str) -> Record:
    record = await house.ended(name)
    assert record.status == "Completed", (record.document.get("failure"), house.log(name))
    return record


SCRIPT = """
import os, sys
root = "/opt/ml/input/data/train"
assert sorted(os.listdir(root)) == ["part-0", "part-1"], os.listdir(root)
open(os.path.join(root, "beside"), "w").write("x")
os.chmod(os.path.join(root, "part-0"), 0o755)
open("/opt/ml/code/beside", "w").write("x")
open("/opt/ml/model/m", "w").write("model")
open("/opt/ml/output/data/o", "w").write("out")
os.symlink("/etc/passwd", "/opt/ml/model/evil")
print("acc=0.5;")
print("acc=0.75;")
print("arguments", sys.argv[1:])
"""


async def test_script_mode_from_code_to_results(house: RealHouse) -> None:
    house.objects["b"] |= {"d/part-0": b"0", "d/part-1": b"1"}
    spec = {"MetricDefinitions": [{"Name": "acc", "Regex": "acc=(.*?);"}]}
    await house.script("Job", SCRIPT, InputDataConfig=[channel("train", "s3://b/d")], spec=spec)
    record = await finished(house, "Job")
    assert record.document["metrics"][0]["Value"] == 0.75
    assert house.packed("Job") == {"m": b"model"}
    assert house.packed("Job", "output") == {"o": b"out"}
    assert "Skipped evil of model: it is a symbolic link that leads out of the folder." in house.log("Job")
    assert house.objects["b"]["d/part-0"] == b"0"


async def test_a_failing_script_tells_its_exception(house: RealHouse) -> None:
    await house.script("Job", "def f():\n    raise ValueError('bad thing')\nf()\n")
    failure = (await house.ended("Job")).document["failure"]
    assert failure.startswith("AlgorithmError: ")
    assert "ValueError: bad thing" in failure
    assert failure.endswith("exit code: 1")


async def test_a_stop_reaches_the_script_and_keeps_what_it_saves(house: RealHouse) -> None:
    trap = "trap 'echo saved > /opt/ml/model/m; exit 0' TERM; echo up; while true; do sleep 0.05; done"
    await house.command("Job", trap)
    await house.said("Job", "up")
    await house.ports.store.save(jobs.stop_asked(await house.record("Job"), 1.0))
    record = await house.ended("Job")
    assert (record.status, jobs.secondary(record.document)) == ("Stopped", "Stopped")
    assert house.packed("Job") == {"m": b"saved\n"}


async def test_max_runtime_ends_it(house: RealHouse) -> None:
    await house.command("Job", "sleep 60", StoppingCondition={"MaxRuntimeInSeconds": 1})
    record = await house.ended("Job")
    assert (record.status, jobs.secondary(record.document)) == ("Stopped", "MaxRuntimeExceeded")


async def test_hosts_speak_by_name(house: RealHouse) -> None:
    serve = (
        "import socket; s = socket.create_server(('algo-1', 7777)); c, _ = s.accept(); print('got', c.recv(9).decode())"
    )
    call = (
        "import socket, time\n"
        "for _ in range(200):\n"
        "    try: s = socket.create_connection(('algo-1', 7777)); break\n"
        "    except OSError: time.sleep(0.02)\n"
        "s.send(b'hello')"
    )
    code = f"import os\nexec({serve!r} if os.environ['SM_CURRENT_HOST'] == 'algo-1' else {call!r})"
    await house.script("Job", code, ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 2})
    await finished(house, "Job")
    assert "got hello" in house.log("Job")


async def test_pipes_carry_every_epoch(house: RealHouse) -> None:
    house.objects["b"] |= {"d/0": b"a", "d/1": b"b"}
    read = "for n in 0 1 2; do cat /opt/ml/input/data/train_$n; echo; done"
    await house.command("Job", read, InputDataConfig=[channel("train", "s3://b/d/", InputMode="Pipe")])
    await finished(house, "Job")
    assert [line for line in house.log("Job") if line == "ab"] == ["ab"] * 3


async def test_checkpoints_are_stored_beside_the_run(house: RealHouse) -> None:
    house.objects["b"]["ck/old"] = b"1"
    save = "cat /opt/ml/checkpoints/old; echo 2 > /opt/ml/checkpoints/new; rm /opt/ml/checkpoints/old; sleep 30"
    house.settings = house.settings.__class__(**{**_fields(house.settings), "sync_seconds": 0.0})
    await house.again()
    await house.command("Job", save, CheckpointConfig={"S3Uri": "s3://b/ck"})
    await house.until(lambda: house.objects["b"].get("ck/new") == b"2\n" and "ck/old" not in house.objects["b"])
    assert (await house.record("Job")).status == "InProgress"


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


@pytest.mark.parametrize(
    "script",
    [
        "rm -rf /opt/ml/model && ln -s /etc /opt/ml/model",
        "rm -rf /opt/ml/model /opt/ml/output && ln -s / /opt/ml/model && ln -s /etc /opt/ml/output",
        "ln -s /root /opt/ml/model/x; ln -s ../../../../../../../etc/passwd /opt/ml/model/y; mkfifo /opt/ml/model/z",
    ],
)
async def test_links_take_nothing_of_the_host_into_the_results(house: RealHouse, script: str) -> None:
    await house.command("Job", script)
    await finished(house, "Job")
    assert house.packed("Job") == {}


async def test_a_failure_file_that_is_a_link_or_a_fifo_is_not_read(house: RealHouse, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("host secret")
    await house.command("One", f"ln -s {tmp_path}/secret /opt/ml/output/failure; exit 3")
    await house.command("Two", "mkfifo /opt/ml/output/failure; exit 3")
    for name in ("One", "Two"):
        failure = (await house.ended(name)).document["failure"]
        assert (
            failure == "AlgorithmError: The training container failed and wrote no /opt/ml/output/failure, exit code: 3"
        )


async def test_a_killed_shim_is_a_lost_run_that_may_be_tried_again(house: RealHouse) -> None:
    once = "mkdir -p /opt/ml/checkpoints; echo up; sleep 1"
    await house.command("Job", once, RetryStrategy={"MaximumRetryAttempts": 1})
    await house.said("Job", "up")
    seen = await house.local.observe(await house.started_by_handle("Job"))
    assert seen is not None
    assert seen.pid is not None
    os.kill(seen.pid, signal.SIGKILL)
    record = await house.ended("Job")
    assert (record.status, record.document["attempt"]) == ("Completed", 1)


async def test_code_that_climbs_out_of_its_archive_fails_the_job(house: RealHouse) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("../evil"))
    house.objects["b"]["evil.tar.gz"] = buffer.getvalue()
    parameters = {"sagemaker_program": "x.py", "sagemaker_submit_directory": json.dumps("s3://b/evil.tar.gz")}
    await house.create("Job", SKLEARN, HyperParameters=parameters)
    failure = (await house.ended("Job")).document["failure"]
    assert failure.startswith("ClientError: Cannot extract s3://b/evil.tar.gz")
