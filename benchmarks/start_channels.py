"""What data adds to a job's start: one object of 10 GB, and 10,000 small ones, against the same job without a channel.

Start is from CreateTrainingJob to the status Training, as Describe tells both. Rounds are taken in turns, the best of each counts.
"""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.common import Row, say

LARGE, LARGE_MS = 10 * 10**9, 50.0
MANY, MANY_MS = 10_000, 300.0
PART = 500 * 10**6


def rows_of_channels(
    sagemaker: Any, s3: Any, bucket: str, job: dict[str, Any], name: Any, folder: str, rounds: int
) -> list[Row]:
    """`job`: a request that CreateTrainingJob takes, but for its name and channels. `folder`: where the objects come to lie."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: s3.put_object(Bucket=bucket, Key=f"many/{n:05}", Body=b"x"), range(MANY)))
    prefixes = {"none": "", "many": "many/"}
    room = shutil.disk_usage(folder).free
    if room > 2.5 * LARGE:
        put_large(s3, bucket)
        prefixes["large"] = "large/"
    else:
        say(f"{room / 1e9:.0f} GB are free: the object of {LARGE / 1e9:.0f} GB is left out")
    starts: dict[str, list[float]] = {kind: [] for kind in prefixes}
    for _ in range(rounds):
        for kind, prefix in prefixes.items():
            starts[kind].append(started(sagemaker, {**job, **channel(bucket, prefix), "TrainingJobName": name(kind)}))
    best = {kind: min(seen) for kind, seen in starts.items()}
    without = f"no data: {best['none'] * 1e3:.0f} ms"
    return [
        row("job's start: 10,000 objects add", best["many"] - best["none"], without, MANY_MS),
        row("job's start: one object of 10 GB adds", best["large"] - best["none"], without, LARGE_MS)
        if "large" in best
        else Row("job's start: one object of 10 GB adds", None, "ms", without, None, f"<= {LARGE_MS:g}"),
    ]


def row(what: str, seconds: float, against: str, limit: float) -> Row:
    return Row(what, seconds * 1e3, "ms", against, seconds * 1e3 / limit, f"<= {limit:g}", seconds * 1e3 <= limit)


def put_large(s3: Any, bucket: str) -> None:
    """Made in the store out of one part: 10 GB need not pass through this process."""
    s3.put_object(Bucket=bucket, Key="part", Body=bytes(PART))
    upload = {"Bucket": bucket, "Key": "large/one"}
    upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]
    parts = []
    for number in range(1, LARGE // PART + 1):
        copied = s3.upload_part_copy(**upload, PartNumber=number, CopySource=f"{bucket}/part")["CopyPartResult"]
        parts.append({"PartNumber": number, "ETag": copied["ETag"]})
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})


def channel(bucket: str, prefix: str) -> dict[str, Any]:
    if not prefix:
        return {}
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/{prefix}"}
    return {"InputDataConfig": [{"ChannelName": "train", "DataSource": {"S3DataSource": source}}]}


def started(sagemaker: Any, request: dict[str, Any]) -> float:
    """Seconds until its status was Training."""
    sagemaker.create_training_job(**request)
    sagemaker.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName=request["TrainingJobName"])
    seen = sagemaker.describe_training_job(TrainingJobName=request["TrainingJobName"])
    if seen["TrainingJobStatus"] != "Completed":
        raise SystemExit(f"{request['TrainingJobName']}: {seen.get('FailureReason')}")
    begun = next(step["StartTime"] for step in seen["SecondaryStatusTransitions"] if step["Status"] == "Training")
    return float((begun - seen["CreationTime"]).total_seconds())
