from __future__ import annotations

import ipaddress
import json
from typing import Any

import pytest

from clary.domain.errors import Invalid, LimitExceeded
from clary.domain.jobs import hosts, requirements, training
from clary.domain.jobs.channels import Channel
from clary.domain.s3 import Location


def request(**changes: Any) -> dict[str, Any]:
    return {
        "TrainingJobName": "Job",
        "AlgorithmSpecification": {"TrainingInputMode": "File"},
        "OutputDataConfig": {"S3OutputPath": "s3://b/out/"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2},
        **changes,
    }


GROUPS = {
    "InstanceGroups": [
        {"InstanceGroupName": "cpu", "InstanceType": "ml.c5.xlarge", "InstanceCount": 2},
        {"InstanceGroupName": "gpu", "InstanceType": "ml.g5.xlarge", "InstanceCount": 1},
    ]
}


def test_hosts_are_numbered_over_all_groups() -> None:
    assert [host.name for host in training.hosts(request())] == ["algo-1", "algo-2"]
    assert [(h.name, h.group) for h in training.hosts(request(ResourceConfig=GROUPS))] == [
        ("algo-1", "cpu"),
        ("algo-2", "cpu"),
        ("algo-3", "gpu"),
    ]


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"InstanceType": "ml.m5.large"},
        {"InstanceType": "ml.m5.large", "InstanceCount": 0},
        {**GROUPS, "InstanceCount": 1},
    ],
)
def test_a_config_without_hosts_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        training.hosts(request(ResourceConfig=config))


def test_no_job_has_a_thousand_million_hosts() -> None:
    config = {"InstanceType": "ml.m5.large", "InstanceCount": 10**9}
    with pytest.raises(LimitExceeded, match="1000000000 are asked for"):
        training.hosts({"ResourceConfig": config})


def test_every_host_has_an_address_of_its_own() -> None:
    found = {hosts.address(job, number) for number in range(1000) for job in ("a", "b", "c")}
    assert len(found) == 3000  # two jobs may use the same port of their algo-1
    assert all(ipaddress.ip_address(address).is_loopback for address in found)
    assert hosts.address("a", 0) == hosts.address("a", 0) != "127.0.0.1"


def test_a_channel_may_go_to_some_groups_only() -> None:
    of = training.hosts(request(ResourceConfig=GROUPS))
    channel = Channel("c", Location("b", ""), "s3://b", "File", groups=("gpu",))
    assert [host.name for host in hosts.receivers(channel, of)] == ["algo-3"]
    with pytest.raises(Invalid, match="'nosuch'"):
        hosts.receivers(Channel("c", Location("b", ""), "s3://b", "File", groups=("nosuch",)), of)


def test_the_contract_files() -> None:
    asked = request(HyperParameters={"eta": "0.1"}, CheckpointConfig={"S3Uri": "s3://b/c"})
    of = training.hosts(asked)
    channel = Channel("train", Location("b", ""), "s3://b", "File", content_type="text/csv")
    files = {name: json.loads(text) for name, text in training.contract(asked, of, of[1], [channel]).items()}
    assert files["hyperparameters.json"] == {"eta": "0.1"}
    assert files["inputdataconfig.json"] == {
        "train": {
            "TrainingInputMode": "File",
            "S3DistributionType": "FullyReplicated",
            "RecordWrapperType": "None",
            "ContentType": "text/csv",
        }
    }
    assert files["resourceconfig.json"] == {
        "current_host": "algo-2",
        "current_instance_type": "ml.m5.large",
        "current_group_name": "homogeneousCluster",
        "hosts": ["algo-1", "algo-2"],
        "instance_groups": [
            {"instance_group_name": "homogeneousCluster", "instance_type": "ml.m5.large", "hosts": ["algo-1", "algo-2"]}
        ],
        "network_interface_name": "lo",
    }
    assert files["checkpointconfig.json"] == {"LocalPath": "/opt/ml/checkpoints", "S3Uri": "s3://b/c"}


@pytest.mark.parametrize("encode", [json.dumps, str])
def test_script_mode_is_read_from_json_and_from_plain_text(encode: Any) -> None:
    asked = request(
        HyperParameters={
            "sagemaker_program": encode("train.py"),
            "sagemaker_submit_directory": encode("s3://b/j/sourcedir.tar.gz"),
        }
    )
    assert training.program(asked) == "train.py"
    assert training.submit_directory(asked) == Location("b", "j/sourcedir.tar.gz")


def test_code_inside_the_container_needs_no_download() -> None:
    assert training.submit_directory(request(HyperParameters={"sagemaker_submit_directory": "/opt/ml/code"})) is None
    assert training.program(request()) == ""


@pytest.mark.parametrize("spec", [{}, {"ContainerArguments": ["train"]}, {"ContainerEntrypoint": ["train"]}])
def test_the_images_own_command_may_be_named(spec: dict[str, Any]) -> None:
    own = request(AlgorithmSpecification={**request()["AlgorithmSpecification"], **spec})
    assert training.entrypoint(own) == ()


def test_where_results_go() -> None:
    model, data = training.outputs(request())
    assert (str(model.location), model.packed, model.failed) == ("s3://b/out/Job/output/model.tar.gz", True, False)
    assert str(data.location) == "s3://b/out/Job/output/output.tar.gz"
    plain, _ = training.outputs(request(OutputDataConfig={"S3OutputPath": "s3://b", "CompressionType": "NONE"}))
    assert (str(plain.location), plain.packed) == ("s3://b/Job/output/model/", False)


def test_synced_folders() -> None:
    asked = request(
        CheckpointConfig={"S3Uri": "s3://b/c", "LocalPath": "/data//ck/"},
        TensorBoardOutputConfig={"S3OutputPath": "s3://b/t"},
    )
    checkpoints, board = training.syncs(asked)
    assert (checkpoints.path, checkpoints.restore, str(checkpoints.location)) == ("/data/ck", True, "s3://b/c")
    assert (board.path, board.restore) == ("/opt/ml/output/tensorboard", False)
    assert str(board.location) == "s3://b/t/Job/tensorboard-output"


@pytest.mark.parametrize(
    "path", ["ck", "/", "/opt/ml", "/opt/ml/input/data/x", "/usr/lib", "/a/../etc", "/opt/clary/lib"]
)
def test_a_synced_folder_never_hides_another(path: str) -> None:
    with pytest.raises(Invalid):
        training.syncs(request(CheckpointConfig={"S3Uri": "s3://b/c", "LocalPath": path}))


@pytest.mark.parametrize(
    ("condition", "spot", "fine"),
    [
        ({"MaxRuntimeInSeconds": 10}, False, True),
        ({"MaxRuntimeInSeconds": 10, "MaxWaitTimeInSeconds": 10}, True, True),
        ({"MaxRuntimeInSeconds": 10, "MaxWaitTimeInSeconds": 9}, True, False),
        ({"MaxRuntimeInSeconds": 10}, True, False),
        ({"MaxRuntimeInSeconds": 10, "MaxWaitTimeInSeconds": 20}, False, False),
        ({"MaxRuntimeInSeconds": 29 * 86400}, False, False),
    ],
)
def test_stopping_conditions(condition: dict[str, int], spot: bool, fine: bool) -> None:
    asked = request(StoppingCondition=condition, EnableManagedSpotTraining=spot)
    if fine:
        training.check_stopping(asked)
    else:
        with pytest.raises(Invalid):
            training.check_stopping(asked)


@pytest.mark.parametrize(
    "line", ["-r other.txt", "-e .", "./pkg", "/etc/passwd", "x @ file:///etc", "--config-settings x"]
)
def test_requirements_that_read_this_machine_are_refused(line: str) -> None:
    with pytest.raises(Invalid, match="line 2"):
        requirements.checked(f"# mine\n{line}\n")


def test_ordinary_requirements_pass() -> None:
    text = "numpy==1.2  # pinned\n\n--extra-index-url https://example.org/simple\nx @ https://example.org/x.whl\n"
    assert requirements.checked(text) == text
