"""SDK v2: ScriptProcessor with local inputs, FrameworkProcessor and PyTorchProcessor with source folders and requirements, a shell script,
jobs that fail and stop, attach and logs."""

# ruff: noqa: PT017
import io
import json
import re
import zipfile

import boto3
from common import CPU, ROLE, bucket, folder, session_v2, unique
from sagemaker.exceptions import UnexpectedStatusException
from sagemaker.processing import FrameworkProcessor, ProcessingInput, ProcessingJob, ProcessingOutput, ScriptProcessor
from sagemaker.pytorch.processing import PyTorchProcessor
from sagemaker.sklearn import SKLearn

PYTHON = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-base-python-310:latest"
session, prefix = session_v2(), unique("v2-processing")
common = {"role": ROLE, "instance_count": 1, "instance_type": CPU, "sagemaker_session": session}


def read(uri):
    where, _, key = uri.removeprefix("s3://").partition("/")
    return boto3.client("s3").get_object(Bucket=where, Key=key)["Body"].read()


# a package to install without an index: what `pip install` of a requirements file needs besides pip itself
wheel = io.BytesIO()
with zipfile.ZipFile(wheel, "w") as archive:
    archive.writestr("doubling.py", "def double(x):\n    return 2 * x\n")
    archive.writestr("doubling-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: doubling\nVersion: 1.0\n")
    archive.writestr("doubling-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    archive.writestr("doubling-1.0.dist-info/RECORD", "")
source = folder(
    {
        "requirements.txt": "--no-index\n./doubling-1.0-py3-none-any.whl\n",
        "run.py": """
        import sys, pathlib
        import doubling, lib.names
        pathlib.Path("/opt/ml/processing/out", lib.names.FILE).write_text(str(doubling.double(int(sys.argv[1]))))
        """,
        "lib/__init__.py": "",
        "lib/names.py": "FILE = 'answer.txt'\n",
        "sum.py": """
        import pathlib, sys
        base = pathlib.Path("/opt/ml/processing")
        total = sum(float(line) for path in (base / "in").iterdir() for line in path.open())
        (base / "out" / "deep").mkdir()
        (base / "out" / "deep" / "sum.txt").write_text(str(total))
        print("summed up", total)
        """,
        "bad.py": "def read():\n    raise KeyError('age')\nread()\n",
        "sh.sh": "echo $1 > /opt/ml/processing/out/said.txt\n",
    }
)
with open(f"{source}/doubling-1.0-py3-none-any.whl", "wb") as file:
    file.write(wheel.getvalue())

# --- a script, with a local folder as input and the default destination of an output
data = folder({"a.csv": "1\n2\n", "b.csv": "3.5\n"})
processor = ScriptProcessor(image_uri=PYTHON, command=["python3"], base_job_name=unique("script"), **common)
processor.run(
    code=f"{source}/sum.py",
    inputs=[ProcessingInput(source=data, destination="/opt/ml/processing/in")],
    outputs=[ProcessingOutput(output_name="out", source="/opt/ml/processing/out")],
    experiment_config={"ExperimentName": "none"},
)
job = processor.latest_job.describe()
where = job["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
assert read(f"{where}/deep/sum.txt") == b"6.5"
assert job["ExperimentConfig"] == {"ExperimentName": "none"}
attached = ProcessingJob.from_processing_name(session, job["ProcessingJobName"])
assert attached.inputs[0].destination == "/opt/ml/processing/in"
assert attached.outputs[0].destination == where
streams = boto3.client("logs").describe_log_streams(
    logGroupName="/aws/sagemaker/ProcessingJobs", logStreamNamePrefix=job["ProcessingJobName"]
)["logStreams"]
assert re.fullmatch(rf"{job['ProcessingJobName']}/algo-1-\d+", streams[0]["logStreamName"]), streams

# --- a shell script
shell = ScriptProcessor(image_uri=PYTHON, command=["bash"], base_job_name=unique("shell"), **common)
output = ProcessingOutput(source="/opt/ml/processing/out", destination=f"s3://{bucket()}/{prefix}/shell")
shell.run(code=f"{source}/sh.sh", arguments=["hello"], outputs=[output], logs=False)
assert read(f"s3://{bucket()}/{prefix}/shell/said.txt") == b"hello\n"

# --- frameworks: the source folder with its requirements
for kind, more in (
    (FrameworkProcessor, {"estimator_cls": SKLearn, "framework_version": "1.2-1"}),
    (PyTorchProcessor, {"framework_version": "2.0", "py_version": "py310"}),
):
    there = f"s3://{bucket()}/{prefix}/{kind.__name__}"
    framework = kind(image_uri=PYTHON, base_job_name=unique("framework"), **more, **common)
    output = ProcessingOutput(source="/opt/ml/processing/out", destination=there)
    framework.run(code="run.py", source_dir=source, arguments=["21"], outputs=[output], logs=False)
    assert read(f"{there}/answer.txt") == b"42"

# --- a script that fails, one that is stopped
try:
    processor.run(code=f"{source}/bad.py", logs=False)
    raise SystemExit("a failing script must fail the job")
except UnexpectedStatusException as error:
    assert error.actual_status == "Failed"
failed = processor.latest_job.describe()
assert failed["FailureReason"] == "AlgorithmError: , exit code: 1: KeyError: 'age'", failed["FailureReason"]
stopping = ScriptProcessor(image_uri=PYTHON, command=["python3", "-c"], base_job_name=unique("stopped"), **common)
stopping.run(code=f"{folder({'wait.py': 'import time; time.sleep(100)'})}/wait.py", wait=False)
stopping.latest_job.stop()
print(json.dumps({"passed": prefix}))
