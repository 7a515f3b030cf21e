"""The S3 cases that Clary's users rely on, over the store's process, and what a `kill -9` may not take."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

ROOT = Path(__file__).resolve().parents[2]
CASES = Path(os.environ.get("CLARY_ACCEPTANCE") or ROOT.parent / "shared" / "acceptance") / "s3_cases.py"
needs_cases = pytest.mark.skipif(
    not CASES.exists(), reason=f"{CASES} is not there: set CLARY_ACCEPTANCE to the folder of the acceptance scripts"
)


def run_cases(live: Any, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable, str(CASES), "--endpoint", live.endpoint, "--access-key", live.key.access_key_id,
            "--secret-key", live.key.secret, *options,
        ],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


@needs_cases
@pytest.mark.live
@pytest.mark.slow
def test_every_case_passes(live: Any) -> None:
    result = run_cases(live)
    failed = [line for line in result.stdout.splitlines() if line.startswith("FAIL")]
    assert not failed
    assert "95 passed, 0 failed" in result.stdout, result.stdout[-1000:] + result.stderr[-1000:]


@needs_cases
@pytest.mark.live
@pytest.mark.slow
def test_every_case_of_a_restart_passes(new_live: Callable[..., Any]) -> None:
    live = new_live()
    assert run_cases(live, "--before-restart").returncode == 0
    live.end(signal.SIGKILL)
    live.start()
    result = run_cases(live, "--after-restart")
    assert "4 passed, 0 failed" in result.stdout, result.stdout


@pytest.mark.live
def test_kill_during_puts_loses_nothing_that_was_answered(new_live: Callable[..., Any]) -> None:
    live = new_live()
    client = live.client(max_pool_connections=16)
    client.create_bucket(Bucket="kill")
    client.close()
    for round_ in range(3):
        kept: dict[str, bytes] = {}
        enough = threading.Event()

        def write(worker: int, round_: int = round_, kept: dict[str, bytes] = kept, enough: Any = enough) -> None:
            mine = live.client()
            number = 0
            try:
                while True:
                    key, body = f"{round_}/{worker}/{number}", os.urandom(1000 + 40_000 * (number % 5))
                    mine.put_object(Bucket="kill", Key=key, Body=body, Metadata={"key": key})
                    kept[key] = body
                    number += 1
                    if len(kept) > 60:
                        enough.set()
            except (BotoCoreError, ClientError):
                mine.close()

        workers = [threading.Thread(target=write, args=(n,)) for n in range(8)]
        for worker in workers:
            worker.start()
        assert enough.wait(60)
        live.end(signal.SIGKILL)
        for worker in workers:
            worker.join(60)
        live.start()
        client = live.client()
        for key, body in kept.items():
            got = client.get_object(Bucket="kill", Key=key)
            assert got["Body"].read() == body
            assert got["Metadata"] == {"key": key}
        for page in client.get_paginator("list_objects_v2").paginate(Bucket="kill", Prefix=f"{round_}/"):
            for one in page["Contents"]:
                assert len(client.get_object(Bucket="kill", Key=one["Key"])["Body"].read()) == one["Size"]
        client.close()
    staging = live.root / "objects" / "staging"
    assert list(staging.iterdir()) == []


@pytest.mark.live
def test_small_objects_survive_a_power_cut(new_live: Callable[..., Any]) -> None:
    """Their files are not synced when they are answered; what the disk lost comes back from the index."""
    live = new_live()
    client = live.client()
    client.create_bucket(Bucket="power")
    for n in range(20):
        client.put_object(Bucket="power", Key=f"k{n}", Body=bytes([n]) * 1000)
    client.copy_object(Bucket="power", Key="copy", CopySource={"Bucket": "power", "Key": "k0"})
    client.delete_object(Bucket="power", Key="k19")
    live.end(signal.SIGKILL)
    files = sorted((live.root / "objects" / "blobs").glob("*/*"))
    for n, file in enumerate(files):
        if file.stat().st_nlink == 1:  # what a copy shares was synced by it
            file.unlink() if n % 2 else os.truncate(file, 10)
    live.start()
    for n in range(19):
        assert client.get_object(Bucket="power", Key=f"k{n}")["Body"].read() == bytes([n]) * 1000
    assert client.get_object(Bucket="power", Key="copy")["Body"].read() == b"\0" * 1000
    client.close()


@pytest.mark.live
def test_orphans_of_a_crash_are_swept_at_start(new_live: Callable[..., Any]) -> None:
    live = new_live()
    client = live.client()
    client.create_bucket(Bucket="sweep")
    client.put_object(Bucket="sweep", Key="k", Body=b"kept")
    [kept] = (live.root / "objects" / "blobs").glob("*/*")
    live.end(signal.SIGKILL)
    orphan = kept.parent / "0999"
    orphan.write_bytes(b"orphan")
    (live.root / "objects" / "staging" / "half").write_bytes(b"half")
    os.utime(orphan, (1, 1))
    _wait_second()
    live.start()
    _until(lambda: not orphan.exists())
    assert not (live.root / "objects" / "staging" / "half").exists()
    assert client.get_object(Bucket="sweep", Key="k")["Body"].read() == b"kept"
    client.close()


@pytest.mark.live
def test_below_the_low_water_mark_reads_and_deletes_go_on(new_live: Callable[..., Any], tmp_path: Path) -> None:
    live = new_live()
    client = live.client()
    client.create_bucket(Bucket="full")
    client.put_object(Bucket="full", Key="k", Body=b"kept")
    live.end()
    live.options = ("--low-water", str(1 << 60))
    live.start()
    with pytest.raises(ClientError, match="low_water") as raised:
        client.put_object(Bucket="full", Key="other", Body=b"1")
    assert raised.value.response["Error"]["Code"] == "InsufficientStorage"
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 507
    with pytest.raises(ClientError, match="low_water"):
        client.create_multipart_upload(Bucket="full", Key="other")
    assert client.get_object(Bucket="full", Key="k")["Body"].read() == b"kept"
    client.delete_object(Bucket="full", Key="k")
    assert client.list_objects_v2(Bucket="full")["KeyCount"] == 0
    client.close()


def mounted(root: Path, size: str) -> Path:
    """A small filesystem there; its caller unmounts it. Skips the test where mounting is not allowed."""
    root.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(root)], check=False, capture_output=True
    )
    if done.returncode:
        pytest.skip("mounting is not allowed here")
    return root


@pytest.mark.live
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small filesystem takes root")
def test_a_full_disk_is_told_and_recovers(new_live: Callable[..., Any], tmp_path: Path) -> None:
    root = mounted(tmp_path / "small", "40m")
    try:
        live = new_live("--low-water", str(12 << 20), root=root)
        client = live.client()
        client.create_bucket(Bucket="full")
        client.put_object(Bucket="full", Key="kept", Body=b"k" * 100_000)
        for size in (100_000, 3_000_000):
            refused = next(filter(None, (_refusal(client, f"fill/{size}/{n}", size) for n in range(400))), 0)
            assert refused in (503, 507)
        filler = root / "filler"
        subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=64k"], check=False, capture_output=True)
        assert _refusal(client, "none", 100_000) in (503, 507)
        assert client.get_object(Bucket="full", Key="kept")["Body"].read() == b"k" * 100_000
        filler.unlink()
        assert list((root / "objects" / "staging").iterdir()) == []
        for one in client.list_objects_v2(Bucket="full", Prefix="fill/")["Contents"]:
            assert len(client.get_object(Bucket="full", Key=one["Key"])["Body"].read()) == one["Size"]
            client.delete_object(Bucket="full", Key=one["Key"])
        _until(lambda: _refusal(client, "again", 500_000) == 0, 60)
        client.close()
        live.end()
    finally:
        subprocess.run(["umount", "-l", str(root)], check=False)


@pytest.mark.live
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small filesystem takes root")
def test_everything_can_be_deleted_while_somebody_takes_all_room(new_live: Callable[..., Any], tmp_path: Path) -> None:
    root = mounted(tmp_path / "small", "128m")
    stop = threading.Event()
    taker = threading.Thread(target=_take_all, args=(root / "taken", stop))
    try:
        live = new_live(root=root)
        client = live.client(max_pool_connections=8)
        _fill_buckets(client)
        uploads = [client.create_multipart_upload(Bucket="plain", Key=f"up/{n}")["UploadId"] for n in range(20)]
        for n, upload in enumerate(uploads):
            client.upload_part(Bucket="plain", Key=f"up/{n}", UploadId=upload, PartNumber=1, Body=bytes(100_000))
        _until((root / "objects" / "reserve").exists, 30)
        taker.start()
        _until(lambda: os.statvfs(root).f_bavail == 0, 30)
        for n in range(1000):  # each adds a row
            client.delete_object(Bucket="versions", Key=f"{n:04}")
        for n in range(0, 1000, 100):
            client.delete_object(Bucket="plain", Key=f"{n:04}")
        for bucket in ("plain", "versions"):
            keys = [{"Key": f"{n:04}"} for n in range(1000)]
            assert "Errors" not in client.delete_objects(Bucket=bucket, Delete={"Objects": keys})
        for page in client.get_paginator("list_object_versions").paginate(Bucket="versions"):
            there = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            names = [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in there]
            assert "Errors" not in client.delete_objects(Bucket="versions", Delete={"Objects": names})
        for n, upload in enumerate(uploads):
            client.abort_multipart_upload(Bucket="plain", Key=f"up/{n}", UploadId=upload)
        for bucket in ("plain", "versions"):
            client.delete_bucket(Bucket=bucket)
        assert _refusal(client, "none", 100) == 507
        stop.set()
        taker.join()
        (root / "taken").unlink()
        _until((root / "objects" / "reserve").exists, 30)
        assert _refusal(client, "again", 500_000) == 0
        client.close()
        live.end()
    finally:
        stop.set()
        subprocess.run(["umount", "-l", str(root)], check=False)


@pytest.mark.live
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small filesystem takes root")
def test_a_store_starts_again_on_a_disk_without_a_free_byte(
    new_live: Callable[..., Any], tmp_path: Path, how: signal.Signals
) -> None:
    """It reads and deletes; what is deleted makes room."""
    root = mounted(tmp_path / "small", "128m")
    try:
        live = new_live(root=root)
        live.log = tmp_path / "objects.log"
        client = live.client()
        client.create_bucket(Bucket="full")
        for n in range(40):
            client.put_object(Bucket="full", Key=f"{n}", Body=bytes([n]) * 300_000)
        _until((root / "objects" / "reserve").exists, 30)
        live.end(how)
        with open(root / "taken", "wb", buffering=0) as taken, contextlib.suppress(OSError):
            while taken.write(bytes(4096)):
                pass
        assert os.statvfs(root).f_bavail == 0
        live.start()
        assert client.get_object(Bucket="full", Key="1")["Body"].read() == b"\1" * 300_000
        assert client.list_objects_v2(Bucket="full")["KeyCount"] == 40
        assert _refusal(client, "none", 100_000) == 507
        for n in range(2, 40):
            client.delete_object(Bucket="full", Key=f"{n}")
        assert client.list_objects_v2(Bucket="full")["KeyCount"] == 2
        (root / "taken").unlink()
        _until(lambda: _refusal(client, "again", 500_000) == 0, 60)
        assert client.get_object(Bucket="full", Key="1")["Body"].read() == b"\1" * 300_000
        client.close()
        live.end()
    finally:
        subprocess.run(["umount", "-l", str(root)], check=False)


def _fill_buckets(client: Any) -> None:
    for bucket in ("full", "plain", "versions"):
        client.create_bucket(Bucket=bucket)
    client.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
    with ThreadPoolExecutor(8) as pool:
        for bucket in ("plain", "versions"):
            puts = [pool.submit(client.put_object, Bucket=bucket, Key=f"{n:04}", Body=bytes(2000)) for n in range(1000)]
            for put in puts:
                put.result()


def _take_all(path: Path, stop: threading.Event) -> None:
    """Take what is free on the disk, and whatever comes free, within a millisecond."""
    size = 1 << 20
    with open(path, "wb", buffering=0) as file:
        while not stop.is_set():
            try:
                file.write(bytes(size))
            except OSError:
                if size == 4096:
                    stop.wait(0.001)
                size = 4096 if size < 65536 else size // 16


def _refusal(client: Any, key: str, size: int) -> int:
    """The status that a put was refused with; 0 when it was not."""
    try:
        client.put_object(Bucket="full", Key=key, Body=b"f" * size)
    except ClientError as error:
        return int(error.response["ResponseMetadata"]["HTTPStatusCode"])
    return 0


def _until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    end = threading.Event()
    for _ in range(int(seconds / 0.05)):
        if true():
            return
        end.wait(0.05)
    raise AssertionError("it never became true")


def _wait_second() -> None:
    """Files must be older than the process that sweeps them, by its clock's second."""
    threading.Event().wait(1.1)
