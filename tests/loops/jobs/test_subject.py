"""The job loop over fakes: what is placed, started, kept and removed; who waits; what a successor finds."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import tarfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.loops.house import SCOPE, SKLEARN, WAIT, House, channel, source, tar

from clary.domain.errors import Invalid
from clary.domain.jobs import hosts, training
from clary.domain.jobs import record as jobs
from clary.domain.machine.capacity import Fit, Owner, Waiting
from clary.domain.machine.instances import GIB
from clary.domain.machine.workload import ENVIRONMENT, Environment, MountMode, RunFailure
from clary.domain.metrics.datapoints import Series
from clary.domain.s3 import Location
from clary.loops.jobs.code import code_files
from clary.testing.clock import FakeClock
from clary.testing.memory_artifacts import MemoryArtifacts
from clary.testing.runtimes import MemoryRuntimes


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = House(tmp_path)
    made.open()
    yield made
    await made.close()


async def test_keys_that_the_job_sets_itself_are_its_own(house: House) -> None:
    await house.create(Environment={"AWS_ACCESS_KEY_ID": "mine"})
    workload = await house.started()
    assert workload.environment["AWS_ACCESS_KEY_ID"] == "mine"
    assert set(house.backend.secrets[workload.key]) == {"AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}


async def test_a_built_in_job_from_its_data_to_its_model(house: House, tmp_path: Path) -> None:
    house.objects["b"] |= {"d/a.csv": b"1,2", "d/x/b.csv": b"3,4"}
    await house.create(InputDataConfig=[channel("train", "s3://b/d")], HyperParameters={"num_round": "2"})
    workload = await house.started()
    assert (source(workload, "/opt/ml/input/data/train/x/b.csv")).read_bytes() == b"3,4"
    assert json.loads(source(workload, "/opt/ml/input/config/hyperparameters.json").read_text()) == {"num_round": "2"}
    assert workload.command == (f"{ENVIRONMENT}/bin/python", "-m", "clary.toolkit.train")
    assert (workload.packages, workload.installs) == (Environment("xgboost", "xgboost"), True)
    variables = workload.environment
    assert variables["CLARY_ALGORITHM"] == "xgboost"
    assert variables["TRAINING_JOB_NAME"] == "Job"
    assert variables["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4600"
    assert variables["HTTP_PROXY"] == "p"
    assert "AWS_ACCESS_KEY_ID" not in variables
    secrets = house.backend.secrets[workload.key]
    assert secrets["AWS_ACCESS_KEY_ID"].startswith("ASIA")
    assert set(secrets) == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
    assert (workload.max_runtime, workload.disk, workload.network) == (600.0, GIB, True)
    assert workload.log_path is not None
    house.logs.write(workload.log_path, [(5000, "[0]#011train-rmse:0.5"), (6000, "[1]#011train-rmse:0.25")])
    (source(workload, "/opt/ml/model") / "xgboost-model").write_text("m")
    house.backend.finish("job-idjob-0-algo-1")
    record = await house.ended()
    assert (record.status, jobs.secondary(record.document)) == ("Completed", "Completed")
    assert record.document["metrics"] == [{"MetricName": "train:rmse", "Value": 0.25, "Timestamp": 6.0}]
    series = Series.of("/aws/sagemaker/TrainingJobs", "train:rmse", {"TrainingJobName": "Job"})
    samples = house.ports.datapoints.get(SCOPE, series, 0, 9, 1)
    assert [(at, summary.total) for at, summary in samples] == [(5.0, 0.5), (6.0, 0.25)]
    with tarfile.open(fileobj=io.BytesIO(house.objects["out"]["Job/output/model.tar.gz"])) as archive:
        assert archive.getnames() == ["xgboost-model"]
    assert not (tmp_path / "jobs" / "idjob").exists()
    assert await house.backend.handles() == []


async def test_a_newer_python_that_serves_does_not_train(house: House) -> None:
    assert isinstance(house.ports.runtimes, MemoryRuntimes)
    house.ports.runtimes.newer = True
    await house.create()
    workload = await house.started()
    assert workload.packages == Environment("xgboost", "xgboost")
    assert workload.command[0] == workload.packages.python


async def test_log_streams_and_notes_are_there_before_the_run(house: House) -> None:
    await house.create()
    await house.started()
    (stream,) = house.logs.streams(SCOPE, training.LOG_GROUP, "Job/")
    assert stream.name == f"Job/algo-1-{int(house.ports.clock.now())}"
    assert house.logs.tail(SCOPE, training.LOG_GROUP, stream.name, 9)[0] == "[clary] a note"


async def test_code_decides_the_environment(house: House) -> None:
    house.objects["b"]["c/sourcedir.tar.gz"] = tar(train__py="pass", requirements__txt="humanize==1\n")
    parameters = {"sagemaker_program": '"train.py"', "sagemaker_submit_directory": '"s3://b/c/sourcedir.tar.gz"'}
    await house.create(HyperParameters=parameters)
    workload = await house.started()
    runtimes = house.ports.runtimes
    assert isinstance(runtimes, MemoryRuntimes)
    assert ("xgboost-script", "humanize==1\n") in runtimes.builds, "the user's code gets the richer environment"
    mount = next(m for m in workload.mounts if m.target == "/opt/ml/code")
    assert (Path(mount.source) / "train.py").read_text() == "pass"
    assert mount.mode is MountMode.OVERLAY


async def test_requirements_that_cannot_be_built_fail_the_job_with_their_words(house: House) -> None:
    house.objects["b"]["c.tar.gz"] = tar(train__py="pass", requirements__txt="nope==1\n")
    runtimes = house.ports.runtimes
    assert isinstance(runtimes, MemoryRuntimes)
    runtimes.broken["nope==1\n"] = "no version of nope"
    parameters = {"sagemaker_program": "train.py", "sagemaker_submit_directory": "s3://b/c.tar.gz"}
    await house.create(image=SKLEARN, HyperParameters=parameters)
    assert (await house.ended()).document["failure"] == "ClientError: no version of nope"


async def test_requirements_include_files_of_the_source_and_of_nowhere_else(house: House) -> None:
    files = {"train.py": "pass", "requirements.txt": "-r more.txt\nb==2\n", "more.txt": "a==1\n"}
    house.objects["b"]["c.tar.gz"] = tar(**{name.replace(".", "__"): text for name, text in files.items()})
    house.objects["b"]["d.tar.gz"] = tar(train__py="pass", requirements__txt="-r ../../../spec.json\n")
    parameters = {"sagemaker_program": "train.py", "sagemaker_submit_directory": "s3://b/c.tar.gz"}
    await house.create(image=SKLEARN, HyperParameters=parameters)
    await house.started()
    runtimes = house.ports.runtimes
    assert isinstance(runtimes, MemoryRuntimes)
    assert ("sklearn", "a==1\nb==2\n") in runtimes.builds
    away = {**parameters, "sagemaker_submit_directory": "s3://b/d.tar.gz"}
    await house.create("Away", image=SKLEARN, HyperParameters=away)
    assert "'../../../spec.json' is not in the source" in (await house.ended("Away")).document["failure"]


async def test_a_container_command_replaces_the_toolkit(house: House) -> None:
    await house.create(image=SKLEARN, spec={"ContainerEntrypoint": ["/bin/bash"], "ContainerArguments": ["-c", "true"]})
    workload = await house.started()
    assert workload.command == ("/bin/bash", "-c", "true")
    assert "PYTHONPATH" not in workload.environment


async def test_missing_data_fails_in_aws_words(house: House) -> None:
    await house.create(InputDataConfig=[channel("train", "s3://b/none/")])
    failure = (await house.ended()).document["failure"]
    assert failure.startswith(
        'ClientError: No S3 objects found under S3 URL "s3://b/none/" given in input data source.'
    )


async def test_two_hosts_share_the_objects_and_know_each_other(house: House) -> None:
    house.objects["b"] |= {f"d/{n}": b"x" for n in range(5)}
    config = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}
    sharded = channel("train", "s3://b/d/", source={"S3DataDistributionType": "ShardedByS3Key"})
    await house.create(InputDataConfig=[sharded], ResourceConfig=config)
    first, second = await house.started(), await house.started(host="algo-2")
    assert sorted(os.listdir(source(first, "/opt/ml/input/data/train"))) == ["0", "2", "4"]
    assert sorted(os.listdir(source(second, "/opt/ml/input/data/train"))) == ["1", "3"]
    assert first.hosts == second.hosts == {f"algo-{n + 1}": hosts.address("idjob", n) for n in (0, 1)}
    (source(first, "/opt/ml/model") / "one").write_text("1")
    (source(second, "/opt/ml/model") / "two").write_text("2")
    house.backend.finish("job-idjob-0-algo-1")
    house.backend.finish("job-idjob-0-algo-2")
    assert (await house.ended()).status == "Completed"
    with tarfile.open(fileobj=io.BytesIO(house.objects["out"]["Job/output/model.tar.gz"])) as archive:
        assert archive.getnames() == ["one", "two"]


async def test_modes_decide_how_a_channel_is_mounted(house: House) -> None:
    house.objects["b"] |= {"d/a": b"x", "big/a": b"x" * (17 << 20), "m": b'[{"prefix": "s3://b/d/"}, "a"]'}
    await house.create(
        InputDataConfig=[
            channel("small", "s3://b/d/"),
            channel("large", "s3://b/big/"),
            channel("fast", "s3://b/d/", InputMode="FastFile"),
            channel("listed", "s3://b/m", kind="ManifestFile"),
            channel("piped", "s3://b/d/", InputMode="Pipe"),
        ]
    )
    workload = await house.started()
    modes = {
        m.target.rpartition("/")[2]: m.mode for m in workload.mounts if "/data/" in m.target or "/pipes/" in m.target
    }
    assert modes == {
        "small": MountMode.READ_WRITE,
        "large": MountMode.OVERLAY,
        "fast": MountMode.READ_ONLY,
        "listed": MountMode.OVERLAY,
        "piped": MountMode.READ_ONLY,
    }
    assert workload.command[1].endswith("/toolkit/pipes.py")
    spec = json.loads(source(workload, "/opt/ml/input/config/.pipes.json").read_text())
    assert [each["name"] for each in spec["channels"]] == ["piped"]
    assert source(workload, "/opt/clary/pipes/piped/items.jsonl").read_text() == '{"file": "00000000"}\n'


async def test_data_is_laid_out_once_for_all_hosts_and_kept_until_they_have_ended(house: House) -> None:
    house.objects["b"] |= {f"d/{n}": b"xx" for n in range(3)}
    config = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}
    sharded = channel("train", "s3://b/d/", source={"S3DataDistributionType": "ShardedByS3Key"})
    await house.create(InputDataConfig=[sharded, channel("all", "s3://b/d/")], ResourceConfig=config)
    await house.started()
    data = house.backend.workloads["job-idjob-0-data"]
    names = ["algo-1.train", "algo-2.train", "algo-1.all", "algo-2.all"]
    assert ([each.name for each in data.files], data.command) == (names, ())
    placed = (await house.record()).document["work"]["channels"]
    assert (placed["run"], placed["bytes"]) == (data.key, 2 * (3 + 2 * 3))
    assert placed["copied"] == [["algo-1", "all"], ["algo-1", "train"], ["algo-2", "all"], ["algo-2", "train"]]
    told = placed["objects"]
    assert told["train"] == told["all"], "the same listing"
    assert (told["all"]["count"], [key for key, _ in told["all"]["first"]]) == (3, ["d/0", "d/1", "d/2"])
    house.backend.finish("job-idjob-0-algo-1")
    house.backend.finish("job-idjob-0-algo-2")
    assert (await house.ended()).status == "Completed"
    assert await house.backend.handles() == []


class HeldArtifacts(MemoryArtifacts):
    """Places nothing before `go`; counts how often it is asked to."""

    def __init__(self) -> None:
        super().__init__({"b": {"d/a": b"1"}, "out": {}})
        self.asked, self.go = 0, asyncio.Event()

    def of(self, account: str) -> MemoryArtifacts:
        return self

    async def place(self, bucket: str, keys: Mapping[str, str], folder: str) -> None:
        self.asked += 1
        await self.go.wait()
        await super().place(bucket, keys, folder)


async def test_a_stop_while_downloading_ends_the_download(tmp_path: Path) -> None:
    artifacts = HeldArtifacts()
    house = House(tmp_path, artifacts=artifacts)
    house.open()
    try:
        await house.create(InputDataConfig=[channel("train", "s3://b/d/")])
        await house.until(lambda: artifacts.asked)
        assert jobs.secondary((await house.record()).document) == "Downloading"
        await house.ports.store.save(jobs.stop_asked(await house.record(), 1.0))
        record = await house.ended()
        assert (record.status, jobs.secondary(record.document)) == ("Stopped", "Stopped")
        assert await house.backend.handles() == []
    finally:
        await house.close()


async def test_a_successor_goes_on_with_the_download_that_its_predecessor_began(tmp_path: Path) -> None:
    artifacts = HeldArtifacts()
    house = House(tmp_path, artifacts=artifacts)
    house.open()
    try:
        await house.create(InputDataConfig=[channel("train", "s3://b/d/")])
        await house.until(lambda: artifacts.asked)
        await house.again()
        artifacts.go.set()
        workload = await house.started()
        assert (artifacts.asked, os.listdir(source(workload, "/opt/ml/input/data/train"))) == (1, ["a"])
    finally:
        await house.close()


@pytest.mark.parametrize("failure", [None, RunFailure("No space left on device")])
async def test_a_download_that_its_predecessor_did_not_bring_to_an_end_is_done_again(
    house: House, failure: RunFailure | None
) -> None:
    """It was stopped, as when Clary is shut down, or failed unheard."""
    house.objects["b"]["d/a"] = b"1"
    await house.left("job-idjob-0-data", None)
    await house.until(lambda: "job-idjob-0-data" in house.backend.workloads)
    house.backend.finish("job-idjob-0-data", stopped=failure is None, failure=failure)
    house.backend.update("job-idjob-0-data", exit_code=None)
    await house.create(InputDataConfig=[channel("train", "s3://b/d/")])
    assert os.listdir(source(await house.started(), "/opt/ml/input/data/train")) == ["a"]


async def test_the_failure_file_is_the_reason_but_never_through_a_link(house: House, tmp_path: Path) -> None:
    await house.create("One")
    await house.create("Two")
    for name in ("One", "Two"):
        output = source(await house.started(name), "/opt/ml/output")
        if name == "One":
            (output / "failure").write_text("it broke")
        else:
            (tmp_path / "secret").write_text("host secret")
            (output / "failure").symlink_to(tmp_path / "secret")
        house.backend.finish(f"job-id{name.lower()}-0-algo-1", 3)
    assert (await house.ended("One")).document["failure"] == "AlgorithmError: it broke, exit code: 3"
    assert "host secret" not in (await house.ended("Two")).document["failure"]


async def test_a_stop_keeps_what_was_made(house: House) -> None:
    await house.create()
    workload = await house.started()
    (source(workload, "/opt/ml/model") / "partial").write_text("p")
    record = await house.record()
    await house.ports.store.save(jobs.stop_asked(record, 1.0))
    record = await house.ended()
    assert (record.status, jobs.secondary(record.document)) == ("Stopped", "Stopped")
    assert "Job/output/model.tar.gz" in house.objects["out"]
    assert record.document["artifacts"] == "s3://out/Job/output/model.tar.gz"


async def test_first_come_first_served_and_those_that_wait_say_so(house: House) -> None:
    house.machine = replace(house.machine, slots=1)
    await house.create("One")
    await house.started("One")
    await house.create("Two")
    waiting = await house.reached("Pending", "Two")
    assert "Waiting for capacity" in waiting.document["transitions"][-1]["StatusMessage"]
    house.backend.finish("job-idone-0-algo-1")
    await house.started("Two")


@pytest.mark.parametrize("why", ["stop", "another host"])
@pytest.mark.parametrize("policy", ["fit", "strict"])
async def test_a_job_that_takes_its_time_to_end_keeps_nobody_waiting(house: House, policy: str, why: str) -> None:
    clock = house.ports.clock
    assert isinstance(clock, FakeClock)
    house.machine = replace(house.machine, cpus=4, slots=2)
    house.subject._settings = replace(house.subject._settings, policy=policy)
    house.backend.stubborn = True  # SIGTERM is not heeded before its grace is over
    two = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}
    await house.create("One", ResourceConfig=two)
    await house.started("One")
    await house.create("Two")
    await house.reached("Pending", "Two")
    if why == "stop":
        await house.ports.store.save(jobs.stop_asked(await house.record("One"), 1.0))
    else:
        house.backend.finish("job-idone-0-algo-1", 3)
    key = "job-idtwo-0-algo-1"
    async with asyncio.timeout(WAIT):
        while key not in house.backend.workloads:
            clock.advance(1.0)  # what it uses is measured between two looks
            house.loop.wake((await house.record("One")).arn)
            house.loop.wake((await house.record("Two")).arn)
            await asyncio.sleep(0.01)
    assert (await house.record("One")).status == ("Stopping" if why == "stop" else "InProgress")


async def test_a_new_job_waits_for_an_endpoint_that_waits_and_a_running_one_goes_on(house: House) -> None:
    """The endpoint's wish is the ledger's; the job takes its place in the account, and its share of the CPU is that of the background."""
    await house.create("One")
    running = await house.started("One")
    now = house.ports.clock.now()
    wish = Waiting("arn:shop", Owner("endpoint", "shop", SCOPE.account), now, "no room", (Fit(1.0, GIB, 0),), 64 * GIB)
    house.ledger.wish(wish, now)
    await house.create("Two")
    waiting = await house.reached("Pending", "Two")
    assert (
        "reserved for endpoint shop: endpoints have priority over jobs"
        in waiting.document["transitions"][-1]["StatusMessage"]
    )
    book = house.ledger.book(house.machine, "fit", now)
    assert [claim.owner.name for claim in book.jobs] == ["One"]
    assert [each.owner.name for each in book.waiting] == ["shop", "Two"]
    assert (await house.record("One")).status == "InProgress"
    house.ledger.withdraw("arn:shop")
    house.loop.wake(waiting.arn)
    other = await house.started("Two")
    assert (running.background, other.background) == (True, True)


async def test_a_successor_adopts_what_runs(house: House) -> None:
    await house.create()
    workload = await house.started()
    await house.again()
    (source(workload, "/opt/ml/model") / "m").write_text("1")
    house.backend.finish("job-idjob-0-algo-1")
    assert (await house.ended()).status == "Completed"
    assert len([key for key in house.backend.workloads if key.endswith("algo-1")]) == 1


async def test_a_successor_learns_how_a_run_ended_meanwhile_and_who_holds_a_place(house: House) -> None:
    house.machine = replace(house.machine, slots=1)
    await house.create("One")
    await house.started("One")
    await house.create("Two")
    await house.reached("Pending", "Two")
    await house.close()
    house.backend.finish("job-idone-0-algo-1", 1)
    await house.again()
    assert (await house.ended("One")).status == "Failed"
    await house.started("Two")


@pytest.mark.parametrize("exit_code", [0, None, 1])
async def test_what_a_predecessor_packed_or_unpacked_is_done_again(house: House, exit_code: int | None) -> None:
    """It was killed before it had taken what the short run made; its successor makes the folder anew, and the run with it."""
    house.objects["b"]["c.tar.gz"] = tar(train__py="pass")
    artifacts = house.ports.artifacts.of(SCOPE.account)
    files = await code_files(artifacts, SCOPE.account, Location("b", "c.tar.gz"))
    await house.left(f"model-{files.digest}", exit_code)
    await house.left("job-idjob-0-pack", exit_code)
    house.backend.large.add("job-idjob-0-algo-1")
    parameters = {"sagemaker_program": "train.py", "sagemaker_submit_directory": "s3://b/c.tar.gz"}
    await house.create(image=SKLEARN, HyperParameters=parameters)
    workload = await house.started()
    assert (source(workload, "/opt/ml/code") / "train.py").read_text() == "pass"
    (source(workload, "/opt/ml/model") / "m").write_text("1")
    house.backend.finish("job-idjob-0-algo-1")
    record = await house.ended()
    assert (record.status, record.document.get("failure")) == ("Completed", None)
    with tarfile.open(fileobj=io.BytesIO(house.objects["out"]["Job/output/model.tar.gz"])) as archive:
        assert archive.getnames() == ["m"]
    assert await house.backend.handles() == []


async def test_jobs_with_the_same_code_have_it_opened_once(house: House) -> None:
    opened = []
    house.backend.watch(lambda handle: opened.append(handle) if handle.startswith("model-") else None)
    house.objects["b"]["c.tar.gz"] = tar(train__py="pass")
    parameters = {"sagemaker_program": "train.py", "sagemaker_submit_directory": "s3://b/c.tar.gz"}
    for name in ("One", "Two"):
        await house.create(name, image=SKLEARN, HyperParameters=parameters)
    sources = {source(await house.started(name), "/opt/ml/code") for name in ("One", "Two")}
    assert (len(sources), len(set(opened))) == (1, 1)
    house.objects["b"]["c.tar.gz"] = tar(train__py="fail")
    await house.create("Three", image=SKLEARN, HyperParameters=parameters)
    other = await house.started("Three")
    assert (source(other, "/opt/ml/code") / "train.py").read_text() == "fail", "the archive is another one by now"
    assert next(m for m in other.mounts if m.target == "/opt/ml/code").mode is MountMode.OVERLAY


async def test_code_that_was_removed_while_the_job_waited_is_opened_again(house: House) -> None:
    house.objects["b"]["c.tar.gz"] = tar(train__py="pass")
    parameters = {"sagemaker_program": "train.py", "sagemaker_submit_directory": "s3://b/c.tar.gz"}
    await house.create(image=SKLEARN, HyperParameters=parameters)
    where = source(await house.started(), "/opt/ml/code")
    shutil.rmtree(where.parent.parent)
    record = await house.record()
    await house.subject.work.see_to_code(record)
    assert (where / "train.py").read_text() == "pass"
    shutil.rmtree(where.parent.parent)
    house.objects["b"]["c.tar.gz"] = tar(train__py="another")
    with pytest.raises(Invalid, match=r"s3://b/c\.tar\.gz was changed while the job was prepared"):
        await house.subject.work.see_to_code(record)


async def test_a_lost_run_is_tried_again(house: House) -> None:
    await house.create(RetryStrategy={"MaximumRetryAttempts": 1})
    await house.started()
    house.backend.lose("job-idjob-0-algo-1")
    await house.started(attempt=1)
    house.backend.finish("job-idjob-1-algo-1")
    record = await house.ended()
    assert record.status == "Completed"
    assert "Restarting" in [t["Status"] for t in record.document["transitions"]]


async def test_checkpoints_come_back_change_and_go(house: House) -> None:
    house.objects["b"] |= {"ck/keep": b"1", "ck/gone": b"2", "ckx/other": b"3"}
    await house.create(CheckpointConfig={"S3Uri": "s3://b/ck"})
    folder = source(await house.started(), "/opt/ml/checkpoints")
    assert sorted(os.listdir(folder)) == ["gone", "keep"]
    (folder / "gone").unlink()
    (folder / "keep").write_text("changed")
    (folder / "deep").mkdir()
    (folder / "deep" / "new").write_text("4")
    (folder / "link").symlink_to("/etc/hostname")
    house.backend.finish("job-idjob-0-algo-1", 1)
    assert (await house.ended()).status == "Failed", "checkpoints of a failed job are kept all the same"
    assert house.objects["b"] == {"ck/keep": b"changed", "ck/deep/new": b"4", "ckx/other": b"3"}


async def test_results_may_go_as_they_are(house: House) -> None:
    await house.create(OutputDataConfig={"S3OutputPath": "s3://out/p", "CompressionType": "NONE"})
    workload = await house.started()
    (source(workload, "/opt/ml/model") / "m.bin").write_text("1")
    (source(workload, "/opt/ml/output/data") / "report.txt").write_text("2")
    house.backend.finish("job-idjob-0-algo-1")
    record = await house.ended()
    assert house.objects["out"] == {"p/Job/output/model/m.bin": b"1", "p/Job/output/data/report.txt": b"2"}
    assert record.document["artifacts"] == "s3://out/p/Job/output/model/"


async def test_an_isolated_job_has_no_network_and_no_proxies(house: House) -> None:
    await house.create(EnableNetworkIsolation=True)
    workload = await house.started()
    assert not workload.network
    assert "HTTP_PROXY" not in workload.environment


TWO = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}


@pytest.mark.parametrize(
    ("more", "connects"),
    [
        ({}, False),
        ({"ResourceConfig": TWO}, True),  # its hosts meet
        ({"HyperParameters": {"sagemaker_program": "t.py"}}, True),
        ({"Environment": {"SAGEMAKER_PROGRAM": "t.py"}}, True),
        ({"spec": {"ContainerEntrypoint": ["/bin/true"]}}, True),
        ({"image": SKLEARN}, True),
    ],
)
async def test_only_a_built_in_algorithm_on_one_host_opens_no_connection(
    house: House, more: dict[str, Any], connects: bool
) -> None:
    await house.create(**more)
    assert (await house.started()).connects is connects


async def test_a_key_that_cannot_be_a_file_is_named(house: House) -> None:
    house.objects["b"]["d/../x"] = b"1"
    await house.create(InputDataConfig=[channel("train", "s3://b/d")])
    assert '"d/../x"' in (await house.ended()).document["failure"]


async def test_another_accounts_bucket_is_not_reached(house: House) -> None:
    artifacts = house.ports.artifacts
    assert isinstance(artifacts, MemoryArtifacts)
    house.objects["theirs"] = {"d/a": b"secret"}
    artifacts.owners["theirs"] = "111111111111"
    await house.create(InputDataConfig=[channel("train", "s3://theirs/d")])
    assert (await house.ended()).document["failure"] == (
        "ClientError: Access Denied: the bucket theirs belongs to another account."
    )
