"""What the machine does to Clary: no disk left, a port or a folder that is taken, files that are not what they were (faults.md 33, 35, 36,
41). The clock: test_clock.py."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.faults.raw import Wire
from tests.faults.scene import BUCKET, Asked, Scene, fill, to_the_brim, until
from tests.live import Server

from clary.app import rotation, up
from clary.domain.errors import Unavailable

pytestmark = [pytest.mark.live, pytest.mark.slow]
MIB = 1 << 20


def refused(call: Callable[[], Any]) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        call()
    return dict(caught.value.response)


def test_below_the_low_water_mark_writes_are_refused_and_the_rest_goes_on(
    start: Callable[..., Server], small_disk: Path
) -> None:
    scene = Scene(start(dir=str(small_disk / "state"), low_water=64 * MIB))
    scene.deploy("dry")
    scene.put("kept", b"kept")
    filler = fill(small_disk, 32 * MIB)
    until(lambda: not _can_put(scene), 30, "the store sees that the disk is full")
    error = refused(lambda: scene.put("more", b"x" * 1000))
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 507
    assert error["Error"]["Code"] == "InsufficientStorage"
    assert "low_water" in error["Error"]["Message"]
    with scene.load("dry", connections=4) as load:
        load.more(50)
        assert scene.s3.get_object(Bucket=BUCKET, Key="kept")["Body"].read() == b"kept"
        assert scene.status("dry")["EndpointStatus"] == "InService"
        scene.s3.delete_object(Bucket=BUCKET, Key="kept")
    assert load.failed == {}
    filler.unlink()
    until(lambda: _can_put(scene), 30, "writes are taken again without a restart")
    up.down(scene.server.settings)


def _says_no_room(error: dict[str, Any]) -> None:
    assert re.search(r"no room on the disk of .*: \d+ MiB are free.*low_water", error["Error"]["Message"]), error
    assert error["ResponseMetadata"]["HTTPStatusCode"] in (500, 503)
    assert error["Error"]["Code"] != "InternalFailure"


def _top_up(folder: Path) -> None:
    with (folder / "top").open("wb") as file, contextlib.suppress(OSError):
        to_the_brim(file)


def _can_put(scene: Scene) -> bool:
    try:
        scene.put("again", b"x")
    except ClientError:
        return False
    return True


def test_a_full_disk_fails_writes_clearly_and_is_forgotten_when_there_is_room(
    start: Callable[..., Server], small_disk: Path
) -> None:
    scene = Scene(start(dir=str(small_disk / "state"), low_water=0))
    scene.deploy("full")
    scene.put("kept", b"kept" * 1000)
    for n in range(20):
        scene.put(f"gone/{n}", bytes(100_000))
    pids = {name: row["pid"] for name, row in scene.pids().items()}
    filler = fill(small_disk, 0)
    for size in (10, 200_000, 5 << 20):
        error = refused(lambda size=size: scene.put("more", bytes(size)))
        assert error["ResponseMetadata"]["HTTPStatusCode"] in (500, 503, 507), error
        assert error["Error"]["Code"] in ("InsufficientStorage", "ServiceUnavailable"), error
    error = refused(lambda: [scene.config(f"more-{n}", "full") for n in range(500)])
    assert error["ResponseMetadata"]["HTTPStatusCode"] >= 500, error
    _says_no_room(error)
    logs, iam = scene.server.client("logs"), scene.server.client("iam")
    _says_no_room(refused(lambda: [logs.create_log_group(logGroupName=f"/full/{n}") for n in range(5000)]))
    _says_no_room(refused(lambda: [iam.create_access_key() for _ in range(5000)]))
    # Somebody else takes every byte that comes free: what a deletion writes has room kept for it.
    _top_up(small_disk)
    for n in range(10):
        scene.s3.delete_object(Bucket=BUCKET, Key=f"gone/{n}")
    scene.s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": f"gone/{n}"} for n in range(10, 20)]})
    assert scene.s3.list_objects_v2(Bucket=BUCKET, Prefix="gone/")["KeyCount"] == 0
    assert not (scene.server.settings.root / "objects" / "reserve").exists()
    error = refused(lambda: scene.put("more", bytes(10)))
    assert error["Error"]["Code"] == "InsufficientStorage"
    assert "deletions need" in error["Error"]["Message"]
    with scene.load("full", connections=4) as load:
        load.more(50)
        assert scene.s3.get_object(Bucket=BUCKET, Key="kept")["Body"].read() == b"kept" * 1000
        assert scene.status("full")["EndpointStatus"] == "InService"
    assert load.failed == {}
    filler.unlink()
    (small_disk / "top").unlink()
    until(lambda: _can_put(scene), 30, "writes are taken again without a restart")
    until((scene.server.settings.root / "objects" / "reserve").exists, 30, "the reserve is there again")
    scene.config("room", "full")
    scene.deploy("full-again")
    assert scene.invoke("full-again", text="x")["echo"] == "x"
    assert {name: row["pid"] for name, row in scene.pids().items()} == pids, "somebody died of it"
    up.down(scene.server.settings)


def test_a_taken_port_is_named_with_who_has_it(start: Callable[..., Server]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(Unavailable, match=rf"cannot listen on 127\.0\.0\.1:{port}.*pid {os.getpid()}.*--port"):
            start(port=port)


def test_a_second_clary_on_the_same_folder_is_refused_and_the_first_unharmed(scene: Scene) -> None:
    before = scene.pids()
    with pytest.raises(Unavailable, match=rf"in use by pid {scene.supervisor()} at {scene.server.settings.endpoint}"):
        up.detached(scene.server.settings)
    assert scene.pids() == before
    assert scene.sagemaker.list_models()["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_stale_files_of_a_killed_clary_hold_nobody_up(start: Callable[..., Server]) -> None:
    server = start()
    settings = server.settings
    os.kill(Scene(server).supervisor(), signal.SIGKILL)
    until(lambda: _free(settings.port), 30, "its children went with it")
    assert (settings.root / "clary.lock").read_text()
    assert settings.front_workers(0).exists()
    (settings.run / "nginx.session").write_text("1")  # as if that number were somebody else's by now
    again = Server(up.detached(settings))
    assert again.client("sagemaker").list_models()["Models"] == []
    up.down(settings)


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("records.db", b"not a database" * 1000, "records.db"),
        ("records.db", b"SQLite format 3\0" + b"\xff" * 8000, "records.db"),
        ("objects/index.db", b"not a database" * 1000, "index.db"),
        ("clary.toml", b"port = [", "clary.toml"),
        ("clary.toml", b'port = 0\nhost = "127.0.0', "clary.toml"),
        ("clary.toml", b"colour = 'red'", "colour"),
    ],
    ids=["records", "records of another kind", "index", "settings", "half the settings", "unknown setting"],
)
def test_a_damaged_file_refuses_the_start_by_its_name(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    folder = tmp_path / "state"
    (folder / "objects").mkdir(parents=True)
    (folder / name).write_bytes(content)
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "clary.app.cli", "up", "--detach", "--dir", str(folder), "--port", "0"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode != 0
    assert words in done.stderr + done.stdout, done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - began < 30
    assert (folder / name).read_bytes() == content, "what may be rescued stays as it is"


def test_an_object_whose_file_was_damaged_is_not_passed_off_as_whole(scene: Scene) -> None:
    body = os.urandom(300_000)
    scene.put("torn", body)
    blobs = [p for p in (scene.server.settings.root / "objects" / "blobs").rglob("*") if p.is_file()]
    (torn,) = [p for p in blobs if p.stat().st_size == len(body) and p.read_bytes() == body]
    torn.chmod(0o644)
    with torn.open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(Exception) as caught:  # an S3 error, or a body that ends early, which boto3 notices
        assert len(scene.s3.get_object(Bucket=BUCKET, Key="torn")["Body"].read()) == len(body)
    assert not isinstance(caught.value, AssertionError), "a short body passed for the object"
    assert scene.put("whole", b"x")


def test_a_lost_index_or_lost_records_stop_the_start_and_can_be_made_again(start: Callable[..., Server]) -> None:
    server = start()
    folder, scene = server.settings.root, Scene(server)
    scene.s3.put_object(Bucket=BUCKET, Key="kept/a", Body=b"a" * 50_000, Metadata={"who": "me"}, Tagging="t=1")
    scene.put("kept/b", b"b")
    up.down(server.settings)

    def lose(name: str) -> None:
        for suffix in ("", "-wal", "-shm"):
            (folder / f"{name}{suffix}").unlink(missing_ok=True)

    lose("objects/index.db")
    with pytest.raises(
        Unavailable, match=rf"is missing or empty.*`clary objects rebuild --dir {folder}`.*Nothing was changed"
    ):
        up.detached(server.settings)
    done = subprocess.run(
        [sys.executable, "-m", "clary.app.cli", "objects", "rebuild", "--dir", str(folder)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "is made again: 1 bucket, 2 objects" in done.stdout
    lose("records.db")
    with pytest.raises(Unavailable, match=r"no records in .*records\.db, but .*objects in .*`clary up --new-records"):
        up.detached(server.settings)
    assert not (folder / "records.db").exists()
    again = Scene(Server(up.detached(replace(server.settings, new_records=True))))
    got = again.s3.get_object(Bucket=BUCKET, Key="kept/a")
    assert (got["Body"].read(), got["Metadata"]) == (b"a" * 50_000, {"who": "me"})
    tags = again.s3.get_object_tagging(Bucket=BUCKET, Key="kept/a")["TagSet"]
    assert tags == [{"Key": "t", "Value": "1"}]
    lose("records.db")  # while it runs: nor does a restarted control plane begin anew
    os.kill(again.pid("control"), signal.SIGKILL)
    log = server.settings.log("control")
    until(lambda: "There are no records in" in log.read_text(), 30, "the control plane refuses")
    assert not (folder / "records.db").exists()
    up.down(server.settings)


def test_a_writer_that_holds_the_records_is_told_and_reads_go_on(scene: Scene) -> None:
    """Somebody's `sqlite3 records.db` in a transaction (faults.md 37)."""
    scene.deploy("held")
    scene.put("before", b"before")
    writes: dict[str, Callable[[], Any]] = {
        "records.db": lambda: scene.config("held-config", "held"),
        "objects/index.db": lambda: scene.put("held", b"x"),
    }
    root = scene.server.settings.root
    with contextlib.ExitStack() as held:
        for name in writes:
            other = held.enter_context(contextlib.closing(sqlite3.connect(root / name, isolation_level=None)))
            other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        waiting = [Asked(write) for write in writes.values()]
        for asked in waiting:
            error = asked.wait().error
            assert time.monotonic() - began > 8, "it is waited for"
            assert error["ResponseMetadata"]["HTTPStatusCode"] == 503
            assert error["Error"]["Code"] == "ServiceUnavailable"
            assert "locked" in error["Error"]["Message"]
        assert scene.invoke("held", text="x")["echo"] == "x"
        assert scene.status("held")["EndpointStatus"] == "InService"
        assert scene.s3.get_object(Bucket=BUCKET, Key="before")["Body"].read() == b"before"
    for write in writes.values():
        write()
    scene.sagemaker.delete_endpoint_config(EndpointConfigName="held-config")
    scene.delete("held")  # the tests that follow count the replicas of this server


def test_many_connections_take_no_ones_place(scene: Scene) -> None:
    """As many idle connections as this process may open; Clary's own descriptors are not among them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(10_000, (hard if hard != resource.RLIM_INFINITY else 20_000) - 200)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + 200), hard))
    wires: list[Wire] = []
    try:
        with contextlib.suppress(OSError):
            while len(wires) < count:
                wires.append(Wire(scene.server.settings.port))
        assert len(wires) >= 1000
        began = time.monotonic()
        assert scene.patient.list_models()["ResponseMetadata"]["HTTPStatusCode"] == 200
        scene.put("among-many", b"x")
        assert time.monotonic() - began < 15
    finally:
        for wire in wires:
            wire.socket.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    scene.put("after-many", b"x")


def test_a_log_of_our_own_that_is_too_long_begins_anew(start: Callable[..., Server]) -> None:
    """nginx has it open, as another user, and goes on in it."""
    server = start()
    scene = Scene(server)
    log = server.settings.root / "logs" / "clary" / "access.log"
    os.truncate(log, rotation.LONGEST + 1)
    until(log.with_name("access.log.1").exists)
    scene.put("after", b"x")
    until(lambda: f"/{BUCKET}/after".encode() in log.read_bytes())
    assert log.stat().st_size < MIB
