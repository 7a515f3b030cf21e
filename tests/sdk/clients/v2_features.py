"""SDK v2, feature store: definitions from a frame, ingest, records, athena_query, and a point-in-time join."""

import time

import pandas as pd
from common import ROLE, bucket, session_v2, unique
from sagemaker.feature_store.feature_group import FeatureGroup
from sagemaker.feature_store.feature_store import FeatureStore
from sagemaker.feature_store.inputs import FeatureParameter

session, BUCKET = session_v2(), bucket()
s3, began = session.boto_session.client("s3"), time.time()
customers = pd.DataFrame(
    {
        "customer": pd.Series(["a", "b", "a", "c"], dtype="string"),
        "at": [10.0, 10.0, 20.0, 30.0],
        "orders": [1, 5, 2, 9],
        "spent": [1.5, 2.5, None, 0.25],
    }
)


def made(name, frame, identifier):
    group = FeatureGroup(name=unique(name), sagemaker_session=session)
    group.load_feature_definitions(data_frame=frame)
    group.create(
        s3_uri=f"s3://{BUCKET}/{unique('features')}",
        record_identifier_name=identifier,
        event_time_feature_name="at",
        role_arn=ROLE,
        enable_online_store=True,
        tags=[{"Key": "team", "Value": "a"}],
    )
    while group.describe()["FeatureGroupStatus"] == "Creating":
        time.sleep(0.1)
    assert group.describe()["FeatureGroupStatus"] == "Created", group.describe()
    return group


def asked_of(group, text):
    """The answer of a query as a frame. `{table}` in the text is the group's table."""
    query = group.athena_query()
    query.run(text.format(table=f'"{query.table_name}"'), output_location=f"s3://{BUCKET}/answers")
    query.wait()
    assert query.get_query_execution()["QueryExecution"]["Status"]["State"] == "SUCCEEDED", query.get_query_execution()
    return query.as_dataframe()


def written(group, count):
    """Wait until the history has that many rows: what several workers put may be written in several objects, at several times."""
    config = group.describe()["OfflineStoreConfig"]
    where = config["S3StorageConfig"]["ResolvedOutputS3Uri"].removeprefix(f"s3://{BUCKET}/")
    deadline, rows = time.monotonic() + 60, 0
    while time.monotonic() < deadline:
        if s3.list_objects_v2(Bucket=BUCKET, Prefix=where).get("Contents"):
            rows = asked_of(group, "SELECT count(*) AS n FROM {table}").n[0]
            if rows == count:
                return
        time.sleep(0.2)
    raise AssertionError(f"{rows} rows of {count} in the history below {where}")


group = made("customers", customers, "customer")
assert {each["FeatureName"]: each["FeatureType"] for each in group.describe()["FeatureDefinitions"]} == {
    "customer": "String", "at": "Fractional", "orders": "Integral", "spent": "Fractional",
}  # fmt: skip
done = group.ingest(data_frame=customers, max_workers=2, wait=True)
assert done.failed_rows == [], done.failed_rows
record = group.get_record(record_identifier_value_as_string="a")
assert {each["FeatureName"]: each["ValueAsString"] for each in record} == {"customer": "a", "at": "20.0", "orders": "2"}

group.update_feature_metadata("spent", description="euros", parameter_additions=[FeatureParameter("unit", "EUR")])
told = group.describe_feature_metadata("spent")
assert (told["Description"], told["Parameters"]) == ("euros", [{"Key": "unit", "Value": "EUR"}])
assert group.list_tags() == [{"Key": "team", "Value": "a"}]

written(group, len(customers))
answer = asked_of(
    group,
    "SELECT customer, sum(orders) AS orders, count(*) AS n FROM {table} GROUP BY customer ORDER BY customer",
)
assert answer.values.tolist() == [["a", 3, 2], ["b", 5, 1], ["c", 9, 1]], answer

asked = pd.DataFrame(
    {"customer": pd.Series(["a", "a", "b", "d"], dtype="object"), "at": [15.0, 25.0, 5.0, 50.0], "label": [0, 1, 0, 1]}
)
joined, text = (
    FeatureStore(session)
    .create_dataset(
        base=asked,
        output_path=f"s3://{BUCKET}/joined",
        record_identifier_feature_name="customer",
        event_time_identifier_feature_name="at",
    )
    .with_feature_group(group, "customer", ["orders"])
    .point_in_time_accurate_join()
    .to_dataframe()
)
found = {(row["customer"], row["at"]): row["orders.1"] for _, row in joined.iterrows()}
assert found == {("a", 15.0): 1, ("a", 25.0): 2}, joined

group.delete_record("c", "31.0")
assert group.get_record(record_identifier_value_as_string="c") is None
group.delete()
print("ok")
