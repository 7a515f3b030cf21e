"""The real MLflow behind SageMaker's API: AWS's plugin, unmodified, and a browser's way. `scripts/test --mlflow` runs it."""

from __future__ import annotations

import http.cookiejar
import json
import os
import time
import urllib.error
import urllib.request
from typing import Any

import pytest
from tests.live import ROOT, Server

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif("CLARY_TEST_MLFLOW" not in os.environ, reason="scripts/test --mlflow installs MLflow"),
]
ROLE, BUCKET = "arn:aws:iam::000000000000:role/Mlflow", "mlflow-artifacts"
CLIENT = str(ROOT / "tests/sdk/clients/mlflow_tracking.py")


def run(server: Server, *arguments: str, **more: str) -> dict[str, Any]:
    python = str(ROOT / ".venv-v3/bin/python")
    given = {"SAGEMAKER_MLFLOW_CUSTOM_ENDPOINT": server.settings.endpoint, **more}
    done = server.run([python, CLIENT, *arguments], timeout=600, **given)
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def tracked(server: Server) -> dict[str, Any]:
    """A server that a user worked with."""
    return run(server, "tracker")


def test_runs_metrics_files_and_models_come_back(tracked: dict[str, Any]) -> None:
    assert tracked["status"] == "Created"
    assert tracked["params"] == {"depth": "4", "eta": "0.1"}
    assert tracked["history"] == [0.7, 0.72, 0.74, 0.76, pytest.approx(0.78)]
    assert (tracked["team"], tracked["file"], tracked["alias"]) == ("a b+c", {"threshold": 0.5}, "1")
    assert tracked["artifact"].startswith(f"s3://{BUCKET}/runs/")


def test_registered_models_become_versions_of_the_registry(tracked: dict[str, Any]) -> None:
    [[number, source, told]] = tracked["packages"]
    assert (number, told["mlflow.name"], told["mlflow.version"]) == (1, "churn", "1")
    assert source.endswith("/settings.json")


def test_the_database_outlives_a_stop(tracked: dict[str, Any]) -> None:
    assert (tracked["stopped"], tracked["started"], tracked["after"]) == ("Stopped", "Started", tracked["params"])


def test_a_presigned_url_opens_its_pages(server: Server, tracked: dict[str, Any]) -> None:
    url = server.client("sagemaker").create_presigned_mlflow_tracking_server_url(TrackingServerName="tracker")[
        "AuthorizedUrl"
    ]
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    with browser.open(url) as page:
        assert b"<title>MLflow</title>" in page.read()
        base = page.url
    asked = urllib.request.Request(f"{base}ajax-api/2.0/mlflow/experiments/search", b'{"max_results": 9}')
    asked.add_header("content-type", "application/json")
    with browser.open(asked) as answer:
        assert "churn prediction" in {each["name"] for each in json.load(answer)["experiments"]}
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(base)


def test_one_whose_process_is_killed_comes_back_with_its_runs(server: Server, tracked: dict[str, Any]) -> None:
    folder = server.settings.root / "mlflow"
    [id_] = [path.name for path in folder.iterdir()]
    pids = [
        int(entry)
        for entry in os.listdir("/proc")
        if entry.isdigit() and f"--static-prefix\0/_mlflow/{id_}".encode() in _command(entry)
    ]
    assert pids
    for pid in pids:
        os.kill(pid, 9)
    end = time.monotonic() + 120
    while True:
        url = server.client("sagemaker").create_presigned_mlflow_tracking_server_url(TrackingServerName="tracker")[
            "AuthorizedUrl"
        ]
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
        code, page = opened(browser, url)
        if code == 200:
            assert b"<title>MLflow</title>" in page
            return
        assert (code, b"TEMPORARILY_UNAVAILABLE" in page) == (503, True)
        assert time.monotonic() < end
        time.sleep(0.5)


def opened(browser: urllib.request.OpenerDirector, url: str) -> tuple[int, bytes]:
    try:
        with browser.open(url) as page:
            return page.status, page.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def _command(pid: str) -> bytes:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b""


def test_an_app_is_found_by_its_arn(server: Server) -> None:
    sagemaker = server.client("sagemaker")
    server.client("s3").create_bucket(Bucket="apps")
    arn = sagemaker.create_mlflow_app(Name="team", ArtifactStoreUri="s3://apps/x", RoleArn=ROLE)["Arn"]
    end = time.monotonic() + 180
    while (status := sagemaker.describe_mlflow_app(Arn=arn)["Status"]) == "Creating":
        assert time.monotonic() < end
        time.sleep(0.5)
    assert status == "Created"
    found = run(server, "--app", arn)
    assert found == {"experiment": "from an app", "metric": 0.5}
    other = arn.replace("000000000000", "111111111111")
    refused = server.run(
        [str(ROOT / ".venv-v3/bin/python"), CLIENT, "--app", other],
        SAGEMAKER_MLFLOW_CUSTOM_ENDPOINT=server.settings.endpoint,
    )
    assert "PERMISSION_DENIED" in refused.stderr
    sagemaker.delete_mlflow_app(Arn=arn)
    while sagemaker.list_mlflow_apps()["Summaries"]:
        assert time.monotonic() < end + 60
        time.sleep(0.2)
