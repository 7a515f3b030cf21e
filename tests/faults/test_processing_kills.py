"""kill -9 while a processing job runs and while its outputs are stored: it ends as it would have, with every line and file once."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest
from tests.faults.scene import BUCKET, PYTHON_IMAGE, Scene, until
from tests.live import ROLE

pytestmark = [pytest.mark.live, pytest.mark.slow]
GROUP = "/aws/sagemaker/ProcessingJobs"
WORKING = """
import os, time
for number in range(40):
    print("line", number)
    with open("/opt/ml/processing/live/%d.txt" % number, "w") as file:
        file.write(str(number))
    time.sleep(0.1)
for number in range(50):
    with open("/opt/ml/processing/out/%d.txt" % number, "w") as file:
        file.write(str(number))
with open("/opt/ml/output/message", "w") as file:
    file.write("all said")
"""


def create(scene: Scene, name: str, code: str, **changes: Any) -> None:
    uri = scene.put(f"processing/{name}/main.py", code.encode())
    where = {"S3Uri": uri, "LocalPath": "/opt/ml/processing/code", "S3DataType": "S3Prefix", "S3InputMode": "File"}
    outputs = [
        {
            "OutputName": folder,
            "S3Output": {
                "S3Uri": f"s3://{BUCKET}/processed/{name}/{folder}",
                "LocalPath": f"/opt/ml/processing/{folder}",
                "S3UploadMode": mode,
            },
        }
        for folder, mode in (("live", "Continuous"), ("out", "EndOfJob"))
    ]
    scene.patient.create_processing_job(
        ProcessingJobName=name,
        RoleArn=ROLE,
        AppSpecification={
            "ImageUri": PYTHON_IMAGE,
            "ContainerEntrypoint": ["python3", "-u", "/opt/ml/processing/code/main.py"],
        },
        ProcessingInputs=[{"InputName": "code", "S3Input": where}],
        ProcessingOutputConfig={"Outputs": outputs},
        ProcessingResources={"ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}},
        **changes,
    )


def described(scene: Scene, name: str) -> dict[str, Any]:
    return dict(scene.patient.describe_processing_job(ProcessingJobName=name))


def ended(scene: Scene, name: str) -> dict[str, Any]:
    until(lambda: described(scene, name)["ProcessingJobStatus"] in ("Completed", "Failed", "Stopped"), 120)
    return described(scene, name)


def lines(scene: Scene, name: str) -> list[str]:
    streams = scene.logs.describe_log_streams(logGroupName=GROUP, logStreamNamePrefix=f"{name}/")["logStreams"]
    pages = scene.logs.get_paginator("filter_log_events").paginate(
        logGroupName=GROUP, logStreamNames=[stream["logStreamName"] for stream in streams]
    )
    return [event["message"] for page in pages for event in page["events"]]


def stored(scene: Scene, name: str, folder: str) -> dict[str, bytes]:
    prefix = f"processed/{name}/{folder}/"
    entries = scene.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
    return {
        entry["Key"].removeprefix(prefix): scene.s3.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read()
        for entry in entries
    }


def test_a_processing_job_goes_on_and_its_outputs_are_whole(scene: Scene) -> None:
    create(scene, "processing-on", WORKING)
    scene.back("control", scene.kill("control"))  # before it has begun, most likely
    until(lambda: stored(scene, "processing-on", "live"), 60, "a file is stored while the job runs")
    assert described(scene, "processing-on")["ProcessingJobStatus"] == "InProgress"
    for _ in range(3):
        scene.back("control", scene.kill("control"))
    until(lambda: "39.txt" in stored(scene, "processing-on", "live"), 60)
    scene.back("control", scene.kill("control"))  # while the outputs are stored, or the job is closed
    check(scene, "processing-on")


def check(scene: Scene, name: str) -> None:
    """The job of WORKING completes, and each line and file is there once, as it was written."""
    job = ended(scene, name)
    assert (job["ProcessingJobStatus"], job["ExitMessage"]) == ("Completed", "all said"), job.get("FailureReason")
    said = [line for line in lines(scene, name) if line.startswith("line ")]
    assert said == [f"line {number}" for number in range(40)]
    assert stored(scene, name, "live") == {f"{n}.txt": str(n).encode() for n in range(40)}
    assert stored(scene, name, "out") == {f"{n}.txt": str(n).encode() for n in range(50)}


def test_a_processing_job_outlives_the_object_store(scene: Scene) -> None:
    create(scene, "processing-store", WORKING)
    until(lambda: stored(scene, "processing-store", "live"), 60, "a file is stored while the job runs")
    for _ in range(3):
        scene.back("objects", scene.kill("objects"))
        time.sleep(1.0)  # the next kill comes at another moment of a round of stores
    until(
        lambda: (
            described(scene, "processing-store").get("ProcessingEndTime") or len(lines(scene, "processing-store")) >= 40
        ),
        60,
    )
    scene.back("objects", scene.kill("objects"))  # while the outputs are stored
    check(scene, "processing-store")


def test_a_processing_job_outlives_clary_up_itself(scene: Scene) -> None:
    create(scene, "processing-up", WORKING)
    until(lambda: stored(scene, "processing-up", "live"), 60, "a file is stored while the job runs")
    scene.up_again()
    check(scene, "processing-up")


def test_processing_jobs_are_started_once_however_their_start_is_cut_off(scene: Scene) -> None:
    for number in range(4):
        create(scene, f"processing-once-{number}", "import time; print('begun'); time.sleep(0.3)")
        time.sleep(0.15 * number)  # a different place of the start each time
        scene.back("control", scene.kill("control"))
    for number in range(4):
        job = ended(scene, f"processing-once-{number}")
        assert job["ProcessingJobStatus"] == "Completed", job.get("FailureReason")
        assert lines(scene, f"processing-once-{number}").count("begun") == 1


def test_a_stop_is_carried_out_although_the_control_plane_is_killed_behind_it(scene: Scene) -> None:
    create(scene, "processing-stop", "import time\nprint('begun')\ntime.sleep(300)\n")
    until(lambda: described(scene, "processing-stop").get("ProcessingStartTime"), 60)
    until(lambda: "begun" in lines(scene, "processing-stop"), 60)
    begun = {seen.pid for seen in scene.sandboxed("main.py")}
    assert begun
    scene.patient.stop_processing_job(ProcessingJobName="processing-stop")
    scene.back("control", scene.kill("control"))
    assert ended(scene, "processing-stop")["ProcessingJobStatus"] == "Stopped"
    until(lambda: not begun & {seen.pid for seen in scene.sandboxed("main.py")}, 30, "nothing is left of the job")


def test_a_killed_shim_fails_the_job_with_a_reason(scene: Scene) -> None:
    create(scene, "processing-shim", "import time\nprint('begun')\ntime.sleep(300)\n")
    until(lambda: described(scene, "processing-shim").get("ProcessingStartTime"), 60)
    until(lambda: "begun" in lines(scene, "processing-shim"), 60)
    os.kill(scene.shim("main.py"), signal.SIGKILL)
    job = ended(scene, "processing-shim")
    assert job["ProcessingJobStatus"] == "Failed"
    assert job["FailureReason"] == "InternalServerError: The process that ran the processing job was lost"
