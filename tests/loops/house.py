"""A control plane's job loop over fakes, for tests: jobs are created as records, hosts are played by the tests."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.loops.laying import LayingBackend

from clary.domain.jobs import record as jobs
from clary.domain.jobs import training
from clary.domain.jobs.kinds import JOB_KINDS
from clary.domain.machine.capacity import Machine
from clary.domain.machine.instances import GIB
from clary.domain.machine.workload import Workload
from clary.domain.resources import Record, Scope
from clary.loops.core.ledger import Ledger
from clary.loops.core.loop import Loop
from clary.loops.jobs.places import JobSettings
from clary.loops.jobs.subject import JobSubject, attach
from clary.ports import LoopPorts
from clary.testing.clock import FakeClock
from clary.testing.datapoints import MemoryDatapoints
from clary.testing.fronts import MemoryFronts
from clary.testing.keys import MemoryKeys
from clary.testing.logs import MemoryLogs
from clary.testing.memory_artifacts import MemoryArtifacts
from clary.testing.observing import observing, ports_of
from clary.testing.runtimes import MemoryRuntimes
from clary.testing.store import MemoryStore
from clary.toolkit import pack

ROW = JOB_KINDS[training.KIND]
SCOPE = Scope("000000000000", "us-east-1")
XGBOOST = "1.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
SKLEARN = "1.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1"
WAIT = 20.0


def source(workload: Workload, target: str) -> Path:
    """The host folder that a workload sees at `target`."""
    mount = max((m for m in workload.mounts if target.startswith(m.target)), key=lambda m: len(m.target))
    return Path(mount.source) / target[len(mount.target) :].lstrip("/")


def tar(**files: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name.replace("__", "."))
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


class House:
    """A control plane's job loop over fakes. `run(name)` is what a host does when it starts; the short workloads are played here."""

    def __init__(self, tmp_path: Path, **ports: Any) -> None:
        self.logs = MemoryLogs()
        artifacts = ports.pop("artifacts", None) or MemoryArtifacts({"b": {}, "out": {}})
        runtimes = MemoryRuntimes(ports.pop("known")) if "known" in ports else MemoryRuntimes()
        self.backend = LayingBackend(tmp_path / "own", artifacts, self.logs, runtimes)
        self.store = MemoryStore()
        self.machine = Machine(cpus=4, memory=16 * GIB, available=12 * GIB)
        self.ports = LoopPorts(
            self.store,
            self.backend,
            MemoryFronts(),
            artifacts,
            runtimes,
            self.logs,
            MemoryDatapoints(),
            MemoryKeys(),
            FakeClock(),
            lambda: self.machine,
        )
        self.ports = replace(self.ports, **ports)
        self.settings = JobSettings(
            str(tmp_path / "jobs"), "owner", "http://127.0.0.1:4600", passed={"HTTP_PROXY": "p"}
        )
        self.ledger = Ledger(self.store)
        self.subject = observing(JobSubject(ROW, self.ports, self.settings, self.ledger), *ports_of(self.ports))
        self.loop = Loop(self.subject, self.ports.store, self.ports.clock, "owner", sweep_seconds=0.05)
        self._tasks: list[asyncio.Task[None]] = []
        self._leave: list[Callable[[], None]] = []
        self._played: list[Workload] = []
        self.backend.watch(self._play)

    @property
    def objects(self) -> dict[str, dict[str, bytes]]:
        artifacts = self.ports.artifacts
        assert isinstance(artifacts, MemoryArtifacts)
        return artifacts.buckets

    def open(self) -> None:
        self._leave.append(attach(self.subject, self.loop, self.ports))
        self._tasks.append(asyncio.create_task(self._run()))

    async def _run(self) -> None:
        await self.subject.seed()
        await self.loop.run()

    async def close(self) -> None:
        """As when the process dies, but for what tests must not leave behind."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for leave in self._leave:
            leave()
        self._tasks, self._leave = [], []

    async def again(self) -> None:
        """A successor over the same world."""
        await self.close()
        self.ledger = Ledger(self.store)
        self.subject = observing(JobSubject(ROW, self.ports, self.settings, self.ledger), *ports_of(self.ports))
        self.loop = Loop(self.subject, self.ports.store, self.ports.clock, "owner", sweep_seconds=0.05)
        self.open()

    async def left(self, key: str, exit_code: int | None) -> None:
        """A short run of a predecessor that died: it has ended, unheard, or runs on (None) and fills a folder that will be gone."""
        workload = Workload(key, ("x",), {})
        self._played.append(workload)
        await self.backend.start(workload)
        if exit_code is not None:
            self.backend.finish(key, exit_code)

    def _play(self, handle: str) -> None:
        workload = self.backend.workloads.get(handle)
        known = any(workload is each for each in self._played)
        if workload is None or known or not (handle.endswith("-pack") or handle.startswith("model-")):
            return
        self._played.append(workload)
        asyncio.get_running_loop().call_soon(self._short, handle, workload)

    def _short(self, handle: str, workload: Workload) -> None:
        if handle.startswith("model-"):
            for spec in json.loads(source(workload, "/opt/clary/in/spec.json").read_text()):
                with tarfile.open(source(workload, spec["archive"])) as archive:
                    archive.extractall(source(workload, spec["target"]), filter="data")
        else:
            out = source(workload, "/opt/clary/out")
            spec = json.loads((out / "spec.json").read_text())
            report = {}
            for job in spec["packs"]:
                sources = [str(source(workload, each)) for each in job["sources"]]
                report[job["name"]] = pack.pack(
                    {**job, "sources": sources, "target": str(source(workload, job["target"]))}
                )
            (out / "report.json").write_text(json.dumps(report))
        self.backend.finish(handle, 0)

    async def create(self, name: str = "Job", image: str = XGBOOST, **changes: Any) -> None:
        spec = {"TrainingImage": image, "TrainingInputMode": "File", **changes.pop("spec", {})}
        request = {
            "TrainingJobName": name,
            "RoleArn": "arn:aws:iam::000000000000:role/service-role/r",
            "AlgorithmSpecification": spec,
            "OutputDataConfig": {"S3OutputPath": "s3://out"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 600},
            **changes,
        }
        now = self.ports.clock.now() + len(self.backend.workloads)
        document = jobs.document(ROW, training.parse(request), request, [], f"id{name.lower()}", ["a note"], now)
        arn = f"arn:aws:sagemaker:us-east-1:000000000000:training-job/{name.lower()}"
        await self.ports.store.add(Record(training.KIND, SCOPE, name, arn, "InProgress", now, now, document))

    async def record(self, name: str = "Job") -> Record:
        record = await self.ports.store.get(training.KIND, SCOPE, name)
        assert record is not None
        return record

    async def until(self, condition: Callable[[], Any], name: str = "Job") -> None:
        async with asyncio.timeout(WAIT):
            while not condition():
                await asyncio.sleep(0.005)

    async def started(self, name: str = "Job", host: str = "algo-1", attempt: int = 0) -> Workload:
        key = f"job-id{name.lower()}-{attempt}-{host}"
        await self.until(lambda: key in self.backend.workloads)
        async with asyncio.timeout(WAIT):
            while host not in (await self.record(name)).document["handles"]:
                await asyncio.sleep(0.005)
        return self.backend.workloads[key]

    async def ended(self, name: str = "Job") -> Record:
        async with asyncio.timeout(WAIT):
            while (record := await self.record(name)).status in jobs.ACTIVE:
                await asyncio.sleep(0.005)
        return record

    async def reached(self, secondary: str, name: str = "Job") -> Record:
        async with asyncio.timeout(WAIT):
            while jobs.secondary((record := await self.record(name)).document) != secondary:
                await asyncio.sleep(0.005)
        return record


def channel(name: str, uri: str, **more: Any) -> dict[str, Any]:
    kind = {"S3DataType": more.pop("kind", "S3Prefix"), "S3Uri": uri, **more.pop("source", {})}
    return {"ChannelName": name, "DataSource": {"S3DataSource": kind}, **more}
