"""SDK v3: ScriptProcessor and FrameworkProcessor with a source folder and requirements, a script that fails, jobs as core resources."""

import io
import zipfile

import boto3
from common import CPU, ROLE, bucket, folder, put, session_v3, unique
from sagemaker.core.processing import FrameworkProcessor, ScriptProcessor
from sagemaker.core.resources import ProcessingJob
from sagemaker.core.shapes import ProcessingInput, ProcessingOutput, ProcessingS3Input, ProcessingS3Output
from sagemaker.core.utils.exceptions import FailedStatusError

PYTHON = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-base-python-310:latest"
session, prefix = session_v3(), unique("v3-processing")
common = {"role": ROLE, "instance_count": 1, "instance_type": CPU, "sagemaker_session": session, "image_uri": PYTHON}


def read(key):
    return boto3.client("s3").get_object(Bucket=bucket(), Key=f"{prefix}/{key}")["Body"].read()


def output(name):
    where = f"s3://{bucket()}/{prefix}/{name}"
    target = ProcessingS3Output(s3_uri=where, local_path="/opt/ml/processing/out", s3_upload_mode="EndOfJob")
    return ProcessingOutput(output_name="out", s3_output=target)


wheel = io.BytesIO()
with zipfile.ZipFile(wheel, "w") as archive:
    archive.writestr("tripling.py", "def triple(x):\n    return 3 * x\n")
    archive.writestr("tripling-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tripling\nVersion: 1.0\n")
    archive.writestr("tripling-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    archive.writestr("tripling-1.0.dist-info/RECORD", "")
source = folder(
    {
        "requirements.txt": "--no-index\n./tripling-1.0-py3-none-any.whl\n",
        "run.py": """
        import sys, pathlib
        import tripling
        pathlib.Path("/opt/ml/processing/out/answer.txt").write_text(str(tripling.triple(int(sys.argv[1]))))
        """,
        "copy.py": """
        import shutil
        shutil.copy("/opt/ml/processing/in/data.csv", "/opt/ml/processing/out/data.csv")
        """,
        "bad.py": "raise ValueError('no such column')\n",
    }
)
with open(f"{source}/tripling-1.0-py3-none-any.whl", "wb") as file:
    file.write(wheel.getvalue())

# --- a script over one object
processor = ScriptProcessor(command=["python3"], base_job_name=unique("script"), **common)
s3_input = ProcessingS3Input(
    s3_uri=put(f"{prefix}/data.csv", "1,2\n"),
    local_path="/opt/ml/processing/in",
    s3_data_type="S3Prefix",
    s3_input_mode="File",
)
processor.run(
    code=f"{source}/copy.py",
    inputs=[ProcessingInput(input_name="data", s3_input=s3_input)],
    outputs=[output("copied")],
    logs=False,
)
assert read("copied/data.csv") == b"1,2\n"
found = ProcessingJob.get(processor.latest_job.processing_job_name)
assert found.processing_job_status == "Completed", found
assert found.processing_end_time >= found.processing_start_time

# --- a source folder with requirements
framework = FrameworkProcessor(base_job_name=unique("framework"), **common)
framework.run(code="run.py", source_dir=source, arguments=["14"], outputs=[output("framework")], logs=False)
assert read("framework/answer.txt") == b"42"

# --- a script that fails (`run` itself would stumble over an exception of the SDK's own: it looks for it in botocore)
processor.run(code=f"{source}/bad.py", wait=False, logs=False)
try:
    processor.latest_job.wait()
except FailedStatusError as error:
    told = str(error)
else:
    raise SystemExit("a failing script must fail the job")
assert "ValueError: no such column" in told, told
names = [job.processing_job_name for job in ProcessingJob.get_all(status_equals="Failed")]
assert processor.latest_job.processing_job_name in names
