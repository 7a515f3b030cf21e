"""CLARY_S3_ENDPOINT: training and serving with all data in another S3 (SeaweedFS), which users reach directly or through Clary."""

from __future__ import annotations

import functools
import json
import pathlib
import random
import socket
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from tests import weed as seaweed
from tests.sdk.acts import SKLEARN, XGBOOST, User, channel, targz, unique
from tests.sdk.conftest import Server
from tests.sdk.test_training import REPORT, refused
from tests.weed import Weed

pytestmark = [pytest.mark.live, pytest.mark.slow]


def pointed_at(endpoint: str) -> dict[str, str]:
    return {
        "CLARY_S3_ENDPOINT": endpoint,
        "CLARY_S3_ACCESS_KEY": seaweed.KEY,
        "CLARY_S3_SECRET_KEY": seaweed.SECRET,
    }


class Direct(User):
    """Somebody who keeps files in the other S3 with that server's own key, and asks Clary for all else."""

    def __init__(self, server: Server, weed: Weed) -> None:
        self.weed = weed
        super().__init__(server)

    @functools.cached_property
    def s3(self) -> Any:
        return self.weed.client()


@pytest.fixture(scope="module")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weed]:
    with seaweed.running(tmp_path_factory.mktemp("weed")) as found:
        yield found


@pytest.fixture(scope="module")
def user(weed: Weed, start: Callable[..., Server]) -> Direct:
    return Direct(start(pointed_at(weed.endpoint)), weed)


@pytest.fixture(scope="module")
def through(user: Direct) -> Any:
    """S3 at Clary's port, with Clary's key."""
    return user.server.client("s3")


def table(rows: int, seed: int) -> str:
    """y = 1 where the first of two features is above 0.5."""
    dice = random.Random(seed)
    values = [(dice.random(), dice.random()) for _ in range(rows)]
    return "".join(f"{int(first > 0.5)},{first:.4f},{second:.4f}\n" for first, second in values)


def test_xgboost_from_data_to_predictions(user: Direct) -> None:
    for name in ("train", "validation"):
        user.put(f"xgb/{name}/data.csv", table(300, len(name)))
    done = user.train(
        XGBOOST,
        HyperParameters={"objective": "binary:logistic", "num_round": "20"},
        InputDataConfig=[
            channel(name, f"s3://{user.bucket}/xgb/{name}", ContentType="text/csv") for name in ("train", "validation")
        ],
    )
    artifact = done["ModelArtifacts"]["S3ModelArtifacts"]
    assert artifact == f"s3://{user.bucket}/out/{done['TrainingJobName']}/output/model.tar.gz"
    assert "xgboost-model" in user.untar(artifact)
    endpoint = user.endpoint({"ModelName": user.model(XGBOOST, artifact)})
    answer = user.ask(endpoint, "0.9,0.5\n0.1,0.5", ContentType="text/csv").decode()
    high, low = (float(value) for value in answer.replace("\n", ",").strip(",").split(","))
    assert high > 0.8 > 0.2 > low
    user.sm.delete_endpoint(EndpointName=endpoint)
    blobs = pathlib.Path(user.server.settings.dir, "objects", "blobs")
    assert not [path for path in blobs.rglob("*") if path.is_file()], "something went into Clary's own store"


def test_a_script_its_inputs_and_all_it_leaves(user: Direct) -> None:
    """Every way in (File, FastFile, Pipe, manifest) and out (model, output, checkpoints), and the job's own boto3."""
    for name in ("a", "b", "c"):
        user.put(f"modes/data/{name}.txt", f"{name}\n")
    listed = [{"prefix": f"s3://{user.bucket}/modes/"}, "data/a.txt", "data/c.txt"]
    manifest = user.put("modes/list.manifest", json.dumps(listed))
    user.put("modes/kept/earlier.txt", "from before")
    script = (
        REPORT
        + f"""
import boto3
report["pipe"] = open("/opt/ml/input/data/pipe_0").read()
report["earlier"] = open("/opt/ml/checkpoints/earlier.txt").read()
s3 = boto3.client("s3")
report["seen"] = s3.get_object(Bucket="{user.bucket}", Key="modes/data/b.txt")["Body"].read().decode()
s3.put_object(Bucket="{user.bucket}", Key="modes/by-the-job", Body=b"hello")
open("/opt/ml/checkpoints/step-1", "w").write("1")
open("/opt/ml/output/data/extra.txt", "w").write("extra")
json.dump(report, open("/opt/ml/model/report.json", "w"))
"""
    )
    done = user.train(
        SKLEARN,
        {"train.py": script},
        InputDataConfig=[
            channel("plain", f"s3://{user.bucket}/modes/data"),
            channel("listed", manifest, "ManifestFile"),
            channel("fast", f"s3://{user.bucket}/modes/data/", InputMode="FastFile"),
            channel("pipe", f"s3://{user.bucket}/modes/data/", InputMode="Pipe"),
        ],
        CheckpointConfig={"S3Uri": f"s3://{user.bucket}/modes/kept"},
    )
    seen = user.report(done)
    data = seen["data"]
    assert {name: data[f"plain/{name}.txt"] for name in "abc"} == {name: f"{name}\n" for name in "abc"}
    assert {name: data[f"fast/{name}.txt"] for name in "abc"} == {name: f"{name}\n" for name in "abc"}
    assert sorted(name for name in data if name.startswith("listed/")) == ["listed/data/a.txt", "listed/data/c.txt"]
    assert (seen["pipe"], seen["earlier"], seen["seen"]) == ("a\nb\nc\n", "from before", "b\n")
    assert user.get(f"s3://{user.bucket}/modes/by-the-job") == b"hello"
    assert user.get(f"s3://{user.bucket}/modes/kept/step-1") == b"1"
    folder = done["ModelArtifacts"]["S3ModelArtifacts"].removesuffix("model.tar.gz")
    assert user.untar(f"{folder}output.tar.gz") == {"extra.txt": b"extra"}


def test_a_model_with_its_own_code(user: Direct) -> None:
    code = """
    def model_fn(folder):
        return open(folder + "/word").read()
    def input_fn(body, kind):
        return body if isinstance(body, str) else body.decode()
    def predict_fn(data, model):
        return model + " " + data
    def output_fn(answer, accept):
        return answer, "text/plain"
    """
    model = user.scripted({"code/inference.py": code, "word": "hello"})
    endpoint = user.endpoint({"ModelName": model})
    assert user.ask(endpoint, "there", ContentType="text/plain") == b"hello there"
    user.sm.delete_endpoint(EndpointName=endpoint)


def test_what_is_missing_there_is_told_as_ever(user: Direct) -> None:
    for bucket in (unique("nowhere"), "sagemaker-sample-data-us-west-2"):
        code, message = refused(user.job, InputDataConfig=[channel("train", f"s3://{bucket}/x")])
        assert code == "ValidationException"
        assert message.startswith(f'No S3 objects found under S3 URL "s3://{bucket}/x" given in input data source.')
        assert ("is one of AWS's public buckets" in message) == bucket.startswith("sagemaker-sample")
    inputs = [channel("train", f"s3://{user.bucket}/nothing/here")]
    done = user.ended(user.job(SKLEARN, {"train.py": "print(1)"}, InputDataConfig=inputs))
    assert done["TrainingJobStatus"] == "Failed"
    assert "No S3 objects found under S3 URL" in done["FailureReason"]


# -- through Clary's port -----------------------------------------------------------------------------------------------------


def test_both_doors_lead_to_the_same_objects(user: Direct, through: Any, tmp_path: pathlib.Path) -> None:
    user.put("doors/direct", "1")
    through.put_object(
        Bucket=user.bucket, Key="doors/a b+ü", Body=b"2", ContentType="text/x-mine", Metadata={"by": "clary"}
    )
    assert user.bucket in [bucket["Name"] for bucket in through.list_buckets()["Buckets"]]
    assert user.keys("doors/") == ["doors/a b+ü", "doors/direct"]
    listed = through.list_objects_v2(Bucket=user.bucket, Prefix="doors/")
    assert [entry["Key"] for entry in listed["Contents"]] == ["doors/a b+ü", "doors/direct"]
    head = user.s3.head_object(Bucket=user.bucket, Key="doors/a b+ü")
    assert (head["ContentType"], head["Metadata"]) == ("text/x-mine", {"by": "clary"})

    large = tmp_path / "large"
    large.write_bytes(random.Random(1).randbytes(20 << 20))  # boto3 sends it in parts and fetches it by ranges
    through.upload_file(str(large), user.bucket, "doors/large")
    through.download_file(user.bucket, "doors/large", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == large.read_bytes()
    assert user.s3.head_object(Bucket=user.bucket, Key="doors/large")["ContentLength"] == 20 << 20
    part = through.get_object(Bucket=user.bucket, Key="doors/large", Range="bytes=10-19")
    assert part["Body"].read() == large.read_bytes()[10:20]

    through.copy_object(Bucket=user.bucket, Key="doors/copy", CopySource=f"{user.bucket}/doors/direct")
    assert user.get(f"s3://{user.bucket}/doors/copy") == b"1"
    through.delete_objects(
        Bucket=user.bucket, Delete={"Objects": [{"Key": key} for key in user.keys("doors/")], "Quiet": True}
    )
    assert user.keys("doors/") == []


def test_presigned_urls(user: Direct, through: Any) -> None:
    user.put("presigned", "seen")
    url = through.generate_presigned_url("get_object", Params={"Bucket": user.bucket, "Key": "presigned"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=30) as answer:
        assert answer.read() == b"seen"


def test_what_the_sdk_asks_of_encryption(user: Direct, through: Any) -> None:
    """SDK v2 uploads source code with aws:kms and no key."""
    body = targz({"train.py": "print(1)"})
    through.put_object(Bucket=user.bucket, Key="kms/source.tar.gz", Body=body, ServerSideEncryption="aws:kms")
    assert user.get(f"s3://{user.bucket}/kms/source.tar.gz") == body


def test_only_clarys_keys_open_clarys_door(user: Direct, through: Any) -> None:
    stranger = boto3.client(
        "s3", region_name="us-east-1", endpoint_url=user.server.settings.endpoint,
        aws_access_key_id=seaweed.KEY, aws_secret_access_key=seaweed.SECRET,
    )  # fmt: skip
    with pytest.raises(ClientError) as caught:
        stranger.list_buckets()
    assert caught.value.response["Error"]["Code"] == "InvalidAccessKeyId"
    assert refused(through.get_object, Bucket=user.bucket, Key="no/such")[0] == "NoSuchKey"
    assert refused(through.list_objects_v2, Bucket=unique("nowhere"))[0] == "NoSuchBucket"


def test_a_server_that_does_not_answer(start: Callable[..., Server]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        server = start(pointed_at(f"http://127.0.0.1:{taken.getsockname()[1]}"))
        code, message = refused(server.client("s3").list_buckets)
        assert (code, "does not answer" in message) == ("ServiceUnavailable", True), message
        code, _ = refused(
            server.client("sagemaker").create_training_job,
            TrainingJobName=unique("job"),
            RoleArn="arn:aws:iam::000000000000:role/FlowRole",
            AlgorithmSpecification={"TrainingImage": XGBOOST, "TrainingInputMode": "File"},
            OutputDataConfig={"S3OutputPath": "s3://bucket/out"},
            ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
            StoppingCondition={"MaxRuntimeInSeconds": 60},
        )
        assert code == "ServiceUnavailable"
