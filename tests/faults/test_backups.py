"""Backups of a Clary that is written to all the while: what was answered before one began is in it, killed ones harm nothing, and what is
restored works. The same for records that move to a database server and back."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from tests.live import ROLE, Server
from tests.stores.postgres import server as postgres

from clary.app import up
from clary.app.demo import Demo, split

__all__ = ["postgres"]
pytestmark = [pytest.mark.live, pytest.mark.slow]
BUCKET = "sagemaker-us-east-1-000000000000"


def clary(*words: str, wait: float = 60, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*words), env=shell(environment), capture_output=True, text=True, timeout=wait)


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "clary.app.cli", *words]


def shell(given: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CLARY_", "AWS_"))}
    return {**kept, **given}


def done(*words: str, **environment: str) -> Any:
    ran = clary(*words, "--json", **environment)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def killed(delay: float, *words: str) -> None:
    """Run a command and kill it after that many seconds, wherever it is then."""
    process = subprocess.Popen(
        command(*words), env=shell({}), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        process.wait(delay)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def content(key: str) -> bytes:
    """Small, middling and large: what is kept in rows, written together, and written by itself."""
    seed = hashlib.sha256(key.encode()).digest()
    return seed * (1, 40, 3000, 10_000)[seed[0] % 4]


class Writer:
    """Puts objects and deletes every third of them, and notes when each was answered."""

    def __init__(self, server: Server) -> None:
        self._s3 = server.client("s3", retries={"mode": "standard", "total_max_attempts": 8})
        self.put: dict[str, float] = {}
        self.asked: dict[str, float] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        number = 0
        while not self._end.is_set():
            key = f"written/{number:06d}"
            self._s3.put_object(Bucket=BUCKET, Key=key, Body=content(key))
            self.put[key] = time.time()
            if number % 3 == 2:
                gone = f"written/{number - 2:06d}"
                self.asked[gone] = time.time()
                self._s3.delete_object(Bucket=BUCKET, Key=gone)
            number += 1

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def must_be_there(self, began: float, ended: float) -> set[str]:
        """Answered before that backup began, and not deleted before it ended."""
        return {key for key, at in self.put.items() if at < began and self.asked.get(key, ended + 1) > ended}


def objects(server: Server) -> Iterator[tuple[str, bytes]]:
    s3 = server.client("s3")
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="written/"):
        for entry in page.get("Contents", ()):
            yield entry["Key"], s3.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read()


def test_what_was_answered_before_a_backup_began_is_in_it_and_works(
    start: Callable[..., Server], tmp_path: Path
) -> None:
    server = start(dir=str(tmp_path / "one"))
    demo = Demo(server.client, "us-east-1", BUCKET, ROLE, lambda line: None)
    training, held_back = split()
    demo.upload(training)
    demo.deploy(demo.train())
    lines, accuracy = demo.read_logs(), demo.predict(held_back)
    vault, folder = str(tmp_path / "vault"), ("--dir", str(tmp_path / "one"))
    with Writer(server) as writer:
        for delay in (0.4, 0.7):
            killed(delay, "backup", vault, *folder)
        done("backup", vault, *folder)
        began = time.time()
        second = done("backup", vault, *folder, "--keep", "1")
        ended = time.time()
    assert second["removed"] >= 1
    assert second["added"] < second["size"]
    assert [kept["name"] for kept in done("backup", vault, "--list")] == [second["name"]]
    assert not (tmp_path / "one" / ".backup").exists()
    up.down(server.settings)

    two = tmp_path / "two"
    killed(0.4, "restore", vault, "--dir", str(two))
    assert not two.exists() or (two / "records.db").exists(), "half of a restore"
    if not two.exists():
        done("restore", vault, "--dir", str(two))
    restored = start(dir=str(two))
    found = dict(objects(restored))
    assert writer.must_be_there(began, ended) <= set(found) <= set(writer.put)
    assert all(body == content(key) for key, body in found.items())
    again = Demo(restored.client, "us-east-1", BUCKET, ROLE, lambda line: None)
    again.name = demo.name
    again.runtime = restored.client("sagemaker-runtime", retries={"total_max_attempts": 8, "mode": "standard"})
    assert again.predict(held_back) == accuracy
    assert again.read_logs() == lines
    ran = clary("restore", vault, "--dir", str(two))
    assert ran.returncode
    assert "--dir names a new folder" in ran.stderr


def test_into_a_bucket_of_another_clary_and_not_into_its_own(
    start: Callable[..., Server], server: Server, tmp_path: Path
) -> None:
    one = start(dir=str(tmp_path / "one"))
    s3 = one.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="written/a", Body=content("written/a"))
    server.client("s3").create_bucket(Bucket="backups")
    elsewhere = {name: value for name, value in server.environment.items() if name.startswith("AWS_")}
    done("backup", "s3://backups/one", "--dir", str(tmp_path / "one"), **elsewhere)
    itself = {**elsewhere, "AWS_ENDPOINT_URL": one.settings.endpoint}
    ran = clary("backup", "s3://backups/one", "--dir", str(tmp_path / "one"), **itself)
    assert ran.returncode == 2
    assert "the very Clary that is backed up" in ran.stderr
    done("restore", "s3://backups/one", "--dir", str(tmp_path / "two"), **elsewhere)
    assert dict(objects(start(dir=str(tmp_path / "two")))) == {"written/a": content("written/a")}

    data = next(
        entry["Key"]
        for entry in server.client("s3").list_objects_v2(Bucket="backups")["Contents"]
        if "/data/" in entry["Key"]
    )
    server.client("s3").put_object(Bucket="backups", Key=data, Body=b"something else")
    ran = clary("restore", "s3://backups/one", "--dir", str(tmp_path / "three"), **elsewhere)
    assert ran.returncode == 1
    assert "is damaged" in ran.stderr
    assert not (tmp_path / "three").exists()


def test_records_and_index_move_to_a_server_and_back(
    start: Callable[..., Server], postgres: str, tmp_path: Path
) -> None:
    folder, database = tmp_path / "one", postgres
    server = start(dir=str(folder))
    server.client("s3").create_bucket(Bucket=BUCKET)
    keys = [f"written/{number}" for number in range(20)]
    for key in keys:
        server.client("s3").put_object(Bucket=BUCKET, Key=key, Body=content(key))
    sagemaker = server.client("sagemaker")
    sagemaker.create_model_package_group(ModelPackageGroupName="kept")
    ran = clary("migrate", "--to", database, "--dir", str(folder))
    assert ran.returncode == 1
    assert "Clary runs on" in ran.stderr
    up.down(server.settings)
    killed(0.6, "migrate", "--to", database, "--dir", str(folder))  # nothing or all of it: known if it is done again
    ran = clary("migrate", "--to", database, "--dir", str(folder))
    assert ran.returncode == 0 or "that is where they are" in ran.stderr, ran.stderr

    there = start(dir=str(folder), database=database)
    assert dict(objects(there)) == {key: content(key) for key in keys}
    there.client("sagemaker").create_model_package_group(ModelPackageGroupName="later")
    assert there.key == server.key
    iam = there.client("iam")
    user = iam.create_access_key(UserName="clary")["AccessKey"]
    pair = (user["AccessKeyId"], user["SecretAccessKey"])
    assert not (folder / "keys" / f"{pair[0]}.json").exists()
    vault = str(tmp_path / "vault")
    done("backup", vault, "--dir", str(folder))
    up.down(there.settings)
    done("migrate", "--to", "files", "--dir", str(folder), CLARY_DATABASE=database)
    back = start(dir=str(folder))
    names = {"kept", "later"}
    for clary_ in (back, restored_from(start, vault, tmp_path / "two")):
        found = clary_.client("sagemaker").list_model_package_groups()["ModelPackageGroupSummaryList"]
        assert {group["ModelPackageGroupName"] for group in found} == names
        assert dict(objects(clary_)) == {key: content(key) for key in keys}
        with pytest.raises(ClientError, match="already existing"):
            clary_.client("sagemaker").create_model_package_group(ModelPackageGroupName="later")
        signed = dict(zip(("aws_access_key_id", "aws_secret_access_key"), pair, strict=True))
        sts = boto3.client("sts", region_name="us-east-1", endpoint_url=clary_.settings.endpoint, **signed)
        assert sts.get_caller_identity()["Arn"].endswith(":user/clary")


def restored_from(start: Callable[..., Server], vault: str, folder: Path) -> Server:
    told = done("restore", vault, "--dir", str(folder))
    assert told["database"].startswith("postgresql://")
    return start(dir=str(folder))
