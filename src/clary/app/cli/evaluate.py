"""`clary evaluate`: a processing job of the image `clary-evaluate` over data and a model, waited for, and what it found.

A client of the public API: it uploads what is local to the default bucket and reads the job's results back. What the options mean, the
container says (`clary.toolkit.evaluation.settings`): they go there as its arguments.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clary.app.cli.client import Client
from clary.app.cli.output import FAILED, NOT_FOUND, USAGE, CommandRefused, say, say_json, table, warn
from clary.app.cli.site import Site, here
from clary.domain.access.roles import default_role_arn

IMAGE = "clary-evaluate"
EVERY = 0.5  # seconds between looks at the job
TOP = "/opt/ml/processing"
WRITTEN = ("evaluation.json", "report.html")
KINDS = {
    "column": "column",
    "columns": "columns",
    "endpoint": "endpoint_name",
    "model": "model_name",
    "package": "model_package_name",
}
_RUNNING = ("InProgress", "Stopping")


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """The command's options. `data`: s3://... or a local file or folder; `config` and `brief`: local files; sources are KIND:NAME."""

    data: str
    target: str = ""
    model: str = ""
    incumbent: str = ""
    metric: str = ""
    slices: str = ""
    group: str = ""
    brief: str = ""
    config: str = ""
    out: str = ""
    size: str = "ml.m5.large"
    gate: bool = False


def evaluate(directory: str | None, asked: EvaluationRequest, *, as_json: bool) -> int:
    """The exit code: 1 with `gate` where the gate is not passed."""
    words = arguments(asked)
    site = here(directory)
    client = site.client()
    s3 = _s3(site)
    name = f"evaluation-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:4]}"
    folder = f"s3://{site.settings.default_bucket}/{name}"
    inputs = [_input("dataset", asked.data, "data", folder, s3)]
    for key, path, inside in (("config", asked.config, "evaluation_config.json"), ("brief", asked.brief, "")):
        if path:
            inputs.append(_input(key, path, key, folder, s3, inside))
    _create(site, client, name, inputs, words, folder, asked.size)
    if not as_json:
        warn(f"processing job {name} evaluates; its results go to {folder}/output")
    job = _ended(client, name)
    if job["ProcessingJobStatus"] != "Completed":
        reason = job.get("ExitMessage") or job.get("FailureReason") or f"`{site.typed(f'logs {name}')}` may tell why"
        raise CommandRefused(f"processing job {name} is {job['ProcessingJobStatus']}: {reason}")
    found = {each: _read(s3, f"{folder}/output/{each}") for each in WRITTEN}
    document = json.loads(found["evaluation.json"])
    if asked.out:
        target = Path(asked.out)
        target.mkdir(parents=True, exist_ok=True)
        for each, body in found.items():
            (target / each).write_bytes(body)
    if as_json:
        say_json({"job": name, "results": f"{folder}/output", **document})
    else:
        show(document, asked.out or f"{folder}/output")
    return FAILED if asked.gate and not document["gate"]["passed"] else 0


def arguments(asked: EvaluationRequest) -> list[str]:
    """What the container is told, as `--NAME VALUE`. Refused for a source of no known kind."""
    words = []
    for option, value in (
        ("target", asked.target),
        ("metric", asked.metric),
        ("slices", asked.slices),
        ("group", asked.group),
    ):
        words += [f"--{option}", value] if value else []
    for option, value in (("model", asked.model), ("incumbent", asked.incumbent)):
        if value:
            kind, colon, rest = value.partition(":")
            if not colon or kind not in KINDS or not rest:
                known = ", ".join(f"{each}:NAME" for each in KINDS)
                raise CommandRefused(f"--{option} takes one of {known}, not {value!r}", USAGE)
            words += [f"--{option}.{KINDS[kind]}", rest]
    return words


def _input(key: str, path: str, folder: str, prefix: str, s3: Any, inside: str = "") -> dict[str, Any]:
    """The input of a job: where in S3 it is, after uploading what is local."""
    uri = path
    if not path.startswith("s3://"):
        local = Path(path)
        files = [each for each in sorted(local.rglob("*")) if each.is_file()] if local.is_dir() else [local]
        if not files or not files[0].is_file():
            raise CommandRefused(f"{path}: there is no such file, nor one in such a folder", NOT_FOUND)
        uri = f"{prefix}/{key}"
        bucket, _, under = uri.removeprefix("s3://").partition("/")
        _bucket(s3, bucket)
        for each in files:
            last = str(each.relative_to(local)) if local.is_dir() else inside or each.name
            s3.upload_file(str(each), bucket, f"{under}/{last}")
    source = {"S3Uri": uri, "LocalPath": f"{TOP}/input/{folder}", "S3DataType": "S3Prefix", "S3InputMode": "File"}
    return {"InputName": key, "S3Input": source}


def _create(
    site: Site,
    client: Client,
    name: str,
    inputs: Sequence[Mapping[str, Any]],
    words: Sequence[str],
    folder: str,
    size: str,
) -> None:
    settings = site.settings
    _bucket(_s3(site), settings.default_bucket)
    output = {"S3Uri": f"{folder}/output", "LocalPath": f"{TOP}/output", "S3UploadMode": "EndOfJob"}
    request = {
        "ProcessingJobName": name,
        "RoleArn": default_role_arn(settings.account, settings.region),
        "AppSpecification": {"ImageUri": IMAGE, **({"ContainerArguments": list(words)} if words else {})},
        "ProcessingInputs": list(inputs),
        "ProcessingOutputConfig": {"Outputs": [{"OutputName": "evaluation", "S3Output": output}]},
        "ProcessingResources": {"ClusterConfig": {"InstanceType": size, "InstanceCount": 1, "VolumeSizeInGB": 10}},
    }
    client.call("sagemaker", "CreateProcessingJob", request)


def _ended(client: Client, name: str) -> dict[str, Any]:
    """The job at its end. Ctrl-C stops it."""
    try:
        while True:
            job = client.call("sagemaker", "DescribeProcessingJob", {"ProcessingJobName": name})
            if job["ProcessingJobStatus"] not in _RUNNING:
                return dict(job)
            time.sleep(EVERY)
    except KeyboardInterrupt:
        client.call("sagemaker", "StopProcessingJob", {"ProcessingJobName": name})
        raise


def _s3(site: Site) -> Any:
    import boto3

    credential, settings = site.credential(), site.settings
    session = boto3.Session(credential.access_key_id, credential.secret, region_name=settings.region)
    return session.client("s3", endpoint_url=settings.endpoint, verify=settings.tls_cert or None)


def _bucket(s3: Any, name: str) -> None:
    from botocore.exceptions import ClientError

    try:
        s3.head_bucket(Bucket=name)
    except ClientError:
        region = s3.meta.region_name
        where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        s3.create_bucket(Bucket=name, **where)


def _read(s3: Any, uri: str) -> bytes:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    body: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    return body


# -- what it found ------------------------------------------------------------------------------------------------------------


def show(document: Mapping[str, Any], place: str) -> None:
    """The metrics, the comparisons and the gate, for people."""
    told = document["dataset"]
    say(f"{told['model']}: {told['item_count']:,} rows, target {told['target']}, {told['problem']}")
    group = next(document[name] for name in document if name.endswith("_metrics"))
    known = [[name, f"{each['value']:.4g}", between(each)] for name, each in group.items() if "lower" in each]
    say(table(("METRIC", "VALUE", "INTERVAL"), known))
    rows = [
        [
            which,
            each["name"],
            each["verdict"],
            f"{each['difference']['value']:+.4g}",
            between(each["difference"]),
            f"{each['p_value']:.2g}" if "p_value" in each else "-",
        ]
        for which, each in document["comparisons"].items()
    ]
    say(table(("AGAINST", "NAME", document["metric"]["name"].upper(), "DIFFERENCE", "INTERVAL", "P"), rows))
    gate = document["gate"]
    say("gate passed" if gate["passed"] else "gate not passed: " + "; ".join(gate["reasons"]))
    say(f"{place}/report.html")


def between(told: Mapping[str, Any]) -> str:
    return f"{told['lower']:.4g} to {told['upper']:.4g}" if "lower" in told else "-"
