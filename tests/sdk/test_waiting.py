"""Waiting clients: their looks are answered when the state changes, so their long sleeps cost nothing. Others are never held."""

from __future__ import annotations

import re
import subprocess
import textwrap
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.sdk.acts import PYTHON, User, unique, until
from tests.sdk.conftest import ROLE, ROOT, Server

from clary.app import up

pytestmark = [pytest.mark.live, pytest.mark.slow]
SLEEPS = {"ContainerEntrypoint": ["sleep", "6"]}


@pytest.fixture(scope="module")
def user(server: Server) -> User:
    return User(server)


def counted(client: Any, operation: str) -> list[float]:
    """When this client began each of its calls of `operation`."""
    asked: list[float] = []
    client.meta.events.register(f"before-send.*.{operation}", lambda **_: asked.append(time.monotonic()))
    return asked


def test_boto3s_training_waiter_looks_once(server: Server, user: User) -> None:
    """Its own step is 120 s."""
    sm = server.client("sagemaker")
    asked = counted(sm, "DescribeTrainingJob")
    name = user.job(AlgorithmSpecification=SLEEPS)
    began = time.monotonic()
    sm.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName=name)
    assert len(asked) == 1
    assert time.monotonic() - began < 15  # the job's 6 s and a busy machine; alone it takes 7
    assert user.describe(name)["TrainingJobStatus"] == "Completed"


def test_a_plain_describe_is_never_held(user: User) -> None:
    name = user.job(AlgorithmSpecification=SLEEPS)
    asked = [user.describe(name)["TrainingJobStatus"] for _ in range(5)]
    assert asked == ["InProgress"] * 5
    user.sm.stop_training_job(TrainingJobName=name)
    user.ended(name)


def test_waiters_of_endpoints(server: Server, user: User) -> None:
    """30 s steps: created, updated and deleted in one look each."""
    sm = server.client("sagemaker")
    asked = counted(sm, "DescribeEndpoint")
    script = "import time\ntime.sleep(1)\ndef model_fn(d): return 1\ndef predict_fn(x, m): return x\n"
    model = user.scripted({"code/inference.py": script}, image=PYTHON)
    name = user.endpoint({"ModelName": model}, wait=False)
    sm.get_waiter("endpoint_in_service").wait(EndpointName=name)
    sm.update_endpoint(EndpointName=name, EndpointConfigName=user.config({"ModelName": model}))
    sm.get_waiter("endpoint_in_service").wait(EndpointName=name)
    assert len(asked) == 2
    sm.delete_endpoint(EndpointName=name)
    sm.get_waiter("endpoint_deleted").wait(EndpointName=name)
    assert len(asked) == 3


def test_a_waiter_fails_with_a_failed_endpoint(server: Server, user: User) -> None:
    from botocore.exceptions import WaiterError

    sm = server.client("sagemaker")
    model = user.scripted({"code/inference.py": "raise OSError('no')\n"}, image=PYTHON)
    name = user.endpoint({"ModelName": model}, wait=False)
    with pytest.raises(WaiterError, match="Failed"):
        sm.get_waiter("endpoint_in_service").wait(EndpointName=name)
    user.sm.delete_endpoint(EndpointName=name)


def test_the_setting_turns_it_off(start: Any) -> None:
    from botocore.exceptions import WaiterError

    plain = start(hold_describes=False)
    user = User(plain)
    sm = plain.client("sagemaker")
    asked = counted(sm, "DescribeTrainingJob")
    name = user.job(AlgorithmSpecification=SLEEPS)
    with pytest.raises(WaiterError):
        sm.get_waiter("training_job_completed_or_stopped").wait(
            TrainingJobName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 2}
        )
    assert len(asked) == 2
    user.sm.stop_training_job(TrainingJobName=name)
    user.ended(name)
    up.down(plain.settings)


FIT = """
import time
import sagemaker
from sagemaker.estimator import Estimator
image, role, bucket = {image!r}, {role!r}, {bucket!r}
session = sagemaker.Session(default_bucket=bucket)
estimator = Estimator(image, role, 1, "ml.m5.large", sagemaker_session=session, output_path="s3://" + bucket + "/fit",
                      container_entry_point=["sleep", "6"])
asked = []
session.sagemaker_client.meta.events.register("before-send.*.DescribeTrainingJob", lambda **_: asked.append(1))
began = time.monotonic()
estimator.fit()
print("result", len(asked), round(time.monotonic() - began, 1))
"""


def test_v2s_fit_of_a_6_s_job(server: Server, user: User, tmp_path: Path) -> None:
    """45 s without held Describes: two looks before the end, then 30 s between looks."""
    python = ROOT / ".venv-v2" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"scripts/test makes {python.parent.parent}")
    configuration = tmp_path / "sagemaker.yaml"
    configuration.write_text("SchemaVersion: '1.0'\nSageMaker: {PythonSDK: {Modules: {TelemetryOptOut: true}}}\n")
    program = textwrap.dedent(FIT).format(image=PYTHON, role=ROLE, bucket=user.bucket)
    done = server.run(
        [str(python), "-W", "ignore", "-c", program],
        SAGEMAKER_USER_CONFIG_OVERRIDE=str(configuration),
        SAGEMAKER_SUPPRESS_V2_WARNING="1",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("result "))
    looks, seconds = int(line.split()[1]), float(line.split()[2])
    assert looks <= 5, line
    assert seconds < 20, line  # 12 on a quiet machine


# No newline in a command's argument.
TICKS = "import time; [(print(f'tick {{time.time():.2f}}.', flush=True), time.sleep(1)) for _ in range({lines})]"
LIVE = {
    ".venv-v2": """
import sagemaker, time
from sagemaker.estimator import Estimator
session = sagemaker.Session(default_bucket={bucket!r})
estimator = Estimator({image!r}, {role!r}, 1, "ml.m5.large", sagemaker_session=session, output_path="s3://{bucket}/fit",
                      container_entry_point=["python3", "-c", {ticks!r}])
estimator.fit()
print("returned %.2f." % time.time())
""",
    ".venv-v3": """
import logging, os, tempfile, time
logging.basicConfig(level=logging.INFO)
from sagemaker.core.helper.session_helper import Session
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, OutputDataConfig, SourceCode
folder = tempfile.mkdtemp()
with open(os.path.join(folder, "ticks.py"), "w") as file: file.write({ticks!r})
trainer = ModelTrainer(training_image={image!r}, role={role!r}, sagemaker_session=Session(default_bucket={bucket!r}),
                       base_job_name="live", source_code=SourceCode(source_dir=folder, entry_script="ticks.py"),
                       output_data_config=OutputDataConfig(s3_output_path="s3://{bucket}/fit"),
                       compute=Compute(instance_type="ml.m5.large", instance_count=1))
trainer.train()
print("returned %.2f." % time.time())
""",
}


@dataclass(frozen=True)
class Shown:
    """What an SDK showed of a job that prints a line a second. `ages`: how many seconds after it was printed each line was shown;
    `after`: how many seconds after the last line was printed the SDK returned."""

    ages: list[float]
    after: float


def shown(server: Server, user: User, environment: str, variables: Mapping[str, str], lines: int) -> Shown:
    ticks = TICKS.format(lines=lines)
    program = LIVE[environment].format(image=PYTHON, role=ROLE, bucket=user.bucket, ticks=ticks)
    printed: list[float] = []
    ages: list[float] = []
    said = ""
    with subprocess.Popen(
        [str(ROOT / environment / "bin" / "python"), "-u", "-W", "ignore", "-c", program],
        env={**server.environment, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as client:
        assert client.stdout is not None
        for line in client.stdout:
            now = time.time()
            said += line
            printed += [float(at) for at in re.findall(r"tick (\d+\.\d\d)\.", line)]
            ages += [now - at for at in printed[len(ages) :]]
    assert client.returncode == 0, said
    assert len(printed) == lines, said
    (returned,) = re.findall(r"returned (\d+\.\d\d)\.", said)
    return Shown(ages, float(returned) - printed[-1])


@pytest.mark.waits
def test_sdks_show_a_jobs_lines_while_it_runs(server: Server, user: User, tmp_path: Path) -> None:
    """SDK v2 reads the log every 10 s and SDK v3 every 5 s; v2 looks at the job every 30 s, and once more sleeps 10 s after it ended."""
    if not all((ROOT / environment / "bin" / "python").exists() for environment in LIVE):
        pytest.skip("scripts/test makes .venv-v2 and .venv-v3")
    configuration = tmp_path / "sagemaker.yaml"
    configuration.write_text("SchemaVersion: '1.0'\nSageMaker: {PythonSDK: {Modules: {TelemetryOptOut: true}}}\n")
    variables = {"SAGEMAKER_USER_CONFIG_OVERRIDE": str(configuration), "SAGEMAKER_SUPPRESS_V2_WARNING": "1"}
    with ThreadPoolExecutor(2) as pool:
        v2, v3 = pool.map(lambda environment: shown(server, user, environment, variables, 18), LIVE)
    assert max(v2.ages) < 10 + 5, v2
    assert max(v3.ages) < 5 + 5, v3
    assert v2.after < 30 + 10 + 10, v2  # at the latest; 32 on a quiet machine
    assert v3.after < 5 + 5, v3


def test_the_cli_waits_for_a_job_in_one_look(server: Server, user: User) -> None:
    aws = ROOT / ".venv-cli" / "bin" / "aws"
    if not aws.exists():
        pytest.skip(f"scripts/test makes {aws.parent.parent}")
    name = user.job(AlgorithmSpecification=SLEEPS)
    began = time.monotonic()
    waiting = [str(aws), "sagemaker", "wait", "training-job-completed-or-stopped", "--training-job-name", name]
    waited = server.run(waiting)
    assert (waited.returncode, waited.stderr) == (0, "")
    assert time.monotonic() - began < 60, "a second look would come after 120 s"
    assert user.describe(name)["TrainingJobStatus"] == "Completed"


def test_the_cli_waits_for_an_endpoint_in_one_look(server: Server, user: User) -> None:
    aws = ROOT / ".venv-cli" / "bin" / "aws"
    if not aws.exists():
        pytest.skip(f"scripts/test makes {aws.parent.parent}")
    model = user.scripted(
        {"code/inference.py": "def model_fn(d): return 1\ndef predict_fn(x, m): return x\n"}, image=PYTHON
    )
    name = user.endpoint({"ModelName": model}, wait=False)
    began = time.monotonic()
    waited = server.run([str(aws), "sagemaker", "wait", "endpoint-in-service", "--endpoint-name", name])
    assert (waited.returncode, waited.stderr) == (0, "")
    assert time.monotonic() - began < 15, "a second look would come after 30 s"
    user.sm.delete_endpoint(EndpointName=name)
    missing = server.run([str(aws), "sagemaker", "describe-endpoint", "--endpoint-name", name])
    assert missing.returncode in (254, 255)
    assert "(ValidationException)" in missing.stderr
    assert "Could not find endpoint" in missing.stderr


def test_a_whole_job_by_the_cli(server: Server, user: User) -> None:
    aws = ROOT / ".venv-cli" / "bin" / "aws"
    if not aws.exists():
        pytest.skip(f"scripts/test makes {aws.parent.parent}")
    name = unique("cli")

    def run(*words: str) -> str:
        done = server.run([str(aws), *words])
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    arn = run(
        "sagemaker", "create-training-job", "--training-job-name", name, "--role-arn", ROLE, "--algorithm-specification",
        f"TrainingImage={PYTHON},TrainingInputMode=File,ContainerEntrypoint=sh,-c,ContainerArguments=echo hi",
        "--output-data-config", f"S3OutputPath=s3://{user.bucket}/cli", "--resource-config",
        "InstanceType=ml.m5.large,InstanceCount=1,VolumeSizeInGB=5", "--stopping-condition", "MaxRuntimeInSeconds=60",
        "--tags", "Key=a,Value=b", "--query", "TrainingJobArn", "--output", "text",
    )  # fmt: skip
    until(lambda: user.describe(name)["TrainingJobStatus"] == "Completed")
    assert run("sagemaker", "list-tags", "--resource-arn", arn, "--output", "text").split() == ["TAGS", "a", "b"]
    run("sagemaker", "delete-tags", "--resource-arn", arn, "--tag-keys", "a")
    assert run("sagemaker", "list-tags", "--resource-arn", arn, "--query", "Tags") == "[]"
    listed = run(
        "sagemaker",
        "list-training-jobs",
        "--name-contains",
        name,
        "--query",
        "TrainingJobSummaries[].TrainingJobStatus",
    )
    assert "Completed" in listed
    lines = run(
        "logs", "filter-log-events", "--log-group-name", "/aws/sagemaker/TrainingJobs", "--log-stream-name-prefix",
        f"{name}/", "--filter-pattern", "hi", "--query", "events[].message", "--output", "text",
    )  # fmt: skip
    assert lines == "hi"
    run("sagemaker", "delete-training-job", "--training-job-name", name)
