"""SDK v3: ModelTrainer with a command, with a script that fails, and on two hosts; jobs as core resources."""

import io
import json
import tarfile

import boto3
from common import CPU, ROLE, bucket, csv, folder, put, session_v3, split, unique
from sagemaker.core.resources import TrainingJob
from sagemaker.core.training.configs import Compute, InputData, OutputDataConfig, SourceCode, StoppingCondition
from sagemaker.core.utils.exceptions import FailedStatusError
from sagemaker.train import ModelTrainer

PYTHON = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-base-python-310:latest"
session, prefix = session_v3(), unique("v3-train")
x_train, _, y_train, _ = split("iris")
train = put(f"{prefix}/train/train.csv", csv(x_train, y_train))
source = folder(
    {
        "run.py": """
    import json, os, sys
    report = {"argv": sys.argv[1:], "hps": json.loads(os.environ["SM_HPS"]), "host": os.environ["SM_CURRENT_HOST"],
              "hosts": json.loads(os.environ["SM_HOSTS"]), "channel": sorted(os.listdir(os.environ["SM_CHANNEL_TRAIN"])),
              "mine": os.environ.get("MINE"), "cwd": os.getcwd()}
    with open(os.path.join(os.environ["SM_MODEL_DIR"], report["host"] + ".json"), "w") as file:
        json.dump(report, file)
    print("accuracy=0.75")
    """,
        "bad.py": """
    def learn():
        raise ValueError("the labels are strings")
    learn()
    """,
    }
)


def trainer(**more):
    return ModelTrainer(
        training_image=PYTHON,
        role=ROLE,
        sagemaker_session=session,
        base_job_name=unique("v3"),
        **{
            "compute": Compute(instance_type=CPU, instance_count=1),
            "output_data_config": OutputDataConfig(s3_output_path=f"s3://{bucket()}/{prefix}/out"),
            "stopping_condition": StoppingCondition(max_runtime_in_seconds=300),
            **more,
        },
    )


def results(job):
    where, _, key = job.model_artifacts.s3_model_artifacts.removeprefix("s3://").partition("/")
    body = boto3.client("s3").get_object(Bucket=where, Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        return {m.name.removeprefix("./"): json.loads(tar.extractfile(m).read()) for m in tar if m.isfile()}


# a command, with hyperparameters in SM_HPS only
commanded = trainer(
    source_code=SourceCode(source_dir=source, command="python run.py --given 1"),
    hyperparameters={"epochs": 3, "name": "ada", "deep": {"x": [1]}},
    environment={"MINE": "yes"},
)
commanded.train([InputData(channel_name="train", data_source=train)], logs=True)
seen = results(commanded._latest_training_job)["algo-1.json"]
assert seen["argv"] == ["--given", "1"], seen
assert seen["hps"] == {"epochs": 3, "name": "ada", "deep": {"x": [1]}}, seen
assert (seen["mine"], seen["channel"]) == ("yes", ["train.csv"]), seen

# a script on two hosts, its folder as data source uploaded by the SDK
local = folder({"a.csv": "1\n", "b.csv": "2\n"})
twice = trainer(
    source_code=SourceCode(source_dir=source, entry_script="run.py"),
    compute=Compute(instance_type=CPU, instance_count=2),
    hyperparameters={"epochs": 3},
)
twice.train([InputData(channel_name="train", data_source=local)], logs=False)
seen = results(twice._latest_training_job)
assert sorted(seen) == ["algo-1.json", "algo-2.json"], seen
assert all(row["hosts"] == ["algo-1", "algo-2"] and row["channel"] == ["a.csv", "b.csv"] for row in seen.values()), seen
assert seen["algo-1.json"]["argv"] == ["--epochs", "3"], seen

# a failure says why
failing = trainer(source_code=SourceCode(source_dir=source, entry_script="bad.py"))
try:
    failing.train([InputData(channel_name="train", data_source=train)], logs=False)
    raise SystemExit("a failing script passed")
except FailedStatusError as error:
    words = str(error)
assert "ValueError: the labels are strings" in words, words

# core resources
name = commanded._latest_training_job.training_job_name
job = TrainingJob.get(training_job_name=name)
assert (job.training_job_status, job.secondary_status_transitions[-1].status) == ("Completed", "Completed")
assert job.hyper_parameters["epochs"] == "3", job.hyper_parameters
found = {job.training_job_name for job in TrainingJob.get_all(name_contains="v3-")}
assert {name, twice._latest_training_job.training_job_name} <= found, found
stopped = trainer(source_code=SourceCode(source_dir=source, command="sleep 100"))
stopped.train([InputData(channel_name="train", data_source=train)], wait=False)
running = stopped._latest_training_job
running.stop()
running.wait(poll=1)
running.refresh()
assert running.training_job_status == "Stopped", running.training_job_status
running.delete()
try:
    TrainingJob.get(training_job_name=running.training_job_name)
    raise SystemExit("a deleted job is there")
except boto3.client("sagemaker").exceptions.ClientError as error:
    code = error.response["Error"]["Code"]
assert code == "ValidationException", code
