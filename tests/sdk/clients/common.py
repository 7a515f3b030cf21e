"""What the client programs share: data, a bucket, a session of either SDK. They run in the clients' own environments, as a user would."""

import io
import os
import pathlib
import tarfile
import tempfile
import textwrap
import time
import uuid

import boto3
import numpy as np
from sklearn import datasets
from sklearn.model_selection import train_test_split

REGION = os.environ["AWS_DEFAULT_REGION"]
ROLE = "arn:aws:iam::000000000000:role/FlowRole"
CPU = "ml.m5.large"
XGBOOST = f"683313688378.dkr.ecr.{REGION}.amazonaws.com/sagemaker-xgboost:1.7-1"


def unique(stem):
    return f"{stem}-{uuid.uuid4().hex[:8]}"


def split(name):
    """x_train, x_test, y_train, y_test of one of scikit-learn's own sets."""
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return train_test_split(x, y, test_size=0.25, random_state=7)


def csv(x, y=None):
    table = x if y is None else np.column_stack([y, x])
    return "".join(",".join(f"{value:.9g}" for value in row) + "\n" for row in np.atleast_2d(table))


def libsvm(x, y=None):
    y = np.zeros(len(x)) if y is None else y
    rows = (" ".join(f"{i}:{value:.9g}" for i, value in enumerate(row)) for row in x)
    return "".join(f"{label:.9g} {row}\n" for label, row in zip(y, rows, strict=True))


def bucket():
    name = os.environ.get("CLIENT_BUCKET", "sdk-clients")
    s3 = boto3.client("s3")
    if name not in [entry["Name"] for entry in s3.list_buckets()["Buckets"]]:
        s3.create_bucket(Bucket=name)
    return name


def put(key, body):
    boto3.client("s3").put_object(Bucket=bucket(), Key=key, Body=body)
    return f"s3://{bucket()}/{key}"


def xgboost_archive(key, booster, form="json"):
    """A model.tar.gz as the built-in algorithm makes it, put under that key; its URI."""
    body, out = bytes(booster.save_raw(form)), io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        entry = tarfile.TarInfo("xgboost-model")
        entry.size = len(body)
        archive.addfile(entry, io.BytesIO(body))
    return put(key, out.getvalue())


def folder(files):
    root = pathlib.Path(tempfile.mkdtemp(prefix="client-"))
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(textwrap.dedent(text).lstrip())
    return str(root)


def in_service(name, seconds=90):
    """Wait as the SDK's deploy would, without its first 30 s of sleep."""
    sm = boto3.client("sagemaker")
    deadline = time.monotonic() + seconds
    while (seen := sm.describe_endpoint(EndpointName=name))["EndpointStatus"] != "InService":
        assert seen["EndpointStatus"] in ("Creating", "Updating"), seen.get("FailureReason")
        assert time.monotonic() < deadline, seen
        time.sleep(0.1)
    return seen


def session_v2():
    import sagemaker

    return sagemaker.Session(default_bucket=bucket())


def session_v3():
    from sagemaker.core.helper.session_helper import Session

    return Session(default_bucket=bucket())
