"""The `clary` command against a running Clary."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import boto3
import pytest
from tests.sdk.conftest import Server

from clary.app import folders, up
from clary.app.cli.site import find
from clary.app.machine import measure
from clary.app.settings import load

pytestmark = pytest.mark.live


def clary(server: Server, *words: str) -> subprocess.CompletedProcess[str]:
    return server.run([sys.executable, "-m", "clary.app.cli", *words, "--dir", server.settings.dir])


def test_status_and_ps(server: Server) -> None:
    facts = json.loads(clary(server, "status", "--json").stdout)
    assert (facts["running"], facts["endpoint"]) == (True, server.settings.endpoint)
    assert {"nginx", "objects", "control", "front-0"} <= set(facts["processes"])
    assert all(row["ready"] for row in facts["processes"].values())
    assert clary(server, "status").stdout.startswith(f"Clary runs at {server.settings.endpoint}")
    assert "nginx" in clary(server, "ps").stdout
    assert set(json.loads(clary(server, "ps", "--json").stdout)) == {
        "processes",
        "endpoints",
        "jobs",
        "processing_jobs",
    }


def test_top(server: Server) -> None:
    as_json = clary(server, "top", "--json")
    assert as_json.returncode == 0, as_json.stderr
    assert set(json.loads(as_json.stdout)) == {"endpoints", "workloads", "capacity"}
    once = clary(server, "top", "--once")
    assert once.returncode == 0, once.stderr
    shown = once.stdout
    # others may have endpoints on this server
    assert shown.endswith("\nno endpoints and no jobs\n") or "READY" in shown
    assert shown.startswith(f"{measure().cpus} vCPU, ")


def test_top_in_a_pipe_goes_on_without_a_terminals_codes_until_ctrl_c(server: Server) -> None:
    argv = [sys.executable, "-m", "clary.app.cli", "top", "--interval", "0.2", "--dir", server.settings.dir]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        killer = threading.Timer(60, process.kill)
        killer.start()
        assert process.stdout is not None
        looks: list[str] = []
        while sum(" vCPU, " in line for line in looks) < 2:
            looks.append(process.stdout.readline())
            assert looks[-1], "it ended"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
        killer.cancel()
    assert (process.returncode, said) == (130, "")
    assert "\x1b" not in "".join(looks)


def test_capacity(server: Server) -> None:
    """Nobody reads it without a key; status, top and doctor say the same of the machine."""
    shown = json.loads(clary(server, "capacity", "--json").stdout)
    assert set(shown) == {"policy", "machine", "machines", "free", "holders", "waiting", "cut"}
    assert shown["machine"]["cpus"] == measure().cpus
    assert [machine["cpus"] for machine in shown["machines"]] == [measure().cpus]
    assert " vCPU, " in clary(server, "capacity").stdout
    assert "\nmachine: " in clary(server, "status").stdout
    assert "machine: " in clary(server, "doctor").stdout
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{server.settings.endpoint}/capacity", timeout=30)


def test_env_works_in_a_client(server: Server) -> None:
    values = json.loads(clary(server, "env", "--json").stdout)
    code = "import boto3; print(boto3.client('sts').get_caller_identity()['Arn'])"
    done = server.run([sys.executable, "-c", code], **values)
    assert done.stdout.strip() == "arn:aws:iam::000000000000:user/clary"


def test_logs_are_followed_as_they_arrive(server: Server) -> None:
    logs, group = server.client("logs"), "/tests/cli"
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="s")

    def put(text: str) -> None:
        event = {"timestamp": int(time.time() * 1000), "message": text}
        logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=[event])

    put("before")
    assert clary(server, "logs", group).stdout.split(" ", 1)[1] == "s before\n"
    assert clary(server, "logs", group, "--filter", "after").stdout == ""
    argv = [sys.executable, "-m", "clary.app.cli", "logs", group, "--follow", "--dir", server.settings.dir]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=dict(server.environment)) as process:
        assert process.stdout is not None
        killer = threading.Timer(30, process.kill)
        killer.start()
        try:
            assert "before" in process.stdout.readline()
            put("after\x1b[2J")
            assert process.stdout.readline().endswith("s after\\x1b[2J\n")
        finally:
            process.terminate()
            killer.cancel()


def test_commands_follow_the_account_and_region_of_a_shell_that_points_here(server: Server) -> None:
    """As `eval "$(clary env --account ... --region ...)"` leaves it: what its clients make is what `ps` lists."""
    there = json.loads(clary(server, "env", "--json", "--account", "333344445555", "--region", "eu-west-3").stdout)
    model = boto3.client(
        "sagemaker",
        region_name="eu-west-3",
        endpoint_url=server.settings.endpoint,
        aws_access_key_id=there["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=there["AWS_SECRET_ACCESS_KEY"],
    )
    image = "683313688378.dkr.ecr.eu-west-3.amazonaws.com/sagemaker-xgboost:1.7-1"
    role = "arn:aws:iam::333344445555:role/r"
    model.create_model(ModelName="of-another-place", PrimaryContainer={"Image": image}, ExecutionRoleArn=role)
    argv = [sys.executable, "-m", "clary.app.cli", "export", "of-another-place", "--json", "--dir", server.settings.dir]
    done = server.run(argv, **there)
    assert (done.returncode, json.loads(done.stdout)[0]["request"]["ModelName"]) == (0, "of-another-place"), done.stderr
    assert server.run(argv).returncode == 4
    assert server.run(argv, **{**there, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}).returncode == 4
    status = [sys.executable, "-m", "clary.app.cli", "status", "--json", "--dir", server.settings.dir]
    facts = json.loads(server.run(status, **there).stdout)
    assert (facts["account"], facts["region"]) == ("333344445555", "eu-west-3")


def test_what_is_not_there(server: Server) -> None:
    done = clary(server, "logs", "nothing")
    assert (done.returncode, done.stdout) == (4, "")
    assert (
        done.stderr
        == f"clary: there is no job, endpoint or inference component 'nothing': `clary ps --all --dir {server.settings.dir}` "
        "lists what there is\n"
    )


@pytest.mark.parametrize("command", ["rollout", "scaling", "shadow"])
def test_no_such_endpoint(server: Server, command: str) -> None:
    arn = "arn:aws:sagemaker:us-east-1:000000000000:endpoint/nothing"
    for said, name in (("nothing", "nothing"), (arn, "nothing"), ("", ""), ("a b", "a b")):
        done = clary(server, command, said)
        assert (done.returncode, done.stdout) == (4, "")
        wanted = f"there is no endpoint {name!r}: `clary ps --dir {server.settings.dir}` lists endpoints"
        assert done.stderr == f"clary: {wanted}\n"


def test_a_second_clary_on_the_same_folder_is_refused(server: Server) -> None:
    done = clary(server, "up", "--detach", "--port", "0")
    assert done.returncode == 1
    assert "is in use by pid" in done.stderr
    assert f"`clary down --dir {server.settings.dir}` stops it" in done.stderr


def test_down_ends_it_and_says_so(start: Callable[..., Server]) -> None:
    other = start()
    assert json.loads(clary(other, "down", "--json").stdout)["ended"] is True
    assert clary(other, "status").returncode == 3
    assert clary(other, "down").returncode == 3


def test_a_start_without_hope_ends_soon_and_says_why(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "clary.app.cli", "up", "--detach", "--port", "0", "--dir", str(tmp_path / "state")]
    environment = {**os.environ, "CLARY_NGINX": "/bin/false", "CLARY_PROT": "1"}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=50, env=environment, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    first, second = done.stderr.splitlines()
    assert first == "clary: CLARY_PROT sets nothing: did you mean 'port'?"
    assert second.startswith("clary: nginx ended with exit code 1; see ")


def test_two_starts_at_once_on_one_folder(tmp_path: Path) -> None:
    """One has it, with the settings that it was given; the other says who."""
    folder = str(tmp_path / "state")
    argv = [sys.executable, "-m", "clary.app.cli", "up", "--detach", "--port", "0", "--dir", folder]
    starts = [
        subprocess.Popen([*argv, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        for environment in ({**os.environ, "CLARY_REGION": "eu-west-1"}, {**os.environ, "CLARY_REGION": "eu-west-2"})
    ]
    said = [start.communicate(timeout=100) for start in starts]
    try:
        codes = [start.returncode for start in starts]
        assert sorted(codes) == [0, 1], said
        winner, loser = codes.index(0), codes.index(1)
        assert said[loser][1].startswith(f"clary: {folder} is in use by ")
        assert said[loser][1].count("\n") == 1
        assert find(folder).settings.region == f"eu-west-{winner + 1}"
    finally:
        up.down(load({"dir": folder}))


def test_a_start_that_is_interrupted_leaves_nothing_running(tmp_path: Path) -> None:
    """Its nginx never answers, so that it cannot become ready before."""
    silent, folder = tmp_path / "nginx", tmp_path / "state"
    silent.write_text("#!/bin/sh\nexec sleep 600\n")
    silent.chmod(0o755)
    argv = [sys.executable, "-m", "clary.app.cli", "up", "--detach", "--port", "0", "--dir", str(folder)]
    with subprocess.Popen(
        argv, stderr=subprocess.PIPE, text=True, env={**os.environ, "CLARY_NGINX": str(silent)}
    ) as start:
        until(lambda: (folder / "logs" / "clary" / "nginx.log").exists())
        start.send_signal(signal.SIGINT)
        _, said = start.communicate(timeout=90)
    assert (start.returncode, said) == (130, "")
    assert folders.holding(folder / "clary.lock") is None
    assert "ready at" not in (folder / "logs" / "clary" / "up.log").read_text()


def test_a_demo_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    argv = [sys.executable, "-u", "-m", "clary.app.cli", "demo"]
    kept = {**os.environ, "TMPDIR": str(tmp_path), "CLARY_ENVIRONMENTS": str(tmp_path / "environments")}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=kept) as demo:
        assert demo.stdout is not None
        assert demo.stdout.readline() == "starting Clary\n"
        assert demo.stdout.readline().startswith("Clary is at http://127.0.0.1:")
        [folder] = tmp_path.glob("clary-demo-*")
        assert folders.holding(folder / "clary.lock") is not None
        demo.kill()
    until(lambda: not folder.exists())


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_the_demo_in_a_folder_of_ones_own_leaves_nothing_behind(server: Server) -> None:
    """Twice: what the first made must not be in the way of the second."""
    for _ in range(2):
        done = clary(server, "demo", "--json")
        assert done.returncode == 0, done.stderr
        shown = json.loads(done.stdout)
        assert shown["accuracy"] > 0.9
        assert {"upload to S3", "train XGBoost", "deploy an endpoint", "predict", "clean up"} <= set(shown["seconds"])
    sagemaker, s3 = server.client("sagemaker"), server.client("s3")
    for kind, members in (
        ("training_jobs", "TrainingJobSummaries"),
        ("models", "Models"),
        ("endpoint_configs", "EndpointConfigs"),
        ("endpoints", "Endpoints"),
    ):
        assert getattr(sagemaker, f"list_{kind}")(NameContains="demo-")[members] == [], kind
    for bucket in s3.list_buckets()["Buckets"]:
        assert "Contents" not in s3.list_objects_v2(Bucket=bucket["Name"], Prefix="demo-")


def test_a_demo_that_fails_says_why_in_one_line(server: Server) -> None:
    """Its bucket is another account's."""
    owner = json.loads(clary(server, "env", "--json", "--account", "222233334444").stdout)
    keys = {"aws_access_key_id": owner["AWS_ACCESS_KEY_ID"], "aws_secret_access_key": owner["AWS_SECRET_ACCESS_KEY"]}
    other = boto3.client("s3", region_name="us-east-1", endpoint_url=server.settings.endpoint, **keys)
    other.create_bucket(Bucket="taken-by-another")
    argv = [sys.executable, "-c", DEMO, server.settings.dir, "taken-by-another"]
    done = server.run(argv)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("clary: the demo failed: An error occurred (BucketAlreadyExists)")
    assert done.stderr.count("\n") == 1


DEMO = """
import sys
from dataclasses import replace
from clary.app.cli import demo, output, site
here = site.find(sys.argv[1])
here = replace(here, settings=replace(here.settings, bucket=sys.argv[2]))
try:
    demo._run(here, quiet=True)
except output.CommandRefused as error:
    sys.exit(output.explain(error))
"""
