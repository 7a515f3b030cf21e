"""`clary brief`: writes a brief to fill in, and checks one against data: in a processing job of our own image; the result is a model card.

What a brief is, and how it is judged, is in `toolkit/brief.py` and `toolkit/preparation`: they run in the job's sandbox, not here.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from clary.app.cli.client import ApiFailure, Client
from clary.app.cli.output import FAILED, USAGE, CommandRefused, say, say_json, table
from clary.app.cli.site import Site, here
from clary.domain.errors import Invalid
from clary.domain.s3 import parse_uri

IMAGE = "clary-prepare"
_LARGEST = 1 << 20  # bytes of a brief
_POLL_SECONDS = 0.3
_TOP = "/opt/ml/processing"
TEMPLATE = """\
# What the model is for, and how it will be judged. `clary brief check` looks at the data; docs/brief.md tells every field.
name: NAME                    # of the brief and of its model card: letters, digits and -
objective: WHAT SHALL BE BETTER, FOR WHOM
hypothesis: WHY THE DATA SHOULD TELL IT
affected: [WHO IS AFFECTED BY THE PREDICTIONS]
target: COLUMN                # what is predicted
# positive: "yes"             # the target's value that counts as 1
metric: {name: roc_auc, threshold: 0.8}   # the threshold is the worst value that is good enough
# baseline: {value: 0.7, description: HOW IT IS DONE TODAY}
# costs: {false_positive: 1, false_negative: 1}
# slices: [COLUMN]            # every value of these must be served well
# forbidden: [COLUMN]         # no model may see these
# identifiers: [COLUMN]       # they name a row
# known_after: [COLUMN]       # known only when the target is
# split: {time: COLUMN}       # or {group: COLUMN}, or {column: COLUMN}, which names each row's part
origin: WHERE THE DATA COMES FROM, AND WHEN
lawful_basis: no personal data   # consent, contract, legal obligation, vital interests, public task, legitimate interests
"""


def init(path: str) -> None:
    """Write a brief to fill in. Refused where a file is."""
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(TEMPLATE)
    except FileExistsError:
        raise CommandRefused(f"{path} is there already: name another file", USAGE) from None
    say(f"wrote {path}: fill it in, then `clary brief check {path} --data s3://...`")


def check(directory: str | None, path: str, data: str, *, kept: bool, as_json: bool) -> None:
    """Run the check as a job and say what it found; exit code 1 when something must be settled first."""
    text = Path(path).read_bytes()
    if len(text) > _LARGEST:
        raise CommandRefused(f"{path} is longer than {_LARGEST} bytes: it is no brief", USAGE)
    try:
        parse_uri(data)
    except Invalid as error:
        raise CommandRefused(f"--data: {error}", USAGE) from None
    site = here(directory)
    client, store = site.client(), _Store(site)
    job = f"clary-brief-{time.time_ns():x}"
    where = f"{job}/brief/{'brief.json' if text.lstrip().startswith(b'{') else 'brief.yaml'}"
    store.put(where, text)
    client.call("sagemaker", "CreateProcessingJob", _request(site, store, job, data))
    described = _ended(client, job)
    if described["ProcessingJobStatus"] != "Completed":
        why = described.get("ExitMessage") or described.get("FailureReason") or described["ProcessingJobStatus"]
        raise CommandRefused(f"{path}: {why} (`{site.typed(f'logs {job}')}` shows the job's log)", FAILED)
    told = json.loads(store.get(f"{job}/out/brief.json"))
    card = ""
    if kept:
        card = _keep(client, told["name"], store.get(f"{job}/out/card.json").decode())
    _say(told, card, f"s3://{store.bucket}/{where}", as_json=as_json)
    if told["verdict"] == "error":
        raise CommandRefused("something must be settled before a model is trained", FAILED)


def _request(site: Site, store: _Store, job: str, data: str) -> dict[str, Any]:
    def given(name: str, uri: str) -> dict[str, Any]:
        source = {"S3Uri": uri, "LocalPath": f"{_TOP}/input/{name}", "S3DataType": "S3Prefix", "S3InputMode": "File"}
        return {"InputName": name, "S3Input": source}

    output = {
        "S3Uri": f"s3://{store.bucket}/{job}/out",
        "LocalPath": f"{_TOP}/output/brief",
        "S3UploadMode": "EndOfJob",
    }
    return {
        "ProcessingJobName": job,
        "AppSpecification": {"ImageUri": IMAGE, "ContainerArguments": ["--brief", f"{_TOP}/input/brief"]},
        "ProcessingInputs": [given("data", data), given("brief", f"s3://{store.bucket}/{job}/brief")],
        "ProcessingOutputConfig": {"Outputs": [{"OutputName": "brief", "S3Output": output}]},
        "ProcessingResources": {
            "ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30}
        },
        "NetworkConfig": {"EnableNetworkIsolation": True},
        "RoleArn": f"arn:aws:iam::{site.settings.account}:role/service-role/AmazonSageMaker-ExecutionRole",
    }


def _ended(client: Client, job: str) -> dict[str, Any]:
    try:
        while True:
            found = client.call("sagemaker", "DescribeProcessingJob", {"ProcessingJobName": job})
            if found["ProcessingJobStatus"] not in ("InProgress", "Stopping"):
                return found
            time.sleep(_POLL_SECONDS)
    except KeyboardInterrupt:
        client.call("sagemaker", "StopProcessingJob", {"ProcessingJobName": job})
        raise


def _keep(client: Client, name: str, content: str) -> str:
    """The card of the brief's name, made or given a new version; its ARN."""
    asked = {"ModelCardName": name, "Content": content}
    try:
        return str(client.call("sagemaker", "CreateModelCard", {**asked, "ModelCardStatus": "Draft"})["ModelCardArn"])
    except ApiFailure as error:
        if error.aws_code != "ConflictException":
            raise
    return str(client.call("sagemaker", "UpdateModelCard", asked)["ModelCardArn"])


def _say(told: dict[str, Any], card: str, brief: str, *, as_json: bool) -> None:
    if as_json:
        say_json({**told, "card": card, "brief": brief})
        return
    rows = [[each["level"].upper(), each["about"], each["text"]] for each in told["findings"]]
    say(table(("LEVEL", "ABOUT", "FINDING"), rows))
    if card:
        say(f"kept as {card}")


class _Store:
    """The account's own bucket, as SageMaker's SDK names it."""

    def __init__(self, site: Site) -> None:
        import boto3  # takes its time, and only this command and few others need it

        credential, settings = site.credential(), site.settings
        self._s3: Any = boto3.Session(credential.access_key_id, credential.secret, region_name=settings.region).client(
            "s3", endpoint_url=settings.endpoint, verify=settings.tls_cert or None
        )
        self.bucket = f"sagemaker-{settings.region}-{settings.account}"
        self._region = settings.region

    def put(self, key: str, content: bytes) -> None:
        elsewhere = {} if self._region == "us-east-1" else {"LocationConstraint": self._region}
        try:
            self._s3.create_bucket(
                Bucket=self.bucket, **({"CreateBucketConfiguration": elsewhere} if elsewhere else {})
            )
        except self._s3.exceptions.BucketAlreadyOwnedByYou:
            pass
        self._s3.put_object(Bucket=self.bucket, Key=key, Body=content)

    def get(self, key: str) -> bytes:
        return bytes(self._s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())
