"""The SM_* environment and the script's arguments, by the training toolkit's rules (reference: sagemaker.md 2.6)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clary.toolkit import environment

CONFIG: dict[str, Any] = {
    "hyperparameters": {
        "sagemaker_program": '"train.py"',
        "sagemaker_submit_directory": '"s3://b/job/source/sourcedir.tar.gz"',
        "sagemaker_container_log_level": "20",
        "sagemaker_job_name": '"job-1"',
        "sagemaker_region": '"us-west-2"',
        "sagemaker_torch_distributed_enabled": "true",
        "epochs": "5",
        "batch-size": "64",
        "optimizer": '"adam"',
        "plain": "sgd",
        "flags": '{"b": 1, "a": [true]}',
        "n": "true",
    },
    "resourceconfig": {
        "current_host": "algo-2",
        "hosts": ["algo-1", "algo-2"],
        "network_interface_name": "eth0",
        "current_instance_type": "ml.m5.large",
        "current_group_name": "homogeneousCluster",
        "instance_groups": [
            {
                "instance_group_name": "homogeneousCluster",
                "instance_type": "ml.m5.large",
                "hosts": ["algo-1", "algo-2"],
            }
        ],
    },
    "inputdataconfig": {
        "train": {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "RecordWrapperType": "None"},
        "my.val": {"TrainingInputMode": "File"},
    },
}


@pytest.fixture
def env(tmp_path: Path) -> environment.TrainingEnvironment:
    folder = tmp_path / "input" / "config"
    folder.mkdir(parents=True)
    for name, content in CONFIG.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return environment.load({"SAGEMAKER_BASE_DIR": str(tmp_path), "PATH": "", "CLARY_CPUS": "1"})


def test_the_toolkits_own_hyperparameters_are_split_off(env: environment.TrainingEnvironment) -> None:
    assert env.program == "train.py"
    assert env.job_name == "job-1"
    assert env.framework == {"sagemaker_torch_distributed_enabled": True}
    assert env.hyperparameters == {
        "epochs": 5,
        "batch-size": 64,
        "optimizer": "adam",
        "plain": "sgd",
        "flags": {"b": 1, "a": [True]},
        "n": True,
    }


def test_every_variable(env: environment.TrainingEnvironment) -> None:
    found = environment.variables(env)
    base = env.base
    expected = {
        "SM_HOSTS": '["algo-1","algo-2"]',
        "SM_CURRENT_HOST": "algo-2",
        "SM_CURRENT_INSTANCE_TYPE": "ml.m5.large",
        "SM_CURRENT_INSTANCE_GROUP": "homogeneousCluster",
        "SM_CURRENT_INSTANCE_GROUP_HOSTS": '["algo-1","algo-2"]',
        "SM_INSTANCE_GROUPS": '["homogeneousCluster"]',
        "SM_DISTRIBUTION_INSTANCE_GROUPS": "[]",
        "SM_IS_HETERO": "false",
        "SM_NETWORK_INTERFACE_NAME": "eth0",
        "SM_HPS": '{"batch-size":64,"epochs":5,"flags":{"a":[true],"b":1},"n":true,"optimizer":"adam","plain":"sgd"}',
        "SM_USER_ENTRY_POINT": "train.py",
        "SM_FRAMEWORK_PARAMS": '{"sagemaker_torch_distributed_enabled":true}',
        "SM_OUTPUT_DATA_DIR": base + "/output/data",
        "SM_CHANNELS": '["my.val","train"]',
        "SM_MODULE_NAME": "train",
        "SM_LOG_LEVEL": "20",
        "SM_FRAMEWORK_MODULE": "",
        "SM_INPUT_DIR": base + "/input",
        "SM_INPUT_CONFIG_DIR": base + "/input/config",
        "SM_OUTPUT_DIR": base + "/output",
        "SM_OUTPUT_INTERMEDIATE_DIR": base + "/output/intermediate",
        "SM_NUM_CPUS": "1",
        "SM_NUM_GPUS": "0",
        "SM_NUM_NEURONS": "0",
        "SM_MODEL_DIR": base + "/model",
        "SM_MODULE_DIR": "s3://b/job/source/sourcedir.tar.gz",
        "SM_CHANNEL_TRAIN": base + "/input/data/train",
        "SM_CHANNEL_MY.VAL": base + "/input/data/my.val",
        "SM_HP_EPOCHS": "5",
        "SM_HP_BATCH-SIZE": "64",
        "SM_HP_OPTIMIZER": "adam",
        "SM_HP_FLAGS": '{"a":[true],"b":1}',
        "SM_HP_N": "true",
        "SAGEMAKER_JOB_NAME": "job-1",
        "SAGEMAKER_REGION": "us-west-2",
        "CURRENT_HOST": "algo-2",
        "PYTHONUNBUFFERED": "1",
    }
    assert {k: found[k] for k in expected} == expected
    assert json.loads(found["SM_RESOURCE_CONFIG"]) == CONFIG["resourceconfig"]
    assert json.loads(found["SM_INPUT_DATA_CONFIG"]) == CONFIG["inputdataconfig"]
    assert json.loads(found["SM_INSTANCE_GROUPS_DICT"])["homogeneousCluster"]["instance_type"] == "ml.m5.large"
    training = json.loads(found["SM_TRAINING_ENV"])
    assert training["is_master"] is False
    assert training["channel_input_dirs"]["train"] == base + "/input/data/train"
    assert json.loads(found["SM_USER_ARGS"]) == environment.arguments(env.hyperparameters)


def test_arguments() -> None:
    given = {"b": 1, "alpha": 0.5, "flag": True, "map": {"y": 2, "x": 1}, "none": None, "list": [1, 2], "text": "a b"}
    assert environment.arguments(given) == [
        *("--alpha", "0.5"),
        *("-b", "1"),
        *("--flag", "True"),
        *("--list", "[1, 2]"),
        *("--map", "x=1,y=2"),
        *("--none", ""),
        *("--text", "a b"),
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"adam"', "adam"),
        ("adam", "adam"),
        ("0.5", 0.5),
        ("[1]", [1]),
        ("s3://b/k", "s3://b/k"),
        ("", ""),
        ("null", None),
    ],
)
def test_json_else_the_text(text: str, value: object) -> None:
    assert environment.decode(text) == value


def test_absent_files_are_empty(tmp_path: Path) -> None:
    env = environment.load({"SAGEMAKER_BASE_DIR": str(tmp_path), "SAGEMAKER_PROGRAM": "x.py"})
    assert (env.hosts, env.host, env.program) == (["algo-1"], "algo-1", "x.py")


def test_a_file_that_is_not_json(tmp_path: Path) -> None:
    (tmp_path / "input/config").mkdir(parents=True)
    (tmp_path / "input/config/hyperparameters.json").write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        environment.load({"SAGEMAKER_BASE_DIR": str(tmp_path)})


def test_gpus_are_counted_by_nvidia_smi(tmp_path: Path) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: A'\necho 'GPU 1: B'\n")
    tool.chmod(0o755)
    assert environment.gpu_count({"PATH": str(tmp_path)}) == 2
    assert environment.gpu_count({"PATH": "/nowhere"}) == 0
    for told, count in (("0,1,2", 3), ("", 0), ("-1", 0), ("1", 1), ("0,-1,1", 1), ("GPU-8932f937", 1)):
        assert environment.gpu_count({"PATH": str(tmp_path), "CUDA_VISIBLE_DEVICES": told}) == count


def test_a_letter_is_spelled_as_the_script_declares_it() -> None:
    assert environment.arguments({"C": 0.5}) == ["-C", "0.5"]
    assert environment.arguments({"C": 0.5}, 'parser.add_argument("--C", type=float)') == ["--C", "0.5"]
    assert environment.arguments({"C": 0.5}, "parser.add_argument('-C', '--C')") == ["-C", "0.5"]


def test_memory_is_what_the_planner_gave() -> None:
    assert environment.memory({"CLARY_MEMORY": "4294967296"}) == 4 << 30
    assert [environment.memory(each) for each in ({}, {"CLARY_MEMORY": ""}, {"CLARY_MEMORY": "0"})] == [1 << 30] * 3
