"""A lost, empty or old index beside blobs: the store refuses to start, and `clary objects rebuild` makes the index again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

pytestmark = pytest.mark.live
PART = 5 << 20


def index_files(live: Any) -> list[Path]:
    return [live.root / "objects" / f"index.db{suffix}" for suffix in ("", "-wal", "-shm")]


def blobs(live: Any) -> set[Path]:
    return {path for path in (live.root / "objects" / "blobs").rglob("*") if path.is_file()}


def refused(live: Any) -> str:
    """What a start says that refuses."""
    before = blobs(live)
    done = subprocess.run(
        [sys.executable, "-m", "clary.app.objects", "--dir", str(live.root), "--port", "0"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    assert blobs(live) == before
    return done.stderr


def rebuild(live: Any, *options: str) -> dict[str, Any]:
    argv = [sys.executable, "-m", "clary.app.cli", "objects", "rebuild", "--dir", str(live.root), "--json", *options]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def everything(client: Any, bucket: str) -> dict[str, Any]:
    """All that a client can see of a bucket."""
    seen: dict[str, Any] = {
        "versioning": client.get_bucket_versioning(Bucket=bucket).get("Status"),
        "cors": client.get_bucket_cors(Bucket=bucket)["CORSRules"],
        "tags": client.get_bucket_tagging(Bucket=bucket)["TagSet"],
        "location": client.get_bucket_location(Bucket=bucket)["LocationConstraint"],
    }
    listed = client.list_object_versions(Bucket=bucket)
    seen["markers"] = [(one["Key"], one["VersionId"], one["IsLatest"]) for one in listed.get("DeleteMarkers", [])]
    for one in listed["Versions"]:
        at = {"Bucket": bucket, "Key": one["Key"], "VersionId": one["VersionId"]}
        got = client.get_object(**at, ChecksumMode="ENABLED")
        kept = {name: value for name, value in got.items() if name not in ("Body", "ResponseMetadata")}
        seen[f"{one['Key']}@{one['VersionId']}"] = (
            got["Body"].read(), kept, client.get_object_tagging(**at)["TagSet"], one["IsLatest"],
        )  # fmt: skip
    uploads = client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    for one in uploads:
        parts = client.list_parts(Bucket=bucket, Key=one["Key"], UploadId=one["UploadId"])["Parts"]
        seen[f"upload {one['Key']}"] = (one["UploadId"], parts)
    return seen


def fill(client: Any) -> str:
    """Something of every kind; the id of an open upload."""
    client.create_bucket(Bucket="all", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    rules = [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]
    client.put_bucket_cors(Bucket="all", CORSConfiguration={"CORSRules": rules})
    client.put_bucket_tagging(Bucket="all", Tagging={"TagSet": [{"Key": "team", "Value": "a b"}]})
    client.put_object(Bucket="all", Key="plain", Body=b"before versioning")
    client.put_bucket_versioning(Bucket="all", VersioningConfiguration={"Status": "Enabled"})
    for n in range(3):
        client.put_object(
            Bucket="all", Key="ü/\x01 key", Body=os.urandom(40_000 * n + 10), Metadata={"n": str(n)}, ContentType="text/x",
            Tagging=f"n={n}", CacheControl="no-cache",
        )  # fmt: skip
    client.put_object(Bucket="all", Key="large", Body=os.urandom(2 << 20))
    client.copy_object(Bucket="all", Key="copy", CopySource={"Bucket": "all", "Key": "large"})
    client.delete_object(Bucket="all", Key="plain")
    client.put_object_tagging(Bucket="all", Key="large", Tagging={"TagSet": [{"Key": "later", "Value": "1"}]})
    gone = client.put_object(Bucket="all", Key="gone", Body=b"gone")["VersionId"]
    client.delete_object(Bucket="all", Key="gone", VersionId=gone)
    upload = client.create_multipart_upload(Bucket="all", Key="parts", Metadata={"by": "parts"})["UploadId"]
    sent = [
        client.upload_part(Bucket="all", Key="parts", UploadId=upload, PartNumber=n, Body=bytes([n]) * PART)["ETag"]
        for n in (1, 2)
    ]
    done = {"Parts": [{"PartNumber": n, "ETag": etag} for n, etag in enumerate(sent, 1)]}
    client.complete_multipart_upload(Bucket="all", Key="parts", UploadId=upload, MultipartUpload=done)
    client.create_bucket(Bucket="dropped")
    client.delete_bucket(Bucket="dropped")
    opened: str = client.create_multipart_upload(Bucket="all", Key="open")["UploadId"]
    client.upload_part(Bucket="all", Key="open", UploadId=opened, PartNumber=1, Body=b"p" * PART)
    return opened


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["ended", "killed"])
def test_a_deleted_index_is_made_again_with_all_that_clients_see(
    new_live: Callable[..., Any], number: signal.Signals
) -> None:
    live = new_live()
    client = live.client()
    opened = fill(client)
    before = everything(client, "all")
    live.end(number)
    for file in index_files(live):
        file.unlink(missing_ok=True)
    said = refused(live)
    assert "missing or empty" in said
    assert f"`clary objects rebuild --dir {live.root}`" in said
    assert not index_files(live)[0].exists()
    done = rebuild(live)
    assert (done["buckets"], done["missing"], done["torn"], done["damage"]) == (1, [], [], [])
    live.start()
    assert everything(client, "all") == before
    etag = client.list_parts(Bucket="all", Key="open", UploadId=opened)["Parts"][0]["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    client.complete_multipart_upload(Bucket="all", Key="open", UploadId=opened, MultipartUpload=parts)
    assert client.get_object(Bucket="all", Key="open")["Body"].read() == b"p" * PART
    client.close()


def test_an_empty_file_and_an_older_copy_are_refused_too(new_live: Callable[..., Any]) -> None:
    live = new_live()
    client = live.client()
    client.create_bucket(Bucket="old")
    client.put_object(Bucket="old", Key="a", Body=b"1")
    live.end()
    [file, *_] = index_files(live)
    shutil.copy(file, live.root / "copy.db")
    live.start()
    client.put_object(Bucket="old", Key="b", Body=b"2", Metadata={"m": "2"})
    live.end()
    shutil.copy(live.root / "copy.db", file)
    assert "older than the objects here" in refused(live)
    assert file.read_bytes() == (live.root / "copy.db").read_bytes()
    file.write_bytes(b"")
    assert "missing or empty" in refused(live)
    rebuild(live)
    live.start()
    assert client.get_object(Bucket="old", Key="b")["Metadata"] == {"m": "2"}
    assert client.get_object(Bucket="old", Key="a")["Body"].read() == b"1"
    client.close()


def test_without_its_log_a_killed_stores_index_is_older(new_live: Callable[..., Any]) -> None:
    """index.db-wal deleted (faults.md 37): what was answered and is only there would be gone in silence."""
    live = new_live()
    client = live.client()
    client.create_bucket(Bucket="wal")
    client.put_object(Bucket="wal", Key="a", Body=b"1")
    live.end()
    live.start()
    client.put_object(Bucket="wal", Key="b", Body=b"2")
    live.end(signal.SIGKILL)
    for file in index_files(live)[1:]:
        file.unlink()
    assert "clary objects rebuild" in refused(live)
    rebuild(live)
    live.start()
    assert client.get_object(Bucket="wal", Key="b")["Body"].read() == b"2"
    client.close()


def test_an_index_that_lost_its_rows_costs_no_blob(new_live: Callable[..., Any]) -> None:
    live = new_live()
    client = live.client()
    client.create_bucket(Bucket="lost")
    for n in range(5):
        client.put_object(Bucket="lost", Key=f"k{n}", Body=bytes([n]) * 50_000)
    live.end()
    with closing(sqlite3.connect(index_files(live)[0], isolation_level=None)) as connection:
        connection.execute("DELETE FROM objects")
    before = blobs(live)
    live.start()
    told = live.root / "objects" / "sweep.json"
    wait(lambda: told.exists() and "lost 5 of 5" in told.read_text())
    assert blobs(live) == before
    live.end()
    assert rebuild(live)["objects"] == 5
    live.start()
    assert client.get_object(Bucket="lost", Key="k4")["Body"].read() == b"\4" * 50_000
    client.close()


def wait(condition: Callable[[], bool], within: float = 30) -> None:
    import time

    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_kill_9_during_writes_then_a_rebuild_equals_what_was_answered(new_live: Callable[..., Any]) -> None:
    """Puts, overwrites, tags and deletes by eight clients; killed in the middle, the index thrown away, three times over."""
    live = new_live()
    client = live.client()
    client.create_bucket(Bucket="kill")
    client.close()
    known: dict[str, tuple[bytes, dict[str, str]] | None] = {}
    for round_ in range(3):
        unsure: set[str] = set()
        enough = threading.Event()

        def write(worker: int, round_: int = round_, unsure: set[str] = unsure, enough: Any = enough) -> None:
            mine = live.client()
            number = 0
            while True:
                key = f"{worker}/{number % 7}"
                body, metadata = os.urandom(1000 + 40_000 * (number % 3)), {"is": f"{round_}.{number}"}
                try:
                    if number % 5 == 4:
                        mine.delete_object(Bucket="kill", Key=key)
                        known[key] = None
                    else:
                        mine.put_object(Bucket="kill", Key=key, Body=body, Metadata=metadata)
                        known[key] = (body, metadata)
                except (BotoCoreError, ClientError):
                    unsure.add(key)  # under way at the end: either state is right
                    mine.close()
                    return
                number += 1
                if number > 20:
                    enough.set()

        workers = [threading.Thread(target=write, args=(n,)) for n in range(8)]
        for worker in workers:
            worker.start()
        assert enough.wait(60)
        live.end(signal.SIGKILL)
        for worker in workers:
            worker.join(60)
        for file in index_files(live):
            file.unlink(missing_ok=True)
        done = rebuild(live)
        assert (done["torn"], done["damage"]) == ([], [])
        assert {name.removeprefix("s3://kill/") for name in done["missing"]} <= unsure
        live.start()
        client = live.client()
        listed = {one["Key"] for one in client.list_objects_v2(Bucket="kill").get("Contents", [])}
        for key, content in known.items():
            if key in unsure:
                continue
            assert (key in listed) == (content is not None), key
            if content is not None:
                got = client.get_object(Bucket="kill", Key=key)
                assert (got["Body"].read(), got["Metadata"]) == content, key
        for key in unsure:
            known.pop(key, None)
        client.close()


def test_a_folder_without_objects_is_told(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "clary.app.cli", "objects", "rebuild", "--dir", str(tmp_path / "none")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "has no objects" in done.stderr
