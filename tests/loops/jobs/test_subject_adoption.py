"""Jobs that the Clary before began go on to their end: it laid their folders out itself, and a run's files lie beside the run's own."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.loops.house import House
from tests.loops.jobs.test_subject_sandboxed import FACTS, RealHouse

from clary.domain.jobs.channels import Channel
from clary.domain.jobs.kinds import spec_of
from clary.domain.machine.workload import Mount, MountMode, Workload
from clary.domain.resources import Record
from clary.domain.s3 import Location
from clary.domain.stored import dumped

FIT = {"cpu": 1.0, "memory": 1 << 30, "gpus": 0, "notes": []}
RUN = "job-idjob-0-algo-1"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[RealHouse]:
    made = RealHouse(tmp_path)
    yield made
    await made.close()
    for handle in await made.local.handles():
        await made.local.stop(handle, 0.0)
    made.local.close()


async def older(house: House, script: str, done: dict[str, Any], phase: str, **changes: Any) -> Record:
    """A job as that Clary had it: its record, and its folders as it made them."""
    spec = {"ContainerEntrypoint": ["/bin/sh", "-c", script]}
    await house.create("Job", spec=spec, **changes)
    record = await house.record()
    now = house.ports.clock.now()
    document = {
        **record.document,
        "phase": phase,
        "started": now,
        "placed": now,
        "fits": {"ml.m5.large": FIT},
        "work": {"channels": {"copied": []}, "environment": {"built": 0.0}, **done},
        "transitions": [{"Status": "Training", "StartTime": now, "StatusMessage": "Training in progress"}],
    }
    if phase == "training":
        document |= {"run_started": now, "handles": {"algo-1": RUN}}
    saved = await house.ports.store.save(replace(record, document=document))
    top = Path(house.settings.folder) / "idjob" / "0"
    for folder in ("ml/model", "ml/output/data", "ml/checkpoints", "config", "channels/train", "sync/checkpoints"):
        (top / "algo-1" / folder).mkdir(parents=True)
    (top / "algo-1" / "config" / "hyperparameters.json").write_text("{}")
    (top / "algo-1" / "channels" / "train" / "part").write_text("data")
    (top / "code-out" / "code").mkdir(parents=True)
    (top / "code-out" / "code" / "train.py").write_text("pass")
    (top / "sync-state.json").write_text(json.dumps({}))
    return saved


async def runs_on(house: RealHouse, record: Record, script: str, *further: Mount) -> int:
    """Its host, started as that Clary started it. Its process id."""
    root = Path(house.settings.folder) / "idjob" / "0" / "algo-1"
    house.subject.work.log(record, "algo-1")
    workload = Workload(
        key=RUN,
        root=str(root),
        command=("/bin/sh", "-c", script),
        environment={"PATH": "/usr/bin:/bin"},
        mounts=(
            Mount(str(root / "ml"), "/opt/ml", MountMode.READ_WRITE),
            Mount(str(root / "config"), "/opt/ml/input/config", MountMode.OVERLAY),
            Mount(str(root / "channels" / "train"), "/opt/ml/input/data/train", MountMode.OVERLAY),
            Mount(str(root / "sync" / "checkpoints"), "/opt/ml/checkpoints", MountMode.READ_WRITE),
            *further,
        ),
        log_path=house.subject.work.log(record, "algo-1"),
        background=True,
        peers="job-idjob-0-hosts",
    )
    await house.local.start(house.local.plan(workload))
    seen = await house.local.observe(RUN)
    assert seen is not None
    assert seen.pid is not None
    return seen.pid


@pytest.mark.skipif(bool(FACTS.problem), reason=f"NO SANDBOX ON THIS MACHINE: {FACTS.problem}")
@pytest.mark.parametrize("exit_code", [0, 3])
async def test_a_running_job_is_adopted_and_its_results_are_stored(house: RealHouse, exit_code: int) -> None:
    script = (
        "cat /opt/ml/input/data/train/part > /opt/ml/model/m; echo ck > /opt/ml/checkpoints/c;"
        f"echo why it ended > /opt/ml/output/failure; while [ ! -e /opt/ml/go ]; do sleep 0.02; done; exit {exit_code}"
    )
    house.objects["b"]["d/part"] = b"data"
    record = await older(house, script, {}, "training", CheckpointConfig={"S3Uri": "s3://b/ck"})
    pid = await runs_on(house, record, script)
    house.open()
    ml = Path(house.settings.folder) / "idjob" / "0" / "algo-1" / "ml"
    await house.until(lambda: (ml / "model" / "m").exists())
    await asyncio.sleep(0.2)  # some turns of the loop
    seen = await house.local.observe(RUN)
    assert seen is not None
    assert seen.pid == pid, "it is not started again"
    (ml / "go").touch()
    ended = await house.ended()
    assert house.objects["b"]["ck/c"] == b"ck\n"
    if exit_code:
        assert (ended.status, ended.document["failure"]) == ("Failed", "AlgorithmError: why it ended, exit code: 3")
    else:
        assert ended.status == "Completed", ended.document.get("failure")
        assert house.packed("Job") == {"m": b"data"}
        assert not Path(house.settings.folder, "idjob").exists()
        assert await house.local.handles() == []


@pytest.mark.skipif(bool(FACTS.problem), reason=f"NO SANDBOX ON THIS MACHINE: {FACTS.problem}")
async def test_one_that_mounts_the_hosts_certificate_of_an_authority_goes_on_with_it(
    house: RealHouse, tmp_path: Path
) -> None:
    """Sandboxes have it as a text now; those that run keep the file, as it is renewed on the host."""
    bundle = tmp_path / "ca.pem"
    bundle.write_text("FIRST")
    house.settings = replace(house.settings, ca_bundle=bundle.read_text)
    script = (
        "echo begun >> /opt/ml/model/begun; while [ ! -e /opt/ml/go ]; do sleep 0.02; done;"
        "cat /opt/clary/ca.pem > /opt/ml/model/m"
    )
    record = await older(house, script, {}, "training")
    await runs_on(house, record, script, Mount(str(bundle), "/opt/clary/ca.pem"))
    bundle.write_text("RENEWED")  # in place, as a mount of one file sees it
    await house.again()
    (Path(house.settings.folder) / "idjob" / "0" / "algo-1" / "ml" / "go").touch()
    ended = await house.ended()
    assert ended.status == "Completed", ended.document.get("failure")
    assert house.packed("Job") == {"begun": b"begun\n", "m": b"RENEWED"}, "it began once"


async def test_what_it_had_laid_out_is_what_the_host_gets(tmp_path: Path) -> None:
    """It ended between its last piece of work and the start."""
    house = House(tmp_path)
    inputs = (
        Channel("train", Location("b", "d"), "s3://b/d", "File", distribution="ShardedByS3Key"),
        Channel("large", Location("b", "l"), "s3://b/l", "File"),
        Channel("piped", Location("b", "p"), "s3://b/p", "Pipe"),
    )
    done = {
        "code": {"requirements": "", "built": 0.0},
        "channels": {"copied": [["algo-1", "train"]], "objects": {}, "bytes": 4},
    }
    try:
        record = await older(house, "true", done, "downloading")
        spec = replace(spec_of(record), inputs=inputs)
        await house.ports.store.save(replace(record, document={**record.document, "spec": dumped(spec)}))
        top = Path(house.settings.folder) / "idjob" / "0"
        for folder in ("channels/large", "pipes/piped/objects", "manifests"):
            (top / "algo-1" / folder).mkdir(parents=True)
        (top / "algo-1/manifests/train-manifest").write_text("part\n")
        house.open()
        workload = await house.started()
        mounts = {mount.target: (mount.source, mount.mode) for mount in workload.mounts}
        assert mounts["/opt/ml/code"] == (str(top / "code-out" / "code"), MountMode.OVERLAY)
        channels = top / "algo-1" / "channels"
        assert mounts["/opt/ml/input/data/train"] == (str(channels / "train"), MountMode.READ_WRITE)
        assert mounts["/opt/ml/input/data/large"] == (str(channels / "large"), MountMode.OVERLAY)
        assert mounts["/opt/clary/pipes/piped"] == (str(top / "algo-1" / "pipes" / "piped"), MountMode.READ_ONLY)
        assert os.listdir(mounts["/opt/ml/code"][0]) == ["train.py"]
        (ml,) = (each for each in workload.files if each.name == "ml")
        assert ml.texts == {"input/data/train-manifest": "part\n"}
        assert "job-idjob-0-data" not in house.backend.workloads, "nothing is laid out again"
    finally:
        await house.close()


@pytest.mark.parametrize("restored", [True, False])
async def test_checkpoints_of_data_that_it_placed_are_where_it_had_them(tmp_path: Path, restored: bool) -> None:
    """Restored by it or not yet: the job's own folders go on, and what changes there is stored."""
    house = House(tmp_path)
    house.objects["b"]["ck/old"] = b"1"
    try:
        done = {"syncs": {}} if restored else {}
        await older(house, "true", done, "downloading", CheckpointConfig={"S3Uri": "s3://b/ck"})
        house.open()
        workload = await house.started()
        assert workload.results == ()
        folder = Path(house.settings.folder) / "idjob" / "0" / "algo-1" / "sync" / "checkpoints"
        (mount,) = (each for each in workload.mounts if each.target == "/opt/ml/checkpoints")
        assert (mount.source, mount.mode) == (str(folder), MountMode.READ_WRITE)
        assert os.listdir(folder) == ([] if restored else ["old"]), "its restore found nothing"
        (folder / "new").write_text("2")
        house.backend.finish(workload.key)
        assert (await house.ended()).status == "Completed"
        assert house.objects["b"] == {"ck/old": b"1", "ck/new": b"2"}
    finally:
        await house.close()
