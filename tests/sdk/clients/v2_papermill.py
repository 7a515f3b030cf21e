"""SDK v2: NotebookJobStep. Parameters come from the pipeline, an init script and a file stand beside; the notebook that was run is in the
job's output; a cell that fails fails the step."""

import io
import json
import pathlib
import tarfile

import boto3
import common
from botocore.exceptions import WaiterError
from sagemaker.workflow.notebook_job_step import NotebookJobStep
from sagemaker.workflow.parameters import ParameterString
from sagemaker.workflow.pipeline import Pipeline
from sagemaker.workflow.pipeline_context import PipelineSession

IMAGE = f"683313688378.dkr.ecr.{common.REGION}.amazonaws.com/sagemaker-base-python-310:1.0"
sm, s3 = boto3.client("sagemaker"), boto3.client("s3")
name, session = common.unique("v2-notebook"), PipelineSession(default_bucket=common.bucket())


def cell(source, *tags):
    return {
        "cell_type": "code",
        "source": source,
        "metadata": {"tags": list(tags)},
        "outputs": [],
        "execution_count": None,
    }


cells = [
    cell("word = 'nothing'", "parameters"),
    cell(
        "import os, numpy\nprint(word.upper(), os.environ['COLOUR'], open('more/note.txt').read(), int(numpy.arange(4).sum()))"
    ),
    cell("assert word != 'bad', 'a bad word'"),
]
spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
notebook = {"cells": cells, "metadata": {"kernelspec": spec}, "nbformat": 4, "nbformat_minor": 4}
folder = pathlib.Path(
    common.folder({"work.ipynb": json.dumps(notebook), "init.sh": "export COLOUR=green\n", "more/note.txt": "noted"})
)
word = ParameterString("Word", default_value="hello")
step = NotebookJobStep(
    name="Notebook",
    input_notebook=str(folder / "work.ipynb"),
    initialization_script=str(folder / "init.sh"),
    additional_dependencies=[str(folder / "more")],
    image_uri=IMAGE,
    kernel_name="python3",
    notebook_job_name="work",
    role=common.ROLE,
    s3_root_uri=f"s3://{common.bucket()}/notebooks",
    parameters={"word": word},
)
pipeline = Pipeline(name, parameters=[word], steps=[step], sagemaker_session=session)
pipeline.create(common.ROLE)


def run(wanted, **given):
    execution = pipeline.start(parameters=given)
    try:
        execution.wait(delay=1, max_attempts=200)
    except WaiterError:
        assert wanted == "Failed"
    [state] = execution.list_steps()
    assert state["StepStatus"] == wanted, state
    arn = state["Metadata"]["TrainingJob"]["Arn"]
    jobs = sm.list_training_jobs(MaxResults=100)["TrainingJobSummaries"]
    job = sm.describe_training_job(
        TrainingJobName=next(each["TrainingJobName"] for each in jobs if each["TrainingJobArn"] == arn)
    )
    where = f"notebooks/{name}/{execution.arn.rpartition('/')[2]}/Notebook"
    assert job["OutputDataConfig"]["S3OutputPath"] == f"s3://{common.bucket()}/{where}"
    key = f"{where}/{job['TrainingJobName']}/output/output.tar.gz"
    stored = s3.list_objects_v2(Bucket=common.bucket(), Prefix=where).get("Contents", [])
    assert key in [each["Key"] for each in stored], (wanted, key, [each["Key"] for each in stored])
    body = s3.get_object(Bucket=common.bucket(), Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        files = {
            member.name.removeprefix("./"): archive.extractfile(member).read() for member in archive if member.isfile()
        }
    assert {"work.ipynb", job["Environment"]["SM_OUTPUT_NOTEBOOK_NAME"], "sagemaker_job_execution.log"} == set(files)
    made = json.loads(files[job["Environment"]["SM_OUTPUT_NOTEBOOK_NAME"]])
    said = "".join("".join(out.get("text", "")) for each in made["cells"] for out in each.get("outputs", []))
    return state, said, files["sagemaker_job_execution.log"].decode()


_, said, log = run("Succeeded")
assert "HELLO green noted 6" in said, said
assert "HELLO green noted 6" in log, log
state, said, _ = run("Failed", Word="bad")
assert "BAD green noted 6" in said, said
# papermill puts a cell with the parameters before the others
assert "PapermillExecutionError: Cell 4: AssertionError: a bad word" in state["FailureReason"], state
print("OK")
