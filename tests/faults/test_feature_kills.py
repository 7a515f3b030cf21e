"""kill -9 of the feature store and of the control plane while records are put: what was answered is online and, once, in the history."""

from __future__ import annotations

import random
import threading
import time
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from tests.faults.scene import BUCKET, Scene, until
from tests.live import ROLE

pytestmark = [pytest.mark.live, pytest.mark.slow]

GROUP, KILLS = "killed-features", 6


def rows(scene: Scene, table: str) -> dict[str, int]:
    """How often each identifier is in the history."""
    athena = scene.server.client("athena", retries={"total_max_attempts": 10})
    sql = f"SELECT id, count(*) FROM {table} GROUP BY id"
    where = {"OutputLocation": f"s3://{BUCKET}/answers"}
    name = athena.start_query_execution(QueryString=sql, ResultConfiguration=where)["QueryExecutionId"]

    def state() -> str:
        return str(athena.get_query_execution(QueryExecutionId=name)["QueryExecution"]["Status"]["State"])

    until(lambda: state() not in ("QUEUED", "RUNNING"), 60)
    assert state() == "SUCCEEDED"
    pages = athena.get_paginator("get_query_results").paginate(QueryExecutionId=name)
    found = [[each["VarCharValue"] for each in row["Data"]] for page in pages for row in page["ResultSet"]["Rows"]]
    return {identifier: int(count) for identifier, count in found[1:]}


def test_what_was_answered_is_there_and_once(scene: Scene) -> None:
    sm, randomness = scene.patient, random.Random(11)
    sm.create_feature_group(
        FeatureGroupName=GROUP,
        RecordIdentifierFeatureName="id",
        EventTimeFeatureName="at",
        FeatureDefinitions=[
            {"FeatureName": "id", "FeatureType": "String"},
            {"FeatureName": "at", "FeatureType": "Fractional"},
        ],
        OnlineStoreConfig={"EnableOnlineStore": True},
        OfflineStoreConfig={"S3StorageConfig": {"S3Uri": f"s3://{BUCKET}/features"}},
        RoleArn=ROLE,
    )

    def group() -> dict[str, Any]:
        return dict(sm.describe_feature_group(FeatureGroupName=GROUP))

    until(lambda: group()["FeatureGroupStatus"] == "Created", 120)
    answered: list[str] = []
    ended = threading.Event()

    def put(thread: int) -> None:
        runtime, number = scene.server.client("sagemaker-featurestore-runtime"), 0
        while not ended.is_set():
            number += 1
            name = f"{thread}-{number}"
            record = [{"FeatureName": "id", "ValueAsString": name}, {"FeatureName": "at", "ValueAsString": "7"}]
            try:
                runtime.put_record(FeatureGroupName=GROUP, Record=record)
            except (ClientError, BotoCoreError):
                continue  # not answered: it may be there or not
            answered.append(name)

    writers = [threading.Thread(target=put, args=(number,)) for number in range(3)]
    for writer in writers:
        writer.start()
    for turn in range(KILLS):
        time.sleep(randomness.uniform(0.5, 3.0))  # at any moment: between the log and the file, too
        name = ("features", "control")[turn % 2]
        scene.back(name, scene.kill(name))
    ended.set()
    for writer in writers:
        writer.join()
    assert len(answered) > 100
    table = group()["OfflineStoreConfig"]["DataCatalogConfig"]["TableName"]
    until(lambda: set(answered) <= rows(scene, table).keys(), 90)
    found = rows(scene, table)
    assert {name for name, count in found.items() if count != 1} == set()
    runtime = scene.server.client("sagemaker-featurestore-runtime")
    wanted = randomness.sample(answered, 90)
    there = runtime.batch_get_record(
        Identifiers=[{"FeatureGroupName": GROUP, "RecordIdentifiersValueAsString": wanted}]
    )["Records"]
    assert {each["RecordIdentifierValueAsString"] for each in there} == set(wanted)
    sm.delete_feature_group(FeatureGroupName=GROUP)
    until(lambda: GROUP not in str(sm.list_feature_groups()["FeatureGroupSummaries"]), 60)
