"""scripts/bench jobs: jobs that grow with their data: memory and time at x1, x10, x100 rows, and XGBoost shared by one to four hosts.

Rows: preparation, a process of its own in the environment of the image clary-prepare. Time is wall time beyond that of x1, imports left
out. Hosts: training jobs of a running Clary on one machine, the validation metric of each against that of one host.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.common import Row, arguments, finish, say
from benchmarks.prepare import interpreter, run
from benchmarks.start import BUCKET, ROLE, XGBOOST, Bench, name, running

FLAT, LINEAR, SAME = 1.05, 1.10, 0.005
SHARDS = 4
COLUMNS = 10


def rows_of_data(python: str, least: int, folder: Path) -> list[Row]:
    peaks, seconds = {}, {}
    for times in (1, 10, 100):
        run(python, "make", least * times, folder / str(times))
        seconds[times], peaks[times] = run(python, "clary", least * times, folder / str(times))
    made = [
        Row(f"x{times} rows: memory", peaks[times], "MiB", f"x10: {peaks[10]:,.0f} MiB", peaks[times] / peaks[10])
        for times in (1, 10)
    ]
    grown = peaks[100] / peaks[10]
    made.append(
        Row("x100 rows: memory", peaks[100], "MiB", f"x10: {peaks[10]:,.0f} MiB", grown, "<= 1.05", grown <= FLAT)
    )
    each = (seconds[10] - seconds[1]) / 9  # of x1's rows, imports left out
    ratio = (seconds[100] - seconds[1]) / 99 / each
    against = f"x1 to x10: {each * 1e3:.0f} ms each"
    made.append(
        Row(
            "x100 rows: time of each",
            (seconds[100] - seconds[1]) / 99 * 1e3,
            "ms",
            against,
            ratio,
            "<= 1.1",
            ratio <= LINEAR,
        )
    )
    return made


def shard(seed: int, rows: int) -> bytes:
    draw = random.Random(seed)
    lines = []
    for _ in range(rows):
        x = [draw.gauss(0, 1) for _ in range(COLUMNS)]
        chance = x[0] + x[1] * x[2] + 0.5 * draw.gauss(0, 1)
        lines.append(",".join([str(int(chance > 0)), *(f"{value:.4f}" for value in x)]))
    return "\n".join(lines).encode()


def trained(bench: Bench, hosts: int, rounds: int) -> tuple[float, float]:
    """The validation log loss at the end, and the seconds that training took."""
    job = name(f"hosts-{hosts}")
    channels: list[dict[str, Any]] = []
    for channel, spread in (("train", "ShardedByS3Key"), ("validation", "FullyReplicated")):
        source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/jobs/{channel}/", "S3DataDistributionType": spread}
        channels.append({"ChannelName": channel, "ContentType": "text/csv", "DataSource": {"S3DataSource": source}})
    bench.sagemaker.create_training_job(
        TrainingJobName=job,
        RoleArn=ROLE,
        HyperParameters={"objective": "binary:logistic", "num_round": str(rounds), "max_depth": "4", "eta": "0.2"},
        AlgorithmSpecification={"TrainingImage": XGBOOST, "TrainingInputMode": "File"},
        InputDataConfig=channels,
        OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/out"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": hosts, "VolumeSizeInGB": 5},
        StoppingCondition={"MaxRuntimeInSeconds": 1800},
    )
    bench.sagemaker.get_waiter("training_job_completed_or_stopped").wait(
        TrainingJobName=job, WaiterConfig={"Delay": 1, "MaxAttempts": 1800}
    )
    seen = bench.sagemaker.describe_training_job(TrainingJobName=job)
    found = {each["MetricName"]: each["Value"] for each in seen["FinalMetricDataList"]}
    return found["validation:logloss"], float(seen["TrainingTimeInSeconds"])


def rows_of_hosts(bench: Bench, rows: int, rounds: int) -> list[Row]:
    bench.s3.create_bucket(Bucket=BUCKET)
    for number in range(SHARDS):
        bench.s3.put_object(Bucket=BUCKET, Key=f"jobs/train/{number}.csv", Body=shard(number, rows // SHARDS))
    bench.s3.put_object(Bucket=BUCKET, Key="jobs/validation/0.csv", Body=shard(SHARDS, rows // SHARDS))
    alone, took = trained(bench, 1, rounds)
    made = [Row("XGBoost, 1 host: validation log loss", alone, "", f"{took:.0f} s")]
    for hosts in (2, 4):
        say(f"{hosts} hosts ...")
        metric, took = trained(bench, hosts, rounds)
        off = abs(metric / alone - 1)
        made.append(
            Row(
                f"XGBoost, {hosts} hosts: validation log loss",
                metric,
                "",
                f"{took:.0f} s",
                metric / alone,
                "within 0.5 %",
                off <= SAME,
            )
        )
    return made


def main() -> int:
    def extra(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--rows", type=int, default=30_000, help="rows of x1; the hosts share eight times as many")
        parser.add_argument("--rounds", type=int, default=400, help="of XGBoost's boosting")

    options = arguments("jobs", extra)
    with tempfile.TemporaryDirectory(prefix="clary-bench-") as top:
        environments = Path(top, "environments")
        rows = rows_of_data(interpreter(environments), options.rows, Path(top))
        with running(str(environments)) as (bench, _):
            rows += rows_of_hosts(bench, 8 * options.rows, options.rounds)
    return finish(rows, options.json)


if __name__ == "__main__":
    sys.exit(main())
