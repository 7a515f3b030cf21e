"""`clary data fetch` in a real job, through a proxy on loopback that stands for the world."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
from tests.sdk.acts import ENDED, User, unique, until
from tests.sdk.conftest import ROLE, Server

pytestmark = [pytest.mark.live, pytest.mark.slow]
BODY = b"id,x\n1,2\n"


class World(BaseHTTPRequestHandler):
    """A proxy: it is asked for whole URLs."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path.endswith("/moved"):
            self.send_response(302)
            self.send_header("Location", "http://elsewhere.test/data.csv")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def server(start: Callable[..., Server]) -> Iterator[Server]:
    world = ThreadingHTTPServer(("127.0.0.1", 0), World)
    threading.Thread(target=world.serve_forever, daemon=True).start()
    proxy = f"http://127.0.0.1:{world.server_address[1]}"
    yield start({"HTTP_PROXY": proxy, "http_proxy": proxy}, egress="http://data.test/public/")
    world.shutdown()
    world.server_close()


@pytest.fixture(scope="module")
def user(server: Server) -> User:
    return User(server)


def fetched(user: User, url: str) -> tuple[int, dict[str, Any], str]:
    argv = [sys.executable, "-m", "clary.app.cli", "data", "fetch", url, f"s3://{user.bucket}/raw", "--json"]
    done = user.server.run([*argv, "--dir", str(user.server.settings.root)])
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


def test_it_is_stored_and_known_to_lineage(user: User) -> None:
    code, told, error = fetched(user, "http://data.test/public/data.csv")
    assert code == 0, error
    digest = hashlib.sha256(BODY).hexdigest()
    assert told["uri"] == f"s3://{user.bucket}/raw/data/{digest}/data.csv"
    assert user.get(told["uri"]) == BODY
    kept = [json.loads(user.get(f"s3://{user.bucket}/{key}")) for key in user.keys(f"raw/provenance/{digest}/")]
    assert [each["url"] for each in kept] == ["http://data.test/public/data.csv"]
    found = user.sm.query_lineage(StartArns=[told["artifact"]], Direction="Ascendants")["Vertices"]
    sources = [
        user.sm.describe_artifact(ArtifactArn=each["Arn"])["Source"]["SourceUri"]
        for each in found
        if each["LineageType"] == "Artifact"
    ]
    assert "http://data.test/public/data.csv" in sources


@pytest.mark.parametrize("url", ["http://data.test/private/x", "http://other.test/x", "http://data.test/public/moved"])
def test_nothing_off_the_list(user: User, url: str) -> None:
    before = user.keys("raw/")
    code, _, error = fetched(user, url)
    assert code == 1
    assert "may not be reached: the setting egress allows http://data.test/public/" in error
    assert not [each for each in World.asked if "private" in each or "other.test" in each or "elsewhere" in each]
    assert user.keys("raw/") == before


def test_a_request_cannot_widen_the_list(user: User) -> None:
    spec = user.put("spec/spec.json", json.dumps({"url": "http://other.test/x", "limit": 1000})).rpartition("/")[0]
    name = unique("fetch")
    given = {
        "S3Uri": spec,
        "LocalPath": "/opt/ml/processing/input/spec",
        "S3DataType": "S3Prefix",
        "S3InputMode": "File",
    }
    user.sm.create_processing_job(
        ProcessingJobName=name,
        RoleArn=ROLE,
        AppSpecification={"ImageUri": "clary-fetch"},
        Environment={"CLARY_EGRESS": '["http://other.test/"]'},
        ProcessingInputs=[{"InputName": "spec", "S3Input": given}],
        ProcessingResources={"ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}},
    )
    done = until(
        lambda: user.sm.describe_processing_job(ProcessingJobName=name), lambda d: d["ProcessingJobStatus"] in ENDED
    )
    assert done["ProcessingJobStatus"] == "Failed"
    assert "may not be reached" in done["ExitMessage"]
