"""Another Clary on the same records: an upgrade that is killed in its middle, a downgrade, a backup on another host (faults.md 45)."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.faults.scene import BUCKET, PYTHON_IMAGE, Scene, until
from tests.live import ROLE, Server

from clary.app import up
from clary.app.settings import Settings
from clary.domain.errors import Unavailable
from clary.stores.schema import VERSION

pytestmark = [pytest.mark.live, pytest.mark.slow]

NEWER = "9999"


@pytest.fixture
def ended(start: Callable[..., Server]) -> Scene:
    """A Clary that had work and has stopped."""
    scene = Scene(start())
    scene.put("kept", b"kept")
    for number in range(20):
        scene.sagemaker.create_model(
            ModelName=f"kept-{number}", ExecutionRoleArn=ROLE, PrimaryContainer={"Image": PYTHON_IMAGE}
        )
    up.down(scene.server.settings)
    return scene


def whole(scene: Scene, server: Server) -> None:
    """What there was is there, under the same names."""
    sagemaker, s3 = server.client("sagemaker"), server.client("s3")
    pages = sagemaker.get_paginator("list_models").paginate(NameContains="kept-")
    arns = {row["ModelArn"] for page in pages for row in page["Models"]}
    assert arns == {f"arn:aws:sagemaker:us-east-1:000000000000:model/kept-{number}" for number in range(20)}
    assert s3.get_object(Bucket=BUCKET, Key="kept")["Body"].read() == b"kept"


def change(settings: Settings, *statements: str) -> None:
    connection = sqlite3.connect(settings.root / "records.db")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def test_an_upgrade_that_is_killed_in_its_middle_goes_through_at_the_next_start(ended: Scene) -> None:
    """Every place within it is tried by tests/stores/test_sql.py; here all of Clary dies."""
    settings = ended.server.settings
    change(
        settings,
        *(f"DROP TABLE {name}" for name in ("changes", "machines", "grants", "terms")),
        *(f"DROP INDEX {name}" for name in ("resources_by_call", "resources_alone")),
        *(f"ALTER TABLE resources DROP COLUMN {name}" for name in ("made_by", "alone")),
        "UPDATE alembic_version SET version_num = '0001'",
    )
    copy = settings.root / "records.db.schema-0001"
    given = settings.root / "given.json"
    settings.write(given)
    argv = [sys.executable, "-m", "clary.app.up", "--dir", settings.dir, "--settings", str(given), "--ready-fd", "1"]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        until(copy.exists, 60, "it began to migrate")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    until(lambda: not ended.everyone(), 30, "all of it is gone")

    server = Server(up.detached(settings))
    whole(ended, server)
    server.client("sagemaker").create_model(
        ModelName="new", ExecutionRoleArn=ROLE, PrimaryContainer={"Image": PYTHON_IMAGE}
    )
    connection = sqlite3.connect(copy)
    assert connection.execute("SELECT count(*) FROM resources WHERE kind = 'model'").fetchone() == (20,)
    connection.close()
    up.down(settings)


OLDER = (  # what the schema 0003 had not, nor the document of a job
    *(f"DROP TABLE {name}" for name in ("machines", "grants", "terms")),
    "DROP INDEX resources_alone",
    "ALTER TABLE resources DROP COLUMN alone",
    "UPDATE resources SET document = json_remove(document, '$.spec') WHERE kind = 'training-job'",
    "UPDATE alembic_version SET version_num = '0003'",
)


def as_it_was_laid_out(root: Path) -> list[Path]:
    """Turns what runs into what the commit before left: each replica in a folder that the loop made, `replicas/ID`, with no request that
    says what its files are. Answers those folders. Their shims go on where they were started, so links remain there."""
    made = []
    for folder in (root / "backend" / "own").glob("replica-*"):
        made.append(root / "replicas" / folder.name.removeprefix("replica-"))
        made[-1].parent.mkdir(exist_ok=True)
        folder.rename(made[-1])
        folder.symlink_to(made[-1])
        for files in list((made[-1] / "files").iterdir()):
            files.rename(made[-1] / files.name)
        (made[-1] / "files").rmdir()
        (made[-1] / "shim" / "request.json").unlink()
        for entry in (root / "backend" / "runs").glob("*.json"):
            said = json.loads(entry.read_text())
            if said["key"] == folder.name:
                entry.write_text(json.dumps({**said, "root": f"replicas/{made[-1].name}"}))
    return made


TICKS = "import time\nfor n in range(300):\n    print('tick', n, flush=True)\n    time.sleep(0.1)"


def test_what_an_older_clary_left_running_is_adopted_with_what_it_has_of_the_machine(
    start: Callable[..., Server],
) -> None:
    """Its folder has no grants, and its replica was laid out by the loop. Nothing is started again, nobody else gets what the job and the
    replica have, and what has to be written for the replica still gets there."""
    scene = Scene(start())
    scene.deploy("stays")
    scene.train("runs-on", TICKS)
    until(lambda: "tick 3" in scene.lines("runs-on"), 60)
    there = {seen.pid for seen in scene.sandboxed("clary.toolkit.zygote")} | {s.pid for s in scene.sandboxed("main.py")}
    assert there
    settings = scene.server.settings
    os.kill(scene.supervisor(), signal.SIGKILL)
    until(lambda: not [p for p in scene.everyone().values() if "clary.app." in p.command], 20, "all went with it")
    change(settings, *OLDER)
    (folder,) = as_it_was_laid_out(settings.root)
    keys = folder / "spec" / "aws-credentials.json"
    before = keys.read_text()

    scene = Scene(Server(up.detached(settings)))
    scene.in_service("stays")
    with sqlite3.connect(settings.root / "records.db") as connection:
        grants = connection.execute("SELECT used_as, name FROM grants ORDER BY used_as").fetchall()
    connection.close()
    assert grants == [("host", "runs-on"), ("replica", "stays")]
    now = {seen.pid for seen in scene.sandboxed("clary.toolkit.zygote")} | {s.pid for s in scene.sandboxed("main.py")}
    assert there <= now
    until(lambda: keys.read_text() != before, 30, "its keys are renewed, for nobody knows how old they are")
    zygote = scene.sandboxed("clary.toolkit.zygote")[0].pid
    assert Path(f"/proc/{zygote}/root/opt/clary/spec/aws-credentials.json").read_text() == keys.read_text()
    assert scene.invoke("stays", text="x")["echo"] == "x"
    job = scene.ended("runs-on")
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert [line for line in scene.lines("runs-on") if line.startswith("tick")] == [f"tick {n}" for n in range(300)]
    scene.delete("stays")

    def all_given_back() -> bool:
        with sqlite3.connect(settings.root / "records.db") as connection:
            left = connection.execute("SELECT count(*) FROM grants").fetchone()
        connection.close()
        return bool(left == (0,))

    until(all_given_back, 30)
    until(lambda: not folder.exists(), 30, "its folder is gone with it")
    up.down(settings)


def test_a_downgrade_is_refused_and_changes_nothing(ended: Scene) -> None:
    settings = ended.server.settings
    change(settings, f"UPDATE alembic_version SET version_num = '{NEWER}'")
    before = (settings.root / "records.db").read_bytes()
    with pytest.raises(Unavailable, match=rf"schema {NEWER}.*newer Clary"):
        up.detached(settings)
    assert (settings.root / "records.db").read_bytes() == before
    assert ended.everyone() == {}
    change(settings, f"UPDATE alembic_version SET version_num = '{VERSION}'")
    whole(ended, Server(up.detached(settings)))  # the Clary that wrote it
    up.down(settings)


def test_a_backup_serves_on_another_host(start: Callable[..., Server], tmp_path: Path) -> None:
    """Its folder copied, started under another host's name and another path: names, keys and URLs that were given out hold."""
    scene = Scene(start())
    scene.put("kept", b"kept")
    for number in range(20):
        scene.sagemaker.create_model(
            ModelName=f"kept-{number}", ExecutionRoleArn=ROLE, PrimaryContainer={"Image": PYTHON_IMAGE}
        )
    scene.deploy("moved")
    url = scene.s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "kept"}, ExpiresIn=600)
    told = scene.status("moved")
    old = scene.server.settings
    up.down(old)
    folder = tmp_path / "restored"
    subprocess.run(["cp", "-a", str(old.root), str(folder)], check=True)

    elsewhere = ["unshare", "--uts", "sh", "-c", 'hostname elsewhere && exec "$@"', "sh"]
    if os.geteuid() != 0 or subprocess.run([*elsewhere, "true"], check=False, capture_output=True).returncode:
        pytest.skip("another host's name is given by a namespace, which only root may make here")
    clary = str(Path(sys.executable).parent / "clary")
    words = ["up", "-d", "--dir", str(folder), "--port", str(old.port)]
    environment = {**os.environ, "CLARY_ENVIRONMENTS": old.environments, "CLARY_CONTAINER_ENGINE": "none"}
    done = subprocess.run([*elsewhere, clary, *words], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    settings = replace(old, dir=str(folder))
    try:
        server = Server(settings)
        assert server.key == scene.server.key
        whole(scene, server)
        with urllib.request.urlopen(url, timeout=20) as answer:
            assert answer.read() == b"kept"
        restored = Scene(server)
        restored.in_service("moved")
        assert restored.status("moved")["EndpointArn"] == told["EndpointArn"]
        patient = server.client("sagemaker-runtime", retries={"mode": "standard", "total_max_attempts": 10})
        until(lambda: restored.invoke("moved", patient, text="x")["echo"] == "x", 60)
    finally:
        up.down(settings)
