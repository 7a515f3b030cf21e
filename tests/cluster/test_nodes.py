"""Jobs on nodes that have nothing of the head but its address: training, logs, results; who may join; a node that is lost."""

from __future__ import annotations

import json
import subprocess
import time

import pytest
from tests.cluster.conftest import Cluster
from tests.cluster.machines import wait

pytestmark = [pytest.mark.live, pytest.mark.slow]

TRAIN = """
    import json, os, socket
    rows = open("/opt/ml/input/data/train/a.csv").read().split()
    print("loss=0.25;", flush=True)
    import boto3
    account = boto3.client("sts").get_caller_identity()["Account"]
    json.dump({"rows": len(rows), "account": account}, open("/opt/ml/model/report.json", "w"))
"""

COUNTS = """
    import pathlib, sys, time
    mark = pathlib.Path("/opt/ml/checkpoints/steps")
    done = int(mark.read_text()) if mark.exists() else 0
    print(f"begins at {done}", flush=True)
    if done:
        sys.exit(0)
    mark.write_text("7")
    time.sleep(600)
"""


def channel(uri: str) -> dict[str, object]:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": "train", "DataSource": {"S3DataSource": source}}


def test_a_training_job_runs_on_a_node(cluster: Cluster) -> None:
    user = cluster.user
    data = user.put("train/a.csv", "1\n2\n3\n")
    image = {"TrainingImage": "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"}
    metrics = [{"Name": "loss", "Regex": "loss=([0-9.]+);"}]
    name = user.job(
        files={"train.py": TRAIN},
        InputDataConfig=[channel(data.rpartition("/")[0])],
        AlgorithmSpecification={**image, "MetricDefinitions": metrics},
    )
    wait(lambda: cluster.where(name), 60, "the job has a place on a node")
    done = user.ended(name)
    assert done["TrainingJobStatus"] == "Completed", (done.get("FailureReason"), user.lines(name))
    assert user.report(done) == {
        "rows": 3,
        "account": "000000000000",
    }  # the API answered, from inside the sandbox there
    assert "loss=0.25;" in user.lines(name)
    assert done["FinalMetricDataList"][0]["Value"] == 0.25


def test_a_join_that_is_forged_is_refused(cluster: Cluster) -> None:
    expires, nonce, authority, mac = cluster.token().split(".")
    for name, wrong, why in (
        ("forged", f"{int(expires) + 900}.{nonce}.{authority}.{mac}", "not one of this installation"),
        ("other", f"{expires}.{nonce}.{'0' * 64}.{mac}", "is not the installation that made this token"),
    ):
        agent = cluster.run(2, name, cluster.address, "--token", wrong, "--name", name)
        assert agent.wait(timeout=30) == 1
        assert why in cluster.log(name).read_text()
        assert not cluster.state(name)


def test_a_node_that_claims_another_s_name_is_refused(cluster: Cluster) -> None:
    agent = cluster.run(2, "thief", cluster.address, "--token", cluster.token(), "--name", "node-b")
    assert agent.wait(timeout=30) == 1
    assert "a machine node-b is there already" in cluster.log("thief").read_text()


def test_a_token_is_used_once(cluster: Cluster) -> None:
    token = cluster.token()
    cluster.run(2, "node-c", cluster.address, "--token", token, "--name", "node-c")
    wait(lambda: cluster.state("node-c") == "Ready", 30, "node-c joins")
    cluster.agents["node-c"].terminate()
    cluster.clary("node", "leave", "node-c")
    agent = cluster.run(2, "node-d", cluster.address, "--token", token, "--name", "node-d")
    assert agent.wait(timeout=30) == 1
    assert "was used already" in cluster.log("node-d").read_text()
    agent = cluster.run(2, "node-c")  # it has left: its certificate is good for nothing
    assert agent.wait(timeout=30) == 1
    assert "is no node of this installation" in cluster.log("node-c").read_text()


def test_a_drained_node_takes_nothing_and_keeps_what_it_has(cluster: Cluster) -> None:
    user = cluster.user
    cluster.drain("node-b")
    name = user.job(files={"train.py": "import time; time.sleep(600)"})
    wait(lambda: cluster.where(name) == "node-a", 60, "the job goes to the node that takes jobs")
    wait(lambda: user.describe(name)["SecondaryStatus"] == "Training", 90, "it runs")
    assert "has 1 place(s) in use" in cluster.clary("node", "leave", "node-a", good=False)
    user.sm.stop_training_job(TrainingJobName=name)
    assert user.ended(name)["TrainingJobStatus"] == "Stopped"
    cluster.drain("node-b", undo=True)


def test_a_run_lives_through_its_agent_s_death_and_the_head_s(cluster: Cluster) -> None:
    user = cluster.user
    script = "import time\nprint('went on', flush=True)\ntime.sleep(12)\nprint('done', flush=True)"
    name = user.job(files={"train.py": script})
    wait(lambda: "went on" in user.lines(name), 90, "its first line is told while it runs")
    node = cluster.where(name)
    cluster.kill_agent(node)
    cluster.run(["node-a", "node-b"].index(node), node)
    processes = json.loads((cluster.server.settings.run / "processes.json").read_text())
    subprocess.run(["kill", "-9", str(processes["control"]["pid"])], check=True)
    wait(lambda: _quiet(cluster, node) == "Ready", 60, "the node is back at the head")
    done = user.ended(name)
    assert done["TrainingJobStatus"] == "Completed", done.get("FailureReason")
    lines = user.lines(name)
    assert lines.count("went on") == 1
    assert lines.count("done") == 1


def _quiet(cluster: Cluster, name: str) -> str:
    try:
        return cluster.state(name)
    except AssertionError:
        return ""


def test_a_job_of_a_node_that_loses_its_power_goes_on_elsewhere(cluster: Cluster) -> None:
    """One with checkpoints: without, it fails and tells why. Nothing new goes to the lost node."""
    user = cluster.user
    place = f"s3://{user.bucket}/steps"
    cluster.drain("node-b")
    kept = user.job(files={"train.py": COUNTS}, CheckpointConfig={"S3Uri": place})
    wait(lambda: "steps/steps" in user.keys("steps"), 90, "its checkpoint is stored")
    bare = user.job(files={"train.py": "import time; time.sleep(600)"})
    wait(lambda: user.describe(bare)["SecondaryStatus"] == "Training", 90, "the other one runs")
    assert (cluster.where(kept), cluster.where(bare)) == ("node-a", "node-a")
    cluster.drain("node-b", undo=True)
    began = time.monotonic()
    cluster.machines[0].kill()
    wait(lambda: cluster.state("node-a") == "Suspect", 15, "it is suspected")
    assert time.monotonic() - began < 15
    done = user.ended(kept, 150)
    assert done["TrainingJobStatus"] == "Completed", done.get("FailureReason")
    assert "begins at 7" in user.lines(kept)
    failed = user.ended(bare, 60)
    assert failed["TrainingJobStatus"] == "Failed"
    assert "node node-a was lost, and the training job that ran on it has no checkpoints" in failed["FailureReason"]
    assert cluster.state("node-a") == "Lost"
