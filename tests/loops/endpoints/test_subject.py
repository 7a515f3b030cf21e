"""The endpoint loop over fakes: from a record to replicas and a route, what they are given, and what is left at the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clary.domain.endpoints import life
from clary.domain.endpoints.fleets import Plant, new_fleet
from clary.domain.endpoints.routes import EndpointRoute, EndpointView, ReplicaView, VariantView
from clary.domain.machine.capacity import Machine
from clary.domain.machine.instances import GIB
from clary.domain.machine.workload import ENVIRONMENT, Environment, Files, LogTarget, ModelFiles, Objects, Workload
from clary.domain.models.containers import Container, DataSource
from clary.domain.resources import Record, Scope
from clary.domain.s3 import Location
from clary.loops.core.ledger import Ledger
from clary.loops.core.loop import Loop
from clary.loops.endpoints.replica_credentials import LIFE, RENEWED
from clary.loops.endpoints.replica_places import ServingSettings
from clary.loops.endpoints.subject import EndpointSubject, attach
from clary.ports import LoopPorts
from clary.testing.backends import MemoryBackend
from clary.testing.clock import FakeClock
from clary.testing.datapoints import MemoryDatapoints
from clary.testing.keys import MemoryKeys
from clary.testing.logs import MemoryLogs
from clary.testing.memory_artifacts import MemoryArtifacts
from clary.testing.observing import observing, ports_of
from clary.testing.runtimes import XGBOOST, MemoryRuntimes
from clary.testing.store import MemoryStore

SCOPE = Scope("000000000000", "eu-west-1")
ARN = "arn:aws:sagemaker:eu-west-1:000000000000:endpoint/e"
ROLE = "arn:aws:iam::000000000000:role/r"


class MemoryFronts:
    """Replicas are whatever `states` says: ready unless told otherwise."""

    def __init__(self) -> None:
        self.routes: dict[str, EndpointRoute] = {}
        self.states: dict[str, ReplicaView] = {}
        self.dropped: list[str] = []
        self.listeners: list[Callable[[str, str, str], None]] = []

    async def put(self, route: EndpointRoute) -> None:
        self.routes[route.name] = route

    async def drop(self, account: str, region: str, name: str) -> None:
        self.routes.pop(name, None)
        self.dropped.append(name)

    async def observe(self, account: str, region: str, name: str) -> EndpointView | None:
        route = self.routes.get(name)
        if route is None:
            return None
        views = tuple(
            VariantView(v.name, tuple(self.states.get(r.id, ReplicaView(r.id, "absent")) for r in v.replicas))
            for v in route.variants
        )
        return EndpointView(account, region, name, route.revision, views)

    async def revoke(self, access_key_id: str) -> None: ...

    def watch(self, listener: Callable[[str, str, str], None]) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def tell(self, replica: str, state: str = "ready", failure: str = "") -> None:
        self.states[replica] = ReplicaView(replica, state, workers=2, failure=failure)
        for listener in self.listeners:
            listener("000000000000", "eu-west-1", "e")


class Yard:
    """One control plane's endpoint loop. Replicas come up by themselves. `owner`,
    of the subject's own claims, is another than the loop's, so that tests may look at records beside it."""

    owner = "control"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store, self.backend, self.fronts = MemoryStore(), MemoryBackend(), MemoryFronts()
        self.artifacts = MemoryArtifacts({"b": {"m.tar.gz": b"an archive", "code.tar.gz": b"another"}})
        self.runtimes, self.logs, self.keys, self.clock = MemoryRuntimes(), MemoryLogs(), MemoryKeys(), FakeClock()
        self.backend.contents |= {"model/xgboost-model": "m"}
        self.policy = "fit"
        self.machine = Machine(2, 8 * GIB, 6 * GIB)
        self.failure = ""
        self.backend.watch(self._started)
        self.open()

    def open(self) -> None:
        """A control plane begins (again)."""
        self.ports = LoopPorts(
            self.store,
            self.backend,
            self.fronts,
            self.artifacts,
            self.runtimes,
            self.logs,
            MemoryDatapoints(),
            self.keys,
            self.clock,
            lambda: self.machine,
        )
        self.settings = ServingSettings(
            home=lambda name: 0,
            endpoint="http://127.0.0.1:4600",
            passed={"HTTP_PROXY": "p"},
            policy=self.policy,
            owner=self.owner,
        )
        self.ledger = Ledger(self.store)
        self.subject = observing(EndpointSubject(self.ports, self.settings, self.ledger), *ports_of(self.ports))
        self.loop: Loop[Any, Any] = Loop(self.subject, self.store, self.clock, "me", sweep_seconds=0.05)
        self.leave = attach(self.subject, self.loop, self.ports)
        self.task = asyncio.create_task(self.loop.run())

    async def close(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.leave()
        await self.subject.tasks.close()

    def _started(self, handle: str) -> None:
        run = self.backend._runs[handle]
        if run.state != "running":
            return
        asyncio.get_running_loop().call_soon(self._act, handle)

    def _act(self, handle: str) -> None:
        if self.failure:
            self.fronts.tell(handle.removeprefix("replica-"), "failed", self.failure)
        else:
            self.fronts.tell(handle.removeprefix("replica-"))

    async def create(self, count: int = 1, **container: Any) -> None:
        made = Container("m", "xgboost:1", "s3://b/m.tar.gz", role=ROLE)
        row = {"VariantName": "A", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": count}
        now = self.clock.now()
        several = container.pop("several", ())
        given = [replace(made, **container, hostname=h, of=len(several), stage=n) for n, h in enumerate(several)]
        fleet = new_fleet("f", "c", [row], {"m": given or replace(made, **container)}, now)
        plant = Plant(seed="s", incoming=fleet, changed=now)
        document = {"request": {"EndpointConfigName": "c"}, "tags": [], "plant": plant.to_json()}
        await self.store.add(Record("endpoint", SCOPE, "e", ARN, "Creating", now, now, document))

    async def record(self) -> Record | None:
        return await self.store.get("endpoint", SCOPE, "e")

    async def until(self, status: str | None) -> Record | None:
        async with asyncio.timeout(60):
            while True:
                record = await self.record()
                if (record.status if record is not None else None) == status:
                    return record
                await asyncio.sleep(0.002)

    async def in_service(self) -> Record:
        record = await self.until("InService")
        assert record is not None
        return record

    def replicas(self) -> list[Workload]:
        return [w for key, w in self.backend.workloads.items() if key.startswith("replica-")]


@pytest.fixture
async def yard(tmp_path: Path) -> AsyncIterator[Yard]:
    made = Yard(tmp_path)
    yield made
    await made.close()


def files(workload: Workload, name: str) -> Files:
    return next(each for each in workload.files if each.name == name)


def spec_of(workload: Workload) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(files(workload, "spec").texts["replica.json"])
    return found


def mounted(yard: Yard, workload: Workload, target: str) -> ModelFiles:
    """The model of which a folder lies at that target, under the name by which it was made."""
    (files,) = [each for each in workload.files if each.target == target]
    digest, name = files.model.split("/")
    model = yard.backend.models[digest]
    assert name in (*model.folders, *model.archives, "model")
    return model


def folder(workload: Workload, target: str) -> str:
    """The folder of a model that lies there."""
    (files,) = [each for each in workload.files if each.target == target]
    return files.model.partition("/")[2]


async def test_a_replica_as_aws_lays_it_out(yard: Yard) -> None:
    await yard.create(environment={"MINE": "1", "SAGEMAKER_MODEL_SERVER_TIMEOUT": "120"})
    record = await yard.in_service()
    (workload,) = yard.replicas()
    spec = spec_of(workload)
    plant = life.plant_of(record)
    (replica,) = plant.replicas
    assert spec == {
        "replica": replica.id,
        "token_file": "/opt/clary/spec/token",
        "fronts": ["unix:/run/clary/front-0.sock"],
        "framework": "xgboost",
        "algorithm": "xgboost",
        "image": "xgboost:1",
        "model_dir": "/opt/ml/model",
        "code_dir": "",
        "program": "",
        "workers": 2,
        "threads": 1,
        "batch": 64,
        "timeout": 120.0,
        "remedy": "a larger instance type",
    }
    assert mounted(yard, workload, "/opt/ml/model").archives == {"model": Location("b", "m.tar.gz")}
    assert workload.fronts
    assert all(m.mode == "ro" for m in (*workload.mounts, *workload.files))
    assert workload.by_value
    assert workload.command == (f"{ENVIRONMENT}/bin/python", "-m", "clary.toolkit.zygote")
    assert (workload.packages, workload.installs) == (Environment("xgboost", "xgboost"), False)
    assert (workload.cpu, workload.network, workload.stop_grace) == (2.0, True, 30.0)
    variables = workload.environment
    assert (variables["MINE"], variables["HTTP_PROXY"], variables["AWS_REGION"]) == ("1", "p", "eu-west-1")
    assert variables["AWS_CONFIG_FILE"] == "/opt/clary/spec/aws-config"
    assert "AWS_ACCESS_KEY_ID" not in variables
    given = files(workload, "spec")
    assert given.secrets == {"token": "token", "aws-credentials.json": "aws-credentials.json"}
    secrets = yard.backend.secrets[workload.key]
    assert secrets["token"] == plant.token(replica.id)
    assert set(secrets) == {"token", "aws-credentials.json"}
    for told in (repr(workload), json.dumps(yard.fronts.routes["e"].to_json())):
        assert not any(secret in told for secret in secrets.values())
    assert workload.logs == LogTarget(SCOPE, "/aws/sagemaker/Endpoints/e", f"A/{replica.id}")


async def test_at_rest_nothing_is_saved(yard: Yard) -> None:
    await yard.create()
    await yard.in_service()
    for _ in range(20):
        yard.loop.wake(ARN)
        await asyncio.sleep(0.002)
    settled = await yard.record()
    saved: list[Record] = []
    yard.store.watch(saved.append)
    for _ in range(20):
        yard.loop.wake(ARN)
        await asyncio.sleep(0.002)
    assert saved == []
    assert await yard.record() == settled


async def test_isolation_means_no_network_and_no_keys(yard: Yard) -> None:
    await yard.create(isolated=True)
    await yard.in_service()
    (workload,) = yard.replicas()
    assert not workload.network
    assert not {"AWS_ACCESS_KEY_ID", "AWS_CONFIG_FILE"} & set(workload.environment)
    assert set(yard.backend.secrets[workload.key]) == {"token"}
    assert "HTTP_PROXY" not in workload.environment


async def test_a_replicas_keys_are_renewed_while_it_runs(yard: Yard) -> None:
    await yard.create()
    await yard.in_service()
    (workload,) = yard.replicas()
    name = "aws-credentials.json"

    def keys() -> dict[str, Any]:
        written = yard.backend.written.get((workload.key, "spec"), {})
        found: dict[str, Any] = json.loads(written.get(name) or yard.backend.secrets[workload.key][name])
        return found

    async def look() -> None:
        record = await yard.record()
        assert record is not None
        for command in (await yard.subject.observe(record)).due:
            await yard.subject.run(command, record)

    first = keys()
    known = yard.keys.find(first["AccessKeyId"], first["SessionToken"])
    assert known is not None
    assert (known.secret, known.account) == (first["SecretAccessKey"], SCOPE.account)
    assert known.expires == int(yard.clock.now() + LIFE)
    yard.clock.advance(RENEWED - 60)
    await look()
    assert keys() == first
    yard.clock.advance(61)
    await look()
    second = keys()
    assert second["Expiration"] > first["Expiration"]
    await yard.close()
    yard.open()  # another control plane does not know how old they are
    async with asyncio.timeout(60):
        while keys()["AccessKeyId"] in (first["AccessKeyId"], second["AccessKeyId"]):
            await asyncio.sleep(0.002)


async def test_code_inside_the_model(yard: Yard) -> None:
    yard.backend.contents |= {"model/code/inference.py": "x", "model/code/requirements.txt": "left-pad==1\n"}
    await yard.create()
    await yard.in_service()
    (workload,) = yard.replicas()
    spec = spec_of(workload)
    assert (spec["algorithm"], spec["code_dir"], spec["program"]) == ("", "/opt/ml/model/code", "inference.py")
    assert ("xgboost-script", "left-pad==1\n") in yard.runtimes.builds


@pytest.mark.parametrize("code", [False, True])
async def test_a_newer_python_serves_what_has_no_code(yard: Yard, code: bool) -> None:
    yard.runtimes.newer = True
    yard.backend.contents |= {"model/code/inference.py": "x"} if code else {}
    await yard.create()
    await yard.in_service()
    (workload,) = yard.replicas()
    assert workload.packages is not None
    assert workload.packages.hash == ("xgboost-script" if code else "xgboost-newer")
    assert workload.command[0] == workload.packages.python


async def test_a_machine_without_an_index_serves_with_what_it_trains_with(yard: Yard) -> None:
    yard.runtimes.newer = True
    await yard.runtimes.ensure(XGBOOST)
    yard.runtimes.offline = "no route to the index"
    await yard.create()
    await yard.in_service()
    (workload,) = yard.replicas()
    assert workload.packages == Environment("xgboost", "xgboost")
    told = yard.logs.tail(SCOPE, "/aws/sagemaker/Endpoints/e", "preparation", 10)
    assert any("no route to the index. Until Clary starts again" in line for line in told)


async def test_code_beside_the_model(yard: Yard) -> None:
    yard.backend.contents |= {"code/serve.py": "x"}
    environment = {"SAGEMAKER_PROGRAM": "serve.py", "SAGEMAKER_SUBMIT_DIRECTORY": "s3://b/code.tar.gz"}
    await yard.create(environment=environment)
    await yard.in_service()
    (workload,) = yard.replicas()
    spec = spec_of(workload)
    assert (spec["code_dir"], spec["program"]) == ("/opt/ml/code", "serve.py")
    assert folder(workload, "/opt/ml/code") == "code"
    assert mounted(yard, workload, "/opt/ml/code").archives["code"] == Location("b", "code.tar.gz")


async def test_plain_files_are_placed_without_a_sandbox(yard: Yard) -> None:
    yard.artifacts.buckets["b"] |= {"plain/xgboost-model": b"p", "plain/code/inference.py": b"c"}
    await yard.create(artifact="s3://b/plain/", compression="None", prefix=True)
    await yard.in_service()
    (workload,) = yard.replicas()
    keys = {"plain/xgboost-model": "xgboost-model", "plain/code/inference.py": "code/inference.py"}
    assert mounted(yard, workload, "/opt/ml/model").folders == {"model": Objects(SCOPE.account, "b", keys)}
    assert yard.backend.opened == 0


async def test_additional_sources_lie_beside_the_model(yard: Yard) -> None:
    yard.artifacts.buckets["b"] |= {"plain/a/words": b"p", "one.bin": b"1"}
    yard.backend.contents |= {"data-2/packed": "x"}
    additional = (
        DataSource("plain", "s3://b/plain/", "None", True),
        DataSource("one.bin", "s3://b/one.bin", "None", False),
        DataSource("packed", "s3://b/code.tar.gz", "Gzip", False),
    )
    await yard.create(additional=additional)
    await yard.in_service()
    (workload,) = yard.replicas()
    beside = "/opt/ml/additional-model-data-sources"
    assert [folder(workload, f"{beside}/{name}") for name in ("plain", "one.bin", "packed")] == [
        "data-0",
        "data-1",
        "data-2",
    ]
    model = mounted(yard, workload, "/opt/ml/model")
    assert model.folders["data-0"].keys == {"plain/a/words": "a/words"}
    assert model.folders["data-1"].keys == {"one.bin": "one.bin"}
    assert model.archives == {"model": Location("b", "m.tar.gz"), "data-2": Location("b", "code.tar.gz")}


@pytest.mark.parametrize(
    ("container", "words"),
    [
        (
            {"artifact": "s3://b/none.tar.gz"},
            'Failed to download model data for container "primary" from URL: "s3://b/none',
        ),
        ({"artifact": "s3://nowhere/m.tar.gz"}, "Failed to download model data"),
        ({"artifact": "s3://jumpstart-cache-prod-us-east-1/m.tar.gz"}, "is one of AWS's public buckets"),
        ({"environment": {"SAGEMAKER_PROGRAM": "serve.py"}}, "there is no code"),
        ({"additional": (DataSource("a", "s3://b/none", "None", True),)}, 'from URL: "s3://b/none"'),
        ({"additional": (DataSource("a", "s3://b/m", "Gzip", True),)}, "must be one object: S3DataType S3Object"),
    ],
)
async def test_what_is_not_there_fails_with_its_reason(yard: Yard, container: dict[str, Any], words: str) -> None:
    await yard.create(**container)
    record = await yard.until("Failed")
    assert record is not None
    assert words in life.plant_of(record).failure
    assert yard.replicas() == []


async def test_an_archive_that_is_refused(yard: Yard) -> None:
    yard.backend.refusal = "ClientError: Cannot extract m.tar.gz: member ../x leaves the folder."
    await yard.create()
    record = await yard.until("Failed")
    assert record is not None
    assert life.plant_of(record).failure == yard.backend.refusal
    assert await yard.backend.handles() == []


async def test_requirements_that_cannot_be_built(yard: Yard) -> None:
    yard.backend.contents |= {"model/code/inference.py": "x", "model/code/requirements.txt": "nope"}
    yard.runtimes.broken["nope"] = "no such package: nope"
    await yard.create()
    record = await yard.until("Failed")
    assert record is not None
    assert "no such package: nope" in life.plant_of(record).failure


async def test_a_model_that_does_not_load_leaves_nothing_running(yard: Yard) -> None:
    yard.failure = "Traceback\nValueError: bad"
    await yard.create()
    record = await yard.until("Failed")
    assert record is not None
    assert "ValueError: bad" in life.plant_of(record).failure
    async with asyncio.timeout(60):
        while await yard.backend.handles():
            await asyncio.sleep(0.002)


async def test_strict_reserves_a_place_for_each_replica(yard: Yard) -> None:
    """The machine has 2 vCPU: one ml.m5.large."""
    await yard.close()
    yard.policy = "strict"
    yard.open()
    await yard.create(count=2)
    record = await yard.until("Failed")
    assert record is not None
    reason = life.plant_of(record).failure
    assert reason.startswith("CapacityError: Unable to provision requested ML compute capacity")
    assert "4 vCPU are needed, 0 of 2 are reserved" in reason


async def test_a_place_is_kept_over_a_restart_and_given_back_at_the_end(yard: Yard) -> None:
    await yard.close()
    yard.policy = "strict"
    yard.open()
    await yard.create()
    record = await yard.in_service()
    await yard.close()
    yard.open()
    async with asyncio.timeout(60):
        while not yard.ledger.held():
            await asyncio.sleep(0.002)
    await yard.store.save(life.asked_delete(record, yard.clock.now()))
    await yard.until(None)
    async with asyncio.timeout(60):
        while yard.ledger.held():
            await asyncio.sleep(0.002)


async def test_a_successor_knows_all_places_before_it_gives_one(yard: Yard) -> None:
    """Also those of endpoints at which it did not look yet."""
    await yard.create()
    await yard.in_service()
    await yard.close()
    ledger = Ledger(yard.store)
    await EndpointSubject(yard.ports, yard.settings, ledger).seed()
    assert [claim.owner.name for claim in ledger.held()] == ["e"]
    yard.open()


async def test_one_model_is_extracted_once_for_all(yard: Yard) -> None:
    await yard.create(count=3)
    await yard.in_service()
    assert len(yard.replicas()) == 3
    assert yard.backend.opened == 1
    record = await yard.record()
    assert record is not None
    yard.backend.finish(yard.replicas()[0].key, 137)
    async with asyncio.timeout(60):
        while len(yard.replicas()) < 4:
            yard.clock.advance(0.1)
            yard.loop.wake(ARN)
            await asyncio.sleep(0.002)
    assert yard.backend.opened == 1


async def test_a_model_folder_that_was_deleted_is_made_again(yard: Yard) -> None:
    await yard.create()
    await yard.in_service()
    yard.backend.models.clear()
    yard.backend.finish(yard.replicas()[0].key, 137)
    async with asyncio.timeout(60):
        while len(yard.replicas()) < 2:
            yard.clock.advance(0.1)
            yard.loop.wake(ARN)
            await asyncio.sleep(0.002)
    assert yard.backend.opened == 2


async def test_a_successor_adopts_what_runs(yard: Yard) -> None:
    await yard.create(count=2)
    before = await yard.in_service()
    await yard.close()
    yard.open()
    await asyncio.sleep(0.1)
    assert len(yard.replicas()) == 2
    assert await yard.record() == before
    yard.backend.finish(yard.replicas()[0].key, 1)
    async with asyncio.timeout(60):
        while len(yard.replicas()) < 3:
            yard.clock.advance(0.1)
            yard.loop.wake(ARN)
            await asyncio.sleep(0.002)


async def test_deletion_leaves_nothing(yard: Yard) -> None:
    await yard.create(count=2)
    record = await yard.in_service()
    await yard.store.save(life.asked_delete(record, yard.clock.now()))
    await yard.until(None)
    assert yard.fronts.routes == {}
    async with asyncio.timeout(60):
        while await yard.backend.handles():
            await asyncio.sleep(0.002)


async def test_models_that_nobody_uses_are_swept_when_they_are_old(yard: Yard) -> None:
    yard.backend.aged = True
    await yard.create()
    record = await yard.in_service()
    yard.backend.models["other"] = ModelFiles("other", SCOPE.account)
    other = replace(record, name="o", arn=ARN + "o", document=json.loads(json.dumps(record.document)))
    variant = other.document["plant"]["serving"]["variants"][0]
    variant["prepared"]["model"] = "/of/an/older/clary/models/other/out/model"
    variant["replicas"], variant["count"] = [], 0
    await yard.store.add(other)
    await asyncio.sleep(0.05)
    await yard.store.save(life.asked_delete(record, yard.clock.now()))
    async with asyncio.timeout(60):
        while list(yard.backend.models) != ["other"]:
            await asyncio.sleep(0.002)


async def test_a_multi_model_replica_gets_folders_for_its_models_and_no_model(yard: Yard) -> None:
    await yard.create(artifact="s3://b/models/", multi_model=True)
    record = await yard.in_service()
    (workload,) = yard.replicas()
    archives, models = files(workload, "archives"), files(workload, "models")
    assert (archives.target, archives.mode) == ("/opt/clary/archives", "ro")
    assert (models.target, models.mode) == ("/opt/ml/models", "rw")
    model = mounted(yard, workload, "/opt/ml/model")
    assert (model.folders, model.archives) == ({}, {})
    assert workload.environment["SAGEMAKER_MULTI_MODEL"] == "true"
    spec = spec_of(workload)
    assert spec["multi"] == {
        "archives": "/opt/clary/archives",
        "folder": "/opt/ml/models",
        "memory": workload.memory,
        "resized": "/opt/clary/spec/memory",
    }
    [route] = yard.fronts.routes["e"].variants
    assert route.multi_model
    assert yard.backend.opened == 0
    assert life.plant_of(record).serving is not None


async def test_the_code_of_a_multi_model_container_may_be_in_each_archive(yard: Yard) -> None:
    environment = {"SAGEMAKER_PROGRAM": "score.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"}
    await yard.create(artifact="s3://b/models/", multi_model=True, environment=environment)
    await yard.in_service()
    (workload,) = yard.replicas()
    spec = spec_of(workload)
    assert (spec["program"], spec["code_dir"]) == ("score.py", "")


async def test_a_multi_model_container_whose_bucket_is_not_there_fails_the_endpoint(yard: Yard) -> None:
    await yard.create(artifact="s3://nowhere/models/", multi_model=True)
    record = await yard.until("Failed")
    assert record is not None
    assert life.plant_of(record).failure.startswith('Failed to download model data for container "primary" from URL')


async def test_a_server_of_the_models_own_cannot_be_a_multi_model_container(yard: Yard) -> None:
    await yard.create(artifact="s3://b/models/", multi_model=True, environment={"CLARY_SERVE_COMMAND": "run"})
    record = await yard.until("Failed")
    assert record is not None
    assert "cannot serve Mode MultiModel" in life.plant_of(record).failure
