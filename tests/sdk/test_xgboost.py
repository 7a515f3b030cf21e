"""The built-in XGBoost through boto3: kinds of data that need no SDK to write, and what it says of bad data and parameters."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from tests.sdk.acts import XGBOOST, User, channel
from tests.sdk.conftest import Server

pytestmark = [pytest.mark.live, pytest.mark.slow]
SQUARED = {"objective": "reg:squarederror", "num_round": "5", "max_depth": "3"}


@pytest.fixture(scope="module")
def user(server: Server) -> User:
    return User(server)


def rows(count: int = 200) -> list[list[float]]:
    """Label first: the sum of two features and some noise."""
    chance = random.Random(7)
    made = []
    for _ in range(count):
        a, b = chance.random(), chance.random()
        made.append([a + 2 * b + chance.random() / 100, a, b])
    return made


def csv(table: list[list[float]]) -> str:
    return "".join(",".join(f"{value:.6f}" for value in row) + "\n" for row in table)


def parquet(table: list[list[float]]) -> bytes:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet as writer

    out = pyarrow.BufferOutputStream()
    columns = dict(zip(("y", "a", "b"), zip(*table, strict=True), strict=True))
    writer.write_table(pyarrow.table({name: list(values) for name, values in columns.items()}), out)
    return bytes(out.getvalue())


def metrics(done: dict[str, Any]) -> dict[str, float]:
    return {entry["MetricName"]: entry["Value"] for entry in done["FinalMetricDataList"]}


def test_parquet_and_csv_from_pipes_and_files_make_one_model(user: User) -> None:
    user.put("x/csv/part-0.csv", csv(rows()[:120]))
    user.put("x/csv/part-1.csv", csv(rows()[120:]))
    user.put("x/parquet/0.parquet", parquet(rows()[:120]))
    user.put("x/parquet/1.parquet", parquet(rows()[120:]))
    found = []
    for kind, content, mode in (
        ("csv", "text/csv", "File"),
        ("csv", "csv", "Pipe"),
        ("csv", "text/csv", "FastFile"),
        ("parquet", "application/x-parquet", "File"),
        ("parquet", "application/x-parquet", "Pipe"),
    ):
        inputs = [
            channel(name, f"s3://{user.bucket}/x/{kind}/", ContentType=content, InputMode=mode)
            for name in ("train", "validation")
        ]
        done = user.train(XGBOOST, HyperParameters=SQUARED, InputDataConfig=inputs)
        found.append(metrics(done)["validation:rmse"])
        assert list(user.untar(done["ModelArtifacts"]["S3ModelArtifacts"])) == ["xgboost-model"]
    assert max(found) - min(found) < 1e-4, found


def test_two_hosts_make_one_model(user: User) -> None:
    for number in range(4):
        user.put(f"two/{number}.csv", csv(rows()[number * 50 : number * 50 + 50]))
    inputs = [channel("train", f"s3://{user.bucket}/two/", spread="ShardedByS3Key", ContentType="text/csv")]
    resources = {"InstanceType": "ml.m4.xlarge", "InstanceCount": 2, "VolumeSizeInGB": 5}
    done = user.train(XGBOOST, HyperParameters=SQUARED, InputDataConfig=inputs, ResourceConfig=resources)
    assert list(user.untar(done["ModelArtifacts"]["S3ModelArtifacts"])) == ["xgboost-model"]
    assert metrics(done)["train:rmse"] < 0.35


def test_early_stopping_keeps_its_best_round_and_serves_it(user: User) -> None:
    user.put("early/train.csv", csv(rows()[:100]))
    user.put("early/validation.csv", csv(rows()[100:]))
    inputs = [
        channel(name, f"s3://{user.bucket}/early/{name}.csv", ContentType="text/csv")
        for name in ("train", "validation")
    ]
    parameters = {**SQUARED, "num_round": "200", "eta": "1", "early_stopping_rounds": "3", "eval_metric": "mae"}
    done = user.train(XGBOOST, HyperParameters=parameters, InputDataConfig=inputs)
    lines = [line for line in user.lines(done["TrainingJobName"]) if "validation-mae:" in line]
    assert 3 < len(lines) < 200
    name = user.endpoint({"ModelName": user.model(XGBOOST, done["ModelArtifacts"]["S3ModelArtifacts"])})
    asked = csv([row[1:] for row in rows()[:3]])
    text = user.ask(name, asked, ContentType="text/csv").decode()
    assert [abs(float(value) - row[0]) < 0.4 for value, row in zip(text.split("\n")[:-1], rows(), strict=False)] == [
        True
    ] * 3
    answer = json.loads(user.ask(name, asked, ContentType="text/csv", Accept="application/json"))
    assert [set(entry) for entry in answer["predictions"]] == [{"score"}] * 3
    assert (
        b"".join(user.ask(name, asked, ContentType="text/csv", Accept="application/jsonlines").split()).count(b"{") == 3
    )
    user.sm.delete_endpoint(EndpointName=name)


@pytest.mark.parametrize(
    ("parameters", "data", "words"),
    [
        ({"objective": "reg:squarederror"}, None, "num_round"),
        ({**SQUARED, "max_depth": "deep"}, None, "max_depth"),
        ({**SQUARED, "eta": "7"}, None, "eta"),
        ({**SQUARED, "objective": "reg:nothing"}, None, "reg:nothing"),
        ({**SQUARED, "no_such_parameter": "1"}, None, "no_such_parameter"),
        (SQUARED, "a,b,c\n1,2,3\n", "could not convert string to float: 'a'"),
        (SQUARED, "1,2,3\n1,2\n", ""),
        (SQUARED, "", ""),
        ({**SQUARED, "objective": "binary:logistic"}, "7,1,2\n8,1,2\n", "label must be in [0,1]"),
    ],
)
def test_what_it_says_of_mistakes(user: User, parameters: dict[str, str], data: str | None, words: str) -> None:
    where = user.put("wrong/train.csv", csv(rows(20)) if data is None else data)
    name = user.job(
        XGBOOST, HyperParameters=parameters, InputDataConfig=[channel("train", where, ContentType="text/csv")]
    )
    done = user.ended(name)
    assert done["TrainingJobStatus"] == "Failed"
    assert words in done["FailureReason"], done["FailureReason"]
    assert len(done["FailureReason"]) <= 1024
    assert "[bt]" not in done["FailureReason"]


def test_without_training_data(user: User) -> None:
    done = user.ended(user.job(XGBOOST, HyperParameters=SQUARED))
    assert done["TrainingJobStatus"] == "Failed"
    assert "train" in done["FailureReason"]
