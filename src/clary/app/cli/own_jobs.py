"""Processing jobs of Clary's own images, which commands start and wait for: what they are given and what they leave lies in the default
bucket, in a folder of the job's name. A client of the public API."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from clary.app.cli.client import Client
from clary.app.cli.output import CommandRefused
from clary.app.cli.site import Site
from clary.domain.access.roles import default_role_arn

TOP = "/opt/ml/processing"
EVERY = 0.3  # seconds between looks at the job
_RUNNING = ("InProgress", "Stopping")


class OwnJob:
    """One such job. `noun` begins its name."""

    def __init__(self, site: Site, noun: str) -> None:
        import boto3  # takes its time, and few commands need it

        credential, settings = site.credential(), site.settings
        session = boto3.Session(credential.access_key_id, credential.secret, region_name=settings.region)
        self._s3: Any = session.client("s3", endpoint_url=settings.endpoint, verify=settings.tls_cert or None)
        self._site = site
        self._client: Client = site.client()
        self.asked_by = credential.access_key_id
        self.bucket = settings.default_bucket
        self.name = f"clary-{noun}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:6]}"

    def run(
        self,
        image: str,
        spec: Mapping[str, Any],
        outputs: Mapping[str, str],
        arguments: Sequence[str] = (),
        *,
        size: str = "ml.m5.large",
        volume: int = 30,
    ) -> Mapping[str, Any]:
        """The job at its end. `spec` is its input `spec`, and is removed then; `outputs`: S3 URI by folder below /opt/ml/processing/output
        ("" for that folder itself). CommandRefused with its own words unless it completed. Ctrl-C stops it."""
        self._ready()
        key = f"{self.name}/spec/spec.json"
        self._s3.put_object(Bucket=self.bucket, Key=key, Body=json.dumps(spec).encode())
        try:
            self._create(image, outputs, arguments, size, volume)
            job = self._ended()
        finally:
            self._remove(key)
        if job["ProcessingJobStatus"] != "Completed":
            why = job.get("ExitMessage") or job.get("FailureReason") or job["ProcessingJobStatus"]
            raise CommandRefused(f"{why} (`{self._site.typed(f'logs {self.name}')}` shows the job's log)")
        return job

    def read(self, path: str) -> Any:
        """A JSON document that the job left in its own folder of the default bucket."""
        body = self._s3.get_object(Bucket=self.bucket, Key=f"{self.name}/{path}")["Body"].read()
        return json.loads(body)

    def newest(self, uri: str, since: float, url: str) -> Any:
        """The newest JSON document below `uri` that was written since, and tells of `url`."""
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/")
        entries = [each for page in pages for each in page.get("Contents", ())]
        for each in sorted(entries, key=lambda entry: entry["LastModified"], reverse=True):
            if each["LastModified"].timestamp() < since - 5:  # S3 tells whole seconds
                break
            told = json.loads(self._s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read())
            if told["url"] == url:
                return told
        raise CommandRefused(f"{self.name} left nothing below {uri}")

    def _ready(self) -> None:
        region = self._s3.meta.region_name
        where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        try:
            self._s3.create_bucket(Bucket=self.bucket, **where)
        except self._s3.exceptions.BucketAlreadyOwnedByYou:
            pass

    def _create(self, image: str, outputs: Mapping[str, str], arguments: Sequence[str], size: str, volume: int) -> None:
        settings = self._site.settings
        given = {"S3Uri": f"s3://{self.bucket}/{self.name}/spec", "LocalPath": f"{TOP}/input/spec"}
        written = [
            {
                "OutputName": folder or "output",
                "S3Output": {
                    "S3Uri": uri,
                    "LocalPath": f"{TOP}/output/{folder}".rstrip("/"),
                    "S3UploadMode": "EndOfJob",
                },
            }
            for folder, uri in outputs.items()
        ]
        cluster = {"InstanceType": size, "InstanceCount": 1, "VolumeSizeInGB": volume}
        request = {
            "ProcessingJobName": self.name,
            "RoleArn": default_role_arn(settings.account, settings.region),
            "AppSpecification": {"ImageUri": image, **({"ContainerArguments": list(arguments)} if arguments else {})},
            "ProcessingInputs": [
                {"InputName": "spec", "S3Input": {**given, "S3DataType": "S3Prefix", "S3InputMode": "File"}}
            ],
            "ProcessingOutputConfig": {"Outputs": written},
            "ProcessingResources": {"ClusterConfig": cluster},
        }
        self._client.call("sagemaker", "CreateProcessingJob", request)

    def _ended(self) -> Mapping[str, Any]:
        asked = {"ProcessingJobName": self.name}
        try:
            while True:
                job = self._client.call("sagemaker", "DescribeProcessingJob", asked)
                if job["ProcessingJobStatus"] not in _RUNNING:
                    return job
                time.sleep(EVERY)
        except KeyboardInterrupt:
            self._client.call("sagemaker", "StopProcessingJob", asked)
            raise

    def _remove(self, key: str) -> None:
        """With its versions: the bucket may keep them."""
        found = self._s3.list_object_versions(Bucket=self.bucket, Prefix=key)
        for each in [*found.get("Versions", ()), *found.get("DeleteMarkers", ())]:
            self._s3.delete_object(Bucket=self.bucket, Key=key, VersionId=each["VersionId"])
