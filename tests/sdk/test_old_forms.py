"""What the first notebooks write: https addresses of S3, `xgboost:1`, libsvm, `silent`, `reg:linear`, ml.m4, AWS's sample buckets."""

from __future__ import annotations

import random
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.sdk.acts import PYTHON, REGISTRY, User, channel, targz, unique
from tests.sdk.conftest import ROLE, Server
from tests.sdk.test_training import REPORT, refused

pytestmark = [pytest.mark.live, pytest.mark.slow]

OLD_REGISTRY = "811284229777.dkr.ecr.us-east-1.amazonaws.com"
OLD_PARAMETERS = {
    "max_depth": "5",
    "eta": "0.2",
    "gamma": "0.1",
    "min_child_weight": "1",
    "subsample": "0.9",
    "silent": "0",
    "objective": "reg:linear",
    "num_round": "40",
}
# Every address that a bucket of us-east-1 goes by.
ADDRESSES = (
    "https://s3-us-east-1.amazonaws.com/{bucket}",
    "https://s3.us-east-1.amazonaws.com/{bucket}",
    "https://s3.amazonaws.com/{bucket}",
    "https://s3.dualstack.us-east-1.amazonaws.com/{bucket}",
    "https://{bucket}.s3-us-east-1.amazonaws.com",
    "https://{bucket}.s3.us-east-1.amazonaws.com",
    "https://{bucket}.s3.amazonaws.com",
    "s3://{bucket}",
)


@pytest.fixture(scope="module")
def user(server: Server) -> User:
    return User(server)


def libsvm(rows: int, seed: int) -> str:
    """y = 10 where the first of three features is above 0.5, else 2; absent features are absent, as abalone's are."""
    dice = random.Random(seed)
    lines = []
    for _ in range(rows):
        first, second = dice.random(), dice.random()
        third = f" 3:{dice.random():.3f}" if dice.random() < 0.5 else ""
        lines.append(f"{10 if first > 0.5 else 2} 1:{first:.3f} 2:{second:.3f}{third}\n")
    return "".join(lines)


@pytest.mark.parametrize(
    ("image", "address", "machine"),
    [
        (f"{OLD_REGISTRY}/xgboost:1", "https://s3-us-east-1.amazonaws.com/{bucket}", "ml.m4.4xlarge"),
        (f"{OLD_REGISTRY}/xgboost:latest", "https://{bucket}.s3.amazonaws.com", "ml.m4.xlarge"),
        (f"{REGISTRY}/sagemaker-xgboost:latest", "https://{bucket}.s3-us-east-1.amazonaws.com", "ml.m4.2xlarge"),
    ],
    ids=["1", "latest", "newer"],
)
def test_the_oldest_xgboost_notebook(user: User, image: str, address: str, machine: str) -> None:
    base = address.format(bucket=user.bucket)
    for name, rows in (("train", 400), ("validation", 100)):
        user.put(f"abalone/{name}/abalone.{name}", libsvm(rows, rows))
    where = unique("abalone/single-xgboost")
    more = {"ContentType": "libsvm", "CompressionType": "None"}
    done = user.train(
        image,
        HyperParameters=OLD_PARAMETERS,
        OutputDataConfig={"S3OutputPath": f"{base}/{where}"},
        ResourceConfig={"InstanceType": machine, "InstanceCount": 1, "VolumeSizeInGB": 5},
        InputDataConfig=[channel(name, f"{base}/abalone/{name}", **more) for name in ("train", "validation")],
    )
    assert done["OutputDataConfig"]["S3OutputPath"] == f"{base}/{where}"
    assert done["ResourceConfig"]["InstanceType"] == machine
    key = f"{where}/{done['TrainingJobName']}/output/model.tar.gz"
    assert user.keys(where) == [key]
    assert done["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://{user.bucket}/{key}"
    lines = user.lines(done["TrainingJobName"])
    assert any("[39]" in line and "validation-rmse" in line for line in lines)
    assert any("reg:linear is now called reg:squarederror" in line for line in lines)

    model = user.model(image, f"{base}/{key}")
    endpoint = user.endpoint(
        {"ModelName": model, "InstanceType": "ml.m4.xlarge", "InitialVariantWeight": 1, "VariantName": "AllTraffic"}
    )
    for kind in ("text/x-libsvm", "libsvm"):
        high = float(user.ask(endpoint, "10 1:0.9 2:0.5", ContentType=kind).decode())
        low = float(user.ask(endpoint, "2 1:0.1 2:0.5 3:0.5", ContentType=kind).decode())
        assert high > 8 > 4 > low, (kind, high, low)
    user.sm.delete_endpoint(EndpointName=endpoint)


def test_every_address_of_a_bucket_is_the_same_data(user: User) -> None:
    user.put("deep/er/data.txt", "here")
    bases = [address.format(bucket=user.bucket) for address in ADDRESSES]
    done = user.train(
        PYTHON,
        {"train.py": REPORT},
        InputDataConfig=[channel(f"c{n}", f"{base}/deep/er") for n, base in enumerate(bases)],
        CheckpointConfig={"S3Uri": f"{bases[0]}/kept"},
    )
    assert user.report(done)["data"] == {f"c{n}/data.txt": "here" for n in range(len(bases))}
    assert [c["DataSource"]["S3DataSource"]["S3Uri"] for c in done["InputDataConfig"]] == [
        f"{b}/deep/er" for b in bases
    ]


def test_source_code_by_an_https_address(user: User) -> None:
    user.put("code/sourcedir.tar.gz", targz({"train.py": "open('/opt/ml/model/made', 'w').write('yes')\n"}))
    done = user.train(
        PYTHON,
        HyperParameters={
            "sagemaker_program": '"train.py"',
            "sagemaker_submit_directory": f'"https://s3-us-east-1.amazonaws.com/{user.bucket}/code/sourcedir.tar.gz"',
        },
    )
    assert user.untar(done["ModelArtifacts"]["S3ModelArtifacts"]) == {"made": b"yes"}


def test_other_addresses_are_not_fetched(user: User) -> None:
    for uri in ("https://example.com/data/train", "https://s3.amazonaws.com.example.com/data/train"):
        code, message = refused(user.job, InputDataConfig=[channel("train", uri)])
        assert (code, "is not an S3 URI" in message) == ("ValidationException", True), message


# -- AWS's sample buckets -----------------------------------------------------------------------------------------------------

SAMPLES = ("sagemaker-sample-data-us-west-2", "sagemaker-sample-files", "sagemaker-example-files-prod-us-east-1")
WORDS = "is one of AWS's public buckets"


@pytest.mark.parametrize("bucket", SAMPLES)
def test_s3_explains_that_a_sample_bucket_is_aws_own(user: User, bucket: str) -> None:
    calls: list[tuple[Any, dict[str, Any]]] = [
        (user.s3.get_object, {"Bucket": bucket, "Key": "spark/mnist/train.csv"}),
        (user.s3.list_objects_v2, {"Bucket": bucket}),
        (user.s3.list_objects, {"Bucket": bucket, "Prefix": "datasets"}),
        (user.s3.copy_object, {"Bucket": user.bucket, "Key": "copy", "CopySource": f"{bucket}/data.csv"}),
    ]
    for call, request in calls:
        code, message = refused(call, **request)
        assert code == "NoSuchBucket"
        assert f"{bucket} {WORDS}" in message
        assert "upload them to a bucket of your own" in message
    with pytest.raises(ClientError) as caught:  # an answer to HEAD has no body to explain in
        user.s3.head_object(Bucket=bucket, Key="data.csv")
    assert caught.value.response["Error"]["Code"] == "404"


@pytest.mark.parametrize("address", ["s3://{bucket}", "https://s3-us-west-2.amazonaws.com/{bucket}"])
def test_a_training_job_explains_it_too(user: User, address: str) -> None:
    uri = address.format(bucket=SAMPLES[0]) + "/spark/mnist/train"
    code, message = refused(user.job, InputDataConfig=[channel("train", uri)])
    assert code == "ValidationException"
    assert message.startswith(f'No S3 objects found under S3 URL "{uri}" given in input data source.')
    assert f"NoSuchBucket: The specified bucket does not exist. {SAMPLES[0]} {WORDS}" in message


def test_a_model_explains_it_too(user: User) -> None:
    uri = f"s3://{SAMPLES[1]}/models/model.tar.gz"
    code, message = refused(user.model, image=f"{OLD_REGISTRY}/xgboost:1", data=uri)
    assert code == "ValidationException"
    assert message.startswith(f"Could not find model data at {uri}. NoSuchBucket: ")
    assert WORDS in message


def test_an_endpoint_whose_further_data_is_there_explains_it_too(user: User) -> None:
    source = {"S3Uri": f"s3://{SAMPLES[1]}/models/m.tar.gz", "S3DataType": "S3Object", "CompressionType": "Gzip"}
    further = [{"ChannelName": "more", "S3DataSource": source}]
    model = user.model(f"{OLD_REGISTRY}/xgboost:1", None, AdditionalModelDataSources=further)
    endpoint = user.endpoint({"ModelName": model}, wait=False)
    failed = user.settled(endpoint, "Failed")
    assert failed["FailureReason"].startswith("Failed to download model data")
    assert WORDS in failed["FailureReason"]
    user.sm.delete_endpoint(EndpointName=endpoint)


def test_a_bucket_of_that_name_made_here_is_a_bucket_like_any(user: User) -> None:
    """The way out for a notebook that shall stay as it is: the same name, filled once."""
    bucket = "sagemaker-sample-data-eu-central-1"
    user.s3.create_bucket(Bucket=bucket)
    user.s3.put_object(Bucket=bucket, Key="d/data.txt", Body=b"mirrored")
    done = user.train(
        PYTHON, {"train.py": REPORT}, InputDataConfig=[channel("train", f"s3://{bucket}/d")], RoleArn=ROLE
    )
    assert user.report(done)["data"] == {"train/data.txt": "mirrored"}
