"""`clary hub sync`: fill the bucket that JumpStart's clients read with the hub's models."""

from __future__ import annotations

from typing import Any

from clary.app.cli.output import CommandRefused, counted, say, say_json
from clary.app.cli.site import here
from clary.app.hub.models import MODELS, files

BUCKET = "jumpstart-cache-prod-{}"  # where the SDK looks, by region
OVERRIDE = "AWS_JUMPSTART_CONTENT_BUCKET_OVERRIDE"


def sync(directory: str | None, bucket: str, *, as_json: bool) -> None:
    """Put every object that is not there as it should be; the manifests last."""
    site = here(directory)
    site.require()
    settings, credential = site.settings, site.credential()
    usual = BUCKET.format(settings.region)
    name = bucket or usual
    client = _client(settings.endpoint, credential, settings.region, settings.tls_cert)
    _make(client, name, settings.region)
    put = 0
    for key, content in files():
        put += _put(client, name, key, content)
    found = {"bucket": name, "models": [model.id for model in MODELS], "put": put}
    if as_json:
        say_json(found)
        return
    say(
        f"{counted(len(MODELS), 'model')} in s3://{name} ({counted(put, 'object')} new): {', '.join(model.id for model in MODELS)}"
    )
    if name != usual:
        say(f"Clients find them with {OVERRIDE}={name}")


def _client(endpoint: str, credential: Any, region: str, certificate: str) -> Any:
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=credential.access_key_id,
        aws_secret_access_key=credential.secret,
        region_name=region,
        verify=certificate or None,
    )


def _make(client: Any, bucket: str, region: str) -> None:
    from botocore.exceptions import ClientError

    place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    try:
        client.create_bucket(Bucket=bucket, **place)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code == "BucketAlreadyExists":
            raise CommandRefused(
                f"the bucket {bucket} belongs to another account: --bucket names one of yours, and {OVERRIDE} tells clients of it"
            ) from error
        if code != "BucketAlreadyOwnedByYou":
            raise CommandRefused(str(error)) from error


def _put(client: Any, bucket: str, key: str, content: bytes) -> int:
    """1 if it had to be put."""
    import hashlib

    from botocore.exceptions import ClientError

    try:
        if client.head_object(Bucket=bucket, Key=key)["ETag"].strip('"') == hashlib.md5(content).hexdigest():
            return 0
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise CommandRefused(str(error)) from error
    client.put_object(Bucket=bucket, Key=key, Body=content)
    return 1
