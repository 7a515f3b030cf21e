"""SDK v3, feature store: groups, ingest in batches, records, an Athena query."""

import time

import boto3
import pandas as pd
from common import ROLE, bucket, unique
from sagemaker.core.helper.session_helper import Session
from sagemaker.mlops.feature_store import (
    FeatureGroup,
    OfflineStoreConfig,
    OnlineStoreConfig,
    S3StorageConfig,
    create_athena_query,
    ingest_dataframe,
    load_feature_definitions_from_dataframe,
)

s3 = boto3.client("s3")
session, BUCKET = Session(), bucket()
frame = pd.DataFrame(
    {
        "id": pd.Series([f"c{number}" for number in range(60)], dtype="string"),
        "at": pd.Series(["2024-05-01T12:00:00Z"] * 60, dtype="string"),
        "n": range(60),
    }
)
name = unique("v3-people")
group = FeatureGroup.create(
    feature_group_name=name,
    record_identifier_feature_name="id",
    event_time_feature_name="at",
    feature_definitions=load_feature_definitions_from_dataframe(frame),
    online_store_config=OnlineStoreConfig(enable_online_store=True),
    offline_store_config=OfflineStoreConfig(s3_storage_config=S3StorageConfig(s3_uri=f"s3://{BUCKET}/{name}")),
    role_arn=ROLE,
)
group.wait_for_status("Created", poll=1)
done = ingest_dataframe(name, frame, max_workers=1, use_batch_write_record=True)
assert done.failed_rows == [], done.failed_rows
record = group.get_record(record_identifier_value_as_string="c41").record
assert {each.feature_name: each.value_as_string for each in record}["n"] == "41", record

where = FeatureGroup.get(name).offline_store_config.s3_storage_config.resolved_output_s3_uri
prefix = where.removeprefix(f"s3://{BUCKET}/")
deadline = time.monotonic() + 60
while not s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents"):
    assert time.monotonic() < deadline, where
    time.sleep(0.2)
query = create_athena_query(name, session)
query.run(f'SELECT count(DISTINCT id) AS n, max(hour) AS h FROM "{query.table_name}"', f"s3://{BUCKET}/{name}-answers")
query.wait()
answer = query.as_dataframe()
assert answer.h.tolist() == [12], answer
assert 0 < answer.n[0] <= 60, answer
group.delete()
print("ok")
