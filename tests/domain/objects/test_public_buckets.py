from __future__ import annotations

import pytest

from clary.domain.objects import public_buckets


@pytest.mark.parametrize(
    "bucket",
    [
        "sagemaker-sample-files",
        "sagemaker-sample-data-us-west-2",
        "sagemaker-example-files-prod-eu-west-1",
        "jumpstart-cache-prod-us-east-1",
    ],
)
def test_buckets_that_notebooks_read_are_explained(bucket: str) -> None:
    assert bucket in public_buckets.advice(bucket)
    assert public_buckets.missing(bucket).startswith(" NoSuchBucket: The specified bucket does not exist. ")


@pytest.mark.parametrize("bucket", ["sagemaker-us-east-1-000000000000", "my-sagemaker-sample-files", "data", ""])
def test_others_are_not(bucket: str) -> None:
    assert public_buckets.advice(bucket) == public_buckets.missing(bucket) == ""
