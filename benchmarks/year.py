"""scripts/bench year: a year of predictions, compressed, through live endpoints that retrain themselves.

Four streams of river's (sudden, gradual and recurring drift of the concept, and one with a change and, later, a day whose labels are
poisoned) are asked of four endpoints of one Clary, `STEP` days at a time; then the labels come, and the next days wait until these are
joined and no retraining is under way. Around the poisoned day they come day by day: what the wrong labels start is judged before right ones
cover them. So a retraining takes as long as it takes, and at most `STEP` days of the stream pass unseen. Accuracy is by
true labels. never, daily and oracle are computed beside it, by the same training and window (`peers/year_policies.py`).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from botocore.exceptions import BotoCoreError, ClientError

from benchmarks.common import Row, arguments, finish, say
from benchmarks.peers.launch import HERE, environment
from clary.app import plots
from clary.app.cli.site import find

BEFORE, DAYS, STEP = 1000, 365, 5
POISONED = 201  # the day whose labels are all wrong
DAILY = range(200, 215)  # days that the poisoned stream takes one by one; whole steps
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
ROLE = "arn:aws:iam::000000000000:role/service-role/AmazonSageMaker-ExecutionRole"
BUCKET = "clary-year"
RULE = "reference=500 window=50 problem=classification"
PATIENCE = 120.0  # seconds until labels are joined, or a retraining ends
GONE = ("Executing", "Stopping")
XGBOOST = HERE.parent.parent / "src" / "clary" / "backends" / "environments" / "xgboost.txt"
COLOURS = {"never": plots.GREY, "daily": plots.GREEN, "oracle": plots.INK, "clary": plots.BLUE}


@dataclass
class LiveStream:
    """A stream at its endpoint. `right`: hits by day; rows that were `sent`, and of these whose labels are `known` to be joined:
    `counted` ones of the endpoint config `config`. `poison`: how many lines history had before the poisoned days and after them."""

    name: str
    x: list[list[float]]
    y: list[int]
    pinned: list[list[float]]
    right: list[float] = field(default_factory=list)
    failed: int = 0
    sent: int = 0
    known: int = 0
    config: str = ""
    counted: int = 0
    poison: list[int] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        return f"year-{self.name}"


class Year:
    """A Clary in `folder`, and clients of it."""

    def __init__(self, folder: str, rows: int) -> None:
        self.rows, self.folder = rows, folder
        self.clary = str(Path(sys.executable).parent / "clary")
        self.environment = {**os.environ, "CLARY_DIR": folder, "NO_PROXY": "127.0.0.1,localhost"}
        self.call("up", "--detach", "--port", "0")
        told = json.loads(self.call("env", "--json"))
        self.environment |= {key: str(value) for key, value in told.items()}
        self.region = str(told.get("AWS_DEFAULT_REGION", "us-east-1"))
        os.environ.update({key: str(value) for key, value in told.items()})
        import boto3

        self.s3, self.sagemaker, self.runtime = (
            boto3.client(each) for each in ("s3", "sagemaker", "sagemaker-runtime")
        )
        self.s3.create_bucket(Bucket=BUCKET)

    def call(self, *words: str) -> str:
        done = subprocess.run([self.clary, *words], env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"clary {' '.join(words)}: {done.stderr}")
        return done.stdout

    # -- before the year --------------------------------------------------------------------------------------------------------------

    def begin(self, stream: LiveStream) -> None:
        """A model of the rows before the year, behind an endpoint that retrains itself."""
        name, sagemaker = stream.endpoint, self.sagemaker
        rows = zip(stream.x[:BEFORE], stream.y[:BEFORE], strict=True)
        self.put(f"{name}/train/data.csv", "".join(f"{y},{','.join(map(str, x))}\n" for x, y in rows))
        source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/{name}/train/"}}
        sagemaker.create_training_job(
            TrainingJobName=name,
            RoleArn=ROLE,
            AlgorithmSpecification={"TrainingImage": IMAGE, "TrainingInputMode": "File"},
            HyperParameters={"objective": "binary:logistic", "num_round": "50"},
            InputDataConfig=[{"ChannelName": "train", "ContentType": "text/csv", "DataSource": source}],
            OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/{name}/models"},
            ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
            StoppingCondition={"MaxRuntimeInSeconds": 600},
        )
        sagemaker.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName=name, WaiterConfig={"Delay": 1})
        model = sagemaker.describe_training_job(TrainingJobName=name)["ModelArtifacts"]["S3ModelArtifacts"]
        sagemaker.create_model_package_group(ModelPackageGroupName=name)
        sagemaker.create_model_package(
            ModelPackageGroupName=name,
            ModelApprovalStatus="Approved",
            CustomerMetadataProperties={"clary:alias": "champion"},
            InferenceSpecification={
                "Containers": [{"Image": IMAGE, "ModelDataUrl": model}],
                "SupportedContentTypes": ["text/csv"],
                "SupportedResponseMIMETypes": ["text/csv"],
            },
        )
        package = {"ModelPackageName": f"{name}@champion"}
        sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=package)
        variant = {"VariantName": "main", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
        sagemaker.create_endpoint_config(
            EndpointConfigName=name,
            ProductionVariants=[variant],
            DataCaptureConfig={
                "EnableCapture": True,
                "InitialSamplingPercentage": 100,
                "DestinationS3Uri": f"s3://{BUCKET}/captured",
                "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
                "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"]},
            },
            Tags=[{"Key": "clary:labels", "Value": RULE}],
        )
        routing = {
            "Type": "CANARY",
            "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 50},
            "WaitIntervalInSeconds": 1,
        }
        sagemaker.create_endpoint(
            EndpointName=name,
            EndpointConfigName=name,
            DeploymentConfig={"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing}},
            Tags=[{"Key": "clary:follow", "Value": f"{name}@champion"}],
        )
        sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name, WaiterConfig={"Delay": 1})
        words = ["retrain", name, "--init", "--fresh", "300", "--cooldown", "1s", "--budget", "90", "--window", "2000"]
        words += ["--metric", "accuracy"]
        if stream.pinned:
            self.put(f"{name}/pinned/data.csv", "".join(",".join(map(str, row)) + "\n" for row in stream.pinned))
            words += ["--holdout", f"s3://{BUCKET}/{name}/pinned"]
        self.call(*words)

    def put(self, key: str, text: str) -> None:
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=text.encode())

    # -- the year ---------------------------------------------------------------------------------------------------------------------

    def days(self, stream: LiveStream, day: int) -> None:
        """`STEP` days from that one on, in parts."""
        if stream.pinned and day in (DAILY.start, DAILY.stop):
            stream.poison.append(len(self.told(stream)))
        for part in parts(stream, day):
            self.ask(stream, part)

    def ask(self, stream: LiveStream, days: range) -> None:
        """Ask for these days, give their labels, and wait until these are joined and no retraining is under way."""
        lines = []
        for today in days:
            start = BEFORE + today * self.rows
            x, y = stream.x[start : start + self.rows], stream.y[start : start + self.rows]
            body = "\n".join(",".join(map(str, row)) for row in x)
            asked = {"EndpointName": stream.endpoint, "ContentType": "text/csv", "Accept": "text/csv", "Body": body}
            try:
                answer = self.runtime.invoke_endpoint(**asked, InferenceId=f"day-{today}")["Body"].read().decode()
            except (ClientError, BotoCoreError) as error:
                say(f"{stream.endpoint}: {error}")
                stream.failed += 1
                continue
            predicted = [float(each) > 0.5 for each in answer.replace("\n", ",").strip(",").split(",")]
            stream.right.append(sum(each == label for each, label in zip(predicted, y, strict=True)) / len(y))
            stream.sent += len(y)
            wrong = stream.pinned and today == POISONED
            data = ",".join(str(1 - label if wrong else label) for label in y)
            truth = {"data": data, "encoding": "CSV"}
            lines.append(
                json.dumps(
                    {"groundTruthData": truth, "eventMetadata": {"eventId": f"day-{today}"}, "eventVersion": "0"}
                )
            )
        hour = time.strftime("%Y/%m/%d/%H", time.gmtime())
        self.put(f"captured/ground-truth/{stream.endpoint}/{hour}/{days.start}.jsonl", "\n".join(lines) + "\n")
        self.joined(stream)
        self.settled(stream)

    def joined(self, stream: LiveStream) -> None:
        """Wait until the watch has the newest labels: of an endpoint config that is new, those since it came."""
        deadline, asked = time.monotonic() + PATIENCE, stream.sent - stream.known
        while time.monotonic() < deadline:
            variants = self.watched(stream)
            config = variants[0]["config"] if variants else ""
            count = variants[0]["labels"]["joined"] if variants else 0
            before = stream.counted if config == stream.config else 0
            if variants and count - before >= asked:
                stream.config, stream.counted, stream.known = config, count, stream.sent
                return
            time.sleep(0.5)
        say(f"{stream.endpoint}: labels were not joined within {PATIENCE:.0f} s")

    def watched(self, stream: LiveStream) -> list[dict[str, Any]]:
        query = urlencode({"region": self.region, "endpoint": stream.endpoint})
        found: list[dict[str, Any]] = find(self.folder).client().page(f"/drift?{query}")["variants"]
        return found

    def settled(self, stream: LiveStream) -> None:
        """Labels are joined, what they started has ended, and the endpoint is in service."""
        deadline, quiet = time.monotonic() + PATIENCE, 0
        while quiet < 2:
            if time.monotonic() > deadline:
                say(f"{stream.endpoint}: went on without waiting any longer")
                return
            time.sleep(1.0)
            listed = self.sagemaker.list_pipeline_executions(PipelineName=f"retrain-{stream.endpoint}", MaxResults=5)
            going = any(each["PipelineExecutionStatus"] in GONE for each in listed["PipelineExecutionSummaries"])
            endpoint = self.sagemaker.describe_endpoint(EndpointName=stream.endpoint)["EndpointStatus"]
            quiet = quiet + 1 if not going and endpoint == "InService" else 0

    def told(self, stream: LiveStream) -> list[dict[str, Any]]:
        steps = json.loads(self.call("history", stream.endpoint, "--json"))
        return [step for step in steps if step["what"].startswith("retraining")]


def parts(stream: LiveStream, day: int) -> list[range]:
    """The days of a step whose labels come together."""
    days = range(day, min(day + STEP, DAYS))
    return [range(each, each + 1) for each in days] if stream.pinned and day in DAILY else [days]


def measured(streams: Sequence[LiveStream], rows: int, days: int = DAYS) -> dict[str, list[dict[str, Any]]]:
    """What history tells of each stream's retrainings, after the year."""
    with tempfile.TemporaryDirectory(prefix="clary-year-") as folder:
        year = Year(folder, rows)
        try:
            with ThreadPoolExecutor(len(streams)) as pool:
                list(pool.map(year.begin, streams))
                for day in range(0, days, STEP):
                    if day % 50 == 0:
                        say(f"day {day} ...")
                    list(pool.map(lambda stream, day=day: year.days(stream, day), streams))  # type: ignore[misc]
            return {stream.name: year.told(stream) for stream in streams}
        finally:
            year.call("down")


def picture(streams: Sequence[LiveStream], others: Mapping[str, Any], told: Mapping[str, Any]) -> str:
    """Accuracy by week, a panel for each stream."""
    wide, high, left = 900, 150, 60
    parts = [plots.opened(wide, 60 + (high + 50) * len(streams))]
    parts.append(plots.text(12, 20, "A year: accuracy by week", size=14, weight="bold"))
    for place, (name, colour) in enumerate(COLOURS.items()):
        parts.append(plots.text(left + 120 * place, 42, name, colour=colour, weight="bold"))
    for number, stream in enumerate(streams):
        top = 66 + (high + 50) * number
        base = top + high
        parts.append(plots.text(12, top - 12, stream.name, weight="bold"))
        for share in (0.4, 0.6, 0.8, 1.0):
            y = base - high * (share - 0.3) / 0.7
            parts += [
                plots.line(left, y, wide - 20, y),
                plots.text(left - 6, y + 4, f"{share:.1f}", anchor="end", size=9),
            ]
        days = {**{policy: each["accuracy"] for policy, each in others[stream.name].items()}, "clary": stream.right}
        for policy, values in days.items():
            weeks = [sum(part) / len(part) for part in (values[at : at + 7] for at in range(0, len(values), 7))]
            step = (wide - 20 - left) / max(1, len(weeks) - 1)
            at = " ".join(
                f"{left + step * n:.1f},{base - high * (max(0.3, each) - 0.3) / 0.7:.1f}"
                for n, each in enumerate(weeks)
            )
            width = 2.2 if policy == "clary" else 1.2
            parts.append(f'<polyline points="{at}" fill="none" stroke="{COLOURS[policy]}" stroke-width="{width}"/>')
        started = sum(each["what"] == "retraining started" for each in told[stream.name])
        trained = ", ".join(f"{policy} {each['trainings']}" for policy, each in others[stream.name].items())
        parts.append(plots.text(left, base + 16, f"trainings: clary {started}, {trained}", size=10, colour=plots.FAINT))
    return "".join(parts) + "</svg>\n"


def table(
    streams: Sequence[LiveStream], others: Mapping[str, Any], told: Mapping[str, list[dict[str, Any]]]
) -> list[Row]:
    rows = []
    for stream in streams:
        other, lines = others[stream.name], told[stream.name]
        means = {policy: sum(each["accuracy"]) / len(each["accuracy"]) for policy, each in other.items()}
        ours = sum(stream.right) / max(1, len(stream.right))
        started = sum(each["what"] == "retraining started" for each in lines)
        kept = sum("kept the incumbent" in each["what"] for each in lines)
        rows += [Row(f"{stream.name}: {policy}", mean, "accuracy") for policy, mean in means.items()]
        ratio = ours / means["oracle"]
        rows.append(Row(f"{stream.name}: Clary", ours, "accuracy", "oracle", ratio, ">= 0.97", ratio >= 0.97))
        share = started / other["daily"]["trainings"]
        rows.append(Row(f"{stream.name}: trainings", started, "", "daily", share, "<= 0.25", share <= 0.25))
        rows.append(Row(f"{stream.name}: incumbent kept by the gate", kept, ""))
        rows.append(Row(f"{stream.name}: failed requests", stream.failed, "", must="0", ok=stream.failed == 0))
        explained = all(each["why"] for each in lines)
        rows.append(Row(f"{stream.name}: lines of history", len(lines), "", must="each with its reason", ok=explained))
        if len(stream.poison) == 2:  # a quick look ends before
            rows += poisoned(stream, lines)
    return rows


def poisoned(stream: LiveStream, lines: Sequence[Mapping[str, Any]]) -> list[Row]:
    """What came of the wrong labels: the gate must have been asked, and must have kept the incumbent each time."""
    begin, end = stream.poison
    whats = [str(line["what"]) for line in lines[begin:end]]
    started = sum(what == "retraining started" for what in whats)
    kept = sum("kept the incumbent" in what for what in whats)
    asked = Row(f"{stream.name}: retrainings that wrong labels started", started, "", must=">= 1", ok=started >= 1)
    taken = Row(f"{stream.name}: of these taken in", started - kept, "", must="0", ok=started == kept)
    return [asked, taken]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=100, help="requests of a day")
    parser.add_argument(
        "--days",
        type=int,
        default=DAYS,
        help="end after so many: a quick look: means are of these days, trainings of the other policies of the year",
    )
    parser.add_argument("--svg", default="", help="write the picture into this file")
    parser.add_argument(
        "--peers-dir", default=str(Path.home() / ".cache" / "clary-bench"), help="environments of the peers"
    )


def main() -> int:
    given = arguments("year", options)
    river = environment(given.peers_dir, "river", ("--require-hashes", "-r", str(HERE / "requirements" / "river.txt")))
    xgboost = environment(given.peers_dir, "year", ("--require-hashes", "-r", str(XGBOOST)))
    with tempfile.TemporaryDirectory(prefix="clary-bench-year-") as folder:
        source, found = str(Path(folder) / "streams.json"), str(Path(folder) / "policies.json")
        say("drawing streams ...")
        subprocess.run([river, str(HERE / "river_streams.py"), source, str(given.rows)], check=True)
        say("never, daily, oracle ...")
        subprocess.run([xgboost, str(HERE / "year_policies.py"), source, found, str(given.rows)], check=True)
        drawn = json.loads(Path(source).read_text())
        others = json.loads(Path(found).read_text())
    streams = [LiveStream(each["name"], each["x"], each["y"], each["pinned"]) for each in drawn]
    told = measured(streams, given.rows, given.days)
    for each in (policy for policies in others.values() for policy in policies.values()):
        each["accuracy"] = each["accuracy"][: given.days]
    if given.svg:
        Path(given.svg).write_text(picture(streams, others, told), encoding="utf-8")
    notes = [f"{stream.name}: {each['what']}: {each['why'][:300]}" for stream in streams for each in told[stream.name]]
    return finish(table(streams, others, told), given.json, notes)


if __name__ == "__main__":
    sys.exit(main())
