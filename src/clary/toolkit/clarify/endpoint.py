"""The model that an analysis asks: an endpoint that is there, or one that is made for the time of the analysis and always deleted."""

from __future__ import annotations

import os
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Iterable, List, Sequence

from clary.toolkit.clarify import answers
from clary.toolkit.clarify.config import CustomerError, Predictor

_AT_ONCE = 4
_START_SECONDS = 3600
_POLL_SECONDS = 0.5
TAG = "sagemaker:clarify-processing-job-arn"

Ask = Callable[[Sequence[Sequence[Any]]], List[answers.ModelAnswer]]


class Endpoint:
    """Makes the endpoint where there is none (`with`), and asks it. `job` is the processing job's ARN, which the endpoint's tag tells."""

    def __init__(self, asked: Predictor, names: Sequence[str], job: str) -> None:
        import boto3
        from botocore.config import Config

        config = Config(retries={"max_attempts": 5, "mode": "standard"}, read_timeout=70, max_pool_connections=_AT_ONCE)
        self._sagemaker = boto3.client("sagemaker", config=config)
        self._runtime = boto3.client("sagemaker-runtime", config=config)
        self._asked, self._names, self._job = asked, tuple(names), job
        self._own = ""
        self.requests = 0

    def __enter__(self) -> Endpoint:
        if self._asked.model:
            self._own = _free_name(self._asked.prefix)
            try:
                self._start()
            except BaseException:
                self._delete()
                raise
        return self

    def __exit__(self, *_: Any) -> None:
        if self._own:
            self._delete()

    def _start(self) -> None:
        from botocore.exceptions import ClientError

        tags = [{"Key": TAG, "Value": self._job}] if self._job else []
        variant = {
            "VariantName": "AllTraffic",
            "ModelName": self._asked.model,
            "InstanceType": self._asked.instance_type,
            "InitialInstanceCount": self._asked.instances,
        }
        print("Creating endpoint {} of model {}".format(self._own, self._asked.model), flush=True)
        try:
            self._sagemaker.create_endpoint_config(
                EndpointConfigName=self._own, ProductionVariants=[variant], Tags=tags
            )
            self._sagemaker.create_endpoint(EndpointName=self._own, EndpointConfigName=self._own, Tags=tags)
        except ClientError as error:
            raise CustomerError(
                "Unable to create an endpoint of model {!r}: {}".format(self._asked.model, error)
            ) from None
        deadline = time.monotonic() + _START_SECONDS
        while True:
            seen = self._sagemaker.describe_endpoint(EndpointName=self._own)
            if seen["EndpointStatus"] == "InService":
                return
            if seen["EndpointStatus"] == "Failed" or time.monotonic() > deadline:
                why = seen.get("FailureReason") or "it is still {}".format(seen["EndpointStatus"])
                raise CustomerError("The endpoint of model {!r} does not start: {}".format(self._asked.model, why))
            time.sleep(_POLL_SECONDS)

    def _delete(self) -> None:
        """Delete endpoint and configuration, whichever of them is there."""
        from botocore.exceptions import BotoCoreError, ClientError

        print("Deleting endpoint {}".format(self._own), flush=True)
        deletions = (
            (self._sagemaker.delete_endpoint, "EndpointName"),
            (self._sagemaker.delete_endpoint_config, "EndpointConfigName"),
        )
        for delete, name in deletions:
            try:
                delete(**{name: self._own})
            except ClientError as error:
                if "Could not find" not in str(error):
                    print("Unable to delete {} {}: {}".format(name, self._own, error), flush=True)
            except BotoCoreError as error:
                print("Unable to delete {} {}: {}".format(name, self._own, error), flush=True)

    def ask(self, rows: Sequence[Sequence[Any]]) -> List[answers.ModelAnswer]:
        """The model's answers to rows, in order. CustomerError for a model that refuses them, or answers what cannot be used."""
        found: List[answers.ModelAnswer] = []
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for each in pool.map(self._one, answers.bodies(self._asked, self._names, rows)):
                found += each
        return found

    def _one(self, request: List[Any]) -> Iterable[answers.ModelAnswer]:
        from botocore.exceptions import BotoCoreError, ClientError

        body, count = request
        more = {}
        if self._asked.target_model:
            more["TargetModel"] = self._asked.target_model
        if self._asked.custom_attributes:
            more["CustomAttributes"] = self._asked.custom_attributes
        try:
            answer = self._runtime.invoke_endpoint(
                EndpointName=self._own or self._asked.endpoint,
                ContentType=self._asked.content_type,
                Accept=self._asked.accept,
                Body=body.encode(),
                **more,
            )
            text = answer["Body"].read().decode()
        except (ClientError, BotoCoreError, UnicodeDecodeError) as error:
            raise CustomerError("The model could not be asked for {} rows: {}".format(count, error)) from None
        self.requests += 1
        return answers.answers(self._asked, text, answer.get("ContentType", ""), count)


def _free_name(prefix: str) -> str:
    """A name that no other endpoint has, of at most 63 characters."""
    stem = prefix or "sm-clarify"
    return "{}-{}-{}".format(stem[:40].rstrip("-"), int(time.time()), uuid.uuid4().hex[:8])


def fetched(uri: str, folder: str) -> None:
    """Download what lies under an S3 URI (one object, or all under a prefix) into a folder."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, key = uri.partition("://")[2].partition("/")
    if not uri.startswith("s3://") or not bucket:
        raise CustomerError("{!r} is no S3 URI".format(uri))
    s3 = boto3.client("s3")
    os.makedirs(folder, exist_ok=True)
    try:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key)
        keys = [each["Key"] for page in pages for each in page.get("Contents", ())]
        keys = [each for each in keys if each == key or not key or each.startswith(key.rstrip("/") + "/")]
        for at, each in enumerate(keys):
            s3.download_file(
                bucket, each, os.path.join(folder, "{:06d}-{}".format(at, os.path.basename(each) or "object"))
            )
    except (ClientError, BotoCoreError) as error:
        raise CustomerError("Unable to read {}: {}".format(uri, error)) from None
    if not keys:
        raise CustomerError("There is nothing under {}".format(uri))
